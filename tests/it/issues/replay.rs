//! Issues repeat by request id, each user for itself (R10, R42, R61).

use coupon_client::v1;

use super::{issue, pieces, send, told};
use crate::harness::{
    self, START_MS,
    given::{DAY, rules, template, template_of},
};

// R42, R61: consumed again, nothing more is given, in memory or after a restart.
#[tokio::test]
async fn an_issue_that_is_sent_again_gives_nothing_more() {
    let harness = harness::start().await;
    let limited = v1::TemplateRules { per_user_limit: 9, ..rules() };
    let id = harness.publish(template_of(20, limited)).await;
    let users = [(1, 3), (2, 1), (3, 2)];
    let first = send(&harness, issue(id, "batch", &users)).await.expect("issued");
    assert_eq!(pieces(&first), [3, 1, 2]);
    let replayed = |outcomes: super::Outcomes| {
        let ids = outcomes.into_iter().map(|outcome| {
            outcome.map(|(ids, replayed)| {
                assert!(replayed);
                ids
            })
        });
        ids.collect::<Vec<_>>()
    };
    let ids: Vec<_> = first.into_iter().map(|outcome| outcome.map(|(ids, _)| ids)).collect();
    let again = send(&harness, issue(id, "batch", &users)).await.expect("issued");
    assert_eq!(replayed(again), ids);
    let harness = harness.restart().await;
    let again = send(&harness, issue(id, "batch", &users)).await.expect("issued");
    assert_eq!(replayed(again), ids);
    assert_eq!(harness.issued(id).await, 6);

    // Whatever has become of the template.
    let pause = v1::PauseTemplateRequest { template_id: id, ..Default::default() };
    harness.client.pause_template(pause).await.expect("paused");
    let again = send(&harness, issue(id, "batch", &[(1, 3), (4, 1)])).await.expect("told");
    assert_eq!(told(&again), ["", "TEMPLATE_PAUSED"]);
    assert_eq!(Ok(&again[0].as_ref().expect("a replay").0), ids[0].as_ref());
    let end = v1::EndTemplateRequest { template_id: id, ..Default::default() };
    harness.client.end_template(end).await.expect("ended");
    harness.advance(START_MS + 31 * DAY).await;
    let again = send(&harness, issue(id, "batch", &users)).await.expect("issued");
    assert_eq!(replayed(again), ids);
}

// R61: the id is the user's: other users join under it, another number of pieces is refused.
#[tokio::test]
async fn each_user_repeats_for_itself() {
    let harness = harness::start().await;
    let limited = v1::TemplateRules { per_user_limit: 9, ..rules() };
    let id = harness.publish(template_of(20, limited)).await;
    send(&harness, issue(id, "batch", &[(1, 1), (2, 2)])).await.expect("issued");
    let mixed = send(&harness, issue(id, "batch", &[(2, 2), (3, 1), (1, 2)])).await;
    let mixed = mixed.expect("told");
    assert_eq!(told(&mixed), ["", "", "IDEMPOTENCY_KEY_REUSED"]);
    let replays: Vec<_> = mixed.iter().flatten().map(|(_, replayed)| *replayed).collect();
    assert_eq!(replays, [true, false]);
    let other = v1::IssueRequest { source: "x".to_owned(), ..issue(id, "batch", &[(1, 1)]) };
    assert_eq!(told(&send(&harness, other).await.expect("told")), ["IDEMPOTENCY_KEY_REUSED"]);
    assert_eq!(harness.issued(id).await, 4);
}

// R61: 0 pieces are read as 1: the same body.
#[tokio::test]
async fn no_count_is_one_piece() {
    let harness = harness::start().await;
    let id = harness.publish(template(20)).await;
    let first = send(&harness, issue(id, "r", &[(1, 0)])).await.expect("issued");
    assert_eq!(pieces(&first), [1]);
    let again = send(&harness, issue(id, "r", &[(1, 1)])).await.expect("issued");
    assert!(again[0].as_ref().expect("a replay").1);
}

// R42: the same batch from 20 consumers at once is given once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_consumers_of_one_batch_give_it_once() {
    let harness = harness::start().await;
    let limited = v1::TemplateRules { per_user_limit: 5, ..rules() };
    let id = harness.publish_in(template_of(10_000, limited), 4).await;
    let users: Vec<_> = (1..=50).map(|user| (user, 2)).collect();
    let calls = (0..20).map(|_| {
        let client = harness.client.clone();
        let request = issue(id, "batch", &users);
        tokio::spawn(async move { client.issue(request).await.expect("told").outcomes })
    });
    let mut seen: Vec<Vec<Vec<i64>>> = Vec::new();
    let mut fresh = 0;
    for call in calls.collect::<Vec<_>>() {
        let outcomes = call.await.expect("no panic");
        fresh += outcomes.iter().filter(|outcome| !outcome.replayed).count();
        seen.push(outcomes.into_iter().map(|outcome| outcome.coupon_ids).collect());
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "every consumer was told the same");
    assert!(seen[0].iter().all(|ids| ids.len() == 2));
    assert_eq!(fresh, 50);
    assert_eq!(harness.issued(id).await, 100);
}
