//! The benches: each measure is taken beside its baseline in the same run, on the same machine, by
//! the same generator, and told as a ratio. Absolute figures drift between machines.

pub mod codec;
pub mod confirm;
pub mod cpu;
pub mod distributed;
pub mod echo;
pub mod frame;
#[cfg(test)]
mod generator_tests;
pub mod load;
mod m1;
mod m14;
mod m18;
mod m19;
mod m2;
mod m8;
pub mod mysql;
pub mod open;
mod orders;
pub mod ports;
mod quotes;
pub mod report;
mod rss;
pub mod selection;
pub mod server;
pub mod stage;
pub mod stats;
pub mod stores;
pub mod stream;
mod textbook;
mod wallets;
pub mod wire;
pub mod workload;

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};

use echo::EchoProcess;
use load::Target;
use report::Row;
use selection::{Measure, Selection};
use stage::Stage;

/// An invariant that a bench's checker found violated. Such a bench has no figures to report.
#[derive(Debug)]
pub struct Violation(pub String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invariant violated: {}", self.0)
    }
}

impl std::error::Error for Violation {}

/// How long and how large a run is.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Length of one measurement.
    pub length: Duration,
    /// Measurements of each side.
    pub runs: usize,
    /// Longest warm-up; it ends earlier when the rate is steady.
    pub warm_up_max: Duration,
    /// Stored coupons of a measure without a size.
    pub rows: u64,
    /// Stored coupons of M18's larger side and of RSS.
    pub rows_large: u64,
    /// Largest size that a name may ask for; a smoke run keeps it small.
    pub rows_max: u64,
    /// Lock and confirm pairs in one measurement of M14.
    pub pairs: u64,
    /// Coupons that expire in one measurement of M12.
    pub expiring: u64,
}

impl Plan {
    /// The full form.
    pub fn full(length: Duration, runs: usize, rows_large: u64) -> Self {
        Self {
            length,
            runs,
            warm_up_max: Duration::from_secs(10),
            rows: 100_000,
            rows_large,
            rows_max: u64::MAX,
            pairs: 15_000,
            expiring: 300_000,
        }
    }

    /// A smoke run of a few seconds a measure: everything is exercised, nothing is proven.
    pub fn quick() -> Self {
        Self {
            length: Duration::from_millis(700),
            runs: 1,
            warm_up_max: Duration::from_millis(600),
            rows: 2_000,
            rows_large: 10_000,
            rows_max: 10_000,
            pairs: 1_000,
            expiring: 3_000,
        }
    }

    /// Length of one slice of a warm-up.
    pub fn slice(&self) -> Duration {
        self.warm_up_max / 10
    }
}

/// One bench run: its plan, its baseline and what its measures share.
pub struct Bench {
    plan: Plan,
    root: PathBuf,
    say: fn(&str),
    echo: Target,
    echo_process: EchoProcess,
    stages: BTreeMap<u64, Arc<Stage>>,
    /// Resident memory of M1's servers at their end, by rows, in bytes.
    resident_bytes: BTreeMap<u64, u64>,
    /// Claims won per second by the last M2.
    win_rate: Option<f64>,
}

impl Bench {
    /// Starts the baseline. Data folders go below `root`, which must be on a real disk; `say` is
    /// told of the progress.
    pub async fn new(plan: Plan, root: PathBuf, say: fn(&str)) -> anyhow::Result<Self> {
        let echo_process = EchoProcess::start().await.context("the baseline did not start")?;
        let echo = Target::connect(echo_process.addr(), echo_process.pid()?).await?;
        let (stages, resident_bytes) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { plan, root, say, echo, echo_process, stages, resident_bytes, win_rate: None })
    }

    /// Takes one measure. Fails with a [`Violation`] when its checker finds one.
    pub async fn measure(&mut self, selection: &Selection) -> anyhow::Result<Row> {
        let name = &selection.name;
        (self.say)(&format!("{name}: begins"));
        let rows = selection.rows.map(|rows| rows.min(self.plan.rows_max));
        match selection.measure {
            Measure::M1 => m1::measure(self, name, rows).await,
            Measure::M2 => m2::measure(self, name, rows).await,
            Measure::M8 => m8::measure(self, name, rows).await,
            Measure::M14 => m14::measure(self, name).await,
            Measure::M16 => quotes::measure(self, name),
            Measure::Quote10 => quotes::measure_against_greedy(self, name, 10),
            Measure::Quote50 => quotes::measure_against_greedy(self, name, 50),
            Measure::Quote200 => quotes::measure_against_greedy(self, name, 200),
            Measure::M18 => m18::measure(self, name, rows).await,
            Measure::M19 => m19::measure(self, name, rows).await,
            Measure::Rss => rss::measure(self, name, rows).await,
            _ => bail!("{name} is not measured on the embedded back end"),
        }
    }

    /// The folder with that many coupons, prepared at its first use.
    async fn stage(&mut self, rows: u64) -> anyhow::Result<Arc<Stage>> {
        if let Some(stage) = self.stages.get(&rows) {
            return Ok(Arc::clone(stage));
        }
        (self.say)(&format!("storing {rows} coupons"));
        let stage = Arc::new(Stage::prepare(&self.root, rows).await?);
        (self.say)(&format!("stored {rows} coupons, {:.0} per second", stage.fill_rate));
        self.stages.insert(rows, Arc::clone(&stage));
        Ok(stage)
    }

    fn say_run(&self, name: &str, run: usize, unit: &str, ours: f64, baseline: f64) {
        let (runs, ratio) = (self.plan.runs, ours / baseline);
        (self.say)(&format!(
            "{name}: run {} of {runs}: {ours:.0} against {baseline:.0} {unit}, ratio {ratio:.3}",
            run + 1
        ));
    }
}
