//! Many at once: never more than there are, never more than allowed, and all of them (R1, R17, R18).

use std::collections::{BTreeMap, BTreeSet};

use coupon_client::v1;
use v1::ErrorReason;

use super::{claim_all, coupon};
use crate::harness::{
    self,
    given::{claim, reason, rules, template, template_of},
};

// R1, R17, R18: exactly `total` wins over eight sub-stock buckets, with three times as many users.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_the_total_is_won_over_eight_buckets() {
    let harness = harness::start().await;
    let total = 400;
    let id = harness.publish_in(template(total), 8).await;
    let outcomes =
        claim_all(&harness.client, (1..=3 * total).map(|user| claim(user, id, "r"))).await;
    let (won, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 400);
    let coupons: BTreeSet<i64> = won.iter().map(|outcome| coupon(outcome).coupon_id).collect();
    assert_eq!(coupons.len(), 400);
    assert!(refused.into_iter().all(|outcome| reason(outcome) == ErrorReason::SoldOut));
    assert_eq!(harness.issued(id).await, total);
    for outcome in &won {
        let coupon = coupon(outcome);
        assert_eq!(&harness.coupon(coupon.user_id, coupon.coupon_id).await, coupon);
    }
}

// R18: all users in one bucket still get every piece of the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_bucket_draws_from_the_others() {
    let harness = harness::start().await;
    let id = harness.publish_in(template(64), 16).await;
    // The same last four digits: the same bucket.
    let users = (0..100).map(|n| n * 10_000 + 4_711);
    let outcomes = claim_all(&harness.client, users.map(|user| claim(user, id, "r"))).await;
    let (won, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 64);
    assert!(refused.into_iter().all(|outcome| reason(outcome) == ErrorReason::SoldOut));
}

// R27, R46: the limit holds against concurrent claims, and its numbers are 1 to n.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_holds_against_concurrent_claims() {
    let harness = harness::start().await;
    for limit in [1, 3] {
        let limited = v1::TemplateRules { per_user_limit: limit, ..rules() };
        let id = harness.publish(template_of(500, limited)).await;
        let claims =
            (0..200).map(|n| claim(1 + n % 20, id, &format!("r{}", n / 20))).collect::<Vec<_>>();
        let outcomes = claim_all(&harness.client, claims).await;
        let mut numbers: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for outcome in outcomes {
            match outcome {
                Ok(_) => {
                    let coupon = coupon(&outcome);
                    numbers.entry(coupon.user_id).or_default().push(coupon.claim_no);
                }
                Err(error) => assert_eq!(error.reason(), Some(ErrorReason::LimitReached)),
            }
        }
        let expected: Vec<i64> = (1..=i64::from(limit)).collect();
        assert_eq!(numbers.len(), 20, "limit {limit}");
        for (user, mut numbers) in numbers {
            numbers.sort_unstable();
            assert_eq!(numbers, expected, "user {user}, limit {limit}");
        }
        assert_eq!(harness.issued(id).await, 20 * i64::from(limit));
    }
}

// R8: a stop is exact: no claim that began after its answer wins.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_won_after_a_pause_is_acknowledged() {
    let harness = harness::start().await;
    let id = harness.publish(template(100_000)).await;
    let (before, after) = (1..=600, 601..=900);
    let client = harness.client.clone();
    let storm =
        tokio::spawn(
            async move { claim_all(&client, before.map(|user| claim(user, id, "r"))).await },
        );
    // Some of the storm is through, most of it is not.
    harness.stats_when(id, |stats| stats.issued_count > 0).await;
    let pause = v1::PauseTemplateRequest { template_id: id, ..Default::default() };
    harness.client.pause_template(pause).await.expect("paused");
    let issued = harness.issued(id).await;
    let late = claim_all(&harness.client, after.map(|user| claim(user, id, "r"))).await;
    assert!(late.into_iter().all(|outcome| reason(outcome) == ErrorReason::TemplatePaused));
    let outcomes = storm.await.expect("no panic");
    let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(i64::try_from(won).expect("small"), issued);
    assert_eq!(harness.issued(id).await, issued);
    for refused in outcomes.into_iter().filter(Result::is_err) {
        assert_eq!(reason(refused), ErrorReason::TemplatePaused);
    }
}
