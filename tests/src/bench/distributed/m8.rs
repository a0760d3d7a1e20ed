//! M8 on the distributed back end: 99th percentile of a won claim at half load, against two syncs of
//! the same disk and one round trip to Redis.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::{
    super::{
        load::{Budget, warm_up},
        m8::sync_p50,
        open::Schedule,
        report::{Bound, Row, Runs},
        server::check_load,
        stats::{median, quantile},
        workload::{FreshClaims, template},
    },
    Distributed, PLENTY,
    m4::keep,
    stand::Stand,
};
use crate::redis::Connection;

const ROUND_TRIPS: usize = 2_000;

pub(super) async fn measure(bench: &Distributed, name: &str) -> anyhow::Result<Row> {
    let mut stand = Stand::start(&bench.addresses, 1, &[]).await?;
    let outcome = run(bench, &mut stand, name).await;
    stand.conclude(outcome).await
}

/// Median time of one question to Redis and its answer.
async fn round_trip_p50(address: &str) -> anyhow::Result<Duration> {
    let mut connection = Connection::open(address).await?;
    let mut samples = Vec::with_capacity(ROUND_TRIPS);
    for _ in 0..ROUND_TRIPS {
        let start = Instant::now();
        connection.ask(&["PING"]).await?;
        samples.push(u32::try_from(start.elapsed().as_nanos()).unwrap_or(u32::MAX));
    }
    Ok(Duration::from_nanos(quantile(&mut samples, 0.5).into()))
}

async fn run(bench: &Distributed, stand: &mut Stand, name: &str) -> anyhow::Result<Row> {
    let (frame, plan) = (&bench.frame, &bench.frame.plan);
    stand.store(plan.rows, frame.say).await?;
    let hot = stand.node.publish(template("hot", PLENTY)).await?;
    let primary = stand.shards.first().context("the ledger has no shard")?;
    let disk = database_disk(primary.data_dir().await, &frame.root);
    let redis = bench.addresses.redis_nodes.first().context("no redis node is named")?;

    let (claims, next) = (FreshClaims::new(hot), Arc::new(AtomicU64::new(0)));
    let mut all =
        warm_up(&stand.node.target, &claims, &next, plan.slice(), plan.warm_up_max).await?;
    check_load(&all)?;
    let (mut full, _) = stand.closed(&claims, &Budget::time(&next, plan.length)).await?;
    let full_rate = full.rate();
    keep(&mut all, &mut full);
    let schedule =
        Schedule { rate: full_rate / 2.0, warm_up: plan.length / 5, length: plan.length };

    let mut runs = Runs::default();
    let (mut syncs, mut trips) = (Vec::new(), Vec::new());
    for index in 0..plan.runs {
        let disk = disk.clone();
        let sync = tokio::task::spawn_blocking(move || sync_p50(&disk)).await??;
        let trip = round_trip_p50(redis).await?;
        let mut load = stand.open(&claims, &next, schedule).await?;
        let base_us = micros(2 * sync + trip);
        syncs.push(micros(sync));
        trips.push(micros(trip));
        let latency = load.done().context("no claim was won")?;
        frame.say_run(name, index, "µs", latency.p99_us, base_us);
        runs.ours.push(latency.p99_us);
        runs.baseline.push(base_us);
        runs.done.push(latency);
        runs.cpu_ours.push(load.cpu_us());
        keep(&mut all, &mut load);
    }
    let unsettled = all.unsettled.len();
    stand.node.settle(hot, &mut all).await?;
    stand.node.check_wins(hot, &all.won).await?;

    let mut row = runs.row(name, "µs", Bound::AtMost, 6.0, plan.rows);
    row.notes.push(format!(
        "open loop at {:.0} claims/s, half of {full_rate:.0}; baseline is 2 x {:.0} µs, the p50 of \
         4 KiB + fdatasync on the idle disk, + {:.0} µs, the p50 of a PING",
        schedule.rate,
        median(&syncs),
        median(&trips)
    ));
    row.notes.push(primary.told());
    if unsettled > 0 {
        row.notes.push(format!("{unsettled} claims were shed or timed out; settled afterwards"));
    }
    Ok(row)
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// A folder on the disk of the database where we may write, or else `root`.
fn database_disk(data_dir: Option<String>, root: &Path) -> PathBuf {
    let beside = data_dir.and_then(|dir| Path::new(&dir).parent().map(Path::to_path_buf));
    let writable = |dir: &PathBuf| tempfile::tempdir_in(dir).is_ok();
    beside.filter(writable).unwrap_or_else(|| root.to_owned())
}
