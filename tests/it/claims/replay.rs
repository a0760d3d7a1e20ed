//! A replay is judged first: whoever won gets that answer again (R9, R10, R61).

use coupon_client::{tonic::Code, v1};
use v1::ErrorReason;

use super::{claim_all, coupon};
use crate::harness::{
    self, Harness, START_MS,
    given::{DAY, claim, confirm, lock, reason, rules, template, template_of},
};

/// A template with one winner of its only piece, and what the winner was answered.
async fn sold(harness: &Harness) -> (i64, v1::ClaimResponse) {
    let id = harness.publish(template(1)).await;
    let won = harness.client.claim(claim(1, id, "win")).await.expect("a win");
    (id, won)
}

/// The winner asks again: the same coupon as it was when won.
async fn assert_replayed(harness: &Harness, id: i64, won: &v1::ClaimResponse, when: &str) {
    let again = harness.client.claim(claim(1, id, "win")).await;
    let again = again.unwrap_or_else(|error| panic!("{when}: {error}"));
    assert!(again.replayed, "{when}");
    assert_eq!(again.coupon, won.coupon, "{when}");
    let other = v1::ClaimRequest { source: "elsewhere".to_owned(), ..claim(1, id, "win") };
    let error = harness.client.claim(other).await.expect_err("another body");
    assert_eq!(error.reason(), Some(ErrorReason::IdempotencyKeyReused), "{when}");
    assert_eq!(error.code(), Code::AlreadyExists, "{when}");
}

// R10: three automatic resends give one coupon and one result.
#[tokio::test]
async fn three_resends_give_one_coupon_and_one_result() {
    let harness = harness::start().await;
    let id = harness.publish(template(10)).await;
    let first = harness.client.claim(claim(1, id, "serial")).await.expect("a win");
    for _ in 0..3 {
        let again = harness.client.claim(claim(1, id, "serial")).await.expect("a replay");
        assert!(again.replayed);
        assert_eq!(again.coupon, first.coupon);
    }
    assert_eq!(harness.wallet(1).await.len(), 1);
    assert_eq!(harness.issued(id).await, 1);
}

// R10, R61: whatever has become of template, stock and coupon.
#[tokio::test]
async fn a_winner_gets_the_same_answer_whatever_has_happened_since() {
    let harness = harness::start().await;
    let (id, won) = sold(&harness).await;
    assert_replayed(&harness, id, &won, "sold out").await;
    let second = harness.client.claim(claim(1, id, "second")).await;
    assert_eq!(reason(second), ErrorReason::LimitReached);
    let template_id = id;
    let pause = v1::PauseTemplateRequest { template_id, ..Default::default() };
    harness.client.pause_template(pause).await.expect("paused");
    assert_replayed(&harness, id, &won, "paused").await;
    let held = won.coupon.as_ref().expect("the coupon").coupon_id;
    harness.client.lock(lock(1, "o", "l", &[held])).await.expect("locked");
    harness.client.confirm(confirm(1, "o", "c")).await.expect("confirmed");
    assert_replayed(&harness, id, &won, "used").await;
    let harness = harness.restart().await;
    assert_replayed(&harness, id, &won, "after a restart").await;
    let end = v1::EndTemplateRequest { template_id, ..Default::default() };
    harness.client.end_template(end).await.expect("ended");
    assert_replayed(&harness, id, &won, "ended").await;
    let refused = harness.client.claim(claim(2, id, "win")).await;
    assert_eq!(reason(refused), ErrorReason::ClaimEnded);
}

// R10: until the replay window after the end of claiming, in memory or not.
#[tokio::test]
async fn replays_end_with_the_replay_window() {
    let harness = harness::start().await;
    let (id, won) = sold(&harness).await;
    let claim_until = START_MS + 10 * DAY;
    harness.advance(claim_until).await;
    assert_replayed(&harness, id, &won, "the window is over").await;
    harness.advance(claim_until + DAY - 1).await;
    assert_replayed(&harness, id, &won, "the last millisecond").await;
    let harness = harness.restart().await;
    assert_replayed(&harness, id, &won, "the last millisecond, after a restart").await;
    harness.advance(claim_until + DAY).await;
    let over = harness.client.claim(claim(1, id, "win")).await;
    assert_eq!(reason(over), ErrorReason::ClaimEnded);
    let harness = harness.restart().await;
    let over = harness.client.claim(claim(1, id, "win")).await;
    assert_eq!(reason(over), ErrorReason::ClaimEnded);
}

// R10: the replay window is a setting.
#[tokio::test]
async fn the_replay_window_is_configured() {
    let harness = harness::start_with(|config| config.claims.replay_window_s = 1).await;
    let (id, won) = sold(&harness).await;
    harness.advance(START_MS + 10 * DAY + 999).await;
    assert_replayed(&harness, id, &won, "inside").await;
    harness.advance(START_MS + 10 * DAY + 1_000).await;
    let over = harness.client.claim(claim(1, id, "win")).await;
    assert_eq!(reason(over), ErrorReason::ClaimEnded);
}

// R10: 100 concurrent calls with one request id: one win, 99 replays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_concurrent_calls_with_one_id_win_once() {
    let harness = harness::start().await;
    for limit in [1, 5] {
        let limited = v1::TemplateRules { per_user_limit: limit, ..rules() };
        let id = harness.publish(template_of(50, limited)).await;
        let outcomes = claim_all(&harness.client, (0..100).map(|_| claim(7, id, "once"))).await;
        let first = coupon(&outcomes[0]);
        assert!(outcomes.iter().all(|outcome| coupon(outcome) == first), "limit {limit}");
        let replays =
            outcomes.iter().filter(|outcome| outcome.as_ref().expect("a win").replayed).count();
        assert_eq!(replays, 99, "limit {limit}");
        assert_eq!(harness.issued(id).await, 1, "limit {limit}");
    }
    assert_eq!(harness.wallet(7).await.len(), 2);
}

// R61: concurrent calls that share an id but not a body: one body wins, the other never does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_id_with_two_bodies_wins_for_one_of_them() {
    let harness = harness::start().await;
    let id = harness.publish(template(50)).await;
    let bodies = (0..100).map(|n| {
        let source = if n % 2 == 0 { "even" } else { "odd" }.to_owned();
        v1::ClaimRequest { source, ..claim(7, id, "once") }
    });
    let outcomes = claim_all(&harness.client, bodies).await;
    let (won, reused): (Vec<_>, Vec<_>) = outcomes.iter().partition(|outcome| outcome.is_ok());
    assert_eq!((won.len(), reused.len()), (50, 50));
    assert!(won.iter().all(|outcome| coupon(outcome) == coupon(won[0])));
    for error in reused {
        let reason = error.as_ref().expect_err("refused").reason();
        assert_eq!(reason, Some(ErrorReason::IdempotencyKeyReused));
    }
    assert_eq!(harness.issued(id).await, 1);
}
