//! Requests of `RedemptionService`.

use std::{collections::HashSet, time::Duration};

use coupon_domain::{
    ids::{CouponId, RedemptionId, UserId},
    money::{AMOUNT_MAX, Minor},
    redemption::{
        CloseCommand, ForceCommand, ForceVerb, LineQuantity, LockCommand, RefundOf, RequestMark,
        RestoreCommand,
    },
    time::Timestamp,
};
use coupon_proto::v1;

use super::field::{Path, Violations};
use crate::{config::Config, error::ServiceError, rpc::fingerprint};

/// Longest `min_overdue` that makes sense: no redemption is kept longer.
const OVERDUE_MAX_S: u64 = 36_500 * 86_400;
/// As many amounts as a cart has lines at most, and its shipping charge.
const DISCOUNT_MAX: i64 = 501 * AMOUNT_MAX;
/// Of the operator's name.
const OPERATOR_CHARS_MAX: usize = 100;
/// Of the operator's reason.
const REASON_CHARS_MAX: usize = 500;

/// Which stuck redemptions to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stuck {
    /// Only those overdue by more.
    pub(crate) min_overdue: Duration,
    /// At most this many.
    pub(crate) page_size: usize,
    /// Only those after this one.
    pub(crate) after: Option<(Timestamp, RedemptionId)>,
}

pub(crate) fn lock(request: v1::LockRequest, config: &Config) -> Result<LockCommand, ServiceError> {
    let limits = &config.redemptions;
    let ttl_asked = request.lock_ttl.is_some();
    let mut violations = Violations::default();
    let user = violations.id("user_id", request.user_id, UserId::new);
    let order = violations.order(request.order_id);
    let request_id = violations.request_id(request.request_id);
    let coupons = violations.coupons(&request.coupon_ids, 1, limits.coupons_per_order_max);
    let cart = violations.cart(request.cart, limits.cart_lines_max);
    let ttl = violations.duration(
        "lock_ttl",
        request.lock_ttl,
        1..=limits.lock_ttl_max_s,
        limits.lock_ttl_default(),
    );
    let expected = request.expected_discount_minor;
    if let Some(discount) = expected {
        violations.within("expected_discount_minor", discount, 0..=DISCOUNT_MAX);
    }
    let command = || {
        let (user, order, coupons, cart, ttl) = (user?, order?, coupons?, cart?, ttl?);
        let expected_discount = expected.map(Minor::new);
        let fingerprint = fingerprint::lock(&fingerprint::LockFields {
            user,
            order: &order,
            coupons: &coupons,
            cart: &cart,
            ttl: ttl_asked.then_some(ttl),
            expected_discount,
        });
        let request = RequestMark { request_id: request_id?, fingerprint };
        Some(LockCommand { user, order, request, coupons, cart, ttl, expected_discount })
    };
    violations.finish(command())
}

pub(crate) fn confirm(
    request: v1::ConfirmRequest,
    config: &Config,
) -> Result<CloseCommand, ServiceError> {
    let v1::ConfirmRequest { user_id, order_id, request_id, coupon_ids } = request;
    close("confirm", (user_id, order_id, request_id, coupon_ids), config)
}

pub(crate) fn cancel(
    request: v1::CancelRequest,
    config: &Config,
) -> Result<CloseCommand, ServiceError> {
    let v1::CancelRequest { user_id, order_id, request_id, coupon_ids } = request;
    close("cancel", (user_id, order_id, request_id, coupon_ids), config)
}

fn close(
    verb: &str,
    (user_id, order_id, request_id, coupon_ids): (i64, String, String, Vec<i64>),
    config: &Config,
) -> Result<CloseCommand, ServiceError> {
    let mut violations = Violations::default();
    let user = violations.id("user_id", user_id, UserId::new);
    let order = violations.order(order_id);
    let request_id = violations.request_id(request_id);
    let coupons = violations.coupons(&coupon_ids, 0, config.redemptions.coupons_per_order_max);
    let command = || {
        let (user, order, coupons) = (user?, order?, coupons?);
        let fingerprint = fingerprint::close(verb, user, &order, &coupons);
        let request = RequestMark { request_id: request_id?, fingerprint };
        Some(CloseCommand { user, order, request, coupons })
    };
    violations.finish(command())
}

pub(crate) fn restore(
    request: v1::RestoreRequest,
    config: &Config,
) -> Result<RestoreCommand, ServiceError> {
    let mut violations = Violations::default();
    let user = violations.id("user_id", request.user_id, UserId::new);
    let order = violations.order(request.order_id);
    let request_id = violations.request_id(request.request_id);
    let lines = violations.line_quantities(request.lines, config.redemptions.cart_lines_max);
    let shipping = request.shipping;
    let command = || {
        let (user, order, lines) = (user?, order?, lines?);
        let of = if lines.is_empty() && !shipping {
            RefundOf::Everything
        } else {
            RefundOf::Parts { lines, shipping }
        };
        let fingerprint = fingerprint::restore(user, &order, &of);
        let request = RequestMark { request_id: request_id?, fingerprint };
        Some(RestoreCommand { user, order, request, of })
    };
    violations.finish(command())
}

pub(crate) fn force_confirm(
    request: v1::ForceConfirmRequest,
) -> Result<ForceCommand, ServiceError> {
    let v1::ForceConfirmRequest { user_id, order_id, request_id, operator, reason } = request;
    force(ForceVerb::Confirm, user_id, order_id, request_id, (operator, reason))
}

pub(crate) fn force_cancel(request: v1::ForceCancelRequest) -> Result<ForceCommand, ServiceError> {
    let v1::ForceCancelRequest { user_id, order_id, request_id, operator, reason } = request;
    force(ForceVerb::Cancel, user_id, order_id, request_id, (operator, reason))
}

fn force(
    verb: ForceVerb,
    user_id: i64,
    order_id: String,
    request_id: String,
    (operator, reason): (String, String),
) -> Result<ForceCommand, ServiceError> {
    let mut violations = Violations::default();
    let user = violations.id("user_id", user_id, UserId::new);
    let order = violations.order(order_id);
    let request_id = violations.request_id(request_id);
    let operator = violations.text("operator", operator, 1..=OPERATOR_CHARS_MAX);
    let reason = violations.text("reason", reason, 1..=REASON_CHARS_MAX);
    let command = || {
        let (user, order, operator, reason) = (user?, order?, operator?, reason?);
        let fingerprint = fingerprint::force(verb, user, &order, &operator, &reason);
        let request = RequestMark { request_id: request_id?, fingerprint };
        Some(ForceCommand { user, order, request, verb, operator, reason })
    };
    violations.finish(command())
}

pub(crate) fn get_redemption(
    request: v1::GetRedemptionRequest,
) -> Result<(UserId, String), ServiceError> {
    let mut violations = Violations::default();
    let user = violations.id("user_id", request.user_id, UserId::new);
    let order = violations.order(request.order_id);
    violations.finish(user.zip(order))
}

pub(crate) fn list_stuck_redemptions(
    request: v1::ListStuckRedemptionsRequest,
    config: &Config,
) -> Result<Stuck, ServiceError> {
    let pages = &config.pages;
    let mut violations = Violations::default();
    let overdue = 0..=OVERDUE_MAX_S;
    let min_overdue =
        violations.duration("min_overdue", request.min_overdue, overdue, Duration::ZERO);
    let page_size = violations.page_size(request.page_size, pages.size_default, pages.size_max);
    let after = violations.redemption_page_token(&request.page_token);
    let query = || Some(Stuck { min_overdue: min_overdue?, page_size: page_size?, after: after? });
    violations.finish(query())
}

impl Violations {
    /// The caller's order id.
    fn order(&mut self, value: String) -> Option<String> {
        self.visible_ascii("order_id", value, 1..=255)
    }

    /// Pieces of distinct lines.
    fn line_quantities(
        &mut self,
        values: Vec<v1::LineQuantity>,
        lines_max: usize,
    ) -> Option<Vec<LineQuantity>> {
        let at = Path::root("lines");
        let count = values.len();
        if !self.count(at, count, 0..=lines_max) {
            return None;
        }
        let mut lines: Vec<LineQuantity> = Vec::with_capacity(count);
        let mut seen = HashSet::with_capacity(count);
        for (index, v1::LineQuantity { line_id, quantity }) in values.into_iter().enumerate() {
            let at = at.index(index);
            if !seen.insert(line_id.clone()) {
                self.note(at.field("line_id"), "must not repeat that of an earlier line");
            }
            let line_id = self.visible_ascii(at.field("line_id"), line_id, 1..=64);
            let quantity = self.within(at.field("quantity"), quantity, 1..=i64::MAX);
            let line = line_id.zip(quantity);
            lines.extend(line.map(|(line_id, quantity)| LineQuantity { line_id, quantity }));
        }
        (lines.len() == count).then_some(lines)
    }

    fn coupons(&mut self, values: &[i64], min: usize, max: usize) -> Option<Vec<CouponId>> {
        self.distinct_ids(&Path::root("coupon_ids"), values, min..=max, CouponId::new)
    }
}
