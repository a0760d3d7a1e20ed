//! An operator ends what a coordinator gave up on (trap 12).

use coupon_domain::{
    Rejection,
    book::OperationKind,
    coupon::CouponStatus::{Available, Expired, Locked, Used, Voided},
    redemption::{ForceVerb, RedemptionState},
};

use crate::shelf::DAY;
use crate::store::{MS, Store, TTL, faults, start};

// Whatever the time: the lock has lapsed by the clock, not by the alarm.
#[test]
fn a_forgotten_lock_is_confirmed_or_cancelled() {
    let mut store = Store::with_coupons(2);
    store.lock("paid", "r1", &[1]).unwrap();
    store.lock("unpaid", "r1", &[2]).unwrap();
    store.pass(TTL + DAY);
    let paid = store.force("paid", ForceVerb::Confirm).unwrap();
    assert_eq!(paid.state, RedemptionState::Confirmed);
    let record = paid.forced.as_ref().unwrap();
    assert_eq!((record.operator.as_str(), record.from), ("ann", RedemptionState::Locked));
    assert_eq!((record.reason.as_str(), record.at), ("the coordinator is gone", store.now));
    let unpaid = store.force("unpaid", ForceVerb::Cancel).unwrap();
    assert_eq!(unpaid.state, RedemptionState::Cancelled);
    assert_eq!(store.statuses(), [Used, Available]);
    use OperationKind::{ForceCancel, ForceConfirm, Lock};
    assert_eq!(store.log(), [(Lock, 1), (Lock, 2), (ForceConfirm, 1), (ForceCancel, 2)]);
    assert_eq!(store.force("paid", ForceVerb::Confirm), Ok(paid), "a repeat answers the same");
    // The coordinator wakes up.
    assert!(store.confirm("paid", &[1]).is_ok());
    assert_eq!(store.cancel("paid", &[1]), Err(Rejection::OrderConfirmed));
    assert_eq!(store.confirm("unpaid", &[2]), Err(Rejection::OrderCancelled));
    assert_eq!(store.operations.len(), 4);
}

#[test]
fn a_lapsed_order_is_confirmed_while_its_coupons_are_free() {
    let mut store = Store::with_coupons(2);
    store.now = start().plus(10 * DAY).minus(MS);
    store.lock("o", "r1", &[1, 2]).unwrap();
    store.pass(TTL);
    store.lapse();
    assert_eq!(store.statuses(), [Expired, Expired]);
    let forced = store.force("o", ForceVerb::Confirm).unwrap();
    assert_eq!(forced.forced.unwrap().from, RedemptionState::Lapsed);
    assert_eq!(store.statuses(), [Used, Used]);
    assert_eq!(store.coupon(1).redemption, Some(forced.id));
}

#[test]
fn a_lapsed_order_whose_coupons_are_taken_is_not_confirmed() {
    let mut store = Store::with_coupons(4);
    store.lock("late", "r1", &[1, 2, 3, 4]).unwrap();
    store.pass(TTL);
    store.lapse();
    store.lock("next", "r1", &[1]).unwrap();
    store.lock("paid", "r1", &[2]).unwrap();
    store.confirm("paid", &[]).unwrap();
    store.void(3).unwrap();
    let before = store.coupons.clone();
    let refusal = store.force("late", ForceVerb::Confirm).unwrap_err();
    let expected =
        [(1, Rejection::CouponLocked), (2, Rejection::CouponUsed), (3, Rejection::CouponVoided)];
    assert_eq!(faults(&refusal), expected);
    assert_eq!(store.coupons, before);
    assert_eq!(store.statuses(), [Locked, Used, Voided, Available]);
    // Cancelling it touches nothing that others hold.
    let cancelled = store.force("late", ForceVerb::Cancel).unwrap();
    assert_eq!((cancelled.state, store.coupons.clone()), (RedemptionState::Cancelled, before));
}

// R58: by the clock, not by the alarm, also for the order that took the coupon meanwhile.
#[test]
fn a_lapsed_order_takes_back_what_another_holds_beyond_its_time() {
    let mut store = Store::with_coupons(2);
    store.lock("late", "r1", &[1]).unwrap();
    store.pass(TTL);
    store.lock("next", "r1", &[1, 2]).unwrap();
    store.pass(TTL.checked_sub(MS).unwrap());
    let refusal = store.force("late", ForceVerb::Confirm).unwrap_err();
    assert_eq!(faults(&refusal), [(1, Rejection::CouponLocked)]);
    store.pass(MS);
    assert_eq!(store.force("late", ForceVerb::Confirm).unwrap().state, RedemptionState::Confirmed);
    assert_eq!(store.statuses(), [Used, Available]);
    let next = store.redemption("next").unwrap();
    assert_eq!((next.state, next.closed_at), (RedemptionState::Lapsed, Some(store.now)));
    let refusal = store.force("next", ForceVerb::Confirm).unwrap_err();
    assert_eq!(faults(&refusal), [(1, Rejection::CouponUsed)]);
}

// R61: the same id for another reason is another request.
#[test]
fn a_forced_close_under_one_id_has_one_body() {
    let mut store = Store::with_coupons(1);
    store.lock("o", "r1", &[1]).unwrap();
    store.force("o", ForceVerb::Cancel).unwrap();
    let other = store.force_for("o", ForceVerb::Cancel, "another reason");
    assert_eq!(other.unwrap_err().reason, Rejection::IdempotencyKeyReused);
}

#[test]
fn what_is_closed_is_not_forced() {
    let refused = |store: &mut Store, verb| store.force("o", verb).unwrap_err().reason;
    let mut store = Store::with_coupons(1);
    assert_eq!(refused(&mut store, ForceVerb::Cancel), Rejection::RedemptionNotFound);
    store.lock("o", "r1", &[1]).unwrap();
    let confirmed = store.confirm("o", &[]).unwrap();
    assert_eq!(store.force("o", ForceVerb::Confirm), Ok(confirmed), "it stands there already");
    assert_eq!(refused(&mut store, ForceVerb::Cancel), Rejection::OrderConfirmed);
    store.restore("o", "refund").unwrap();
    assert_eq!(refused(&mut store, ForceVerb::Cancel), Rejection::OrderRestored);
    assert_eq!(refused(&mut store, ForceVerb::Confirm), Rejection::OrderRestored);
    let mut store = Store::with_coupons(1);
    let cancelled = store.cancel("o", &[1]).unwrap();
    assert_eq!(store.force("o", ForceVerb::Cancel), Ok(cancelled));
    assert_eq!(refused(&mut store, ForceVerb::Confirm), Rejection::OrderCancelled);
}
