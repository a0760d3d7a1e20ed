//! What a broken day came to.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use super::{checker::Violation, nemesis::Fault, round::Round};

/// Violations of one round that are told in words.
const TOLD: usize = 10;

/// A broken day.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Repeats it.
    pub seed: u64,
    /// Whether on MySQL, Redis and Pulsar.
    pub distributed: bool,
    /// How long it was, in seconds.
    pub length_s: f64,
    /// Each fault with its calm.
    pub rounds: Vec<Round>,
    /// Promises broken by what is stored after everything.
    pub aftermath: Vec<Violation>,
}

impl Report {
    pub(super) fn new(seed: u64, distributed: bool) -> Self {
        Self { seed, distributed, length_s: 0.0, rounds: Vec::new(), aftermath: Vec::new() }
    }

    /// Every broken promise.
    pub fn violations(&self) -> impl Iterator<Item = &Violation> {
        self.rounds.iter().flat_map(|round| &round.violations).chain(&self.aftermath)
    }

    /// Whether every promise was kept.
    pub fn is_clean(&self) -> bool {
        self.violations().next().is_none()
    }

    /// How often each kind of fault was injected.
    pub fn injected(&self) -> BTreeMap<Fault, usize> {
        let mut injected = BTreeMap::new();
        for round in &self.rounds {
            *injected.entry(round.fault).or_default() += 1;
        }
        injected
    }

    fn sum(&self, of: impl Fn(&Round) -> u64) -> u64 {
        self.rounds.iter().map(of).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let titles = ["attempts", "U", "N", "calm/s", "broken/s", "after/s", "healed", "settled"];
        let widths = [9, 7, 7, 9, 9, 9, 9, 9];
        write!(f, "{:<33}", "fault")?;
        for (title, width) in titles.iter().zip(widths) {
            write!(f, "{title:>width$}")?;
        }
        writeln!(f, "  violations")?;
        for round in &self.rounds {
            writeln!(
                f,
                "{:<5}{:<28}{:>9}{:>7}{:>7}{:>9.0}{:>9.0}{:>9.0}{:>7.1} s{:>7.1} s  {}",
                round.fault.to_string(),
                round.fault.what(),
                round.attempts,
                round.unknown,
                round.not_admitted,
                round.calm_goodput,
                round.fault_goodput,
                round.after_goodput,
                round.healed_s,
                round.settled_s,
                round.violations.len(),
            )?;
        }
        for round in &self.rounds {
            for violation in round.violations.iter().take(TOLD) {
                writeln!(f, "{} {violation}", round.fault)?;
            }
        }
        for violation in &self.aftermath {
            writeln!(f, "at the end {violation}")?;
        }
        let (attempts, unknown) = (self.sum(|round| round.attempts), self.sum(|r| r.unknown));
        let settled = self.rounds.iter().map(|round| round.settled_s).fold(0.0, f64::max);
        let faults: Vec<String> =
            self.injected().iter().map(|(fault, count)| format!("{fault} x{count}")).collect();
        writeln!(f, "\nfaults injected   {}", faults.join(", "))?;
        writeln!(
            f,
            "checked           {attempts} attempts of {} requests in {:.0} s, seed {}",
            self.sum(|round| round.requests),
            self.length_s,
            self.seed
        )?;
        // Counts of one run are far below the precision of a double.
        let rate = 100.0 * unknown as f64 / attempts.max(1) as f64;
        writeln!(
            f,
            "unknown           {unknown} ({rate:.2} %), each settled within {settled:.1} s"
        )?;
        for isolation in self.rounds.iter().filter_map(|round| round.isolation) {
            writeln!(
                f,
                "isolation         {:.0} % of the calm goodput on the other shard",
                100.0 * isolation
            )?;
        }
        writeln!(f, "violations        {}", self.violations().count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::checker::Rule;

    #[test]
    fn a_broken_promise_makes_a_day_unclean() {
        let mut report = Report::new(5, false);
        assert!(report.is_clean());
        let what = "bucket 3/0 is short".to_owned();
        report.aftermath.push(Violation { rule: Rule::Audit, what });
        assert!(!report.is_clean());
        let text = report.to_string();
        assert!(text.contains("bucket 3/0 is short") && text.contains("seed 5"), "{text}");
    }
}
