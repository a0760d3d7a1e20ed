//! Counts of used, locked, expired and voided coupons, folded from the operation log.

use std::{collections::BTreeMap, time::Duration};

use coupon_domain::{coupon::CouponStatus, ids::TemplateId, time::Timestamp};
use sea_orm::{ConnectionTrait, DatabaseConnection, TransactionTrait};

use super::{
    ShardConnections,
    rows::{get, time},
    statement::{dialect, execute, query},
};
use crate::{
    clock::wall_millis,
    ledger::{Counts, LedgerError},
    mint::Mint,
};

const MARK: &str = "SELECT folded_up_to FROM stat_fold WHERE fold_id = 1";
/// Nobody else folds this shard before the commit. On SQLite there is one writer.
const LOCK_MARK: &str = "SELECT folded_up_to FROM stat_fold WHERE fold_id = 1 FOR UPDATE";

const ADD: &str = "INSERT INTO template_stat \
                   (template_id, locked, used, expired, voided, reissued) \
                   VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (template_id) DO UPDATE SET \
                   locked = locked + excluded.locked, used = used + excluded.used, \
                   expired = expired + excluded.expired, voided = voided + excluded.voided, \
                   reissued = reissued + excluded.reissued";
const ADD_MYSQL: &str = "INSERT INTO template_stat \
                         (template_id, locked, used, expired, voided, reissued) \
                         VALUES (?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE \
                         locked = locked + VALUES(locked), used = used + VALUES(used), \
                         expired = expired + VALUES(expired), voided = voided + VALUES(voided), \
                         reissued = reissued + VALUES(reissued)";

/// Adds up to `limit` operations to the counts; says how many it read.
///
/// Operations of one writer commit in the order of their ids. Those of several nodes do not: then
/// only what was minted longer than `lag` ago is folded, which is longer than a transaction may take,
/// so that nothing appears behind the mark any more.
pub(super) async fn fold(
    db: &ShardConnections,
    limit: u32,
    at: Timestamp,
    lag: Duration,
) -> Result<u64, LedgerError> {
    let (before, as_of) = (minted_before(lag, wall_millis()), at.minus(lag));
    if !has_more(&db.read, before).await? {
        // One writer knows that nothing is missing; others learn it here.
        if !lag.is_zero() {
            let sql = "UPDATE stat_fold SET as_of = ? WHERE fold_id = 1 AND as_of < ?";
            let as_of = as_of.as_millis();
            execute(&db.write, sql, vec![as_of.into(), as_of.into()]).await?;
        }
        return Ok(0);
    }
    let tx = db.write.begin().await?;
    let mark = query(&tx, dialect(&tx, MARK, LOCK_MARK), Vec::new()).await?;
    let mark: i64 = match mark.first() {
        Some(row) => get(row, 0)?,
        None => return Err(LedgerError::Corrupt("stat_fold has no row".to_owned())),
    };
    let rows = query(
        &tx,
        "SELECT operation_id, template_id, from_status, to_status, coupons \
         FROM coupon_operation WHERE operation_id > ? AND operation_id < ? \
         ORDER BY operation_id LIMIT ?",
        vec![mark.into(), before.into(), i64::from(limit).into()],
    )
    .await?;
    let mut deltas: BTreeMap<i64, Counts> = BTreeMap::new();
    let mut last = None;
    for row in &rows {
        last = Some(get::<i64>(row, 0)?);
        let delta = deltas.entry(get(row, 1)?).or_default();
        let count: i64 = get(row, 4)?;
        match get::<Option<i32>>(row, 2)? {
            Some(from) => bump(delta, from, -count),
            None => delta.reissued += count,
        }
        bump(delta, get(row, 3)?, count);
    }
    for (template, delta) in deltas {
        let values = vec![
            template.into(),
            delta.locked.into(),
            delta.used.into(),
            delta.expired.into(),
            delta.voided.into(),
            delta.reissued.into(),
        ];
        execute(&tx, dialect(&tx, ADD, ADD_MYSQL), values).await?;
    }
    let caught_up = rows.len() < usize::try_from(limit).unwrap_or(usize::MAX);
    if let Some(last) = last {
        let sql = "UPDATE stat_fold SET folded_up_to = ? WHERE fold_id = 1";
        execute(&tx, sql, vec![last.into()]).await?;
    }
    if caught_up {
        let sql = "UPDATE stat_fold SET as_of = ? WHERE fold_id = 1";
        execute(&tx, sql, vec![as_of.as_millis().into()]).await?;
    }
    tx.commit().await?;
    Ok(u64::try_from(rows.len()).unwrap_or(u64::MAX))
}

/// Operation ids below this may be folded at a wall time: ids follow the wall clock, also under a test
/// clock.
fn minted_before(lag: Duration, wall_millis: i64) -> i64 {
    if lag.is_zero() {
        return i64::MAX;
    }
    let lag = i64::try_from(lag.as_millis()).unwrap_or(i64::MAX);
    Mint::operations_before(wall_millis.saturating_sub(lag))
}

/// Whether something is left to fold: asked without a write transaction, which would cost a sync.
async fn has_more(db: &DatabaseConnection, before: i64) -> Result<bool, LedgerError> {
    let sql = "SELECT 1 FROM coupon_operation \
               WHERE operation_id > (SELECT folded_up_to FROM stat_fold WHERE fold_id = 1) \
               AND operation_id < ? LIMIT 1";
    Ok(!query(db, sql, vec![before.into()]).await?.is_empty())
}

fn bump(counts: &mut Counts, status: i32, by: i64) {
    match CouponStatus::from_stored(status) {
        Some(CouponStatus::Locked) => counts.locked += by,
        Some(CouponStatus::Used) => counts.used += by,
        Some(CouponStatus::Expired) => counts.expired += by,
        Some(CouponStatus::Voided) => counts.voided += by,
        Some(CouponStatus::Available) | None => {}
    }
}

/// The counts of one template.
pub(super) async fn counts(
    db: &impl ConnectionTrait,
    template: TemplateId,
) -> Result<Counts, LedgerError> {
    let sql = "SELECT f.as_of, COALESCE(s.locked, 0), COALESCE(s.used, 0), \
               COALESCE(s.expired, 0), COALESCE(s.voided, 0), COALESCE(s.reissued, 0) \
               FROM stat_fold AS f LEFT JOIN template_stat AS s ON s.template_id = ? \
               WHERE f.fold_id = 1";
    let rows = query(db, sql, vec![template.get().into()]).await?;
    let Some(row) = rows.first() else { return Ok(Counts::default()) };
    Ok(Counts {
        as_of: time(row, 0)?,
        locked: get(row, 1)?,
        used: get(row, 2)?,
        expired: get(row, 3)?,
        voided: get(row, 4)?,
        reissued: get(row, 5)?,
    })
}

/// Adds the counts of two shards; true for the earlier of the two instants.
pub(super) fn add(left: Counts, right: Counts) -> Counts {
    Counts {
        locked: left.locked + right.locked,
        used: left.used + right.used,
        expired: left.expired + right.expired,
        voided: left.voided + right.voided,
        reissued: left.reissued + right.reissued,
        as_of: left.as_of.min(right.as_of),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_one_writer_everything_is_folded_with_several_what_is_old_enough() {
        let now = wall_millis();
        assert_eq!(minted_before(Duration::ZERO, now), i64::MAX);
        let mint = Mint::new(255, 0, 0);
        mint.extend(mint.next_lease());
        let id = mint.operation().unwrap();
        let lag = Duration::from_secs(5);
        assert!(id >= minted_before(lag, wall_millis()));
        assert!(id >= minted_before(lag, now + 5_000));
        assert!(id < minted_before(lag, wall_millis() + 5_001));
    }

    // The operation that another node has minted earlier and commits later is folded too.
    #[tokio::test]
    async fn what_commits_late_is_not_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let storage = crate::config::StorageConfig::default();
        let path = folder.path().join("coupon.db");
        let databases = crate::backend::sqlite::open(&path, &storage).await.unwrap();
        crate::backend::migrate(&databases).await.unwrap();
        let db = &databases.shards[0];
        let lag = Duration::from_secs(5);
        let (now, at) = (wall_millis(), Timestamp::from_millis(wall_millis()));
        let commit = async |minted_at: i64| {
            let sql = "INSERT INTO coupon_operation \
                       (operation_id, template_id, operation, from_status, to_status, at) \
                       VALUES (?, 7, 1, 3, 1, 0)";
            let id = Mint::operations_before(minted_at) | 1;
            execute(&db.write, sql, vec![id.into()]).await.unwrap();
        };
        commit(now - 7_000).await;
        commit(now - 1_000).await;
        assert_eq!(fold(db, 10, at, lag).await.unwrap(), 1);
        commit(now - 4_000).await;
        let folded = counts(&db.read, TemplateId::new(7).unwrap()).await.unwrap();
        assert_eq!((folded.used, folded.as_of), (1, at.minus(lag)));
        // Nothing is old enough, but the counts are true for a later instant.
        let later = Timestamp::from_millis(at.as_millis() + 10);
        assert_eq!(fold(db, 10, later, lag).await.unwrap(), 0);
        let folded = counts(&db.read, TemplateId::new(7).unwrap()).await.unwrap();
        assert_eq!((folded.used, folded.as_of), (1, later.minus(lag)));
        assert_eq!(fold(db, 10, at, Duration::ZERO).await.unwrap(), 2);
        let folded = counts(&db.read, TemplateId::new(7).unwrap()).await.unwrap();
        assert_eq!((folded.used, folded.locked), (3, -3));
    }
}
