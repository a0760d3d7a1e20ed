//! The queue alone.

use std::{sync::Arc, time::Duration};

use super::{AlarmWorld, message};
use crate::conformance::fixture::{DAY, MINUTE, MS, Offer, start, until};

// At or after its time by the clock it was given, never before.
pub(crate) async fn nothing_comes_before_its_time(at: &mut AlarmWorld) {
    let due = start().plus(MINUTE);
    at.queue.publish(message(due, 0), due).await.expect("accepted");
    assert_eq!(at.queue.try_receive().await, Ok(None));
    at.set_time(due.minus(MS));
    assert_eq!(at.queue.try_receive().await, Ok(None));
    at.set_time(due);
    assert_eq!(at.receive_all().await, [message(due, 0)]);
    assert_eq!(at.queue.try_receive().await, Ok(None), "acknowledged is done");
}

// At least once, whatever was published meanwhile.
pub(crate) async fn everything_comes_in_due_order(at: &mut AlarmWorld) {
    let minutes = [5_u32, 1, 3, 3, 2, 4];
    for (hop, minute) in (0..).zip(minutes) {
        let due = start().plus(MINUTE * minute);
        at.queue.publish(message(due, hop), due).await.expect("accepted");
    }
    at.set_time(start().plus(3 * MINUTE));
    let mut received = at.receive_all().await;
    at.set_time(start().plus(9 * MINUTE));
    received.extend(at.receive_all().await);
    let due: Vec<_> = received.iter().map(|alarm| alarm.minute).collect();
    assert!(due.is_sorted(), "{due:?}");
    let mut hops: Vec<_> = received.iter().map(|alarm| alarm.hop).collect();
    hops.sort_unstable();
    assert_eq!(hops, [0, 1, 2, 3, 4, 5], "two of one minute are two");
}

// A test clock is moved from one due time to the next.
pub(crate) async fn the_next_due_time_is_known(at: &mut AlarmWorld) {
    assert_eq!(at.queue.next_due().await, None);
    let (first, second) = (start().plus(MINUTE), start().plus(2 * MINUTE));
    at.queue.publish(message(second, 0), second).await.expect("accepted");
    assert_eq!(at.queue.next_due().await, Some(second));
    at.queue.publish(message(first, 0), first).await.expect("accepted");
    assert_eq!(at.queue.next_due().await, Some(first));
    at.set_time(first);
    assert_eq!(at.receive_all().await.len(), 1);
    assert_eq!(at.queue.next_due().await, Some(second));
}

// Who waits is woken by a message that is due, and by one that is published.
pub(crate) async fn a_waiter_is_woken(at: &mut AlarmWorld) {
    let patience = Duration::from_secs(30);
    let queue = Arc::clone(&at.queue);
    let waiter = tokio::spawn(async move { tokio::time::timeout(patience, queue.wait()).await });
    tokio::task::yield_now().await;
    at.queue.publish(message(start(), 0), start()).await.expect("accepted");
    assert!(waiter.await.expect("ended").is_ok(), "woken by a publish, or never asleep");
    let due = tokio::time::timeout(patience, at.queue.wait()).await;
    assert!(due.is_ok(), "something is due already");
    assert_eq!(at.receive_all().await.len(), 1);
}

// R11: what was delivered and not acknowledged comes again, at the latest after a restart.
pub(crate) async fn what_was_not_acknowledged_comes_again(at: &mut AlarmWorld) {
    let due = start().plus(DAY);
    let template = at.world.publish(Offer { window: until(due), ..Offer::default() }).await;
    at.world.win(&template, 1, "r").await;
    at.flush().await;
    at.set_time(due);
    let delivery = at.queue.try_receive().await.expect("readable").expect("due");
    assert_eq!(delivery.alarm.minute, due.due_minute());
    at.restart_queue().await;
    let again = at.queue.try_receive().await.expect("readable").expect("due again");
    assert_eq!(again.alarm, delivery.alarm);
    at.handler.handle(again).await.expect("handled");
    at.restart_queue().await;
    assert_eq!(at.queue.next_due().await, None, "what is done does not come again");
}
