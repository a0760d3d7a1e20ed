//! Writing what a redemption group has changed.

use std::sync::LazyLock;

use coupon_domain::{
    book::{AlarmKind, Changes, Entry, Operation, Refund},
    coupon::Coupon,
    ids::{CouponId, RedemptionId, UserId},
    redemption::Redemption,
    time::{Minute, Timestamp},
};
use sea_orm::{ConnectionTrait, Value};

use crate::{
    ledger::{
        LedgerError,
        sql::{
            alarms, rows,
            statement::{Texts, cuts, execute},
        },
    },
    mint::Mint,
};

const OPERATION_COLUMNS: &str = "operation_id, coupon_id, user_id, template_id, order_id, \
                                 operation, from_status, to_status, coupons, at";

static LOG: LazyLock<Texts> = LazyLock::new(|| {
    let head = format!("INSERT INTO coupon_operation ({OPERATION_COLUMNS}) VALUES ");
    Texts::new(&head, "(?,?,?,?,?,?,?,?,?,?)", "")
});

/// Writes the changes, redemptions before coupons; answers the alarms that now exist.
pub(super) async fn write(
    tx: &impl ConnectionTrait,
    changes: Changes,
    mint: &Mint,
    at: Timestamp,
) -> Result<Vec<(AlarmKind, Minute)>, LedgerError> {
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    for entry in &changes.redemptions {
        put_redemption(tx, entry).await?;
    }
    for entry in &changes.coupons {
        put_coupon(tx, entry).await?;
    }
    for entry in &changes.refunds {
        let redemption = changes.redemptions.iter().map(|entry| &entry.current);
        let owner = redemption.into_iter().find(|r| r.id == entry.current.redemption);
        put_refund(tx, &entry.current, owner, at).await?;
    }
    log(tx, &changes.operations, mint, at).await?;
    alarms::want(tx, &changes.alarms).await?;
    Ok(changes.alarms)
}

async fn put_redemption(
    tx: &impl ConnectionTrait,
    entry: &Entry<Redemption>,
) -> Result<(), LedgerError> {
    let redemption = &entry.current;
    let evaluation = redemption.evaluation.as_ref().map(rows::evaluation_json).transpose()?;
    let mut values: Vec<Value> = vec![
        redemption.state.to_stored().into(),
        evaluation.into(),
        redemption.first_locked_at.map(Timestamp::as_millis).into(),
        redemption.locked_until.map(Timestamp::as_millis).into(),
        redemption.closed_at.map(Timestamp::as_millis).into(),
        rows::locks_json(&redemption.locks)?.into(),
        redemption.close.as_ref().map(|mark| mark.request_id.clone()).into(),
        redemption.close.as_ref().map(|mark| mark.fingerprint.to_stored()).into(),
        redemption.id.get().into(),
    ];
    let sql = match &entry.loaded {
        // A plain INSERT: somebody else's row of the same order must fail it.
        None => {
            values.extend([redemption.user.get().into(), redemption.order.as_str().into()]);
            "INSERT INTO redemption (state, evaluation, first_locked_at, locked_until, closed_at, \
             locks, close_request_id, close_fingerprint, redemption_id, user_id, order_id) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        }
        Some(loaded) => {
            values.push(loaded.state.to_stored().into());
            "UPDATE redemption SET state = ?, evaluation = ?, first_locked_at = ?, \
             locked_until = ?, closed_at = ?, locks = ?, close_request_id = ?, \
             close_fingerprint = ? WHERE redemption_id = ? AND state = ?"
        }
    };
    expect_one(execute(tx, sql, values).await?, "redemption", redemption.id.get())
}

async fn put_coupon(tx: &impl ConnectionTrait, entry: &Entry<Coupon>) -> Result<(), LedgerError> {
    let coupon = &entry.current;
    let Some(loaded) = &entry.loaded else { return insert_reissued(tx, coupon).await };
    let values = vec![
        coupon.status.to_stored().into(),
        coupon.redemption.map(RedemptionId::get).into(),
        coupon.locked_until.map(Timestamp::as_millis).into(),
        coupon.used_at.map(Timestamp::as_millis).into(),
        coupon.valid_until.as_millis().into(),
        coupon.id.get().into(),
        loaded.status.to_stored().into(),
        loaded.redemption.map(RedemptionId::get).into(),
    ];
    let sql = "UPDATE coupon SET status = ?, redemption_id = ?, locked_until = ?, used_at = ?, \
               valid_until = ? WHERE coupon_id = ? AND status = ? AND redemption_id IS ?";
    expect_one(execute(tx, sql, values).await?, "coupon", coupon.id.get())
}

async fn insert_reissued(tx: &impl ConnectionTrait, coupon: &Coupon) -> Result<(), LedgerError> {
    let values = vec![
        coupon.id.get().into(),
        coupon.user.get().into(),
        coupon.template.get().into(),
        coupon.claim_no.into(),
        coupon.template_version.into(),
        coupon.status.to_stored().into(),
        coupon.source.as_str().into(),
        coupon.claimed_at.as_millis().into(),
        coupon.valid_until.as_millis().into(),
        coupon.reissue_of.map(CouponId::get).into(),
    ];
    let sql = "INSERT INTO coupon (coupon_id, user_id, template_id, claim_no, template_version, \
               status, source, claimed_at, valid_until, reissue_of, request_id, fingerprint) \
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', 0)";
    expect_one(execute(tx, sql, values).await?, "coupon", coupon.id.get())
}

async fn put_refund(
    tx: &impl ConnectionTrait,
    refund: &Refund,
    redemption: Option<&Redemption>,
    at: Timestamp,
) -> Result<(), LedgerError> {
    let Some(redemption) = redemption else {
        return Err(LedgerError::Corrupt("a refund changed no redemption".to_owned()));
    };
    let values = vec![
        redemption.user.get().into(),
        redemption.order.as_str().into(),
        refund.request_id.as_str().into(),
        redemption.id.get().into(),
        rows::refund_json(&refund.coupons)?.into(),
        at.as_millis().into(),
    ];
    let sql = "INSERT INTO refund \
               (user_id, order_id, request_id, redemption_id, coupons, restored_at) \
               VALUES (?, ?, ?, ?, ?, ?)";
    expect_one(execute(tx, sql, values).await?, "refund of redemption", redemption.id.get())
}

/// Appends to the operation log, ids minted inside the transaction so that they grow in commit
/// order where there is one writer.
pub(in crate::ledger::sql) async fn log(
    tx: &impl ConnectionTrait,
    operations: &[Operation],
    mint: &Mint,
    at: Timestamp,
) -> Result<(), LedgerError> {
    let mut rest = operations;
    for rows in cuts(operations.len()) {
        let (portion, after) = rest.split_at(rows);
        rest = after;
        let values = portion.iter().flat_map(|operation| {
            [
                mint.operation().into(),
                operation.coupon.map(CouponId::get).into(),
                operation.user.map(UserId::get).into(),
                operation.template.get().into(),
                operation.order.as_str().into(),
                operation.kind.to_stored().into(),
                operation.from.map(|status| status.to_stored()).into(),
                operation.to.to_stored().into(),
                operation.count.into(),
                at.as_millis().into(),
            ]
        });
        execute(tx, LOG.of(rows), values.collect::<Vec<Value>>()).await?;
    }
    Ok(())
}

fn expect_one(rows: u64, what: &str, id: i64) -> Result<(), LedgerError> {
    match rows {
        1 => Ok(()),
        _ => Err(LedgerError::Corrupt(format!("{what} {id} was changed by somebody else"))),
    }
}
