//! The state machines of redemptions and coupons, edge by edge (R49-R51, R58, R59).

#![allow(clippy::unwrap_used)] // Also in the functions that the tests share.

#[path = "redemption/amounts.rs"]
mod amounts;
#[path = "redemption/force.rs"]
mod force;
#[path = "redemption/random.rs"]
mod random;
#[path = "redemption/refund.rs"]
mod refund;
mod shelf;
#[path = "redemption/store.rs"]
mod store;

use coupon_domain::{
    Rejection,
    book::{AlarmKind, OperationKind},
    coupon::CouponStatus::{Available, Expired, Locked, Used, Voided},
    ids::UserId,
    money::{Currency, Minor},
    redemption::{LockCommand, RedemptionState, confirm},
    rules::{Benefit, Stacking, UseWindow},
};
use shelf::{DAY, LIMITS};
use store::{MINUTE, MS, Store, TTL, close_command, coupon_id, faults, lock_command, start};

fn state(store: &Store, order: &str) -> RedemptionState {
    store.redemption(order).unwrap().state
}

// R51: order created -> frozen, paid -> used.
#[test]
fn a_lock_is_confirmed() {
    let mut store = Store::with_coupons(3);
    let locked = store.lock("o", "r1", &[1, 2]).unwrap();
    assert_eq!(locked.state, RedemptionState::Locked);
    assert_eq!(locked.first_locked_at, Some(start()));
    assert_eq!(locked.locked_until, Some(start().plus(TTL)));
    assert_eq!(locked.evaluation.as_ref().unwrap().discount(), Minor::new(200));
    assert_eq!(store.statuses(), [Locked, Locked, Available]);
    assert_eq!(store.coupon(1).redemption, Some(locked.id));
    assert_eq!(store.coupon(1).locked_until, locked.locked_until);
    assert!(store.alarms.contains(&(AlarmKind::LockLapse, start().plus(TTL).due_minute())));
    store.pass(TTL - MS);
    let confirmed = store.confirm("o", &[]).unwrap();
    assert_eq!(confirmed.state, RedemptionState::Confirmed);
    assert_eq!((confirmed.locked_until, confirmed.closed_at), (None, Some(store.now)));
    assert_eq!(store.statuses(), [Used, Used, Available]);
    assert_eq!(store.coupon(2).used_at, Some(store.now));
    assert_eq!(store.coupon(2).locked_until, None);
    assert_eq!(store.coupon(2).redemption, Some(locked.id));
    use OperationKind::{Confirm, Lock};
    assert_eq!(store.log(), [(Lock, 1), (Lock, 2), (Confirm, 1), (Confirm, 2)]);
}

// R51: payment failed or order closed -> unused again.
#[test]
fn a_lock_is_cancelled() {
    let mut store = Store::with_coupons(1);
    store.lock("o", "r1", &[1]).unwrap();
    let cancelled = store.cancel("o", &[1]).unwrap();
    assert_eq!(cancelled.state, RedemptionState::Cancelled);
    assert_eq!((cancelled.locked_until, cancelled.closed_at), (None, Some(store.now)));
    assert_eq!(store.statuses(), [Available]);
    assert_eq!((store.coupon(1).redemption, store.coupon(1).locked_until), (None, None));
    let expiry = store.coupon(1).valid_until.due_minute();
    assert!(store.alarms.contains(&(AlarmKind::CouponExpiry, expiry)));
    assert!(store.lock("other", "r1", &[1]).is_ok());
}

// R58, traps 1 to 3: an empty rollback is stored, and the late Try is refused.
#[test]
fn a_cancel_without_a_lock_fences_the_late_lock() {
    let mut store = Store::with_coupons(1);
    let tombstone = store.cancel("o", &[1]).unwrap();
    assert_eq!(tombstone.state, RedemptionState::Cancelled);
    assert_eq!((&tombstone.evaluation, tombstone.first_locked_at), (&None, None));
    assert_eq!(store.cancel("o", &[1]), Ok(tombstone));
    assert_eq!(store.lock("o", "r1", &[1]), Err(Rejection::OrderCancelled));
    assert_eq!(store.confirm("o", &[1]), Err(Rejection::OrderCancelled));
    assert_eq!(store.statuses(), [Available]);
    assert_eq!((store.log(), store.redemptions.len()), (vec![], 1));
}

// R58, trap 3: a replayed Try answers what has become of the order, never a stale success.
#[test]
fn a_replayed_lock_changes_nothing() {
    let mut store = Store::with_coupons(2);
    let locked = store.lock("o", "r1", &[1]).unwrap();
    store.pass(MINUTE);
    let command = lock_command("o", "r1", &[1]);
    assert_eq!(store.lock_with(&command), Ok(locked));
    let renewed = store.lock("o", "r2", &[1]).unwrap();
    assert_eq!(store.lock_with(&command), Ok(renewed.clone()));
    let logged = store.operations.len();
    let other = store.lock("o", "r1", &[1, 2]);
    assert_eq!(other, Err(Rejection::IdempotencyKeyReused));
    assert_eq!(store.redemption("o"), Some(&renewed));
    assert_eq!((store.operations.len(), logged), (1, 1));
}

#[test]
fn a_replayed_lock_answers_what_became_of_the_order() {
    let mut confirmed = Store::with_coupons(1);
    confirmed.lock("o", "r1", &[1]).unwrap();
    confirmed.confirm("o", &[]).unwrap();
    assert_eq!(confirmed.lock("o", "r1", &[1]).unwrap().state, RedemptionState::Confirmed);
    assert_eq!(confirmed.lock("o", "r2", &[1]), Err(Rejection::OrderConfirmed));
    confirmed.restore("o", "refund").unwrap();
    assert_eq!(confirmed.lock("o", "r1", &[1]), Err(Rejection::OrderRestored));
    assert_eq!(confirmed.lock("o", "r2", &[1]), Err(Rejection::OrderRestored));

    let mut cancelled = Store::with_coupons(1);
    cancelled.lock("o", "r1", &[1]).unwrap();
    cancelled.cancel("o", &[]).unwrap();
    assert_eq!(cancelled.lock("o", "r1", &[1]), Err(Rejection::OrderCancelled));
    assert_eq!(cancelled.lock("o", "r2", &[1]), Err(Rejection::OrderCancelled));

    let mut lapsed = Store::with_coupons(1);
    lapsed.lock("o", "r1", &[1]).unwrap();
    lapsed.pass(TTL);
    assert_eq!(lapsed.lock("o", "r1", &[1]), Err(Rejection::LockLapsed));
    lapsed.lapse();
    assert_eq!(lapsed.lock("o", "r1", &[1]), Err(Rejection::LockLapsed));
    assert_eq!(lapsed.statuses(), [Available]);
}

// Trap 13: a second payment step of the same order renews; it does not consume twice.
#[test]
fn a_new_request_id_with_the_same_coupons_renews() {
    let mut store = Store::with_coupons(2);
    let first = store.lock("o", "r1", &[1, 2]).unwrap();
    store.pass(TTL - MS);
    let renewed = store.lock("o", "r2", &[2, 1]).unwrap();
    assert_eq!((renewed.id, renewed.first_locked_at), (first.id, Some(start())));
    assert_eq!(renewed.locked_until, Some(store.now.plus(TTL)));
    assert_eq!(store.coupon(1).locked_until, renewed.locked_until);
    assert_eq!(renewed.locks.len(), 2);
    assert_eq!(store.operations.len(), 2);
    let due = store.now.plus(TTL).due_minute();
    assert!(store.alarms.contains(&(AlarmKind::LockLapse, due)));
    store.pass(TTL - MS);
    assert_eq!(store.lapse(), 0);
    assert!(store.confirm("o", &[1, 2]).is_ok());
}

// R51: other coupons replace the set, all or none.
#[test]
fn a_new_request_id_with_other_coupons_replaces_the_set() {
    use OperationKind::{Cancel, Lock};
    let mut store = Store::with_coupons(4).with_coupon(4, |coupon| coupon.status = Used);
    store.lock("o", "r1", &[1, 2]).unwrap();
    let before = (store.coupons.clone(), store.redemptions.clone());
    assert_eq!(store.lock("o", "r2", &[3, 4]), Err(Rejection::CouponUsed));
    assert_eq!((store.coupons.clone(), store.redemptions.clone()), before);
    let replaced = store.lock("o", "r3", &[3, 2]).unwrap();
    assert_eq!(replaced.coupons().collect::<Vec<_>>(), [coupon_id(2), coupon_id(3)]);
    assert_eq!(store.statuses(), [Available, Locked, Locked, Used]);
    assert_eq!(store.coupon(1).redemption, None);
    assert_eq!(store.log(), [(Lock, 1), (Lock, 2), (Cancel, 1), (Lock, 3)]);
    assert_eq!(store.confirm("o", &[1, 2]), Err(Rejection::LockMismatch));
    assert!(store.confirm("o", &[2, 3]).is_ok());
}

// R58, trap 9: Confirm and Cancel repeat their first result, whatever the id.
#[test]
fn confirm_and_cancel_repeat_their_first_result() {
    let mut store = Store::with_coupons(2);
    store.lock("paid", "r1", &[1]).unwrap();
    store.lock("unpaid", "r1", &[2]).unwrap();
    let confirmed = store.confirm("paid", &[1]).unwrap();
    let cancelled = store.cancel("unpaid", &[2]).unwrap();
    let logged = store.operations.len();
    store.pass(30 * DAY);
    assert_eq!(store.confirm("paid", &[1]), Ok(confirmed.clone()));
    assert_eq!(store.cancel("unpaid", &[2]), Ok(cancelled));
    let mut again = close_command("confirm", "paid", &[]);
    again.request.request_id = "another".to_owned();
    let (repeated, changes) = store.run(|book, _, now| confirm(book, &again, now));
    assert_eq!(repeated, Ok(confirmed));
    assert!(changes.is_empty());
    assert_eq!(store.confirm("paid", &[]), Err(Rejection::IdempotencyKeyReused));
    assert_eq!(store.operations.len(), logged);
}

// R58, trap 10: terminal, typed.
#[test]
fn confirm_and_cancel_exclude_each_other() {
    let mut store = Store::with_coupons(2);
    store.lock("paid", "r1", &[1]).unwrap();
    store.confirm("paid", &[]).unwrap();
    assert_eq!(store.cancel("paid", &[]), Err(Rejection::OrderConfirmed));
    store.lock("unpaid", "r1", &[2]).unwrap();
    store.cancel("unpaid", &[]).unwrap();
    assert_eq!(store.confirm("unpaid", &[]), Err(Rejection::OrderCancelled));
    store.restore("paid", "refund").unwrap();
    assert_eq!(store.cancel("paid", &[]), Err(Rejection::OrderRestored));
    assert_eq!(store.statuses(), [Available, Available]);
}

#[test]
fn a_confirm_of_nothing_writes_nothing() {
    let mut store = Store::with_coupons(1);
    assert_eq!(store.confirm("o", &[1]), Err(Rejection::RedemptionNotFound));
    assert!(store.redemptions.is_empty());
    assert!(store.lock("o", "r1", &[1]).is_ok());
}

// Trap 20: from `locked_until` on the lock is lapsed, alarm or not.
#[test]
fn a_confirm_after_the_lock_lapsed_is_refused() {
    let mut store = Store::with_coupons(1);
    let locked = store.lock("o", "r1", &[1]).unwrap();
    store.pass(TTL);
    assert_eq!(locked.effective_state(store.now), RedemptionState::Lapsed);
    assert_eq!(store.coupon(1).effective_status(store.now), Available);
    assert_eq!(store.confirm("o", &[]), Err(Rejection::LockLapsed));
    assert_eq!(store.statuses(), [Locked]);
    assert_eq!(store.lapse(), 1);
    assert_eq!((state(&store, "o"), store.statuses()), (RedemptionState::Lapsed, vec![Available]));
    assert_eq!(store.confirm("o", &[]), Err(Rejection::LockLapsed));
    assert_eq!(store.lapse(), 0);
    assert_eq!(store.log(), [(OperationKind::Lock, 1), (OperationKind::Lapse, 1)]);
}

#[test]
fn an_early_alarm_changes_nothing() {
    let mut store = Store::with_coupons(1);
    store.lock("o", "r1", &[1]).unwrap();
    store.pass(TTL - MS);
    assert_eq!(store.lapse(), 0);
    assert_eq!(store.statuses(), [Locked]);
}

// A Lock that meets a lapsed lock of another order lapses that whole redemption.
#[test]
fn a_lapsed_lock_is_freed_whole_for_another_order() {
    use OperationKind::{Lapse, Lock};
    let mut store = Store::with_coupons(2);
    store.lock("late", "r1", &[1, 2]).unwrap();
    store.pass(TTL - MS);
    assert_eq!(store.lock("next", "r1", &[2]), Err(Rejection::CouponLocked));
    store.pass(MS);
    let next = store.lock("next", "r1", &[2]).unwrap();
    assert_eq!(state(&store, "late"), RedemptionState::Lapsed);
    assert_eq!(store.statuses(), [Available, Locked]);
    assert_eq!(store.log(), [(Lock, 1), (Lock, 2), (Lapse, 1), (Lapse, 2), (Lock, 2)]);
    assert_eq!(store.confirm("late", &[]), Err(Rejection::LockLapsed));
    // Trap 11: the late order's Cancel does not touch what the next one holds.
    assert_eq!(store.cancel("late", &[1, 2]).unwrap().state, RedemptionState::Cancelled);
    assert_eq!(store.coupon(2).redemption, Some(next.id));
    assert!(store.confirm("next", &[2]).is_ok());
}

#[test]
fn a_lapsed_order_is_cancelled_or_locked_again() {
    let mut store = Store::with_coupons(2);
    store.lock("gone", "r1", &[1]).unwrap();
    store.lock("back", "r1", &[2]).unwrap();
    store.pass(TTL);
    assert_eq!(store.lapse(), 2);
    assert_eq!(store.cancel("gone", &[]).unwrap().state, RedemptionState::Cancelled);
    assert_eq!(store.lock("gone", "r2", &[1]), Err(Rejection::OrderCancelled));
    let again = store.lock("back", "r2", &[2]).unwrap();
    assert_eq!((again.state, again.closed_at), (RedemptionState::Locked, None));
    assert_eq!(again.first_locked_at, Some(start()));
    // Not yet lapsed by the alarm: the same.
    store.pass(TTL);
    assert_eq!(store.lock("back", "r3", &[1]).unwrap().locks.len(), 3);
    assert_eq!(store.statuses(), [Locked, Available]);
    store.pass(TTL);
    assert_eq!(store.cancel("back", &[1]).unwrap().state, RedemptionState::Cancelled);
    assert_eq!(store.statuses(), [Available, Available]);
}

#[test]
fn a_lapsed_order_finds_its_coupons_taken() {
    let mut store = Store::with_coupons(1);
    store.lock("late", "r1", &[1]).unwrap();
    store.pass(TTL);
    store.lock("next", "r1", &[1]).unwrap();
    assert_eq!(store.lock("late", "r2", &[1]), Err(Rejection::CouponLocked));
    store.confirm("next", &[]).unwrap();
    assert_eq!(store.lock("late", "r2", &[1]), Err(Rejection::CouponUsed));
    assert_eq!(state(&store, "late"), RedemptionState::Lapsed);
}

// Trap 19: decided once, at Lock; a live lock outlives the coupon, a new one does not begin.
#[test]
fn a_live_lock_outlives_the_expiry() {
    let mut store = Store::with_coupons(2);
    store.now = start().plus(10 * DAY).minus(MINUTE);
    store.lock("o", "r1", &[1]).unwrap();
    store.lock("p", "r1", &[2]).unwrap();
    store.pass(2 * MINUTE);
    assert_eq!(store.coupon(1).effective_status(store.now), Locked);
    assert_eq!(store.lock("o", "r2", &[1]), Err(Rejection::CouponExpired));
    assert_eq!(store.confirm("o", &[]).unwrap().state, RedemptionState::Confirmed);
    store.cancel("p", &[]).unwrap();
    assert_eq!(store.statuses(), [Used, Expired]);
    assert_eq!(store.lock("q", "r1", &[2]), Err(Rejection::CouponExpired));
}

#[test]
fn a_lock_that_lapses_after_the_expiry_leaves_it_expired() {
    let mut store = Store::with_coupons(1);
    store.now = start().plus(10 * DAY).minus(MS);
    store.lock("o", "r1", &[1]).unwrap();
    let alarms = store.alarms.len();
    store.pass(TTL);
    assert_eq!(store.coupon(1).effective_status(store.now), Expired);
    assert_eq!(store.lapse(), 1);
    assert_eq!((store.statuses(), store.alarms.len()), (vec![Expired], alarms));
}

// R47, R49: all or none; every failing coupon is named, the first reason in order decides.
#[test]
fn a_refused_lock_names_every_failing_coupon() {
    let later = start().plus(DAY);
    let mut store = Store::with_coupons(9)
        .with_coupon(1, |coupon| coupon.status = Voided)
        .with_coupon(2, |coupon| coupon.status = Used)
        .with_rules(4, |rules| {
            rules.use_window = UseWindow::Fixed { from: later, until: later.plus(DAY) };
        })
        .with_coupon(5, |coupon| coupon.valid_until = start())
        .with_rules(6, |rules| rules.currency = Currency::parse("USD").unwrap())
        .with_rules(7, |rules| {
            let (threshold, amount) = (Minor::new(1_500), Minor::new(100));
            rules.benefit =
                Benefit::ThresholdOff { threshold, amount, every: false, max_discount: None };
        })
        .with_coupon(9, |coupon| coupon.user = UserId::new(43).unwrap());
    store.lock("other", "r1", &[3]).unwrap();
    let before = store.coupons.clone();
    let all = [8, 7, 6, 5, 4, 3, 2, 1, 9, 77];
    let refusal = store.lock_with(&lock_command("o", "r1", &all)).unwrap_err();
    assert_eq!(refusal.reason, Rejection::CouponNotFound);
    let expected = [
        (7, Rejection::BelowThreshold),
        (6, Rejection::CurrencyMismatch),
        (5, Rejection::CouponExpired),
        (4, Rejection::CouponNotYetValid),
        (3, Rejection::CouponLocked),
        (2, Rejection::CouponUsed),
        (1, Rejection::CouponVoided),
        (9, Rejection::CouponNotFound),
        (77, Rejection::CouponNotFound),
    ];
    assert_eq!(faults(&refusal), expected);
    assert_eq!(refusal.faults[0].missing, Minor::new(500));
    assert_eq!(store.coupons, before);
    assert!(store.redemption("o").is_none());
}

#[test]
fn a_lock_respects_mutex_and_the_quote() {
    let mut store =
        Store::with_coupons(2).with_rules(1, |rules| rules.stacking = Stacking::Exclusive);
    assert_eq!(store.lock("o", "r1", &[1, 2]), Err(Rejection::CouponMutex));
    let quoted = |units| LockCommand {
        expected_discount: Some(Minor::new(units)),
        ..lock_command("o", "r2", &[1])
    };
    let refusal = store.lock_with(&quoted(99)).unwrap_err();
    assert_eq!((refusal.reason, faults(&refusal)), (Rejection::QuoteChanged, vec![]));
    assert_eq!(store.statuses(), [Available, Available]);
    assert!(store.lock_with(&quoted(100)).is_ok());
}

// Trap 20: the lease may be extended, but not for ever.
#[test]
fn no_lock_reaches_beyond_seven_days_after_the_first() {
    let mut store = Store::with_coupons(1);
    let week = |id| LockCommand { ttl: 7 * DAY, ..lock_command("o", id, &[1]) };
    let horizon = Some(start().plus(7 * DAY));
    assert_eq!(store.lock_with(&week("r1")).unwrap().locked_until, horizon);
    store.pass(3 * DAY);
    assert_eq!(store.lock_with(&week("r2")).unwrap().locked_until, horizon);
    store.pass(4 * DAY - MS);
    assert_eq!(store.lock_with(&week("r3")).unwrap().locked_until, horizon);
    store.pass(MS);
    assert_eq!(store.lock_with(&week("r4")).unwrap_err().reason, Rejection::LockLapsed);
    assert_eq!(store.lapse(), 0, "the refused lock has let the status catch up");
    assert_eq!((state(&store, "o"), store.statuses()), (RedemptionState::Lapsed, vec![Available]));
    assert!(store.lock("other", "r1", &[1]).is_ok());
}

#[test]
fn an_order_is_locked_under_so_many_ids_only() {
    let mut store = Store::with_coupons(1);
    for number in 0..LIMITS.locks_max {
        store.lock("o", &format!("r{number}"), &[1]).unwrap();
    }
    assert_eq!(store.lock("o", "one more", &[1]), Err(Rejection::TooManyLocks));
    assert!(store.lock("o", "r0", &[1]).is_ok());
    assert!(store.confirm("o", &[1]).is_ok());
}

// R58, trap 9: what is named must be what is locked.
#[test]
fn naming_other_coupons_is_a_mismatch() {
    let mut store = Store::with_coupons(3);
    store.lock("o", "r1", &[1, 2]).unwrap();
    for wrong in [&[1][..], &[1, 3], &[1, 2, 3], &[1, 2, 2]] {
        assert_eq!(store.confirm("o", wrong), Err(Rejection::LockMismatch));
        assert_eq!(store.cancel("o", wrong), Err(Rejection::LockMismatch));
    }
    assert_eq!(store.statuses(), [Locked, Locked, Available]);
    assert!(store.confirm("o", &[2, 1]).is_ok());
}
