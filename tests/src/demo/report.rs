//! The figures of a demo, as a table and as JSON.

use std::{collections::BTreeMap, fmt};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{Invariant, Options, aftermath::Aftermath, sale::Sale};

/// Everything that the demo measured and checked.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Users who grabbed.
    pub users: u64,
    /// Coupons there were.
    pub stock: i64,
    /// Connections that the users shared.
    pub connections: usize,
    /// Claims sent, all sends of all users.
    pub claims: u64,
    /// Length of the sale in seconds.
    pub sale_seconds: f64,
    /// Claims answered per second.
    pub claims_per_second: f64,
    /// First answers that say won.
    pub won: u64,
    /// Repeated answers that say won.
    pub replays: u64,
    /// Refusals with SOLD_OUT.
    pub sold_out: u64,
    /// Refusals with LIMIT_REACHED.
    pub limit: u64,
    /// Refusals for another reason.
    pub refused: u64,
    /// Claims without a definite answer.
    pub errors: u64,
    /// The first of those two, in words.
    pub first_error: Option<String>,
    /// Times to the first answers that say won.
    pub win_latency: Latency,
    /// Times to the repeated answers that say won.
    pub replay_latency: Latency,
    /// Times to refusals.
    pub refusal_latency: Latency,
    /// Coupons by status at the end.
    pub final_statuses: BTreeMap<String, u64>,
    /// Every promise and whether it was kept.
    pub invariants: Vec<Invariant>,
    /// Whether all were kept.
    pub ok: bool,
}

/// Percentiles of one kind of answer, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// Answers measured.
    pub count: u64,
    /// Median.
    pub p50_ms: f64,
    /// 99 of 100 are not slower.
    pub p99_ms: f64,
}

impl Latency {
    fn new(micros: &Histogram<u64>) -> Self {
        let millis = |quantile| micros.value_at_quantile(quantile) as f64 / 1_000.0;
        Self { count: micros.len(), p50_ms: millis(0.50), p99_ms: millis(0.99) }
    }
}

impl Report {
    pub(super) fn new(
        options: &Options,
        sale: &Sale,
        aftermath: &Aftermath,
        invariants: Vec<Invariant>,
    ) -> Self {
        let tally = &sale.tally;
        let seconds = sale.elapsed.as_secs_f64();
        Self {
            users: options.users,
            stock: options.stock,
            connections: options.connections,
            claims: tally.sends,
            sale_seconds: seconds,
            claims_per_second: tally.sends as f64 / seconds.max(f64::EPSILON),
            won: tally.won,
            replays: tally.replays,
            sold_out: tally.sold_out,
            limit: tally.limit,
            refused: tally.refused,
            errors: tally.errors,
            first_error: tally.first_error.clone(),
            win_latency: Latency::new(&tally.win_us),
            replay_latency: Latency::new(&tally.replay_us),
            refusal_latency: Latency::new(&tally.refusal_us),
            final_statuses: aftermath.statuses.clone(),
            ok: invariants.iter().all(|invariant| invariant.ok),
            invariants,
        }
    }
}

/// A table for people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} users, {} coupons, {} connections: {} claims in {:.2} s, {:.0} claims/s\n",
            self.users,
            self.stock,
            self.connections,
            self.claims,
            self.sale_seconds,
            self.claims_per_second
        )?;
        writeln!(f, "{:<12} {:>10} {:>12} {:>12}", "answer", "count", "p50 ms", "p99 ms")?;
        timed(f, "won", self.won, self.win_latency)?;
        timed(f, "replayed", self.replays, self.replay_latency)?;
        timed(f, "refused", self.sold_out + self.limit + self.refused, self.refusal_latency)?;
        writeln!(f, "{:<12} {:>10}", "- sold out", self.sold_out)?;
        writeln!(f, "{:<12} {:>10}", "- limit", self.limit)?;
        writeln!(f, "{:<12} {:>10}", "- other", self.refused)?;
        writeln!(f, "{:<12} {:>10}", "errors", self.errors)?;
        if let Some(error) = &self.first_error {
            writeln!(f, "first unexpected answer: {error}")?;
        }
        writeln!(f, "\ncoupons at the end")?;
        for (status, count) in &self.final_statuses {
            writeln!(f, "{status:<12} {count:>10}")?;
        }
        writeln!(f, "\ninvariants")?;
        for Invariant { name, ok, detail } in &self.invariants {
            let verdict = if *ok { "ok" } else { "VIOLATED" };
            writeln!(f, "{verdict:<9} {name}: {detail}")?;
        }
        Ok(())
    }
}

fn timed(f: &mut fmt::Formatter<'_>, name: &str, count: u64, latency: Latency) -> fmt::Result {
    writeln!(f, "{name:<12} {count:>10} {:>12.2} {:>12.2}", latency.p50_ms, latency.p99_ms)
}
