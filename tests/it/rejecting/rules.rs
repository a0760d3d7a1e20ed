//! What rules may say beyond benefit, scope and use window.

use coupon_proto::v1::{self, template_rules::Benefit};

use super::{
    case::{Cases, rejects},
    valid::{self, rules_of},
};

/// More than any amount.
const OVER: i64 = 1_000_000_000_001;

pub(super) fn add(cases: &mut Cases) {
    caps(cases);
    exclusions(cases);
    limits(cases);
}

fn caps(cases: &mut Cases) {
    fn off(every_threshold: bool, max_discount_minor: i64) -> Option<Benefit> {
        Some(Benefit::ThresholdOff(v1::ThresholdOff {
            threshold_minor: 1_000,
            amount_minor: 100,
            every_threshold,
            max_discount_minor,
        }))
    }
    rejects! { also cases, "CreateTemplate", valid::create_template,
        |world, sent| world.templates().create_template(sent), {
        // A discount that counts once has no cap, and a cap leaves room for one time.
        "template.rules.threshold_off.max_discount_minor":
            |r| rules_of(&mut r.template).benefit = off(false, 200);
        "template.rules.threshold_off.max_discount_minor":
            |r| rules_of(&mut r.template).benefit = off(true, 99);
        "template.rules.threshold_off.max_discount_minor":
            |r| rules_of(&mut r.template).benefit = off(true, -1);
        "template.rules.threshold_off.max_discount_minor":
            |r| rules_of(&mut r.template).benefit = off(true, OVER);
        "template.rules.min_payable_minor": |r| rules_of(&mut r.template).min_payable_minor = -1;
        "template.rules.min_payable_minor": |r| rules_of(&mut r.template).min_payable_minor = OVER;
        "template.rules.threshold_base": |r| rules_of(&mut r.template).threshold_base = 99;
        "template.rules.kept_discount": |r| rules_of(&mut r.template).kept_discount = -1;
    } }
}

fn exclusions(cases: &mut Cases) {
    fn exclude(
        merchant_ids: &[i64],
        categories: &[&str],
        product_ids: &[i64],
    ) -> Option<v1::Exclusions> {
        let categories = categories.iter().map(|code| (*code).to_owned()).collect();
        let (merchant_ids, product_ids) = (merchant_ids.to_vec(), product_ids.to_vec());
        Some(v1::Exclusions { merchant_ids, categories, product_ids })
    }
    fn ids(count: i64) -> Vec<i64> {
        (1..=count).collect()
    }
    rejects! { also cases, "CreateTemplate", valid::create_template,
        |world, sent| world.templates().create_template(sent), {
        // The three lists together are too long, none of them alone.
        "template.rules.exclude": |r| {
            rules_of(&mut r.template).exclude = exclude(&ids(7_500), &["tea"], &ids(7_500));
        };
        "template.rules.exclude.merchant_ids[1]":
            |r| rules_of(&mut r.template).exclude = exclude(&[1, 0], &[], &[]);
        "template.rules.exclude.merchant_ids[2]":
            |r| rules_of(&mut r.template).exclude = exclude(&[1, 2, 1], &[], &[]);
        "template.rules.exclude.categories[0]":
            |r| rules_of(&mut r.template).exclude = exclude(&[], &[""], &[]);
        "template.rules.exclude.categories[1]":
            |r| rules_of(&mut r.template).exclude = exclude(&[], &["tea", "tea"], &[]);
        "template.rules.exclude.categories[0]": |r| {
            rules_of(&mut r.template).exclude = exclude(&[], &["茶".repeat(65).as_str()], &[]);
        };
        "template.rules.exclude.product_ids[0]":
            |r| rules_of(&mut r.template).exclude = exclude(&[], &[], &[-4]);
        "template.rules.exclude.product_ids[1]":
            |r| rules_of(&mut r.template).exclude = exclude(&[], &[], &[5, 5]);
    } }
}

fn limits(cases: &mut Cases) {
    fn group(template: &mut Option<v1::Template>, stacking: v1::Stacking, group: &str) {
        let rules = rules_of(template);
        rules.stacking = stacking.into();
        group.clone_into(&mut rules.mutex_group);
    }
    rejects! { also cases, "CreateTemplate", valid::create_template,
        |world, sent| world.templates().create_template(sent), {
        // A coupon that is alone in its order has no use for a group.
        "template.rules.mutex_group": |r| group(&mut r.template, v1::Stacking::Mutex, "summer");
        "template.rules.mutex_group":
            |r| group(&mut r.template, v1::Stacking::Unspecified, "summer");
        "template.rules.mutex_group":
            |r| group(&mut r.template, v1::Stacking::Stackable, &"g".repeat(65));
        "template.rules.mutex_group": |r| group(&mut r.template, v1::Stacking::Stackable, "a b");
        "template.rules.mutex_group": |r| group(&mut r.template, v1::Stacking::Stackable, "夏");
        "template.rules.per_order_limit": |r| rules_of(&mut r.template).per_order_limit = -1;
        "template.rules.per_order_limit": |r| rules_of(&mut r.template).per_order_limit = 101;
    } }
}
