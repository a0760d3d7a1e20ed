//! What a replay counts while it runs.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;

use super::data::Journey;

/// Most broken invariants that are kept word for word; the rest is only counted.
pub(crate) const VIOLATIONS_KEPT: usize = 50;
/// Longest call that the histograms tell apart, in microseconds.
const LATENCY_MAX_US: u64 = 600_000_000;

/// Counts that grow while the replay runs.
pub(crate) struct Tally {
    pub(crate) templates: u64,
    pub(crate) issued: u64,
    pub(crate) quoted: u64,
    pub(crate) quoted_with_discount: u64,
    pub(crate) quoted_discount_minor: i64,
    pub(crate) quotes_not_optimal: u64,
    pub(crate) used: u64,
    pub(crate) left_out_of_best: u64,
    pub(crate) quoted_same_orders: u64,
    pub(crate) quoted_better_orders: u64,
    pub(crate) quoted_better_minor: i64,
    pub(crate) choices_not_optimal: u64,
    pub(crate) orders: u64,
    pub(crate) multi_coupon_orders: u64,
    pub(crate) capped: u64,
    pub(crate) discount_minor: i64,
    pub(crate) alarms_handled: i64,
    pub(crate) refused_reasons: BTreeMap<String, u64>,
    /// By index of [`Journey::redemptions`]: used, refused, or not replayed.
    pub(crate) verdicts: Vec<Option<bool>>,
    pub(crate) quote: Latency,
    pub(crate) lock: Latency,
    pub(crate) confirm: Latency,
    pub(crate) violations: Vec<String>,
    pub(crate) violation_count: u64,
}

/// How long one kind of call took, as its caller saw it.
pub(crate) struct Latency(Histogram<u64>);

impl Tally {
    pub(crate) fn new(journey: &Journey) -> Result<Self> {
        Ok(Self {
            templates: 0,
            issued: 0,
            quoted: 0,
            quoted_with_discount: 0,
            quoted_discount_minor: 0,
            quotes_not_optimal: 0,
            used: 0,
            left_out_of_best: 0,
            quoted_same_orders: 0,
            quoted_better_orders: 0,
            quoted_better_minor: 0,
            choices_not_optimal: 0,
            orders: 0,
            multi_coupon_orders: 0,
            capped: 0,
            discount_minor: 0,
            alarms_handled: 0,
            refused_reasons: BTreeMap::new(),
            verdicts: vec![None; journey.redemptions.len()],
            quote: Latency::new()?,
            lock: Latency::new()?,
            confirm: Latency::new()?,
            violations: Vec::new(),
            violation_count: 0,
        })
    }

    /// Counts a coupon that was presented in vain.
    pub(crate) fn refuse(&mut self, redemption: usize, reason: &str) {
        self.verdicts[redemption] = Some(false);
        *self.refused_reasons.entry(reason.to_owned()).or_default() += 1;
    }

    /// Counts a coupon that was redeemed.
    pub(crate) fn redeem(&mut self, redemption: usize) {
        self.verdicts[redemption] = Some(true);
        self.used += 1;
    }

    /// Notes something that must never be.
    pub(crate) fn violation(&mut self, what: String) {
        self.violation_count += 1;
        if self.violations.len() < VIOLATIONS_KEPT {
            self.violations.push(what);
        }
    }

    /// Notes a violation unless both figures agree.
    pub(crate) fn expect_equal(&mut self, what: &str, found: u64, expected: u64) {
        if found != expected {
            self.violation(format!("{what}: {found}, expected {expected}"));
        }
    }
}

impl Latency {
    fn new() -> Result<Self> {
        Ok(Self(Histogram::new_with_bounds(1, LATENCY_MAX_US, 3)?))
    }

    pub(crate) fn record(&mut self, took: Duration) {
        self.0.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// In milliseconds; 0 when nothing was recorded.
    pub(crate) fn quantile_ms(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1e3
    }
}
