//! An order that is locked, confirmed, and given back part by part.

use std::time::Duration;

use coupon_domain::{
    Refusal, Rejection,
    book::Book,
    coupon::CouponStatus,
    evaluate::Evaluation,
    fingerprint::Fingerprinter,
    ids::{CouponId, RedemptionId, UserId},
    redemption::{
        CloseCommand, LockCommand, LockLimits, Redemption, RedemptionState, RefundOf,
        RefundProgress, RequestMark, RestoreCommand, RestoreResult, Restored, Templates as _,
        confirm, lock,
    },
    rules::{KeptDiscount, RestorePolicy},
    time::Timestamp,
};

use super::{Seen, Violation, combination::wide, equal, holds};
use crate::{
    Case, Subject,
    case::{HOUR, NOW, user},
};

/// Above every id that a case has.
const FRESH_FROM: i64 = 1 << 20;
const ORDER: &str = "order";
const TTL: Duration = Duration::from_secs(1_800);
const LIMITS: LockLimits = LockLimits { horizon: Duration::from_secs(86_400), locks_max: 8 };

pub(super) fn check(case: &Case, subject: &dyn Subject, seen: &mut Seen) -> Result<(), Violation> {
    let Some(user) = user() else { return Ok(()) };
    let mut order =
        Order { case, subject, user, book: Book::default(), at: NOW, fresh: FRESH_FROM };
    case.coupons.iter().for_each(|coupon| order.book.load_coupon(coupon.clone()));
    let wanted: Vec<CouponId> = case.wanted.iter().map(|place| case.coupons[*place].id).collect();
    let mut held = order.lock("wanted", wanted)?;
    if held.is_none() {
        // A buyer who is refused takes what is recommended.
        let best = subject.best(&case.candidates(), &case.cart, case.limits);
        let uses = best.into_iter().flat_map(|best| best.evaluation.uses);
        held = order.lock("best", uses.map(|used| used.coupon).collect())?;
    }
    let Some(evaluation) = held else { return Ok(()) };
    order.confirm(&evaluation)?;
    Refunds { order, evaluation }.check(seen)
}

fn mark(id: &str, number: i64) -> RequestMark {
    let fingerprint = Fingerprinter::new("fuzz").number(number).finish();
    RequestMark { request_id: id.to_owned(), fingerprint }
}

/// The order of a case.
struct Order<'c> {
    case: &'c Case,
    subject: &'c dyn Subject,
    user: UserId,
    book: Book,
    at: Timestamp,
    fresh: i64,
}

impl Order<'_> {
    /// Locks the coupons; what they take off, unless they are refused.
    fn lock(&mut self, id: &str, coupons: Vec<CouponId>) -> Result<Option<Evaluation>, Violation> {
        let Ok(fresh) = RedemptionId::new(FRESH_FROM) else { return Ok(None) };
        if coupons.is_empty() {
            return Ok(None);
        }
        let candidates = self.case.candidates();
        let asked = coupons.iter().filter_map(|id| candidates.iter().find(|c| c.coupon == *id));
        let asked: Vec<_> = asked.copied().collect();
        let combined = self.subject.combine(&asked, &self.case.cart);
        let command = LockCommand {
            user: self.user,
            order: ORDER.to_owned(),
            request: mark(id, 0),
            coupons,
            cart: self.case.cart.clone(),
            ttl: TTL,
            expected_discount: combined.as_ref().ok().map(Evaluation::discount),
        };
        let templates = &self.case.templates;
        let answer = lock(&mut self.book, &command, templates, LIMITS, fresh, self.at);
        let expected = combined.ok().filter(|_| self.in_time(&command.coupons));
        let got = answer.ok().and_then(|redemption| redemption.evaluation);
        equal("a lock holds what was quoted", &expected, &got)?;
        Ok(got)
    }

    /// Whether all the coupons may be used now.
    fn in_time(&self, coupons: &[CouponId]) -> bool {
        let held = coupons.iter().filter_map(|id| self.case.coupons.iter().find(|c| c.id == *id));
        held.into_iter().all(|coupon| {
            let template = self.case.templates.template(coupon.template);
            template.is_some_and(|t| t.use_from(coupon.claimed_at) <= self.at)
                && self.at < coupon.valid_until
        })
    }

    fn confirm(&mut self, evaluation: &Evaluation) -> Result<(), Violation> {
        let command = CloseCommand {
            user: self.user,
            order: ORDER.to_owned(),
            request: mark("confirm", 0),
            coupons: evaluation.uses.iter().map(|used| used.coupon).collect(),
        };
        let confirmed = confirm(&mut self.book, &command, self.at.plus(TTL / 2));
        let state = confirmed.map(|redemption| redemption.state);
        equal("a lock in time is confirmed", &Ok(RedemptionState::Confirmed), &state)
    }

    fn redemption(&self) -> Option<&Redemption> {
        self.book.redemption_of(self.user, ORDER)
    }

    fn restore(&mut self, number: i64, of: &RefundOf) -> Result<Restored, Refusal> {
        let request = mark(&format!("refund-{number}"), number);
        let order = ORDER.to_owned();
        let command = RestoreCommand { user: self.user, order, request, of: of.clone() };
        let fresh = &mut self.fresh;
        // Not reached: these numbers are positive.
        let spare = self.case.coupons[0].id;
        let mut mint = || {
            *fresh += 1;
            CouponId::new(*fresh).unwrap_or(spare)
        };
        let templates = &self.case.templates;
        self.subject.restore(&mut self.book, &command, templates, &mut mint, self.at)
    }
}

/// What becomes of a confirmed order.
struct Refunds<'c> {
    order: Order<'c>,
    evaluation: Evaluation,
}

impl Refunds<'_> {
    /// Refunds part by part, then all that is left.
    fn check(mut self, seen: &mut Seen) -> Result<(), Violation> {
        let mut before = RefundProgress::default();
        let everything = (0, RefundOf::Everything);
        for (number, (hours, of)) in (0..).zip(self.order.case.refunds.iter().chain([&everything]))
        {
            self.order.at = self.order.at.plus(HOUR * *hours);
            let state = self.order.redemption().map(|found| found.state);
            let answer = self.order.restore(number, of);
            let Ok(restored) = answer else {
                self.refused(state, of, &before, &answer)?;
                continue;
            };
            let repeated = self.order.restore(number, of);
            equal("a refund repeats", &Ok(restored.clone()), &repeated)?;
            if self.order.case.cart_is_checked {
                self.accounts(&before, &restored)?;
                self.fates(&before, &restored)?;
            }
            seen.refunds += 1;
            seen.clawed_back |= restored.amounts.clawed_back > 0;
            before = restored.redemption.refunded;
        }
        if !self.order.case.cart_is_checked {
            return Ok(());
        }
        let state = self.order.redemption().map(|found| found.state);
        equal("all is refunded", &Some(RedemptionState::Restored), &state)?;
        let paid = self.evaluation.payable();
        equal("refunds add up to the paid cent", &paid, &before.amount)?;
        let decided = self.evaluation.uses.iter().all(|u| before.coupons.contains(&u.coupon));
        let once = before.coupons.len() == self.evaluation.uses.len();
        holds(decided && once, "every coupon's fate is decided once", || {
            format!("{:?}", before.coupons)
        })
    }

    /// The refusal is the one that the refund deserves.
    fn refused(
        &self,
        state: Option<RedemptionState>,
        of: &RefundOf,
        before: &RefundProgress,
        answer: &Result<Restored, Refusal>,
    ) -> Result<(), Violation> {
        if !self.order.case.cart_is_checked {
            return Ok(());
        }
        let reason = answer.as_ref().err().map(|refusal| refusal.reason);
        let expected = if state == Some(RedemptionState::Restored) {
            Some(Rejection::OrderRestored)
        } else {
            self.deserved(of, before)
        };
        equal("a refund is refused for a reason", &expected, &reason)
    }

    /// The first part that cannot be refunded decides.
    fn deserved(&self, of: &RefundOf, before: &RefundProgress) -> Option<Rejection> {
        let RefundOf::Parts { lines, shipping } = of else { return None };
        for part in lines {
            let place = self.evaluation.lines.iter().position(|l| l.line_id == part.line_id);
            let Some(place) = place else { return Some(Rejection::LineNotFound) };
            if part.quantity > self.evaluation.lines[place].quantity - returned(before, place) {
                return Some(Rejection::RefundedAlready);
            }
        }
        (*shipping && before.shipping).then_some(Rejection::RefundedAlready)
    }

    /// The money of one refund, and of all so far.
    fn accounts(&self, before: &RefundProgress, restored: &Restored) -> Result<(), Violation> {
        let (after, amounts) = (&restored.redemption.refunded, &restored.amounts);
        let lines: i128 = amounts.lines.iter().map(|line| wide(line.amount)).sum();
        let parts = lines + wide(amounts.shipping) - i128::from(amounts.clawed_back);
        equal("a refund is its parts less what is kept back", &parts, &wide(amounts.amount))?;
        holds(wide(amounts.amount) >= 0, "a refund never asks for money", || {
            format!("{amounts:?}")
        })?;
        let sum = wide(before.amount) + wide(amounts.amount);
        equal("refunds are summed", &sum, &wide(after.amount))?;
        self.lines(before, restored)?;
        let paid = wide(self.evaluation.payable());
        holds(sum <= paid - self.kept(after), "what is kept is paid for", || {
            format!("{sum} of {paid}, {after:?}")
        })?;
        let list = self.kept_at_list_price(after);
        holds(paid - sum <= list, "what is kept costs the list price at most", || {
            format!("{} for {list}, {after:?}", paid - sum)
        })?;
        let keeps = |used: &coupon_domain::evaluate::CouponUse| {
            let template = self.order.case.templates.template(used.template);
            template.is_none_or(|t| t.rules.kept_discount == KeptDiscount::Keep)
        };
        let kept_back = self.evaluation.uses.iter().all(keeps) && amounts.clawed_back != 0;
        holds(!kept_back, "nothing is kept back unless the rules say so", || format!("{amounts:?}"))
    }

    /// Each line gives back the paid part of its pieces, rounded down, less what it gave before.
    fn lines(&self, before: &RefundProgress, restored: &Restored) -> Result<(), Violation> {
        let after = &restored.redemption.refunded;
        let mut given = restored.amounts.lines.iter();
        for (place, line) in self.evaluation.lines.iter().enumerate() {
            let (earlier, now) = (returned(before, place), returned(after, place));
            if now == earlier {
                continue;
            }
            let part =
                |pieces| wide(line.payable()) * i128::from(pieces) / i128::from(line.quantity);
            let expected = (&line.line_id, now - earlier, part(now) - part(earlier));
            let got = given.next().map(|line| (&line.line_id, line.quantity, wide(line.amount)));
            equal("a line gives back its pieces", &Some(expected), &got)?;
        }
        holds(given.next().is_none(), "no line gives back twice", || format!("{restored:?}"))
    }

    /// What was paid for the part that is kept, rounded up.
    fn kept(&self, progress: &RefundProgress) -> i128 {
        let shipping = if progress.shipping { 0 } else { wide(self.evaluation.shipping.payable()) };
        let lines = self.evaluation.lines.iter().enumerate();
        let kept = lines.map(|(place, line)| {
            part_kept(wide(line.payable()), line.quantity, returned(progress, place))
        });
        kept.sum::<i128>() + shipping
    }

    fn kept_at_list_price(&self, progress: &RefundProgress) -> i128 {
        let shipping = if progress.shipping { 0 } else { wide(self.evaluation.shipping.amount) };
        let lines = self.evaluation.lines.iter().enumerate();
        let kept = lines.map(|(place, line)| {
            part_kept(wide(line.amount), line.quantity, returned(progress, place))
        });
        kept.sum::<i128>() + shipping
    }

    /// A coupon whose fate is decided follows its policy, once.
    fn fates(&self, before: &RefundProgress, restored: &Restored) -> Result<(), Violation> {
        for fate in &restored.coupons {
            let new = !before.coupons.contains(&fate.coupon);
            holds(new, "a coupon's fate is decided once", || format!("{fate:?}"))?;
            let held = self.order.case.coupons.iter().find(|coupon| coupon.id == fate.coupon);
            let Some(held) = held else { continue };
            let Some(template) = self.order.case.templates.template(held.template) else {
                continue;
            };
            let expected = match template.rules.restore {
                RestorePolicy::Never => RestoreResult::KeptUsed,
                RestorePolicy::IfUnexpired if self.order.at >= held.valid_until => {
                    RestoreResult::KeptUsed
                }
                RestorePolicy::IfUnexpired | RestorePolicy::Extend { .. } => {
                    RestoreResult::GivenBack
                }
                RestorePolicy::Reissue { .. } => RestoreResult::Reissued,
            };
            equal("a coupon follows its policy", &expected, &fate.result)?;
            let status = match expected {
                RestoreResult::GivenBack => CouponStatus::Available,
                _ => CouponStatus::Used,
            };
            let stored = self.order.book.coupon(fate.coupon).map(|coupon| coupon.status);
            equal("a coupon is what its fate says", &Some(status), &stored)?;
            let fresh = fate.reissued.and_then(|id| self.order.book.coupon(id));
            let fresh = fresh.map(|coupon| (coupon.status, coupon.reissue_of));
            let reissued = expected == RestoreResult::Reissued;
            let expected = reissued.then_some((CouponStatus::Available, Some(fate.coupon)));
            equal("a reissued coupon replaces the used one", &expected, &fresh)?;
        }
        Ok(())
    }
}

fn returned(progress: &RefundProgress, place: usize) -> i64 {
    progress.quantities.get(place).copied().unwrap_or(0)
}

fn part_kept(amount: i128, quantity: i64, returned: i64) -> i128 {
    amount - amount * i128::from(returned) / i128::from(quantity)
}
