//! What an order was made of, as stored: its evaluation, what was refunded of it, and by whose hand it
//! was closed. Short forms, because there is one per order; what is seldom there may be missing.

use coupon_domain::{
    evaluate::{CouponUse, Evaluation, LineDiscount, LineShare, ShippingDiscount},
    ids::{CouponId, TemplateId},
    money::{Currency, Minor},
    redemption::{Forced, Redemption, RedemptionState, RefundProgress},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use super::{corrupt, coupon_id, from_json, to_json};
use crate::ledger::LedgerError;

/// Line and discount.
type StoredShares = Vec<(String, i64)>;

#[derive(Serialize, Deserialize)]
struct Stored {
    currency: String,
    uses: Vec<StoredUse>,
    lines: Vec<StoredLine>,
    /// Amount and discount of the shipping charge.
    #[serde(default, skip_serializing_if = "is_default")]
    shipping: (i64, i64),
    #[serde(default, skip_serializing_if = "is_default")]
    refunded: StoredRefunded,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    forced: Option<StoredForced>,
}

/// Coupon, template, discount, shares, share of the shipping charge, eligible lines.
#[derive(Serialize, Deserialize)]
struct StoredUse(i64, i64, i64, StoredShares, #[serde(default)] i64, #[serde(default)] Vec<usize>);

/// Line, amount, discount, pieces.
#[derive(Serialize, Deserialize)]
struct StoredLine(String, i64, i64, #[serde(default = "one")] i64);

#[derive(Serialize, Deserialize, Default, PartialEq)]
struct StoredRefunded {
    /// Pieces of every line.
    quantities: Vec<i64>,
    shipping: bool,
    amount: i64,
    /// Coupons whose fate is decided.
    coupons: Vec<i64>,
}

#[derive(Serialize, Deserialize)]
struct StoredForced {
    operator: String,
    reason: String,
    from: i32,
    at: i64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

const fn one() -> i64 {
    1
}

/// Writes it; nothing for an order that was never locked.
pub(super) fn write(redemption: &Redemption) -> Result<Option<String>, LedgerError> {
    let Some(evaluation) = &redemption.evaluation else { return Ok(None) };
    let refunded = &redemption.refunded;
    let stored = Stored {
        currency: evaluation.currency.as_str().to_owned(),
        uses: evaluation.uses.iter().map(stored_use).collect(),
        lines: evaluation.lines.iter().map(stored_line).collect(),
        shipping: (evaluation.shipping.amount.get(), evaluation.shipping.discount.get()),
        refunded: StoredRefunded {
            quantities: refunded.quantities.clone(),
            shipping: refunded.shipping,
            amount: refunded.amount.get(),
            coupons: refunded.coupons.iter().map(|coupon| coupon.get()).collect(),
        },
        forced: redemption.forced.as_ref().map(|forced| StoredForced {
            operator: forced.operator.clone(),
            reason: forced.reason.clone(),
            from: forced.from.to_stored(),
            at: forced.at.as_millis(),
        }),
    };
    to_json(&stored).map(Some)
}

fn stored_use(used: &CouponUse) -> StoredUse {
    let shares = used.shares.iter().map(|share| (share.line_id.clone(), share.discount.get()));
    StoredUse(
        used.coupon.get(),
        used.template.get(),
        used.discount.get(),
        shares.collect(),
        used.shipping.get(),
        used.eligible.clone(),
    )
}

fn stored_line(line: &LineDiscount) -> StoredLine {
    StoredLine(line.line_id.clone(), line.amount.get(), line.discount.get(), line.quantity)
}

/// Reads it.
pub(super) fn read(
    text: &str,
) -> Result<(Evaluation, RefundProgress, Option<Forced>), LedgerError> {
    let stored: Stored = from_json(text)?;
    let evaluation = Evaluation {
        currency: Currency::parse(&stored.currency)
            .map_err(|error| LedgerError::Corrupt(error.to_string()))?,
        uses: stored.uses.into_iter().map(coupon_use).collect::<Result<_, _>>()?,
        lines: stored.lines.into_iter().map(line_discount).collect(),
        shipping: ShippingDiscount {
            amount: Minor::new(stored.shipping.0),
            discount: Minor::new(stored.shipping.1),
        },
    };
    let StoredRefunded { quantities, shipping, amount, coupons } = stored.refunded;
    let coupons: Result<Vec<CouponId>, _> = coupons.into_iter().map(coupon_id).collect();
    let refunded =
        RefundProgress { quantities, shipping, amount: Minor::new(amount), coupons: coupons? };
    Ok((evaluation, refunded, stored.forced.map(forced).transpose()?))
}

fn coupon_use(stored: StoredUse) -> Result<CouponUse, LedgerError> {
    let StoredUse(coupon, template, discount, shares, shipping, eligible) = stored;
    let share = |(line_id, discount)| LineShare { line_id, discount: Minor::new(discount) };
    Ok(CouponUse {
        coupon: coupon_id(coupon)?,
        template: TemplateId::new(template).map_err(|_| corrupt("template id", template))?,
        discount: Minor::new(discount),
        shares: shares.into_iter().map(share).collect(),
        shipping: Minor::new(shipping),
        eligible,
    })
}

fn line_discount(StoredLine(line_id, amount, discount, quantity): StoredLine) -> LineDiscount {
    let (amount, discount) = (Minor::new(amount), Minor::new(discount));
    LineDiscount { line_id, quantity, amount, discount }
}

fn forced(stored: StoredForced) -> Result<Forced, LedgerError> {
    let StoredForced { operator, reason, from, at } = stored;
    let from = RedemptionState::from_stored(from).ok_or_else(|| corrupt("state", from))?;
    Ok(Forced { operator, reason, from, at: Timestamp::from_millis(at) })
}
