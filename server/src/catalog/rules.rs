//! Rules as stored: JSON whose keys never change their meaning. The domain's own types are never
//! serialised, so that they stay free to change.

use coupon_domain::{
    money::{Currency, Minor},
    template::{Audience, Benefit, RestorePolicy, Rules, Scope, Stacking, UseWindow},
    time::{TimeZone, Timestamp},
};
use serde::{Deserialize, Serialize};

use crate::ledger::LedgerError;

#[derive(Serialize, Deserialize)]
struct StoredRules {
    benefit: StoredBenefit,
    currency: String,
    scope: StoredScope,
    mutex: bool,
    use_window: StoredWindow,
    time_zone: String,
    per_user_limit: i32,
    named_users: bool,
    restore: StoredRestore,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredBenefit {
    ThresholdOff { threshold: i64, amount: i64 },
    DirectOff { amount: i64 },
    Percentage { pay_bps: i32, max_discount: Option<i64>, threshold: i64 },
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
    let benefit = match rules.benefit {
        Benefit::ThresholdOff { threshold, amount } => {
            StoredBenefit::ThresholdOff { threshold: threshold.get(), amount: amount.get() }
        }
        Benefit::DirectOff { amount } => StoredBenefit::DirectOff { amount: amount.get() },
        Benefit::Percentage { pay_bps, max_discount, threshold } => StoredBenefit::Percentage {
            pay_bps,
            max_discount: max_discount.map(Minor::get),
            threshold: threshold.get(),
        },
    };
    let scope = match &rules.scope {
        Scope::All => StoredScope::All,
        Scope::Merchants(ids) => StoredScope::Merchants(ids.as_slice().to_vec()),
        Scope::Categories(codes) => StoredScope::Categories(codes.to_vec()),
        Scope::Products(ids) => StoredScope::Products(ids.as_slice().to_vec()),
    };
    let use_window = match rules.use_window {
        UseWindow::Fixed { from, until } => {
            StoredWindow::Fixed { from: from.as_millis(), until: until.as_millis() }
        }
        UseWindow::AfterClaim { days } => StoredWindow::AfterClaim { days },
    };
    let restore = match rules.restore {
        RestorePolicy::Never => StoredRestore::Never,
        RestorePolicy::IfUnexpired => StoredRestore::IfUnexpired,
        RestorePolicy::Extend { days } => StoredRestore::Extend { days },
        RestorePolicy::Reissue { days } => StoredRestore::Reissue { days },
    };
    let stored = StoredRules {
        benefit,
        currency: rules.currency.as_str().to_owned(),
        scope,
        mutex: rules.stacking == Stacking::Mutex,
        use_window,
        time_zone: rules.time_zone.name().to_owned(),
        per_user_limit: rules.per_user_limit,
        named_users: rules.audience == Audience::Named,
        restore,
    };
    serde_json::to_string(&stored).map_err(corrupt)
}

/// Reads rules.
pub(super) fn from_json(text: &str) -> Result<Rules, LedgerError> {
    let stored: StoredRules = serde_json::from_str(text).map_err(corrupt)?;
    let benefit = match stored.benefit {
        StoredBenefit::ThresholdOff { threshold, amount } => {
            Benefit::ThresholdOff { threshold: Minor::new(threshold), amount: Minor::new(amount) }
        }
        StoredBenefit::DirectOff { amount } => Benefit::DirectOff { amount: Minor::new(amount) },
        StoredBenefit::Percentage { pay_bps, max_discount, threshold } => Benefit::Percentage {
            pay_bps,
            max_discount: max_discount.map(Minor::new),
            threshold: Minor::new(threshold),
        },
    };
    let scope = match stored.scope {
        StoredScope::All => Scope::All,
        StoredScope::Merchants(ids) => Scope::Merchants(ids.into_iter().collect()),
        StoredScope::Categories(codes) => Scope::categories(codes),
        StoredScope::Products(ids) => Scope::Products(ids.into_iter().collect()),
    };
    let use_window = match stored.use_window {
        StoredWindow::Fixed { from, until } => UseWindow::Fixed {
            from: Timestamp::from_millis(from),
            until: Timestamp::from_millis(until),
        },
        StoredWindow::AfterClaim { days } => UseWindow::AfterClaim { days },
    };
    let restore = match stored.restore {
        StoredRestore::Never => RestorePolicy::Never,
        StoredRestore::IfUnexpired => RestorePolicy::IfUnexpired,
        StoredRestore::Extend { days } => RestorePolicy::Extend { days },
        StoredRestore::Reissue { days } => RestorePolicy::Reissue { days },
    };
    Ok(Rules {
        benefit,
        currency: Currency::parse(&stored.currency).map_err(corrupt)?,
        scope,
        stacking: if stored.mutex { Stacking::Mutex } else { Stacking::Stackable },
        use_window,
        time_zone: TimeZone::parse(&stored.time_zone).map_err(corrupt)?,
        per_user_limit: stored.per_user_limit,
        audience: if stored.named_users { Audience::Named } else { Audience::Everyone },
        restore,
    })
}
