//! `TemplateService`.

use coupon_proto::v1::{self, scope, template_rules::Benefit, use_window};

use super::{
    case::{Cases, rejects},
    valid::{self, rules_of, template_of},
};

pub(super) fn add(cases: &mut Cases) {
    create(cases);
    update(cases);
    change(cases);
    read(cases);
}

fn create(cases: &mut Cases) {
    rejects! { cases, "CreateTemplate", valid::create_template,
        |world, sent| world.templates().create_template(sent), {
        "request_id": |r| r.request_id.clear();
        "template": |r| r.template = None;
        "template.display_name": |r| template_of(&mut r.template).display_name.clear();
        "template.display_name": |r| template_of(&mut r.template).display_name = "券".repeat(201);
        "template.display_name": |r| template_of(&mut r.template).display_name = "a\nb".to_owned();
        "template.merchant_id": |r| template_of(&mut r.template).merchant_id = -1;
        "template.total_count": |r| template_of(&mut r.template).total_count = 0;
        "template.total_count": |r| template_of(&mut r.template).total_count = 1_000_000_001;
        "template.claim_from": |r| template_of(&mut r.template).claim_from = None;
        "template.claim_from": |r| template_of(&mut r.template).claim_from = valid::no_instant();
        "template.claim_until": |r| template_of(&mut r.template).claim_until = None;
        "template.claim_until": |r| template_of(&mut r.template).claim_until = valid::at(i64::MAX);
        // An empty window, and one that outlives the use of the coupons.
        "template.claim_until": |r| {
            template_of(&mut r.template).claim_until = template_of(&mut r.template).claim_from;
        };
        "template.claim_until": |r| {
            template_of(&mut r.template).claim_until = valid::at(valid::FAR_AHEAD_S + 1);
        };
        "template.rules": |r| template_of(&mut r.template).rules = None;
        "template.rules.currency_code": |r| rules_of(&mut r.template).currency_code.clear();
        "template.rules.stacking": |r| rules_of(&mut r.template).stacking = 99;
        "template.rules.time_zone": |r| rules_of(&mut r.template).time_zone.clear();
        "template.rules.time_zone":
            |r| rules_of(&mut r.template).time_zone = "Mars/Olympus".to_owned();
        "template.rules.per_user_limit": |r| rules_of(&mut r.template).per_user_limit = 0;
        "template.rules.per_user_limit": |r| rules_of(&mut r.template).per_user_limit = 1_001;
        "template.rules.audience": |r| rules_of(&mut r.template).audience = -1;
        "template.rules.restore_policy": |r| rules_of(&mut r.template).restore_policy = 99;
        "template.rules.restore_days": |r| rules_of(&mut r.template).restore_days = 1;
        "template.rules.restore_days":
            |r| rules_of(&mut r.template).restore_policy = v1::RestorePolicy::Extend.into();
        "template.rules.restore_days": |r| {
            rules_of(&mut r.template).restore_policy = v1::RestorePolicy::Reissue.into();
            rules_of(&mut r.template).restore_days = 3_651;
        };
    } }
    benefits(cases);
    scopes(cases);
    use_windows(cases);
    super::rules::add(cases);
}

fn benefits(cases: &mut Cases) {
    fn threshold(threshold_minor: i64, amount_minor: i64) -> Option<Benefit> {
        Some(Benefit::ThresholdOff(v1::ThresholdOff {
            threshold_minor,
            amount_minor,
            ..v1::ThresholdOff::default()
        }))
    }
    fn direct(amount_minor: i64) -> Option<Benefit> {
        Some(Benefit::DirectOff(v1::DirectOff { amount_minor }))
    }
    fn percent(pay_bps: i32, max_discount_minor: i64, threshold_minor: i64) -> Option<Benefit> {
        let percentage = v1::Percentage { pay_bps, max_discount_minor, threshold_minor };
        Some(Benefit::Percentage(percentage))
    }
    const OVER: i64 = 1_000_000_000_001;
    rejects! { also cases, "CreateTemplate", valid::create_template,
        |world, sent| world.templates().create_template(sent), {
        "template.rules.benefit": |r| rules_of(&mut r.template).benefit = None;
        "template.rules.threshold_off.threshold_minor":
            |r| rules_of(&mut r.template).benefit = threshold(0, 1);
        "template.rules.threshold_off.threshold_minor":
            |r| rules_of(&mut r.template).benefit = threshold(OVER, 1);
        "template.rules.threshold_off.amount_minor":
            |r| rules_of(&mut r.template).benefit = threshold(1_000, 0);
        "template.rules.threshold_off.amount_minor":
            |r| rules_of(&mut r.template).benefit = threshold(1_000, 1_001);
        "template.rules.direct_off.amount_minor":
            |r| rules_of(&mut r.template).benefit = direct(0);
        "template.rules.direct_off.amount_minor":
            |r| rules_of(&mut r.template).benefit = direct(OVER);
        "template.rules.percentage.pay_bps":
            |r| rules_of(&mut r.template).benefit = percent(0, 0, 0);
        "template.rules.percentage.pay_bps":
            |r| rules_of(&mut r.template).benefit = percent(10_000, 0, 0);
        "template.rules.percentage.max_discount_minor":
            |r| rules_of(&mut r.template).benefit = percent(8_000, -1, 0);
        "template.rules.percentage.threshold_minor":
            |r| rules_of(&mut r.template).benefit = percent(8_000, 0, -1);
    } }
}

fn scopes(cases: &mut Cases) {
    fn merchants(merchant_ids: Vec<i64>) -> Option<v1::Scope> {
        let kind = scope::Kind::Merchants(scope::Merchants { merchant_ids });
        Some(v1::Scope { kind: Some(kind) })
    }
    fn products(product_ids: Vec<i64>) -> Option<v1::Scope> {
        let kind = scope::Kind::Products(scope::Products { product_ids });
        Some(v1::Scope { kind: Some(kind) })
    }
    fn categories(codes: &[&str]) -> Option<v1::Scope> {
        let categories = codes.iter().map(|code| (*code).to_owned()).collect();
        let kind = scope::Kind::Categories(scope::Categories { categories });
        Some(v1::Scope { kind: Some(kind) })
    }
    rejects! { also cases, "CreateTemplate", valid::create_template,
        |world, sent| world.templates().create_template(sent), {
        "template.rules.scope": |r| rules_of(&mut r.template).scope = None;
        "template.rules.scope.kind":
            |r| rules_of(&mut r.template).scope = Some(v1::Scope { kind: None });
        "template.rules.scope.merchants.merchant_ids":
            |r| rules_of(&mut r.template).scope = merchants(Vec::new());
        "template.rules.scope.merchants.merchant_ids[1]":
            |r| rules_of(&mut r.template).scope = merchants(vec![1, 0]);
        "template.rules.scope.merchants.merchant_ids[2]":
            |r| rules_of(&mut r.template).scope = merchants(vec![1, 2, 1]);
        "template.rules.scope.categories.categories":
            |r| rules_of(&mut r.template).scope = categories(&[]);
        "template.rules.scope.categories.categories[0]":
            |r| rules_of(&mut r.template).scope = categories(&[""]);
        "template.rules.scope.categories.categories[1]":
            |r| rules_of(&mut r.template).scope = categories(&["tea", "tea"]);
        "template.rules.scope.products.product_ids":
            |r| rules_of(&mut r.template).scope = products((1..=15_001).collect());
        "template.rules.scope.products.product_ids[3]":
            |r| rules_of(&mut r.template).scope = products(vec![1, 2, 3, -4]);
        "template.rules.scope.products.product_ids[1]":
            |r| rules_of(&mut r.template).scope = products(vec![5, 5]);
    } }
}

fn use_windows(cases: &mut Cases) {
    fn fixed(
        from: Option<prost_types::Timestamp>,
        until: Option<prost_types::Timestamp>,
    ) -> Option<v1::UseWindow> {
        let fixed = use_window::Fixed { use_from: from, valid_until: until };
        Some(v1::UseWindow { kind: Some(use_window::Kind::Fixed(fixed)) })
    }
    fn after_claim(days: i32) -> Option<v1::UseWindow> {
        let after_claim = use_window::AfterClaim { days };
        Some(v1::UseWindow { kind: Some(use_window::Kind::AfterClaim(after_claim)) })
    }
    rejects! { also cases, "CreateTemplate", valid::create_template,
        |world, sent| world.templates().create_template(sent), {
        "template.rules.use_window": |r| rules_of(&mut r.template).use_window = None;
        "template.rules.use_window.kind":
            |r| rules_of(&mut r.template).use_window = Some(v1::UseWindow { kind: None });
        "template.rules.use_window.fixed.use_from":
            |r| rules_of(&mut r.template).use_window = fixed(None, valid::at(5_000_000_000));
        "template.rules.use_window.fixed.use_from":
            |r| rules_of(&mut r.template).use_window =
                fixed(valid::no_instant(), valid::at(5_000_000_000));
        "template.rules.use_window.fixed.valid_until":
            |r| rules_of(&mut r.template).use_window = fixed(valid::at(0), None);
        "template.rules.use_window.fixed.valid_until":
            |r| rules_of(&mut r.template).use_window = fixed(valid::at(9), valid::at(9));
        "template.rules.use_window.after_claim.days":
            |r| rules_of(&mut r.template).use_window = after_claim(-1);
        "template.rules.use_window.after_claim.days":
            |r| rules_of(&mut r.template).use_window = after_claim(3_651);
    } }
}

fn update(cases: &mut Cases) {
    rejects! { cases, "UpdateTemplate", valid::update_template,
        |world, sent| world.templates().update_template(sent), {
        "request_id": |r| r.request_id.clear();
        "template": |r| r.template = None;
        "template.template_id": |r| template_of(&mut r.template).template_id = 0;
        "template.display_name": |r| template_of(&mut r.template).display_name.clear();
        "template.total_count": |r| template_of(&mut r.template).total_count = -1;
        "template.claim_from": |r| template_of(&mut r.template).claim_from = None;
        "template.claim_until": |r| template_of(&mut r.template).claim_until = valid::no_instant();
        "template.claim_until": |r| template_of(&mut r.template).claim_until = valid::at(0);
        "update_mask": |r| r.update_mask = None;
        "update_mask": |r| valid::paths_of(&mut r.update_mask).clear();
        "update_mask.paths[1]": |r| valid::paths_of(&mut r.update_mask)[1] = "rules".to_owned();
    } }
}

fn change(cases: &mut Cases) {
    rejects! { cases, "PublishTemplate", valid::publish_template,
        |world, sent| world.templates().publish_template(sent), {
        "request_id": |r| r.request_id.clear();
        "template_id": |r| r.template_id = 0;
        "bucket_count": |r| r.bucket_count = -1;
        "bucket_count": |r| r.bucket_count = 65;
    } }
    rejects! { cases, "PauseTemplate", valid::pause_template,
        |world, sent| world.templates().pause_template(sent), {
        "request_id": |r| r.request_id.clear();
        "template_id": |r| r.template_id = 0;
    } }
    rejects! { cases, "ResumeTemplate", valid::resume_template,
        |world, sent| world.templates().resume_template(sent), {
        "request_id": |r| r.request_id.clear();
        "template_id": |r| r.template_id = 0;
    } }
    rejects! { cases, "EndTemplate", valid::end_template,
        |world, sent| world.templates().end_template(sent), {
        "request_id": |r| r.request_id.clear();
        "template_id": |r| r.template_id = 0;
    } }
    rejects! { cases, "AddAudienceUsers", valid::add_audience_users,
        |world, sent| world.templates().add_audience_users(sent), {
        "request_id": |r| r.request_id.clear();
        "template_id": |r| r.template_id = 0;
        "user_ids": |r| r.user_ids.clear();
        "user_ids": |r| r.user_ids = (1..=10_001).collect();
        "user_ids[1]": |r| r.user_ids[1] = 0;
    } }
}

fn read(cases: &mut Cases) {
    rejects! { cases, "GetTemplate", valid::get_template,
        |world, sent| world.templates().get_template(sent), {
        "template_id": |r| r.template_id = 0;
    } }
    rejects! { cases, "ListTemplates", valid::list_templates,
        |world, sent| world.templates().list_templates(sent), {
        "page_size": |r| r.page_size = -1;
        "page_token": |r| r.page_token = "7".to_owned();
        "state": |r| r.state = 99;
        "merchant_id": |r| r.merchant_id = -1;
    } }
    rejects! { cases, "GetTemplateStats", valid::get_template_stats,
        |world, sent| world.templates().get_template_stats(sent), {
        "template_id": |r| r.template_id = -1;
    } }
}
