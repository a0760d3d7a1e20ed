//! Refusals in their order (R9, R27).

use coupon_client::v1;
use v1::ErrorReason;

use crate::harness::{
    self, Harness, START_MS,
    given::{DAY, claim, instant, reason, rules, template_of},
};

const HOLDER: i64 = 1;
const NAMED: i64 = 2;
const STRANGER_WHO_HOLDS: i64 = 3;

/// A template against which everything speaks: not published, its window not begun, two of its
/// users named.
async fn draft(harness: &Harness) -> i64 {
    let rules = v1::TemplateRules { audience: v1::Audience::Named.into(), ..rules() };
    let template = v1::Template {
        claim_from: Some(instant(START_MS + DAY)),
        claim_until: Some(instant(START_MS + 2 * DAY)),
        ..template_of(2, rules)
    };
    let template_id = harness.draft(template).await;
    let user_ids = vec![HOLDER, NAMED];
    let named = v1::AddAudienceUsersRequest { template_id, user_ids, ..Default::default() };
    harness.client.add_audience_users(named).await.expect("named");
    template_id
}

async fn refusal(harness: &Harness, user: i64, template: i64) -> ErrorReason {
    reason(harness.client.claim(claim(user, template, "new")).await)
}

// R9: the first reason that applies is told, whichever others do.
#[tokio::test]
async fn the_first_reason_that_applies_is_told() {
    let harness = harness::start().await;
    let client = &harness.client;
    let template_id = draft(&harness).await;
    assert_eq!(refusal(&harness, 9, template_id).await, ErrorReason::TemplateNotPublished);
    let publish = v1::PublishTemplateRequest { template_id, ..Default::default() };
    client.publish_template(publish).await.expect("published");
    // Everything is given, by Issue, which asks for neither window nor audience.
    let users = [HOLDER, STRANGER_WHO_HOLDS];
    let users = users.map(|user_id| v1::IssueUser { user_id, count: 1 }).to_vec();
    let issue = v1::IssueRequest { template_id, users, ..Default::default() };
    let issued = client.issue(issue).await.expect("issued");
    assert!(issued.outcomes.iter().all(|outcome| outcome.error.is_none()));

    let pause = v1::PauseTemplateRequest { template_id, ..Default::default() };
    client.pause_template(pause).await.expect("paused");
    assert_eq!(refusal(&harness, 9, template_id).await, ErrorReason::TemplatePaused);
    harness.advance(START_MS + 2 * DAY).await;
    assert_eq!(refusal(&harness, 9, template_id).await, ErrorReason::TemplatePaused);
    let resume = v1::ResumeTemplateRequest { template_id, ..Default::default() };
    client.resume_template(resume).await.expect("resumed");
    assert_eq!(refusal(&harness, HOLDER, template_id).await, ErrorReason::ClaimEnded);

    let window = v1::Template {
        template_id,
        claim_from: Some(instant(START_MS + 3 * DAY)),
        claim_until: Some(instant(START_MS + 4 * DAY)),
        ..v1::Template::default()
    };
    let paths = vec!["claim_from".to_owned(), "claim_until".to_owned()];
    let update = v1::UpdateTemplateRequest {
        template: Some(window),
        update_mask: Some(coupon_client::prost_types::FieldMask { paths }),
        ..Default::default()
    };
    client.update_template(update).await.expect("moved");
    assert_eq!(refusal(&harness, HOLDER, template_id).await, ErrorReason::ClaimNotStarted);
    harness.advance(START_MS + 3 * DAY).await;
    let users = async |harness: &Harness| {
        let stranger = refusal(harness, 9, template_id).await;
        let holder_unnamed = refusal(harness, STRANGER_WHO_HOLDS, template_id).await;
        let holder = refusal(harness, HOLDER, template_id).await;
        [stranger, holder_unnamed, holder, refusal(harness, NAMED, template_id).await]
    };
    let expected = [
        ErrorReason::NotEligible,
        ErrorReason::NotEligible,
        ErrorReason::LimitReached,
        ErrorReason::SoldOut,
    ];
    // Often enough for the gate to have been loaded, and again with nothing in memory.
    for _ in 0..5 {
        assert_eq!(users(&harness).await, expected);
    }
    let harness = harness.restart().await;
    for _ in 0..5 {
        assert_eq!(users(&harness).await, expected);
    }
    let end = v1::EndTemplateRequest { template_id, ..Default::default() };
    harness.client.end_template(end).await.expect("ended");
    for user in [HOLDER, NAMED, STRANGER_WHO_HOLDS, 9] {
        assert_eq!(refusal(&harness, user, template_id).await, ErrorReason::ClaimEnded);
    }
}

// R9: a refusal is not an outcome: the same id wins when its reason is gone.
#[tokio::test]
async fn a_refused_id_is_judged_afresh() {
    let harness = harness::start().await;
    let template =
        v1::Template { claim_from: Some(instant(START_MS + DAY)), ..template_of(5, rules()) };
    let id = harness.publish(template).await;
    let request = claim(1, id, "patient");
    let early = harness.client.claim(request.clone()).await;
    assert_eq!(reason(early), ErrorReason::ClaimNotStarted);
    harness.advance(START_MS + DAY).await;
    let won = harness.client.claim(request).await.expect("a win");
    assert!(!won.replayed);
}

// R9: windows are half open.
#[tokio::test]
async fn the_claim_window_is_half_open() {
    let harness = harness::start().await;
    let (from, until) = (START_MS + 1_500, START_MS + 2_500);
    let template = v1::Template {
        claim_from: Some(instant(from)),
        claim_until: Some(instant(until)),
        ..template_of(5, rules())
    };
    let id = harness.publish(template).await;
    harness.advance(from - 1).await;
    assert_eq!(refusal(&harness, 1, id).await, ErrorReason::ClaimNotStarted);
    harness.advance(from).await;
    harness.win(1, id).await;
    harness.advance(until - 1).await;
    harness.win(2, id).await;
    harness.advance(until).await;
    assert_eq!(refusal(&harness, 3, id).await, ErrorReason::ClaimEnded);
}
