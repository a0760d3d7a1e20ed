//! M2: claims won on one hot template, against the bare echo.

use std::sync::{Arc, atomic::AtomicU64};

use anyhow::Context as _;
use prost::Message as _;

use super::{
    Bench, confirm,
    echo::EchoCalls,
    load::{Budget, Load, closed, warm_up},
    report::{Bound, Row, Runs},
    server::{Server, check_load},
    stage::Stage,
    workload::{FreshClaims, WonClaim, claim_path, judge_fresh_claim},
};

/// Longest warm-up on a fresh copy, in shares of one measurement: every win of it is one more row.
const WARM_UP_SHARE: f64 = 0.3;

/// Sizes of a claim that wins: (request, answer), in bytes. Wins the coupon of operation 0.
pub(super) async fn claim_sizes(
    server: &Server,
    claims: &FreshClaims,
    load: &mut Load,
) -> anyhow::Result<(usize, usize)> {
    let body = claims.body(0);
    let request = body.len();
    let mut conn = server.node.target.connection();
    let answer = conn.unary(&claim_path(), body).await;
    let answer =
        answer.map_err(|failure| failure.status()).context("the first claim was refused")?;
    let bytes = answer.len();
    let verdict = judge_fresh_claim(0, &WonClaim::decode(answer)?);
    load.note(0, verdict, std::time::Duration::ZERO);
    check_load(load)?;
    Ok((request, bytes))
}

/// One measurement of ours on a fresh copy of the stage, checked and audited.
pub(super) struct Measured {
    pub(super) load: Load,
    pub(super) sizes: (usize, usize),
    pub(super) unsettled: usize,
}

pub(super) async fn run_ours(bench: &Bench, stage: &Stage) -> anyhow::Result<Measured> {
    let plan = &bench.plan;
    let (server, _copy) = stage.serve_copy().await?;
    let claims = FreshClaims::new(stage.hot);
    let mut all = Load::default();
    let sizes = claim_sizes(&server, &claims, &mut all).await?;
    let next = Arc::new(AtomicU64::new(1));
    let longest = plan.length.mul_f64(WARM_UP_SHARE);
    all.merge(warm_up(&server.node.target, &claims, &next, longest / 3, longest).await?);
    let mut load = closed(&server.node.target, &claims, &Budget::time(&next, plan.length)).await?;
    check_load(&all)?;
    check_load(&load)?;
    let unsettled = load.unsettled.len();
    all.won.extend(std::mem::take(&mut load.won));
    all.unsettled.extend(std::mem::take(&mut load.unsettled));
    server.node.settle(stage.hot, &mut all).await?;
    server.node.check_wins(stage.hot, &all.won).await?;
    server.stop_and_audit().await?;
    Ok(Measured { load, sizes, unsettled })
}

pub(super) async fn measure(
    bench: &mut Bench,
    name: &str,
    rows: Option<u64>,
) -> anyhow::Result<Row> {
    let stage = bench.stage(rows.unwrap_or(bench.plan.rows)).await?;
    let mut runs = Runs::default();
    let next = Arc::new(AtomicU64::new(0));
    let (mut echo, mut sizes, mut unsettled) = (None, (0, 0), 0);
    for index in 0..bench.plan.runs {
        let mut ours = run_ours(bench, &stage).await?;
        sizes = ours.sizes;
        unsettled += ours.unsettled;
        let calls = match echo.take() {
            Some(calls) => calls,
            None => {
                let calls = EchoCalls::encoded(&[sizes]);
                let (slice, longest) = (bench.plan.slice(), bench.plan.warm_up_max);
                check_load(&warm_up(&bench.echo, &calls, &next, slice, longest).await?)?;
                calls
            }
        };
        let budget = Budget::time(&next, bench.plan.length);
        let baseline = closed(&bench.echo, &calls, &budget).await?;
        check_load(&baseline)?;
        echo = Some(calls);
        bench.say_run(name, index, "wins/s", ours.load.rate(), baseline.rate());
        runs.add(&mut ours.load, &baseline);
    }
    let mut row = runs.row(name, "wins/s", Bound::AtLeast, 0.45, stage.rows);
    if stage.rows == bench.plan.rows {
        bench.win_rate = Some(row.ours);
    }
    let (request, answer) = sizes;
    row.notes.push(format!(
        "request {request} bytes, answer {answer}; each run begins on a copy with {} rows",
        stage.rows
    ));
    if unsettled > 0 {
        row.notes.push(format!("{unsettled} claims were shed or timed out; settled afterwards"));
    }
    let headline = row.cpu_us_ours.unwrap_or_default();
    let (server, _copy) = stage.serve_copy().await?;
    row.notes.push(confirm::ghz(&server, stage.hot, headline).await);
    server.stop().await?;
    Ok(row)
}
