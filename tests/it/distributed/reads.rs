//! Reads from replicas: whoever has written reads what it has written (R13).

use coupon_client::{CouponClient, v1};
use sqlx::Executor as _;

use super::{Stage, connect, offer, options, publish, win};
use crate::harness::{connect as connect_to, eventually, programs::server};

/// Several of a node's looks at its replicas, in milliseconds.
const KNOWN_AFTER: i64 = 1_500;
const USERS: std::ops::Range<i64> = 1..21;

async fn wallet(client: &CouponClient, user_id: i64) -> usize {
    let request = v1::ListCouponsRequest { user_id, page_size: 10, ..Default::default() };
    client.list_coupons(request).await.expect("a wallet").coupons.len()
}

/// How many users' wallets are as empty as they were before they claimed.
async fn stale(client: &CouponClient) -> usize {
    let mut stale = 0;
    for user in USERS {
        stale += usize::from(wallet(client, user).await == 0);
    }
    stale
}

// R13: the replica stands still, and is not yet so far behind that nobody would read it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_reads_what_it_has_written() {
    let options = coupon_tests::cluster::ClusterOptions {
        settings: vec!["mysql.replica_lag_max_ms=60000".to_owned()],
        ..options()
    };
    let urls = options.addresses.mysql_replicas.clone();
    let url = urls.into_iter().find(|url| !url.is_empty());
    let url = url.expect("a replica in COUPON_TEST_MYSQL_REPLICAS");
    let stage = Stage::start_with(options).await;
    let id = publish(&stage.a, offer(1_000)).await;
    nodes_know_the_replica(&stage).await;
    let mut replica = connect(&url).await;
    // Whatever happens here, the replica goes on: others use it too.
    replica.execute("STOP REPLICA SQL_THREAD").await.expect("it stands still");
    let outcome = tokio::spawn(while_it_stands_still(stage.a.clone(), stage.b.clone(), id)).await;
    replica.execute("START REPLICA SQL_THREAD").await.expect("it goes on");
    if let Err(panicked) = outcome {
        std::panic::resume_unwind(panicked.into_panic());
    }
    eventually("the replica has caught up", async || (stale(&stage.b).await == 0).then_some(()))
        .await;
    stage.finish().await;
}

/// The worker's beats have been arriving for so long that every node has seen one.
async fn nodes_know_the_replica(stage: &Stage) {
    let urls = &stage.cluster.databases.replica_urls;
    let url = urls.iter().find(|url| !url.is_empty()).expect("a replica");
    let mut replica = connect(url).await;
    let mut first = None;
    eventually("the worker's beats arrive at the replica", async || {
        let beat = sqlx::query_scalar("SELECT beaten_at FROM heartbeat");
        let beat: Option<i64> = beat.fetch_optional(&mut replica).await.ok()?;
        let first = *first.get_or_insert(beat?);
        (beat? - first > KNOWN_AFTER).then_some(())
    })
    .await;
}

async fn while_it_stands_still(writer: CouponClient, stranger: CouponClient, id: i64) {
    for user in USERS {
        win(&writer, user, id).await;
        assert_eq!(wallet(&writer, user).await, 1, "user {user} misses its coupon");
    }
    assert_eq!(stale(&writer).await, 0);
    // Who has not written, and sends no token, is answered by the replica, where there is one.
    let stale = stale(&stranger).await;
    eprintln!("{stale} of 20 wallets are stale to a stranger");
    assert!(stale > 0, "no read has come from the replica");
}

// R13, R15: shards 0 and 2 have their replicas on one server, and the configuration mixes them up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_of_another_shard_is_not_read() {
    let options = coupon_tests::cluster::ClusterOptions { shards: 3, apis: 1, ..options() };
    let mut stage = Stage::start_with(options).await;
    let urls = stage.cluster.databases.replica_urls.clone();
    assert!(!urls[0].is_empty() && !urls[2].is_empty(), "no two replicas: {urls:?}");
    let mixed = format!("mysql.replica_urls={},{},{}", urls[2], urls[1], urls[0]);
    let node = &mut stage.cluster.apis[0];
    node.options_mut().args.extend(["--set".to_owned(), mixed.clone()]);
    Box::pin(node.restart()).await.expect("it serves from the primaries");
    let endpoint = stage.cluster.apis[0].endpoint();
    (stage.a, stage.b) = (connect_to(endpoint.clone()).await, connect_to(endpoint.clone()).await);
    nodes_know_the_replica(&stage).await;
    let id = publish(&stage.a, offer(1_000)).await;
    for user in USERS {
        win(&stage.a, user, id).await;
    }
    nodes_know_the_replica(&stage).await;
    assert_eq!((stale(&stage.a).await, stale(&stage.b).await), (0, 0));
    let config = stage.cluster.any_config();
    let config = config.to_str().expect("a path in UTF-8");
    let checked = server(&["check-config", "--config", config, "--set", &mixed]).await;
    assert_eq!(checked.code, Some(1), "{checked:?}");
    let said = "the replica of shard 2 holds the data of shard 0 and is not read";
    assert!(checked.stdout.contains(said), "{checked:?}");
    stage.finish().await;
}
