//! `RedemptionService` and `ClockService`.

use prost_types::Duration;

use super::{
    case::{Cases, rejects},
    valid,
};

pub(super) fn add(cases: &mut Cases) {
    lock(cases);
    close(cases);
    read(cases);
    clock(cases);
}

fn ttl(seconds: i64, nanos: i32) -> Option<Duration> {
    Some(Duration { seconds, nanos })
}

fn lock(cases: &mut Cases) {
    rejects! { cases, "Lock", valid::lock, |world, sent| world.redemptions().lock(sent), {
        "user_id": |r| r.user_id = 0;
        "order_id": |r| r.order_id.clear();
        "order_id": |r| r.order_id = "o".repeat(256);
        "order_id": |r| r.order_id = "order 1".to_owned();
        "order_id": |r| r.order_id = "单号".to_owned();
        "request_id": |r| r.request_id.clear();
        "request_id": |r| r.request_id = "i".repeat(65);
        "coupon_ids": |r| r.coupon_ids.clear();
        "coupon_ids": |r| r.coupon_ids = (1..=101).collect();
        "coupon_ids[0]": |r| r.coupon_ids = vec![-5];
        "coupon_ids[1]": |r| r.coupon_ids.push(r.coupon_ids[0]);
        "cart": |r| r.cart = None;
        "cart.currency_code": |r| valid::cart_of(&mut r.cart).currency_code = "cny".to_owned();
        "cart.shipping_minor": |r| valid::cart_of(&mut r.cart).shipping_minor = -1;
        "cart.shipping_minor":
            |r| valid::cart_of(&mut r.cart).shipping_minor = 1_000_000_000_001;
        "cart.lines": |r| valid::cart_of(&mut r.cart).lines.clear();
        "cart.lines": |r| {
            let line = valid::line_of(&mut r.cart).clone();
            valid::cart_of(&mut r.cart).lines = vec![line; 501];
        };
        "cart.lines[1].line_id": |r| valid::line_of(&mut r.cart).line_id.clear();
        "cart.lines[1].line_id": |r| valid::line_of(&mut r.cart).line_id = "1".to_owned();
        "cart.lines[1].product_id": |r| valid::line_of(&mut r.cart).product_id = 0;
        "cart.lines[1].merchant_id": |r| valid::line_of(&mut r.cart).merchant_id = -1;
        "cart.lines[1].category": |r| valid::line_of(&mut r.cart).category = "c".repeat(65);
        "cart.lines[1].category": |r| valid::line_of(&mut r.cart).category = "a\tb".to_owned();
        "cart.lines[1].quantity": |r| valid::line_of(&mut r.cart).quantity = 0;
        "cart.lines[1].amount_minor": |r| valid::line_of(&mut r.cart).amount_minor = -1;
        "cart.lines[1].amount_minor":
            |r| valid::line_of(&mut r.cart).amount_minor = 1_000_000_000_001;
        "lock_ttl": |r| r.lock_ttl = ttl(0, 999_999_999);
        "lock_ttl": |r| r.lock_ttl = ttl(7 * 86_400, 1);
        "lock_ttl": |r| r.lock_ttl = ttl(-60, 0);
        "lock_ttl": |r| r.lock_ttl = ttl(60, -1);
        "expected_discount_minor": |r| r.expected_discount_minor = Some(-1);
    } }
}

fn close(cases: &mut Cases) {
    rejects! { cases, "Confirm", valid::confirm, |world, sent| world.redemptions().confirm(sent), {
        "user_id": |r| r.user_id = -1;
        "order_id": |r| r.order_id.clear();
        "request_id": |r| r.request_id.clear();
        "coupon_ids": |r| r.coupon_ids = (1..=101).collect();
        "coupon_ids[0]": |r| r.coupon_ids[0] = 0;
        "coupon_ids[1]": |r| r.coupon_ids.push(r.coupon_ids[0]);
    } }
    rejects! { cases, "Cancel", valid::cancel, |world, sent| world.redemptions().cancel(sent), {
        "user_id": |r| r.user_id = -1;
        "order_id": |r| r.order_id.clear();
        "request_id": |r| r.request_id.clear();
        "coupon_ids": |r| r.coupon_ids = (1..=101).collect();
        "coupon_ids[0]": |r| r.coupon_ids[0] = 0;
        "coupon_ids[1]": |r| r.coupon_ids.push(r.coupon_ids[0]);
    } }
    rejects! { cases, "Restore", valid::restore, |world, sent| world.redemptions().restore(sent), {
        "user_id": |r| r.user_id = 0;
        "order_id": |r| r.order_id = "o".repeat(256);
        "request_id": |r| r.request_id = "a\nb".to_owned();
        "lines": |r| r.lines = (0..501).map(|line| valid::pieces(&line.to_string(), 1)).collect();
        "lines[0].line_id": |r| r.lines[0].line_id.clear();
        "lines[1].line_id": |r| r.lines[1].line_id = "l".repeat(65);
        "lines[1].line_id": |r| r.lines[1].line_id = "行".to_owned();
        "lines[1].line_id": |r| r.lines[1].line_id = r.lines[0].line_id.clone();
        "lines[0].quantity": |r| r.lines[0].quantity = 0;
        "lines[1].quantity": |r| r.lines[1].quantity = i64::MIN;
    } }
    force(cases);
}

fn force(cases: &mut Cases) {
    rejects! { cases, "ForceConfirm", valid::force_confirm,
        |world, sent| world.redemptions().force_confirm(sent), {
        "user_id": |r| r.user_id = 0;
        "order_id": |r| r.order_id.clear();
        "request_id": |r| r.request_id.clear();
        "operator": |r| r.operator.clear();
        "operator": |r| r.operator = "安".repeat(101);
        "operator": |r| r.operator = "ann\n".to_owned();
        "reason": |r| r.reason.clear();
        "reason": |r| r.reason = "因".repeat(501);
        "reason": |r| r.reason = "\u{7}".to_owned();
    } }
    rejects! { cases, "ForceCancel", valid::force_cancel,
        |world, sent| world.redemptions().force_cancel(sent), {
        "user_id": |r| r.user_id = -1;
        "order_id": |r| r.order_id = "o".repeat(256);
        "request_id": |r| r.request_id = "i".repeat(65);
        "operator": |r| r.operator.clear();
        "operator": |r| r.operator = "a".repeat(101);
        "reason": |r| r.reason.clear();
        "reason": |r| r.reason = "b".repeat(501);
    } }
}

fn read(cases: &mut Cases) {
    rejects! { cases, "GetRedemption", valid::get_redemption,
        |world, sent| world.redemptions().get_redemption(sent), {
        "user_id": |r| r.user_id = 0;
        "order_id": |r| r.order_id.clear();
    } }
    rejects! { cases, "ListStuckRedemptions", valid::list_stuck_redemptions,
        |world, sent| world.redemptions().list_stuck_redemptions(sent), {
        "min_overdue": |r| r.min_overdue = ttl(-1, 0);
        "min_overdue": |r| r.min_overdue = ttl(i64::MAX, 0);
        "page_size": |r| r.page_size = -1;
        "page_token": |r| r.page_token = "next".to_owned();
        "page_token": |r| r.page_token = "0".repeat(32);
    } }
}

fn clock(cases: &mut Cases) {
    rejects! { cases, "GetClock", valid::get_clock, |world, sent| world.clock().get_clock(sent), {} }
    rejects! { cases, "AdvanceClock", valid::advance_clock,
        |world, sent| world.clock().advance_clock(sent), {
        "to": |r| r.to = None;
        "to": |r| r.to = valid::no_instant();
        "to": |r| r.to = valid::at(i64::MAX);
        "to": |r| r.to = valid::at(0);
    } }
}
