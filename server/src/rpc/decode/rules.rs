//! The rules of a template.

use std::{collections::HashSet, ops::RangeInclusive};

use coupon_domain::{
    ids::InvalidId,
    money::{AMOUNT_MAX, Minor, WHOLE_BPS},
    rules::{
        Audience, Benefit, Exclusions, KeptDiscount, RestorePolicy, Rules, Scope, Stacking,
        ThresholdBase, UseWindow,
    },
    time::TimeZone,
};
use coupon_proto::v1::{self, scope, template_rules, use_window};

use super::field::{Path, Violations};
use crate::config::TemplatesConfig;

const CATEGORY_CHARS_MAX: usize = 64;
const DAYS_MAX: i32 = 3_650;
/// As many coupons as any order may use.
const PER_ORDER_MAX: i32 = 100;

impl Violations {
    /// Rules that must be there.
    pub(super) fn rules(
        &mut self,
        at: &Path<'_>,
        value: Option<v1::TemplateRules>,
        limits: &TemplatesConfig,
    ) -> Option<Rules> {
        let value = self.required(*at, value)?;
        let benefit = self.benefit(at, value.benefit);
        let currency = self.currency(at.field("currency_code"), &value.currency_code);
        let scope = self.scope(&at.field("scope"), value.scope, limits.scope_entries_max);
        let stacking = self.stacking(at, value.stacking, &value.mutex_group);
        let use_window = self.use_window(&at.field("use_window"), value.use_window);
        let time_zone = self.time_zone(at.field("time_zone"), &value.time_zone);
        let limit = 1..=limits.per_user_limit_max;
        let per_user_limit = self.within(at.field("per_user_limit"), value.per_user_limit, limit);
        let audience = self.known(at.field("audience"), value.audience).map(audience);
        let restore = self.restore(at, value.restore_policy, value.restore_days);
        let base = self.known(at.field("threshold_base"), value.threshold_base);
        let excluded =
            self.exclusions(&at.field("exclude"), value.exclude, limits.scope_entries_max);
        let min_payable =
            self.amount(at.field("min_payable_minor"), value.min_payable_minor, 0..=AMOUNT_MAX);
        let per_order_limit =
            self.per_order_limit(at.field("per_order_limit"), value.per_order_limit);
        let kept = self.known(at.field("kept_discount"), value.kept_discount);
        Some(Rules {
            benefit: benefit?,
            threshold_base: base.map(threshold_base)?,
            currency: currency?,
            scope: scope?,
            excluded: excluded?,
            with_shipping: value.includes_shipping,
            min_payable: min_payable?,
            stacking: stacking?,
            per_order_limit: per_order_limit?,
            use_window: use_window?,
            time_zone: time_zone?,
            per_user_limit: per_user_limit?,
            audience: audience?,
            restore: restore?,
            kept_discount: kept.map(kept_discount)?,
        })
    }

    fn benefit(
        &mut self,
        at: &Path<'_>,
        value: Option<template_rules::Benefit>,
    ) -> Option<Benefit> {
        match self.required(at.field("benefit"), value)? {
            template_rules::Benefit::ThresholdOff(off) => {
                let at = at.field("threshold_off");
                let threshold =
                    self.amount(at.field("threshold_minor"), off.threshold_minor, 1..=AMOUNT_MAX)?;
                // No more than the threshold, so that what is left to pay never falls below zero.
                let bounds = 1..=threshold.get();
                let amount = self.amount(at.field("amount_minor"), off.amount_minor, bounds)?;
                let (every, cap) = (off.every_threshold, off.max_discount_minor);
                if !every && cap != 0 {
                    self.note(at.field("max_discount_minor"), "needs `every_threshold`");
                    return None;
                }
                let bounds = if cap == 0 { 0..=0 } else { amount.get()..=AMOUNT_MAX };
                let cap = self.amount(at.field("max_discount_minor"), cap, bounds)?;
                let max_discount = Some(cap).filter(|cap| *cap > Minor::ZERO);
                Some(Benefit::ThresholdOff { threshold, amount, every, max_discount })
            }
            template_rules::Benefit::DirectOff(off) => {
                let at = at.field("direct_off");
                let amount =
                    self.amount(at.field("amount_minor"), off.amount_minor, 1..=AMOUNT_MAX)?;
                Some(Benefit::DirectOff { amount })
            }
            template_rules::Benefit::Percentage(percentage) => {
                let at = at.field("percentage");
                let bounds = 1..=WHOLE_BPS - 1;
                let pay = self.within(at.field("pay_bps"), i64::from(percentage.pay_bps), bounds);
                let cap = percentage.max_discount_minor;
                let cap = self.amount(at.field("max_discount_minor"), cap, 0..=AMOUNT_MAX);
                let threshold = percentage.threshold_minor;
                let threshold = self.amount(at.field("threshold_minor"), threshold, 0..=AMOUNT_MAX);
                let max_discount = Some(cap?).filter(|cap| *cap > Minor::ZERO);
                let pay_bps = i32::try_from(pay?).ok()?;
                Some(Benefit::Percentage { pay_bps, max_discount, threshold: threshold? })
            }
        }
    }

    fn amount(&mut self, at: Path<'_>, value: i64, bounds: RangeInclusive<i64>) -> Option<Minor> {
        self.within(at, value, bounds).map(Minor::new)
    }

    fn scope(
        &mut self,
        at: &Path<'_>,
        value: Option<v1::Scope>,
        entries_max: usize,
    ) -> Option<Scope> {
        let entries = 1..=entries_max;
        let scope = self.required(*at, value)?;
        match self.required(at.field("kind"), scope.kind)? {
            scope::Kind::All(scope::All {}) => Some(Scope::All),
            scope::Kind::Merchants(of) => {
                let at = at.field("merchants");
                let at = at.field("merchant_ids");
                let ids = self.distinct_ids(&at, &of.merchant_ids, entries, positive)?;
                Some(Scope::Merchants(ids.into_iter().collect()))
            }
            scope::Kind::Categories(of) => {
                let at = at.field("categories");
                let codes = self.codes(&at.field("categories"), of.categories, entries)?;
                Some(Scope::categories(codes))
            }
            scope::Kind::Products(of) => {
                let at = at.field("products");
                let at = at.field("product_ids");
                let ids = self.distinct_ids(&at, &of.product_ids, entries, positive)?;
                Some(Scope::Products(ids.into_iter().collect()))
            }
        }
    }

    fn exclusions(
        &mut self,
        at: &Path<'_>,
        value: Option<v1::Exclusions>,
        entries_max: usize,
    ) -> Option<Exclusions> {
        let v1::Exclusions { merchant_ids, categories, product_ids } = value.unwrap_or_default();
        let count = merchant_ids.len() + categories.len() + product_ids.len();
        if !self.count(*at, count, 0..=entries_max) {
            return None;
        }
        let entries = || 0..=entries_max;
        let merchants =
            self.distinct_ids(&at.field("merchant_ids"), &merchant_ids, entries(), positive);
        let categories = self.codes(&at.field("categories"), categories, entries());
        let products =
            self.distinct_ids(&at.field("product_ids"), &product_ids, entries(), positive);
        Some(Exclusions {
            merchants: merchants?.into_iter().collect(),
            categories: categories?.into_iter().collect(),
            products: products?.into_iter().collect(),
        })
    }

    /// Category codes, distinct.
    fn codes(
        &mut self,
        at: &Path<'_>,
        values: Vec<String>,
        entries: RangeInclusive<usize>,
    ) -> Option<Vec<String>> {
        if !self.count(*at, values.len(), entries) {
            return None;
        }
        let mut seen = HashSet::with_capacity(values.len());
        for (index, code) in values.iter().enumerate() {
            if !seen.insert(code.as_str()) {
                self.note(at.index(index), "must not repeat an earlier entry");
            }
        }
        let count = values.len();
        let codes = values.into_iter().enumerate();
        let codes: Vec<String> = codes
            .filter_map(|(index, code)| self.text(at.index(index), code, 1..=CATEGORY_CHARS_MAX))
            .collect();
        (codes.len() == count).then_some(codes)
    }

    fn stacking(&mut self, at: &Path<'_>, value: i32, group: &str) -> Option<Stacking> {
        let stacking = self.known(at.field("stacking"), value)?;
        let stackable = match stacking {
            v1::Stacking::Unspecified | v1::Stacking::Mutex => false,
            v1::Stacking::Stackable => true,
        };
        if group.is_empty() {
            return Some(if stackable { Stacking::Stackable } else { Stacking::Exclusive });
        }
        let group = self.visible_ascii(at.field("mutex_group"), group.to_owned(), 1..=64)?;
        if !stackable {
            self.note(at.field("mutex_group"), "needs `stacking` to be STACKABLE");
            return None;
        }
        Some(Stacking::OneOf(group.into()))
    }

    /// `None` inside = no limit.
    fn per_order_limit(&mut self, at: Path<'_>, value: i32) -> Option<Option<u32>> {
        let limit = self.within(at, value, 0..=PER_ORDER_MAX)?;
        Some(u32::try_from(limit).ok().filter(|limit| *limit > 0))
    }

    fn use_window(&mut self, at: &Path<'_>, value: Option<v1::UseWindow>) -> Option<UseWindow> {
        let window = self.required(*at, value)?;
        match self.required(at.field("kind"), window.kind)? {
            use_window::Kind::Fixed(fixed) => {
                let at = at.field("fixed");
                let from = (at.field("use_from"), fixed.use_from);
                let until = (at.field("valid_until"), fixed.valid_until);
                let (from, until) = self.window(from, until)?;
                Some(UseWindow::Fixed { from, until })
            }
            use_window::Kind::AfterClaim(after) => {
                let at = at.field("after_claim");
                let days = self.within(at.field("days"), after.days, 0..=DAYS_MAX)?;
                Some(UseWindow::AfterClaim { days: u32::try_from(days).ok()? })
            }
        }
    }

    fn time_zone(&mut self, at: Path<'_>, name: &str) -> Option<TimeZone> {
        let zone = TimeZone::parse(name).ok();
        if zone.is_none() {
            self.note(at, "must be an IANA time zone, for example `Asia/Shanghai` or `UTC`");
        }
        zone
    }

    fn restore(&mut self, at: &Path<'_>, policy: i32, days: i32) -> Option<RestorePolicy> {
        let policy = self.known(at.field("restore_policy"), policy)?;
        let bounds = match policy {
            v1::RestorePolicy::Extend | v1::RestorePolicy::Reissue => 1..=DAYS_MAX,
            _ => 0..=0,
        };
        let days = self.within(at.field("restore_days"), days, bounds)?;
        let days = u32::try_from(days).ok()?;
        Some(match policy {
            v1::RestorePolicy::Never => RestorePolicy::Never,
            v1::RestorePolicy::Unspecified | v1::RestorePolicy::IfUnexpired => {
                RestorePolicy::IfUnexpired
            }
            v1::RestorePolicy::Extend => RestorePolicy::Extend { days },
            v1::RestorePolicy::Reissue => RestorePolicy::Reissue { days },
        })
    }
}

/// An id that has no type of its own.
fn positive(value: i64) -> Result<i64, InvalidId> {
    if value > 0 { Ok(value) } else { Err(InvalidId(value)) }
}

fn threshold_base(value: v1::ThresholdBase) -> ThresholdBase {
    match value {
        v1::ThresholdBase::Unspecified | v1::ThresholdBase::BeforeCoupons => {
            ThresholdBase::BeforeCoupons
        }
        v1::ThresholdBase::AfterEarlierCoupons => ThresholdBase::AfterEarlierCoupons,
    }
}

fn kept_discount(value: v1::KeptDiscount) -> KeptDiscount {
    match value {
        v1::KeptDiscount::Unspecified | v1::KeptDiscount::Keep => KeptDiscount::Keep,
        v1::KeptDiscount::ClawBack => KeptDiscount::ClawBack,
    }
}

fn audience(value: v1::Audience) -> Audience {
    match value {
        v1::Audience::Unspecified | v1::Audience::Everyone => Audience::Everyone,
        v1::Audience::Named => Audience::Named,
    }
}
