//! Issue: the merchant gives coupons (R27, R29, R30, R42, R44).

mod replay;

use std::collections::BTreeSet;

use coupon_client::{ClientError, tonic::Code, v1};
use tonic_types::{ErrorDetails, StatusExt as _};
use v1::ErrorReason;

use crate::harness::{
    self, Harness, START_MS,
    given::{DAY, after_claim, fixed, instant, rules, template, template_of},
};

/// An issue of (user, pieces), under an id of its own when none is given.
fn issue(template_id: i64, request_id: &str, users: &[(i64, i32)]) -> v1::IssueRequest {
    let users =
        users.iter().map(|(user_id, count)| v1::IssueUser { user_id: *user_id, count: *count });
    v1::IssueRequest {
        template_id,
        request_id: request_id.to_owned(),
        users: users.collect(),
        source: String::new(),
    }
}

/// What became of each user: the coupons and whether it was a replay, or why not.
type Outcomes = Vec<Result<(Vec<i64>, bool), String>>;

async fn send(harness: &Harness, request: v1::IssueRequest) -> Result<Outcomes, ClientError> {
    let users: Vec<i64> = request.users.iter().map(|user| user.user_id).collect();
    let outcomes = harness.client.issue(request).await?.outcomes;
    assert_eq!(outcomes.iter().map(|outcome| outcome.user_id).collect::<Vec<_>>(), users);
    let told = outcomes.into_iter().map(|outcome| match outcome.error {
        None => Ok((outcome.coupon_ids, outcome.replayed)),
        Some(error) => {
            assert!(outcome.coupon_ids.is_empty());
            Err(reason_of(error))
        }
    });
    Ok(told.collect())
}

fn reason_of(error: tonic_types::Status) -> String {
    let bytes = prost::Message::encode_to_vec(&error);
    let status = coupon_client::tonic::Status::with_details(
        Code::from(error.code),
        error.message,
        bytes.into(),
    );
    let details: ErrorDetails = status.get_error_details();
    details.error_info().expect("a reason").reason.clone()
}

fn told(outcomes: &Outcomes) -> Vec<&str> {
    outcomes.iter().map(|outcome| outcome.as_ref().err().map_or("", String::as_str)).collect()
}

/// Pieces of each user; 0 for who got none.
fn pieces(outcomes: &Outcomes) -> Vec<usize> {
    outcomes.iter().map(|outcome| outcome.as_ref().map_or(0, |(ids, _)| ids.len())).collect()
}

// R27, R42: a thousand users in one call, over several buckets; the coupons are theirs.
#[tokio::test]
async fn a_thousand_users_are_given_in_one_call() {
    let harness = harness::start().await;
    let id = harness.publish_in(template(1_500), 8).await;
    let users: Vec<_> = (1..=1_000).map(|user| (user, 0)).collect();
    let request = v1::IssueRequest { source: "crm".to_owned(), ..issue(id, "mass", &users) };
    let outcomes = send(&harness, request).await.expect("issued");
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok((ids, false)) if ids.len() == 1)));
    let ids: BTreeSet<i64> = outcomes.iter().flatten().map(|(ids, _)| ids[0]).collect();
    assert_eq!(ids.len(), 1_000);
    assert_eq!(harness.issued(id).await, 1_000);
    let wallet = harness.wallet(1_000).await;
    assert_eq!((wallet.len(), wallet[0].source.as_str()), (1, "crm"));
    assert_eq!(Ok((vec![wallet[0].coupon_id], false)), outcomes[999]);
    // One more user is one too many for a call.
    let users: Vec<_> = (1..=1_001).map(|user| (user, 0)).collect();
    let error = send(&harness, issue(id, "more", &users)).await.expect_err("too many");
    assert_eq!(error.code(), Code::InvalidArgument);
    assert_eq!(error.field_violations()[0].0, "users");
}

// R27: several pieces, all or none for each user, obeying limit and stock, in request order.
#[tokio::test]
async fn a_user_is_given_all_pieces_or_none() {
    let harness = harness::start().await;
    let limited = v1::TemplateRules { per_user_limit: 5, ..rules() };
    let id = harness.publish_in(template_of(12, limited), 4).await;
    let users = [(1, 5), (2, 6), (3, 4), (4, 4), (5, 3), (6, 1)];
    let outcomes = send(&harness, issue(id, "r", &users)).await.expect("issued");
    let expected = ["", "LIMIT_REACHED", "", "SOLD_OUT", "", "SOLD_OUT"];
    assert_eq!(told(&outcomes), expected);
    assert_eq!(pieces(&outcomes), [5, 0, 4, 0, 3, 0]);
    let wallet = harness.wallet(1).await;
    let numbers: Vec<i64> = wallet.iter().rev().map(|coupon| coupon.claim_no).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    assert!(harness.wallet(2).await.is_empty());
    assert!(harness.wallet(4).await.is_empty());
    assert_eq!(harness.issued(id).await, 12);
}

// R27: claims and issues share the limit.
#[tokio::test]
async fn claims_and_issues_share_the_limit() {
    let harness = harness::start().await;
    let limited = v1::TemplateRules { per_user_limit: 3, ..rules() };
    let id = harness.publish(template_of(100, limited)).await;
    harness.win(1, id).await;
    let outcomes = send(&harness, issue(id, "three", &[(1, 3)])).await.expect("issued");
    assert_eq!(told(&outcomes), ["LIMIT_REACHED"]);
    let outcomes = send(&harness, issue(id, "two", &[(1, 2)])).await.expect("issued");
    assert_eq!(pieces(&outcomes), [2]);
    let refused = harness.client.claim(harness::given::claim(1, id, "more")).await;
    assert_eq!(harness::given::reason(refused), ErrorReason::LimitReached);
}

// R29, R36: only ACTIVE templates, whatever the claim window says.
#[tokio::test]
async fn issuing_needs_an_active_template_and_no_claim_window() {
    let harness = harness::start().await;
    let later =
        v1::Template { claim_from: Some(instant(START_MS + 5 * DAY)), ..template_of(100, rules()) };
    let template_id = harness.draft(later).await;
    let outcome = async |user: i64| {
        let outcomes = send(&harness, issue(template_id, "r", &[(user, 1)])).await.expect("told");
        told(&outcomes)[0].to_owned()
    };
    assert_eq!(outcome(1).await, "TEMPLATE_NOT_PUBLISHED");
    let publish = v1::PublishTemplateRequest { template_id, ..Default::default() };
    harness.client.publish_template(publish).await.expect("published");
    assert_eq!(outcome(1).await, "", "before the claim window");
    let pause = v1::PauseTemplateRequest { template_id, ..Default::default() };
    harness.client.pause_template(pause).await.expect("paused");
    assert_eq!(outcome(2).await, "TEMPLATE_PAUSED");
    let resume = v1::ResumeTemplateRequest { template_id, ..Default::default() };
    harness.client.resume_template(resume).await.expect("resumed");
    harness.advance(START_MS + 10 * DAY).await;
    assert_eq!(outcome(2).await, "", "after the claim window");
    harness.advance(START_MS + 30 * DAY - 1).await;
    assert_eq!(outcome(3).await, "", "in the last millisecond of its validity");
    harness.advance(START_MS + 30 * DAY).await;
    assert_eq!(outcome(4).await, "CLAIM_ENDED", "what is given would be expired");
    let end = v1::EndTemplateRequest { template_id, ..Default::default() };
    harness.client.end_template(end).await.expect("ended");
    assert_eq!(outcome(4).await, "CLAIM_ENDED");
    assert_eq!(harness.issued(template_id).await, 3);
    let error = send(&harness, issue(404, "r", &[(1, 1)])).await.expect_err("no template");
    assert_eq!(error.reason(), Some(ErrorReason::TemplateNotFound));
}

// R27: a user who is named twice is a mistake of the caller; nothing is given.
#[tokio::test]
async fn a_user_named_twice_is_refused() {
    let harness = harness::start().await;
    let id = harness.publish(template(10)).await;
    let error = send(&harness, issue(id, "r", &[(1, 1), (2, 1), (1, 1)])).await;
    let error = error.expect_err("named twice");
    assert_eq!(error.code(), Code::InvalidArgument);
    assert_eq!(error.field_violations()[0].0, "users[2].user_id");
    assert_eq!(harness.issued(id).await, 0);
}

// R30, R44: concurrent issues and claims never give more than there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_issues_and_claims_never_give_too_much() {
    let harness = harness::start().await;
    let rules = v1::TemplateRules { per_user_limit: 3, use_window: after_claim(3), ..rules() };
    let id = harness.publish_in(template_of(500, rules), 8).await;
    let issues = (0..8).map(|n| {
        let client = harness.client.clone();
        let users: Vec<_> = (1..=100).map(|user| (n * 50 + user, 2)).collect();
        let request = issue(id, &format!("batch-{n}"), &users);
        tokio::spawn(async move { client.issue(request).await.expect("told").outcomes })
    });
    let claims = (1..=400).map(|user| {
        let client = harness.client.clone();
        tokio::spawn(
            async move { client.claim(harness::given::claim(user, id, "c")).await.is_ok() },
        )
    });
    let (issues, claims): (Vec<_>, Vec<_>) = (issues.collect(), claims.collect());
    let mut given = 0;
    for issue in issues {
        for outcome in issue.await.expect("no panic") {
            assert!(outcome.coupon_ids.is_empty() || outcome.coupon_ids.len() == 2);
            given += outcome.coupon_ids.len();
        }
    }
    for claim in claims {
        given += usize::from(claim.await.expect("no panic"));
    }
    // Whoever wants two may find the last single piece in his way, and nobody else.
    assert!((499..=500).contains(&given), "{given}");
    assert_eq!(i64::try_from(given).expect("small"), harness.issued(id).await);
    let mut held = 0;
    for user in 1..=450 {
        let wallet = harness.wallet(user).await;
        assert!(wallet.len() <= 3, "user {user} holds {}", wallet.len());
        held += wallet.len();
    }
    assert_eq!(held, given);
}

// R31: the validity of what is given follows from the rules.
#[tokio::test]
async fn an_issued_coupon_has_the_validity_of_its_template() {
    let harness = harness::start().await;
    let window = fixed(START_MS + DAY, START_MS + 12 * DAY);
    let id = harness.publish(template_of(10, v1::TemplateRules { use_window: window, ..rules() }));
    let id = id.await;
    send(&harness, issue(id, "r", &[(1, 1)])).await.expect("issued");
    let coupon = harness.wallet(1).await.remove(0);
    assert_eq!(coupon.use_from, Some(instant(START_MS + DAY)));
    assert_eq!(coupon.valid_until, Some(instant(START_MS + 12 * DAY)));
    assert_eq!(coupon.claimed_at, Some(instant(START_MS)));
}
