//! Rows and the domain: the one place that knows column orders and stored JSON.

use coupon_domain::{
    book::{AlarmKind, Refund},
    coupon::{Coupon, CouponStatus},
    evaluate::{CouponUse, Evaluation, LineDiscount, LineShare},
    fingerprint::{Fingerprint, hash_request_id},
    ids::{CouponId, RedemptionId, TemplateId, UserId},
    money::{Currency, Minor},
    redemption::{Redemption, RedemptionState, RequestMark, RestoreResult, RestoredCoupon},
    time::Timestamp,
};
use sea_orm::{QueryResult, TryGetable};
use serde::{Deserialize, Serialize};

use crate::ledger::{GivenCoupon, Holding, LedgerError};

/// Columns of [`coupon`], in its order.
pub(super) const COUPON_COLUMNS: &str = "c.coupon_id, c.user_id, c.template_id, \
     c.template_version, c.claim_no, c.status, c.source, c.claimed_at, c.valid_until, \
     c.redemption_id, c.locked_until, c.used_at, c.reissue_of";

/// Columns of [`redemption`], in its order.
pub(super) const REDEMPTION_COLUMNS: &str = "r.redemption_id, r.user_id, r.order_id, r.state, \
     r.evaluation, r.first_locked_at, r.locked_until, r.closed_at, r.locks, r.close_request_id, \
     r.close_fingerprint";

/// Columns of [`holding`], in its order.
pub(super) const HOLDING_COLUMNS: &str =
    "coupon_id, user_id, template_id, claim_no, claimed_at, valid_until, request_id, fingerprint";

/// A column by position.
pub(super) fn get<T: TryGetable>(row: &QueryResult, index: usize) -> Result<T, LedgerError> {
    row.try_get_by_index(index).map_err(|error| LedgerError::Corrupt(error.to_string()))
}

fn corrupt(what: &str, value: impl std::fmt::Display) -> LedgerError {
    LedgerError::Corrupt(format!("{what} {value} is stored"))
}

pub(super) fn user_id(row: &QueryResult, index: usize) -> Result<UserId, LedgerError> {
    let value: i64 = get(row, index)?;
    UserId::new(value).map_err(|_| corrupt("user id", value))
}

pub(super) fn template_id(row: &QueryResult, index: usize) -> Result<TemplateId, LedgerError> {
    let value: i64 = get(row, index)?;
    TemplateId::new(value).map_err(|_| corrupt("template id", value))
}

pub(super) fn coupon_id(value: i64) -> Result<CouponId, LedgerError> {
    CouponId::new(value).map_err(|_| corrupt("coupon id", value))
}

pub(super) fn redemption_id(value: i64) -> Result<RedemptionId, LedgerError> {
    RedemptionId::new(value).map_err(|_| corrupt("redemption id", value))
}

pub(super) fn time(row: &QueryResult, index: usize) -> Result<Timestamp, LedgerError> {
    Ok(Timestamp::from_millis(get(row, index)?))
}

fn optional_time(row: &QueryResult, index: usize) -> Result<Option<Timestamp>, LedgerError> {
    Ok(get::<Option<i64>>(row, index)?.map(Timestamp::from_millis))
}

/// Reads an alarm kind.
pub(super) fn alarm_kind(value: i32) -> Result<AlarmKind, LedgerError> {
    AlarmKind::from_stored(value).ok_or_else(|| corrupt("alarm kind", value))
}

/// Reads [`COUPON_COLUMNS`].
pub(super) fn coupon(row: &QueryResult) -> Result<Coupon, LedgerError> {
    let status: i32 = get(row, 5)?;
    Ok(Coupon {
        id: coupon_id(get(row, 0)?)?,
        user: user_id(row, 1)?,
        template: template_id(row, 2)?,
        template_version: get(row, 3)?,
        claim_no: get(row, 4)?,
        status: CouponStatus::from_stored(status).ok_or_else(|| corrupt("status", status))?,
        source: get(row, 6)?,
        claimed_at: time(row, 7)?,
        valid_until: time(row, 8)?,
        redemption: get::<Option<i64>>(row, 9)?.map(redemption_id).transpose()?,
        locked_until: optional_time(row, 10)?,
        used_at: optional_time(row, 11)?,
        reissue_of: get::<Option<i64>>(row, 12)?.map(coupon_id).transpose()?,
    })
}

/// Reads [`HOLDING_COLUMNS`].
pub(super) fn holding(row: &QueryResult) -> Result<(TemplateId, Holding), LedgerError> {
    let request_id: String = get(row, 6)?;
    let coupon = GivenCoupon {
        id: coupon_id(get(row, 0)?)?,
        claim_no: get(row, 3)?,
        claimed_at: time(row, 4)?,
        valid_until: time(row, 5)?,
    };
    let holding = Holding {
        user: user_id(row, 1)?,
        coupon,
        request_hash: hash_request_id(&request_id),
        fingerprint: Fingerprint::from_stored(get(row, 7)?),
    };
    Ok((template_id(row, 2)?, holding))
}

/// Reads [`REDEMPTION_COLUMNS`].
pub(super) fn redemption(row: &QueryResult) -> Result<Redemption, LedgerError> {
    let state: i32 = get(row, 3)?;
    let close_id: Option<String> = get(row, 9)?;
    let close_fingerprint: Option<i64> = get(row, 10)?;
    Ok(Redemption {
        id: redemption_id(get(row, 0)?)?,
        user: user_id(row, 1)?,
        order: get(row, 2)?,
        state: RedemptionState::from_stored(state).ok_or_else(|| corrupt("state", state))?,
        evaluation: get::<Option<String>>(row, 4)?.map(|text| evaluation(&text)).transpose()?,
        first_locked_at: optional_time(row, 5)?,
        locked_until: optional_time(row, 6)?,
        closed_at: optional_time(row, 7)?,
        locks: locks(&get::<String>(row, 8)?)?,
        close: close_id.zip(close_fingerprint).map(|(request_id, fingerprint)| RequestMark {
            request_id,
            fingerprint: Fingerprint::from_stored(fingerprint),
        }),
    })
}

/// Line and discount.
type StoredShares = Vec<(String, i64)>;

/// An [`Evaluation`] as stored: short keys, because there is one per order.
#[derive(Serialize, Deserialize)]
struct StoredEvaluation {
    currency: String,
    /// Coupon, template, discount, shares (line, discount).
    uses: Vec<(i64, i64, i64, StoredShares)>,
    /// Line, amount, discount.
    lines: Vec<(String, i64, i64)>,
}

/// Writes an evaluation.
pub(super) fn evaluation_json(evaluation: &Evaluation) -> Result<String, LedgerError> {
    let uses = evaluation.uses.iter().map(|used| {
        let shares =
            used.shares.iter().map(|share| (share.line_id.clone(), share.discount.get())).collect();
        (used.coupon.get(), used.template.get(), used.discount.get(), shares)
    });
    let lines = evaluation
        .lines
        .iter()
        .map(|line| (line.line_id.clone(), line.amount.get(), line.discount.get()));
    let stored = StoredEvaluation {
        currency: evaluation.currency.as_str().to_owned(),
        uses: uses.collect(),
        lines: lines.collect(),
    };
    serde_json::to_string(&stored).map_err(|error| LedgerError::Corrupt(error.to_string()))
}

fn evaluation(text: &str) -> Result<Evaluation, LedgerError> {
    let stored: StoredEvaluation = json(text)?;
    let uses = stored.uses.into_iter().map(|(coupon, template, discount, shares)| {
        Ok(CouponUse {
            coupon: coupon_id(coupon)?,
            template: TemplateId::new(template).map_err(|_| corrupt("template id", template))?,
            discount: Minor::new(discount),
            shares: shares
                .into_iter()
                .map(|(line_id, discount)| LineShare { line_id, discount: Minor::new(discount) })
                .collect(),
        })
    });
    let lines = stored.lines.into_iter().map(|(line_id, amount, discount)| LineDiscount {
        line_id,
        amount: Minor::new(amount),
        discount: Minor::new(discount),
    });
    Ok(Evaluation {
        currency: Currency::parse(&stored.currency)
            .map_err(|error| LedgerError::Corrupt(error.to_string()))?,
        uses: uses.collect::<Result<_, LedgerError>>()?,
        lines: lines.collect(),
    })
}

/// Writes the requests that locked an order.
pub(super) fn locks_json(locks: &[RequestMark]) -> Result<String, LedgerError> {
    let stored: Vec<(&str, i64)> =
        locks.iter().map(|mark| (mark.request_id.as_str(), mark.fingerprint.to_stored())).collect();
    serde_json::to_string(&stored).map_err(|error| LedgerError::Corrupt(error.to_string()))
}

fn locks(text: &str) -> Result<Vec<RequestMark>, LedgerError> {
    let stored: Vec<(String, i64)> = json(text)?;
    let mark = |(request_id, fingerprint)| RequestMark {
        request_id,
        fingerprint: Fingerprint::from_stored(fingerprint),
    };
    Ok(stored.into_iter().map(mark).collect())
}

/// Writes what a refund did: coupon, result, reissued, valid until.
pub(super) fn refund_json(coupons: &[RestoredCoupon]) -> Result<String, LedgerError> {
    let stored: Vec<(i64, i32, Option<i64>, Option<i64>)> = coupons
        .iter()
        .map(|restored| {
            (
                restored.coupon.get(),
                restored.result.to_stored(),
                restored.reissued.map(CouponId::get),
                restored.valid_until.map(Timestamp::as_millis),
            )
        })
        .collect();
    serde_json::to_string(&stored).map_err(|error| LedgerError::Corrupt(error.to_string()))
}

/// Reads redemption id, request id and the refund's JSON.
pub(super) fn refund(row: &QueryResult) -> Result<Refund, LedgerError> {
    let stored: Vec<(i64, i32, Option<i64>, Option<i64>)> = json(&get::<String>(row, 2)?)?;
    let coupons = stored.into_iter().map(|(coupon, result, reissued, valid_until)| {
        Ok(RestoredCoupon {
            coupon: coupon_id(coupon)?,
            result: RestoreResult::from_stored(result)
                .ok_or_else(|| corrupt("restore result", result))?,
            reissued: reissued.map(coupon_id).transpose()?,
            valid_until: valid_until.map(Timestamp::from_millis),
        })
    });
    Ok(Refund {
        redemption: redemption_id(get(row, 0)?)?,
        request_id: get(row, 1)?,
        coupons: coupons.collect::<Result<_, LedgerError>>()?,
    })
}

fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, LedgerError> {
    serde_json::from_str(text).map_err(|error| LedgerError::Corrupt(error.to_string()))
}
