//! What a bench run says: one table for people, one array of JSON objects for programs.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::{
    load::Load,
    stats::{Latency, median, range},
};

/// On which side of its target a ratio has to be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Higher is better.
    AtLeast,
    /// Lower is better.
    AtMost,
}

/// One measured figure beside its baseline.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// As in the list of measures, e.g. `M2@1e6`.
    pub name: String,
    /// Median over the runs, in `unit`.
    pub ours: f64,
    /// Median of the baseline over the runs, in `unit`; `None` where there is none.
    pub baseline: Option<f64>,
    /// Median over the runs of ours / baseline of the same run.
    pub ratio: Option<f64>,
    /// What the ratio (without a baseline: ours) is held against.
    pub target: f64,
    /// On which side of the target it has to be.
    pub bound: Bound,
    /// Whether it is there.
    pub met: bool,
    /// Of `ours` and `baseline`.
    pub unit: String,
    /// CPU time of the server per operation, in microseconds.
    pub cpu_us_ours: Option<f64>,
    /// CPU time of the baseline's process per operation, in microseconds.
    pub cpu_us_baseline: Option<f64>,
    /// Median latency of our successes, in microseconds.
    pub p50_us: Option<f64>,
    /// 99th percentile of the same.
    pub p99_us: Option<f64>,
    /// Median latency of our refusals, in microseconds.
    pub refused_p50_us: Option<f64>,
    /// 99th percentile of the same.
    pub refused_p99_us: Option<f64>,
    /// Least and greatest ratio (without a baseline: value) of the runs.
    pub range: [f64; 2],
    /// Number of runs.
    pub runs: usize,
    /// Coupons stored when the measurement began.
    pub rows: u64,
    /// What else to know about the figure.
    pub notes: Vec<String>,
}

/// The runs of one measure, from which its row is computed.
#[derive(Clone, Debug, Default)]
pub struct Runs {
    /// Ours, one value a run.
    pub ours: Vec<f64>,
    /// The baseline, one value a run.
    pub baseline: Vec<f64>,
    /// CPU time per operation of the server, one value a run.
    pub cpu_ours: Vec<f64>,
    /// The same of the baseline.
    pub cpu_baseline: Vec<f64>,
    /// Latencies of successes.
    pub done: Vec<Latency>,
    /// Latencies of refusals.
    pub refused: Vec<Latency>,
}

impl Runs {
    /// Files one run of two closed loops, told in operations per second.
    pub fn add(&mut self, ours: &mut Load, baseline: &Load) {
        self.ours.push(ours.rate());
        self.baseline.push(baseline.rate());
        self.cpu_ours.push(ours.cpu_us());
        self.cpu_baseline.push(baseline.cpu_us());
        self.done.extend(ours.done());
        self.refused.extend(ours.refused());
    }

    /// The row of these runs; notes are added by the caller.
    pub fn row(&self, name: &str, unit: &str, bound: Bound, target: f64, rows: u64) -> Row {
        let pairs = self.ours.iter().zip(&self.baseline);
        let ratios: Vec<f64> = pairs.map(|(ours, baseline)| ours / baseline).collect();
        let judged = if ratios.is_empty() { &self.ours } else { &ratios };
        let value = median(judged);
        let met = match bound {
            Bound::AtLeast => value >= target,
            Bound::AtMost => value <= target,
        };
        let done = Latency::median_of(&self.done);
        let refused = Latency::median_of(&self.refused);
        Row {
            name: name.to_owned(),
            ours: median(&self.ours),
            baseline: some_median(&self.baseline),
            ratio: some_median(&ratios),
            target,
            bound,
            met,
            unit: unit.to_owned(),
            cpu_us_ours: some_median(&self.cpu_ours),
            cpu_us_baseline: some_median(&self.cpu_baseline),
            p50_us: done.map(|latency| latency.p50_us),
            p99_us: done.map(|latency| latency.p99_us),
            refused_p50_us: refused.map(|latency| latency.p50_us),
            refused_p99_us: refused.map(|latency| latency.p99_us),
            range: range(judged),
            runs: self.ours.len(),
            rows,
            notes: Vec::new(),
        }
    }
}

fn some_median(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| median(values))
}

const HEADS: [&str; 10] = [
    "name",
    "ours",
    "baseline",
    "unit",
    "ratio [range]",
    "target",
    "",
    "cpu-µs/op (base)",
    "p50/p99 µs",
    "refused p50/p99 µs",
];

/// The table, followed by the notes.
pub fn table(rows: &[Row]) -> String {
    let mut lines: Vec<[String; 10]> = vec![HEADS.map(str::to_owned)];
    lines.extend(rows.iter().map(cells));
    let widths: [usize; 10] = std::array::from_fn(|column| {
        lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0)
    });
    let mut text = String::new();
    for line in &lines {
        let mut row = String::new();
        for (cell, width) in line.iter().zip(widths) {
            let _ = write!(row, "{cell:<width$}  ");
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    for row in rows {
        for note in &row.notes {
            let _ = writeln!(text, "{}: {note}", row.name);
        }
    }
    text
}

fn cells(row: &Row) -> [String; 10] {
    let [least, greatest] = row.range;
    let sign = match row.bound {
        Bound::AtLeast => "≥",
        Bound::AtMost => "≤",
    };
    let ratio = row.ratio.map_or_else(
        || "-".to_owned(),
        |ratio| {
            let [ratio, least, greatest] = [ratio, least, greatest].map(proportion);
            format!("{ratio} [{least}, {greatest}]")
        },
    );
    [
        row.name.clone(),
        quantity(Some(row.ours)),
        quantity(row.baseline),
        row.unit.clone(),
        ratio,
        format!("{sign} {}", row.target),
        if row.met { "met" } else { "missed" }.to_owned(),
        format!("{} ({})", fine(row.cpu_us_ours), fine(row.cpu_us_baseline)),
        format!("{}/{}", quantity(row.p50_us), quantity(row.p99_us)),
        format!("{}/{}", quantity(row.refused_p50_us), quantity(row.refused_p99_us)),
    ]
}

/// Whole numbers, but for what would become a plain 0.
fn quantity(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value != 0.0 && value.abs() < 10.0 => format!("{value:.2}"),
        Some(value) => format!("{value:.0}"),
    }
}

/// The share that is told of a ratio, however small it is.
fn proportion(value: f64) -> String {
    if value != 0.0 && value.abs() < 1e-3 { format!("{value:.1e}") } else { format!("{value:.3}") }
}

/// Writes the rows as JSON.
///
/// # Errors
/// When the file cannot be written.
pub fn write_json(rows: &[Row], file: &Path) -> anyhow::Result<()> {
    let json = serde_json::to_string_pretty(rows)?;
    fs::write(file, json).with_context(|| format!("cannot write {}", file.display()))
}

fn fine(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs() -> Runs {
        Runs {
            ours: vec![90.0, 80.0, 100.0],
            baseline: vec![100.0, 100.0, 200.0],
            cpu_ours: vec![12.0, 14.0, 13.0],
            done: vec![Latency { p50_us: 5.0, p99_us: 50.0 }],
            ..Runs::default()
        }
    }

    #[test]
    fn the_ratio_is_the_median_of_the_ratios_of_each_run() {
        let row = runs().row("M1", "ops/s", Bound::AtLeast, 0.88, 100_000);
        assert_eq!((row.ours, row.baseline), (90.0, Some(100.0)));
        assert_eq!((row.ratio, row.range), (Some(0.8), [0.5, 0.9]));
        assert!(!row.met);
        assert_eq!((row.cpu_us_ours, row.cpu_us_baseline), (Some(13.0), None));
        assert_eq!((row.p99_us, row.refused_p99_us), (Some(50.0), None));
    }

    #[test]
    fn the_target_is_met_on_its_own_side() {
        assert!(runs().row("M1", "ops/s", Bound::AtLeast, 0.8, 0).met);
        assert!(runs().row("M8", "us", Bound::AtMost, 0.8, 0).met);
        assert!(!runs().row("M8", "us", Bound::AtMost, 0.7, 0).met);
    }

    #[test]
    fn without_a_baseline_the_value_itself_is_judged() {
        let lone = Runs { ours: vec![250.0], ..Runs::default() };
        let row = lone.row("RSS@1e6", "MB", Bound::AtMost, 300.0, 1_000_000);
        assert!(row.met);
        assert_eq!((row.ratio, row.range), (None, [250.0, 250.0]));
    }

    #[test]
    fn the_table_has_a_line_per_row_and_its_notes_below() {
        let mut row = runs().row("M1", "ops/s", Bound::AtLeast, 0.88, 100_000);
        row.notes.push("answer 150 bytes".to_owned());
        let text = table(&[row]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("name"));
        assert!(lines[1].contains("0.800 [0.500, 0.900]") && lines[1].contains("missed"));
        assert_eq!(lines[2], "M1: answer 150 bytes");
    }

    #[test]
    fn the_json_has_the_documented_keys() {
        let row = runs().row("M1", "ops/s", Bound::AtLeast, 0.88, 100_000);
        let json = serde_json::to_value([row]).expect("plain data");
        for key in [
            "name",
            "ours",
            "baseline",
            "ratio",
            "target",
            "unit",
            "cpu_us_ours",
            "p50_us",
            "range",
        ] {
            assert!(json[0].get(key).is_some(), "no {key}");
        }
        assert_eq!(json[0]["range"][1], 0.9);
        assert!(json[0]["cpu_us_baseline"].is_null());
    }
}
