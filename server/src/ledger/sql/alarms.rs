//! Alarm rows: one per kind and minute, shared by everything that falls due in it.

use std::sync::LazyLock;

use coupon_domain::{
    book::AlarmKind,
    time::{Minute, Timestamp},
};
use sea_orm::{ConnectionTrait, DatabaseConnection, TransactionTrait};

use super::{
    rows::{alarm_kind, get},
    statement::{ROWS_MAX, Texts, dialect, execute, query, repeat},
};
use crate::ledger::{AlarmRow, LedgerError, ShardId};

static WANT: LazyLock<Texts> = LazyLock::new(|| {
    let insert = |verb: &'static str| {
        move |rows| repeat(&format!("{verb} INTO alarm (kind, minute) VALUES "), "(?,?)", rows, "")
    };
    Texts::per_backend(insert("INSERT OR IGNORE"), insert("INSERT IGNORE"))
});

/// Makes sure that the alarms exist.
pub(super) async fn want(
    tx: &impl ConnectionTrait,
    alarms: &[(AlarmKind, Minute)],
) -> Result<(), LedgerError> {
    for portion in alarms.chunks(ROWS_MAX) {
        let Some(last) = portion.last() else { break };
        // A row that stands there twice is ignored like one that exists.
        let (text, rows) = WANT.on(tx).padded(portion.len());
        let padded = portion.iter().chain(std::iter::repeat_n(last, rows - portion.len()));
        let values =
            padded.flat_map(|(kind, minute)| [kind.to_stored().into(), minute.as_minutes().into()]);
        execute(tx, text, values.collect()).await?;
    }
    Ok(())
}

/// Alarms due before `before`, earliest first.
pub(super) async fn due(
    db: &impl ConnectionTrait,
    shard: ShardId,
    before: Timestamp,
    limit: u32,
) -> Result<Vec<AlarmRow>, LedgerError> {
    let sql = "SELECT kind, minute, hop FROM alarm WHERE minute < ? ORDER BY minute, kind LIMIT ?";
    let values = vec![before.due_minute().as_minutes().into(), limit.into()];
    let row = |row: &sea_orm::QueryResult| {
        Ok(AlarmRow {
            shard,
            kind: alarm_kind(get(row, 0)?)?,
            minute: Minute::from_minutes(get(row, 1)?),
            hop: get(row, 2)?,
        })
    };
    query(db, sql, values).await?.iter().map(row).collect()
}

/// How many times the alarm's message has travelled.
pub(super) async fn hop_of(
    db: &impl ConnectionTrait,
    kind: AlarmKind,
    minute: Minute,
) -> Result<Option<i64>, LedgerError> {
    let sql = "SELECT hop FROM alarm WHERE kind = ? AND minute = ?";
    let key = vec![kind.to_stored().into(), minute.as_minutes().into()];
    query(db, sql, key).await?.first().map(|row| get(row, 0)).transpose()
}

/// Counts a hop if the alarm stands where the message says.
pub(super) async fn hop(db: &DatabaseConnection, alarm: AlarmRow) -> Result<bool, LedgerError> {
    let sql = "UPDATE alarm SET hop = hop + 1 WHERE kind = ? AND minute = ? AND hop = ?";
    let values =
        vec![alarm.kind.to_stored().into(), alarm.minute.as_minutes().into(), alarm.hop.into()];
    Ok(execute(db, sql, values).await? == 1)
}

/// Deletes the alarm, unless something of its minute is live: then it stays to ring again.
pub(super) async fn close(db: &DatabaseConnection, alarm: AlarmRow) -> Result<bool, LedgerError> {
    let (first, last) = alarm.minute.range();
    let live = match alarm.kind {
        AlarmKind::CouponExpiry => {
            "SELECT 1 FROM coupon WHERE valid_until BETWEEN ? AND ? AND status = 0 LIMIT 1"
        }
        AlarmKind::LockLapse => {
            "SELECT 1 FROM redemption WHERE locked_until BETWEEN ? AND ? LIMIT 1"
        }
    };
    let tx = db.begin().await?;
    // Whoever needs the alarm meanwhile waits for this row, and inserts it again when it is gone. On
    // SQLite there is one writer.
    let sql = dialect(
        &tx,
        "SELECT hop FROM alarm WHERE kind = ? AND minute = ?",
        "SELECT hop FROM alarm WHERE kind = ? AND minute = ? FOR UPDATE",
    );
    let key = vec![alarm.kind.to_stored().into(), alarm.minute.as_minutes().into()];
    query(&tx, sql, key).await?;
    let range = vec![first.as_millis().into(), last.as_millis().into()];
    let closed = query(&tx, live, range).await?.is_empty();
    if closed {
        let sql = "DELETE FROM alarm WHERE kind = ? AND minute = ?";
        let key = vec![alarm.kind.to_stored().into(), alarm.minute.as_minutes().into()];
        execute(&tx, sql, key).await?;
    }
    tx.commit().await?;
    Ok(closed)
}
