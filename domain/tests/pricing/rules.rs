//! Reads the rules of a coupon as a merchant would say them, and amounts.

use coupon_domain::{
    money::{Currency, Minor},
    rules::{
        Benefit, CodeSet, IdSet, KeptDiscount, RestorePolicy, Rules, Scope, Stacking, ThresholdBase,
    },
    time::TimeZone,
};

use super::read::number;

/// `BENEFIT, OPTION, OPTION ..`
pub(crate) fn rules(text: &str) -> Result<Rules, String> {
    let mut clauses = text.split(',').map(str::trim);
    let benefit = benefit(clauses.next().unwrap_or_default())?;
    let (currency, zone) = (Currency::parse("CNY").unwrap(), TimeZone::parse("UTC").unwrap());
    let mut rules = Rules::plain(benefit, currency, zone);
    // What a template has when it does not say.
    rules.restore = RestorePolicy::IfUnexpired;
    clauses.try_for_each(|clause| option(&mut rules, clause))?;
    Ok(rules)
}

/// `100.00 minus 50.00`, `every 100.00 minus 10.00`, `5.00 off`, `pay 80%`.
fn benefit(text: &str) -> Result<Benefit, String> {
    if let Some((threshold, off)) = text.split_once(" minus ") {
        let (threshold, every) = match threshold.strip_prefix("every ") {
            Some(threshold) => (threshold, true),
            None => (threshold, false),
        };
        let (threshold, amount) = (amount(threshold)?, amount(off)?);
        return Ok(Benefit::ThresholdOff { threshold, amount, every, max_discount: None });
    }
    if let Some(off) = text.strip_suffix(" off") {
        return Ok(Benefit::DirectOff { amount: amount(off)? });
    }
    let paid = text.strip_prefix("pay ").and_then(|rest| rest.strip_suffix('%'));
    let paid = paid.ok_or_else(|| format!("`{text}` is no discount"))?;
    // Hundredths of a percent, as an amount has hundredths of a yuan.
    let pay_bps = i32::try_from(amount(paid)?.get()).map_err(|error| error.to_string())?;
    Ok(Benefit::Percentage { pay_bps, max_discount: None, threshold: Minor::ZERO })
}

fn option(rules: &mut Rules, text: &str) -> Result<(), String> {
    let unknown = || Err(format!("`{text}` is no rule"));
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    match (first, rest) {
        ("at", rest) if rest.starts_with("most ") => {
            let most = Some(amount(&rest["most ".len()..])?);
            match &mut rules.benefit {
                Benefit::ThresholdOff { max_discount, .. }
                | Benefit::Percentage { max_discount, .. } => *max_discount = most,
                Benefit::DirectOff { .. } => return unknown(),
            }
        }
        ("from", least) => match &mut rules.benefit {
            Benefit::Percentage { threshold, .. } => *threshold = amount(least)?,
            _ => return unknown(),
        },
        ("on", rest) => {
            rules.scope = match rest.split_once(' ') {
                Some(("product", ids)) => Scope::Products(id_set(ids)?),
                Some(("category", codes)) => Scope::Categories(code_set(codes)),
                Some(("merchant", ids)) => Scope::Merchants(id_set(ids)?),
                _ => return unknown(),
            }
        }
        ("not", rest) => match rest.strip_prefix("on ").and_then(|rest| rest.split_once(' ')) {
            Some(("product", ids)) => rules.excluded.products = id_set(ids)?,
            Some(("category", codes)) => rules.excluded.categories = code_set(codes),
            Some(("merchant", ids)) => rules.excluded.merchants = id_set(ids)?,
            _ => return unknown(),
        },
        ("one", rest) if rest.starts_with("of ") => {
            rules.stacking = Stacking::OneOf(rest["of ".len()..].into());
        }
        ("leaving", rest) if rest.starts_with("at least ") => {
            rules.min_payable = amount(&rest["at least ".len()..])?;
        }
        (count, "per order") => rules.per_order_limit = Some(number(count)?),
        ("extended", rest) => rules.restore = RestorePolicy::Extend { days: days(rest)? },
        ("reissued", rest) => rules.restore = RestorePolicy::Reissue { days: days(rest)? },
        _ => match text {
            "alone" => rules.stacking = Stacking::Exclusive,
            "shipping too" => rules.with_shipping = true,
            "counting what is left" => rules.threshold_base = ThresholdBase::AfterEarlierCoupons,
            "clawed back" => rules.kept_discount = KeptDiscount::ClawBack,
            "used for good" => rules.restore = RestorePolicy::Never,
            _ => return unknown(),
        },
    }
    Ok(())
}

/// `by N days` or `for N days`.
fn days(text: &str) -> Result<u32, String> {
    let count = text.strip_prefix("by ").or(text.strip_prefix("for "));
    let count = count.and_then(|rest| rest.strip_suffix(" days"));
    number(count.ok_or_else(|| format!("`{text}` is no number of days"))?)
}

fn id_set(text: &str) -> Result<IdSet, String> {
    text.split_whitespace().map(number).collect()
}

fn code_set(text: &str) -> CodeSet {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Yuan, with two decimals or none.
pub(crate) fn amount(text: &str) -> Result<Minor, String> {
    let wrong = || format!("`{text}` is no amount, such as 5.01 or 5");
    let (yuan, cents) = text.split_once('.').unwrap_or((text, "00"));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if cents.len() != 2 || !digits(cents) || !digits(yuan) {
        return Err(wrong());
    }
    let units: i64 = format!("{yuan}{cents}").parse().map_err(|_| wrong())?;
    Ok(Minor::new(units))
}

/// As [`amount`] reads it, with two decimals.
pub(crate) fn yuan(minor: Minor) -> String {
    format!("{}.{:02}", minor.get() / 100, minor.get() % 100)
}
