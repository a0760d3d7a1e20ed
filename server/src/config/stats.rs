//! `[stats]`: folding of the counts shown by template statistics.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Checks;

/// `[stats]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StatsConfig {
    /// Time between two folds of new operations into counts, in milliseconds. Default 1000.
    pub fold_interval_ms: u64,
    /// Operations folded in one transaction. Default 10000.
    pub fold_chunk_rows: u32,
}

impl Default for StatsConfig {
    fn default() -> Self {
        Self { fold_interval_ms: 1_000, fold_chunk_rows: 10_000 }
    }
}

impl StatsConfig {
    /// Time between two folds of new operations into counts.
    pub fn fold_interval(&self) -> Duration {
        Duration::from_millis(self.fold_interval_ms)
    }

    pub(super) fn check(&self, checks: &mut Checks) {
        checks.within("stats.fold_interval_ms", self.fold_interval_ms, 1, 86_400_000);
        checks.within("stats.fold_chunk_rows", self.fold_chunk_rows, 1, 1_000_000);
    }
}
