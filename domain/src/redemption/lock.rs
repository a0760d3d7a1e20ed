//! Lock: the Try of TCC.

use std::time::Duration;

use super::{Redemption, RedemptionState, RefundProgress, RequestMark, Templates, lapse, lock_end};
use crate::{
    CouponFault, Refusal, Rejection,
    book::{AlarmKind, Book, OperationKind},
    cart::Cart,
    coupon::CouponStatus,
    evaluate::{Candidate, Evaluation, Evaluator},
    ids::{CouponId, RedemptionId, UserId},
    money::Minor,
    time::Timestamp,
};

/// Locks coupons for an order.
#[derive(Debug, Clone)]
pub struct LockCommand {
    /// Buyer.
    pub user: UserId,
    /// Which order.
    pub order: String,
    /// Id and body of the request.
    pub request: RequestMark,
    /// At least one, distinct.
    pub coupons: Vec<CouponId>,
    /// What is being bought.
    pub cart: Cart,
    /// How long to hold them.
    pub ttl: Duration,
    /// The discount that was quoted, if the caller insists on it.
    pub expected_discount: Option<Minor>,
}

/// Limits of locking.
#[derive(Debug, Clone, Copy)]
pub struct LockLimits {
    /// No lock reaches further than this after the order's first.
    pub horizon: Duration,
    /// Request ids one order may be locked under.
    pub locks_max: usize,
}

/// Locks all the coupons or none. `fresh` becomes the redemption's id when the order has none yet.
///
/// A replayed request id changes nothing: it answers the redemption while that is LOCKED or
/// CONFIRMED, and otherwise refuses with what has become of it. A new id on a live lock renews it,
/// or replaces its set; on a lapsed one it locks again.
///
/// # Errors
/// A [`Refusal`] that names every failing coupon. Lapsed locks met on the way stay lapsed in the
/// book even then: that only lets the stored status catch up.
pub fn lock(
    book: &mut Book,
    command: &LockCommand,
    templates: &impl Templates,
    limits: LockLimits,
    fresh: RedemptionId,
    now: Timestamp,
) -> Result<Redemption, Refusal> {
    let found = book.redemption_of(command.user, &command.order).cloned();
    if let Some(redemption) = &found {
        if let Some(answer) = replay(redemption, command, now) {
            return answer;
        }
        admit_relock(redemption, limits)?;
    }
    free_lapsed(book, command, found.as_ref(), now);
    let evaluation = evaluate(book, command, templates, found.as_ref().map(|r| r.id), now)?;
    if command.expected_discount.is_some_and(|quoted| quoted != evaluation.discount()) {
        return Err(Rejection::QuoteChanged.into());
    }
    let first = found.as_ref().and_then(|r| r.first_locked_at).unwrap_or(now);
    let until = lock_end(now, command.ttl, first, limits.horizon);
    if until <= now {
        return Err(Rejection::LockLapsed.into());
    }
    let mut locks = found.as_ref().map(|r| r.locks.clone()).unwrap_or_default();
    locks.push(command.request.clone());
    let redemption = Redemption {
        id: found.as_ref().map_or(fresh, |r| r.id),
        user: command.user,
        order: command.order.clone(),
        state: RedemptionState::Locked,
        evaluation: Some(evaluation),
        first_locked_at: Some(first),
        locked_until: Some(until),
        closed_at: None,
        locks,
        close: None,
        refunded: RefundProgress::default(),
        forced: None,
    };
    hold(book, found.as_ref(), &redemption, until, now);
    book.put_redemption(redemption.clone());
    book.ring(AlarmKind::LockLapse, until);
    Ok(redemption)
}

/// The answer to a request id that has locked the order before.
fn replay(
    redemption: &Redemption,
    command: &LockCommand,
    now: Timestamp,
) -> Option<Result<Redemption, Refusal>> {
    let mark = redemption.locks.iter().find(|m| m.request_id == command.request.request_id)?;
    if mark.fingerprint != command.request.fingerprint {
        return Some(Err(Rejection::IdempotencyKeyReused.into()));
    }
    Some(match redemption.effective_state(now) {
        RedemptionState::Locked | RedemptionState::Confirmed => Ok(redemption.clone()),
        RedemptionState::Cancelled => Err(Rejection::OrderCancelled.into()),
        RedemptionState::Lapsed => Err(Rejection::LockLapsed.into()),
        RedemptionState::Restored => Err(Rejection::OrderRestored.into()),
    })
}

/// Whether an order that is known already may be locked under a new request id.
fn admit_relock(redemption: &Redemption, limits: LockLimits) -> Result<(), Refusal> {
    match redemption.state {
        RedemptionState::Confirmed => Err(Rejection::OrderConfirmed.into()),
        RedemptionState::Cancelled => Err(Rejection::OrderCancelled.into()),
        RedemptionState::Restored => Err(Rejection::OrderRestored.into()),
        RedemptionState::Locked | RedemptionState::Lapsed
            if redemption.locks.len() >= limits.locks_max =>
        {
            Err(Rejection::TooManyLocks.into())
        }
        RedemptionState::Locked | RedemptionState::Lapsed => Ok(()),
    }
}

/// Lapses the order's own lock and those of other orders on the wanted coupons, where their time is
/// over: each whole redemption with all its coupons.
fn free_lapsed(book: &mut Book, command: &LockCommand, own: Option<&Redemption>, now: Timestamp) {
    let holders = command.coupons.iter().filter_map(|id| {
        let coupon = book.coupon(*id).filter(|coupon| coupon.user == command.user)?;
        coupon.redemption.filter(|_| coupon.lock_has_lapsed(now))
    });
    let lapsed: Vec<RedemptionId> = holders.chain(own.map(|r| r.id)).collect();
    for id in lapsed {
        lapse(book, id, now);
    }
}

/// Judges every coupon by its state, then alone against the cart, then all of them together.
fn evaluate(
    book: &Book,
    command: &LockCommand,
    templates: &impl Templates,
    order: Option<RedemptionId>,
    now: Timestamp,
) -> Result<Evaluation, Refusal> {
    let evaluator = Evaluator::new(&command.cart);
    let mut faults = Vec::new();
    let mut usable = Vec::with_capacity(command.coupons.len());
    for id in &command.coupons {
        let owned = book.coupon(*id).filter(|coupon| coupon.user == command.user);
        let known = owned.and_then(|c| templates.template(c.template).map(|t| (c, t)));
        let Some((coupon, template)) = known else {
            let reason = Rejection::CouponNotFound;
            faults.push(CouponFault { coupon: *id, reason, missing: Minor::ZERO });
            continue;
        };
        let candidate = Candidate {
            coupon: *id,
            template: template.id,
            valid_until: coupon.valid_until,
            rules: &template.rules,
        };
        let use_from = template.use_from(coupon.claimed_at);
        if let Some(reason) = coupon.lock_rejection(order, use_from, now) {
            faults.push(CouponFault { coupon: *id, reason, missing: Minor::ZERO });
            continue;
        }
        match evaluator.judge(&candidate) {
            Ok(one) => usable.push(one),
            Err(fault) => faults.push(fault),
        }
    }
    match Refusal::of(faults) {
        Some(refusal) => Err(refusal),
        None => evaluator.together(&usable),
    }
}

/// Releases what the order held and no longer wants, and takes what it wants.
fn hold(
    book: &mut Book,
    before: Option<&Redemption>,
    redemption: &Redemption,
    until: Timestamp,
    now: Timestamp,
) {
    let wanted: Vec<CouponId> = redemption.coupons().collect();
    let held: Vec<CouponId> = before.into_iter().flat_map(Redemption::coupons).collect();
    for id in held.into_iter().filter(|id| !wanted.contains(id)) {
        book.release(id, redemption, OperationKind::Cancel, now);
    }
    for id in wanted {
        book.change_coupon(id, redemption, OperationKind::Lock, |coupon| {
            coupon.status = CouponStatus::Locked;
            coupon.redemption = Some(redemption.id);
            coupon.locked_until = Some(until);
        });
    }
}
