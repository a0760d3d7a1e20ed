//! Counts of used, locked, expired and voided coupons, folded from the operation log.

use std::collections::BTreeMap;

use coupon_domain::{coupon::CouponStatus, ids::TemplateId, time::Timestamp};
use sea_orm::{ConnectionTrait, DatabaseConnection, TransactionTrait};

use super::{
    ShardConnections,
    rows::{get, time},
    statement::{execute, query},
};
use crate::ledger::{Counts, LedgerError};

/// Adds up to `limit` operations to the counts; says how many it read.
pub(super) async fn fold(
    db: &ShardConnections,
    limit: u32,
    at: Timestamp,
) -> Result<u64, LedgerError> {
    if !has_more(&db.read).await? {
        return Ok(0);
    }
    let tx = db.write.begin().await?;
    let rows = query(
        &tx,
        "SELECT o.operation_id, o.template_id, o.from_status, o.to_status, o.coupons \
         FROM coupon_operation AS o \
         WHERE o.operation_id > (SELECT folded_up_to FROM stat_fold WHERE fold_id = 1) \
         ORDER BY o.operation_id LIMIT ?",
        vec![limit.into()],
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
        let sql = "INSERT INTO template_stat (template_id, locked, used, expired, voided, reissued) \
                   VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (template_id) DO UPDATE SET \
                   locked = locked + excluded.locked, used = used + excluded.used, \
                   expired = expired + excluded.expired, voided = voided + excluded.voided, \
                   reissued = reissued + excluded.reissued";
        let values = vec![
            template.into(),
            delta.locked.into(),
            delta.used.into(),
            delta.expired.into(),
            delta.voided.into(),
            delta.reissued.into(),
        ];
        execute(&tx, sql, values).await?;
    }
    let caught_up = rows.len() < usize::try_from(limit).unwrap_or(usize::MAX);
    if let Some(last) = last {
        let sql = "UPDATE stat_fold SET folded_up_to = ? WHERE fold_id = 1";
        execute(&tx, sql, vec![last.into()]).await?;
    }
    if caught_up {
        let sql = "UPDATE stat_fold SET as_of = ? WHERE fold_id = 1";
        execute(&tx, sql, vec![at.as_millis().into()]).await?;
    }
    tx.commit().await?;
    Ok(u64::try_from(rows.len()).unwrap_or(u64::MAX))
}

/// Whether something is left to fold: asked without a write transaction, which would cost a sync.
async fn has_more(db: &DatabaseConnection) -> Result<bool, LedgerError> {
    let sql = "SELECT 1 FROM coupon_operation \
               WHERE operation_id > (SELECT folded_up_to FROM stat_fold WHERE fold_id = 1) LIMIT 1";
    Ok(!query(db, sql, Vec::new()).await?.is_empty())
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
