//! Using coupons: lock, confirm, cancel, restore, void (R49-R51, R58, R59).

use std::{sync::Arc, time::Instant};

use coupon_domain::{
    Rejection,
    coupon::CouponStatus,
    ids::CouponId,
    money::Minor,
    redemption::{RedemptionState, RestoreResult},
    rules::RestorePolicy,
};
use coupon_server::ledger::{Fresh, LedgerError, NotRedeemed, Redeemed};
use futures::future::join_all;

use crate::conformance::fixture::{
    DAY, MS, Offer, Shape, TTL, World, deadline, rejected, sorted, submitted, user_id,
};

async fn status(world: &World, user: i64, coupon: CouponId) -> CouponStatus {
    world.coupon(user, coupon).await.coupon.status
}

async fn state(world: &World, user: i64, order: &str) -> RedemptionState {
    let found =
        world.ledger().redemption(user_id(user), order, Fresh::Latest).await.expect("readable");
    found.expect("the order is known").state
}

/// Two coupons of user 7.
async fn two_coupons(world: &World) -> [CouponId; 2] {
    let template = world.publish(Offer { limit: 2, ..Offer::default() }).await;
    [world.win(&template, 7, "r1").await.id, world.win(&template, 7, "r2").await.id]
}

// R51, R59: order created, paid, refunded; every step outlives the process and repeats.
pub(crate) async fn a_lock_is_confirmed_and_restored(world: &mut World) {
    let coupons = two_coupons(world).await;
    let locked = world.lock(7, "o", "lock", &coupons).await.expect("locked");
    assert_eq!(
        (locked.state, locked.coupons().collect()),
        (RedemptionState::Locked, coupons.to_vec())
    );
    assert_eq!(locked.locked_until, Some(world.now.plus(TTL)));
    assert_eq!(locked.evaluation.as_ref().map(|one| one.discount()), Some(Minor::new(200)));
    world.restart().await;
    let stored = world.coupon(7, coupons[0]).await;
    assert_eq!((stored.coupon.status, stored.order.as_deref()), (CouponStatus::Locked, Some("o")));
    assert_eq!(world.lock(7, "o", "lock", &coupons).await, Ok(locked.clone()));
    world.pass(TTL - MS);
    let confirmed = world.confirm(7, "o", "paid").await.expect("confirmed");
    assert_eq!((confirmed.state, confirmed.id), (RedemptionState::Confirmed, locked.id));
    world.restart().await;
    assert_eq!(world.confirm(7, "o", "paid").await, Ok(confirmed.clone()));
    assert_eq!(world.confirm(7, "o", "paid again").await, Ok(confirmed));
    assert_eq!(rejected(world.cancel(7, "o", "c").await), Rejection::OrderConfirmed);
    for coupon in coupons {
        let stored = world.coupon(7, coupon).await;
        assert_eq!(
            (stored.coupon.status, stored.coupon.used_at),
            (CouponStatus::Used, Some(world.now))
        );
        assert_eq!(stored.order.as_deref(), Some("o"));
    }
    let restored = world.restore(7, "o", "refund").await.expect("restored");
    assert_eq!(restored.redemption.state, RedemptionState::Restored);
    let results: Vec<_> = restored.coupons.iter().map(|one| (one.coupon, one.result)).collect();
    assert_eq!(results, coupons.map(|coupon| (coupon, RestoreResult::GivenBack)));
    world.restart().await;
    assert_eq!(world.restore(7, "o", "refund").await, Ok(restored));
    assert_eq!(rejected(world.restore(7, "o", "another").await), Rejection::OrderRestored);
    assert_eq!(status(world, 7, coupons[1]).await, CouponStatus::Available);
    assert!(world.lock(7, "next", "lock", &coupons).await.is_ok());
}

// R51: not paid; a Lock that comes late is refused.
pub(crate) async fn a_lock_is_cancelled(world: &mut World) {
    let coupons = two_coupons(world).await;
    world.lock(7, "o", "lock", &coupons[..1]).await.expect("locked");
    let replaced = world.lock(7, "o", "other set", &coupons[1..]).await.expect("replaced");
    assert_eq!(replaced.coupons().collect::<Vec<_>>(), coupons[1..]);
    assert_eq!(status(world, 7, coupons[0]).await, CouponStatus::Available);
    let cancelled = world.cancel(7, "o", "c").await.expect("cancelled");
    assert_eq!(cancelled.state, RedemptionState::Cancelled);
    world.restart().await;
    assert_eq!(world.cancel(7, "o", "c2").await, Ok(cancelled));
    assert_eq!(status(world, 7, coupons[1]).await, CouponStatus::Available);
    assert_eq!(
        rejected(world.lock(7, "o", "lock", &coupons[..1]).await),
        Rejection::OrderCancelled
    );
    assert_eq!(rejected(world.lock(7, "o", "new", &coupons).await), Rejection::OrderCancelled);
    assert_eq!(rejected(world.confirm(7, "o", "p").await), Rejection::OrderCancelled);
    assert_eq!(rejected(world.restore(7, "o", "x").await), Rejection::OrderNotConfirmed);
}

// R49, F21: a hundred orders want one coupon; exactly one holds it.
pub(crate) async fn one_of_a_hundred_orders_holds_the_coupon(world: &mut World) {
    let [coupon, _] = two_coupons(world).await;
    let calls = (0..100).map(|order| {
        let (ledger, now) = (Arc::clone(world.ledger()), world.now);
        let command = world.lock_command(7, &format!("o{order}"), "lock", &[coupon]);
        tokio::spawn(async move { ledger.redeem(command, now, deadline()).await })
    });
    let outcomes: Vec<_> =
        join_all(calls).await.into_iter().map(|outcome| outcome.expect("ended")).collect();
    let holders: Vec<usize> = (0..100).filter(|order| outcomes[*order].is_ok()).collect();
    assert_eq!(holders.len(), 1);
    for outcome in outcomes.into_iter().filter(Result::is_err) {
        assert_eq!(rejected(outcome), Rejection::CouponLocked);
    }
    let stored = world.coupon(7, coupon).await;
    assert_eq!(stored.order, Some(format!("o{}", holders[0])));
}

// R49: all coupons or none, and every failing one is named.
pub(crate) async fn a_set_is_locked_wholly_or_not_at_all(world: &mut World) {
    let coupons = two_coupons(world).await;
    world.lock(7, "first", "lock", &coupons[1..]).await.expect("locked");
    let stranger = CouponId::new(coupons[0].get() + 10_000_000_000).expect("positive");
    let refusal = match world.lock(7, "o", "lock", &[coupons[0], coupons[1], stranger]).await {
        Err(NotRedeemed::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    };
    assert_eq!(refusal.reason, Rejection::CouponNotFound);
    let named: Vec<_> = refusal.faults.iter().map(|fault| (fault.coupon, fault.reason)).collect();
    assert_eq!(
        named,
        [(coupons[1], Rejection::CouponLocked), (stranger, Rejection::CouponNotFound)]
    );
    assert_eq!(status(world, 7, coupons[0]).await, CouponStatus::Available);
    assert_eq!(world.ledger().redemption(user_id(7), "o", Fresh::Latest).await, Ok(None));
    // Somebody else's coupon is none of one's own.
    let foreign = world.lock(8, "o", "lock", &coupons[..1]).await;
    assert_eq!(rejected(foreign), Rejection::CouponNotFound);
}

// Commands that travel together are decided one after the other, in the order they came.
pub(crate) async fn commands_of_a_group_see_each_other(world: &mut World) {
    let coupons = two_coupons(world).await;
    let commands = [
        world.lock_command(7, "a", "lock", &coupons),
        world.lock_command(7, "b", "lock", &coupons[..1]),
        world.confirm_command(7, "a", "paid"),
        world.lock_command(7, "b", "lock", &coupons[1..]),
        world.confirm_command(7, "b", "paid"),
        world.confirm_command(7, "a", "paid"),
    ];
    let mut calls = Vec::new();
    for command in commands {
        let (ledger, now) = (Arc::clone(world.ledger()), world.now);
        let call = async move { ledger.redeem(command, now, deadline()).await };
        calls.push(submitted(call).await);
    }
    let outcomes = join_all(calls).await;
    let state_of = |outcome: &Result<Redeemed, NotRedeemed>| match outcome {
        Ok(Redeemed::Redemption(redemption)) => redemption.state,
        other => panic!("not done: {other:?}"),
    };
    assert_eq!(state_of(&outcomes[0]), RedemptionState::Locked);
    assert_eq!(rejected(outcomes[1].clone()), Rejection::CouponLocked);
    assert_eq!(state_of(&outcomes[2]), RedemptionState::Confirmed);
    assert_eq!(rejected(outcomes[3].clone()), Rejection::CouponUsed);
    assert_eq!(rejected(outcomes[4].clone()), Rejection::RedemptionNotFound);
    assert_eq!(outcomes[5], outcomes[2]);
}

// R58: a lock whose time is over holds nothing, alarm or not; the next lapses all of it.
pub(crate) async fn a_lapsed_lock_makes_way(world: &mut World) {
    let coupons = two_coupons(world).await;
    world.lock(7, "a", "lock", &coupons).await.expect("locked");
    world.pass(TTL - MS);
    assert_eq!(rejected(world.lock(7, "b", "l1", &coupons[..1]).await), Rejection::CouponLocked);
    world.pass(MS);
    assert_eq!(rejected(world.confirm(7, "a", "paid").await), Rejection::LockLapsed);
    world.lock(7, "b", "l2", &coupons[..1]).await.expect("free again");
    assert_eq!(state(world, 7, "a").await, RedemptionState::Lapsed);
    assert_eq!(status(world, 7, coupons[1]).await, CouponStatus::Available);
    assert_eq!(rejected(world.lock(7, "a", "lock", &coupons).await), Rejection::LockLapsed);
    let again = world.lock(7, "a", "again", &coupons[1..]).await.expect("locked again");
    assert_eq!(again.state, RedemptionState::Locked);
    world.pass(TTL);
    let cancelled = world.cancel(7, "a", "c").await.expect("a lapsed order is cancelled");
    assert_eq!(cancelled.state, RedemptionState::Cancelled);
}

// R58: Cancel with no Lock is stored and succeeds; the Lock that hangs behind it is refused.
pub(crate) async fn an_empty_rollback_fences_a_late_lock(world: &mut World) {
    let coupons = two_coupons(world).await;
    assert_eq!(rejected(world.confirm(7, "o", "paid").await), Rejection::RedemptionNotFound);
    assert_eq!(world.ledger().redemption(user_id(7), "o", Fresh::Latest).await, Ok(None));
    let cancelled = world.cancel(7, "o", "c").await.expect("stored");
    assert_eq!((cancelled.state, cancelled.evaluation.clone()), (RedemptionState::Cancelled, None));
    world.restart().await;
    assert_eq!(rejected(world.lock(7, "o", "lock", &coupons).await), Rejection::OrderCancelled);
    assert_eq!(world.cancel(7, "o", "c").await, Ok(cancelled));
    assert_eq!(status(world, 7, coupons[0]).await, CouponStatus::Available);
    // The fence is the user's own.
    let theirs = world.publish(Offer::default()).await;
    let coupon = world.win(&theirs, 8, "r").await.id;
    assert!(world.lock(8, "o", "lock", &[coupon]).await.is_ok());
}

// R58, R61: a coordinator sends the bytes of its Try to all three verbs, request id and all; an id
// is scoped to (user, order, verb).
pub(crate) async fn a_request_id_belongs_to_its_verb(world: &mut World) {
    let coupons = two_coupons(world).await;
    world.lock(7, "paid", "x", &coupons[..1]).await.expect("locked");
    world.confirm(7, "paid", "x").await.expect("confirmed");
    assert_eq!(rejected(world.cancel(7, "paid", "x").await), Rejection::OrderConfirmed);
    world.lock(7, "left", "x", &coupons[1..]).await.expect("locked");
    world.cancel(7, "left", "x").await.expect("cancelled");
    assert_eq!(rejected(world.confirm(7, "left", "x").await), Rejection::OrderCancelled);
}

// R59: REISSUE gives a new coupon outside limit and stock.
pub(crate) async fn a_reissued_coupon_takes_no_stock(world: &mut World) {
    let restore = RestorePolicy::Reissue { days: 3 };
    let template = world.publish(Offer { total: 1, restore, ..Offer::default() }).await;
    let used = world.win(&template, 7, "r").await.id;
    world.lock(7, "o", "lock", &[used]).await.expect("locked");
    world.confirm(7, "o", "paid").await.expect("confirmed");
    let restored = world.restore(7, "o", "refund").await.expect("restored");
    let fresh = restored.coupons[0].reissued.expect("reissued");
    world.restart().await;
    assert_eq!(world.restore(7, "o", "refund").await, Ok(restored));
    assert_eq!(status(world, 7, used).await, CouponStatus::Used);
    let stored = world.coupon(7, fresh).await.coupon;
    assert_eq!((stored.status, stored.reissue_of), (CouponStatus::Available, Some(used)));
    assert_eq!(stored.valid_until, world.now.plus(4 * DAY));
    assert_eq!(world.stock(template.id).await, (1, 1));
    assert_eq!(world.held(7, template.id).await.len(), 1, "it takes no number of the limit");
    assert!(world.lock(7, "next", "lock", &[fresh]).await.is_ok());
}

// An operator takes AVAILABLE coupons only; no stock returns.
pub(crate) async fn a_voided_coupon_stays_away(world: &mut World) {
    let coupons = two_coupons(world).await;
    world.lock(7, "o", "lock", &coupons[..1]).await.expect("locked");
    assert_eq!(rejected(world.void(7, coupons[0]).await), Rejection::CouponLocked);
    let template = world.coupon(7, coupons[1]).await.coupon.template;
    let voided = world.void(7, coupons[1]).await.expect("voided");
    assert_eq!(voided.status, CouponStatus::Voided);
    world.restart().await;
    assert_eq!(world.void(7, coupons[1]).await, Ok(voided));
    assert_eq!(rejected(world.void(8, coupons[1]).await), Rejection::CouponNotFound);
    assert_eq!(rejected(world.lock(7, "p", "lock", &coupons[1..]).await), Rejection::CouponVoided);
    assert_eq!(world.stock(template).await.1, 2);
    world.pass(TTL);
    assert_eq!(world.void(7, coupons[0]).await.map(|c| c.status), Ok(CouponStatus::Voided));
    assert_eq!(state(world, 7, "o").await, RedemptionState::Lapsed);
    let page =
        world.ledger().wallet(user_id(7), None, None, 10, Fresh::Latest).await.expect("readable");
    let ids = page.iter().map(|stored| stored.coupon.id).collect();
    assert_eq!(sorted(ids), sorted(coupons.to_vec()), "a voided coupon is still shown");
}

// I10: nothing starts after its caller's deadline, and its neighbours do not mind.
pub(crate) async fn a_late_redemption_is_not_begun(world: &mut World) {
    let coupons = two_coupons(world).await;
    let (late, timely) = (
        world.lock_command(7, "late", "lock", &coupons),
        world.lock_command(7, "timely", "lock", &coupons),
    );
    let ledger = world.ledger();
    let outcomes = futures::future::join(
        ledger.redeem(late, world.now, Instant::now()),
        ledger.redeem(timely, world.now, deadline()),
    );
    let (late, timely) = outcomes.await;
    assert_eq!(late, Err(LedgerError::Late.into()));
    assert!(timely.is_ok());
    assert_eq!(ledger.redemption(user_id(7), "late", Fresh::Latest).await, Ok(None));
}

// R21: a full queue says so at once, and what it refused was not tried.
pub(crate) async fn a_full_redemption_queue_refuses_at_once(world: &mut World) {
    world.restart_with(Shape { group_max: 1, queue_max: 1 }).await;
    let world = &*world;
    let calls = (0..200).map(|order| async move {
        let order = format!("o{order}");
        (world.cancel(7, &order, "c").await, order)
    });
    let (mut done, mut refused) = (0, 0);
    for (outcome, order) in join_all(calls).await {
        let stored =
            world.ledger().redemption(user_id(7), &order, Fresh::Latest).await.expect("readable");
        assert_eq!(stored.is_some(), outcome.is_ok());
        match outcome {
            Ok(_) => done += 1,
            Err(NotRedeemed::Failed(LedgerError::Overloaded(_))) => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(done > 0 && refused > 0, "{done} done, {refused} refused");
}
