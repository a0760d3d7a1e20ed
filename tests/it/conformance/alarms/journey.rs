//! From the transaction that wants an alarm to the sweep that closes it (R7, R11).

use coupon_domain::coupon::CouponStatus;
use coupon_server::{ledger::AlarmRow, worker::sweeper};

use super::{AlarmWorld, HOP, message};
use crate::conformance::fixture::{DAY, MINUTE, MS, Offer, TTL, start, until};

// R11: a validity of 30 days under a ceiling of 2 h is 360 messages, however many coupons share it.
pub(crate) async fn thirty_days_take_360_messages(at: &mut AlarmWorld) {
    let due = start().plus(30 * DAY);
    let template = at.world.publish(Offer { window: until(due), ..Offer::default() }).await;
    let mut coupons = Vec::new();
    for user in 1..=20 {
        coupons.push((user, at.world.win(&template, user, "r").await.id));
    }
    let mut handled = at.advance(due.minus(MS)).await;
    assert_eq!(handled, 359);
    assert_eq!(at.alarms().await, [message(due, 359)]);
    for (user, coupon) in &coupons {
        let status = at.world.coupon(*user, *coupon).await.coupon.status;
        assert_eq!(status, CouponStatus::Available);
    }
    handled += at.advance(due).await;
    assert_eq!(handled, 360);
    for (user, coupon) in coupons {
        let status = at.world.coupon(user, coupon).await.coupon.status;
        assert_eq!(status, CouponStatus::Expired);
    }
    assert_eq!(at.alarms().await, []);
    assert_eq!(at.queue.next_due().await, None);
}

// A broker may deliver early: the time is checked again, and the way goes on.
pub(crate) async fn an_early_delivery_is_a_hop(at: &mut AlarmWorld) {
    let due = start().plus(DAY);
    let template = at.world.publish(Offer { window: until(due), ..Offer::default() }).await;
    at.world.win(&template, 1, "r").await;
    at.queue.publish(message(due, 0), start()).await.expect("accepted");
    let early = at.queue.try_receive().await.expect("readable").expect("delivered early");
    at.handler.handle(early).await.expect("handled");
    assert_eq!(at.alarms().await, [message(due, 1)]);
    assert_eq!(at.queue.next_due().await, Some(start().plus(HOP)));
    // Close to the end a hop is no longer than the way.
    let last = due.minus(MINUTE);
    at.advance(last).await;
    assert_eq!(at.queue.next_due().await, Some(due));
}

// Repeated and reordered messages are acknowledged and change nothing.
pub(crate) async fn stale_copies_change_nothing(at: &mut AlarmWorld) {
    let due = start().plus(DAY);
    let template = at.world.publish(Offer { window: until(due), ..Offer::default() }).await;
    let coupon = at.world.win(&template, 1, "r").await.id;
    at.flush().await;
    at.advance(start().plus(HOP)).await;
    assert_eq!(at.alarms().await, [message(due, 1)]);
    let next = at.queue.next_due().await;
    for _ in 0..3 {
        at.queue.publish(message(due, 0), at.world.now).await.expect("accepted");
    }
    at.queue.publish(message(due, 7), at.world.now).await.expect("accepted");
    assert_eq!(at.handler.handle_due().await.expect("handled"), 4);
    assert_eq!(at.alarms().await, [message(due, 1)]);
    assert_eq!(at.queue.next_due().await, next, "no copy travels on");
    at.advance(due).await;
    let expired = at.world.coupon(1, coupon).await;
    assert_eq!(expired.coupon.status, CouponStatus::Expired);
    // Of an alarm that is closed.
    for hop in [1, 11] {
        at.queue.publish(message(due, hop), due).await.expect("accepted");
    }
    assert_eq!(at.handler.handle_due().await.expect("handled"), 2);
    assert_eq!(at.alarms().await, []);
    assert_eq!(at.world.coupon(1, coupon).await, expired);
}

// I7, F17: what the queue lost is found by the sweeper, after its grace and not before.
pub(crate) async fn a_lost_message_is_found_by_the_sweeper(at: &mut AlarmWorld) {
    let due = start().plus(DAY);
    let template = at.world.publish(Offer { window: until(due), ..Offer::default() }).await;
    let coupon = at.world.win(&template, 1, "r").await.id;
    let grace = 2 * MINUTE;
    at.set_time(due.plus(MINUTE));
    sweeper::sweep(&at.handler, grace).await;
    assert_eq!(at.alarms().await, [message(due, 0)]);
    let status = at.world.coupon(1, coupon).await.coupon;
    assert_eq!(status.status, CouponStatus::Available);
    assert_eq!(status.effective_status(at.world.now), CouponStatus::Expired, "by time");
    at.set_time(due.plus(grace).plus(MINUTE));
    sweeper::sweep(&at.handler, grace).await;
    assert_eq!(at.world.coupon(1, coupon).await.coupon.status, CouponStatus::Expired);
    assert_eq!(at.alarms().await, []);
}

// R51: a lock lapses by its alarm, and its coupon's own alarm still comes.
pub(crate) async fn a_lock_lapses_when_its_alarm_rings(at: &mut AlarmWorld) {
    let due = start().plus(DAY);
    let offer = Offer { limit: 9, window: until(due), ..Offer::default() };
    let template = at.world.publish(offer).await;
    let mut coupons = Vec::new();
    for order in ["a", "b", "c", "d", "e"] {
        let coupon = at.world.win(&template, 1, order).await.id;
        at.world.lock(1, order, "lock", &[coupon]).await.expect("locked");
        coupons.push(coupon);
    }
    at.advance(start().plus(TTL).minus(MS)).await;
    assert_eq!(at.world.coupon(1, coupons[0]).await.coupon.status, CouponStatus::Locked);
    at.advance(start().plus(TTL)).await;
    for coupon in &coupons {
        let stored = at.world.coupon(1, *coupon).await;
        assert_eq!((stored.coupon.status, stored.order), (CouponStatus::Available, None));
    }
    let kinds: Vec<AlarmRow> = at.alarms().await;
    assert_eq!(kinds.len(), 1, "the lapse is closed, the expiry is not: {kinds:?}");
    at.advance(due).await;
    assert_eq!(at.world.coupon(1, coupons[0]).await.coupon.status, CouponStatus::Expired);
    assert_eq!(at.alarms().await, []);
}

// I7: after it was closed, an alarm of the same minute is published anew for whoever wants it.
pub(crate) async fn a_closed_alarm_can_be_wanted_again(at: &mut AlarmWorld) {
    let lapse = start().plus(TTL);
    let template = at.world.publish(Offer { limit: 9, ..Offer::default() }).await;
    let coupon = at.world.win(&template, 1, "r").await.id;
    at.world.lock(1, "a", "lock", &[coupon]).await.expect("locked");
    at.flush().await;
    at.world.cancel(1, "a", "c").await.expect("cancelled");
    let alarm = at.alarms().await[0];
    assert_eq!(alarm.minute, lapse.due_minute());
    at.handler.ring(alarm).await.expect("rung before its time: nothing is live, so it closes");
    at.world.lock(1, "b", "lock", &[coupon]).await.expect("locked");
    at.advance(lapse).await;
    assert_eq!(at.world.coupon(1, coupon).await.coupon.status, CouponStatus::Available);
}
