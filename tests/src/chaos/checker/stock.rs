//! Each template: what is given, what there was, and when it was told that nothing is left.

use std::{collections::HashMap, time::Duration};

use coupon_client::v1::ErrorReason;

use super::{Ending, Rule, Verdict, requests::name};
use crate::chaos::log::{Op, Outcome, Verb};

pub(super) fn check(ops: &[Op], ending: &Ending, verdict: &mut Verdict) {
    let mut held: HashMap<i64, i64> = HashMap::new();
    for coupon in ending.wallets.values().flatten().filter(|coupon| !coupon.reissued) {
        *held.entry(coupon.template).or_default() += 1;
    }
    let told = first_sold_out(ops);
    for (id, template) in &ending.templates {
        let held = held.get(id).copied().unwrap_or_default();
        let (total, issued) = (template.total, template.issued);
        if held > total || issued > total {
            let what = format!("template {id} of {total} pieces: {held} held, {issued} counted");
            verdict.add(Rule::Stock, what);
        } else if held != issued {
            let what = format!("template {id}: {held} coupons are held, {issued} counted as given");
            verdict.add(Rule::Stock, what);
        }
        if let Some(op) = told.get(id)
            && held < total
        {
            let what = format!("{} is told sold out, and {} are left", name(op), total - held);
            verdict.add(Rule::SoldOut, what);
        }
    }
    won_after(ops, &told, verdict);
}

/// The first attempt of each template that was told that nothing is left.
fn first_sold_out(ops: &[Op]) -> HashMap<i64, &Op> {
    let mut told: HashMap<i64, &Op> = HashMap::new();
    let sold_out = Outcome::Lost(ErrorReason::SoldOut);
    for op in ops.iter().filter(|op| op.outcome == sold_out) {
        let first = told.entry(op.template).or_insert(op);
        if op.end < first.end {
            *first = op;
        }
    }
    told
}

/// Nobody who comes after that wins. A request that was sent before may have won before.
fn won_after(ops: &[Op], told: &HashMap<i64, &Op>, verdict: &mut Verdict) {
    let mut began: HashMap<(Verb, i64, i64, &str), Duration> = HashMap::new();
    for op in ops.iter().filter(|op| op.verb.gives()) {
        let began =
            began.entry((op.verb, op.user, op.template, &op.request_id)).or_insert(op.start);
        let Some(first) = told.get(&op.template) else { continue };
        if matches!(op.outcome, Outcome::Given { .. }) && *began > first.end {
            let what = format!("{} wins after {} was told sold out", name(op), name(first));
            verdict.add(Rule::SoldOut, what);
        }
    }
}
