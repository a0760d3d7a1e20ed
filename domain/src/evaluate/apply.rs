//! The arithmetic of one coupon after the other.

use crate::{
    CouponFault, Rejection,
    cart::Cart,
    evaluate::{Candidate, CouponUse, Evaluation, LineDiscount, LineShare},
    money::{Minor, WHOLE_BPS},
    template::Benefit,
};

/// A coupon that could be used for the cart, with what is worked out once.
#[derive(Debug, Clone)]
pub(super) struct Usable<'a> {
    pub(super) candidate: Candidate<'a>,
    /// Indices of the eligible lines, ascending, at least one.
    pub(super) lines: Vec<usize>,
    /// What it takes off alone, above zero; never less than in any combination.
    pub(super) alone: Minor,
}

impl<'a> Usable<'a> {
    /// Judges the coupon alone. See [`super::judge`] for the faults.
    pub(super) fn of(candidate: &Candidate<'a>, cart: &Cart) -> Result<Self, CouponFault> {
        let fault = |reason, missing| CouponFault { coupon: candidate.coupon, reason, missing };
        let rules = candidate.rules;
        if rules.currency != cart.currency {
            return Err(fault(Rejection::CurrencyMismatch, Minor::ZERO));
        }
        let covered = cart.lines.iter().enumerate().filter(|(_, line)| rules.scope.covers(line));
        let lines: Vec<usize> = covered.map(|(index, _)| index).collect();
        if lines.is_empty() {
            return Err(fault(Rejection::OutOfScope, Minor::ZERO));
        }
        let total: Minor = lines.iter().map(|index| cart.lines[*index].amount).sum();
        let missing = rules.benefit.threshold().less(total);
        if missing > Minor::ZERO {
            return Err(fault(Rejection::BelowThreshold, missing));
        }
        let alone = discount(&rules.benefit, total);
        if alone == Minor::ZERO {
            return Err(fault(Rejection::NothingLeft, Minor::ZERO));
        }
        Ok(Self { candidate: *candidate, lines, alone })
    }

    /// What it takes off when this is left of the cart's lines.
    pub(super) fn discount(&self, left: &[Minor]) -> Minor {
        let total = self.lines.iter().map(|index| left[*index]).sum();
        discount(&self.candidate.rules.benefit, total)
    }

    /// Takes its discount off what is left of the cart's lines; returns it and, when above zero, its
    /// shares in the order of `lines`.
    pub(super) fn take(&self, left: &mut [Minor]) -> (Minor, Vec<Minor>) {
        let amount = self.discount(left);
        if amount == Minor::ZERO {
            return (amount, Vec::new());
        }
        let weights: Vec<Minor> = self.lines.iter().map(|index| left[*index]).collect();
        let shares = split(amount, &weights);
        for (index, share) in self.lines.iter().zip(&shares) {
            left[*index] = left[*index].less(*share);
        }
        (amount, shares)
    }
}

/// The order in which coupons apply: narrowest scope first, then by id.
pub(super) fn in_order_applied<'u, 'a>(usable: &'u [Usable<'a>]) -> Vec<&'u Usable<'a>> {
    let mut ordered: Vec<&Usable<'_>> = usable.iter().collect();
    ordered.sort_by_key(|one| (one.candidate.rules.scope.breadth(), one.candidate.coupon));
    ordered
}

/// The cart after the coupons, which are in the order to apply.
pub(super) fn apply(ordered: &[&Usable<'_>], cart: &Cart) -> Evaluation {
    let mut left: Vec<Minor> = cart.lines.iter().map(|line| line.amount).collect();
    let uses = ordered.iter().map(|usable| {
        let (discount, shares) = usable.take(&mut left);
        let named = usable.lines.iter().zip(shares).filter(|(_, share)| *share > Minor::ZERO);
        CouponUse {
            coupon: usable.candidate.coupon,
            template: usable.candidate.template,
            discount,
            shares: named
                .map(|(index, discount)| LineShare {
                    line_id: cart.lines[*index].line_id.clone(),
                    discount,
                })
                .collect(),
        }
    });
    let uses = uses.collect();
    let lines = cart.lines.iter().zip(&left).map(|(line, left)| LineDiscount {
        line_id: line.line_id.clone(),
        amount: line.amount,
        discount: line.amount.less(*left),
    });
    Evaluation { currency: cart.currency, uses, lines: lines.collect() }
}

/// What a benefit takes off when `left` is left of its eligible lines: 0 to `left`.
pub(super) fn discount(benefit: &Benefit, left: Minor) -> Minor {
    let off = match *benefit {
        Benefit::ThresholdOff { amount, .. } | Benefit::DirectOff { amount } => amount,
        Benefit::Percentage { pay_bps, max_discount, .. } => {
            let off = left.scale(WHOLE_BPS - i64::from(pay_bps), WHOLE_BPS);
            max_discount.map_or(off, |most| off.min(most))
        }
    };
    off.min(left).max(Minor::ZERO)
}

/// Splits `amount` in proportion to `weights`, whose sum is at least `amount`: every share is
/// rounded down, then the largest remainders get one unit more, ties to the earlier. A share is
/// never above its weight, because a weight is whole and its exact share is not above it.
pub(super) fn split(amount: Minor, weights: &[Minor]) -> Vec<Minor> {
    let total: Minor = weights.iter().copied().sum();
    if total <= Minor::ZERO {
        return vec![Minor::ZERO; weights.len()];
    }
    let (units, whole) = (i128::from(amount.get()), i128::from(total.get()));
    let mut shares = Vec::with_capacity(weights.len());
    let mut remainders = Vec::with_capacity(weights.len());
    for (index, weight) in weights.iter().enumerate() {
        let exact = units * i128::from(weight.get());
        shares.push(weight.scale(amount.get(), total.get()));
        // Negated, so that the largest remainder sorts first and the earlier line wins a tie.
        remainders.push((-(exact % whole), index));
    }
    let given: Minor = shares.iter().copied().sum();
    let spare = usize::try_from(amount.less(given).get()).unwrap_or(0).min(weights.len());
    if spare > 0 {
        remainders.select_nth_unstable(spare - 1);
    }
    for (_, index) in &remainders[..spare] {
        shares[*index] = shares[*index].plus(Minor::new(1));
    }
    shares
}
