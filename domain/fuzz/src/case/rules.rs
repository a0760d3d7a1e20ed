//! Every field of the rules.

use coupon_domain::{
    money::{Currency, Minor, WHOLE_BPS},
    rules::{
        Audience, Benefit, CodeSet, Exclusions, IdSet, KeptDiscount, RestorePolicy, Rules, Scope,
        Stacking, ThresholdBase, UseWindow,
    },
    time::TimeZone,
};

use super::{CATEGORIES, HOUR, MERCHANTS, NOW, PRODUCTS};
use crate::bytes::Bytes;

const TIME_ZONES: [&str; 3] = ["UTC", "Asia/Shanghai", "America/Santiago"];
const GROUPS: [&str; 3] = ["x", "y", "z"];

/// Rules with amounts up to `most`; when not `checked`, ones that could be stored by mistake only.
pub(super) fn decode(bytes: &mut Bytes<'_>, most: i64, checked: bool) -> Option<Rules> {
    let benefit = if checked { benefit(bytes, most) } else { hostile_benefit(bytes) };
    let from_zero = if bytes.one_in(6) { bytes.amount(most) } else { 0 };
    let limit = bytes.one_in(3).then(|| 1 + u32::from(bytes.byte() % 3));
    Some(Rules {
        benefit,
        threshold_base: bytes
            .pick(&[ThresholdBase::BeforeCoupons, ThresholdBase::AfterEarlierCoupons]),
        currency: Currency::parse(if bytes.one_in(32) { "USD" } else { "CNY" }).ok()?,
        scope: scope(bytes),
        excluded: exclusions(bytes),
        with_shipping: bytes.one_in(2),
        min_payable: Minor::new(if checked { from_zero } else { bytes.hostile() }),
        stacking: stacking(bytes),
        per_order_limit: if checked { limit } else { limit.map(|limit| limit - 1) },
        use_window: use_window(bytes),
        time_zone: TimeZone::parse(bytes.pick(&TIME_ZONES)).ok()?,
        per_user_limit: 1 + i32::from(bytes.byte()),
        audience: bytes.pick(&[Audience::Everyone, Audience::Named]),
        restore: restore(bytes),
        kept_discount: bytes.pick(&[KeptDiscount::Keep, KeptDiscount::ClawBack]),
    })
}

fn benefit(bytes: &mut Bytes<'_>, most: i64) -> Benefit {
    let positive = |bytes: &mut Bytes<'_>| Minor::new(bytes.amount(most).max(1));
    let cap = |bytes: &mut Bytes<'_>| bytes.one_in(3).then(|| positive(bytes));
    match bytes.below(3) {
        0 => Benefit::ThresholdOff {
            threshold: positive(bytes),
            amount: positive(bytes),
            every: bytes.one_in(2),
            max_discount: cap(bytes),
        },
        1 => Benefit::Percentage {
            pay_bps: pay_bps(bytes),
            max_discount: cap(bytes),
            threshold: if bytes.one_in(2) { positive(bytes) } else { Minor::ZERO },
        },
        _ => Benefit::DirectOff { amount: positive(bytes) },
    }
}

/// Tenths of the whole as a rule, else any.
fn pay_bps(bytes: &mut Bytes<'_>) -> i32 {
    let any = if bytes.one_in(2) {
        bytes.number().rem_euclid(WHOLE_BPS)
    } else {
        bytes.amount(9) * WHOLE_BPS / 10
    };
    i32::try_from(any).unwrap_or(1).max(1)
}

fn hostile_benefit(bytes: &mut Bytes<'_>) -> Benefit {
    let any = |bytes: &mut Bytes<'_>| Minor::new(bytes.hostile());
    let cap = |bytes: &mut Bytes<'_>| bytes.one_in(3).then(|| any(bytes));
    match bytes.below(3) {
        0 => Benefit::ThresholdOff {
            threshold: any(bytes),
            amount: any(bytes),
            every: bytes.one_in(2),
            max_discount: cap(bytes),
        },
        1 => Benefit::Percentage {
            pay_bps: i32::try_from(bytes.hostile() >> 32).unwrap_or(i32::MIN),
            max_discount: cap(bytes),
            threshold: any(bytes),
        },
        _ => Benefit::DirectOff { amount: any(bytes) },
    }
}

fn ids(bytes: &mut Bytes<'_>, most: i64) -> IdSet {
    let chosen = bytes.byte();
    (1..=most).filter(|id| chosen & (1 << (id - 1)) != 0).collect()
}

fn codes(bytes: &mut Bytes<'_>) -> CodeSet {
    let chosen = bytes.byte();
    let named = CATEGORIES.iter().enumerate().skip(1);
    let held = named.filter(|(place, _)| chosen & (1 << place) != 0);
    held.map(|(_, code)| (*code).to_owned()).collect()
}

fn scope(bytes: &mut Bytes<'_>) -> Scope {
    match bytes.below(8) {
        0..=3 => Scope::All,
        4 => Scope::Categories(codes(bytes)),
        5 => Scope::Merchants(ids(bytes, MERCHANTS)),
        _ => Scope::Products(ids(bytes, PRODUCTS)),
    }
}

fn exclusions(bytes: &mut Bytes<'_>) -> Exclusions {
    let mut excluded = Exclusions::default();
    match bytes.below(12) {
        9 => excluded.products = ids(bytes, PRODUCTS),
        10 => excluded.merchants = ids(bytes, MERCHANTS),
        11 => excluded.categories = codes(bytes),
        _ => {}
    }
    excluded
}

fn stacking(bytes: &mut Bytes<'_>) -> Stacking {
    match bytes.below(8) {
        0..=4 => Stacking::Stackable,
        5 | 6 => Stacking::OneOf(bytes.pick(&GROUPS).into()),
        _ => Stacking::Exclusive,
    }
}

fn use_window(bytes: &mut Bytes<'_>) -> UseWindow {
    match bytes.below(24) {
        0..=19 => UseWindow::AfterClaim { days: u32::from(bytes.byte()) },
        20 => UseWindow::Fixed { from: NOW.plus(HOUR), until: NOW.plus(HOUR * 2) },
        _ => UseWindow::Fixed { from: NOW, until: NOW.plus(HOUR) },
    }
}

fn restore(bytes: &mut Bytes<'_>) -> RestorePolicy {
    let days = match bytes.byte() {
        few @ 0..=249 => u32::from(few % 40),
        _ => u32::MAX,
    };
    bytes.pick(&[
        RestorePolicy::Never,
        RestorePolicy::IfUnexpired,
        RestorePolicy::Extend { days },
        RestorePolicy::Reissue { days },
    ])
}
