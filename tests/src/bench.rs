//! The benches: each measure is taken beside its baseline in the same run, on the same machine, by
//! the same generator, and told as a ratio. Absolute figures drift between machines.

pub mod codec;
pub mod confirm;
pub mod cpu;
pub mod echo;
#[cfg(test)]
mod generator_tests;
pub mod load;
mod m1;
mod m14;
mod m18;
mod m19;
mod m2;
mod m8;
pub mod open;
mod orders;
pub mod report;
mod rss;
pub mod server;
pub mod stage;
pub mod stats;
pub mod stream;
mod textbook;
pub mod wire;
pub mod workload;

use std::{collections::BTreeMap, fmt, path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};

use echo::EchoProcess;
use load::Target;
use report::Row;
use stage::Stage;

/// Everything that a run without names measures, in this order.
pub const ALL: [&str; 9] = ["M1", "M1@1e6", "M2", "M2@1e6", "M8", "M14", "M18", "M19", "RSS@1e6"];

/// An invariant that a bench's checker found violated. Such a bench has no figures to report.
#[derive(Debug)]
pub struct Violation(pub String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invariant violated: {}", self.0)
    }
}

impl std::error::Error for Violation {}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Claims refused or replayed.
    M1,
    /// Claims won.
    M2,
    /// Latency of a won claim at half load.
    M8,
    /// Lock and confirm.
    M14,
    /// Wallet list.
    M18,
    /// Claims won through ClaimStream.
    M19,
    /// Memory.
    Rss,
}

/// A measure at a size, such as `M2@1e6`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// As it was written.
    pub name: String,
    /// What.
    pub measure: Measure,
    /// Coupons stored before it begins; `None` = the measure's own size.
    pub rows: Option<u64>,
}

impl FromStr for Selection {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        let (measure, size) = match name.split_once('@') {
            Some((measure, size)) => (measure, Some(size)),
            None => (name, None),
        };
        let measure = match measure.to_ascii_uppercase().as_str() {
            "M1" => Measure::M1,
            "M2" => Measure::M2,
            "M8" => Measure::M8,
            "M14" => Measure::M14,
            "M18" => Measure::M18,
            "M19" => Measure::M19,
            "RSS" => Measure::Rss,
            _ => bail!("there is no bench {name}; --list names them"),
        };
        let rows = match size.map(f64::from_str) {
            None => None,
            Some(Ok(rows)) if (1.0..=1e9).contains(&rows) => Some(rows as u64),
            Some(_) => bail!("the size of {name} is not a number from 1 to 1e9"),
        };
        Ok(Self { name: name.to_owned(), measure, rows })
    }
}

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
            Measure::M18 => m18::measure(self, name, rows).await,
            Measure::M19 => m19::measure(self, name, rows).await,
            Measure::Rss => rss::measure(self, name, rows).await,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_and_without_a_size_are_read() {
        let read = |name: &str| name.parse::<Selection>().map(|s| (s.measure, s.rows)).ok();
        assert_eq!(read("M2"), Some((Measure::M2, None)));
        assert_eq!(read("m2@1e6"), Some((Measure::M2, Some(1_000_000))));
        assert_eq!(read("RSS@1e6"), Some((Measure::Rss, Some(1_000_000))));
        assert_eq!(read("M3"), None);
        assert_eq!(read("M2@many"), None);
        assert_eq!(read("M2@0"), None);
        assert!(ALL.iter().all(|name| read(name).is_some()));
    }
}
