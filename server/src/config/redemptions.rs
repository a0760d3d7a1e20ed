//! `[redemptions]`: locks, carts and how long redemptions are kept.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Checks;

const SECONDS_PER_DAY: u64 = 86_400;

/// `[redemptions]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedemptionsConfig {
    /// Members of one ledger transaction. Default 128.
    pub group_max: usize,
    /// Commands that may wait per shard and lane; beyond it callers are told OVERLOADED. Default 16384.
    pub queue_max: usize,
    /// How long a lock lives when its caller does not say, in seconds. Default 1800 (30 min).
    pub lock_ttl_default_s: u64,
    /// Longest life that a caller may ask for, in seconds. Default 604800 (7 days).
    pub lock_ttl_max_s: u64,
    /// No lock of an order lives longer than this after the order's first Lock, in seconds.
    /// Default 604800 (7 days).
    pub lock_horizon_s: u64,
    /// Request ids under which one order may be locked. Default 32.
    pub locks_per_order_max: u32,
    /// Lines of one cart. Default 500, which is also the most.
    pub cart_lines_max: usize,
    /// Coupons of one order. Default 100, which is also the most.
    pub coupons_per_order_max: usize,
    /// How long cancelled and lapsed redemptions are kept as fences, in days. Default 30.
    pub fence_retention_days: u64,
    /// How long confirmed and restored redemptions are kept, in days. Default 400.
    pub redemption_retention_days: u64,
}

impl Default for RedemptionsConfig {
    fn default() -> Self {
        Self {
            group_max: 128,
            queue_max: 16_384,
            lock_ttl_default_s: 1_800,
            lock_ttl_max_s: 604_800,
            lock_horizon_s: 604_800,
            locks_per_order_max: 32,
            cart_lines_max: 500,
            coupons_per_order_max: 100,
            fence_retention_days: 30,
            redemption_retention_days: 400,
        }
    }
}

impl RedemptionsConfig {
    /// How long a lock lives when its caller does not say.
    pub fn lock_ttl_default(&self) -> Duration {
        Duration::from_secs(self.lock_ttl_default_s)
    }

    /// Longest life that a caller may ask for.
    pub fn lock_ttl_max(&self) -> Duration {
        Duration::from_secs(self.lock_ttl_max_s)
    }

    /// No lock of an order lives longer than this after the order's first Lock.
    pub fn lock_horizon(&self) -> Duration {
        Duration::from_secs(self.lock_horizon_s)
    }

    /// How long cancelled and lapsed redemptions are kept.
    pub fn fence_retention(&self) -> Duration {
        Duration::from_secs(self.fence_retention_days.saturating_mul(SECONDS_PER_DAY))
    }

    /// How long confirmed and restored redemptions are kept.
    pub fn redemption_retention(&self) -> Duration {
        Duration::from_secs(self.redemption_retention_days.saturating_mul(SECONDS_PER_DAY))
    }

    pub(super) fn check(&self, checks: &mut Checks) {
        checks.within("redemptions.group_max", self.group_max, 1, 2_000);
        checks.at_most(
            ("redemptions.group_max", self.group_max),
            ("redemptions.queue_max", self.queue_max),
        );
        checks.at_least("redemptions.lock_ttl_default_s", self.lock_ttl_default_s, 1);
        checks.at_most(
            ("redemptions.lock_ttl_default_s", self.lock_ttl_default_s),
            ("redemptions.lock_ttl_max_s", self.lock_ttl_max_s),
        );
        checks.at_most(
            ("redemptions.lock_ttl_max_s", self.lock_ttl_max_s),
            ("redemptions.lock_horizon_s", self.lock_horizon_s),
        );
        checks.within("redemptions.lock_horizon_s", self.lock_horizon_s, 1, 366 * SECONDS_PER_DAY);
        checks.at_least("redemptions.locks_per_order_max", self.locks_per_order_max, 1);
        checks.within("redemptions.cart_lines_max", self.cart_lines_max, 1, 500);
        checks.within("redemptions.coupons_per_order_max", self.coupons_per_order_max, 1, 100);
        checks.within("redemptions.fence_retention_days", self.fence_retention_days, 1, 36_500);
        checks.at_most(
            ("redemptions.fence_retention_days", self.fence_retention_days),
            ("redemptions.redemption_retention_days", self.redemption_retention_days),
        );
        checks.within(
            "redemptions.redemption_retention_days",
            self.redemption_retention_days,
            1,
            36_500,
        );
        if self.fence_retention() < self.lock_horizon() {
            // A fence that goes before the order can no longer be locked lets a late Try through.
            checks.refuse(format!(
                "redemptions.fence_retention_days = {} is shorter than redemptions.lock_horizon_s = {}, raise the first or lower the second",
                self.fence_retention_days, self.lock_horizon_s
            ));
        }
    }
}
