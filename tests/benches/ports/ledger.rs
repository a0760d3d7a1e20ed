//! M4, M5 and M6 at the ledger's port: durable wins of one hot template.

use std::{
    collections::HashSet,
    ops::Range,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use coupon_domain::template::Template;
use coupon_server::ledger::Ledger;
use coupon_tests::bench::{
    Violation,
    frame::Frame,
    mysql::{
        rows::{INSERTS_IN_FLIGHT, ROWS_PER_INSERT, Rows},
        textbook::{self, Textbook},
    },
    report::{Bound, Row, Runs},
    stores::{Usage, micros_each},
};

use crate::{
    deck::Deck,
    drive::{Driven, drive},
};

/// Claims handed over together, and how many such parcels are under way.
const PARCEL: u64 = 64;
const PARCELS: usize = 32;
/// Durable wins per second and primary that sizing assumes where nobody has measured.
const SIZING_FIGURE: f64 = 4_000.0;

/// The hot template, what has been won of it and what that has cost.
struct Hot<'a> {
    deck: &'a Deck,
    template: Arc<Template>,
    next: Arc<AtomicU64>,
    won: Vec<i64>,
    used: Usage,
    ops: u64,
}

impl<'a> Hot<'a> {
    /// Stores `rows` coupons of another template first.
    async fn prepare(frame: &Frame, deck: &'a Deck, rows: u64) -> anyhow::Result<(Self, Rows)> {
        let stored = deck.publish().await?;
        let first = deck.ledger.give(vec![Deck::claim(&stored, 1 << 39)?]).await;
        first.into_iter().next().context("the ledger gave no answer")??;
        let writer = Rows::of(&deck.primary, stored.id.get()).await?;
        let written = writer.fill(rows, frame.say).await?;
        (frame.say)(&format!(
            "stored {} coupons in {:.1} s, {:.0} per second",
            written.rows,
            written.elapsed.as_secs_f64(),
            written.rate()
        ));
        let template = deck.publish().await?;
        let hot = Self {
            deck,
            template,
            next: Arc::default(),
            won: Vec::new(),
            used: Usage::default(),
            ops: 0,
        };
        Ok((hot, writer))
    }

    async fn run(&mut self, length: Duration) -> anyhow::Result<(Driven<i64>, Usage)> {
        let (ledger, template) = (Arc::clone(&self.deck.ledger), Arc::clone(&self.template));
        let call = move |numbers| give(Arc::clone(&ledger), Arc::clone(&template), numbers);
        let before = self.deck.stores.usage(&[])?;
        let driven = drive(PARCELS, PARCEL, length, &self.next, call).await?;
        let used = self.deck.stores.usage(&[])?.since(before);
        self.won.extend(&driven.answers);
        Ok((driven, used))
    }

    /// A run that counts.
    async fn measure(&mut self, length: Duration) -> anyhow::Result<(Driven<i64>, Usage)> {
        let (driven, used) = self.run(length).await?;
        self.used = self.used.plus(used);
        self.ops += driven.answers.len() as u64;
        Ok((driven, used))
    }

    /// Holds what was won against what is stored.
    async fn check(&self) -> anyhow::Result<()> {
        let template_id = self.template.id.get();
        let distinct = self.won.iter().collect::<HashSet<_>>().len();
        let first = self.won.iter().min().copied().unwrap_or_default();
        // By id, because nothing else leads to the coupons of one template.
        let sql = "SELECT COUNT(*) FROM coupon WHERE coupon_id >= ? AND template_id = ?";
        let stored = sqlx::query_scalar::<_, i64>(sql).bind(first).bind(template_id);
        let stored = stored.fetch_one(&self.deck.primary.pool).await?;
        let buckets = self.deck.ledger.buckets(self.template.id).await?;
        let issued: i64 = buckets.iter().map(|(_, bucket)| bucket.issued).sum();
        let wins = self.won.len();
        ensure!(
            distinct == wins
                && usize::try_from(stored)? == wins
                && usize::try_from(issued)? == wins,
            Violation(format!(
                "template {template_id}: {wins} wins, {distinct} distinct coupons, {stored} stored, \
                 {issued} issued"
            ))
        );
        Ok(())
    }

    fn told(&self) -> Vec<String> {
        vec![
            self.deck.primary.told(),
            format!(
                "{PARCELS} parcels of {PARCEL} claims under way, a latency is that of a parcel; the \
                 ledger runs in the generator's process; {}",
                self.used.told(self.ops)
            ),
        ]
    }
}

async fn give(
    ledger: Arc<dyn Ledger>,
    template: Arc<Template>,
    numbers: Range<u64>,
) -> anyhow::Result<Vec<i64>> {
    let commands: anyhow::Result<Vec<_>> = numbers.map(|seq| Deck::claim(&template, seq)).collect();
    let mut won = Vec::with_capacity(PARCEL as usize);
    for outcome in ledger.give(commands?).await {
        let given = outcome.context("a claim of a template with stock for all was not won")?;
        ensure!(!given.replayed, Violation("a new claim was called a replay".to_owned()));
        won.extend(given.coupons.iter().map(|coupon| coupon.id.get()));
    }
    Ok(won)
}

/// M4 and M5: against the textbook transaction and against a sizing figure.
pub(crate) async fn textbook(
    frame: &Frame,
    deck: &Deck,
    name: &str,
    rows: u64,
) -> anyhow::Result<Vec<Row>> {
    let plan = &frame.plan;
    let (mut hot, _) = Hot::prepare(frame, deck, rows).await?;
    let mut textbook = Textbook::prepare(&deck.primary).await?;
    hot.run(plan.warm_up_max.min(plan.length)).await?;
    textbook.write(plan.slice()).await?;
    let (mut wins, mut sized) = (Runs::default(), Runs::default());
    for index in 0..plan.runs {
        let (ours, used) = hot.measure(plan.length).await?;
        let before = deck.stores.usage(&[])?;
        let baseline = textbook.write(plan.length).await?;
        let base_cpu = deck.stores.usage(&[])?.since(before);
        frame.say_run(name, index, "wins/s", ours.rate(), baseline.rate());
        wins.ours.push(ours.rate());
        wins.baseline.push(baseline.rate());
        let ops = ours.answers.len() as u64;
        wins.cpu_ours.push(micros_each(used.mysql + used.generator, ops));
        let base = base_cpu.mysql + base_cpu.generator;
        wins.cpu_baseline.push(micros_each(base, baseline.rows));
        wins.done.extend(ours.latency);
        sized.baseline.push(SIZING_FIGURE);
    }
    textbook.remove().await?;
    hot.check().await?;
    sized.ours.clone_from(&wins.ours);
    sized.cpu_ours.clone_from(&wins.cpu_ours);
    let mut m4 = wins.row(name, "wins/s", Bound::AtLeast, 40.0, rows);
    m4.notes = hot.told();
    m4.notes.push(format!(
        "the baseline has {} connections and a transaction each; CPU is mysql's and the client's",
        textbook::CONNECTIONS
    ));
    let mut m5 = sized.row(&name.replace("M4", "M5"), "wins/s", Bound::AtLeast, 5.0, rows);
    m5.notes.push("the baseline is a sizing figure, not a measurement".to_owned());
    Ok(vec![m4, m5])
}

/// M6: against plain inserts of a thousand rows into the same table.
pub(crate) async fn plain(
    frame: &Frame,
    deck: &Deck,
    name: &str,
    rows: u64,
) -> anyhow::Result<Row> {
    let plan = &frame.plan;
    let (mut hot, writer) = Hot::prepare(frame, deck, rows).await?;
    hot.run(plan.warm_up_max.min(plan.length)).await?;
    writer.write_for(plan.slice()).await?;
    let mut runs = Runs::default();
    for index in 0..plan.runs {
        let (ours, used) = hot.measure(plan.length).await?;
        let before = deck.stores.usage(&[])?;
        let baseline = writer.write_for(plan.length).await?;
        let base_cpu = deck.stores.usage(&[])?.since(before);
        frame.say_run(name, index, "rows/s", ours.rate(), baseline.rate());
        runs.ours.push(ours.rate());
        runs.baseline.push(baseline.rate());
        let ops = ours.answers.len() as u64;
        runs.cpu_ours.push(micros_each(used.mysql + used.generator, ops));
        let base = base_cpu.mysql + base_cpu.generator;
        runs.cpu_baseline.push(micros_each(base, baseline.rows));
        runs.done.extend(ours.latency);
    }
    hot.check().await?;
    let mut row = runs.row(name, "rows/s", Bound::AtLeast, 0.65, rows);
    row.notes = hot.told();
    row.notes.push(format!(
        "the baseline inserts {ROWS_PER_INSERT} rows in a statement that commits by itself, \
         {INSERTS_IN_FLIGHT} in flight; CPU is mysql's and the client's"
    ));
    Ok(row)
}
