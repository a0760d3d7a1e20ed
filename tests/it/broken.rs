//! A client that goes away: what it has sent happens wholly or not at all, and a retry with the same
//! id tells which (R10, R61).

use std::time::Duration;

use coupon_client::{tonic, v1};
use tokio::io::AsyncWriteExt as _;
use tonic::transport::Endpoint;
use v1::{
    CouponStatus, RedemptionState, coupon_service_client::CouponServiceClient,
    redemption_service_client::RedemptionServiceClient,
};

use crate::harness::{
    self, Harness,
    given::{claim, confirm, lock, rules, template_of},
};

/// Sends a call and drops it `moment` looks later, answered or not.
async fn cut<F: Future>(call: F, moment: i64) {
    let mut call = Box::pin(call);
    for _ in 0..=moment {
        if futures::poll!(call.as_mut()).is_ready() {
            return;
        }
        // Long enough for a frame or two to move.
        tokio::task::yield_now().await;
    }
}

/// Moments from "before the request is out" to "after the answer is there".
fn moment(n: i64) -> i64 {
    (n % 20).pow(3)
}

/// A connection of its own, which goes away with its last client.
async fn connection(harness: &Harness) -> tonic::transport::Channel {
    let endpoint = Endpoint::from_shared(harness.endpoint()).expect("an address");
    endpoint.connect().await.expect("a connection")
}

/// The retry wins or replays, and there is exactly one coupon either way.
async fn settle(harness: &Harness, user: i64, template: i64) -> bool {
    let settled = harness.client.claim(claim(user, template, "r")).await.expect("settled");
    let wallet = harness.wallet(user).await;
    assert_eq!(wallet.len(), 1, "user {user}");
    assert_eq!(Some(&wallet[0]), settled.coupon.as_ref(), "user {user}");
    settled.replayed
}

// R10: the call is dropped after its request is out, at many points of its way; the connection
// stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_claim_is_wholly_there_or_not_at_all() {
    let harness = harness::start().await;
    let id = harness.publish_in(template_of(1_000, rules()), 4).await;
    let client = CouponServiceClient::new(connection(&harness).await);
    for user in 1..=200_i64 {
        let mut caller = client.clone();
        cut(caller.claim(claim(user, id, "r")), moment(user)).await;
    }
    let mut there = 0;
    for user in 1..=200 {
        there += i32::from(settle(&harness, user, id).await);
    }
    assert!((1..200).contains(&there), "some were cut early, some late: {there}");
    println!("{there} of 200 dropped claims were there");
    assert_eq!(harness.issued(id).await, 200);
}

// R10: the whole connection goes away right after sending.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disconnected_claim_is_wholly_there_or_not_at_all() {
    let harness = harness::start().await;
    let id = harness.publish_in(template_of(1_000, rules()), 4).await;
    for user in 1..=60_i64 {
        let mut caller = CouponServiceClient::new(connection(&harness).await);
        cut(caller.claim(claim(user, id, "r")), moment(user)).await;
        drop(caller);
    }
    for user in 1..=60 {
        settle(&harness, user, id).await;
    }
    assert_eq!(harness.issued(id).await, 60);
}

// R10: a caller whose deadline is nearly nothing: the outcome is unknown to it, never doubled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_with_a_tiny_deadline_is_settled_by_its_retry() {
    let harness = harness::start().await;
    let id = harness.publish_in(template_of(1_000, rules()), 4).await;
    let client = CouponServiceClient::new(connection(&harness).await);
    for user in 1..=100_i64 {
        let mut request = tonic::Request::new(claim(user, id, "r"));
        let micros = u64::try_from(user).expect("positive") * 40;
        request.set_timeout(Duration::from_micros(micros));
        if let Err(status) = client.clone().claim(request).await {
            let told = status.code();
            // CANCELLED and UNAVAILABLE may come from the caller's own side of the connection.
            let unknown =
                [tonic::Code::DeadlineExceeded, tonic::Code::Cancelled, tonic::Code::Unavailable];
            assert!(unknown.contains(&told), "{status:?}");
        }
    }
    for user in 1..=100 {
        settle(&harness, user, id).await;
    }
    assert_eq!(harness.issued(id).await, 100);
}

// R58: a Lock whose caller goes away holds all its coupons or none, and its replay tells which.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_lock_and_confirm_are_whole() {
    let harness = harness::start().await;
    let client = RedemptionServiceClient::new(connection(&harness).await);
    for user in 1..=40_i64 {
        let (a, b) = (harness.give(user, rules()).await, harness.give(user, rules()).await);
        cut(client.clone().lock(lock(user, "o", "try", &[a, b])), moment(user)).await;
        // One read of both: the lock may be written between two.
        let wallet = harness.wallet(user).await;
        let both = [wallet[0].status(), wallet[1].status()];
        let whole = [[CouponStatus::Locked; 2], [CouponStatus::Available; 2]];
        assert!(whole.contains(&both), "user {user}: {both:?}");
        let held = harness.client.lock(lock(user, "o", "try", &[a, b])).await.expect("settled");
        assert_eq!(held.redemption.expect("the redemption").discount_minor, 1_000);
        cut(client.clone().confirm(confirm(user, "o", "c")), moment(user)).await;
        let paid = harness.client.confirm(confirm(user, "o", "c")).await.expect("settled");
        let state = paid.redemption.expect("the redemption").state();
        assert_eq!(state, RedemptionState::Confirmed);
        for coupon in [a, b] {
            assert_eq!(harness.status(user, coupon).await, CouponStatus::Used);
        }
    }
}

// R61: what is no gRPC at all, or breaks off in the middle of a message, does no harm.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_the_wire_does_no_harm() {
    let harness = harness::start().await;
    let id = harness.publish(template_of(10, rules())).await;
    let address = harness.endpoint().replace("http://", "");
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let half_a_frame = [preface.as_slice(), &[0, 0, 50, 1, 4, 0, 0, 0, 1, 0x82]].concat();
    let wrong = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec();
    for bytes in [wrong, preface.to_vec(), half_a_frame, vec![0xff; 70_000], Vec::new()] {
        let mut socket = tokio::net::TcpStream::connect(&address).await.expect("connected");
        // The server may close before it has read everything.
        let _ = socket.write_all(&bytes).await;
        drop(socket);
    }
    harness.win(1, id).await;
}
