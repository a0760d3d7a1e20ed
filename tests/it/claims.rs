//! Claims: the three gates in their order, once per request id, never more than there are (R1, R9,
//! R10, R17, R18, R45, R46).

mod precedence;
mod replay;
mod restart;
mod storm;
mod stream;

use coupon_client::{ClientError, CouponClient, v1};

use crate::harness::{
    self, START_MS, at_once,
    given::{claim, instant, rules, template, template_of},
};

type Claimed = Result<v1::ClaimResponse, ClientError>;

/// Sends all of them, many at once; answers in the order of the requests.
async fn claim_all(
    client: &CouponClient,
    requests: impl IntoIterator<Item = v1::ClaimRequest>,
) -> Vec<Claimed> {
    at_once(requests.into_iter().map(|request| {
        let client = client.clone();
        async move { client.claim(request).await }
    }))
    .await
}

/// The coupon of a win.
fn coupon(outcome: &Claimed) -> &v1::Coupon {
    let won = outcome.as_ref().expect("a win");
    won.coupon.as_ref().expect("the coupon")
}

// R4, R45: what a won coupon says.
#[tokio::test]
async fn a_won_coupon_is_in_the_wallet() {
    let harness = harness::start().await;
    let id = harness.publish(template_of(5, rules())).await;
    let user = 123_456_789;
    let request = v1::ClaimRequest { source: "app/home".to_owned(), ..claim(user, id, "first") };
    let won = harness.client.claim(request).await.expect("a win");
    assert!(!won.replayed);
    let coupon = won.coupon.expect("the coupon");
    assert_eq!(coupon.coupon_id % 10_000, user % 10_000, "either id routes");
    let expected = v1::Coupon {
        name: format!("users/{user}/coupons/{}", coupon.coupon_id),
        coupon_id: coupon.coupon_id,
        user_id: user,
        template_id: id,
        template_version: 1,
        status: v1::CouponStatus::Available.into(),
        claim_no: 1,
        claimed_at: Some(instant(START_MS)),
        use_from: Some(instant(START_MS)),
        valid_until: Some(instant(START_MS + 30 * harness::given::DAY)),
        source: "app/home".to_owned(),
        ..v1::Coupon::default()
    };
    assert_eq!(coupon, expected);
    assert_eq!(harness.coupon(user, coupon.coupon_id).await, expected);
    assert_eq!(harness.wallet(user).await, [expected]);
    let unknown = harness.client.claim(claim(user, 404, "r")).await.expect_err("no template");
    assert_eq!(unknown.reason(), Some(v1::ErrorReason::TemplateNotFound));
}

// R8, R46: an id is scoped to (user, template): the same text elsewhere is another claim.
#[tokio::test]
async fn request_ids_of_other_users_and_templates_are_other_claims() {
    let harness = harness::start().await;
    let (one, two) = (harness.publish(template(5)).await, harness.publish(template(5)).await);
    let claims = [claim(1, one, "same"), claim(2, one, "same"), claim(1, two, "same")];
    let outcomes = claim_all(&harness.client, claims).await;
    let mut ids: Vec<_> = outcomes.iter().map(|outcome| coupon(outcome).coupon_id).collect();
    assert!(outcomes.iter().all(|outcome| !outcome.as_ref().expect("a win").replayed));
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 3);
}
