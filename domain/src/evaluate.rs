//! What coupons take off a cart: one evaluator, shared by Quote and Lock.
//!
//! A coupon applies to its eligible lines, those in its scope. Its threshold is compared with their
//! amounts before any coupon. Coupons used together apply one after the other, narrowest scope first
//! and then by coupon id, each to what the earlier ones left of its eligible lines. A fixed amount is
//! capped at what is left; a percentage takes its share of what is left, rounded down (the payable
//! part is rounded up), then its cap. A discount is split over the eligible lines in proportion to
//! what is left of them: largest remainder, ties to the earlier line.

mod apply;
mod search;
#[cfg(test)]
mod tests;

use crate::{
    CouponFault, Refusal, Rejection,
    cart::Cart,
    evaluate::apply::{Usable, apply, in_order_applied},
    ids::{CouponId, TemplateId},
    money::{Currency, Minor},
    template::{Rules, Stacking},
};

/// A coupon considered for a cart.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Which.
    pub coupon: CouponId,
    /// Its template.
    pub template: TemplateId,
    /// The rules it pins.
    pub rules: &'a Rules,
}

/// A coupon's share on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineShare {
    /// Of the cart line.
    pub line_id: String,
    /// Above zero.
    pub discount: Minor,
}

/// A coupon's part in a combination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CouponUse {
    /// Which.
    pub coupon: CouponId,
    /// Its template.
    pub template: TemplateId,
    /// What it takes off in this combination, above zero.
    pub discount: Minor,
    /// How that is split, in cart order; shares of zero are left out.
    pub shares: Vec<LineShare>,
}

/// A line after coupons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineDiscount {
    /// Of the cart line.
    pub line_id: String,
    /// Before coupons.
    pub amount: Minor,
    /// Taken off by all coupons together, at most `amount`.
    pub discount: Minor,
}

impl LineDiscount {
    /// Left to pay.
    pub fn payable(&self) -> Minor {
        self.amount.less(self.discount)
    }
}

/// A cart after a combination of coupons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    /// Of every amount.
    pub currency: Currency,
    /// The coupons, in the order applied.
    pub uses: Vec<CouponUse>,
    /// Every line of the cart, in its order.
    pub lines: Vec<LineDiscount>,
}

impl Evaluation {
    /// Sum of all discounts.
    pub fn discount(&self) -> Minor {
        self.uses.iter().map(|used| used.discount).sum()
    }

    /// What is left to pay.
    pub fn payable(&self) -> Minor {
        self.lines.iter().map(LineDiscount::payable).sum()
    }
}

/// What one coupon alone takes off, above zero.
///
/// # Errors
/// The first that applies of `CurrencyMismatch`, `OutOfScope`, `BelowThreshold` (with what is
/// missing), `NothingLeft` (it would take off nothing).
pub fn judge(candidate: &Candidate<'_>, cart: &Cart) -> Result<Minor, CouponFault> {
    Usable::of(candidate, cart).map(|usable| usable.alone)
}

/// Exactly these coupons, distinct, together. None at all is the cart as it is.
///
/// # Errors
/// Every failing coupon in the order given: what [`judge`] finds, and `CouponMutex` for each that
/// must be alone and is not. If none fails by itself, `NothingLeft` for those to which the earlier
/// ones leave nothing.
pub fn combine(candidates: &[Candidate<'_>], cart: &Cart) -> Result<Evaluation, Refusal> {
    let mut usable = Vec::with_capacity(candidates.len());
    let mut faults = Vec::new();
    for candidate in candidates {
        match Usable::of(candidate, cart) {
            Err(fault) => faults.push(fault),
            Ok(_) if candidates.len() > 1 && candidate.rules.stacking == Stacking::Mutex => {
                faults.push(fault(candidate.coupon, Rejection::CouponMutex));
            }
            Ok(one) => usable.push(one),
        }
    }
    if let Some(refusal) = Refusal::of(faults) {
        return Err(refusal);
    }
    let evaluation = apply(&in_order_applied(&usable), cart);
    let starved = |coupon| {
        let used = evaluation.uses.iter().find(|used| used.coupon == coupon);
        used.is_none_or(|used| used.discount == Minor::ZERO)
    };
    let coupons = candidates.iter().map(|candidate| candidate.coupon);
    let faults = coupons.filter(|coupon| starved(*coupon));
    match Refusal::of(faults.map(|coupon| fault(coupon, Rejection::NothingLeft)).collect()) {
        Some(refusal) => Err(refusal),
        None => Ok(evaluation),
    }
}

/// The best combination found among these distinct coupons; those that fail [`judge`] are skipped.
/// The flag is true only when it is proven that no legal combination of them saves more. `None` when
/// none is usable.
pub fn best(candidates: &[Candidate<'_>], cart: &Cart) -> Option<(Evaluation, bool)> {
    let usable: Vec<Usable<'_>> =
        candidates.iter().filter_map(|candidate| Usable::of(candidate, cart).ok()).collect();
    let (chosen, optimal) = search::best(&usable, cart)?;
    Some((apply(&chosen, cart), optimal))
}

fn fault(coupon: CouponId, reason: Rejection) -> CouponFault {
    CouponFault { coupon, reason, missing: Minor::ZERO }
}
