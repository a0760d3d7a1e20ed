//! `[stats]`: folding of the counts shown by template statistics.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{BackendKind, Checks};

/// `[stats]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StatsConfig {
    /// Time between two folds of new operations into counts, in milliseconds. Default 1000.
    pub fold_interval_ms: u64,
    /// Operations folded in one transaction. Default 10000.
    pub fold_chunk_rows: u32,
    /// Under the distributed back end, how old an operation must be before it is folded, in
    /// milliseconds: longer than a transaction may take, because those of several nodes do not commit
    /// in the order of their operations' ids. The embedded one, with its one writer, does not wait.
    /// Default 5000.
    pub fold_lag_ms: u64,
}

impl Default for StatsConfig {
    fn default() -> Self {
        Self { fold_interval_ms: 1_000, fold_chunk_rows: 10_000, fold_lag_ms: 5_000 }
    }
}

impl StatsConfig {
    /// Time between two folds of new operations into counts.
    pub fn fold_interval(&self) -> Duration {
        Duration::from_millis(self.fold_interval_ms)
    }

    /// How old an operation must be before it is folded.
    pub fn fold_lag(&self, backend: BackendKind) -> Duration {
        match backend {
            BackendKind::Embedded => Duration::ZERO,
            BackendKind::Distributed => Duration::from_millis(self.fold_lag_ms),
        }
    }

    pub(super) fn check(&self, checks: &mut Checks) {
        checks.within("stats.fold_interval_ms", self.fold_interval_ms, 1, 86_400_000);
        checks.within("stats.fold_chunk_rows", self.fold_chunk_rows, 1, 1_000_000);
        checks.within("stats.fold_lag_ms", self.fold_lag_ms, 1_000, 600_000);
    }
}
