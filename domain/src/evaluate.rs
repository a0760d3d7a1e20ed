//! What coupons take off a cart: one evaluator, shared by Quote and Lock (R28, R47, R60).
//!
//! A coupon applies to its eligible lines: those in its scope that are not excluded and, if its rules
//! say so, the shipping charge. Coupons used together apply one after the other, narrowest scope
//! first, then by template, then by coupon, each to what the earlier ones left of its eligible lines.
//! Its threshold is compared with their amounts before any coupon, or with what is left of them,
//! whichever its rules say. A fixed amount is capped at what is left; a percentage takes its share of
//! what is left, rounded down (the payable part is rounded up), then its cap. No coupon takes so much
//! that the whole order pays less than the highest `min_payable` of those applied so far. A discount
//! is split over the eligible lines in proportion to what is left of them: largest remainder, ties to
//! the earlier line, the shipping charge last.

mod apply;
mod basket;
mod search;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

pub use self::apply::Usable;
use self::{
    apply::{apply, in_order_applied},
    basket::Basket,
};
use crate::{
    CouponFault, Refusal, Rejection,
    cart::Cart,
    ids::{CouponId, TemplateId},
    money::{Currency, Minor},
    rules::{Rules, Stacking},
    time::Timestamp,
};

/// A coupon considered for a cart.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Which.
    pub coupon: CouponId,
    /// Its template.
    pub template: TemplateId,
    /// Until when it is valid. Decides nothing but which coupon of a template the best combination
    /// takes: the one that expires first.
    pub valid_until: Timestamp,
    /// The rules it pins, the same for every coupon of the template.
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
    /// The part taken off the shipping charge.
    pub shipping: Minor,
    /// The places of its eligible lines in the cart, for rules that claw back at refunds; otherwise
    /// empty.
    pub eligible: Vec<usize>,
}

/// A line after coupons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineDiscount {
    /// Of the cart line.
    pub line_id: String,
    /// Pieces.
    pub quantity: i64,
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

/// The shipping charge after coupons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShippingDiscount {
    /// Before coupons.
    pub amount: Minor,
    /// Taken off by all coupons together, at most `amount`.
    pub discount: Minor,
}

impl ShippingDiscount {
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
    /// The shipping charge.
    pub shipping: ShippingDiscount,
}

impl Evaluation {
    /// Sum of all discounts.
    pub fn discount(&self) -> Minor {
        self.uses.iter().map(|used| used.discount).sum()
    }

    /// What is left to pay, shipping included.
    pub fn payable(&self) -> Minor {
        self.lines.iter().map(LineDiscount::payable).sum::<Minor>().plus(self.shipping.payable())
    }
}

/// The best combination found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Best {
    /// What it makes of the cart.
    pub evaluation: Evaluation,
    /// True only when it is proven that no legal combination saves more.
    pub optimal: bool,
}

/// How far the search for the best combination goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchLimits {
    /// Steps, some 30 ns each: looking at a coupon is one, taking it off six lines is nine. Once they are
    /// used up the best combination known by then is answered, as one that is not proven.
    pub effort: usize,
    /// Coupons that one order may use.
    pub coupons_max: usize,
}

/// A cart made ready to judge many coupons.
#[derive(Debug)]
pub struct Evaluator<'c> {
    basket: Basket<'c>,
}

impl<'c> Evaluator<'c> {
    /// Looks at the cart once.
    pub fn new(cart: &'c Cart) -> Self {
        Self { basket: Basket::new(cart) }
    }

    /// Judges one coupon alone.
    ///
    /// # Errors
    /// The first that applies of `CurrencyMismatch`, `OutOfScope`, `BelowThreshold` (with what is
    /// missing), `NothingLeft` (it would take off nothing).
    pub fn judge<'a>(&self, candidate: &Candidate<'a>) -> Result<Usable<'a>, CouponFault> {
        Usable::of(candidate, &self.basket)
    }

    /// Exactly these coupons, distinct, together. None at all is the cart as it is.
    ///
    /// # Errors
    /// Every failing coupon in the order given: what [`Self::judge`] finds, and else what
    /// [`Self::together`] does.
    pub fn combine(&self, candidates: &[Candidate<'_>]) -> Result<Evaluation, Refusal> {
        let judged = candidates.iter().map(|candidate| self.judge(candidate));
        let (usable, faults): (Vec<_>, Vec<_>) = judged
            .enumerate()
            .map(|(index, judged)| match judged {
                Err(fault) => (None, Some(fault)),
                Ok(one) => (Some(one), clash(candidates, index)),
            })
            .unzip();
        match Refusal::of(faults.into_iter().flatten().collect()) {
            Some(refusal) => Err(refusal),
            None => self.apply(&usable.into_iter().flatten().collect::<Vec<_>>()),
        }
    }

    /// Exactly these coupons, distinct and judged for this cart, together.
    ///
    /// # Errors
    /// Every failing coupon in the order given: `CouponMutex` for each that may not be together with
    /// another one, `TooManyOfTemplate` for each beyond its template's limit. If there is none of
    /// those, `BelowThreshold` for those that the earlier ones push below their threshold, and
    /// `NothingLeft` for those to which they leave nothing.
    pub fn together(&self, usable: &[Usable<'_>]) -> Result<Evaluation, Refusal> {
        let candidates: Vec<Candidate<'_>> = usable.iter().map(|one| one.candidate).collect();
        let faults = (0..candidates.len()).filter_map(|index| clash(&candidates, index));
        match Refusal::of(faults.collect()) {
            Some(refusal) => Err(refusal),
            None => self.apply(usable),
        }
    }

    fn apply(&self, usable: &[Usable<'_>]) -> Result<Evaluation, Refusal> {
        let (evaluation, mut faults) = apply(&in_order_applied(usable), &self.basket);
        let asked = |fault: &CouponFault| {
            usable.iter().position(|one| one.candidate.coupon == fault.coupon)
        };
        faults.sort_by_key(asked);
        match Refusal::of(faults) {
            Some(refusal) => Err(refusal),
            None => Ok(evaluation),
        }
    }

    /// The best legal combination of these distinct coupons; those that fail [`Self::judge`] are
    /// skipped. `None` when no coupon is usable.
    pub fn best(&self, candidates: &[Candidate<'_>], limits: SearchLimits) -> Option<Best> {
        let mut judgements: HashMap<TemplateId, Option<Usable<'_>>> = HashMap::new();
        let mut usable = Vec::with_capacity(candidates.len());
        for one in candidates {
            let judged = judgements.entry(one.template).or_insert_with(|| self.judge(one).ok());
            usable.extend(judged.as_ref().map(|judged| judged.copy(one.coupon, one.valid_until)));
        }
        self.best_of(&usable, limits)
    }

    /// The best legal combination of these distinct coupons, judged for this cart. It is a single coupon
    /// where that saves as much as several, and spends none without which the rest saves as much, as far
    /// as an effort that is plenty for some dozens shows. `None` when there is no coupon.
    pub fn best_of(&self, usable: &[Usable<'_>], limits: SearchLimits) -> Option<Best> {
        let (chosen, optimal) = search::best(usable, &self.basket, limits)?;
        let (evaluation, _) = apply(&chosen, &self.basket);
        Some(Best { evaluation, optimal })
    }
}

/// Why the coupon at `index` may not be with the others, if so.
fn clash(candidates: &[Candidate<'_>], index: usize) -> Option<CouponFault> {
    let one = &candidates[index];
    let mut others = candidates.iter().enumerate().filter(|(other, _)| *other != index);
    let mutex = match &one.rules.stacking {
        Stacking::Exclusive => candidates.len() > 1,
        Stacking::OneOf(_) => others.any(|(_, other)| other.rules.stacking == one.rules.stacking),
        Stacking::Stackable => false,
    };
    if mutex {
        return Some(fault(one.coupon, Rejection::CouponMutex));
    }
    let limit = one.rules.per_order_limit?;
    let earlier = candidates[..index].iter().filter(|other| other.template == one.template).count();
    (earlier >= usize::try_from(limit).unwrap_or(usize::MAX))
        .then(|| fault(one.coupon, Rejection::TooManyOfTemplate))
}

fn fault(coupon: CouponId, reason: Rejection) -> CouponFault {
    CouponFault { coupon, reason, missing: Minor::ZERO }
}
