//! What pays for coupons: pieces in the buckets of every shard.

use async_trait::async_trait;
use coupon_domain::{ids::TemplateId, stock::Bucket, time::Timestamp};

use super::{LedgerError, ShardId};

/// What [`Stock::grant`] found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// Buckets of the template on each shard: those of the first grant, whatever was asked for.
    pub buckets: u16,
    /// Pieces that were added by this call; 0 when all had been handed out before.
    pub pieces: i64,
}

/// Hands stock to shards, and opens and closes it.
#[async_trait]
pub trait Stock: Send + Sync {
    /// Brings what the shards have been handed of a template up to `total` pieces, dealt out evenly
    /// to shards and to their buckets; the first grant makes the buckets, closed. Safe to repeat and
    /// to run at once on several nodes, also with different totals: what was handed only grows. A
    /// grant that was cut off between two shards is finished by the next one.
    async fn grant(
        &self,
        template: TemplateId,
        buckets: u16,
        total: i64,
    ) -> Result<Granted, LedgerError>;

    /// Finishes up to `limit` transfers of stock to other shards that left the shard before `before`
    /// and were cut off on the way; says how many there were. Safe to repeat and to run on several
    /// nodes at once.
    async fn finish_transfers(
        &self,
        shard: ShardId,
        before: Timestamp,
        limit: u32,
        at: Timestamp,
    ) -> Result<usize, LedgerError>;

    /// Opens or closes a template's buckets on every shard. When it answers, every later group obeys.
    async fn set_open(&self, template: TemplateId, open: bool) -> Result<(), LedgerError>;

    /// All buckets of a template, by shard and bucket, as last committed.
    async fn buckets(&self, template: TemplateId) -> Result<Vec<(ShardId, Bucket)>, LedgerError>;
}
