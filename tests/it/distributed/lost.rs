//! Without Redis claims go to the ledger, without the broker alarms wait: everything is as right as
//! ever (R44, R45).

use std::{collections::BTreeSet, time::Duration};

use coupon_client::v1;
use tokio::time::{Instant, timeout};
use v1::ErrorReason;

use super::{CLOSED, Claimed, Stage, at_once, offer, options, publish, stats, win, won};
use crate::harness::given::{cancel, claim, confirm, lock, reason};

/// Nothing waits long for what is not there, on the slowest machine.
const BOUND: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_win_and_are_refused_without_redis() {
    let mut stage = Stage::start_with(options()).await;
    restart_with(&mut stage, 1, format!("redis.nodes={CLOSED}")).await;
    sold_by_the_ledger(&stage).await;
    sold_with_and_without(&stage).await;
    stage.finish().await;
}

/// Starts an API node again, with a setting of its own.
async fn restart_with(stage: &mut Stage, node: usize, setting: String) {
    let node = &mut stage.cluster.apis[node];
    let since = Instant::now();
    node.options_mut().args.extend(["--set".to_owned(), setting.clone()]);
    Box::pin(node.restart()).await.unwrap_or_else(|error| panic!("{setting}: {error:#}"));
    eprintln!("{setting}: serves after {:?}", since.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_serves_without_the_broker() {
    let mut stage = Stage::start_with(options()).await;
    restart_with(&mut stage, 0, format!("pulsar.url=pulsar://{CLOSED}")).await;
    let id = publish(&stage.a, offer(100)).await;
    let since = Instant::now();
    for user in 1..=10 {
        let (client, order) = (stage.a.clone(), format!("order-{user}"));
        let sold = async {
            let coupon = win(&client, user, id).await;
            client.lock(lock(user, &order, "try", &[coupon])).await.expect("locked");
            match user % 2 {
                0 => drop(client.confirm(confirm(user, &order, "pay")).await.expect("confirmed")),
                _ => drop(client.cancel(cancel(user, &order, "off")).await.expect("cancelled")),
            }
        };
        timeout(BOUND, sold).await.expect("bounded");
    }
    eprintln!("10 orders without the broker took {:?}", since.elapsed());
    assert_eq!(stats(&stage.b, id).await.issued_count, 10);
    stage.finish().await;
}

/// One node alone, of which no claim ever meets Redis.
async fn sold_by_the_ledger(stage: &Stage) {
    let id = publish(&stage.b, offer(50)).await;
    let since = Instant::now();
    let outcomes = at_once((1..=150).map(|user| {
        let client = stage.b.clone();
        async move { timeout(BOUND, client.claim(claim(user, id, "r"))).await.expect("bounded") }
    }))
    .await;
    eprintln!("150 claims without Redis took {:?}", since.elapsed());
    let winners: Vec<_> = (1..).zip(&outcomes).filter_map(|(u, o)| Some((u, won(o)?))).collect();
    assert_eq!(winners.len(), 50);
    for outcome in outcomes.into_iter().filter(Result::is_err) {
        assert_eq!(reason(outcome), ErrorReason::SoldOut);
    }
    for (user, coupon) in winners.into_iter().take(10) {
        let again = stage.b.claim(claim(user, id, "r")).await;
        assert_eq!(won(&again), Some(coupon));
        assert!(again.expect("a replay").replayed);
        let more = stage.b.claim(claim(user, id, "more")).await;
        assert_eq!(reason(more), ErrorReason::LimitReached);
    }
    assert_eq!(stats(&stage.b, id).await.issued_count, 50);
}

/// The same users through a node that has Redis and one that has none.
async fn sold_with_and_without(stage: &Stage) {
    let id = publish(&stage.a, offer(60)).await;
    let claims = (1..=120).flat_map(|user| [0, 1].map(|node| (node, claim(user, id, "r"))));
    let outcomes: Vec<Claimed> = stage.claim_all(claims).await;
    let mut coupons = BTreeSet::new();
    for pair in outcomes.chunks(2) {
        let ids: BTreeSet<_> = pair.iter().filter_map(won).collect();
        assert!(ids.len() <= 1, "two coupons for one id: {pair:?}");
        assert_eq!(pair[0].is_ok(), pair[1].is_ok(), "told this and that: {pair:?}");
        coupons.extend(ids);
        for error in pair.iter().filter_map(|outcome| outcome.as_ref().err()) {
            assert_eq!(error.reason(), Some(ErrorReason::SoldOut), "{error}");
        }
    }
    assert_eq!(coupons.len(), 60);
    assert_eq!(stats(&stage.a, id).await.issued_count, 60);
}
