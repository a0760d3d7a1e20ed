//! Rules as stored: JSON whose keys never change their meaning. The domain's own types are never
//! serialised, so that they stay free to change.

use coupon_domain::{
    money::{Currency, Minor},
    rules::{
        Audience, Benefit, Exclusions, KeptDiscount, RestorePolicy, Rules, Scope, Stacking,
        ThresholdBase, UseWindow,
    },
    time::{TimeZone, Timestamp},
};
use serde::{Deserialize, Serialize};

use crate::ledger::LedgerError;

/// What is seldom there may be missing.
#[derive(Serialize, Deserialize)]
struct StoredRules {
    benefit: StoredBenefit,
    #[serde(default, skip_serializing_if = "is_default")]
    threshold_after_earlier: bool,
    currency: String,
    scope: StoredScope,
    #[serde(default, skip_serializing_if = "is_default")]
    exclude_merchants: Vec<i64>,
    #[serde(default, skip_serializing_if = "is_default")]
    exclude_categories: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    exclude_products: Vec<i64>,
    #[serde(default, skip_serializing_if = "is_default")]
    with_shipping: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    min_payable: i64,
    /// Alone in its order.
    mutex: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    mutex_group: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    per_order_limit: Option<u32>,
    use_window: StoredWindow,
    time_zone: String,
    per_user_limit: i32,
    named_users: bool,
    restore: StoredRestore,
    #[serde(default, skip_serializing_if = "is_default")]
    claw_back: bool,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredBenefit {
    ThresholdOff {
        threshold: i64,
        amount: i64,
        #[serde(default, skip_serializing_if = "is_default")]
        every: bool,
        #[serde(default, skip_serializing_if = "is_default")]
        max_discount: Option<i64>,
    },
    DirectOff {
        amount: i64,
    },
    Percentage {
        pay_bps: i32,
        max_discount: Option<i64>,
        threshold: i64,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredScope {
    All,
    Merchants(Vec<i64>),
    Categories(Vec<String>),
    Products(Vec<i64>),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredWindow {
    Fixed { from: i64, until: i64 },
    AfterClaim { days: u32 },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredRestore {
    Never,
    IfUnexpired,
    Extend { days: u32 },
    Reissue { days: u32 },
}

fn corrupt(error: impl ToString) -> LedgerError {
    LedgerError::Corrupt(error.to_string())
}

/// Writes rules.
pub(super) fn to_json(rules: &Rules) -> Result<String, LedgerError> {
    let (mutex, mutex_group) = match &rules.stacking {
        Stacking::Exclusive => (true, None),
        Stacking::Stackable => (false, None),
        Stacking::OneOf(group) => (false, Some(String::from(&**group))),
    };
    let stored = StoredRules {
        benefit: stored_benefit(&rules.benefit),
        threshold_after_earlier: rules.threshold_base == ThresholdBase::AfterEarlierCoupons,
        currency: rules.currency.as_str().to_owned(),
        scope: stored_scope(&rules.scope),
        exclude_merchants: rules.excluded.merchants.as_slice().to_vec(),
        exclude_categories: rules.excluded.categories.as_slice().to_vec(),
        exclude_products: rules.excluded.products.as_slice().to_vec(),
        with_shipping: rules.with_shipping,
        min_payable: rules.min_payable.get(),
        mutex,
        mutex_group,
        per_order_limit: rules.per_order_limit,
        use_window: match rules.use_window {
            UseWindow::Fixed { from, until } => {
                StoredWindow::Fixed { from: from.as_millis(), until: until.as_millis() }
            }
            UseWindow::AfterClaim { days } => StoredWindow::AfterClaim { days },
        },
        time_zone: rules.time_zone.name().to_owned(),
        per_user_limit: rules.per_user_limit,
        named_users: rules.audience == Audience::Named,
        restore: match rules.restore {
            RestorePolicy::Never => StoredRestore::Never,
            RestorePolicy::IfUnexpired => StoredRestore::IfUnexpired,
            RestorePolicy::Extend { days } => StoredRestore::Extend { days },
            RestorePolicy::Reissue { days } => StoredRestore::Reissue { days },
        },
        claw_back: rules.kept_discount == KeptDiscount::ClawBack,
    };
    serde_json::to_string(&stored).map_err(corrupt)
}

fn stored_benefit(benefit: &Benefit) -> StoredBenefit {
    match *benefit {
        Benefit::ThresholdOff { threshold, amount, every, max_discount } => {
            StoredBenefit::ThresholdOff {
                threshold: threshold.get(),
                amount: amount.get(),
                every,
                max_discount: max_discount.map(Minor::get),
            }
        }
        Benefit::DirectOff { amount } => StoredBenefit::DirectOff { amount: amount.get() },
        Benefit::Percentage { pay_bps, max_discount, threshold } => StoredBenefit::Percentage {
            pay_bps,
            max_discount: max_discount.map(Minor::get),
            threshold: threshold.get(),
        },
    }
}

fn stored_scope(scope: &Scope) -> StoredScope {
    match scope {
        Scope::All => StoredScope::All,
        Scope::Merchants(ids) => StoredScope::Merchants(ids.as_slice().to_vec()),
        Scope::Categories(codes) => StoredScope::Categories(codes.as_slice().to_vec()),
        Scope::Products(ids) => StoredScope::Products(ids.as_slice().to_vec()),
    }
}

/// Reads rules.
pub(super) fn from_json(text: &str) -> Result<Rules, LedgerError> {
    let stored: StoredRules = serde_json::from_str(text).map_err(corrupt)?;
    Ok(Rules {
        benefit: benefit(stored.benefit),
        threshold_base: if stored.threshold_after_earlier {
            ThresholdBase::AfterEarlierCoupons
        } else {
            ThresholdBase::BeforeCoupons
        },
        currency: Currency::parse(&stored.currency).map_err(corrupt)?,
        scope: match stored.scope {
            StoredScope::All => Scope::All,
            StoredScope::Merchants(ids) => Scope::Merchants(ids.into_iter().collect()),
            StoredScope::Categories(codes) => Scope::categories(codes),
            StoredScope::Products(ids) => Scope::Products(ids.into_iter().collect()),
        },
        excluded: Exclusions {
            merchants: stored.exclude_merchants.into_iter().collect(),
            categories: stored.exclude_categories.into_iter().collect(),
            products: stored.exclude_products.into_iter().collect(),
        },
        with_shipping: stored.with_shipping,
        min_payable: Minor::new(stored.min_payable),
        stacking: match (stored.mutex, stored.mutex_group) {
            (true, _) => Stacking::Exclusive,
            (false, None) => Stacking::Stackable,
            (false, Some(group)) => Stacking::OneOf(group.into()),
        },
        per_order_limit: stored.per_order_limit,
        use_window: match stored.use_window {
            StoredWindow::Fixed { from, until } => UseWindow::Fixed {
                from: Timestamp::from_millis(from),
                until: Timestamp::from_millis(until),
            },
            StoredWindow::AfterClaim { days } => UseWindow::AfterClaim { days },
        },
        time_zone: TimeZone::parse(&stored.time_zone).map_err(corrupt)?,
        per_user_limit: stored.per_user_limit,
        audience: if stored.named_users { Audience::Named } else { Audience::Everyone },
        restore: match stored.restore {
            StoredRestore::Never => RestorePolicy::Never,
            StoredRestore::IfUnexpired => RestorePolicy::IfUnexpired,
            StoredRestore::Extend { days } => RestorePolicy::Extend { days },
            StoredRestore::Reissue { days } => RestorePolicy::Reissue { days },
        },
        kept_discount: if stored.claw_back { KeptDiscount::ClawBack } else { KeptDiscount::Keep },
    })
}

fn benefit(stored: StoredBenefit) -> Benefit {
    match stored {
        StoredBenefit::ThresholdOff { threshold, amount, every, max_discount } => {
            Benefit::ThresholdOff {
                threshold: Minor::new(threshold),
                amount: Minor::new(amount),
                every,
                max_discount: max_discount.map(Minor::new),
            }
        }
        StoredBenefit::DirectOff { amount } => Benefit::DirectOff { amount: Minor::new(amount) },
        StoredBenefit::Percentage { pay_bps, max_discount, threshold } => Benefit::Percentage {
            pay_bps,
            max_discount: max_discount.map(Minor::new),
            threshold: Minor::new(threshold),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(benefit: Benefit) -> Rules {
        let currency = Currency::parse("CNY").unwrap();
        Rules::plain(benefit, currency, TimeZone::parse("Asia/Shanghai").unwrap())
    }

    #[test]
    fn every_rule_survives_storage() {
        let minor = Minor::new;
        let threshold = minor(500);
        let whole = Rules {
            threshold_base: ThresholdBase::AfterEarlierCoupons,
            scope: Scope::Merchants([7, 9].into_iter().collect()),
            excluded: Exclusions {
                merchants: [1].into_iter().collect(),
                categories: ["food".to_owned()].into_iter().collect(),
                products: [2, 3].into_iter().collect(),
            },
            with_shipping: true,
            min_payable: minor(1),
            stacking: Stacking::OneOf("summer".into()),
            per_order_limit: Some(2),
            use_window: UseWindow::Fixed {
                from: Timestamp::from_millis(1),
                until: Timestamp::from_millis(2),
            },
            per_user_limit: 3,
            audience: Audience::Named,
            restore: RestorePolicy::Extend { days: 4 },
            kept_discount: KeptDiscount::ClawBack,
            ..plain(Benefit::ThresholdOff {
                threshold,
                amount: minor(40),
                every: true,
                max_discount: Some(minor(90)),
            })
        };
        let alone = Rules {
            scope: Scope::categories(["digital".to_owned()]),
            stacking: Stacking::Exclusive,
            restore: RestorePolicy::Reissue { days: 1 },
            ..plain(Benefit::Percentage { pay_bps: 8_000, max_discount: None, threshold })
        };
        for rules in [whole, alone, plain(Benefit::DirectOff { amount: minor(5) })] {
            assert_eq!(from_json(&to_json(&rules).unwrap()).unwrap(), rules);
        }
    }

    // What is stored is never written again: the plainest form must stay readable.
    #[test]
    fn rules_without_the_rarer_fields_are_read() {
        let text = r#"{"benefit":{"threshold_off":{"threshold":501,"amount":500}},"currency":"CNY",
            "scope":"all","mutex":false,"use_window":{"after_claim":{"days":30}},
            "time_zone":"Asia/Shanghai","per_user_limit":1,"named_users":false,"restore":"never"}"#;
        let (threshold, amount) = (Minor::new(501), Minor::new(500));
        let benefit = Benefit::ThresholdOff { threshold, amount, every: false, max_discount: None };
        assert_eq!(from_json(text).unwrap(), plain(benefit));
    }
}
