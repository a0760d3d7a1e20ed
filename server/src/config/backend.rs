//! `[backend]`: which back end runs, and what part of it this process plays.

use serde::{Deserialize, Serialize};

use super::Checks;

/// Where ledger, gate and alarms live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendKind {
    /// One process, one SQLite file, gate and alarms in memory.
    Embedded,
    /// MySQL shards, Redis Cluster and Pulsar; any number of nodes.
    Distributed,
}

/// What a process of the distributed back end does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Serves the API and runs the background loops.
    All,
    /// Serves the API; alarms, sweeps and the like are left to workers.
    Api,
    /// Runs the background loops; serves health only.
    Worker,
}

impl Role {
    /// Whether it serves the API.
    pub fn serves(self) -> bool {
        self != Self::Worker
    }

    /// Whether it runs the background loops.
    pub fn works(self) -> bool {
        self != Self::Api
    }
}

/// `[backend]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BackendConfig {
    /// `embedded` or `distributed`. Default `embedded`.
    pub kind: BackendKind,
    /// `all`, `api` or `worker`; only the distributed back end has several nodes. Default `all`.
    pub role: Role,
    /// How long a node number or a background loop stays with a node that does not renew it, in
    /// milliseconds. Default 10000.
    pub lease_ms: u64,
    /// Largest difference between this node's clock and a primary's before it stops serving, in
    /// milliseconds. Default 500.
    pub clock_offset_max_ms: u64,
    /// Time between two looks at the clocks of the primaries, in milliseconds. Default 1000.
    pub clock_check_interval_ms: u64,
}

impl Default for BackendConfig {
    fn default() -> Self {
        Self {
            kind: BackendKind::Embedded,
            role: Role::All,
            lease_ms: 10_000,
            clock_offset_max_ms: 500,
            clock_check_interval_ms: 1_000,
        }
    }
}

impl BackendConfig {
    pub(super) fn check(&self, checks: &mut Checks) {
        if self.kind == BackendKind::Embedded && self.role != Role::All {
            checks.refuse("backend.role needs backend.kind = \"distributed\": the embedded back end is one process".to_owned());
        }
        checks.within("backend.lease_ms", self.lease_ms, 1_000, 600_000);
        checks.within("backend.clock_offset_max_ms", self.clock_offset_max_ms, 10, 60_000);
        checks.within("backend.clock_check_interval_ms", self.clock_check_interval_ms, 100, 60_000);
    }
}
