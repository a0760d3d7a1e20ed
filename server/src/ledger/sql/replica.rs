//! A shard's read replica, and how far it has come (R13).

use std::{
    future::Future,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use coupon_domain::time::Timestamp;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend};

use super::{
    rows::get,
    statement::{execute, query},
};
use crate::ledger::{Fresh, LedgerError};

/// The one row of `heartbeat`.
const BEAT: i64 = 1;
/// How long a replica may take: then the primary is asked.
const ANSWER: Duration = Duration::from_millis(500);

/// A replica. It serves a read only while it is known to be fresh enough for it.
#[derive(Debug)]
pub struct Replica {
    db: DatabaseConnection,
    lag_max_ms: i64,
    /// The primary's last beat that has arrived here, in wall milliseconds; 0 = none is known, or the
    /// replica does not answer.
    past: AtomicI64,
}

impl Replica {
    /// One that is not read further than `lag_max_ms` behind, where the reader does not say.
    pub fn new(db: DatabaseConnection, lag_max_ms: i64) -> Self {
        Self { db, lag_max_ms, past: AtomicI64::new(0) }
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

    /// Looks how far the replica has come. One that cannot be asked is not read until it can be.
    pub(super) async fn look(&self) -> Result<(), LedgerError> {
        let silent = || LedgerError::Unavailable("the replica does not answer".to_owned());
        let beat = tokio::time::timeout(ANSWER, beaten_at(&self.db)).await;
        let beat = beat.unwrap_or_else(|_| Err(silent()));
        self.past.store(*beat.as_ref().unwrap_or(&0), Ordering::Relaxed);
        beat.map(drop)
    }
}

/// What a replica answers; `None` when it fails or takes too long.
pub(super) async fn answer<T>(read: impl Future<Output = Result<T, LedgerError>>) -> Option<T> {
    tokio::time::timeout(ANSWER, read).await.ok()?.ok()
}

async fn beaten_at(db: &impl ConnectionTrait) -> Result<i64, LedgerError> {
    let sql = "SELECT beaten_at FROM heartbeat WHERE heartbeat_id = ?";
    let rows = query(db, sql, vec![BEAT.into()]).await?;
    rows.first().map_or(Ok(0), |row| get(row, 0))
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
        let replica = Replica::new(DatabaseConnection::default(), 1_000);
        let serves = |fresh, now| replica.for_read(fresh, now).is_some();
        assert!(!serves(Fresh::Usual, 500), "nothing is known of it");
        replica.past.store(10_000, Ordering::Relaxed);
        assert!(serves(Fresh::Usual, 11_000));
        assert!(!serves(Fresh::Usual, 11_001), "too far behind");
        assert!(serves(Fresh::Past(10_000), 99_000));
        assert!(!serves(Fresh::Past(10_001), 10_001), "it lacks what the caller has written");
        assert!(!serves(Fresh::Latest, 10_000));
    }
}
