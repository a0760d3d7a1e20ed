//! Redemptions as rows.

use coupon_domain::{
    fingerprint::Fingerprint,
    redemption::{Redemption, RedemptionState, RequestMark},
    time::Timestamp,
};
use sea_orm::{QueryResult, Value};

use super::{corrupt, evaluation, from_json, get, optional_time, redemption_id, to_json, user_id};
use crate::ledger::LedgerError;

/// Columns of [`redemption`], in its order.
pub(in super::super) const REDEMPTION_COLUMNS: &str = "r.redemption_id, r.user_id, r.order_id, \
     r.state, r.evaluation, r.first_locked_at, r.locked_until, r.closed_at, r.locks, \
     r.close_request_id, r.close_fingerprint";

/// Reads [`REDEMPTION_COLUMNS`].
pub(in super::super) fn redemption(row: &QueryResult) -> Result<Redemption, LedgerError> {
    let state: i32 = get(row, 3)?;
    let close_id: Option<String> = get(row, 9)?;
    let close_fingerprint: Option<i64> = get(row, 10)?;
    let order = get::<Option<String>>(row, 4)?.map(|text| evaluation::read(&text)).transpose()?;
    let (evaluation, refunded, forced) = match order {
        Some((evaluation, refunded, forced)) => (Some(evaluation), refunded, forced),
        None => Default::default(),
    };
    Ok(Redemption {
        id: redemption_id(get(row, 0)?)?,
        user: user_id(row, 1)?,
        order: get(row, 2)?,
        state: RedemptionState::from_stored(state).ok_or_else(|| corrupt("state", state))?,
        evaluation,
        first_locked_at: optional_time(row, 5)?,
        locked_until: optional_time(row, 6)?,
        closed_at: optional_time(row, 7)?,
        locks: locks(&get::<String>(row, 8)?)?,
        close: close_id.zip(close_fingerprint).map(|(request_id, fingerprint)| RequestMark {
            request_id,
            fingerprint: Fingerprint::from_stored(fingerprint),
        }),
        refunded,
        forced,
    })
}

/// The columns of a redemption but its owner and order: id, state, evaluation, first locked at, locked
/// until, closed at, locks, closing request and its fingerprint.
pub(in super::super) fn redemption_values(
    redemption: &Redemption,
) -> Result<Vec<Value>, LedgerError> {
    Ok(vec![
        redemption.id.get().into(),
        redemption.state.to_stored().into(),
        evaluation::write(redemption)?.into(),
        redemption.first_locked_at.map(Timestamp::as_millis).into(),
        redemption.locked_until.map(Timestamp::as_millis).into(),
        redemption.closed_at.map(Timestamp::as_millis).into(),
        locks_json(&redemption.locks)?.into(),
        redemption.close.as_ref().map(|mark| mark.request_id.clone()).into(),
        redemption.close.as_ref().map(|mark| mark.fingerprint.to_stored()).into(),
    ])
}

/// Writes the requests that locked an order.
fn locks_json(locks: &[RequestMark]) -> Result<String, LedgerError> {
    let stored: Vec<(&str, i64)> =
        locks.iter().map(|mark| (mark.request_id.as_str(), mark.fingerprint.to_stored())).collect();
    to_json(&stored)
}

fn locks(text: &str) -> Result<Vec<RequestMark>, LedgerError> {
    let stored: Vec<(String, i64)> = from_json(text)?;
    let mark = |(request_id, fingerprint)| RequestMark {
        request_id,
        fingerprint: Fingerprint::from_stored(fingerprint),
    };
    Ok(stored.into_iter().map(mark).collect())
}
