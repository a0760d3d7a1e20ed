//! Deleting redemptions whose retention is over, in closed ranges of ids. LOCKED rows stay for ever.

use coupon_domain::time::Timestamp;
use sea_orm::DatabaseConnection;

use super::{
    rows::get,
    statement::{execute, query},
};
use crate::ledger::{LedgerError, Purged};

/// Deletes, among up to `limit` rows above `after`, the CANCELLED and LAPSED ones closed before
/// `fences_before` and the CONFIRMED and RESTORED ones closed before `uses_before`. Coupons that
/// point at a deleted redemption keep pointing: their own status says what they are.
pub(super) async fn purge(
    db: &DatabaseConnection,
    after: i64,
    fences_before: Timestamp,
    uses_before: Timestamp,
    limit: u32,
) -> Result<Purged, LedgerError> {
    let sql = "SELECT MAX(redemption_id), COUNT(*) FROM (SELECT redemption_id FROM redemption \
               WHERE redemption_id > ? ORDER BY redemption_id LIMIT ?) AS chunk";
    let rows = query(db, sql, vec![after.into(), limit.into()]).await?;
    let Some(row) = rows.first() else { return Ok(Purged { deleted: 0, next: None }) };
    let (last, count): (Option<i64>, i64) = (get(row, 0)?, get(row, 1)?);
    let Some(last) = last else { return Ok(Purged { deleted: 0, next: None }) };
    let sql = "DELETE FROM redemption WHERE redemption_id BETWEEN ? AND ? AND \
               ((state IN (2, 3) AND closed_at < ?) OR (state IN (1, 4) AND closed_at < ?))";
    let values = vec![
        (after + 1).into(),
        last.into(),
        fences_before.as_millis().into(),
        uses_before.as_millis().into(),
    ];
    let deleted = execute(db, sql, values).await?;
    Ok(Purged { deleted, next: Some(last).filter(|_| count == i64::from(limit)) })
}
