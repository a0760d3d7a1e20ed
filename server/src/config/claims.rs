//! `[claims]`: grouping, queues, replay and sub-stock of claims and issues.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Checks;

/// `[claims]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClaimsConfig {
    /// Members of one ledger transaction. Default 4096.
    pub group_max: usize,
    /// Commands that may wait per shard and lane; beyond it callers are told OVERLOADED. Default 16384.
    pub queue_max: usize,
    /// Times a group is written again after a definite abort, inside the deadline. Default 5.
    pub attempts_max: u32,
    /// How long after a template's end a claim is still answered with its first outcome, in seconds.
    /// Default 86400 (one day).
    pub replay_window_s: u64,
    /// Sub-stock buckets of one template on one shard. Default 16.
    pub buckets_max: u32,
    /// Pieces that justify one bucket: the default number of buckets is total / this, at least 1 and
    /// at most `buckets_max`. Default 64.
    pub pieces_per_bucket_min: u32,
    /// Templates whose users and stock the gate holds in memory. Default 10000.
    pub gate_templates_max: usize,
    /// Claims of one ClaimStream message. Default 1000, which is also the most.
    pub stream_batch_max: usize,
    /// Unanswered messages of one ClaimStream. Default 64.
    pub stream_in_flight_max: usize,
}

impl Default for ClaimsConfig {
    fn default() -> Self {
        Self {
            group_max: 4_096,
            queue_max: 16_384,
            attempts_max: 5,
            replay_window_s: 86_400,
            buckets_max: 16,
            pieces_per_bucket_min: 64,
            gate_templates_max: 10_000,
            stream_batch_max: 1_000,
            stream_in_flight_max: 64,
        }
    }
}

impl ClaimsConfig {
    /// How long after a template's end a claim is still answered with its first outcome.
    pub fn replay_window(&self) -> Duration {
        Duration::from_secs(self.replay_window_s)
    }

    /// The number of buckets of a template of `total` pieces whose creator asked for none.
    pub fn buckets_for(&self, total: i64) -> u32 {
        let wanted = total.max(0) / i64::from(self.pieces_per_bucket_min.max(1));
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        wanted.clamp(1, self.buckets_max.max(1))
    }

    pub(super) fn check(&self, checks: &mut Checks) {
        // A member binds about sixteen values and SQLite takes 32,766 in one statement.
        checks.within("claims.group_max", self.group_max, 1, 10_000);
        checks.at_most(("claims.group_max", self.group_max), ("claims.queue_max", self.queue_max));
        checks.at_least("claims.attempts_max", self.attempts_max, 1);
        checks.within("claims.buckets_max", self.buckets_max, 1, 10_000);
        checks.at_least("claims.pieces_per_bucket_min", self.pieces_per_bucket_min, 1);
        checks.at_least("claims.gate_templates_max", self.gate_templates_max, 1);
        checks.within("claims.stream_batch_max", self.stream_batch_max, 1, 1_000);
        checks.at_least("claims.stream_in_flight_max", self.stream_in_flight_max, 1);
    }
}
