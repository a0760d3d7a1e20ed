//! The arithmetic of one coupon after the other.

use crate::{
    CouponFault, Rejection,
    cart::Cart,
    evaluate::{Candidate, CouponUse, Evaluation, LineDiscount, LineShare},
    ids::CouponId,
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

    /// Sorts coupons into the order in which they apply: narrowest scope first, then by id.
    pub(super) fn order_applied(&self) -> (u8, CouponId) {
        (self.candidate.rules.scope.breadth(), self.candidate.coupon)
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

/// The coupons in the order in which they apply.
pub(super) fn in_order_applied<'u, 'a>(usable: &'u [Usable<'a>]) -> Vec<&'u Usable<'a>> {
    let mut ordered: Vec<&Usable<'_>> = usable.iter().collect();
    ordered.sort_by_key(|one| one.order_applied());
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
    let mut shares = Vec::with_capacity(weights.len());
    let mut remainders = Vec::with_capacity(weights.len());
    for (index, weight) in weights.iter().enumerate() {
        let (share, remainder) = multiply_divide(amount.get(), weight.get(), total.get());
        shares.push(Minor::new(share));
        // Negated, so that the largest remainder sorts first and the earlier line wins a tie.
        remainders.push((-remainder, index));
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

/// Quotient and remainder of `a * b / divisor`, exact; 128 bits are slow and seldom needed.
fn multiply_divide(a: i64, b: i64, divisor: i64) -> (i64, i64) {
    if let Some(product) = a.checked_mul(b) {
        return (product / divisor, product % divisor);
    }
    let (product, divisor) = (i128::from(a) * i128::from(b), i128::from(divisor));
    let narrow = |wide| i64::try_from(wide).unwrap_or(i64::MAX);
    (narrow(product / divisor), narrow(product % divisor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(amount: i64, weights: &[i64]) -> Vec<i64> {
        let weights: Vec<Minor> = weights.iter().copied().map(Minor::new).collect();
        split(Minor::new(amount), &weights).into_iter().map(Minor::get).collect()
    }

    // R59: the split adds up to the cent; equal remainders go to the earlier line.
    #[test]
    fn a_split_gives_the_remainder_to_the_largest_and_then_the_earliest() {
        assert_eq!(shares(100, &[100, 100, 100]), [34, 33, 33]);
        assert_eq!(shares(200, &[100, 100, 100]), [67, 67, 66]);
        assert_eq!(shares(10, &[1, 2, 4]), [1, 3, 6]);
        assert_eq!(shares(1, &[1, 0, 1_000]), [0, 0, 1]);
        assert_eq!(shares(7, &[0, 7, 0]), [0, 7, 0]);
        assert_eq!(shares(0, &[3, 4]), [0, 0]);
        assert_eq!(shares(0, &[0, 0]), [0, 0]);
        assert_eq!(shares(5, &[]), [0; 0]);
    }

    #[test]
    fn a_split_of_the_largest_amounts_is_exact() {
        let most = crate::money::AMOUNT_MAX;
        let weights = [most; 500];
        let given = shares(most * 500 - 1, &weights);
        assert_eq!(given.iter().sum::<i64>(), most * 500 - 1);
        assert_eq!(given[499], most - 1);
        assert!(given[..499].iter().all(|share| *share == most));
    }

    // A rule that storage could only hold by mistake takes off nothing, or all there is.
    #[test]
    fn a_discount_stays_between_zero_and_what_is_left() {
        let left = Minor::new(100);
        let negative = Benefit::DirectOff { amount: Minor::new(-5) };
        assert_eq!(discount(&negative, left), Minor::ZERO);
        let threshold = Minor::ZERO;
        let free = Benefit::Percentage { pay_bps: -1, max_discount: None, threshold };
        assert_eq!(discount(&free, left), left);
        let dear = Benefit::Percentage { pay_bps: 10_001, max_discount: None, threshold };
        assert_eq!(discount(&dear, left), Minor::ZERO);
    }
}
