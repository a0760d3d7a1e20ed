//! Rows and the domain: the one place that knows column orders and stored JSON.

mod evaluation;
mod redemption;
mod refund;

use coupon_domain::{
    book::AlarmKind,
    coupon::{Coupon, CouponStatus},
    fingerprint::{Fingerprint, hash_request_id},
    ids::{CouponId, RedemptionId, TemplateId, UserId},
    time::Timestamp,
};
use sea_orm::{QueryResult, TryGetable};
use serde::{Serialize, de::DeserializeOwned};

pub(super) use self::{
    redemption::{REDEMPTION_COLUMNS, redemption, redemption_values},
    refund::{REFUND_COLUMNS, refund, refund_json},
};
use crate::ledger::{GivenCoupon, Holding, LedgerError};

/// Columns of [`coupon`], in its order.
pub(super) const COUPON_COLUMNS: &str = "c.coupon_id, c.user_id, c.template_id, \
     c.template_version, c.claim_no, c.status, c.source, c.claimed_at, c.valid_until, \
     c.redemption_id, c.locked_until, c.used_at, c.reissue_of";

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

fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, LedgerError> {
    serde_json::from_str(text).map_err(|error| LedgerError::Corrupt(error.to_string()))
}

fn to_json(value: &impl Serialize) -> Result<String, LedgerError> {
    serde_json::to_string(value).map_err(|error| LedgerError::Corrupt(error.to_string()))
}
