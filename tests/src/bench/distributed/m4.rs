//! M4 and M5: durable wins on one hot template over gRPC, on one primary, against the textbook
//! transaction on the same table and against the figure that primaries are usually sized by (R12).

use std::sync::{Arc, atomic::AtomicU64};

use anyhow::Context as _;

use super::{
    super::{
        load::{Budget, Load, warm_up},
        mysql::textbook::{self, Textbook},
        report::{Bound, Row, Runs},
        server::check_load,
        stores::{Usage, micros_each},
        workload::{FreshClaims, template},
    },
    Distributed, PLENTY,
    stand::Stand,
};

/// Durable wins per second and primary that sizing assumes where nobody has measured.
const SIZING_FIGURE: f64 = 4_000.0;

pub(super) async fn measure(
    bench: &Distributed,
    suffix: &str,
    rows: u64,
) -> anyhow::Result<[Row; 2]> {
    let mut stand = Stand::start(&bench.addresses, 1, &[]).await?;
    let outcome = run(bench, &mut stand, suffix, rows).await;
    stand.conclude(outcome).await
}

async fn run(
    bench: &Distributed,
    stand: &mut Stand,
    suffix: &str,
    rows: u64,
) -> anyhow::Result<[Row; 2]> {
    let (frame, plan) = (&bench.frame, &bench.frame.plan);
    stand.store(rows, frame.say).await?;
    let hot = stand.node.publish(template("hot", PLENTY)).await?;
    let primary = stand.shards.first().context("the ledger has no shard")?;
    let mut textbook = Textbook::prepare(primary).await?;

    let (claims, next) = (FreshClaims::new(hot), Arc::new(AtomicU64::new(0)));
    let (slice, longest) = (plan.slice(), plan.warm_up_max);
    let mut all = warm_up(&stand.node.target, &claims, &next, slice, longest).await?;
    check_load(&all)?;
    textbook.write(slice).await?;

    let (mut wins, mut sized) = (Runs::default(), Runs::default());
    let (mut used, mut ops) = (Usage::default(), 0);
    for index in 0..plan.runs {
        let (mut load, usage) = stand.closed(&claims, &Budget::time(&next, plan.length)).await?;
        let before = stand.usage()?;
        let baseline = textbook.write(plan.length).await?;
        let base_cpu = stand.usage()?.since(before);
        frame.say_run(&format!("M4{suffix}"), index, "wins/s", load.rate(), baseline.rate());
        wins.ours.push(load.rate());
        wins.baseline.push(baseline.rate());
        wins.cpu_ours.push(load.cpu_us());
        wins.cpu_baseline.push(micros_each(base_cpu.mysql, baseline.rows));
        wins.done.extend(load.done());
        sized.baseline.push(SIZING_FIGURE);
        used = used.plus(usage);
        ops += load.ops();
        keep(&mut all, &mut load);
    }
    let (p50, p99) =
        textbook.latency.map_or((0.0, 0.0), |latency| (latency.p50_us, latency.p99_us));
    textbook.remove().await?;
    let unsettled = all.unsettled.len();
    stand.node.settle(hot, &mut all).await?;
    stand.node.check_wins(hot, &all.won).await?;

    sized.ours.clone_from(&wins.ours);
    sized.cpu_ours.clone_from(&wins.cpu_ours);
    sized.done.clone_from(&wins.done);
    let mut m4 = wins.row(&format!("M4{suffix}"), "wins/s", Bound::AtLeast, 20.0, rows);
    let mut m5 = sized.row(&format!("M5{suffix}"), "wins/s", Bound::AtLeast, 5.0, rows);
    m4.notes.push(primary.told());
    m4.notes.push(used.told(ops));
    m4.notes.push(format!(
        "the baseline has {} connections and a transaction each, p50/p99 {p50:.0}/{p99:.0} µs; its \
         CPU is mysql's",
        textbook::CONNECTIONS
    ));
    if unsettled > 0 {
        m4.notes.push(format!("{unsettled} claims were shed or timed out; settled afterwards"));
    }
    m5.notes.push("the baseline is a sizing figure, not a measurement".to_owned());
    Ok([m4, m5])
}

/// Keeps what the check at the end needs.
pub(super) fn keep(all: &mut Load, load: &mut Load) {
    all.won.append(&mut load.won);
    all.unsettled.append(&mut load.unsettled);
}
