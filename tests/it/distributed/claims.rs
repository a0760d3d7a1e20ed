//! Claims and changes of templates through two nodes (R1, R8, R10, R14, R17, R46).

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use coupon_client::{CouponClient, v1};
use prost_types::FieldMask;
use v1::ErrorReason;

use super::{Stage, at_once, offer, publish, stats, win, won};
use crate::harness::{
    eventually,
    given::{claim, confirm, lock, reason},
};

const TOTAL: i64 = 100;
/// Templates that are published and asked for at once on the other node.
const FIRST_COMERS: usize = 100;
/// Until a change has got about.
const TOLD: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_sell_as_one() {
    let stage = Stage::start().await;
    a_claim_is_the_same_on_both(&stage).await;
    whoever_comes_first_is_served(&stage).await;
    one_user_through_both_wins_once(&stage).await;
    exactly_the_total_is_won(&stage).await;
    stage.finish().await;
}

/// What one node published and answered, the other knows at once.
async fn a_claim_is_the_same_on_both(stage: &Stage) {
    let id = publish(&stage.a, offer(5)).await;
    let first = stage.b.claim(claim(1, id, "first")).await.expect("claimable on the other node");
    assert!(!first.replayed);
    let replayed = stage.a.claim(claim(1, id, "first")).await.expect("a replay");
    assert!(replayed.replayed);
    assert_eq!(replayed.coupon, first.coupon);
    let won = stage.a.claim(claim(2, id, "first")).await.expect("a win");
    let replayed = stage.b.claim(claim(2, id, "first")).await.expect("a replay");
    assert!(replayed.replayed);
    assert_eq!(replayed.coupon, won.coupon);
    assert_eq!(reason(stage.a.claim(claim(1, id, "more")).await), ErrorReason::LimitReached);
    assert_eq!(reason(stage.b.claim(claim(2, id, "more")).await), ErrorReason::LimitReached);
}

/// The first who come to the other node, many at once, are not refused for what it knew before.
async fn whoever_comes_first_is_served(stage: &Stage) {
    for _ in 0..FIRST_COMERS {
        let id = publish(&stage.a, offer(1_000)).await;
        let (issuing, claiming) = (stage.b.clone(), stage.b.clone());
        let issues = (100..108).map(move |user| {
            let client = issuing.clone();
            async move { client.issue(issue(user, id)).await }
        });
        let claims = (200..208).map(move |user| {
            let client = claiming.clone();
            async move { client.claim(claim(user, id, "first")).await }
        });
        let (issued, claimed) = tokio::join!(at_once(issues), at_once(claims));
        for outcome in claimed {
            outcome.expect("published before");
        }
        for answer in issued {
            let outcome = answer.expect("issued").outcomes.remove(0);
            assert_eq!(outcome.error, None, "template {id}, user {}", outcome.user_id);
        }
    }
}

fn issue(user_id: i64, template_id: i64) -> v1::IssueRequest {
    v1::IssueRequest {
        template_id,
        request_id: "first".to_owned(),
        users: vec![v1::IssueUser { user_id, count: 1 }],
        source: String::new(),
    }
}

/// Of two ids of one user one wins; one id that is sent twice wins once and is replayed.
async fn one_user_through_both_wins_once(stage: &Stage) {
    let id = publish(&stage.a, offer(1_000)).await;
    let users = 0..60;
    let other = |user: i64| format!("r{}", user % 2);
    let claims = users.clone().flat_map(|user| {
        [(0, claim(1_000 + user, id, "r0")), (1, claim(1_000 + user, id, &other(user)))]
    });
    let outcomes = stage.claim_all(claims).await;
    for (user, pair) in users.zip(outcomes.chunks(2)) {
        let ids: Vec<_> = pair.iter().filter_map(won).collect();
        if user % 2 == 0 {
            assert!(ids.len() == 2 && ids[0] == ids[1], "user {user}: {pair:?}");
        } else {
            assert_eq!(ids.len(), 1, "user {user}: {pair:?}");
            let refused = pair.iter().find_map(|outcome| outcome.as_ref().err());
            let refused = refused.and_then(coupon_client::ClientError::reason);
            assert_eq!(refused, Some(ErrorReason::LimitReached), "user {user}");
        }
    }
    assert_eq!(stats(&stage.a, id).await.issued_count, 60);
}

/// 300 users send twice, once through each node: 100 win, the others are told that it is sold out.
async fn exactly_the_total_is_won(stage: &Stage) {
    let id = publish(&stage.a, offer(TOTAL)).await;
    let users = 5_000..5_300_i64;
    // The second send comes at some distance from the first.
    let sends = users.clone().map(|user| (0, user)).chain(users.clone().rev().map(|u| (1, u)));
    let mixed: BTreeSet<_> = sends.map(|(node, user)| (user % 7, user, node)).collect();
    let claims = mixed.iter().map(|(_, user, node)| (*node, claim(*user, id, "r")));
    let outcomes = stage.claim_all(claims).await;
    let mut coupons = BTreeSet::new();
    for ((_, user, _), pair) in mixed.iter().step_by(2).zip(outcomes.chunks(2)) {
        let ids: Vec<_> = pair.iter().filter_map(won).collect();
        match ids[..] {
            [one, other] => {
                assert_eq!(one, other, "user {user} has two coupons");
                assert!(coupons.insert(one), "coupon {one} was given twice");
            }
            [] => {
                for outcome in pair {
                    let error = outcome.as_ref().expect_err("a refusal");
                    assert_eq!(error.reason(), Some(ErrorReason::SoldOut), "user {user}: {error}");
                }
            }
            _ => panic!("user {user} is told this and that: {pair:?}"),
        }
    }
    assert_eq!(coupons.len(), 100);
    let winners: Vec<_> = mixed
        .iter()
        .step_by(2)
        .zip(outcomes.chunks(2))
        .filter_map(|((_, user, _), pair)| Some((*user, won(&pair[0])?)))
        .take(5)
        .collect();
    for (n, (user, coupon)) in (0..).zip(winners) {
        let locked = stage.client(n).lock(lock(user, "order", "try", &[coupon])).await;
        locked.expect("locked");
        if n < 3 {
            let paid = stage.client(n + 1).confirm(confirm(user, "order", "pay")).await;
            paid.expect("confirmed");
        }
    }
    let counted = eventually("the counts are folded", async || {
        let stats = stats(&stage.b, id).await;
        (stats.used_count == 3 && stats.locked_count == 2).then_some(stats)
    })
    .await;
    assert_eq!((counted.total_count, counted.issued_count), (TOTAL, TOTAL));
    assert_eq!((counted.expired_count, counted.voided_count, counted.reissued_count), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_on_one_node_binds_the_other() {
    let stage = Stage::start().await;
    nothing_is_won_after_a_pause(&stage).await;
    a_raise_sells_again(&stage).await;
    stage.finish().await;
}

/// R8: what begins after the pause was acknowledged, on whichever node, does not win.
async fn nothing_is_won_after_a_pause(stage: &Stage) {
    let id = publish(&stage.a, offer(100_000)).await;
    let shoppers: Vec<_> =
        (0..16).map(|n| tokio::spawn(claim_until_paused(stage.b.clone(), id, n))).collect();
    eventually("the first has won", async || {
        (stats(&stage.a, id).await.issued_count > 0).then_some(())
    })
    .await;
    let pause = v1::PauseTemplateRequest { template_id: id, ..Default::default() };
    stage.a.pause_template(pause).await.expect("paused");
    let acknowledged = Instant::now();
    let issued = stats(&stage.a, id).await.issued_count;
    let (mut late, mut told) = (1_000_i64, None);
    while told.is_none() || late < 1_100 {
        let asked = acknowledged.elapsed();
        let answer = stage.b.claim(claim(late, id, "late")).await;
        if reason(answer) == ErrorReason::TemplatePaused {
            told.get_or_insert(asked);
        }
        late += 1;
        assert!(told.is_some() || asked < TOLD, "the other node does not say PAUSED");
    }
    eprintln!("the other node says PAUSED to who asks after {told:?}");
    let mut won = 0;
    for shopper in shoppers {
        won += shopper.await.expect("no panic");
    }
    assert_eq!(won, issued);
    assert_eq!(stats(&stage.b, id).await.issued_count, issued);
    let resume = v1::ResumeTemplateRequest { template_id: id, ..Default::default() };
    stage.b.resume_template(resume).await.expect("resumed");
    win(&stage.b, 5_000, id).await;
    eventually("the first node sells again", async || {
        stage.a.claim(claim(5_001, id, "again")).await.ok()
    })
    .await;
}

/// Claims for one new user after the other; how many have won when the template is paused.
async fn claim_until_paused(client: CouponClient, id: i64, shopper: i64) -> i64 {
    for won in 0..10_000 {
        let answer = client.claim(claim(10_000 * (shopper + 1) + won, id, "r")).await;
        if answer.is_err() {
            assert_eq!(reason(answer), ErrorReason::TemplatePaused);
            return won;
        }
    }
    panic!("shopper {shopper} is never told of the pause");
}

/// What the other node was told to be sold out sells again, and to the last piece.
async fn a_raise_sells_again(stage: &Stage) {
    let id = publish(&stage.a, offer(20)).await;
    let sold = stage.claim_all((1..=60).map(|user| (user, claim(user, id, "r")))).await;
    assert_eq!(sold.iter().filter_map(won).count(), 20);
    for (user, client) in [(101, &stage.a), (102, &stage.b)] {
        assert_eq!(reason(client.claim(claim(user, id, "r")).await), ErrorReason::SoldOut);
    }
    let raised = v1::Template { template_id: id, total_count: 30, ..Default::default() };
    let request = v1::UpdateTemplateRequest {
        template: Some(raised),
        update_mask: Some(FieldMask { paths: vec!["total_count".to_owned()] }),
        ..Default::default()
    };
    stage.b.update_template(request).await.expect("raised");
    let since = Instant::now();
    win(&stage.b, 200, id).await;
    eventually("the other node sells again", async || {
        stage.a.claim(claim(201, id, "r")).await.ok()
    })
    .await;
    eprintln!("the other node sells again after {:?}", since.elapsed());
    let more = stage.claim_all((301..=340).map(|user| (user, claim(user, id, "r")))).await;
    assert_eq!(more.iter().filter_map(won).count(), 8);
    assert_eq!(stats(&stage.a, id).await.issued_count, 30);
}
