//! Each order and each coupon in it: a legal path to one end.

use std::collections::HashMap;

use coupon_client::v1::{CouponStatus, ErrorReason};

use super::{Ending, FinalOrder, Rule, Verdict, requests::name};
use crate::chaos::log::{Op, OrderState, Outcome, Verb};

pub(super) fn check(ops: &[Op], ending: &Ending, verdict: &mut Verdict) {
    let mut orders: HashMap<(i64, &str), Vec<&Op>> = HashMap::new();
    for op in ops.iter().filter(|op| !op.verb.gives()) {
        orders.entry((op.user, &op.order)).or_default().push(op);
    }
    for ((user, order), attempts) in &orders {
        let end = ending.orders.get(&(*user, (*order).to_owned()));
        ends_once(attempts, verdict);
        never_back(attempts, verdict);
        agrees(attempts, end, verdict);
    }
    coupons(ending, verdict);
}

/// Whether an order that was seen in the first state may be seen in the second one later.
fn may_become(was: OrderState, is: OrderState) -> bool {
    use OrderState::{Cancelled, Confirmed, Lapsed, Locked, Restored};
    match was {
        Locked => true,
        Confirmed => matches!(is, Confirmed | Restored),
        Cancelled => is == Cancelled,
        Lapsed => matches!(is, Lapsed | Cancelled | Locked),
        Restored => is == Restored,
    }
}

/// At most one of Confirm and Cancel takes effect.
fn ends_once(attempts: &[&Op], verdict: &mut Verdict) {
    let done = |verb| attempts.iter().find(|op| op.verb == verb && op.outcome.is_done());
    if let (Some(confirm), Some(cancel)) = (done(Verb::Confirm), done(Verb::Cancel)) {
        let what = format!("both {} and {} succeeded", name(confirm), name(cancel));
        verdict.add(Rule::Path, what);
    }
}

/// No answer shows a state that a state seen before it can no longer become.
fn never_back(attempts: &[&Op], verdict: &mut Verdict) {
    let seen = |op: &&&Op| match op.outcome {
        Outcome::Order { state, redemption, .. } => Some((redemption, state)),
        _ => None,
    };
    let mut by_end: Vec<_> = attempts.iter().filter(|op| seen(op).is_some()).collect();
    by_end.sort_by_key(|op| op.end);
    let mut ended = by_end.iter().peekable();
    let mut last: Option<(i64, OrderState)> = None;
    for op in attempts {
        let Some((redemption, state)) = seen(&op) else { continue };
        while let Some(before) = ended.next_if(|before| before.end < op.start) {
            last = seen(before).or(last);
        }
        let Some((was_redemption, was)) = last else { continue };
        if was_redemption != redemption {
            let what = format!("{} shows redemption {redemption} after {was_redemption}", name(op));
            verdict.add(Rule::Path, what);
        }
        if !may_become(was, state) {
            verdict.add(Rule::Path, format!("{} shows {state:?} after {was:?}", name(op)));
        }
    }
}

/// What was told of the order is what it is in the end.
fn agrees(attempts: &[&Op], end: Option<&FinalOrder>, verdict: &mut Verdict) {
    for op in attempts {
        let told = match &op.outcome {
            Outcome::Order { state, .. } => *state,
            Outcome::Lost(ErrorReason::OrderCancelled) => OrderState::Cancelled,
            Outcome::Lost(ErrorReason::OrderConfirmed) => OrderState::Confirmed,
            Outcome::Lost(ErrorReason::OrderRestored) => OrderState::Restored,
            _ => continue,
        };
        match end {
            None => verdict.add(Rule::Durable, format!("the order of {} is lost", name(op))),
            Some(end) if !may_become(told, end.state) => {
                let what = format!("{} was told {told:?} and ends {:?}", name(op), end.state);
                verdict.add(Rule::Path, what);
            }
            Some(_) => {}
        }
    }
}

/// Every coupon is where its orders have left it.
fn coupons(ending: &Ending, verdict: &mut Verdict) {
    let mut used: HashMap<i64, usize> = HashMap::new();
    let mut locked: HashMap<i64, usize> = HashMap::new();
    for order in ending.orders.values() {
        let counts = match order.state {
            OrderState::Confirmed => &mut used,
            OrderState::Locked => &mut locked,
            _ => continue,
        };
        for coupon in &order.coupons {
            *counts.entry(*coupon).or_default() += 1;
        }
    }
    for coupon in ending.wallets.values().flatten() {
        let uses = used.get(&coupon.coupon).copied().unwrap_or_default();
        let locks = locked.get(&coupon.coupon).copied().unwrap_or_default();
        let expected = match (uses, locks) {
            (0, 0) => CouponStatus::Available,
            (1, 0) => CouponStatus::Used,
            (0, 1) => CouponStatus::Locked,
            _ => {
                let what = format!("coupon {} is in {uses} + {locks} orders", coupon.coupon);
                verdict.add(Rule::Path, what);
                continue;
            }
        };
        if coupon.status != expected {
            let what = format!(
                "coupon {} is {:?}, by its orders it is {expected:?}",
                coupon.coupon, coupon.status
            );
            verdict.add(Rule::Path, what);
        }
    }
}
