//! Each user and template: what was acknowledged is there, nothing else is, and it is not too much.

use std::collections::{HashMap, HashSet};

use coupon_client::v1::ErrorReason;

use super::{Ending, FinalCoupon, Rule, Verdict, requests::name};
use crate::chaos::log::{Op, Outcome, Verb};

/// What a user was told about one template.
#[derive(Default)]
struct Told<'a> {
    /// Coupons, and the first success that named each.
    won: HashMap<i64, &'a Op>,
    /// One that was told that the limit is reached.
    limit: Option<&'a Op>,
    /// Those that were told that nothing is left.
    sold_out: Vec<&'a Op>,
    /// Whether a request was left open.
    open: bool,
}

pub(super) fn check(ops: &[Op], ending: &Ending, verdict: &mut Verdict) {
    let told = gather(ops, verdict);
    owners(ending, verdict);
    for ((user, template), told) in &told {
        let held = ending.wallets.get(user).map_or(&[][..], Vec::as_slice);
        let held: Vec<&FinalCoupon> =
            held.iter().filter(|coupon| coupon.template == *template).collect();
        kept(*user, told, &held, verdict);
        let Some(limit) = ending.templates.get(template).map(|template| template.limit) else {
            continue;
        };
        within_limit(*user, told, &held, limit, verdict);
    }
}

fn gather<'a>(ops: &'a [Op], verdict: &mut Verdict) -> HashMap<(i64, i64), Told<'a>> {
    let mut users: HashMap<(i64, i64), Told<'_>> = HashMap::new();
    let mut requests: HashMap<(Verb, i64, i64, &str), bool> = HashMap::new();
    for op in ops.iter().filter(|op| op.verb.gives()) {
        let definite = requests.entry((op.verb, op.user, op.template, &op.request_id)).or_default();
        *definite |= op.outcome.is_definite();
        let told = users.entry((op.user, op.template)).or_default();
        match &op.outcome {
            Outcome::Given { coupons, .. } => {
                for coupon in coupons {
                    let first = told.won.entry(*coupon).or_insert(op);
                    if first.request_id != op.request_id || first.verb != op.verb {
                        let what = format!("coupon {coupon} answers two requests: {}", name(op));
                        verdict.add(Rule::OneOutcome, what);
                    } else if op.end < first.end {
                        *first = op;
                    }
                }
            }
            Outcome::Lost(ErrorReason::LimitReached) => told.limit = Some(op),
            Outcome::Lost(ErrorReason::SoldOut) => told.sold_out.push(op),
            _ => {}
        }
    }
    for ((_, user, template, _), definite) in requests {
        if !definite && let Some(told) = users.get_mut(&(user, template)) {
            told.open = true;
        }
    }
    users
}

/// No coupon is two users'.
fn owners(ending: &Ending, verdict: &mut Verdict) {
    let mut owners: HashMap<i64, i64> = HashMap::new();
    for (user, coupons) in &ending.wallets {
        for coupon in coupons {
            if let Some(other) = owners.insert(coupon.coupon, *user) {
                let what =
                    format!("coupon {} is in the wallets of {other} and {user}", coupon.coupon);
                verdict.add(Rule::Durable, what);
            }
        }
    }
}

/// I3, and nothing that nobody was told of.
fn kept(user: i64, told: &Told<'_>, held: &[&FinalCoupon], verdict: &mut Verdict) {
    let there: HashSet<i64> = held.iter().map(|coupon| coupon.coupon).collect();
    for (coupon, op) in &told.won {
        if !there.contains(coupon) {
            let what = format!("coupon {coupon} is lost, it was acknowledged to {}", name(op));
            verdict.add(Rule::Durable, what);
        }
    }
    if told.open {
        return;
    }
    for coupon in held.iter().filter(|coupon| !coupon.reissued) {
        if !told.won.contains_key(&coupon.coupon) {
            let what = format!(
                "user {user} has coupon {} of template {} and was refused it",
                coupon.coupon, coupon.template
            );
            verdict.add(Rule::OneOutcome, what);
        }
    }
}

/// I2, and refusals in their order.
fn within_limit(
    user: i64,
    told: &Told<'_>,
    held: &[&FinalCoupon],
    limit: i64,
    verdict: &mut Verdict,
) {
    let count = held.iter().filter(|coupon| !coupon.reissued).count();
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    if count > limit {
        verdict.add(Rule::Limit, format!("user {user} has {count} coupons, the limit is {limit}"));
    }
    if let Some(op) = told.limit.filter(|_| count < limit) {
        let what =
            format!("{} is told that the limit of {limit} is reached, and has {count}", name(op));
        verdict.add(Rule::Limit, what);
    }
    for op in &told.sold_out {
        let before = told.won.values().filter(|won| won.end < op.start).count();
        if i64::try_from(before).unwrap_or(i64::MAX) >= limit {
            let what = format!("{} has all it may have and is told sold out", name(op));
            verdict.add(Rule::ReplayFirst, what);
        }
    }
}
