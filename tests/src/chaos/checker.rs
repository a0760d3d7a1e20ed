//! Judges what the shoppers were told against what the platform holds in the end: offline, in linear
//! time, each user and each coupon by itself.
//!
//! It shares no code with the server and asks nothing of it: who breaks a promise is caught by the
//! answers that it gave.

mod orders;
mod requests;
mod stock;
#[cfg(test)]
mod tests;
mod wallets;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    time::Duration,
};

use coupon_client::v1::CouponStatus;
use serde::Serialize;

use super::log::{Op, OrderState, Outcome};

/// What the platform holds once everything has settled.
#[derive(Clone, Debug, Default)]
pub struct Ending {
    /// Coupons of every user who took part, by user.
    pub wallets: HashMap<i64, Vec<FinalCoupon>>,
    /// Every order that was asked for and is known, by user and order.
    pub orders: HashMap<(i64, String), FinalOrder>,
    /// Every template of the load.
    pub templates: HashMap<i64, FinalTemplate>,
}

/// A coupon in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FinalCoupon {
    /// Its id.
    pub coupon: i64,
    /// Of which template.
    pub template: i64,
    /// As shown to its user.
    pub status: CouponStatus,
    /// Whether it was given for another one, outside stock and limit.
    pub reissued: bool,
}

/// An order in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalOrder {
    /// Its redemption.
    pub redemption: i64,
    /// Its state.
    pub state: OrderState,
    /// Its coupons.
    pub coupons: Vec<i64>,
}

/// A template in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FinalTemplate {
    /// Pieces there are.
    pub total: i64,
    /// Pieces given, as the platform counts.
    pub issued: i64,
    /// Pieces that a user may have.
    pub limit: i64,
}

/// A promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// I1, I5: no more is given than there is, and the counts are those of the coupons.
    Stock,
    /// I2: nobody has more than the limit, and only who has that many is told so.
    Limit,
    /// I3: what was acknowledged is there and stays.
    Durable,
    /// I4: a request has one outcome, and its id belongs to one body.
    OneOutcome,
    /// I6: an order walks its legal path and ends once.
    Path,
    /// Who has won is told so again, before any refusal.
    ReplayFirst,
    /// "Sold out" is told when every piece is given, and never again otherwise.
    SoldOut,
    /// I9: every unknown outcome becomes definite.
    Settled,
    /// Nothing is answered with INTERNAL, and nothing refused for a reason that the load cannot give.
    Defect,
    /// What the rows themselves say.
    Audit,
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// By whom and how.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.what)
    }
}

/// What the checker found.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Attempts that were looked at.
    pub attempts: u64,
    /// Requests that they belong to.
    pub requests: u64,
    /// Attempts that ended with U.
    pub unknown: u64,
    /// Attempts that ended with N.
    pub not_admitted: u64,
    /// Longest time from a request's first U to its definite answer.
    pub settled_within: Duration,
    /// Broken promises.
    pub violations: Vec<Violation>,
}

impl Verdict {
    /// Whether this promise was broken.
    pub fn broke(&self, rule: Rule) -> bool {
        self.violations.iter().any(|violation| violation.rule == rule)
    }

    /// How often each promise was broken.
    pub fn counts(&self) -> BTreeMap<Rule, usize> {
        let mut counts = BTreeMap::new();
        for violation in &self.violations {
            *counts.entry(violation.rule).or_default() += 1;
        }
        counts
    }

    fn add(&mut self, rule: Rule, what: impl Into<String>) {
        self.violations.push(Violation { rule, what: what.into() });
    }
}

/// Judges attempts, in the order of their starts, and an ending.
pub fn check(ops: &[Op], ending: &Ending) -> Verdict {
    let mut verdict = Verdict::default();
    for op in ops {
        verdict.attempts += 1;
        verdict.unknown += u64::from(op.outcome == Outcome::Unknown);
        verdict.not_admitted += u64::from(op.outcome == Outcome::NotAdmitted);
    }
    requests::check(ops, &mut verdict);
    wallets::check(ops, ending, &mut verdict);
    stock::check(ops, ending, &mut verdict);
    orders::check(ops, ending, &mut verdict);
    verdict
}
