//! Sweeps: letting the stored status catch up with the time, one bounded chunk at a time.

use std::collections::BTreeMap;

use coupon_domain::{
    book::{Operation, OperationKind},
    coupon::CouponStatus,
    ids::{RedemptionId, TemplateId, UserId},
    time::{Minute, Timestamp},
};
use sea_orm::{DatabaseConnection, TransactionTrait, Value};

use super::{
    redeem,
    rows::{get, redemption_id, template_id, time, user_id},
    statement::{dialect, execute, is_mysql, query},
};
use crate::{
    ledger::{LedgerError, Swept},
    mint::Mint,
};

/// AVAILABLE -> EXPIRED for one chunk of the coupons whose validity ended in `minute`, in closed
/// ranges of (valid_until, coupon_id). Logs one row per template with its count.
pub(super) async fn expire(
    db: &DatabaseConnection,
    mint: &Mint,
    minute: Minute,
    after: Option<(Timestamp, i64)>,
    limit: u32,
    at: Timestamp,
) -> Result<Swept, LedgerError> {
    let (first, last) = minute.range();
    // Validity ends at an instant: what is still to come in this minute is left for later.
    let last = last.min(at);
    let (from, from_id) = after.unwrap_or((first, 0));
    let tx = db.begin().await?;
    let behind = last.as_millis() + 1;
    let mut range: Vec<Value> =
        vec![from.as_millis().into(), behind.into(), from.as_millis().into()];
    range.extend(is_mysql(&tx).then(|| Value::from(from.as_millis())));
    range.extend([from_id.into(), limit.into()]);
    let rows = query(
        &tx,
        dialect(
            &tx,
            "SELECT valid_until, coupon_id, template_id FROM coupon \
             WHERE valid_until >= ? AND valid_until < ? AND (valid_until, coupon_id) > (?, ?) \
             AND status = 0 ORDER BY valid_until, coupon_id LIMIT ?",
            // The bounds are such that its planner enters the index at the cursor and stops at the
            // limit: two that can be equal would make it sort all that is left.
            "SELECT valid_until, coupon_id, template_id FROM coupon \
             FORCE INDEX (coupon_valid_until) \
             WHERE valid_until >= ? AND valid_until < ? \
             AND (valid_until > ? OR (valid_until = ? AND coupon_id > ?)) \
             AND status = 0 ORDER BY valid_until, coupon_id LIMIT ? FOR UPDATE",
        ),
        range,
    )
    .await?;
    let mut ranges: BTreeMap<Timestamp, (i64, i64)> = BTreeMap::new();
    let mut templates: BTreeMap<TemplateId, i64> = BTreeMap::new();
    let mut end = None;
    for row in &rows {
        let (until, id): (Timestamp, i64) = (time(row, 0)?, get(row, 1)?);
        ranges.entry(until).or_insert((id, id)).1 = id;
        *templates.entry(template_id(row, 2)?).or_default() += 1;
        end = Some((until, id));
    }
    let mut changed = 0;
    for (until, (low, high)) in ranges {
        let sql = dialect(
            &tx,
            "UPDATE coupon SET status = 2 \
             WHERE valid_until = ? AND coupon_id BETWEEN ? AND ? AND status = 0",
            "UPDATE coupon FORCE INDEX (coupon_valid_until) SET status = 2 \
             WHERE valid_until = ? AND coupon_id BETWEEN ? AND ? AND status = 0",
        );
        let values = vec![until.as_millis().into(), low.into(), high.into()];
        changed += execute(&tx, sql, values).await?;
    }
    if usize::try_from(changed).ok() != Some(rows.len()) {
        tx.rollback().await?;
        return Err(LedgerError::Unavailable("coupons changed during a sweep".to_owned()));
    }
    let operations: Vec<Operation> = templates
        .into_iter()
        .map(|(template, count)| Operation {
            coupon: None,
            user: None,
            template,
            order: String::new(),
            kind: OperationKind::Expire,
            from: Some(CouponStatus::Available),
            to: CouponStatus::Expired,
            count,
        })
        .collect();
    redeem::log(&tx, &operations, mint, at).await?;
    tx.commit().await?;
    let full = rows.len() == usize::try_from(limit).unwrap_or(usize::MAX);
    Ok(Swept { changed, next: end.filter(|_| full) })
}

/// Redemptions still stored LOCKED whose time ended in `minute`.
pub(super) async fn lapsing(
    db: &DatabaseConnection,
    minute: Minute,
    limit: u32,
) -> Result<Vec<(UserId, RedemptionId)>, LedgerError> {
    let (first, last) = minute.range();
    let sql = "SELECT user_id, redemption_id FROM redemption \
               WHERE locked_until BETWEEN ? AND ? ORDER BY locked_until, redemption_id LIMIT ?";
    let values = vec![first.as_millis().into(), last.as_millis().into(), limit.into()];
    let row = |row: &sea_orm::QueryResult| Ok((user_id(row, 0)?, redemption_id(get(row, 1)?)?));
    query(db, sql, values).await?.iter().map(row).collect()
}
