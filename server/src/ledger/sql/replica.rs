//! A shard's read replica, and how far it has come (R13).

use std::{
    future::Future,
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
    time::Duration,
};

use anyhow::Context as _;
use coupon_domain::time::Timestamp;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend};

use super::{
    rows::get,
    statement::{execute, query},
};
use crate::ledger::{Fresh, LedgerError, ShardId};

/// The one row of `heartbeat`.
const BEAT: i64 = 1;
/// How long a replica may take: then the primary is asked.
const ANSWER: Duration = Duration::from_millis(500);

/// A replica. It serves a read only while it is known to be fresh enough for it.
#[derive(Debug)]
pub struct Replica {
    db: DatabaseConnection,
    shard: ShardId,
    lag_max_ms: i64,
    /// The primary's last beat that has arrived here, in wall milliseconds; 0 = none is known, or the
    /// replica does not answer.
    past: AtomicI64,
    /// Whether it was said that it belongs to another shard.
    misplaced: AtomicBool,
}

impl Replica {
    /// That of `shard`, not read further than `lag_max_ms` behind, where the reader does not say.
    pub fn new(db: DatabaseConnection, shard: ShardId, lag_max_ms: i64) -> Self {
        let (past, misplaced) = (AtomicI64::new(0), AtomicBool::new(false));
        Self { db, shard, lag_max_ms, past, misplaced }
    }

    /// The replica, if it will do at `now` (wall milliseconds).
    pub(super) fn for_read(&self, fresh: Fresh, now: i64) -> Option<&DatabaseConnection> {
        let past = self.past.load(Ordering::Relaxed);
        let will_do = match fresh {
            Fresh::Latest => false,
            Fresh::Past(written) => past >= written,
            Fresh::Usual => past > 0 && now - past <= self.lag_max_ms,
        };
        will_do.then_some(&self.db)
    }

    /// Looks how far the replica has come. One that cannot be asked is not read until it can be, one
    /// that holds another shard's data never.
    pub(super) async fn look(&self) -> Result<(), LedgerError> {
        let silent = || LedgerError::Unavailable("the replica does not answer".to_owned());
        let found = tokio::time::timeout(ANSWER, state(&self.db)).await;
        let found = found.unwrap_or_else(|_| Err(silent())).and_then(|found| self.judge(found));
        self.past.store(*found.as_ref().unwrap_or(&0), Ordering::Relaxed);
        found.map(drop)
    }

    /// The beat, if it is that of this replica's primary.
    fn judge(&self, (beaten_at, of): (i64, Option<i64>)) -> Result<i64, LedgerError> {
        match of {
            Some(of) if of != i64::from(self.shard) => {
                let text = misplaced(self.shard, of);
                if !self.misplaced.swap(true, Ordering::Relaxed) {
                    tracing::error!("{text}");
                }
                Err(LedgerError::Corrupt(text))
            }
            // Where there is a slot map it has come before any beat.
            _ => Ok(beaten_at),
        }
    }

    /// Says why this database cannot be the replica of `shard`; one that has no slot map yet may be.
    ///
    /// # Errors
    /// One plain sentence.
    pub async fn check(db: &DatabaseConnection, shard: ShardId) -> anyhow::Result<()> {
        let state = state(db).await;
        let (_, of) =
            state.context("it cannot be read, it may not have caught up with its primary")?;
        match of {
            Some(of) if of != i64::from(shard) => anyhow::bail!(misplaced(shard, of)),
            _ => Ok(()),
        }
    }
}

fn misplaced(shard: ShardId, of: i64) -> String {
    format!(
        "the replica of shard {shard} holds the data of shard {of} and is not read: put \
         mysql.replica_urls in the order of mysql.shard_urls"
    )
}

/// What a replica answers; `None` when it fails or takes too long.
pub(super) async fn answer<T>(read: impl Future<Output = Result<T, LedgerError>>) -> Option<T> {
    tokio::time::timeout(ANSWER, read).await.ok()?.ok()
}

/// The primary's last beat, 0 = none, and the shard that the data is of, if it says.
async fn state(db: &impl ConnectionTrait) -> Result<(i64, Option<i64>), LedgerError> {
    let sql = "SELECT beaten_at FROM heartbeat WHERE heartbeat_id = ?";
    let beats = query(db, sql, vec![BEAT.into()]).await?;
    let sql = "SELECT shard FROM shard_slot_map ORDER BY map_version DESC LIMIT 1";
    let maps = query(db, sql, Vec::new()).await?;
    let beaten_at = beats.first().map_or(Ok(0), |row| get(row, 0))?;
    let of = maps.first().map(|row| get::<i32>(row, 0)).transpose()?;
    Ok((beaten_at, of.map(i64::from)))
}

/// Leaves the time in the primary for its replicas to show.
pub(super) async fn beat(db: &DatabaseConnection, at: Timestamp) -> Result<(), LedgerError> {
    let sql = match db.get_database_backend() {
        DbBackend::MySql => {
            "INSERT INTO heartbeat (heartbeat_id, beaten_at) VALUES (?, ?) \
             ON DUPLICATE KEY UPDATE beaten_at = VALUES(beaten_at)"
        }
        _ => {
            "INSERT INTO heartbeat (heartbeat_id, beaten_at) VALUES (?, ?) \
             ON CONFLICT (heartbeat_id) DO UPDATE SET beaten_at = excluded.beaten_at"
        }
    };
    execute(db, sql, vec![BEAT.into(), at.as_millis().into()]).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    // R13.
    #[test]
    fn a_replica_serves_what_it_is_fresh_enough_for() {
        let replica = Replica::new(DatabaseConnection::default(), 2, 1_000);
        let serves = |fresh, now| replica.for_read(fresh, now).is_some();
        assert!(!serves(Fresh::Usual, 500), "nothing is known of it");
        replica.past.store(10_000, Ordering::Relaxed);
        assert!(serves(Fresh::Usual, 11_000));
        assert!(!serves(Fresh::Usual, 11_001), "too far behind");
        assert!(serves(Fresh::Past(10_000), 99_000));
        assert!(!serves(Fresh::Past(10_001), 10_001), "it lacks what the caller has written");
        assert!(!serves(Fresh::Latest, 10_000));
    }

    // R13, R15: an address in the wrong place must not answer with other people's wallets.
    #[test]
    fn a_replica_of_another_shard_is_not_read() {
        let replica = Replica::new(DatabaseConnection::default(), 2, 1_000);
        assert_eq!(replica.judge((10_000, Some(2))), Ok(10_000));
        assert_eq!(replica.judge((10_000, None)), Ok(10_000));
        let refused = replica.judge((10_000, Some(0))).unwrap_err().to_string();
        assert!(refused.contains("of shard 2 holds the data of shard 0"), "{refused}");
    }
}
