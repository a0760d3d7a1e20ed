//! Stock: shares of the total on every shard.

use async_trait::async_trait;
use coupon_domain::{ids::TemplateId, stock::Bucket, time::Timestamp};

use crate::ledger::{
    Granted, LedgerError, ShardId, Stock,
    sql::{SqlLedger, stock},
};

#[async_trait]
impl Stock for SqlLedger {
    async fn grant(
        &self,
        template: TemplateId,
        buckets: u16,
        total: i64,
    ) -> Result<Granted, LedgerError> {
        let shares = coupon_domain::stock::deal(total, self.shards.len());
        let mut granted = Granted { buckets, pieces: 0 };
        // One after the other: the first shard fixes the number of buckets for all.
        for (shard, share) in self.shards.iter().zip(shares) {
            let grant = || stock::grant(&shard.db.write, template, granted.buckets, share);
            let here = shard.db.retried(grant).await?;
            granted = Granted { buckets: here.buckets, pieces: granted.pieces + here.pieces };
        }
        Ok(granted)
    }

    async fn finish_transfers(
        &self,
        shard: ShardId,
        before: Timestamp,
        limit: u32,
        at: Timestamp,
    ) -> Result<usize, LedgerError> {
        match &self.refills {
            Some(refills) => refills.finish_old(shard, before, limit, at).await,
            None => Ok(0),
        }
    }

    async fn set_open(&self, template: TemplateId, open: bool) -> Result<(), LedgerError> {
        for shard in self.shards.iter() {
            shard.db.retried(|| stock::set_open(&shard.db.write, template, open)).await?;
        }
        Ok(())
    }

    async fn buckets(&self, template: TemplateId) -> Result<Vec<(ShardId, Bucket)>, LedgerError> {
        let mut all = Vec::new();
        for shard in self.shards.iter() {
            let rows = stock::buckets(shard.db.latest(), &[template]).await?;
            all.extend(rows.into_iter().map(|bucket| (shard.id, bucket)));
        }
        Ok(all)
    }
}
