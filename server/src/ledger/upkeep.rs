//! What nobody waits for: counts, retention, the state of replicas.

use async_trait::async_trait;
use coupon_domain::{ids::TemplateId, time::Timestamp};

use super::{LedgerError, ShardId};

/// Counts of a template on all shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Stored LOCKED.
    pub locked: i64,
    /// Stored USED.
    pub used: i64,
    /// Stored EXPIRED.
    pub expired: i64,
    /// Stored VOIDED.
    pub voided: i64,
    /// Reissued.
    pub reissued: i64,
    /// The instant they are true for.
    pub as_of: Timestamp,
}

/// How far a purge has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purged {
    /// Rows deleted by this chunk.
    pub deleted: u64,
    /// Where the next chunk starts; `None` at the end.
    pub next: Option<i64>,
}

/// Folds the operation log, deletes what is over, and looks after replicas.
#[async_trait]
pub trait Upkeep: Send + Sync {
    /// Folds up to `limit` rows of the operation log into the counts; says how many rows it read.
    async fn fold_stats(&self, limit: u32, at: Timestamp) -> Result<u64, LedgerError>;

    /// The folded counts of a template.
    async fn counts(&self, template: TemplateId) -> Result<Counts, LedgerError>;

    /// Looks at up to `limit` redemptions of a shard with ids above `after` and deletes those whose
    /// retention is over: CANCELLED and LAPSED closed before `fences_before`, CONFIRMED and RESTORED
    /// closed before `uses_before`.
    async fn purge_redemptions(
        &self,
        shard: ShardId,
        after: i64,
        fences_before: Timestamp,
        uses_before: Timestamp,
        limit: u32,
    ) -> Result<Purged, LedgerError>;

    /// Leaves the time in every primary, for its replica to show how far it has come.
    async fn beat(&self, at: Timestamp) -> Result<(), LedgerError>;

    /// Looks how far every replica has come; one that cannot be asked is not read meanwhile.
    async fn look_at_replicas(&self);
}
