//! Where the CPU of one won claim goes, by process.

use std::sync::{Arc, atomic::AtomicU64};

use anyhow::Context as _;

use super::{
    super::{
        load::{Budget, warm_up},
        report::{Bound, Row, Runs},
        server::check_load,
        stores::{Usage, micros_each},
        workload::{FreshClaims, template},
    },
    Distributed, PLENTY,
    m4::keep,
    stand::Stand,
};

/// RPC 12, gate 4, group 2, database 15: what the parts cost by themselves.
const BUDGET_US: f64 = 33.0;

pub(super) async fn measure(bench: &Distributed, name: &str) -> anyhow::Result<Row> {
    let mut stand = Stand::start(&bench.addresses, 1, &[]).await?;
    let outcome = run(bench, &mut stand, name).await;
    stand.conclude(outcome).await
}

async fn run(bench: &Distributed, stand: &mut Stand, name: &str) -> anyhow::Result<Row> {
    let (frame, plan) = (&bench.frame, &bench.frame.plan);
    stand.store(plan.rows, frame.say).await?;
    let hot = stand.node.publish(template("hot", PLENTY)).await?;
    let (claims, next) = (FreshClaims::new(hot), Arc::new(AtomicU64::new(0)));
    let mut all =
        warm_up(&stand.node.target, &claims, &next, plan.slice(), plan.warm_up_max).await?;
    check_load(&all)?;
    let idle = idle_share(stand, plan.length).await?;

    let mut runs = Runs::default();
    let (mut used, mut ops, mut seconds) = (Usage::default(), 0, 0.0);
    for _ in 0..plan.runs {
        let (mut load, usage) = stand.closed(&claims, &Budget::time(&next, plan.length)).await?;
        let whole = usage.server + usage.stores();
        runs.ours.push(micros_each(whole, load.ops()));
        runs.cpu_ours.push(load.cpu_us());
        runs.done.extend(load.done());
        used = used.plus(usage);
        ops += load.ops();
        seconds += load.elapsed.as_secs_f64();
        keep(&mut all, &mut load);
    }
    stand.node.settle(hot, &mut all).await?;
    stand.node.check_wins(hot, &all.won).await?;

    let mut row = runs.row(name, "CPU-µs/win", Bound::AtMost, BUDGET_US, plan.rows);
    row.notes.push(used.told(ops));
    row.notes.push(format!(
        "{:.0} wins/s; in cores: server {:.2}, mysql {:.2}, redis {:.2}, pulsar {:.2}, generator {:.2}",
        ops as f64 / seconds,
        used.server.as_secs_f64() / seconds,
        used.mysql.as_secs_f64() / seconds,
        used.redis.as_secs_f64() / seconds,
        used.pulsar.as_secs_f64() / seconds,
        used.generator.as_secs_f64() / seconds,
    ));
    row.notes.push(format!("with no load the stores and the server use {idle:.2} cores"));
    row.notes.push("docs/benches.md tells how to split the server's part".to_owned());
    let primary = stand.shards.first().context("the ledger has no shard")?;
    row.notes.push(primary.told());
    Ok(row)
}

/// Cores in use while nobody calls.
async fn idle_share(stand: &Stand, length: std::time::Duration) -> anyhow::Result<f64> {
    let before = stand.usage()?;
    tokio::time::sleep(length).await;
    let used = stand.usage()?.since(before);
    Ok((used.server + used.stores()).as_secs_f64() / length.as_secs_f64())
}
