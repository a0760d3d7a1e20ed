//! Copies the write-ahead log back into the database in the background.
//!
//! Left alone, SQLite does that inside a commit once the log is long enough, and every claim waits
//! for the whole of it. A passive checkpoint on a connection of its own blocks nobody; the commit
//! that finds the log long has only the last few pages left to copy, and then starts it anew.

use std::time::Duration;

use sea_orm::{ConnectionTrait as _, DatabaseConnection};
use tokio_util::sync::CancellationToken;

/// Copies every `interval` until `stop`.
pub async fn run(db: DatabaseConnection, interval: Duration, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
        }
        if let Err(error) = db.execute_unprepared("PRAGMA wal_checkpoint(PASSIVE)").await {
            tracing::warn!(%error, "write-ahead log not copied back");
        }
    }
}
