//! Templates for named users (R27).

use coupon_client::v1;
use v1::ErrorReason;

use crate::harness::{
    self, Harness,
    given::{claim, reason, rules, template_of},
};

async fn add(harness: &Harness, template_id: i64, user_ids: Vec<i64>) -> i64 {
    let request = v1::AddAudienceUsersRequest { template_id, user_ids, ..Default::default() };
    harness.client.add_audience_users(request).await.expect("added").added_count
}

fn named() -> v1::Template {
    let audience = v1::Audience::Named.into();
    template_of(10, v1::TemplateRules { audience, ..rules() })
}

// R27: claimable by the named alone, also when they are named later; naming again changes nothing.
#[tokio::test]
async fn only_named_users_may_claim() {
    let harness = harness::start().await;
    let id = harness.publish(named()).await;
    assert_eq!(reason(harness.client.claim(claim(1, id, "r")).await), ErrorReason::NotEligible);
    assert_eq!(add(&harness, id, vec![1, 2, 10_001]).await, 3);
    assert_eq!(add(&harness, id, vec![2, 3]).await, 1);
    assert_eq!(add(&harness, id, vec![4, 4]).await, 1);
    for user in [1, 2, 3, 4, 10_001] {
        harness.win(user, id).await;
    }
    for user in [5, 10_002, 20_001] {
        let refused = harness.client.claim(claim(user, id, "r")).await;
        assert_eq!(reason(refused), ErrorReason::NotEligible, "user {user}");
    }
    let harness = harness.restart().await;
    let refused = harness.client.claim(claim(5, id, "r")).await;
    assert_eq!(reason(refused), ErrorReason::NotEligible);
    let again = harness.client.claim(claim(1, id, "another")).await;
    assert_eq!(reason(again), ErrorReason::LimitReached);
}

// R27: an audience may be named before publish and until the end, 10,000 users a call.
#[tokio::test]
async fn an_audience_grows_until_the_end() {
    let harness = harness::start().await;
    let id = harness.draft(named()).await;
    assert_eq!(add(&harness, id, (1..=10_000).collect()).await, 10_000);
    assert_eq!(add(&harness, id, (1..=10_000).collect()).await, 0);
    super::change(&harness, "publish", id).await.expect("published");
    harness.win(10_000, id).await;
    super::change(&harness, "end", id).await.expect("ended");
    let request =
        v1::AddAudienceUsersRequest { template_id: id, user_ids: vec![1], ..Default::default() };
    let refused = harness.client.add_audience_users(request).await;
    assert_eq!(reason(refused), ErrorReason::TemplateEnded);
    let request =
        v1::AddAudienceUsersRequest { template_id: 404, user_ids: vec![1], ..Default::default() };
    let refused = harness.client.add_audience_users(request).await;
    assert_eq!(reason(refused), ErrorReason::TemplateNotFound);
}

// R27: the merchant gives to whom it likes: Issue ignores the audience.
#[tokio::test]
async fn issue_ignores_the_audience() {
    let harness = harness::start().await;
    let id = harness.publish(named()).await;
    let users = vec![v1::IssueUser { user_id: 9, count: 1 }];
    let request = v1::IssueRequest { template_id: id, users, ..Default::default() };
    let issued = harness.client.issue(request).await.expect("issued");
    assert_eq!(issued.outcomes[0].error, None);
    assert_eq!(harness.wallet(9).await.len(), 1);
}
