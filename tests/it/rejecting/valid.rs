//! One well-formed request per RPC; sent unspoiled, each succeeds.

use coupon_proto::{dev, v1};
use prost_types::{Duration, FieldMask, Timestamp};

use super::world::{
    ORDER_CONFIRMED, ORDER_NEW, ORDER_TO_CANCEL, ORDER_TO_CONFIRM, ORDER_TO_FORCE_CANCEL,
    ORDER_TO_FORCE_CONFIRM, World,
};

/// Noon, 2020-01-01.
const LONG_AGO_S: i64 = 1_577_880_000;
/// Noon, 2090-01-01.
pub(super) const FAR_AHEAD_S: i64 = 3_786_955_200;

pub(super) fn at(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos: 0 })
}

/// No instant: its nanos are negative.
pub(super) fn no_instant() -> Option<Timestamp> {
    Some(Timestamp { seconds: LONG_AGO_S, nanos: -1 })
}

fn id(verb: &str) -> String {
    format!("request-{verb}")
}

/// The template of a request.
pub(super) fn template_of(template: &mut Option<v1::Template>) -> &mut v1::Template {
    template.as_mut().expect("a template")
}

/// The rules of a request's template.
pub(super) fn rules_of(template: &mut Option<v1::Template>) -> &mut v1::TemplateRules {
    template_of(template).rules.as_mut().expect("rules")
}

/// The paths of a request's mask.
pub(super) fn paths_of(mask: &mut Option<FieldMask>) -> &mut Vec<String> {
    &mut mask.as_mut().expect("a mask").paths
}

/// The cart of a request.
pub(super) fn cart_of(cart: &mut Option<v1::Cart>) -> &mut v1::Cart {
    cart.as_mut().expect("a cart")
}

/// The second line of a request's cart.
pub(super) fn line_of(cart: &mut Option<v1::Cart>) -> &mut v1::CartLine {
    &mut cart_of(cart).lines[1]
}

fn rules() -> v1::TemplateRules {
    let kind = v1::scope::Kind::All(v1::scope::All {});
    let fixed = v1::use_window::Fixed { use_from: at(LONG_AGO_S), valid_until: at(FAR_AHEAD_S) };
    let off = v1::ThresholdOff {
        threshold_minor: 1_000,
        amount_minor: 100,
        ..v1::ThresholdOff::default()
    };
    v1::TemplateRules {
        benefit: Some(v1::template_rules::Benefit::ThresholdOff(off)),
        currency_code: "CNY".to_owned(),
        scope: Some(v1::Scope { kind: Some(kind) }),
        stacking: v1::Stacking::Mutex.into(),
        use_window: Some(v1::UseWindow { kind: Some(v1::use_window::Kind::Fixed(fixed)) }),
        time_zone: "Asia/Shanghai".to_owned(),
        per_user_limit: 100,
        audience: v1::Audience::Everyone.into(),
        restore_policy: v1::RestorePolicy::IfUnexpired.into(),
        restore_days: 0,
        ..v1::TemplateRules::default()
    }
}

fn template() -> v1::Template {
    v1::Template {
        display_name: "满 10 减 1".to_owned(),
        merchant_id: 9,
        rules: Some(rules()),
        total_count: 1_000,
        claim_from: at(LONG_AGO_S),
        claim_until: at(FAR_AHEAD_S),
        ..v1::Template::default()
    }
}

pub(super) fn create_template(_: &World) -> v1::CreateTemplateRequest {
    v1::CreateTemplateRequest { request_id: id("create"), template: Some(template()) }
}

pub(super) fn get_template(world: &World) -> v1::GetTemplateRequest {
    v1::GetTemplateRequest { template_id: world.active }
}

pub(super) fn list_templates(_: &World) -> v1::ListTemplatesRequest {
    v1::ListTemplatesRequest {
        page_size: 10,
        page_token: String::new(),
        state: v1::TemplateState::Active.into(),
        merchant_id: 9,
    }
}

pub(super) fn update_template(world: &World) -> v1::UpdateTemplateRequest {
    let paths = ["display_name", "total_count", "claim_from", "claim_until"];
    v1::UpdateTemplateRequest {
        request_id: id("update"),
        template: Some(v1::Template {
            template_id: world.active,
            display_name: "renamed".to_owned(),
            total_count: 2_000,
            claim_from: at(LONG_AGO_S),
            claim_until: at(FAR_AHEAD_S),
            ..v1::Template::default()
        }),
        update_mask: Some(FieldMask { paths: paths.map(str::to_owned).to_vec() }),
    }
}

pub(super) fn publish_template(world: &World) -> v1::PublishTemplateRequest {
    v1::PublishTemplateRequest {
        request_id: id("publish"),
        template_id: world.draft,
        bucket_count: 2,
    }
}

pub(super) fn pause_template(world: &World) -> v1::PauseTemplateRequest {
    v1::PauseTemplateRequest { request_id: id("pause"), template_id: world.running }
}

pub(super) fn resume_template(world: &World) -> v1::ResumeTemplateRequest {
    v1::ResumeTemplateRequest { request_id: id("resume"), template_id: world.paused }
}

pub(super) fn end_template(world: &World) -> v1::EndTemplateRequest {
    v1::EndTemplateRequest { request_id: id("end"), template_id: world.ending }
}

pub(super) fn get_template_stats(world: &World) -> v1::GetTemplateStatsRequest {
    v1::GetTemplateStatsRequest { template_id: world.active }
}

pub(super) fn add_audience_users(world: &World) -> v1::AddAudienceUsersRequest {
    v1::AddAudienceUsersRequest {
        request_id: id("audience"),
        template_id: world.named,
        user_ids: vec![world.user, world.user + 1],
    }
}

pub(super) fn claim(world: &World) -> v1::ClaimRequest {
    v1::ClaimRequest {
        user_id: world.user,
        template_id: world.active,
        request_id: id("claim"),
        source: "app:home".to_owned(),
    }
}

pub(super) fn claim_stream(world: &World) -> v1::ClaimStreamRequest {
    let claim = v1::ClaimRequest { request_id: id("stream"), ..claim(world) };
    v1::ClaimStreamRequest { sequence: 7, claims: vec![claim] }
}

pub(super) fn issue(world: &World) -> v1::IssueRequest {
    v1::IssueRequest {
        template_id: world.active,
        request_id: id("issue"),
        users: vec![
            v1::IssueUser { user_id: world.user, count: 2 },
            v1::IssueUser { user_id: world.user + 1, count: 0 },
        ],
        source: String::new(),
    }
}

pub(super) fn get_coupon(world: &World) -> v1::GetCouponRequest {
    v1::GetCouponRequest { user_id: world.user, coupon_id: world.free }
}

pub(super) fn list_coupons(world: &World) -> v1::ListCouponsRequest {
    v1::ListCouponsRequest {
        user_id: world.user,
        statuses: vec![v1::CouponStatus::Available.into(), v1::CouponStatus::Used.into()],
        template_id: world.active,
        page_size: 10,
        page_token: String::new(),
    }
}

fn cart() -> v1::Cart {
    let line = |line_id: &str, amount_minor| v1::CartLine {
        line_id: line_id.to_owned(),
        product_id: 3,
        merchant_id: 9,
        category: "茶".to_owned(),
        quantity: 1,
        amount_minor,
    };
    v1::Cart {
        currency_code: "CNY".to_owned(),
        lines: vec![line("1", 900), line("2", 800)],
        ..v1::Cart::default()
    }
}

pub(super) fn quote(world: &World) -> v1::QuoteRequest {
    v1::QuoteRequest {
        user_id: world.user,
        cart: Some(cart()),
        coupon_ids: vec![world.free, world.to_void],
    }
}

pub(super) fn void_coupon(world: &World) -> v1::VoidCouponRequest {
    v1::VoidCouponRequest { request_id: id("void"), user_id: world.user, coupon_id: world.to_void }
}

pub(super) fn lock(world: &World) -> v1::LockRequest {
    v1::LockRequest {
        user_id: world.user,
        order_id: ORDER_NEW.to_owned(),
        request_id: id("lock"),
        coupon_ids: vec![world.free],
        cart: Some(cart()),
        lock_ttl: Some(Duration { seconds: 600, nanos: 0 }),
        expected_discount_minor: Some(100),
    }
}

pub(super) fn confirm(world: &World) -> v1::ConfirmRequest {
    v1::ConfirmRequest {
        user_id: world.user,
        order_id: ORDER_TO_CONFIRM.to_owned(),
        request_id: id("confirm"),
        coupon_ids: vec![world.to_confirm],
    }
}

pub(super) fn cancel(world: &World) -> v1::CancelRequest {
    v1::CancelRequest {
        user_id: world.user,
        order_id: ORDER_TO_CANCEL.to_owned(),
        request_id: id("cancel"),
        coupon_ids: vec![world.to_cancel],
    }
}

pub(super) fn restore(world: &World) -> v1::RestoreRequest {
    v1::RestoreRequest {
        user_id: world.user,
        order_id: ORDER_CONFIRMED.to_owned(),
        request_id: id("restore"),
        lines: ["1", "2"].map(|line| pieces(line, 1)).to_vec(),
        shipping: false,
    }
}

/// Pieces of a line.
pub(super) fn pieces(line_id: &str, quantity: i64) -> v1::LineQuantity {
    v1::LineQuantity { line_id: line_id.to_owned(), quantity }
}

pub(super) fn force_confirm(world: &World) -> v1::ForceConfirmRequest {
    v1::ForceConfirmRequest {
        user_id: world.user,
        order_id: ORDER_TO_FORCE_CONFIRM.to_owned(),
        request_id: id("force-confirm"),
        operator: "安".repeat(100),
        reason: "因".repeat(500),
    }
}

pub(super) fn force_cancel(world: &World) -> v1::ForceCancelRequest {
    v1::ForceCancelRequest {
        user_id: world.user,
        order_id: ORDER_TO_FORCE_CANCEL.to_owned(),
        request_id: id("force-cancel"),
        operator: "a".to_owned(),
        reason: "b".to_owned(),
    }
}

pub(super) fn get_redemption(world: &World) -> v1::GetRedemptionRequest {
    v1::GetRedemptionRequest { user_id: world.user, order_id: ORDER_CONFIRMED.to_owned() }
}

pub(super) fn list_stuck_redemptions(_: &World) -> v1::ListStuckRedemptionsRequest {
    v1::ListStuckRedemptionsRequest {
        min_overdue: Some(Duration { seconds: 60, nanos: 0 }),
        page_size: 10,
        page_token: String::new(),
    }
}

pub(super) fn get_clock(_: &World) -> dev::GetClockRequest {
    dev::GetClockRequest {}
}

pub(super) fn advance_clock(world: &World) -> dev::AdvanceClockRequest {
    let seconds = world.started.seconds + 1;
    dev::AdvanceClockRequest { to: Some(Timestamp { seconds, ..world.started }) }
}
