//! What falls due: alarms by the minute, and the rows they are for.

use async_trait::async_trait;
use coupon_domain::{
    book::AlarmKind,
    ids::{RedemptionId, UserId},
    time::{Minute, Timestamp},
};

use super::{LedgerError, ShardId};

/// An alarm as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlarmRow {
    /// Of which shard.
    pub shard: ShardId,
    /// What it is for.
    pub kind: AlarmKind,
    /// When it rings.
    pub minute: Minute,
    /// How many times its message has travelled.
    pub hop: i64,
}

/// Hears of alarms that now exist, after the transaction that wanted them.
pub trait AlarmBell: Send + Sync {
    /// May be called any number of times for one alarm. Must not block.
    fn wanted(&self, shard: ShardId, alarms: &[(AlarmKind, Minute)]);
}

/// How far a sweep has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swept {
    /// Rows changed by this chunk.
    pub changed: u64,
    /// Where the next chunk starts; `None` when the range is done.
    pub next: Option<(Timestamp, i64)>,
}

/// Keeps alarms, and does what they are for, chunk by chunk.
#[async_trait]
pub trait Alarms: Send + Sync {
    /// Alarms of a shard due before `before`, earliest first, up to `limit`; all of them when
    /// `before` is the end of time.
    async fn alarms(
        &self,
        shard: ShardId,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<AlarmRow>, LedgerError>;

    /// How many times the alarm's message has travelled; `None` when there is no such alarm.
    async fn alarm_hop(
        &self,
        shard: ShardId,
        kind: AlarmKind,
        minute: Minute,
    ) -> Result<Option<i64>, LedgerError>;

    /// Counts a hop: true when the alarm stood at exactly `alarm.hop` and now stands one further.
    async fn hop(&self, alarm: AlarmRow) -> Result<bool, LedgerError>;

    /// Sets the stored status of one chunk of coupons whose validity ended in the alarm's minute.
    async fn expire_chunk(
        &self,
        alarm: AlarmRow,
        after: Option<(Timestamp, i64)>,
        limit: u32,
        at: Timestamp,
    ) -> Result<Swept, LedgerError>;

    /// Redemptions of one user-independent chunk whose lock ended in the alarm's minute and that are
    /// still stored LOCKED.
    async fn lapsing(
        &self,
        alarm: AlarmRow,
        limit: u32,
    ) -> Result<Vec<(UserId, RedemptionId)>, LedgerError>;

    /// Deletes the alarm if nothing of its minute is live any more; says whether it is gone.
    async fn close_alarm(&self, alarm: AlarmRow) -> Result<bool, LedgerError>;
}
