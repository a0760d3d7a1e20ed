//! Messages of `TemplateService`.

use coupon_domain::{
    ids::TemplateId,
    rules::{
        Audience, Benefit, Exclusions, KeptDiscount, RestorePolicy, Rules, Scope, Stacking,
        ThresholdBase, UseWindow,
    },
    template::{Template, TemplateState},
};
use coupon_proto::v1::{self, scope, template_rules, use_window};

use super::instant;
use crate::{
    rpc::decode,
    usecase::{TemplatePage, TemplateStats},
};

/// Entries of a scope, and of each list of exclusions, shown in a list of templates.
const LISTED_ENTRIES_MAX: usize = 100;

/// A template with all of its scope.
pub(crate) fn template(template: &Template) -> v1::Template {
    message(template, usize::MAX)
}

/// A page of templates, long scopes cut short: a page must fit a message.
pub(crate) fn templates(page: &TemplatePage) -> v1::ListTemplatesResponse {
    let listed = page.templates.iter().map(|template| message(template, LISTED_ENTRIES_MAX));
    v1::ListTemplatesResponse {
        templates: listed.collect(),
        next_page_token: page.next.map(|last| decode::token(last.get())).unwrap_or_default(),
    }
}

/// Counts of a template's coupons.
pub(crate) fn stats(template: TemplateId, stats: &TemplateStats) -> v1::GetTemplateStatsResponse {
    v1::GetTemplateStatsResponse {
        template_id: template.get(),
        total_count: stats.total,
        issued_count: stats.issued,
        locked_count: stats.locked,
        used_count: stats.used,
        expired_count: stats.expired,
        voided_count: stats.voided,
        reissued_count: stats.reissued,
        as_of: Some(instant(stats.as_of)),
    }
}

fn message(template: &Template, entries_max: usize) -> v1::Template {
    v1::Template {
        name: format!("templates/{}", template.id),
        template_id: template.id.get(),
        display_name: template.display_name.clone(),
        merchant_id: template.merchant,
        state: state(template.state).into(),
        rules: Some(rules(&template.rules, entries_max)),
        total_count: template.total,
        claim_from: Some(instant(template.claim_from)),
        claim_until: Some(instant(template.claim_until)),
        bucket_count: template.buckets.into(),
        version: template.version,
        created_at: Some(instant(template.created_at)),
        published_at: template.published_at.map(instant),
    }
}

fn rules(rules: &Rules, entries_max: usize) -> v1::TemplateRules {
    let (restore_policy, restore_days) = restore(rules.restore);
    v1::TemplateRules {
        benefit: Some(benefit(&rules.benefit)),
        currency_code: rules.currency.as_str().to_owned(),
        scope: Some(v1::Scope { kind: Some(scope(&rules.scope, entries_max)) }),
        stacking: match rules.stacking {
            Stacking::Exclusive => v1::Stacking::Mutex.into(),
            Stacking::Stackable | Stacking::OneOf(_) => v1::Stacking::Stackable.into(),
        },
        use_window: Some(v1::UseWindow { kind: Some(use_window(rules.use_window)) }),
        time_zone: rules.time_zone.name().to_owned(),
        per_user_limit: rules.per_user_limit,
        audience: match rules.audience {
            Audience::Everyone => v1::Audience::Everyone.into(),
            Audience::Named => v1::Audience::Named.into(),
        },
        restore_policy: restore_policy.into(),
        restore_days,
        threshold_base: match rules.threshold_base {
            ThresholdBase::BeforeCoupons => v1::ThresholdBase::BeforeCoupons.into(),
            ThresholdBase::AfterEarlierCoupons => v1::ThresholdBase::AfterEarlierCoupons.into(),
        },
        exclude: exclusions(&rules.excluded, entries_max),
        includes_shipping: rules.with_shipping,
        min_payable_minor: rules.min_payable.get(),
        mutex_group: match &rules.stacking {
            Stacking::OneOf(group) => String::from(&**group),
            Stacking::Exclusive | Stacking::Stackable => String::new(),
        },
        per_order_limit: wire_count(rules.per_order_limit.unwrap_or(0)),
        kept_discount: match rules.kept_discount {
            KeptDiscount::Keep => v1::KeptDiscount::Keep.into(),
            KeptDiscount::ClawBack => v1::KeptDiscount::ClawBack.into(),
        },
    }
}

fn exclusions(excluded: &Exclusions, entries_max: usize) -> Option<v1::Exclusions> {
    if *excluded == Exclusions::default() {
        return None;
    }
    let cut = |ids: &[i64]| ids.iter().take(entries_max).copied().collect();
    Some(v1::Exclusions {
        merchant_ids: cut(excluded.merchants.as_slice()),
        categories: excluded.categories.as_slice().iter().take(entries_max).cloned().collect(),
        product_ids: cut(excluded.products.as_slice()),
    })
}

fn benefit(benefit: &Benefit) -> template_rules::Benefit {
    match *benefit {
        Benefit::ThresholdOff { threshold, amount, every, max_discount } => {
            template_rules::Benefit::ThresholdOff(v1::ThresholdOff {
                threshold_minor: threshold.get(),
                amount_minor: amount.get(),
                every_threshold: every,
                max_discount_minor: max_discount.map_or(0, |cap| cap.get()),
            })
        }
        Benefit::DirectOff { amount } => {
            template_rules::Benefit::DirectOff(v1::DirectOff { amount_minor: amount.get() })
        }
        Benefit::Percentage { pay_bps, max_discount, threshold } => {
            template_rules::Benefit::Percentage(v1::Percentage {
                pay_bps,
                max_discount_minor: max_discount.map_or(0, |cap| cap.get()),
                threshold_minor: threshold.get(),
            })
        }
    }
}

fn scope(scope: &Scope, entries_max: usize) -> scope::Kind {
    let cut = |ids: &[i64]| ids.iter().take(entries_max).copied().collect();
    match scope {
        Scope::All => scope::Kind::All(scope::All {}),
        Scope::Merchants(ids) => {
            scope::Kind::Merchants(scope::Merchants { merchant_ids: cut(ids.as_slice()) })
        }
        Scope::Categories(codes) => {
            let categories = codes.as_slice().iter().take(entries_max).cloned().collect();
            scope::Kind::Categories(scope::Categories { categories })
        }
        Scope::Products(ids) => {
            scope::Kind::Products(scope::Products { product_ids: cut(ids.as_slice()) })
        }
    }
}

fn use_window(window: UseWindow) -> use_window::Kind {
    match window {
        UseWindow::Fixed { from, until } => use_window::Kind::Fixed(use_window::Fixed {
            use_from: Some(instant(from)),
            valid_until: Some(instant(until)),
        }),
        UseWindow::AfterClaim { days } => {
            use_window::Kind::AfterClaim(use_window::AfterClaim { days: wire_count(days) })
        }
    }
}

fn restore(policy: RestorePolicy) -> (v1::RestorePolicy, i32) {
    match policy {
        RestorePolicy::Never => (v1::RestorePolicy::Never, 0),
        RestorePolicy::IfUnexpired => (v1::RestorePolicy::IfUnexpired, 0),
        RestorePolicy::Extend { days } => (v1::RestorePolicy::Extend, wire_count(days)),
        RestorePolicy::Reissue { days } => (v1::RestorePolicy::Reissue, wire_count(days)),
    }
}

fn wire_count(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn state(state: TemplateState) -> v1::TemplateState {
    match state {
        TemplateState::Draft => v1::TemplateState::Draft,
        TemplateState::Active => v1::TemplateState::Active,
        TemplateState::Paused => v1::TemplateState::Paused,
        TemplateState::Ended => v1::TemplateState::Ended,
    }
}
