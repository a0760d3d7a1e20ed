//! Nodes that die: others go on, and what they shared moves over (R15, R44, R57).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use sqlx::Row as _;

use super::{Stage, connect, kill, offer, options, publish, stats, win, won};
use crate::harness::{
    self, eventually,
    given::{claim, confirm, lock},
};

/// Loops of which one node runs each.
const LOOPS: [&str; 6] = ["folding", "heartbeat", "retention", "stock", "stuck", "sweeper"];
/// A lease and a try, in milliseconds, and what a busy machine adds.
const LEASE_MS: i64 = 1_500;
const TAKEN_OVER: Duration = Duration::from_secs(5);

/// Who holds each loop.
async fn holders(stage: &Stage) -> BTreeMap<String, String> {
    let mut meta = connect(&stage.cluster.databases.meta_url).await;
    let rows = sqlx::query("SELECT name, holder FROM loop_lease WHERE holder <> ''");
    let rows = rows.fetch_all(&mut meta).await.expect("meta can be read");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// All loops are in one hand, which is not `other`; answers whose.
async fn one_holder(stage: &Stage, other: &str) -> String {
    eventually("one worker runs every loop", async || {
        let found = holders(stage).await;
        let names: Vec<_> = found.keys().map(String::as_str).collect();
        let hands: BTreeSet<_> = found.values().collect();
        let one = hands.first().filter(|_| hands.len() == 1 && names == LOOPS)?;
        (one.as_str() != other).then(|| one.to_string())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_die_and_others_go_on() {
    let mut stage = Stage::start_with(coupon_tests::cluster::ClusterOptions {
        workers: 2,
        settings: vec![format!("backend.lease_ms={LEASE_MS}")],
        ..options()
    })
    .await;
    the_other_worker_takes_over(&mut stage).await;
    ids_never_meet(&mut stage).await;
    stage.finish().await;
}

async fn the_other_worker_takes_over(stage: &mut Stage) {
    kill(&mut stage.cluster.workers[1]).await;
    let first = one_holder(stage, "").await;
    Box::pin(stage.cluster.workers[1].restart()).await.expect("the second worker starts");
    assert_eq!(one_holder(stage, "").await, first, "a loop has moved without need");

    kill(&mut stage.cluster.workers[0]).await;
    let since = Instant::now();
    one_holder(stage, &first).await;
    let taken = since.elapsed();
    eprintln!("the second worker runs every loop {taken:?} after the first was killed");
    assert!(taken < TAKEN_OVER, "{taken:?}");
    // And it works: what happens now is counted.
    let id = publish(&stage.a, offer(1)).await;
    let coupon = win(&stage.b, 1, id).await;
    stage.a.lock(lock(1, "order", "try", &[coupon])).await.expect("locked");
    stage.b.confirm(confirm(1, "order", "pay")).await.expect("confirmed");
    eventually("the second worker counts", async || {
        (stats(&stage.a, id).await.used_count == 1).then_some(())
    })
    .await;
    Box::pin(stage.cluster.workers[0].restart()).await.expect("the first worker starts again");
}

/// Claims of these users, through both nodes by turns; what is lost with a node is settled by the other
/// one under the same id. Adds the coupons.
async fn sell(stage: &Stage, id: i64, users: std::ops::Range<i64>, coupons: &mut BTreeSet<i64>) {
    let count = users.end - users.start;
    let before = coupons.len();
    let claims = users.map(|user| (user, claim(user, id, "r")));
    for claimed in stage.claim_all(claims).await {
        coupons.insert(won(&claimed).unwrap_or_else(|| panic!("no win: {claimed:?}")));
    }
    let more = i64::try_from(coupons.len() - before).expect("small");
    assert_eq!(more, count, "two coupons have one id");
}

async fn ids_never_meet(stage: &mut Stage) {
    let id = publish(&stage.a, offer(10_000)).await;
    let mut coupons = BTreeSet::new();
    sell(stage, id, 1..200, &mut coupons).await;
    let numbers = node_numbers(stage).await;

    // Killed under load, and missed by nobody.
    let (survivor, doomed) = (stage.a.clone(), stage.b.clone());
    let storm = tokio::spawn(super::at_once((1_000..1_200).map(move |user| {
        let (survivor, doomed) = (survivor.clone(), doomed.clone());
        async move {
            match doomed.claim(claim(user, id, "r")).await {
                Ok(won) => Ok(won),
                Err(_) => survivor.claim(claim(user, id, "r")).await,
            }
        }
    })));
    eventually("some have won", async || {
        (stats(&stage.a, id).await.issued_count > 210).then_some(())
    })
    .await;
    kill(&mut stage.cluster.apis[1]).await;
    for claimed in storm.await.expect("no panic") {
        let coupon = won(&claimed).unwrap_or_else(|| panic!("no win: {claimed:?}"));
        assert!(coupons.insert(coupon), "two coupons have the id {coupon}");
    }

    Box::pin(stage.cluster.apis[1].restart()).await.expect("it starts again");
    stage.b = harness::connect(stage.cluster.apis[1].endpoint()).await;
    sell(stage, id, 2_000..2_200, &mut coupons).await;
    // The killed node's number is held until it lapses: the new process has another one.
    eprintln!("node numbers {numbers:?}, then {:?}", node_numbers(stage).await);
    assert_eq!(stats(&stage.a, id).await.issued_count, i64::try_from(coupons.len()).expect("few"));
}

/// The numbers that are held, each by one process.
async fn node_numbers(stage: &Stage) -> Vec<i64> {
    let mut meta = connect(&stage.cluster.databases.meta_url).await;
    let rows = sqlx::query("SELECT node_id, holder FROM node WHERE holder <> '' ORDER BY node_id");
    let rows = rows.fetch_all(&mut meta).await.expect("meta can be read");
    let hands: BTreeSet<String> = rows.iter().map(|row| row.get(1)).collect();
    assert_eq!(hands.len(), rows.len(), "a process holds two numbers");
    rows.iter().map(|row| row.get(0)).collect()
}
