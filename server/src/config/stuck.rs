//! `[stuck]`: watching for locks that are overdue and not released.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Checks;

/// `[stuck]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StuckConfig {
    /// Time between two looks, in seconds. Default 60.
    pub check_interval_s: u64,
    /// How long past its time a lock must be to count as stuck, in seconds; longer than the sweeper
    /// takes to release what an alarm missed. Default 300.
    pub min_overdue_s: u64,
    /// Stuck locks are counted up to this many. Default 10000.
    pub count_max: usize,
    /// Program, and its arguments, that is run when locks are stuck, again while they stay so, and when
    /// none is any more; what is stuck is written to its standard input as JSON. Default none.
    pub command: Vec<String>,
    /// Time between two runs of the command while locks stay stuck, in seconds. Default 3600.
    pub repeat_interval_s: u64,
    /// How long the command may take before it is killed, in seconds. Default 10.
    pub command_timeout_s: u64,
}

impl Default for StuckConfig {
    fn default() -> Self {
        Self {
            check_interval_s: 60,
            min_overdue_s: 300,
            count_max: 10_000,
            command: Vec::new(),
            repeat_interval_s: 3_600,
            command_timeout_s: 10,
        }
    }
}

impl StuckConfig {
    /// Time between two looks.
    pub fn check_interval(&self) -> Duration {
        Duration::from_secs(self.check_interval_s)
    }

    /// How long past its time a lock must be to count as stuck.
    pub fn min_overdue(&self) -> Duration {
        Duration::from_secs(self.min_overdue_s)
    }

    /// Time between two runs of the command while locks stay stuck.
    pub fn repeat_interval(&self) -> Duration {
        Duration::from_secs(self.repeat_interval_s)
    }

    /// How long the command may take.
    pub fn command_timeout(&self) -> Duration {
        Duration::from_secs(self.command_timeout_s)
    }

    pub(super) fn check(&self, checks: &mut Checks) {
        checks.within("stuck.check_interval_s", self.check_interval_s, 1, 86_400);
        checks.within("stuck.min_overdue_s", self.min_overdue_s, 0, 31_536_000);
        checks.within("stuck.count_max", self.count_max, 1, 1_000_000);
        checks.within("stuck.repeat_interval_s", self.repeat_interval_s, 1, 31_536_000);
        checks.within("stuck.command_timeout_s", self.command_timeout_s, 1, 600);
        if self.command.first().is_some_and(String::is_empty) {
            checks.refuse("stuck.command names no program, leave it empty or name one".to_owned());
        }
    }
}
