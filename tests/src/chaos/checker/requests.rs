//! Each request by itself: one outcome, told again and again, and never left open.

use std::{collections::HashMap, time::Duration};

use coupon_client::v1::ErrorReason;

use super::{Rule, Verdict};
use crate::chaos::log::{Op, Outcome, Verb};

/// What an idempotency key is unique in.
#[derive(PartialEq, Eq, Hash)]
struct Key<'a> {
    verb: Verb,
    user: i64,
    template: i64,
    order: &'a str,
    request_id: &'a str,
}

impl<'a> Key<'a> {
    fn of(op: &'a Op) -> Self {
        let template = if op.verb.gives() { op.template } else { 0 };
        let (order, request_id) = (op.order.as_str(), op.request_id.as_str());
        Self { verb: op.verb, user: op.user, template, order, request_id }
    }
}

pub(super) fn check(ops: &[Op], verdict: &mut Verdict) {
    let mut requests: HashMap<Key<'_>, Vec<&Op>> = HashMap::new();
    for op in ops {
        requests.entry(Key::of(op)).or_default().push(op);
    }
    verdict.requests = u64::try_from(requests.len()).unwrap_or(u64::MAX);
    for attempts in requests.values() {
        settled(attempts, verdict);
        one_outcome(attempts, verdict);
        for op in attempts {
            if let Outcome::Lost(reason) = op.outcome
                && !may_refuse(op.verb, reason)
            {
                verdict.add(Rule::Defect, format!("{} was answered {reason:?}", name(op)));
            }
        }
    }
}

/// Whether the load gives a reason to refuse so: its templates are published, open to all and last
/// longer than it, its carts suit its coupons, and its orders come to their users' own coupons.
fn may_refuse(verb: Verb, reason: ErrorReason) -> bool {
    use ErrorReason::{
        CouponLocked, CouponUsed, IdempotencyKeyReused, LimitReached, LockLapsed, OrderCancelled,
        OrderConfirmed, OrderRestored, SoldOut,
    };
    match verb {
        Verb::Claim | Verb::Issue => {
            matches!(reason, SoldOut | LimitReached | IdempotencyKeyReused)
        }
        Verb::Lock => matches!(
            reason,
            OrderCancelled
                | OrderConfirmed
                | OrderRestored
                | LockLapsed
                | CouponLocked
                | CouponUsed
        ),
        Verb::Confirm => matches!(reason, OrderCancelled | OrderRestored | LockLapsed),
        Verb::Cancel => matches!(reason, OrderConfirmed | OrderRestored),
        Verb::Restore => false,
    }
}

/// `claim "r1" of user 7, template 3`.
pub(super) fn name(op: &Op) -> String {
    let of = if op.verb.gives() {
        format!("template {}", op.template)
    } else {
        format!("order {:?}", op.order)
    };
    format!("{:?} {:?} of user {}, {of}, on node {}", op.verb, op.request_id, op.user, op.node)
}

/// Every body that was sent has a definite answer, sometime.
fn settled(attempts: &[&Op], verdict: &mut Verdict) {
    let mut bodies: HashMap<u64, Option<Duration>> = HashMap::new();
    let mut by_end: Vec<&&Op> = attempts.iter().collect();
    by_end.sort_by_key(|op| op.end);
    for op in by_end {
        let open = bodies.entry(op.body).or_default();
        if op.outcome.is_definite() {
            if let Some(since) = open.take() {
                verdict.settled_within = verdict.settled_within.max(op.end.saturating_sub(since));
            }
        } else if op.outcome == Outcome::Unknown {
            open.get_or_insert(op.end);
        }
    }
    let Some(first) = attempts.first() else { return };
    for body in bodies.keys() {
        let answered = attempts.iter().any(|op| op.body == *body && op.outcome.is_definite());
        if !answered {
            verdict.add(Rule::Settled, format!("{} was never answered definitely", name(first)));
        }
    }
}

fn one_outcome(attempts: &[&Op], verdict: &mut Verdict) {
    let mut bodies: HashMap<u64, ()> = HashMap::new();
    let mut first: Option<&Op> = None;
    for op in attempts {
        bodies.insert(op.body, ());
        if op.outcome.is_done() && first.is_none_or(|first| op.end < first.end) {
            first = Some(op);
        }
    }
    let Some(first) = first else {
        let reused = Outcome::Lost(ErrorReason::IdempotencyKeyReused);
        if let (1, Some(op)) = (bodies.len(), attempts.iter().find(|op| op.outcome == reused)) {
            verdict.add(Rule::OneOutcome, format!("{} is told reused and was not", name(op)));
        }
        return;
    };
    for op in attempts {
        same_outcome(first, op, verdict);
    }
}

/// `op` against the first success of its request.
fn same_outcome(first: &Op, op: &Op, verdict: &mut Verdict) {
    let later = op.start > first.end;
    if op.body != first.body {
        match &op.outcome {
            outcome if outcome.is_done() => {
                verdict.add(Rule::OneOutcome, format!("{} succeeded with two bodies", name(op)));
            }
            Outcome::Lost(reason) if later && *reason != ErrorReason::IdempotencyKeyReused => {
                let what = format!("{} with another body is told {reason:?}", name(op));
                verdict.add(Rule::OneOutcome, what);
            }
            _ => {}
        }
        return;
    }
    match (&first.outcome, &op.outcome) {
        (Outcome::Given { coupons: was, .. }, Outcome::Given { coupons: is, .. }) if was != is => {
            let what = format!("{} was given {was:?} and then {is:?}", name(op));
            verdict.add(Rule::OneOutcome, what);
        }
        (Outcome::Order { redemption: was, .. }, Outcome::Order { redemption: is, .. })
            if was != is =>
        {
            let what = format!("{} was redemption {was} and then {is}", name(op));
            verdict.add(Rule::OneOutcome, what);
        }
        (_, Outcome::Lost(reason)) if later && !may_follow(op.verb, *reason) => {
            let what = format!("{} succeeded and is told {reason:?} when sent again", name(op));
            verdict.add(Rule::ReplayFirst, what);
        }
        _ => {}
    }
}

/// Whether a success may be answered so when it is sent again: only because the order went on.
fn may_follow(verb: Verb, reason: ErrorReason) -> bool {
    match verb {
        Verb::Lock => matches!(
            reason,
            ErrorReason::OrderCancelled | ErrorReason::OrderRestored | ErrorReason::LockLapsed
        ),
        Verb::Confirm => reason == ErrorReason::OrderRestored,
        _ => false,
    }
}
