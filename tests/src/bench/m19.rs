//! M19: claims won through ClaimStream, against calls of the bare echo.

use std::sync::{Arc, atomic::AtomicU64};

use super::{
    Bench,
    echo::EchoCalls,
    load::{Budget, Load, closed, warm_up},
    m2::claim_sizes,
    report::{Bound, Row, Runs},
    server::check_load,
    stage::Stage,
    stream::{Packing, claim_in_batches},
    workload::FreshClaims,
};

const PACKING: Packing = Packing { batch: 512, depth: 2 };

/// One measurement of ours on a fresh copy of the stage, checked and audited; the sizes are those
/// of one claim by itself.
async fn run_ours(bench: &Bench, stage: &Stage) -> anyhow::Result<(Load, (usize, usize))> {
    let (server, _copy) = stage.serve_copy().await?;
    let mut all = Load::default();
    let sizes = claim_sizes(&server, &FreshClaims::new(stage.hot), &mut all).await?;
    let next = Arc::new(AtomicU64::new(1));
    let budget = Budget::time(&next, bench.plan.length / 5);
    all.merge(claim_in_batches(&server.node.target, stage.hot, &budget, PACKING).await?);
    let budget = Budget::time(&next, bench.plan.length);
    let mut load = claim_in_batches(&server.node.target, stage.hot, &budget, PACKING).await?;
    check_load(&all)?;
    check_load(&load)?;
    all.won.append(&mut load.won);
    all.unsettled.append(&mut load.unsettled);
    server.node.settle(stage.hot, &mut all).await?;
    server.node.check_wins(stage.hot, &all.won).await?;
    server.stop_and_audit().await?;
    Ok((load, sizes))
}

pub(super) async fn measure(
    bench: &mut Bench,
    name: &str,
    rows: Option<u64>,
) -> anyhow::Result<Row> {
    let stage = bench.stage(rows.unwrap_or(bench.plan.rows)).await?;
    let plan = bench.plan.clone();
    let mut runs = Runs::default();
    let next = Arc::new(AtomicU64::new(0));
    for index in 0..plan.runs {
        let (mut ours, sizes) = run_ours(bench, &stage).await?;
        let echo = EchoCalls::encoded(&[sizes]);
        if index == 0 {
            let load = warm_up(&bench.echo, &echo, &next, plan.slice(), plan.warm_up_max).await?;
            check_load(&load)?;
        }
        let baseline = closed(&bench.echo, &echo, &Budget::time(&next, plan.length)).await?;
        check_load(&baseline)?;
        bench.say_run(name, index, "wins/s", ours.rate(), baseline.rate());
        runs.add(&mut ours, &baseline);
    }
    let mut row = runs.row(name, "wins/s", Bound::AtLeast, 1.0, stage.rows);
    row.notes.push(format!(
        "{} claims in a message, {} messages in flight on each connection; a latency is that of a \
         message; each run begins on a copy with {} rows",
        PACKING.batch, PACKING.depth, stage.rows
    ));
    Ok(row)
}
