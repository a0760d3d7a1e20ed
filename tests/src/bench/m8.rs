//! M8: 99th percentile of a won claim at half load, against two syncs of the same disk.

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

use super::{
    Bench,
    load::{Budget, Load, closed},
    open::{Schedule, open},
    report::{Bound, Row, Runs},
    server::check_load,
    stage::new_dir,
    stats::{Latency, quantile},
    workload::FreshClaims,
};

const PAGE: [u8; 4096] = [0x5a; 4096];
const SYNCS: usize = 400;

/// Median time of writing 4 KiB and syncing it, on the disk of `root`. The file grows with every
/// write, as the log of a ledger does that has just been started.
pub(super) fn sync_p50(root: &Path) -> anyhow::Result<Duration> {
    let dir = new_dir(root)?;
    let mut file = File::create(dir.path().join("sync"))?;
    let mut samples = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let start = Instant::now();
        file.write_all(&PAGE)?;
        file.sync_data()?;
        samples.push(u32::try_from(start.elapsed().as_micros())?);
    }
    Ok(Duration::from_micros(quantile(&mut samples, 0.5).into()))
}

pub(super) async fn measure(
    bench: &mut Bench,
    name: &str,
    rows: Option<u64>,
) -> anyhow::Result<Row> {
    let stage = bench.stage(rows.unwrap_or(bench.plan.rows)).await?;
    let (server, _copy) = stage.serve_copy().await?;
    let claims = FreshClaims::new(stage.hot);
    let next = Arc::new(AtomicU64::new(0));
    let (length, runs_wanted) = (bench.plan.length, bench.plan.runs);
    // Doubles as the warm-up.
    let mut all = closed(&server.node.target, &claims, &Budget::time(&next, length)).await?;
    check_load(&all)?;
    let full_rate = bench.win_rate.unwrap_or_else(|| all.rate());
    let schedule = Schedule { rate: full_rate / 2.0, warm_up: length / 5, length };

    let mut runs = Runs::default();
    let mut syncs = Vec::new();
    for index in 0..runs_wanted {
        let root = bench.root.clone();
        let sync = tokio::task::spawn_blocking(move || sync_p50(&root)).await??;
        let load = open(&server.node.target, &claims, &next, schedule).await?;
        check_load(&load)?;
        let base_us = 2.0 * sync.as_secs_f64() * 1e6;
        syncs.push(sync.as_secs_f64() * 1e6);
        let latency = take_run(&mut all, load, &mut runs);
        bench.say_run(name, index, "µs", latency.p99_us, base_us);
        runs.ours.push(latency.p99_us);
        runs.baseline.push(base_us);
    }
    server.node.settle(stage.hot, &mut all).await?;
    server.node.check_wins(stage.hot, &all.won).await?;
    server.stop_and_audit().await?;

    let mut row = runs.row(name, "µs", Bound::AtMost, 6.0, stage.rows);
    row.notes.push(format!(
        "open loop at {:.0} claims/s, half of {full_rate:.0}; baseline is 2 x {:.0} µs, the p50 of \
         4 KiB + fdatasync on the idle disk",
        schedule.rate,
        super::stats::median(&syncs)
    ));
    Ok(row)
}

/// Files the figures of one run and keeps its coupons for the check at the end.
fn take_run(all: &mut Load, mut load: Load, runs: &mut Runs) -> Latency {
    let latency = load.done().unwrap_or_default();
    runs.done.push(latency);
    runs.cpu_ours.push(load.cpu_us());
    all.won.append(&mut load.won);
    all.unsettled.append(&mut load.unsettled);
    latency
}
