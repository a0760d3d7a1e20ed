//! What well-formed requests mean. What malformed ones are told is tested over the wire, field by
//! field, in `tests/it/rejecting`.

use std::time::Duration;

use coupon_domain::{
    fingerprint::Fingerprint,
    ids::TemplateId,
    money::Minor,
    rules::{Audience, Benefit, KeptDiscount, RestorePolicy, Scope, Stacking, ThresholdBase},
    template::{Template, TemplateState},
    time::Timestamp,
};
use coupon_proto::v1::{self, scope, template_rules, use_window};

use super::*;
use crate::{config::Config, rpc::encode, usecase::NewTemplate};

fn at(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds, nanos: 7_000_000 })
}

fn rules() -> v1::TemplateRules {
    let direct = v1::DirectOff { amount_minor: 500 };
    v1::TemplateRules {
        benefit: Some(template_rules::Benefit::DirectOff(direct)),
        currency_code: "CNY".to_owned(),
        scope: Some(v1::Scope { kind: Some(scope::Kind::All(scope::All {})) }),
        stacking: v1::Stacking::Stackable.into(),
        use_window: Some(v1::UseWindow {
            kind: Some(use_window::Kind::AfterClaim(use_window::AfterClaim { days: 7 })),
        }),
        time_zone: "Asia/Shanghai".to_owned(),
        per_user_limit: 3,
        audience: v1::Audience::Named.into(),
        restore_policy: v1::RestorePolicy::Reissue.into(),
        restore_days: 5,
        threshold_base: v1::ThresholdBase::BeforeCoupons.into(),
        kept_discount: v1::KeptDiscount::Keep.into(),
        ..v1::TemplateRules::default()
    }
}

fn created(rules: v1::TemplateRules) -> NewTemplate {
    let template = v1::Template {
        display_name: "茶".to_owned(),
        merchant_id: 9,
        rules: Some(rules),
        total_count: 100,
        claim_from: at(1_000),
        claim_until: at(2_000),
        ..v1::Template::default()
    };
    let request =
        v1::CreateTemplateRequest { request_id: "r".to_owned(), template: Some(template) };
    create_template(request, &Config::default()).unwrap().command
}

fn shown(new: NewTemplate) -> v1::Template {
    encode::template(&Template {
        id: TemplateId::new(77).unwrap(),
        display_name: new.display_name,
        merchant: new.merchant,
        state: TemplateState::Draft,
        rules: new.rules.into(),
        total: new.total,
        claim_from: new.claim_from,
        claim_until: new.claim_until,
        buckets: 0,
        version: 1,
        created_at: Timestamp::default(),
        published_at: None,
    })
}

/// Rules with each form of each `oneof`, each policy, and each of the rarer fields.
fn every_form() -> Vec<v1::TemplateRules> {
    let of = |change: &dyn Fn(&mut v1::TemplateRules)| {
        let mut rules = rules();
        change(&mut rules);
        rules
    };
    let scoped =
        |kind: scope::Kind| of(&|r| r.scope = Some(v1::Scope { kind: Some(kind.clone()) }));
    let threshold = v1::ThresholdOff {
        threshold_minor: 1_000,
        amount_minor: 1_000,
        ..v1::ThresholdOff::default()
    };
    let every = v1::ThresholdOff { every_threshold: true, max_discount_minor: 5_000, ..threshold };
    let exclude = v1::Exclusions {
        merchant_ids: vec![4],
        categories: vec!["tea".to_owned()],
        product_ids: vec![5, 6],
    };
    let percentage = v1::Percentage { pay_bps: 8_000, max_discount_minor: 9, threshold_minor: 5 };
    let fixed = use_window::Fixed { use_from: at(0), valid_until: at(2_000) };
    let categories = vec!["coffee".to_owned(), "tea".to_owned()];
    vec![
        rules(),
        of(&|r| r.benefit = Some(template_rules::Benefit::ThresholdOff(threshold))),
        of(&|r| r.benefit = Some(template_rules::Benefit::Percentage(percentage))),
        of(&|r| r.use_window = Some(v1::UseWindow { kind: Some(use_window::Kind::Fixed(fixed)) })),
        scoped(scope::Kind::Merchants(scope::Merchants { merchant_ids: vec![1, 9] })),
        scoped(scope::Kind::Products(scope::Products { product_ids: vec![2, 3] })),
        scoped(scope::Kind::Categories(scope::Categories { categories })),
        of(&|r| {
            r.restore_policy = v1::RestorePolicy::Never.into();
            r.restore_days = 0;
        }),
        of(&|r| r.restore_policy = v1::RestorePolicy::Extend.into()),
        of(&|r| r.benefit = Some(template_rules::Benefit::ThresholdOff(every))),
        of(&|r| r.threshold_base = v1::ThresholdBase::AfterEarlierCoupons.into()),
        of(&|r| r.exclude = Some(exclude.clone())),
        of(&|r| r.includes_shipping = true),
        of(&|r| r.min_payable_minor = 1),
        of(&|r| r.mutex_group = "summer".to_owned()),
        of(&|r| r.per_order_limit = 2),
        of(&|r| r.kept_discount = v1::KeptDiscount::ClawBack.into()),
    ]
}

#[test]
fn a_template_is_shown_as_it_was_created() {
    for rules in every_form() {
        let shown = shown(created(rules.clone()));
        assert_eq!(shown.rules, Some(rules));
        assert_eq!((shown.name.as_str(), shown.merchant_id), ("templates/77", 9));
        assert_eq!((shown.claim_from, shown.claim_until), (at(1_000), at(2_000)));
        assert_eq!(shown.state(), v1::TemplateState::Draft);
    }
}

#[test]
fn what_is_unspecified_is_read_as_documented() {
    let rules = created(v1::TemplateRules {
        stacking: 0,
        audience: 0,
        restore_policy: 0,
        restore_days: 0,
        threshold_base: 0,
        kept_discount: 0,
        benefit: Some(template_rules::Benefit::Percentage(v1::Percentage {
            pay_bps: 8_000,
            max_discount_minor: 0,
            threshold_minor: 0,
        })),
        ..rules()
    })
    .rules;
    assert_eq!(rules.stacking, Stacking::Exclusive);
    assert_eq!(rules.audience, Audience::Everyone);
    assert_eq!(rules.restore, RestorePolicy::IfUnexpired);
    assert_eq!(rules.threshold_base, ThresholdBase::BeforeCoupons);
    assert_eq!(rules.kept_discount, KeptDiscount::Keep);
    assert_eq!(rules.scope, Scope::All);
    let threshold = Minor::ZERO;
    assert_eq!(
        rules.benefit,
        Benefit::Percentage { pay_bps: 8_000, max_discount: None, threshold }
    );

    let user = v1::IssueUser { user_id: 4, count: 0 };
    let request = v1::IssueRequest {
        template_id: 1,
        request_id: "r".to_owned(),
        users: vec![user],
        source: String::new(),
    };
    assert_eq!(issue(request).unwrap().users[0].1, 1);
}

#[test]
fn an_update_carries_the_masked_fields_alone() {
    let template = v1::Template {
        template_id: 5,
        display_name: String::new(),
        total_count: 10,
        ..v1::Template::default()
    };
    let request = v1::UpdateTemplateRequest {
        request_id: "r".to_owned(),
        template: Some(template),
        update_mask: Some(prost_types::FieldMask { paths: vec!["total_count".to_owned()] }),
    };
    let update = update_template(request, &Config::default()).unwrap().command;
    assert_eq!((update.template.get(), update.total), (5, Some(10)));
    assert_eq!((update.display_name, update.claim_from, update.claim_until), (None, None, None));
}

fn lock_request() -> v1::LockRequest {
    let line = v1::CartLine {
        line_id: "1".to_owned(),
        product_id: 3,
        merchant_id: 0,
        category: String::new(),
        quantity: 1,
        amount_minor: 100,
    };
    v1::LockRequest {
        user_id: 42,
        order_id: "o".to_owned(),
        request_id: "r".to_owned(),
        coupon_ids: vec![10_042, 20_042],
        cart: Some(v1::Cart {
            currency_code: "CNY".to_owned(),
            lines: vec![line],
            ..v1::Cart::default()
        }),
        lock_ttl: None,
        expected_discount_minor: None,
    }
}

fn print(change: impl FnOnce(&mut v1::LockRequest)) -> Fingerprint {
    let mut request = lock_request();
    change(&mut request);
    lock(request, &Config::default()).unwrap().request.fingerprint
}

fn line(request: &mut v1::LockRequest) -> &mut v1::CartLine {
    &mut request.cart.as_mut().unwrap().lines[0]
}

#[test]
fn a_lock_is_known_by_every_field_but_its_id() {
    let same = print(|_| {});
    assert_eq!(print(|r| r.request_id = "other".to_owned()), same);
    let others = [
        print(|r| r.user_id = 43),
        print(|r| r.order_id = "p".to_owned()),
        print(|r| r.coupon_ids.reverse()),
        print(|r| r.cart.as_mut().unwrap().currency_code = "EUR".to_owned()),
        print(|r| line(r).line_id = "2".to_owned()),
        print(|r| line(r).product_id = 4),
        print(|r| line(r).merchant_id = 1),
        print(|r| line(r).category = "c".to_owned()),
        print(|r| line(r).quantity = 2),
        print(|r| line(r).amount_minor = 101),
        print(|r| r.lock_ttl = Some(prost_types::Duration { seconds: 1_800, nanos: 0 })),
        print(|r| r.expected_discount_minor = Some(0)),
    ];
    let distinct: std::collections::HashSet<_> = others.iter().chain([&same]).collect();
    assert_eq!(distinct.len(), others.len() + 1);
}

#[test]
fn a_lock_lives_as_long_as_configured_unless_its_caller_says() {
    let command = lock(lock_request(), &Config::default()).unwrap();
    assert_eq!(command.ttl, Duration::from_secs(1_800));
    let lock_ttl = Some(prost_types::Duration { seconds: 5, nanos: 0 });
    let asked = v1::LockRequest { lock_ttl, ..lock_request() };
    assert_eq!(lock(asked, &Config::default()).unwrap().ttl, Duration::from_secs(5));
}

#[test]
fn every_form_of_a_template_has_its_own_fingerprint() {
    let prints = every_form()
        .into_iter()
        .map(|rules| crate::rpc::fingerprint::create_template(&created(rules)));
    let distinct: std::collections::HashSet<_> = prints.collect();
    assert_eq!(distinct.len(), every_form().len());
}
