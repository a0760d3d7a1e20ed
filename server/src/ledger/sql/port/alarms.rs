//! Alarms: on the shard that they are of.

use async_trait::async_trait;
use coupon_domain::{
    book::AlarmKind,
    ids::{RedemptionId, UserId},
    time::{Minute, Timestamp},
};

use crate::ledger::{
    AlarmRow, Alarms, LedgerError, ShardId, Swept,
    sql::{SqlLedger, alarms, sweep},
};

#[async_trait]
impl Alarms for SqlLedger {
    async fn alarms(
        &self,
        shard: ShardId,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<AlarmRow>, LedgerError> {
        alarms::due(&self.shard(shard)?.db.write, shard, before, limit).await
    }

    async fn alarm_hop(
        &self,
        shard: ShardId,
        kind: AlarmKind,
        minute: Minute,
    ) -> Result<Option<i64>, LedgerError> {
        alarms::hop_of(&self.shard(shard)?.db.read, kind, minute).await
    }

    async fn hop(&self, alarm: AlarmRow) -> Result<bool, LedgerError> {
        let db = &self.shard(alarm.shard)?.db;
        db.retried(|| alarms::hop(&db.write, alarm)).await
    }

    async fn expire_chunk(
        &self,
        alarm: AlarmRow,
        after: Option<(Timestamp, i64)>,
        limit: u32,
        at: Timestamp,
    ) -> Result<Swept, LedgerError> {
        let db = &self.shard(alarm.shard)?.db;
        let chunk = || sweep::expire(&db.write, &self.mint, alarm.minute, after, limit, at);
        db.retried(chunk).await
    }

    async fn lapsing(
        &self,
        alarm: AlarmRow,
        limit: u32,
    ) -> Result<Vec<(UserId, RedemptionId)>, LedgerError> {
        sweep::lapsing(&self.shard(alarm.shard)?.db.read, alarm.minute, limit).await
    }

    async fn close_alarm(&self, alarm: AlarmRow) -> Result<bool, LedgerError> {
        let db = &self.shard(alarm.shard)?.db;
        db.retried(|| alarms::close(&db.write, alarm)).await
    }
}
