//! What every queue promises, alone and under the relay, the handler and the sweeper, in real time.
//! A broker may deliver a little early, twice and in any order.

use std::{sync::Arc, time::Duration};

use coupon_domain::coupon::CouponStatus;
use coupon_server::{clock::Clock as _, worker::sweeper};

use super::{
    message,
    running::{PATIENCE, RunningWorld, SHORT_HOP},
};
use crate::conformance::fixture::{DAY, MINUTE, Offer, TTL, start, until};

/// How early a broker may deliver: it looks at its clock once in a tick.
const EARLY: Duration = Duration::from_secs(1);

// R11: what is due later does not overtake what is due now, as it would in a batch.
pub(crate) async fn a_message_waits_for_its_time(at: &mut RunningWorld) {
    let due = at.clock.now().plus(Duration::from_secs(3));
    let late = at.publish(1, due).await;
    let soon = at.publish(2, at.clock.now()).await;
    let first = at.receive().await;
    assert_eq!(first.alarm, soon);
    at.queue.ack(first).await.expect("noted");
    let second = at.receive().await;
    assert_eq!(second.alarm, late);
    let now = at.clock.now();
    assert!(now >= due.minus(EARLY), "it came at {now}, due at {due}");
    at.queue.ack(second).await.expect("noted");
}

// At least once, whatever the order.
pub(crate) async fn everything_comes(at: &mut RunningWorld) {
    let begin = at.clock.now();
    let mut missing = Vec::new();
    for hop in 0..40_u32 {
        let due = begin.plus(Duration::from_millis(u64::from(hop * 7 % 40) * 40));
        missing.push(at.publish(i64::from(hop), due).await);
    }
    while !missing.is_empty() {
        let delivery = at.receive().await;
        missing.retain(|alarm| *alarm != delivery.alarm);
        at.queue.ack(delivery).await.expect("noted");
    }
}

// Who waits is woken by what arrives.
pub(crate) async fn a_waiter_hears_of_a_message(at: &mut RunningWorld) {
    let queue = Arc::clone(&at.queue);
    let waiter = tokio::spawn(async move { tokio::time::timeout(PATIENCE, queue.wait()).await });
    tokio::task::yield_now().await;
    let alarm = at.publish(1, at.clock.now()).await;
    assert!(waiter.await.expect("ended").is_ok(), "woken");
    assert_eq!(at.receive().await.alarm, alarm);
}

// R11, F16: not acknowledged = again after a crash; acknowledged and closed = never again.
pub(crate) async fn a_crash_before_the_ack_repeats_the_message(at: &mut RunningWorld) {
    let due = start().plus(DAY);
    let template = at.world.publish(Offer { window: until(due), ..Offer::default() }).await;
    let coupon = at.world.win(&template, 1, "r").await.id;
    at.jump(due);
    at.flush().await;
    let delivery = at.receive().await;
    assert_eq!(delivery.alarm, message(due, 0));
    at.restart(false).await;
    let again = at.receive().await;
    assert_eq!(again.alarm, delivery.alarm);
    at.handler.handle(again).await.expect("handled");
    assert_eq!(at.world.coupon(1, coupon).await.coupon.status, CouponStatus::Expired);
    at.restart(true).await;
    let marker = at.publish(99, at.clock.now()).await;
    assert_eq!(at.receive().await.alarm, marker, "what is done does not come again");
}

// What could not be handled comes again, but not in a circle without rest.
pub(crate) async fn a_failed_delivery_comes_again_after_a_pause(at: &mut RunningWorld) {
    let alarm = at.publish(1, at.clock.now()).await;
    let mut delivery = at.receive().await;
    for _ in 0..2 {
        let failed_at = at.clock.now();
        at.queue.retry(delivery).await;
        delivery = at.receive().await;
        assert_eq!(delivery.alarm, alarm);
        let pause = at.clock.now().since(failed_at);
        assert!(pause >= Duration::from_millis(400), "after {pause:?}");
    }
    at.queue.ack(delivery).await.expect("noted");
}

// R11: a way of four seconds under a ceiling of one second is travelled in hops, as one of 30 days
// under a ceiling of 2 h is, and however many coupons share it.
pub(crate) async fn a_long_way_is_travelled_in_hops(at: &mut RunningWorld) {
    let due = start().plus(DAY);
    let template = at.world.publish(Offer { window: until(due), ..Offer::default() }).await;
    let mut coupons = Vec::new();
    for user in 1..=20 {
        coupons.push((user, at.world.win(&template, user, "r").await.id));
    }
    at.jump(due.minus(4 * SHORT_HOP));
    at.flush().await;
    at.handle(1).await;
    assert_eq!(at.alarms().await, [message(due, 1)]);
    let status = at.world.coupon(1, coupons[0].1).await.coupon.status;
    assert_eq!(status, CouponStatus::Available);
    let handled = 1 + at.handle_until(0).await;
    // Four, one more for every delivery that came early, fewer if this machine was late.
    assert!((2..=12).contains(&handled), "{handled} messages");
    assert!(at.clock.now() >= due);
    for (user, coupon) in coupons {
        let status = at.world.coupon(user, coupon).await.coupon.status;
        assert_eq!(status, CouponStatus::Expired);
    }
}

// F16: repeated and reordered messages are acknowledged and change nothing.
pub(crate) async fn copies_change_nothing(at: &mut RunningWorld) {
    let due = start().plus(DAY);
    let template = at.world.publish(Offer { window: until(due), ..Offer::default() }).await;
    let coupon = at.world.win(&template, 1, "r").await.id;
    for hop in [7, 0, 0, 1, 0] {
        at.queue.publish(message(due, hop), at.clock.now()).await.expect("accepted");
    }
    let mut hops = at.alarms().await[0].hop;
    for _ in 0..5 {
        at.handle(1).await;
        let now = at.alarms().await[0].hop;
        assert!(now == hops || now == hops + 1, "a message counts at most one hop");
        hops = now;
    }
    at.jump(due);
    at.handle_until(0).await;
    let expired = at.world.coupon(1, coupon).await;
    assert_eq!(expired.coupon.status, CouponStatus::Expired);
    // Of an alarm that is closed.
    for hop in [1, 11, 1] {
        at.queue.publish(message(due, hop), at.clock.now()).await.expect("accepted");
    }
    at.handle(3).await;
    assert_eq!(at.alarms().await, []);
    assert_eq!(at.world.coupon(1, coupon).await, expired);
}

// I7, F17: what the queue lost is found by the sweeper, after its grace and not before.
pub(crate) async fn the_sweeper_finds_what_was_lost(at: &mut RunningWorld) {
    let due = start().plus(DAY);
    let template = at.world.publish(Offer { window: until(due), ..Offer::default() }).await;
    let coupon = at.world.win(&template, 1, "r").await.id;
    let grace = 2 * MINUTE;
    at.jump(due.plus(MINUTE));
    sweeper::sweep(&at.handler, grace).await;
    assert_eq!(at.alarms().await, [message(due, 0)]);
    at.jump(due.plus(grace).plus(MINUTE));
    sweeper::sweep(&at.handler, grace).await;
    assert_eq!(at.world.coupon(1, coupon).await.coupon.status, CouponStatus::Expired);
    assert_eq!(at.alarms().await, []);
}

// A node that dies between its commit and its publication loses the message, not the alarm.
pub(crate) async fn what_falls_due_soon_is_published_once_more(at: &mut RunningWorld) {
    let due = start().plus(DAY);
    let template = at.world.publish(Offer { window: until(due), ..Offer::default() }).await;
    let coupon = at.world.win(&template, 1, "r").await.id;
    at.forget_wanted();
    at.jump(due.minus(10 * MINUTE));
    assert_eq!(sweeper::remind(&at.handler, 9 * MINUTE).await, 0, "not yet");
    at.jump(due.minus(SHORT_HOP));
    assert_eq!(sweeper::remind(&at.handler, 9 * MINUTE).await, 1);
    let delivery = at.receive().await;
    at.handler.handle(delivery).await.expect("handled");
    at.handle_until(0).await;
    assert_eq!(at.world.coupon(1, coupon).await.coupon.status, CouponStatus::Expired);
}

// R51: a lock lapses by its alarm, and its coupon's own alarm stays.
pub(crate) async fn a_lock_lapses_when_its_time_is_over(at: &mut RunningWorld) {
    let offer = Offer { limit: 9, window: until(start().plus(DAY)), ..Offer::default() };
    let template = at.world.publish(offer).await;
    let mut coupons = Vec::new();
    for order in ["a", "b", "c", "d", "e"] {
        let coupon = at.world.win(&template, 1, order).await.id;
        at.world.lock(1, order, "lock", &[coupon]).await.expect("locked");
        coupons.push(coupon);
    }
    at.jump(start().plus(TTL).minus(SHORT_HOP));
    at.handle_until(1).await;
    for coupon in &coupons {
        let stored = at.world.coupon(1, *coupon).await;
        assert_eq!((stored.coupon.status, stored.order), (CouponStatus::Available, None));
    }
}
