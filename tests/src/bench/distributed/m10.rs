//! M10: one hot template against a thousand templates, on the same databases and in turn.

use std::sync::{Arc, atomic::AtomicU64};

use std::collections::HashSet;

use http::uri::PathAndQuery;
use prost::Message as _;

use super::{
    super::{
        Violation,
        load::{Budget, Connection, Load, Operation, Verdict, warm_up},
        open::Schedule,
        report::{Bound, Row, Runs},
        server::{check_load, in_order},
        stats::Latency,
        stores::Usage,
        workload::{FreshClaims, claim, claim_path, judge_claim_answer, template},
    },
    Distributed, PLENTY,
    m4::keep,
    stand::Stand,
};

const TEMPLATES: u64 = 1_000;

/// Claims that win, of many templates in turn.
#[derive(Clone)]
struct Spread {
    path: PathAndQuery,
    templates: Arc<[i64]>,
}

impl Spread {
    fn template(&self, seq: u64) -> i64 {
        self.templates[(seq % self.templates.len() as u64) as usize]
    }
}

impl Operation for Spread {
    async fn run(&self, conn: &mut Connection, seq: u64) -> Verdict {
        let body = claim(seq, self.template(seq)).encode_to_vec().into();
        judge_claim_answer(seq, conn.unary(&self.path, body).await)
    }
}

pub(super) async fn measure(bench: &Distributed, name: &str) -> anyhow::Result<Row> {
    let stand = Stand::start(&bench.addresses, 1, &[]).await?;
    let outcome = run(bench, &stand, name).await;
    stand.conclude(outcome).await
}

async fn run(bench: &Distributed, stand: &Stand, name: &str) -> anyhow::Result<Row> {
    let (frame, plan) = (&bench.frame, &bench.frame.plan);
    let hot = stand.node.publish(template("hot", PLENTY)).await?;
    (frame.say)(&format!("{name}: publishing {TEMPLATES} templates"));
    let publish = |_| stand.node.publish(template("one of many", PLENTY / TEMPLATES as i64));
    let templates: Arc<[i64]> = in_order(TEMPLATES, publish).await?.into();
    let one = FreshClaims::new(hot);
    let many = Spread { path: claim_path(), templates };

    let (next_one, next_many) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (slice, longest) = (plan.slice(), plan.warm_up_max);
    let mut won_one = warm_up(&stand.node.target, &one, &next_one, slice, longest).await?;
    let mut won_many = warm_up(&stand.node.target, &many, &next_many, slice, longest).await?;
    check_load(&won_one)?;
    check_load(&won_many)?;

    let mut runs = Runs::default();
    let (mut used_one, mut used_many) = ((Usage::default(), 0), (Usage::default(), 0));
    for index in 0..plan.runs {
        let budget = Budget::time(&next_one, plan.length);
        let (mut ours, usage) = stand.closed(&one, &budget).await?;
        used_one = (used_one.0.plus(usage), used_one.1 + ours.ops());
        let budget = Budget::time(&next_many, plan.length);
        let (mut baseline, usage) = stand.closed(&many, &budget).await?;
        used_many = (used_many.0.plus(usage), used_many.1 + baseline.ops());
        frame.say_run(name, index, "wins/s", ours.rate(), baseline.rate());
        runs.add(&mut ours, &baseline);
        keep(&mut won_one, &mut ours);
        keep(&mut won_many, &mut baseline);
    }
    let mut row = runs.row(name, "wins/s", Bound::AtLeast, 0.9, 0);

    let rate = row.ours.min(row.baseline.unwrap_or(row.ours)) / 2.0;
    let schedule = Schedule { rate, warm_up: plan.length / 5, length: plan.length };
    let mut calm_one = stand.open(&one, &next_one, schedule).await?;
    let mut calm_many = stand.open(&many, &next_many, schedule).await?;
    row.notes.push(format!(
        "at the same {rate:.0} claims/s: one template {}, {TEMPLATES} templates {}",
        told(calm_one.done()),
        told(calm_many.done())
    ));
    row.notes.push(format!("one template: {}", used_one.0.told(used_one.1)));
    row.notes.push(format!("{TEMPLATES} templates: {}", used_many.0.told(used_many.1)));
    keep(&mut won_one, &mut calm_one);
    keep(&mut won_many, &mut calm_many);

    stand.node.settle(hot, &mut won_one).await?;
    stand.node.check_wins(hot, &won_one.won).await?;
    check_many(stand, &many, &mut won_many).await?;
    Ok(row)
}

fn told(latency: Option<Latency>) -> String {
    let latency = latency.unwrap_or_default();
    format!("p50/p99 {:.0}/{:.0} µs", latency.p50_us, latency.p99_us)
}

/// Settles what is open and holds the wins against the counts of all templates together.
async fn check_many(stand: &Stand, many: &Spread, load: &mut Load) -> anyhow::Result<()> {
    for seq in std::mem::take(&mut load.unsettled) {
        let mut one = Load { unsettled: vec![seq], ..Load::default() };
        stand.node.settle(many.template(seq), &mut one).await?;
        load.won.append(&mut one.won);
    }
    let issued = |index: u64| stand.node.issued(many.template(index));
    let issued: u64 = in_order(TEMPLATES, issued).await?.into_iter().sum();
    let distinct = load.won.iter().collect::<HashSet<_>>().len();
    let wins = load.won.len();
    anyhow::ensure!(
        distinct == wins && issued == wins as u64,
        Violation(format!(
            "{TEMPLATES} templates: {wins} wins, {distinct} distinct coupons, {issued} issued"
        ))
    );
    Ok(())
}
