//! Refunds of parts (R59).

use std::sync::Arc;

use coupon_domain::{
    Rejection,
    cart::Cart,
    coupon::CouponStatus,
    ids::CouponId,
    money::Minor,
    redemption::{LineQuantity, RedemptionState, RefundOf, Restored},
    rules::{Benefit, KeptDiscount},
};
use coupon_server::ledger::RedeemCommand;
use futures::future::join_all;

use crate::conformance::fixture::{Offer, World, cart, deadline, refund_command, rejected};

/// So many pieces of a line.
fn part(line_id: &str, quantity: i64) -> RefundOf {
    let lines = vec![LineQuantity { line_id: line_id.to_owned(), quantity }];
    RefundOf::Parts { lines, shipping: false }
}

/// So many pieces for 100.00.
fn of_pieces(quantity: i64) -> Cart {
    let mut cart = cart(10_000);
    cart.lines[0].quantity = quantity;
    cart
}

/// Pays user 7's order `o` with a coupon of the offer.
async fn paid(world: &World, offer: Offer, cart: Cart) -> CouponId {
    let template = world.publish(offer).await;
    let coupon = world.win(&template, 7, "r").await.id;
    let RedeemCommand::Lock(mut command, limits) = world.lock_command(7, "o", "lock", &[coupon])
    else {
        panic!("a lock is a lock")
    };
    command.cart = cart;
    world.redeem(RedeemCommand::Lock(command, limits)).await.expect("locked");
    world.confirm(7, "o", "paid").await.expect("confirmed");
    coupon
}

async fn status(world: &World, coupon: CouponId) -> CouponStatus {
    world.coupon(7, coupon).await.coupon.status
}

/// What was given back, and what of it was kept back.
fn money(restored: &Restored) -> (i64, i64) {
    (restored.amounts.amount.get(), restored.amounts.clawed_back)
}

// R59: 99.00 for seven pieces; every part outlives the process and repeats, and the sum is exact.
pub(crate) async fn parts_add_up_to_what_was_paid(world: &mut World) {
    let coupon = paid(world, Offer::default(), of_pieces(7)).await;
    let three = world.refund(7, "o", "three", part("a", 3)).await.expect("refunded");
    assert_eq!((money(&three), three.coupons.len()), ((4_242, 0), 0));
    assert_eq!(three.redemption.state, RedemptionState::Confirmed);
    world.restart().await;
    assert_eq!(world.refund(7, "o", "three", part("a", 3)).await, Ok(three.clone()));
    let refused = async |request, of| rejected(world.refund(7, "o", request, of).await);
    assert_eq!(refused("three", part("a", 2)).await, Rejection::IdempotencyKeyReused);
    assert_eq!(refused("x", part("a", 5)).await, Rejection::RefundedAlready);
    assert_eq!(refused("x", part("b", 1)).await, Rejection::LineNotFound);
    assert_eq!(status(world, coupon).await, CouponStatus::Used);
    let rest = world.restore(7, "o", "rest").await.expect("refunded");
    assert_eq!((money(&rest), rest.coupons.len()), ((5_658, 0), 1));
    assert_eq!(rest.redemption.state, RedemptionState::Restored);
    assert_eq!(rest.redemption.refunded.amount, Minor::new(9_900));
    world.restart().await;
    assert_eq!(world.restore(7, "o", "rest").await, Ok(rest.clone()));
    let again = Restored { redemption: rest.redemption, ..three };
    assert_eq!(world.refund(7, "o", "three", part("a", 3)).await, Ok(again));
    let refused = world.refund(7, "o", "x", part("a", 1)).await;
    assert_eq!(rejected(refused), Rejection::OrderRestored);
    assert_eq!(status(world, coupon).await, CouponStatus::Available);
    assert!(world.lock(7, "next", "lock", &[coupon]).await.is_ok());
}

// R59: twenty refunds of a piece each for thirteen pieces, in one group or in many.
pub(crate) async fn twenty_refunds_share_out_the_pieces(world: &mut World) {
    let coupon = paid(world, Offer::default(), of_pieces(13)).await;
    let calls = (0..20).map(|number| {
        let (ledger, now) = (Arc::clone(world.ledger()), world.now);
        let command = refund_command(7, "o", &format!("refund {number}"), part("a", 1));
        async move { ledger.redeem(RedeemCommand::Restore(command), now, deadline()).await }
    });
    let (mut done, mut refused) = (0, 0);
    for outcome in join_all(calls).await {
        match outcome {
            Ok(_) => done += 1,
            Err(_) => {
                assert_eq!(rejected(outcome), Rejection::OrderRestored, "by the last piece");
                refused += 1;
            }
        }
    }
    assert_eq!((done, refused), (13, 7));
    world.restart().await;
    let (mut given, mut back) = (0, 0);
    for number in 0..20 {
        let repeated = world.refund(7, "o", &format!("refund {number}"), part("a", 1)).await;
        if let Ok(repeated) = repeated {
            (given, back) = (given + money(&repeated).0, back + repeated.coupons.len());
            assert_eq!(repeated.redemption.state, RedemptionState::Restored);
            assert_eq!(repeated.redemption.refunded.amount, Minor::new(9_900));
        }
    }
    assert_eq!((given, back), (9_900, 1), "what was paid, and the coupon once");
    assert_eq!(status(world, coupon).await, CouponStatus::Available);
}

// R59: what the rules say of the rest is judged by what was stored with the order.
pub(crate) async fn a_kept_discount_is_clawed_back(world: &mut World) {
    let (threshold, amount) = (Minor::new(10_000), Minor::new(5_000));
    let benefit = Benefit::ThresholdOff { threshold, amount, every: false, max_discount: None };
    let kept_discount = KeptDiscount::ClawBack;
    let mut cart = cart(9_000);
    let mut small = cart.lines[0].clone();
    (small.line_id, small.amount) = ("b".to_owned(), Minor::new(1_000));
    cart.lines.push(small);
    let coupon = paid(world, Offer { benefit, kept_discount, ..Offer::default() }, cart).await;
    world.restart().await;
    let most = world.refund(7, "o", "most", part("a", 1)).await.expect("refunded");
    assert_eq!((money(&most), most.coupons.len()), ((4_000, 500), 1));
    world.lock(7, "next", "lock", &[coupon]).await.expect("it came back");
    world.restart().await;
    assert_eq!(world.refund(7, "o", "most", part("a", 1)).await, Ok(most));
    let rest = world.restore(7, "o", "rest").await.expect("refunded");
    assert_eq!((money(&rest), rest.coupons.len()), ((1_000, -500), 0));
    assert_eq!(rest.redemption.state, RedemptionState::Restored);
    assert_eq!(status(world, coupon).await, CouponStatus::Locked, "it comes back once");
}
