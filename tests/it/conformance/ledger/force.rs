//! Orders that an operator ends (R58).

use std::sync::Arc;

use coupon_domain::{
    Rejection,
    book::AlarmKind,
    coupon::CouponStatus,
    ids::CouponId,
    redemption::{ForceVerb, Redemption, RedemptionState},
};
use coupon_server::ledger::{AlarmRow, Fresh, NotRedeemed, RedeemCommand, Redeemed};
use futures::future::join_all;

use crate::conformance::fixture::{
    DAY, Offer, TTL, World, deadline, force_command, rejected, start, until, user_id,
};

/// A coupon of user 7 that order `o` has locked.
async fn locked(world: &World, offer: Offer) -> (CouponId, Redemption) {
    let template = world.publish(offer).await;
    let coupon = world.win(&template, 7, "r").await.id;
    let locked = world.lock(7, "o", "lock", &[coupon]).await.expect("locked");
    (coupon, locked)
}

async fn status(world: &World, coupon: CouponId) -> CouponStatus {
    world.coupon(7, coupon).await.coupon.status
}

/// Who forced it, and where it stood.
fn record(redemption: &Redemption) -> Option<(&str, RedemptionState)> {
    redemption.forced.as_ref().map(|forced| (forced.operator.as_str(), forced.from))
}

// R58: a lock beyond its time is confirmed; the record outlives the process, and neither another
// operator nor the coordinator nor the alarm changes it.
pub(crate) async fn an_overdue_order_is_confirmed_by_force(world: &mut World) {
    let (coupon, order) = locked(world, Offer::default()).await;
    world.pass(TTL + DAY);
    let forced = world.force(7, "o", ForceVerb::Confirm, "ann").await.expect("confirmed");
    assert_eq!((forced.state, forced.id), (RedemptionState::Confirmed, order.id));
    assert_eq!(record(&forced), Some(("ann", RedemptionState::Locked)));
    assert_eq!(forced.closed_at, Some(world.now));
    world.restart().await;
    let stored = world.ledger().redemption(user_id(7), "o", Fresh::Latest).await;
    assert_eq!(stored, Ok(Some(forced.clone())));
    world.pass(DAY);
    assert_eq!(world.force(7, "o", ForceVerb::Confirm, "bob").await, Ok(forced.clone()));
    assert_eq!(world.confirm(7, "o", "late").await, Ok(forced.clone()));
    assert_eq!(rejected(world.cancel(7, "o", "late").await), Rejection::OrderConfirmed);
    assert!(!world.lapse(7, forced.id).await, "the alarm finds nothing to do");
    assert_eq!(status(world, coupon).await, CouponStatus::Used);
}

// R58: a lapsed order takes its coupons back, unless they went elsewhere and are held.
pub(crate) async fn a_lapsed_order_is_confirmed_by_force(world: &mut World) {
    let (coupon, order) = locked(world, Offer::default()).await;
    world.pass(TTL);
    assert!(world.lapse(7, order.id).await);
    world.lock(7, "next", "lock", &[coupon]).await.expect("free again");
    let refusal = match world.force(7, "o", ForceVerb::Confirm, "ann").await {
        Err(NotRedeemed::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    };
    let named: Vec<_> = refusal.faults.iter().map(|fault| (fault.coupon, fault.reason)).collect();
    assert_eq!(named, [(coupon, Rejection::CouponLocked)]);
    // From its last instant on the other lock holds nothing.
    world.pass(TTL);
    world.restart().await;
    let forced = world.force(7, "o", ForceVerb::Confirm, "ann").await.expect("confirmed");
    assert_eq!(record(&forced), Some(("ann", RedemptionState::Lapsed)));
    let stored = world.coupon(7, coupon).await;
    assert_eq!((stored.coupon.status, stored.order.as_deref()), (CouponStatus::Used, Some("o")));
    let next = world.force(7, "next", ForceVerb::Confirm, "ann").await;
    assert_eq!(rejected(next), Rejection::CouponUsed);
    let next = world.force(7, "next", ForceVerb::Cancel, "ann").await.expect("cancelled");
    assert_eq!(record(&next), Some(("ann", RedemptionState::Lapsed)), "lapsed, not only overdue");
    assert_eq!(status(world, coupon).await, CouponStatus::Used);
}

// R58: and cancelled; a Lock that comes late is refused. What was never locked is not stored.
pub(crate) async fn an_order_is_cancelled_by_force(world: &mut World) {
    let unknown = world.force(7, "o", ForceVerb::Cancel, "ann").await;
    assert_eq!(rejected(unknown), Rejection::RedemptionNotFound);
    let (coupon, _) = locked(world, Offer::default()).await;
    let forced = world.force(7, "o", ForceVerb::Cancel, "ann").await.expect("cancelled");
    assert_eq!(forced.state, RedemptionState::Cancelled);
    assert_eq!(record(&forced), Some(("ann", RedemptionState::Locked)));
    world.restart().await;
    assert_eq!(world.force(7, "o", ForceVerb::Cancel, "bob").await, Ok(forced.clone()));
    assert_eq!(world.cancel(7, "o", "late").await, Ok(forced));
    assert_eq!(rejected(world.confirm(7, "o", "late").await), Rejection::OrderCancelled);
    let paid = world.force(7, "o", ForceVerb::Confirm, "bob").await;
    assert_eq!(rejected(paid), Rejection::OrderCancelled);
    let late = world.lock(7, "o", "lock", &[coupon]).await;
    assert_eq!(rejected(late), Rejection::OrderCancelled);
    assert!(world.lock(7, "next", "lock", &[coupon]).await.is_ok());
}

// R58: twenty operators, half of them for either end: the first decides, and its record stays.
pub(crate) async fn twenty_operators_have_one_effect(world: &mut World) {
    let (coupon, _) = locked(world, Offer::default()).await;
    world.pass(TTL);
    let verbs = [ForceVerb::Confirm, ForceVerb::Cancel];
    let calls = (0..20).map(|number| {
        let (ledger, now) = (Arc::clone(world.ledger()), world.now);
        let verb = verbs[number % 2];
        let command = force_command(7, "o", verb, &format!("operator {number}"));
        let call =
            async move { ledger.redeem(RedeemCommand::Force(command), now, deadline()).await };
        async move { (verb, call.await) }
    });
    let outcomes = join_all(calls).await;
    let stored = world.ledger().redemption(user_id(7), "o", Fresh::Latest).await;
    let stored = stored.expect("readable").expect("the order is known");
    let (winner, rejection, left) = match stored.state {
        RedemptionState::Confirmed => {
            (ForceVerb::Confirm, Rejection::OrderConfirmed, CouponStatus::Used)
        }
        _ => (ForceVerb::Cancel, Rejection::OrderCancelled, CouponStatus::Available),
    };
    for (verb, outcome) in outcomes {
        if verb == winner {
            assert_eq!(outcome, Ok(Redeemed::Redemption(stored.clone())));
        } else {
            assert_eq!(rejected(outcome), rejection);
        }
    }
    assert_eq!(status(world, coupon).await, left);
}

// R50, R58: a coupon that was free again and expired is used all the same, and counted so.
pub(crate) async fn what_expired_meanwhile_is_used(world: &mut World) {
    let expiry = start().plus(DAY);
    let (coupon, order) = locked(world, Offer { window: until(expiry), ..Offer::default() }).await;
    world.pass(TTL);
    assert!(world.lapse(7, order.id).await);
    world.pass(DAY);
    let minute = expiry.due_minute();
    let alarm = AlarmRow { shard: 0, kind: AlarmKind::CouponExpiry, minute, hop: 0 };
    for shard in 0..world.ledger().shards() {
        let alarm = AlarmRow { shard, ..alarm };
        world.ledger().expire_chunk(alarm, None, 10, world.now).await.expect("swept");
    }
    assert_eq!(status(world, coupon).await, CouponStatus::Expired);
    let forced = world.force(7, "o", ForceVerb::Confirm, "ann").await.expect("confirmed");
    assert_eq!(record(&forced), Some(("ann", RedemptionState::Lapsed)));
    world.restart().await;
    assert_eq!(status(world, coupon).await, CouponStatus::Used);
}
