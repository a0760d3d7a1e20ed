//! Claims per CPU-second of the stores with two shards, against one.

use std::sync::{Arc, atomic::AtomicU64};

use super::{
    super::{
        load::{Budget, Load, warm_up},
        report::{Bound, Row, Runs},
        server::check_load,
        stores::Usage,
        workload::{FreshClaims, template},
    },
    Distributed, PLENTY,
    m4::keep,
    stand::Stand,
};

/// Cost must stay flat as shards are added.
const TARGET: f64 = 0.9;

/// One of the two clusters.
struct Side {
    stand: Stand,
    claims: FreshClaims,
    hot: i64,
    next: Arc<AtomicU64>,
    all: Load,
    rates: Vec<f64>,
    used: Usage,
    ops: u64,
}

impl Side {
    async fn start(bench: &Distributed, shards: usize) -> anyhow::Result<Self> {
        let stand = Stand::start(&bench.addresses, shards, &[]).await?;
        match stand.node.publish(template("hot", PLENTY)).await {
            Ok(hot) => Ok(Self {
                stand,
                claims: FreshClaims::new(hot),
                hot,
                next: Arc::new(AtomicU64::new(0)),
                all: Load::default(),
                rates: Vec::new(),
                used: Usage::default(),
                ops: 0,
            }),
            Err(error) => stand.conclude(Err(error)).await,
        }
    }

    async fn warm_up(&mut self, bench: &Distributed) -> anyhow::Result<()> {
        let (plan, target) = (&bench.frame.plan, &self.stand.node.target);
        let load =
            warm_up(target, &self.claims, &self.next, plan.slice(), plan.warm_up_max).await?;
        check_load(&load)?;
        self.all.merge(load);
        Ok(())
    }

    /// Claims per CPU-second of MySQL and Redis in one run, and the CPU of the server per claim.
    async fn run(&mut self, bench: &Distributed) -> anyhow::Result<(f64, f64)> {
        let budget = Budget::time(&self.next, bench.frame.plan.length);
        let (mut load, usage) = self.stand.closed(&self.claims, &budget).await?;
        keep(&mut self.all, &mut load);
        self.rates.push(load.rate());
        self.used = self.used.plus(usage);
        self.ops += load.ops();
        let stores = usage.mysql + usage.redis + usage.redis_replicas;
        let per_second = load.ops() as f64 / stores.as_secs_f64().max(f64::MIN_POSITIVE);
        Ok((per_second, load.cpu_us()))
    }

    async fn check(&mut self) -> anyhow::Result<()> {
        self.stand.node.settle(self.hot, &mut self.all).await?;
        self.stand.node.check_wins(self.hot, &self.all.won).await
    }
}

pub(super) async fn measure(bench: &Distributed, name: &str) -> anyhow::Result<Row> {
    let mut two = Side::start(bench, 2).await?;
    let mut one = match Side::start(bench, 1).await {
        Ok(one) => one,
        Err(error) => return two.stand.conclude(Err(error)).await,
    };
    let outcome = run(bench, name, &mut two, &mut one).await;
    // Both are audited; the first trouble is told.
    let (outcome, one_ended) = match outcome {
        Ok(row) => (Ok(row), one.stand.conclude(Ok(())).await),
        Err(error) => (Err(error), one.stand.conclude(Err(anyhow::anyhow!("ended"))).await),
    };
    let row = two.stand.conclude(outcome).await?;
    one_ended.map(|()| row)
}

async fn run(
    bench: &Distributed,
    name: &str,
    two: &mut Side,
    one: &mut Side,
) -> anyhow::Result<Row> {
    let frame = &bench.frame;
    two.warm_up(bench).await?;
    one.warm_up(bench).await?;
    let mut runs = Runs::default();
    for index in 0..frame.plan.runs {
        let (ours, cpu) = two.run(bench).await?;
        let (baseline, base_cpu) = one.run(bench).await?;
        frame.say_run(name, index, "wins per store-CPU-s", ours, baseline);
        runs.ours.push(ours);
        runs.baseline.push(baseline);
        runs.cpu_ours.push(cpu);
        runs.cpu_baseline.push(base_cpu);
    }
    two.check().await?;
    one.check().await?;
    let mut row = runs.row(name, "wins/store-CPU-s", Bound::AtLeast, TARGET, 0);
    for (shards, side) in [(2, two), (1, one)] {
        row.notes.push(format!(
            "{shards} shard(s): {:.0} wins/s on the cores that all processes share; {}",
            super::super::stats::median(&side.rates),
            side.used.told(side.ops)
        ));
    }
    Ok(row)
}
