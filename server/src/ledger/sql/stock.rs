//! Buckets: grants, opening and closing, and the group's own guarded updates (R17, R18, R44).

use std::sync::LazyLock;

use coupon_domain::{
    ids::TemplateId,
    stock::{Bucket, BucketKey, Move, deal, plan_moves},
};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, TransactionTrait, Value,
};

use super::{
    lane_db::pause_before,
    rows::{get, template_id},
    statement::{Texts, dialect, execute, is_mysql, query, query_by_keys, repeat},
};
use crate::ledger::{Granted, LedgerError};

/// How often a transaction is tried when others are faster.
pub(super) const TRIES: u32 = 8;

static BUCKETS: LazyLock<Texts> = LazyLock::new(|| {
    Texts::new(
        "SELECT template_id, bucket, granted, issued, open FROM stock_bucket WHERE template_id IN (",
        "?",
        ") ORDER BY template_id, bucket",
    )
});

/// On SQLite a row is (template, bucket, pieces); on MySQL, which is to update one table alone, the
/// text has the (bucket, pieces) twice and the buckets once more: see [`issue_values`].
static ISSUE: LazyLock<Texts> = LazyLock::new(|| {
    let sqlite = |rows| {
        let tail = ") UPDATE stock_bucket SET issued = issued + taken.pieces FROM taken \
                    WHERE stock_bucket.template_id = taken.template_id \
                    AND stock_bucket.bucket = taken.bucket \
                    AND issued + taken.pieces <= granted AND open = 1";
        repeat("WITH taken (template_id, bucket, pieces) AS (VALUES ", "(?,?,?)", rows, tail)
    };
    let mysql = |rows| {
        let pieces = format!("CASE bucket{} END", " WHEN ? THEN CAST(? AS SIGNED)".repeat(rows));
        let head = format!(
            "UPDATE stock_bucket SET issued = issued + {pieces} \
                            WHERE template_id = ? AND bucket IN ("
        );
        let tail = format!(") AND issued + {pieces} <= granted AND open = 1");
        repeat(&head, "?", rows, &tail)
    };
    Texts::per_backend(sqlite, mysql)
});

/// As [`BUCKETS`], and nobody else takes from them until the end of the transaction. On SQLite there is
/// one writer.
static HELD_BUCKETS: LazyLock<Texts> = LazyLock::new(|| {
    let head = "SELECT template_id, bucket, granted, issued, open FROM stock_bucket \
                WHERE template_id IN (";
    let tail = ") ORDER BY template_id, bucket";
    Texts::per_backend(
        |rows| repeat(head, "?", rows, tail),
        |rows| repeat(head, "?", rows, &format!("{tail} FOR UPDATE")),
    )
});

/// All buckets of the templates, by template and bucket.
pub(super) async fn buckets(
    db: &impl ConnectionTrait,
    templates: &[TemplateId],
) -> Result<Vec<Bucket>, LedgerError> {
    read_buckets(db, &BUCKETS, templates).await
}

/// As [`buckets`], held until the end of the transaction: for groups that others were too fast for. They
/// keep the template's other groups waiting while they insert.
pub(super) async fn hold_buckets(
    tx: &impl ConnectionTrait,
    templates: &[TemplateId],
) -> Result<Vec<Bucket>, LedgerError> {
    read_buckets(tx, &HELD_BUCKETS, templates).await
}

async fn read_buckets(
    db: &impl ConnectionTrait,
    texts: &Texts,
    templates: &[TemplateId],
) -> Result<Vec<Bucket>, LedgerError> {
    let rows = query_by_keys(db, texts, templates, |template, values| {
        values.push(template.get().into());
    });
    let bucket = |row: sea_orm::QueryResult| {
        let number: i64 = get(&row, 1)?;
        let number = u16::try_from(number)
            .map_err(|_| LedgerError::Corrupt(format!("bucket {number} is stored")))?;
        Ok(Bucket {
            key: BucketKey { template: template_id(&row, 0)?, bucket: number },
            granted: get(&row, 2)?,
            issued: get(&row, 3)?,
            open: get::<i64>(&row, 4)? != 0,
        })
    };
    rows.await?.into_iter().map(bucket).collect()
}

/// What a shard has been handed of a template, and how many buckets it has; `None` before the first
/// grant.
async fn handed(
    db: &impl ConnectionTrait,
    template: TemplateId,
) -> Result<Option<(i64, u16)>, LedgerError> {
    let sql = "SELECT handed, (SELECT COUNT(*) FROM stock_bucket WHERE template_id = ?) \
               FROM stock_grant WHERE template_id = ?";
    let values = vec![template.get().into(), template.get().into()];
    let rows = query(db, sql, values).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let buckets = u16::try_from(get::<i64>(row, 1)?).unwrap_or(u16::MAX);
    Ok(Some((get(row, 0)?, buckets)))
}

/// Brings what this shard has been handed up to `share`, dealing what is missing out to the buckets,
/// which are made, closed, by the first grant. What was handed only grows, and so does every share
/// with the total: repeated, overtaken and doubled grants change nothing.
pub(super) async fn grant(
    db: &DatabaseConnection,
    template: TemplateId,
    buckets: u16,
    share: i64,
) -> Result<Granted, LedgerError> {
    // Enough was handed already: no need to lock the row.
    if let Some((before, buckets)) = handed(db, template).await?
        && before >= share
    {
        return Ok(Granted { buckets, pieces: 0 });
    }
    for tries in 0..TRIES {
        let tx = db.begin().await?;
        let done = hand_out(&tx, template, buckets, share).await;
        match end(tx, done.map(Some)).await {
            Ok(Some(granted)) => return Ok(granted),
            Ok(None) | Err(LedgerError::Aborted(_)) => pause_before(tries).await,
            Err(error) => return Err(error),
        }
    }
    Err(LedgerError::Unavailable("stock is being handed out elsewhere; try again".to_owned()))
}

/// [`grant`] within its transaction.
async fn hand_out(
    tx: &DatabaseTransaction,
    template: TemplateId,
    buckets: u16,
    share: i64,
) -> Result<Granted, LedgerError> {
    // Locks the row, new or found: two grants at once follow each other.
    let sql = dialect(
        tx,
        "INSERT INTO stock_grant (template_id, handed) VALUES (?, 0) \
         ON CONFLICT (template_id) DO UPDATE SET handed = handed",
        "INSERT INTO stock_grant (template_id, handed) VALUES (?, 0) \
         ON DUPLICATE KEY UPDATE handed = handed",
    );
    execute(tx, sql, vec![template.get().into()]).await?;
    let (before, found) = handed(tx, template).await?.unwrap_or_default();
    let buckets = if found > 0 { found } else { buckets };
    let pieces = (share - before).max(0);
    if found > 0 && pieces == 0 {
        return Ok(Granted { buckets, pieces });
    }
    let count = usize::from(buckets);
    let dealt = deal(before + pieces, count).into_iter().zip(deal(before, count));
    let sql = dialect(
        tx,
        "INSERT INTO stock_bucket (template_id, bucket, granted) VALUES (?, ?, ?) \
         ON CONFLICT (template_id, bucket) DO UPDATE SET granted = granted + excluded.granted",
        "INSERT INTO stock_bucket (template_id, bucket, granted) VALUES (?, ?, ?) \
         ON DUPLICATE KEY UPDATE granted = granted + VALUES(granted)",
    );
    for (bucket, (after, before)) in (0_i64..).zip(dealt) {
        let values = vec![template.get().into(), bucket.into(), (after - before).into()];
        execute(tx, sql, values).await?;
    }
    let sql = "UPDATE stock_grant SET handed = ? WHERE template_id = ?";
    execute(tx, sql, vec![(before + pieces).into(), template.get().into()]).await?;
    Ok(Granted { buckets, pieces })
}

/// Ends a transaction: commits when there is something to commit, otherwise rolls back, explicitly,
/// because the locks of one that is only dropped are kept until somebody uses the connection again.
pub(super) async fn end<T>(
    tx: DatabaseTransaction,
    done: Result<Option<T>, LedgerError>,
) -> Result<Option<T>, LedgerError> {
    match done {
        Ok(Some(done)) => {
            tx.commit().await?;
            Ok(Some(done))
        }
        nothing => {
            if let Err(error) = tx.rollback().await {
                tracing::warn!(%error, "a transaction was not rolled back");
            }
            nothing
        }
    }
}

/// Opens or closes all buckets of the template.
pub(super) async fn set_open(
    db: &DatabaseConnection,
    template: TemplateId,
    open: bool,
) -> Result<(), LedgerError> {
    let sql = "UPDATE stock_bucket SET open = ? WHERE template_id = ?";
    execute(db, sql, vec![i64::from(open).into(), template.get().into()]).await?;
    Ok(())
}

/// Takes `wanted[k]` pieces from bucket k of one template, filling short buckets from others of the
/// shard first. False when a guard failed: the rows were not as `buckets` says.
pub(super) async fn take(
    tx: &impl ConnectionTrait,
    buckets: &[Bucket],
    wanted: &[i64],
) -> Result<bool, DbErr> {
    let mut left: Vec<i64> = buckets.iter().map(Bucket::left).collect();
    // Pieces that a bucket gives itself cannot be carried away.
    let mut spare: Vec<i64> = left.iter().zip(wanted).map(|(l, w)| (l - w).max(0)).collect();
    for (to, want) in wanted.iter().enumerate() {
        let short = want - left[to];
        if short <= 0 {
            continue;
        }
        spare[to] = 0;
        for step in plan_moves(&spare, to, short) {
            spare[step.from] -= step.pieces;
            left[step.from] -= step.pieces;
            left[step.to] += step.pieces;
            if !carry(tx, buckets, step).await? {
                return Ok(false);
            }
        }
        spare[to] = (left[to] - want).max(0);
    }
    issue(tx, buckets, wanted).await
}

/// Adds to the issued counts, each guarded; false when a guard failed.
async fn issue(
    tx: &impl ConnectionTrait,
    buckets: &[Bucket],
    wanted: &[i64],
) -> Result<bool, DbErr> {
    let takes: Vec<(BucketKey, i64)> = buckets
        .iter()
        .zip(wanted)
        .filter(|(_, want)| **want > 0)
        .map(|(bucket, want)| (bucket.key, *want))
        .collect();
    let mut rest = takes.as_slice();
    let texts = ISSUE.on(tx);
    for rows in texts.cuts(takes.len()) {
        let (portion, after) = rest.split_at(rows);
        rest = after;
        let issued = execute(tx, texts.of(rows), issue_values(tx, portion)).await?;
        if usize::try_from(issued).ok() != Some(rows) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What [`ISSUE`] binds for these buckets of one template.
fn issue_values(db: &impl ConnectionTrait, takes: &[(BucketKey, i64)]) -> Vec<Value> {
    let bucket = |key: &BucketKey| Value::from(i64::from(key.bucket));
    if !is_mysql(db) {
        let row = |(key, want): &(BucketKey, i64)| {
            [key.template.get().into(), bucket(key), Value::from(*want)]
        };
        return takes.iter().flat_map(row).collect();
    }
    let Some((first, _)) = takes.first() else { return Vec::new() };
    let pieces = || takes.iter().flat_map(|(key, want)| [bucket(key), Value::from(*want)]);
    let mut values: Vec<Value> = pieces().collect();
    values.push(first.template.get().into());
    values.extend(takes.iter().map(|(key, _)| bucket(key)));
    values.extend(pieces());
    values
}

async fn carry(tx: &impl ConnectionTrait, buckets: &[Bucket], step: Move) -> Result<bool, DbErr> {
    let (from, to) = (buckets[step.from].key, buckets[step.to].key);
    let take = "UPDATE stock_bucket SET granted = granted - ? \
                WHERE template_id = ? AND bucket = ? AND granted - ? >= issued";
    let values = vec![
        step.pieces.into(),
        from.template.get().into(),
        i64::from(from.bucket).into(),
        step.pieces.into(),
    ];
    if execute(tx, take, values).await? != 1 {
        return Ok(false);
    }
    let put = "UPDATE stock_bucket SET granted = granted + ? WHERE template_id = ? AND bucket = ?";
    let values = vec![step.pieces.into(), to.template.get().into(), i64::from(to.bucket).into()];
    Ok(execute(tx, put, values).await? == 1)
}
