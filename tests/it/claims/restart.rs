//! A restart in the middle of a sale oversells nothing and strands nothing (R17, R18, R65).

use std::collections::BTreeMap;

use coupon_client::v1;
use v1::ErrorReason;

use super::{claim_all, coupon};
use crate::harness::{
    self,
    given::{claim, rules, template_of},
};

const TOTAL: i64 = 300;
const USERS: i64 = 900;

// R18, R65: three restarts, one of them while claims are in flight.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_in_the_middle_of_a_sale_strands_nothing() {
    let mut harness = harness::start().await;
    let id = harness.publish_in(template_of(TOTAL, rules()), 8).await;
    let mut won: BTreeMap<i64, v1::Coupon> = BTreeMap::new();
    for users in [1..=40, 41..=200] {
        let outcomes = claim_all(&harness.client, users.map(|user| claim(user, id, "r"))).await;
        for outcome in &outcomes {
            won.insert(coupon(outcome).user_id, coupon(outcome).clone());
        }
        harness = harness.restart().await;
    }
    assert_eq!(harness.issued(id).await, 200);

    // The server goes away under these; whoever is not answered asks again below.
    let client = harness.client.clone();
    let cut = tokio::spawn(async move {
        claim_all(&client, (201..=290).map(|user| claim(user, id, "r"))).await
    });
    harness.stats_when(id, |stats| stats.issued_count > 200).await;
    harness = harness.restart().await;
    for outcome in cut.await.expect("no panic").iter().filter(|outcome| outcome.is_ok()) {
        won.insert(coupon(outcome).user_id, coupon(outcome).clone());
    }

    let everyone = claim_all(&harness.client, (1..=USERS).map(|user| claim(user, id, "r"))).await;
    let mut winners = 0;
    for (user, outcome) in (1..).zip(&everyone) {
        match outcome {
            Ok(answer) => {
                winners += 1;
                if let Some(first) = won.get(&user) {
                    assert!(answer.replayed, "user {user}");
                    assert_eq!(answer.coupon.as_ref(), Some(first), "user {user}");
                }
            }
            Err(error) => {
                assert_eq!(error.reason(), Some(ErrorReason::SoldOut), "user {user}: {error}");
                assert!(!won.contains_key(&user), "user {user} had won");
            }
        }
    }
    assert_eq!(winners, TOTAL);
    assert_eq!(harness.issued(id).await, TOTAL);
}

// R18: units that are with a bucket whose users do not come are not stranded by a restart.
#[tokio::test]
async fn the_last_pieces_are_found_after_a_restart() {
    let harness = harness::start().await;
    let id = harness.publish_in(template_of(20, rules()), 16).await;
    for n in 0..19 {
        harness.win(n * 10_000 + 5, id).await;
    }
    let harness = harness.restart().await;
    harness.win(19 * 10_000 + 5, id).await;
    let refused = harness.client.claim(claim(6, id, "r")).await.expect_err("nothing left");
    assert_eq!(refused.reason(), Some(ErrorReason::SoldOut));
    assert_eq!(harness.issued(id).await, 20);
}
