//! `[alarms]`: alarms, sweeps and the sweeper that finds what an alarm missed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Checks;

/// `[alarms]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlarmsConfig {
    /// Longest single delay of an alarm; longer ones travel in hops, in seconds. Default 7200 (2 h).
    pub hop_max_s: u64,
    /// Rows that one sweep transaction changes. Default 1000.
    pub sweep_chunk_rows: u32,
    /// Time between two rounds of the sweeper, in seconds. Default 60.
    pub sweeper_interval_s: u64,
    /// How long past its due time something must be before the sweeper takes it, in seconds.
    /// Default 120.
    pub sweeper_grace_s: u64,
}

impl Default for AlarmsConfig {
    fn default() -> Self {
        Self {
            hop_max_s: 7_200,
            sweep_chunk_rows: 1_000,
            sweeper_interval_s: 60,
            sweeper_grace_s: 120,
        }
    }
}

impl AlarmsConfig {
    /// Longest single delay of an alarm.
    pub fn hop_max(&self) -> Duration {
        Duration::from_secs(self.hop_max_s)
    }

    /// Time between two rounds of the sweeper.
    pub fn sweeper_interval(&self) -> Duration {
        Duration::from_secs(self.sweeper_interval_s)
    }

    /// How long past its due time something must be before the sweeper takes it.
    pub fn sweeper_grace(&self) -> Duration {
        Duration::from_secs(self.sweeper_grace_s)
    }

    pub(super) fn check(&self, checks: &mut Checks) {
        checks.within("alarms.hop_max_s", self.hop_max_s, 1, 864_000);
        checks.within("alarms.sweep_chunk_rows", self.sweep_chunk_rows, 1, 30_000);
        checks.within("alarms.sweeper_interval_s", self.sweeper_interval_s, 1, 86_400);
        checks.within("alarms.sweeper_grace_s", self.sweeper_grace_s, 0, 86_400);
    }
}
