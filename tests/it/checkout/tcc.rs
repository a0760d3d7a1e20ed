//! Every edge of the redemption's state machine over gRPC (R49, R51, R58, R61).

use coupon_client::{
    tonic::{self, Code},
    v1,
};
use tonic_prost::ProstCodec;
use v1::{CouponStatus, ErrorReason, RedemptionState};

use super::{cancelled, confirmed, locked};
use crate::harness::{
    self, START_MS,
    given::{DAY, HOUR, MINUTE, cancel, cart, confirm, instant, line, lock, reason, rules},
};

// R58: empty rollback: a Cancel without a Lock succeeds and keeps a late Lock out.
#[tokio::test]
async fn an_empty_cancel_keeps_a_late_lock_out() {
    let harness = harness::start().await;
    let coupon = harness.give(1, rules()).await;
    let empty = cancelled(&harness, 1, "o").await;
    let expected = v1::Redemption {
        name: "users/1/redemptions/o".to_owned(),
        redemption_id: empty.redemption_id,
        user_id: 1,
        order_id: "o".to_owned(),
        state: RedemptionState::Cancelled.into(),
        closed_at: Some(instant(START_MS)),
        ..v1::Redemption::default()
    };
    assert_eq!(empty, expected);
    let late = harness.client.lock(lock(1, "o", "try", &[coupon])).await;
    assert_eq!(reason(late), ErrorReason::OrderCancelled);
    let late = harness.client.confirm(confirm(1, "o", "confirm")).await;
    assert_eq!(reason(late), ErrorReason::OrderCancelled);
    assert_eq!(cancelled(&harness, 1, "o").await, expected, "again, under another id");
    assert_eq!(harness.status(1, coupon).await, CouponStatus::Available);
    let harness = harness.restart().await;
    let late = harness.client.lock(lock(1, "o", "try", &[coupon])).await;
    assert_eq!(reason(late), ErrorReason::OrderCancelled);
}

// R58: Confirm with nothing locked writes nothing.
#[tokio::test]
async fn a_confirm_without_a_lock_is_not_found_and_writes_nothing() {
    let harness = harness::start().await;
    let coupon = harness.give(1, rules()).await;
    let error = harness.client.confirm(confirm(1, "o", "c")).await.expect_err("nothing locked");
    assert_eq!(error.code(), Code::NotFound);
    assert_eq!(error.reason(), Some(ErrorReason::RedemptionNotFound));
    let request = v1::GetRedemptionRequest { user_id: 1, order_id: "o".to_owned() };
    let error = harness.client.get_redemption(request).await;
    assert_eq!(reason(error), ErrorReason::RedemptionNotFound);
    locked(&harness, lock(1, "o", "try", &[coupon])).await;
    confirmed(&harness, 1, "o").await;
}

// R58, R61: Confirm and Cancel repeat by state, whatever the id.
#[tokio::test]
async fn confirm_and_cancel_repeat_their_first_result() {
    let harness = harness::start().await;
    let coupon = harness.give(1, rules()).await;
    locked(&harness, lock(1, "paid", "try", &[coupon])).await;
    let first = harness.client.confirm(confirm(1, "paid", "c")).await.expect("confirmed");
    harness.advance(START_MS + HOUR).await;
    for id in ["c", "another", ""] {
        let again = harness.client.confirm(confirm(1, "paid", id)).await.expect("again");
        assert_eq!(again, first, "{id}");
    }
    let other = v1::ConfirmRequest { coupon_ids: vec![coupon], ..confirm(1, "paid", "c") };
    let error = harness.client.confirm(other.clone()).await;
    assert_eq!(reason(error), ErrorReason::IdempotencyKeyReused);
    let other = v1::ConfirmRequest { request_id: "d".to_owned(), ..other };
    harness.client.confirm(other).await.expect("the locked set, under another id");

    let coupon = harness.give(1, rules()).await;
    locked(&harness, lock(1, "unpaid", "try", &[coupon])).await;
    let first = harness.client.cancel(cancel(1, "unpaid", "c")).await.expect("cancelled");
    harness.advance(START_MS + 2 * HOUR).await;
    for id in ["c", "another", ""] {
        let again = harness.client.cancel(cancel(1, "unpaid", id)).await.expect("again");
        assert_eq!(again, first, "{id}");
    }
    let other = v1::CancelRequest { coupon_ids: vec![coupon], ..cancel(1, "unpaid", "c") };
    assert_eq!(reason(harness.client.cancel(other).await), ErrorReason::IdempotencyKeyReused);
}

// R58: the ends are terminal, each for the other.
#[tokio::test]
async fn ends_are_terminal() {
    let harness = harness::start().await;
    let client = &harness.client;
    let (paid, unpaid) = (harness.give(1, rules()).await, harness.give(1, rules()).await);
    let first = locked(&harness, lock(1, "paid", "try", &[paid])).await;
    confirmed(&harness, 1, "paid").await;
    assert_eq!(reason(client.cancel(cancel(1, "paid", "x")).await), ErrorReason::OrderConfirmed);
    let relock = client.lock(lock(1, "paid", "second", &[unpaid])).await;
    assert_eq!(reason(relock), ErrorReason::OrderConfirmed);
    let replay = locked(&harness, lock(1, "paid", "try", &[paid])).await;
    assert_eq!(replay.state(), RedemptionState::Confirmed, "the redemption as it is now");
    assert_eq!(replay.redemption_id, first.redemption_id);
    assert_eq!(harness.status(1, paid).await, CouponStatus::Used);

    locked(&harness, lock(1, "unpaid", "try", &[unpaid])).await;
    cancelled(&harness, 1, "unpaid").await;
    let late = client.confirm(confirm(1, "unpaid", "x")).await;
    assert_eq!(reason(late), ErrorReason::OrderCancelled);
    for id in ["try", "second"] {
        let late = client.lock(lock(1, "unpaid", id, &[unpaid])).await;
        assert_eq!(reason(late), ErrorReason::OrderCancelled, "a late Try, {id}");
    }
    assert_eq!(harness.status(1, unpaid).await, CouponStatus::Available);
}

// R61: a replayed Lock changes nothing; with another body it is refused.
#[tokio::test]
async fn a_replayed_lock_changes_nothing() {
    let harness = harness::start().await;
    let (one, two) = (harness.give(1, rules()).await, harness.give(1, rules()).await);
    let first = locked(&harness, lock(1, "o", "try", &[one])).await;
    harness.advance(START_MS + 10 * MINUTE).await;
    assert_eq!(locked(&harness, lock(1, "o", "try", &[one])).await, first, "not renewed");
    let dearer = cart([line("1", 1, 20_000)]);
    for other in [
        lock(1, "o", "try", &[two]),
        v1::LockRequest { cart: dearer, ..lock(1, "o", "try", &[one]) },
        v1::LockRequest { expected_discount_minor: Some(500), ..lock(1, "o", "try", &[one]) },
    ] {
        let error = harness.client.lock(other).await;
        assert_eq!(reason(error), ErrorReason::IdempotencyKeyReused);
    }
    assert_eq!(harness.redemption(1, "o").await, first);
    assert_eq!(harness.status(1, two).await, CouponStatus::Available);
}

// R58: a new id with the same coupons renews the lock, never beyond 7 days after the first.
#[tokio::test]
async fn a_new_id_renews_the_lock_up_to_seven_days() {
    let harness = harness::start().await;
    let coupon = harness.give(1, rules()).await;
    let ttl = |seconds| Some(coupon_client::prost_types::Duration { seconds, nanos: 0 });
    let first = locked(&harness, lock(1, "o", "t1", &[coupon])).await;
    harness.advance(START_MS + 20 * MINUTE).await;
    let renewed = locked(&harness, lock(1, "o", "t2", &[coupon])).await;
    let expected = v1::Redemption { locked_until: Some(instant(START_MS + 50 * MINUTE)), ..first };
    assert_eq!(renewed, expected);
    let long = v1::LockRequest { lock_ttl: ttl(7 * 86_400), ..lock(1, "o", "t3", &[coupon]) };
    let renewed = locked(&harness, long).await;
    assert_eq!(renewed.locked_until, Some(instant(START_MS + 7 * DAY)), "the horizon");
    let shorter = v1::LockRequest { lock_ttl: ttl(60), ..lock(1, "o", "t4", &[coupon]) };
    let renewed = locked(&harness, shorter).await;
    assert_eq!(renewed.locked_until, Some(instant(START_MS + 21 * MINUTE)));
    // The alarm of the first end does nothing to a lock that was renewed past it.
    let longer = v1::LockRequest { lock_ttl: ttl(86_400), ..lock(1, "o", "t5", &[coupon]) };
    locked(&harness, longer).await;
    harness.advance(START_MS + 2 * HOUR).await;
    assert_eq!(harness.status(1, coupon).await, CouponStatus::Locked);
    assert_eq!(confirmed(&harness, 1, "o").await.state(), RedemptionState::Confirmed);
}

// R58: the request ids of one order are bounded.
#[tokio::test]
async fn an_order_is_locked_under_so_many_ids_and_no_more() {
    let harness = harness::start_with(|config| config.redemptions.locks_per_order_max = 3).await;
    let coupon = harness.give(1, rules()).await;
    for id in ["1", "2", "3"] {
        locked(&harness, lock(1, "o", id, &[coupon])).await;
    }
    let more = harness.client.lock(lock(1, "o", "4", &[coupon])).await;
    assert_eq!(reason(more), ErrorReason::TooManyLocks);
    locked(&harness, lock(1, "o", "2", &[coupon])).await;
    confirmed(&harness, 1, "o").await;
}

// R58: a new id with other coupons replaces the set, wholly or not at all.
#[tokio::test]
async fn a_new_id_replaces_the_set_atomically() {
    let harness = harness::start().await;
    let mut coupons = Vec::new();
    for _ in 0..4 {
        coupons.push(harness.give(1, rules()).await);
    }
    let [a, b, c, taken] = coupons[..] else { panic!("four coupons") };
    locked(&harness, lock(1, "other", "try", &[taken])).await;
    locked(&harness, lock(1, "o", "t1", &[a, b])).await;
    let refused = harness.client.lock(lock(1, "o", "t2", &[b, c, taken])).await;
    assert_eq!(reason(refused), ErrorReason::CouponLocked);
    let held: Vec<i64> =
        harness.redemption(1, "o").await.coupons.iter().map(|used| used.coupon_id).collect();
    assert_eq!(held, [a, b]);
    assert_eq!(harness.status(1, c).await, CouponStatus::Available);

    let replaced = locked(&harness, lock(1, "o", "t2", &[b, c])).await;
    assert_eq!(replaced.discount_minor, 1_000);
    assert_eq!(harness.status(1, a).await, CouponStatus::Available);
    assert_eq!(harness.status(1, b).await, CouponStatus::Locked);
    assert_eq!(harness.status(1, c).await, CouponStatus::Locked);
    confirmed(&harness, 1, "o").await;
    assert_eq!(harness.status(1, a).await, CouponStatus::Available);
    assert_eq!(harness.status(1, b).await, CouponStatus::Used);
    assert_eq!(harness.status(1, c).await, CouponStatus::Used);
}

// R58: the coupons named by Confirm and Cancel must be the locked set, in any order.
#[tokio::test]
async fn other_coupons_than_the_locked_are_a_mismatch() {
    let harness = harness::start().await;
    let (a, b) = (harness.give(1, rules()).await, harness.give(1, rules()).await);
    locked(&harness, lock(1, "o", "try", &[a, b])).await;
    for named in [vec![a], vec![b], vec![a, b, 10_001]] {
        let coupon_ids = named.clone();
        let request = v1::ConfirmRequest { coupon_ids, ..confirm(1, "o", "") };
        let error = harness.client.confirm(request).await;
        assert_eq!(reason(error), ErrorReason::LockMismatch, "{named:?}");
        let request = v1::CancelRequest { coupon_ids: named.clone(), ..cancel(1, "o", "") };
        let error = harness.client.cancel(request).await;
        assert_eq!(reason(error), ErrorReason::LockMismatch, "{named:?}");
    }
    assert_eq!(harness.redemption(1, "o").await.state(), RedemptionState::Locked);
    let request = v1::ConfirmRequest { coupon_ids: vec![b, a], ..confirm(1, "o", "") };
    harness.client.confirm(request).await.expect("the locked set");
}

// R47, R60: the lock insists on what was quoted.
#[tokio::test]
async fn a_changed_quote_is_refused() {
    let harness = harness::start().await;
    let coupon = harness.give(1, rules()).await;
    for wrong in [0, 499, 501] {
        let expected_discount_minor = Some(wrong);
        let request = v1::LockRequest { expected_discount_minor, ..lock(1, "o", "", &[coupon]) };
        let error = harness.client.lock(request).await;
        assert_eq!(reason(error), ErrorReason::QuoteChanged, "{wrong}");
    }
    assert_eq!(harness.status(1, coupon).await, CouponStatus::Available);
    let request =
        v1::LockRequest { expected_discount_minor: Some(500), ..lock(1, "o", "", &[coupon]) };
    locked(&harness, request).await;
}

// R58: a coordinator sends the bytes of the Try to all three.
#[tokio::test]
async fn one_payload_serves_all_three() {
    let harness = harness::start().await;
    let address = tonic::transport::Endpoint::from_shared(harness.endpoint()).expect("an address");
    let channel = address.connect().await.expect("a connection");
    let send = async |verb: &'static str, payload: v1::LockRequest| {
        let mut grpc = tonic::client::Grpc::new(channel.clone());
        grpc.ready().await.expect("ready");
        let path = format!("/coupon.v1.RedemptionService/{verb}").parse().expect("a path");
        // The three answers have the same shape.
        let codec: ProstCodec<v1::LockRequest, v1::LockResponse> = ProstCodec::default();
        let answer = grpc.unary(tonic::Request::new(payload), path, codec).await;
        answer.map(|answer| answer.into_inner().redemption.expect("a redemption").state())
    };
    let ttl = coupon_client::prost_types::Duration { seconds: 60, nanos: 0 };
    let payload = |order: &str, coupon| v1::LockRequest {
        lock_ttl: Some(ttl),
        expected_discount_minor: Some(500),
        ..lock(1, order, "gid-branch-01", &[coupon])
    };
    let coupon = harness.give(1, rules()).await;
    let paid = payload("paid", coupon);
    assert_eq!(send("Lock", paid.clone()).await.expect("try"), RedemptionState::Locked);
    assert_eq!(send("Confirm", paid.clone()).await.expect("paid"), RedemptionState::Confirmed);
    assert_eq!(send("Confirm", paid.clone()).await.expect("again"), RedemptionState::Confirmed);
    let coupon = harness.give(1, rules()).await;
    let unpaid = payload("unpaid", coupon);
    assert_eq!(send("Lock", unpaid.clone()).await.expect("try"), RedemptionState::Locked);
    assert_eq!(send("Cancel", unpaid.clone()).await.expect("off"), RedemptionState::Cancelled);
    assert_eq!(send("Cancel", unpaid.clone()).await.expect("again"), RedemptionState::Cancelled);
    // Hanging: the Cancel overtakes its Try.
    let hanging = payload("hanging", coupon);
    assert_eq!(send("Cancel", hanging.clone()).await.expect("off"), RedemptionState::Cancelled);
    let late = send("Lock", hanging).await.expect_err("a late Try");
    assert_eq!(late.code(), Code::FailedPrecondition);
}
