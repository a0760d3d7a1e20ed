//! Upkeep: on every shard.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use coupon_domain::{ids::TemplateId, time::Timestamp};

use crate::ledger::{
    Counts, LedgerError, Purged, ShardId, Upkeep,
    sql::{SqlLedger, replica, retention, stats},
};

#[async_trait]
impl Upkeep for SqlLedger {
    async fn fold_stats(&self, limit: u32, at: Timestamp) -> Result<u64, LedgerError> {
        let mut read = 0;
        for shard in self.shards.iter() {
            read += shard.db.retried(|| stats::fold(&shard.db, limit, at, self.fold_lag)).await?;
        }
        if read < u64::from(limit) {
            self.folded_at.fetch_max(at.minus(self.fold_lag).as_millis(), Ordering::Relaxed);
        }
        Ok(read)
    }

    async fn counts(&self, template: TemplateId) -> Result<Counts, LedgerError> {
        let mut sum: Option<Counts> = None;
        for shard in self.shards.iter() {
            let counts = stats::counts(&shard.db.read, template).await?;
            sum = Some(sum.map_or(counts, |sum| stats::add(sum, counts)));
        }
        let folded_at = Timestamp::from_millis(self.folded_at.load(Ordering::Relaxed));
        let sum = sum.unwrap_or_default();
        Ok(Counts { as_of: sum.as_of.max(folded_at), ..sum })
    }

    async fn purge_redemptions(
        &self,
        shard: ShardId,
        after: i64,
        fences_before: Timestamp,
        uses_before: Timestamp,
        limit: u32,
    ) -> Result<Purged, LedgerError> {
        let db = &self.shard(shard)?.db;
        let purge = || retention::purge(&db.write, after, fences_before, uses_before, limit);
        db.retried(purge).await
    }

    async fn beat(&self, at: Timestamp) -> Result<(), LedgerError> {
        let replicated = self.shards.iter().filter(|shard| shard.db.replica.is_some());
        // One that does not answer keeps no other from being told.
        let beats = replicated.map(|shard| replica::beat(&shard.db.write, at));
        futures::future::join_all(beats).await.into_iter().collect()
    }

    async fn look_at_replicas(&self) {
        let looks = self.shards.iter().filter_map(|shard| {
            let replica = shard.db.replica.as_ref()?;
            Some(async move {
                if let Err(error) = replica.look().await {
                    tracing::debug!(shard = shard.id, %error, "the replica does not answer");
                }
            })
        });
        futures::future::join_all(looks).await;
    }
}
