//! Refunds as rows.

use coupon_domain::{
    book::Refund,
    fingerprint::Fingerprint,
    ids::CouponId,
    money::Minor,
    redemption::{RefundAmounts, RefundedLine, RequestMark, RestoreResult, RestoredCoupon},
    time::Timestamp,
};
use sea_orm::QueryResult;
use serde::{Deserialize, Serialize};

use super::{corrupt, coupon_id, from_json, get, redemption_id, to_json};
use crate::ledger::LedgerError;

/// Columns of [`refund`], in its order.
pub(in super::super) const REFUND_COLUMNS: &str = "f.redemption_id, f.request_id, f.coupons";

/// Coupon, result, reissued, valid until.
type StoredCoupon = (i64, i32, Option<i64>, Option<i64>);

#[derive(Serialize, Deserialize)]
struct Stored {
    fingerprint: i64,
    amount: i64,
    /// Line, pieces, amount.
    lines: Vec<(String, i64, i64)>,
    shipping: i64,
    clawed_back: i64,
    coupons: Vec<StoredCoupon>,
}

/// Writes what a refund did.
pub(in super::super) fn refund_json(refund: &Refund) -> Result<String, LedgerError> {
    let RefundAmounts { amount, lines, shipping, clawed_back } = &refund.amounts;
    let line = |line: &RefundedLine| (line.line_id.clone(), line.quantity, line.amount.get());
    let coupon = |restored: &RestoredCoupon| {
        let reissued = restored.reissued.map(CouponId::get);
        let valid_until = restored.valid_until.map(Timestamp::as_millis);
        (restored.coupon.get(), restored.result.to_stored(), reissued, valid_until)
    };
    to_json(&Stored {
        fingerprint: refund.request.fingerprint.to_stored(),
        amount: amount.get(),
        lines: lines.iter().map(line).collect(),
        shipping: shipping.get(),
        clawed_back: *clawed_back,
        coupons: refund.coupons.iter().map(coupon).collect(),
    })
}

/// Reads [`REFUND_COLUMNS`].
pub(in super::super) fn refund(row: &QueryResult) -> Result<Refund, LedgerError> {
    let stored: Stored = from_json(&get::<String>(row, 2)?)?;
    let lines = stored.lines.into_iter().map(|(line_id, quantity, amount)| RefundedLine {
        line_id,
        quantity,
        amount: Minor::new(amount),
    });
    Ok(Refund {
        redemption: redemption_id(get(row, 0)?)?,
        request: RequestMark {
            request_id: get(row, 1)?,
            fingerprint: Fingerprint::from_stored(stored.fingerprint),
        },
        amounts: RefundAmounts {
            amount: Minor::new(stored.amount),
            lines: lines.collect(),
            shipping: Minor::new(stored.shipping),
            clawed_back: stored.clawed_back,
        },
        coupons: stored.coupons.into_iter().map(restored).collect::<Result<_, _>>()?,
    })
}

fn restored(
    (coupon, result, reissued, valid_until): StoredCoupon,
) -> Result<RestoredCoupon, LedgerError> {
    Ok(RestoredCoupon {
        coupon: coupon_id(coupon)?,
        result: RestoreResult::from_stored(result)
            .ok_or_else(|| corrupt("restore result", result))?,
        reissued: reissued.map(coupon_id).transpose()?,
        valid_until: valid_until.map(Timestamp::from_millis),
    })
}
