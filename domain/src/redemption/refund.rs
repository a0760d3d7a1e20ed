//! The money of partial refunds: it adds up to the paid cent, in whatever order the parts come (R59).
//!
//! A line that was bought as Q pieces for P (after coupons) has given back floor(P r / Q) once r
//! pieces are refunded. With rules that claw back, the discount that stays on what the buyer keeps is
//! cut to what the coupon allows for it, so keeping costs more. At any time the order may have given
//! back what was paid less what the kept part costs; a refund pays the difference to what has been
//! given back before, never less than nothing. When all is refunded nothing is kept, so the sum is
//! exactly what was paid.

use super::Templates;
use crate::{
    Rejection,
    evaluate::{CouponUse, Evaluation, LineDiscount},
    ids::CouponId,
    money::Minor,
    rules::{Benefit, KeptDiscount, Rules, ThresholdBase},
};

/// Pieces of one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineQuantity {
    /// Of the cart line.
    pub line_id: String,
    /// At least 1.
    pub quantity: i64,
}

/// What a refund is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefundOf {
    /// All that has not been refunded yet.
    Everything,
    /// Some pieces.
    Parts {
        /// Of distinct lines.
        lines: Vec<LineQuantity>,
        /// And the shipping charge.
        shipping: bool,
    },
}

/// What has been refunded of an order so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RefundProgress {
    /// Pieces of every line, in the order of the cart; empty = none of any.
    pub quantities: Vec<i64>,
    /// Whether the shipping charge is.
    pub shipping: bool,
    /// Money given back.
    pub amount: Minor,
    /// Coupons whose fate is decided.
    pub coupons: Vec<CouponId>,
}

/// What a refund gives back of one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundedLine {
    /// Of the cart line.
    pub line_id: String,
    /// Pieces.
    pub quantity: i64,
    /// What was paid for them.
    pub amount: Minor,
}

/// What one refund gives back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RefundAmounts {
    /// To be given back: the lines and the shipping charge, less what is clawed back.
    pub amount: Minor,
    /// The lines.
    pub lines: Vec<RefundedLine>,
    /// What was paid for the shipping charge.
    pub shipping: Minor,
    /// Kept back, in minor units, because the buyer keeps a discount that the rest no longer earns.
    /// Below zero when a later refund gives back what an earlier one kept.
    pub clawed_back: i64,
}

/// An order whose refund is being worked out.
pub(super) struct Purchase<'a, T> {
    pub(super) evaluation: &'a Evaluation,
    pub(super) templates: &'a T,
}

impl<T: Templates> Purchase<'_, T> {
    /// What the refund gives back, and how far the order is refunded after it.
    pub(super) fn refund(
        &self,
        of: &RefundOf,
        before: &RefundProgress,
    ) -> Result<(RefundAmounts, RefundProgress), Rejection> {
        let mut after = before.clone();
        after.quantities.resize(self.evaluation.lines.len(), 0);
        self.advance(of, &mut after)?;
        let refunded = |progress: &RefundProgress, index| quantity(progress, index);
        let lines = self.evaluation.lines.iter().enumerate().filter_map(|(index, line)| {
            let (earlier, now) = (refunded(before, index), refunded(&after, index));
            let amount = part(line.payable(), now, line.quantity).less(part(
                line.payable(),
                earlier,
                line.quantity,
            ));
            let line_id = line.line_id.clone();
            (now > earlier).then_some(RefundedLine { line_id, quantity: now - earlier, amount })
        });
        let lines: Vec<RefundedLine> = lines.collect();
        let newly_shipped = after.shipping && !before.shipping;
        let shipping = if newly_shipped { self.evaluation.shipping.payable() } else { Minor::ZERO };
        let paid = lines.iter().map(|line| line.amount).sum::<Minor>().plus(shipping);
        let due = self.evaluation.payable().less(self.kept_payable(&after));
        let amount = due.less(before.amount);
        after.amount = before.amount.plus(amount);
        let clawed_back = paid.get() - amount.get();
        Ok((RefundAmounts { amount, lines, shipping, clawed_back }, after))
    }

    fn advance(&self, of: &RefundOf, progress: &mut RefundProgress) -> Result<(), Rejection> {
        let lines = &self.evaluation.lines;
        let RefundOf::Parts { lines: parts, shipping } = of else {
            progress.quantities = lines.iter().map(|line| line.quantity).collect();
            progress.shipping = true;
            return Ok(());
        };
        for part in parts {
            let place = lines.iter().position(|line| line.line_id == part.line_id);
            let place = place.ok_or(Rejection::LineNotFound)?;
            let left = lines[place].quantity.saturating_sub(progress.quantities[place]);
            if !(1..=left).contains(&part.quantity) {
                return Err(Rejection::RefundedAlready);
            }
            progress.quantities[place] += part.quantity;
        }
        if *shipping && progress.shipping {
            return Err(Rejection::RefundedAlready);
        }
        progress.shipping |= shipping;
        Ok(())
    }

    /// Whether nothing is left to refund.
    pub(super) fn is_complete(&self, progress: &RefundProgress) -> bool {
        let mut lines = self.evaluation.lines.iter().enumerate();
        lines.all(|(index, line)| quantity(progress, index) >= line.quantity)
            && (progress.shipping || self.kept_payable(progress) == Minor::ZERO)
    }

    /// Whether the buyer keeps nothing of the coupon's discount: all that it discounted is returned,
    /// or what is kept no longer earns it and all of it could be kept back.
    pub(super) fn is_given_up(&self, used: &CouponUse, progress: &RefundProgress) -> bool {
        let returned = used.shares.iter().all(|share| {
            let place = self.evaluation.lines.iter().position(|l| l.line_id == share.line_id);
            place.is_none_or(|at| quantity(progress, at) >= self.evaluation.lines[at].quantity)
        });
        if returned && (progress.shipping || used.shipping == Minor::ZERO) {
            return true;
        }
        let costs = self.kept_payable(progress).plus(progress.amount);
        let covered = costs <= self.evaluation.payable();
        covered
            && self.claws_back(used).is_some_and(|rules| {
                self.kept_base(used, rules, progress) < rules.benefit.threshold()
            })
    }

    /// What the kept part of the order costs.
    fn kept_payable(&self, progress: &RefundProgress) -> Minor {
        let lines = self.evaluation.lines.iter().enumerate();
        let lines: Minor = lines.map(|(at, line)| kept(line.payable(), line, progress, at)).sum();
        let shipping =
            if progress.shipping { Minor::ZERO } else { self.evaluation.shipping.payable() };
        let clawed: Minor = self.evaluation.uses.iter().map(|c| self.clawed(c, progress)).sum();
        lines.plus(shipping).plus(clawed)
    }

    /// How much of the discount on what is kept the coupon does not allow any more.
    fn clawed(&self, used: &CouponUse, progress: &RefundProgress) -> Minor {
        let Some(rules) = self.claws_back(used) else { return Minor::ZERO };
        let share = |(at, line): (usize, &LineDiscount)| {
            let share = used.shares.iter().find(|share| share.line_id == line.line_id)?;
            Some(part(share.discount, line.quantity - quantity(progress, at), line.quantity))
        };
        let lines: Minor = self.evaluation.lines.iter().enumerate().filter_map(share).sum();
        let shipping = if progress.shipping { Minor::ZERO } else { used.shipping };
        let discount = lines.plus(shipping);
        let base = self.kept_base(used, rules, progress);
        discount.less(allowed(&rules.benefit, base, discount))
    }

    fn claws_back(&self, used: &CouponUse) -> Option<&Rules> {
        let rules = self.templates.template(used.template)?.rules.as_ref();
        (rules.kept_discount == KeptDiscount::ClawBack).then_some(rules)
    }

    /// What the coupon's threshold is compared with, of what is kept.
    fn kept_base(&self, used: &CouponUse, rules: &Rules, progress: &RefundProgress) -> Minor {
        let uses = &self.evaluation.uses;
        let earlier = match rules.threshold_base {
            ThresholdBase::BeforeCoupons => 0,
            ThresholdBase::AfterEarlierCoupons => {
                uses.iter().position(|one| one.coupon == used.coupon).unwrap_or(0)
            }
        };
        let earlier = &uses[..earlier];
        let amount = |place: &usize| {
            let line = self.evaluation.lines.get(*place)?;
            let shares = earlier.iter().flat_map(|one| &one.shares);
            let gone = shares.filter(|s| s.line_id == line.line_id).map(|s| s.discount).sum();
            Some(kept(line.amount.less(gone), line, progress, *place))
        };
        let lines: Minor = used.eligible.iter().filter_map(amount).sum();
        if !rules.with_shipping || progress.shipping {
            return lines;
        }
        let gone = earlier.iter().map(|one| one.shipping).sum();
        lines.plus(self.evaluation.shipping.amount.less(gone))
    }
}

/// What of a discount a coupon allows when its threshold is compared with `base`.
fn allowed(benefit: &Benefit, base: Minor, discount: Minor) -> Minor {
    if base < benefit.threshold() {
        return Minor::ZERO;
    }
    match benefit {
        Benefit::ThresholdOff { every: true, .. } => discount.min(benefit.off(base, base)),
        _ => discount,
    }
}

fn quantity(progress: &RefundProgress, place: usize) -> i64 {
    progress.quantities.get(place).copied().unwrap_or(0)
}

/// The part of an amount that belongs to some of its pieces, rounded down.
fn part(amount: Minor, pieces: i64, of: i64) -> Minor {
    amount.scale(pieces, of)
}

/// The part of a line's amount that is not refunded.
fn kept(amount: Minor, line: &LineDiscount, progress: &RefundProgress, place: usize) -> Minor {
    amount.less(part(amount, quantity(progress, place), line.quantity))
}
