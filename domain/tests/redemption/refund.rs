//! Giving coupons back by policy, and taking them away (R59).

use coupon_domain::{
    Rejection,
    book::{AlarmKind, OperationKind},
    coupon::CouponStatus::{Available, Used, Voided},
    ids::UserId,
    redemption::{RedemptionState, RestoreResult},
    rules::RestorePolicy,
};

use crate::shelf::DAY;
use crate::store::{MINUTE, MS, Store, TTL, coupon_id, start, user};

fn restored(policy: RestorePolicy, after: std::time::Duration) -> (Store, RestoreResult) {
    let mut store = Store::with_coupons(1).with_rules(1, |rules| rules.restore = policy);
    store.lock("o", "r1", &[1]).unwrap();
    store.confirm("o", &[]).unwrap();
    store.pass(after);
    let restored = store.restore("o", "refund").unwrap();
    assert_eq!(restored.redemption.state, RedemptionState::Restored);
    assert_eq!(restored.coupons.len(), 1);
    assert_eq!(store.restore("o", "refund"), Ok(restored.clone()), "a repeat answers the same");
    assert_eq!(store.restore("o", "refund 2"), Err(Rejection::OrderRestored));
    (store, restored.coupons[0].result)
}

// R59: never; if unexpired; extended; reissued.
#[test]
fn a_refund_follows_the_policy() {
    use RestoreResult::{GivenBack, KeptUsed};
    let (store, result) = restored(RestorePolicy::Never, MINUTE);
    assert_eq!((result, store.statuses()), (KeptUsed, vec![Used]));
    let (store, result) = restored(RestorePolicy::IfUnexpired, 10 * DAY - MS);
    assert_eq!((result, store.statuses()), (GivenBack, vec![Available]));
    let coupon = store.coupon(1);
    assert_eq!((coupon.redemption, coupon.used_at, coupon.locked_until), (None, None, None));
    let due = coupon.valid_until.due_minute();
    assert!(store.alarms.contains(&(AlarmKind::CouponExpiry, due)));
    let (store, result) = restored(RestorePolicy::IfUnexpired, 10 * DAY);
    assert_eq!((result, store.statuses()), (KeptUsed, vec![Used]));
}

#[test]
fn a_refund_extends_but_never_shortens() {
    let early = restored(RestorePolicy::Extend { days: 3 }, DAY).0;
    assert_eq!(early.coupon(1).valid_until, start().plus(10 * DAY));
    let (late, result) = restored(RestorePolicy::Extend { days: 3 }, 20 * DAY);
    assert_eq!((result, late.statuses()), (RestoreResult::GivenBack, vec![Available]));
    // Noon plus three and a half days is the end of the third day.
    let until = late.now.plus(3 * DAY + DAY / 2);
    assert_eq!(late.coupon(1).valid_until, until);
    assert!(late.alarms.contains(&(AlarmKind::CouponExpiry, until.due_minute())));
    let mut late = late;
    assert!(late.lock("again", "r1", &[1]).is_ok());
}

// R59: outside the limit and the stock: its number is negative.
#[test]
fn a_refund_reissues_a_new_coupon() {
    let (mut store, result) = restored(RestorePolicy::Reissue { days: 3 }, 20 * DAY);
    assert_eq!((result, store.statuses()), (RestoreResult::Reissued, vec![Used, Available]));
    let fresh = store.coupons.values().last().unwrap().clone();
    assert_eq!((fresh.reissue_of, fresh.claim_no), (Some(coupon_id(1)), -1));
    assert_eq!((fresh.user, fresh.claimed_at), (user(), store.now));
    assert_eq!(fresh.valid_until, store.now.plus(3 * DAY + DAY / 2));
    let made = store.operations.last().unwrap();
    assert_eq!((made.coupon, made.from, made.to), (Some(fresh.id), None, Available));
    assert!(store.alarms.contains(&(AlarmKind::CouponExpiry, fresh.valid_until.due_minute())));
    assert!(store.lock("again", "r1", &[fresh.id.get()]).is_ok());
}

#[test]
fn only_a_confirmed_order_is_restored() {
    let mut store = Store::with_coupons(1);
    assert_eq!(store.restore("o", "refund"), Err(Rejection::RedemptionNotFound));
    store.lock("o", "r1", &[1]).unwrap();
    assert_eq!(store.restore("o", "refund"), Err(Rejection::OrderNotConfirmed));
    store.pass(TTL);
    store.lapse();
    assert_eq!(store.restore("o", "refund"), Err(Rejection::OrderNotConfirmed));
    store.cancel("o", &[]).unwrap();
    assert_eq!(store.restore("o", "refund"), Err(Rejection::OrderNotConfirmed));
    assert_eq!(store.statuses(), [Available]);
}

#[test]
fn only_an_available_coupon_is_voided() {
    let mut store = Store::with_coupons(4)
        .with_coupon(2, |coupon| coupon.status = Used)
        .with_coupon(3, |coupon| coupon.valid_until = start())
        .with_coupon(4, |coupon| coupon.user = UserId::new(43).unwrap());
    assert_eq!(store.void(2), Err(Rejection::CouponUsed));
    assert_eq!(store.void(3), Err(Rejection::CouponExpired));
    assert_eq!(store.void(4), Err(Rejection::CouponNotFound));
    assert_eq!(store.void(77), Err(Rejection::CouponNotFound));
    store.lock("o", "r1", &[1]).unwrap();
    assert_eq!(store.void(1), Err(Rejection::CouponLocked));
    store.pass(TTL);
    let voided = store.void(1).unwrap();
    assert_eq!((voided.status, voided.redemption, voided.locked_until), (Voided, None, None));
    assert_eq!(store.redemption("o").unwrap().state, RedemptionState::Lapsed);
    assert_eq!(store.void(1), Ok(voided));
    use OperationKind::{Lapse, Lock, Void};
    assert_eq!(store.log(), [(Lock, 1), (Lapse, 1), (Void, 1)]);
    assert_eq!(store.lock("p", "r1", &[1]), Err(Rejection::CouponVoided));
}
