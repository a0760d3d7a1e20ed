//! The summary of a replay, as a table and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::data::{Journey, Notes};
use super::tally::Tally;

/// Coupons by status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StatusCounts {
    /// In wallets.
    pub available: u64,
    /// Held by orders.
    pub locked: u64,
    /// Redeemed.
    pub used: u64,
    /// Validity over.
    pub expired: u64,
    /// Taken away.
    pub voided: u64,
}

/// How a replay ended. Counts of coupons are by stored status unless they say otherwise.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Coupons given.
    pub issued: u64,
    /// Coupons redeemed.
    pub used: u64,
    /// Coupons presented in vain.
    pub refused: u64,
    /// Coupons whose validity ended unused.
    pub expired: u64,
    /// Coupons still in wallets.
    pub available: u64,
    /// Coupons still held by orders.
    pub locked: u64,
    /// Coupons taken away.
    pub voided: u64,
    /// Length of the whole run in seconds, reading the files and starting the server included.
    pub seconds: f64,
    /// Orders confirmed with coupons.
    pub orders: u64,
    /// Those of them with more than one coupon.
    pub multi_coupon_orders: u64,
    /// Redeemed coupons that were worth more than what was left of their lines.
    pub capped: u64,
    /// Coupons redeemed or tried although the quote's best combination does without them.
    pub left_out_of_best: u64,
    /// Taken off all confirmed orders, in cents.
    pub discount_minor: i64,
    /// By how much the best legal combination of the shopper's whole wallet, at most one coupon of a
    /// template, beats the discount that was locked, summed over the orders with a confirmed coupon,
    /// in cents.
    pub quoted_better_cents: i64,
    /// Orders in which it does.
    pub quoted_better_orders: u64,
    /// Their share of the orders with a confirmed coupon, 0 to 1.
    pub quoted_better_share: f64,
    /// Orders in which the platform chooses the very coupons that were used.
    pub quoted_same_orders: u64,
    /// Orders whose best combination is the best found, not proven best.
    pub choices_not_optimal: u64,
    /// Why coupons were refused, with counts.
    pub refused_reasons: BTreeMap<String, u64>,
    /// Redemption ids whose outcome differs from what the files say about their scope.
    pub mismatched_redemptions: Vec<i64>,
    /// How many those are.
    pub mismatches: u64,
    /// Campaigns replayed.
    pub campaigns: u64,
    /// Templates published.
    pub templates: u64,
    /// Baskets replayed.
    pub baskets: u64,
    /// Baskets quoted against the whole wallet.
    pub quoted: u64,
    /// Those of them for which a coupon would have saved something.
    pub quoted_with_discount: u64,
    /// What the best combinations of those would have saved, in cents.
    pub quoted_discount_minor: i64,
    /// Those of them whose combination is the best found, not proven best.
    pub quotes_not_optimal: u64,
    /// Effective statuses of all coupons, as the users' lists show them at the end.
    pub listed: StatusCounts,
    /// Alarm messages handled while the clock moved.
    pub alarms_handled: i64,
    /// Median of Quote in milliseconds.
    pub quote_p50_ms: f64,
    /// 99th percentile of Quote in milliseconds.
    pub quote_p99_ms: f64,
    /// Median of Lock in milliseconds.
    pub lock_p50_ms: f64,
    /// 99th percentile of Lock in milliseconds.
    pub lock_p99_ms: f64,
    /// Median of Confirm in milliseconds.
    pub confirm_p50_ms: f64,
    /// 99th percentile of Confirm in milliseconds.
    pub confirm_p99_ms: f64,
    /// Where the files had to be read with tolerance.
    #[serde(flatten)]
    pub notes: Notes,
    /// Redemption ids that could not be replayed: their basket, or the household's, is missing.
    pub orphans: Vec<i64>,
    /// How many invariants were found broken.
    pub violation_count: u64,
    /// The first of them, in words.
    pub violations: Vec<String>,
}

impl Summary {
    /// Sums up. `stored` are the counts of the templates' statistics, `listed` those of the users'
    /// lists.
    pub(crate) fn new(
        journey: &Journey,
        tally: Tally,
        stored: StatusCounts,
        listed: StatusCounts,
    ) -> Self {
        let mismatched_redemptions = mismatches(journey, &tally);
        let orphans = journey.redemptions.iter().filter(|row| !row.attached);
        Self {
            issued: tally.issued,
            used: stored.used,
            refused: tally.refused_reasons.values().sum(),
            expired: stored.expired,
            available: stored.available,
            locked: stored.locked,
            voided: stored.voided,
            seconds: 0.0,
            orders: tally.orders,
            multi_coupon_orders: tally.multi_coupon_orders,
            capped: tally.capped,
            left_out_of_best: tally.left_out_of_best,
            discount_minor: tally.discount_minor,
            quoted_better_cents: tally.quoted_better_minor,
            quoted_better_orders: tally.quoted_better_orders,
            quoted_better_share: tally.quoted_better_orders as f64 / tally.orders.max(1) as f64,
            quoted_same_orders: tally.quoted_same_orders,
            choices_not_optimal: tally.choices_not_optimal,
            refused_reasons: tally.refused_reasons,
            mismatches: mismatched_redemptions.len() as u64,
            mismatched_redemptions,
            campaigns: journey.campaigns.len() as u64,
            templates: tally.templates,
            baskets: journey.baskets.len() as u64,
            quoted: tally.quoted,
            quoted_with_discount: tally.quoted_with_discount,
            quoted_discount_minor: tally.quoted_discount_minor,
            quotes_not_optimal: tally.quotes_not_optimal,
            listed,
            alarms_handled: tally.alarms_handled,
            quote_p50_ms: tally.quote.quantile_ms(0.5),
            quote_p99_ms: tally.quote.quantile_ms(0.99),
            lock_p50_ms: tally.lock.quantile_ms(0.5),
            lock_p99_ms: tally.lock.quantile_ms(0.99),
            confirm_p50_ms: tally.confirm.quantile_ms(0.5),
            confirm_p99_ms: tally.confirm.quantile_ms(0.99),
            notes: journey.notes,
            orphans: orphans.map(|row| row.redemption_id).collect(),
            violation_count: tally.violation_count,
            violations: tally.violations,
        }
    }

    /// True when every invariant held.
    pub fn sound(&self) -> bool {
        self.violation_count == 0
    }
}

/// Redemptions whose outcome is not what `in_scope` says: redeemed exactly when in scope.
fn mismatches(journey: &Journey, tally: &Tally) -> Vec<i64> {
    let judged = journey.redemptions.iter().zip(&tally.verdicts);
    judged
        .filter(|(row, verdict)| verdict.is_some_and(|used| used != row.in_scope))
        .map(|(row, _)| row.redemption_id)
        .collect()
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: String| writeln!(f, "  {name:<27} {value}");
        row("campaigns, templates", format!("{}, {}", self.campaigns, self.templates))?;
        row("coupons issued", self.issued.to_string())?;
        row("  used", self.used.to_string())?;
        row("  expired", self.expired.to_string())?;
        let rest = format!("{}, {}, {}", self.available, self.locked, self.voided);
        row("  available, locked, voided", rest)?;
        row("coupons refused", self.refused.to_string())?;
        for (reason, count) in &self.refused_reasons {
            row(&format!("  {reason}"), count.to_string())?;
        }
        row("outcomes unlike the files", self.mismatches.to_string())?;
        let several = self.multi_coupon_orders;
        row("orders with coupons", format!("{} ({several} with several)", self.orders))?;
        row("  taken off", cents(self.discount_minor))?;
        row("  coupons capped", self.capped.to_string())?;
        row("  coupons best does without", self.left_out_of_best.to_string())?;
        row("  platform chooses the same", self.quoted_same_orders.to_string())?;
        let (better, share) = (self.quoted_better_orders, 100.0 * self.quoted_better_share);
        row("  platform saves more", format!("{better} ({share:.1} %)"))?;
        row("    by, in all", cents(self.quoted_better_cents))?;
        row("  choice not proven best", self.choices_not_optimal.to_string())?;
        let quoted = (self.quoted, self.quoted_with_discount);
        row("baskets only quoted", format!("{} ({} could save)", quoted.0, quoted.1))?;
        row("  could have saved", cents(self.quoted_discount_minor))?;
        row("  not proven best", self.quotes_not_optimal.to_string())?;
        let pair = |p50: f64, p99: f64| format!("{p50:.2} ms, {p99:.2} ms");
        row("quote p50, p99", pair(self.quote_p50_ms, self.quote_p99_ms))?;
        row("lock p50, p99", pair(self.lock_p50_ms, self.lock_p99_ms))?;
        row("confirm p50, p99", pair(self.confirm_p50_ms, self.confirm_p99_ms))?;
        row("alarms handled", self.alarms_handled.to_string())?;
        let notes = self.notes;
        row("repeated scope rows", notes.repeated_scope_rows.to_string())?;
        row("repeated recipient rows", notes.repeated_recipient_rows.to_string())?;
        row("basket lines adjusted", notes.adjusted_lines.to_string())?;
        row("redemptions not replayed", format!("{} {:?}", self.orphans.len(), self.orphans))?;
        row("seconds", format!("{:.1}", self.seconds))?;
        row("broken invariants", self.violation_count.to_string())?;
        self.violations.iter().try_for_each(|violation| writeln!(f, "    {violation}"))
    }
}

fn cents(amount: i64) -> String {
    format!("{}.{:02}", amount / 100, amount % 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::data::Redemption;
    use crate::replay::tally::VIOLATIONS_KEPT;

    fn journey(in_scope: &[bool]) -> Journey {
        let row = |(redemption_id, &in_scope)| Redemption {
            redemption_id,
            coupon: None,
            basket_id: 1,
            attached: true,
            in_scope,
        };
        Journey { redemptions: (10..).zip(in_scope).map(row).collect(), ..Journey::default() }
    }

    #[test]
    fn a_mismatch_is_an_outcome_unlike_in_scope_and_orphans_are_listed() {
        let mut journey = journey(&[true, false, true, false, true]);
        journey.redemptions[4].attached = false;
        let mut tally = Tally::new(&journey).expect("tally");
        tally.redeem(0);
        tally.redeem(1);
        tally.refuse(2, "OUT_OF_SCOPE");
        tally.refuse(3, "OUT_OF_SCOPE");
        let counts = StatusCounts::default();
        let summary = Summary::new(&journey, tally, counts, counts);
        assert_eq!(summary.mismatched_redemptions, [11, 12]);
        assert_eq!((summary.mismatches, summary.refused), (2, 2));
        assert_eq!(summary.orphans, [14]);
        assert!(summary.sound(), "a mismatch is reported, it breaks no invariant");
    }

    #[test]
    fn violations_are_counted_beyond_those_kept() {
        let journey = Journey::default();
        let mut tally = Tally::new(&journey).expect("tally");
        for count in 0..60 {
            tally.expect_equal("available", count, 0);
        }
        let counts = StatusCounts::default();
        let summary = Summary::new(&journey, tally, counts, counts);
        assert_eq!(summary.violation_count, 59);
        assert_eq!(summary.violations.len(), VIOLATIONS_KEPT);
        assert_eq!(summary.violations[0], "available: 1, expected 0");
        assert!(!summary.sound());
    }

    #[test]
    fn the_json_has_the_promised_keys_flat() {
        let journey = Journey::default();
        let tally = Tally::new(&journey).expect("tally");
        let counts = StatusCounts::default();
        let summary = Summary::new(&journey, tally, counts, counts);
        let json = serde_json::to_value(&summary).expect("serialise");
        let promised =
            ["issued", "used", "refused", "expired", "available", "locked", "seconds", "orphans"];
        for key in promised.into_iter().chain([
            "adjusted_lines",
            "mismatches",
            "quote_p99_ms",
            "quoted_better_cents",
            "quoted_better_share",
        ]) {
            assert!(json.get(key).is_some(), "{key} is missing in {json}");
        }
    }
}
