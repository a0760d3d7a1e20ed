//! What Lock answers under the coordinator dtm, which knows one code for "no" (R58).

use coupon_client::{
    tonic::{self, Code, Request, Status},
    v1,
};
use prost::Message as _;
use tonic_types::StatusExt as _;
use v1::redemption_service_client::RedemptionServiceClient;

use super::{cancelled, locked};
use crate::harness::{
    self,
    given::{cancel, confirm, lock, rules},
};

/// A call as dtm and its client libraries send it.
fn under_dtm<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    for (name, value) in [("dtm-gid", "g1"), ("dtm-branch_id", "01"), ("dtm-trans_type", "tcc")] {
        request.metadata_mut().insert(name, value.parse().expect("a value"));
    }
    request
}

/// The code in the details, and what the details say besides.
fn details(status: &Status) -> (i32, Vec<Vec<u8>>) {
    let told = tonic_types::Status::decode(status.details()).expect("rich details");
    (told.code, told.details.iter().map(|detail| detail.encode_to_vec()).collect())
}

// R58: every definite refusal of a Try is ABORTED there, and says otherwise the same.
#[tokio::test]
async fn a_refused_lock_is_aborted_with_the_same_details() {
    let harness = harness::start().await;
    let (held, free) = (harness.give(1, rules()).await, harness.give(1, rules()).await);
    locked(&harness, lock(1, "held", "try", &[held])).await;
    cancelled(&harness, 1, "over").await;
    let channel = tonic::transport::Endpoint::from_shared(harness.endpoint());
    let channel = channel.expect("an address").connect().await.expect("a connection");
    let mut client = RedemptionServiceClient::new(channel);
    for (request, code, reason) in [
        (lock(1, "o", "try", &[held]), Code::FailedPrecondition, "COUPON_LOCKED"),
        (lock(1, "over", "try", &[free]), Code::FailedPrecondition, "ORDER_CANCELLED"),
        (lock(1, "o", "try", &[free + 10_000]), Code::NotFound, "COUPON_NOT_FOUND"),
        (lock(1, "held", "try", &[free]), Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED"),
        (lock(0, "o", "try", &[free]), Code::InvalidArgument, "INVALID_FIELD"),
    ] {
        let plain = client.lock(request.clone()).await.expect_err("refused");
        assert_eq!(plain.code(), code, "{reason}");
        let told = client.lock(under_dtm(request)).await.expect_err("refused");
        assert_eq!((told.code(), told.message()), (Code::Aborted, plain.message()), "{reason}");
        assert_eq!(told.get_details_error_info().expect("an ErrorInfo").reason, reason);
        let (inner, told) = details(&told);
        assert_eq!(inner, i32::from(Code::Aborted), "both name the same code: {reason}");
        assert_eq!(told, details(&plain).1, "{reason}");
    }
    let done = client.lock(under_dtm(lock(1, "o", "try", &[free]))).await.expect("locked");
    assert_eq!(done.into_inner().redemption.expect("the redemption").discount_minor, 500);
}

// R58: Confirm and Cancel are decided before they are sent; their codes are the usual ones.
#[tokio::test]
async fn refused_confirms_and_cancels_keep_their_codes() {
    let harness = harness::start().await;
    let coupon = harness.give(1, rules()).await;
    cancelled(&harness, 1, "over").await;
    locked(&harness, lock(1, "paid", "try", &[coupon])).await;
    let channel = tonic::transport::Endpoint::from_shared(harness.endpoint());
    let channel = channel.expect("an address").connect().await.expect("a connection");
    let mut client = RedemptionServiceClient::new(channel);
    client.confirm(under_dtm(confirm(1, "paid", "c"))).await.expect("confirmed");
    let refused = client.confirm(under_dtm(confirm(1, "over", "c"))).await.expect_err("refused");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let refused = client.confirm(under_dtm(confirm(1, "never", "c"))).await.expect_err("refused");
    assert_eq!(refused.code(), Code::NotFound);
    let refused = client.cancel(under_dtm(cancel(1, "paid", "x"))).await.expect_err("refused");
    assert_eq!(refused.code(), Code::FailedPrecondition);
}
