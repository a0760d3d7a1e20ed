//! Rules: what a coupon is worth, for which lines, together with what, and what a refund does (R26,
//! R28, R33, R34). Frozen at publish; a coupon is judged by the version it pins.

mod scope;

pub use scope::{CodeSet, Exclusions, IdSet, Scope};

use crate::{
    money::{Currency, Minor, WHOLE_BPS},
    time::{TimeZone, Timestamp},
};

/// The discount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Benefit {
    /// 满减: `amount` off from `threshold` on. With `every`, 每满减: `amount` off for each whole
    /// `threshold`.
    ThresholdOff {
        /// Least base.
        threshold: Minor,
        /// Taken off, or taken off each time.
        amount: Minor,
        /// Once, or once for each whole threshold.
        every: bool,
        /// Highest discount; `None` = no cap.
        max_discount: Option<Minor>,
    },
    /// 直减: `amount` off, capped at what is left.
    DirectOff {
        /// Taken off.
        amount: Minor,
    },
    /// 折扣: `pay_bps` of what is left is paid; 8折 = 8,000.
    Percentage {
        /// Paid share in basis points, 1..=9,999.
        pay_bps: i32,
        /// Highest discount; `None` = no cap.
        max_discount: Option<Minor>,
        /// Least base; zero = none.
        threshold: Minor,
    },
}

impl Benefit {
    /// Least base.
    pub const fn threshold(&self) -> Minor {
        match self {
            Self::ThresholdOff { threshold, .. } | Self::Percentage { threshold, .. } => *threshold,
            Self::DirectOff { .. } => Minor::ZERO,
        }
    }

    /// The largest share of what is left that it ever takes off, as numerator and denominator.
    pub(crate) const fn share_max(&self) -> (i64, i64) {
        match self {
            Self::Percentage { pay_bps: pay @ 0..=9_999, .. } => {
                (WHOLE_BPS - *pay as i64, WHOLE_BPS)
            }
            Self::Percentage { .. } | Self::ThresholdOff { .. } | Self::DirectOff { .. } => (1, 1),
        }
    }

    /// What is taken off when the threshold is compared with `base` and `left` is left of the
    /// eligible lines: 0 to `left`, and 0 below the threshold. Never falls when either grows.
    ///
    /// A percentage takes `left * (10,000 - pay_bps) / 10,000`, rounded down: the payable part is
    /// rounded up.
    pub fn off(&self, base: Minor, left: Minor) -> Minor {
        if base < self.threshold() {
            return Minor::ZERO;
        }
        let (off, most) = match *self {
            Self::DirectOff { amount } => (amount, None),
            Self::ThresholdOff { threshold, amount, every, max_discount } => {
                let times = if every { base.get() / threshold.get().max(1) } else { 1 };
                (amount.scale(times, 1), max_discount)
            }
            Self::Percentage { pay_bps, max_discount, .. } => {
                (left.scale(WHOLE_BPS - i64::from(pay_bps), WHOLE_BPS), max_discount)
            }
        };
        most.map_or(off, |most| off.min(most)).min(left).max(Minor::ZERO)
    }
}

/// What a threshold is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThresholdBase {
    /// The eligible lines before any coupon.
    BeforeCoupons,
    /// What the coupons that apply earlier left of the eligible lines.
    AfterEarlierCoupons,
}

/// With what a coupon may share an order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Stacking {
    /// Alone in its order.
    Exclusive,
    /// With any coupon that is not exclusive.
    Stackable,
    /// As [`Self::Stackable`], but with no other of this mutex group.
    OneOf(Box<str>),
}

/// When a coupon may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UseWindow {
    /// The same `[from, until)` for every coupon.
    Fixed {
        /// First instant of use.
        from: Timestamp,
        /// First instant at which it is expired.
        until: Timestamp,
    },
    /// From the claim to the end of the N-th local day after it.
    AfterClaim {
        /// N.
        days: u32,
    },
}

/// Who may claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Every user.
    Everyone,
    /// Users named beforehand.
    Named,
}

/// What a refund does with a used coupon (R59).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestorePolicy {
    /// Used is used.
    Never,
    /// Given back while unexpired.
    IfUnexpired,
    /// Given back, valid for at least `days` more days.
    Extend {
        /// Days from the refund.
        days: u32,
    },
    /// A new coupon valid for `days` days.
    Reissue {
        /// Days from the refund.
        days: u32,
    },
}

/// What a partial refund does with the discount on what the buyer keeps (R59).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptDiscount {
    /// It stays.
    Keep,
    /// It is cut to what the coupon would take off what is kept: to nothing when that no longer
    /// reaches the threshold.
    ClawBack,
}

/// What is frozen at publish.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// The discount.
    pub benefit: Benefit,
    /// What its threshold is compared with.
    pub threshold_base: ThresholdBase,
    /// Of every amount.
    pub currency: Currency,
    /// Which lines are eligible.
    pub scope: Scope,
    /// But not these.
    pub excluded: Exclusions,
    /// Whether the shipping charge is eligible too, once a line is.
    pub with_shipping: bool,
    /// What the whole order must at least leave to pay, shipping included; zero = nothing.
    pub min_payable: Minor,
    /// With what it may share an order.
    pub stacking: Stacking,
    /// Coupons of this template in one order; `None` = as many as stacking allows.
    pub per_order_limit: Option<u32>,
    /// When.
    pub use_window: UseWindow,
    /// For "end of day".
    pub time_zone: TimeZone,
    /// Pieces per user, claims and issues together, at least 1.
    pub per_user_limit: i32,
    /// Who may claim.
    pub audience: Audience,
    /// What a refund does with the coupon.
    pub restore: RestorePolicy,
    /// What a partial refund does with the discount that is left.
    pub kept_discount: KeptDiscount,
}

impl Rules {
    /// The plainest rules with this benefit: on every line, stackable, one for everyone, valid for 30
    /// days after the claim, used once and for all.
    pub fn plain(benefit: Benefit, currency: Currency, time_zone: TimeZone) -> Self {
        Self {
            benefit,
            threshold_base: ThresholdBase::BeforeCoupons,
            currency,
            scope: Scope::All,
            excluded: Exclusions::default(),
            with_shipping: false,
            min_payable: Minor::ZERO,
            stacking: Stacking::Stackable,
            per_order_limit: None,
            use_window: UseWindow::AfterClaim { days: 30 },
            time_zone,
            per_user_limit: 1,
            audience: Audience::Everyone,
            restore: RestorePolicy::Never,
            kept_discount: KeptDiscount::Keep,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn minor(units: i64) -> Minor {
        Minor::new(units)
    }

    fn off(benefit: Benefit, base: i64, left: i64) -> i64 {
        benefit.off(minor(base), minor(left)).get()
    }

    const fn threshold_off(
        threshold: i64,
        amount: i64,
        every: bool,
        most: Option<Minor>,
    ) -> Benefit {
        let (threshold, amount) = (minor(threshold), minor(amount));
        Benefit::ThresholdOff { threshold, amount, every, max_discount: most }
    }

    #[test]
    fn thresholds_belong_to_their_benefits() {
        assert_eq!(threshold_off(501, 500, false, None).threshold(), minor(501));
        assert_eq!(Benefit::DirectOff { amount: minor(500) }.threshold(), Minor::ZERO);
        let threshold = minor(501);
        let benefit = Benefit::Percentage { pay_bps: 8_000, max_discount: None, threshold };
        assert_eq!(benefit.threshold(), threshold);
    }

    // R26: 满减 once, 每满减 for each whole threshold, up to the cap.
    #[test]
    fn a_threshold_counts_once_or_every_time() {
        let once = threshold_off(10_000, 1_000, false, None);
        let every = threshold_off(10_000, 1_000, true, None);
        let capped = threshold_off(10_000, 1_000, true, Some(minor(2_500)));
        for (base, expected) in [
            (9_999, [0, 0, 0]),
            (10_000, [1_000, 1_000, 1_000]),
            (29_999, [1_000, 2_000, 2_000]),
            (30_000, [1_000, 3_000, 2_500]),
        ] {
            let worth = [once, every, capped].map(|benefit| off(benefit, base, base));
            assert_eq!(worth, expected, "{base}");
        }
        assert_eq!(off(every, 30_000, 1_700), 1_700);
    }

    // A rule that storage could only hold by mistake takes off nothing, or all there is.
    #[test]
    fn a_discount_stays_between_zero_and_what_is_left() {
        let threshold = Minor::ZERO;
        assert_eq!(off(Benefit::DirectOff { amount: minor(-5) }, 100, 100), 0);
        let free = Benefit::Percentage { pay_bps: -1, max_discount: None, threshold };
        assert_eq!(off(free, 100, 100), 100);
        let dear = Benefit::Percentage { pay_bps: 10_001, max_discount: None, threshold };
        assert_eq!(off(dear, 100, 100), 0);
        assert_eq!(off(threshold_off(0, 1, true, None), i64::MAX, 7), 7);
    }
}
