//! What every measure is given: its plan, where it may write, and whom it tells of its progress.

use std::path::PathBuf;

use super::Plan;

/// See the module.
#[derive(Clone, Debug)]
pub struct Frame {
    /// How long and how large.
    pub plan: Plan,
    /// Data folders go below it; on a real disk.
    pub root: PathBuf,
    /// Is told of the progress.
    pub say: fn(&str),
}

impl Frame {
    /// Tells the outcome of one run beside its baseline.
    pub fn say_run(&self, name: &str, run: usize, unit: &str, ours: f64, baseline: f64) {
        let (runs, ratio) = (self.plan.runs, ours / baseline);
        (self.say)(&format!(
            "{name}: run {} of {runs}: {ours:.0} against {baseline:.0} {unit}, ratio {ratio:.3}",
            run + 1
        ));
    }
}
