//! Requests of `CouponService`.

use std::collections::HashSet;

use coupon_domain::{
    coupon::CouponStatus,
    ids::{CouponId, TemplateId, UserId},
    redemption::{RequestMark, VoidCommand},
};
use coupon_proto::v1;

use super::field::{Path, Violations};
use crate::{
    config::Config,
    error::ServiceError,
    rpc::fingerprint,
    usecase::{ClaimCommand, Fresh, IssueCommand, QuoteCommand, WalletQuery},
};

const SOURCE_BYTES_MAX: usize = 64;
const ISSUE_USERS_MAX: usize = 1_000;
const ISSUE_PIECES_MAX: i32 = 100;

pub(crate) fn claim(request: v1::ClaimRequest) -> Result<ClaimCommand, ServiceError> {
    claim_at(None, request)
}

/// The claims of one message of a stream: a malformed claim spoils its own outcome alone.
///
/// # Errors
/// A batch that has no claims, or too many.
pub(crate) fn claim_batch(
    claims: Vec<v1::ClaimRequest>,
    config: &Config,
) -> Result<Vec<Result<ClaimCommand, ServiceError>>, ServiceError> {
    let mut violations = Violations::default();
    let at = Path::root("claims");
    violations.count(at, claims.len(), 1..=config.claims.stream_batch_max);
    violations.finish(Some(()))?;
    let decoded = claims.into_iter().enumerate();
    Ok(decoded.map(|(index, claim)| claim_at(Some(&at.index(index)), claim)).collect())
}

fn claim_at(
    at: Option<&Path<'_>>,
    request: v1::ClaimRequest,
) -> Result<ClaimCommand, ServiceError> {
    let path = |name| at.map_or(Path::root(name), |at| at.field(name));
    let mut violations = Violations::default();
    let user = violations.id(path("user_id"), request.user_id, UserId::new);
    let template = violations.id(path("template_id"), request.template_id, TemplateId::new);
    let request_id = violations.request_id_at(path("request_id"), request.request_id);
    let source = violations.source(path("source"), request.source);
    let command = || {
        Some(ClaimCommand {
            user: user?,
            template: template?,
            request_id: request_id?,
            source: source?,
        })
    };
    violations.finish(command())
}

pub(crate) fn issue(request: v1::IssueRequest) -> Result<IssueCommand, ServiceError> {
    let mut violations = Violations::default();
    let template = violations.id("template_id", request.template_id, TemplateId::new);
    let request_id = violations.request_id(request.request_id);
    let users = violations.issue_users(&request.users);
    let source = violations.source(Path::root("source"), request.source);
    let command = || {
        Some(IssueCommand {
            template: template?,
            request_id: request_id?,
            users: users?,
            source: source?,
        })
    };
    violations.finish(command())
}

pub(crate) fn get_coupon(
    request: v1::GetCouponRequest,
) -> Result<(UserId, CouponId), ServiceError> {
    let mut violations = Violations::default();
    let user = violations.id("user_id", request.user_id, UserId::new);
    let coupon = violations.id("coupon_id", request.coupon_id, CouponId::new);
    violations.finish(user.zip(coupon))
}

pub(crate) fn list_coupons(
    request: v1::ListCouponsRequest,
    config: &Config,
) -> Result<WalletQuery, ServiceError> {
    let pages = &config.pages;
    let mut violations = Violations::default();
    let user = violations.id("user_id", request.user_id, UserId::new);
    let statuses = violations.statuses(&request.statuses);
    let template = violations.optional_id("template_id", request.template_id, TemplateId::new);
    let page_size =
        violations.page_size(request.page_size, pages.wallet_size_default, pages.size_max);
    let before = violations.page_token(&request.page_token, CouponId::new);
    let query = || {
        Some(WalletQuery {
            user: user?,
            statuses,
            template,
            page_size: page_size?,
            before: before?,
            fresh: Fresh::Usual,
        })
    };
    violations.finish(query())
}

pub(crate) fn quote(
    request: v1::QuoteRequest,
    config: &Config,
) -> Result<QuoteCommand, ServiceError> {
    let limits = &config.redemptions;
    let mut violations = Violations::default();
    let user = violations.id("user_id", request.user_id, UserId::new);
    let cart = violations.cart(request.cart, limits.cart_lines_max);
    let coupons = violations.distinct_ids(
        &Path::root("coupon_ids"),
        &request.coupon_ids,
        0..=limits.coupons_per_order_max,
        CouponId::new,
    );
    let command = || Some(QuoteCommand { user: user?, cart: cart?, coupons: coupons? });
    violations.finish(command())
}

pub(crate) fn void_coupon(
    request: v1::VoidCouponRequest,
) -> Result<(VoidCommand, RequestMark), ServiceError> {
    let mut violations = Violations::default();
    let request_id = violations.request_id(request.request_id);
    let user = violations.id("user_id", request.user_id, UserId::new);
    let coupon = violations.id("coupon_id", request.coupon_id, CouponId::new);
    let command = || {
        let command = VoidCommand { user: user?, coupon: coupon? };
        let fingerprint = fingerprint::void_coupon(command);
        Some((command, RequestMark { request_id: request_id?, fingerprint }))
    };
    violations.finish(command())
}

impl Violations {
    /// Where a claim came from.
    fn source(&mut self, at: Path<'_>, value: String) -> Option<String> {
        self.visible_ascii(at, value, 0..=SOURCE_BYTES_MAX)
    }

    fn issue_users(&mut self, values: &[v1::IssueUser]) -> Option<Vec<(UserId, u32)>> {
        let at = Path::root("users");
        if !self.count(at, values.len(), 1..=ISSUE_USERS_MAX) {
            return None;
        }
        let mut seen = HashSet::with_capacity(values.len());
        let mut users = Vec::with_capacity(values.len());
        for (index, value) in values.iter().enumerate() {
            let at = at.index(index);
            let user = self.id(at.field("user_id"), value.user_id, UserId::new);
            if user.is_some_and(|user| !seen.insert(user)) {
                self.note(at.field("user_id"), "must not repeat an earlier user");
            }
            let count = self.within(at.field("count"), value.count, 0..=ISSUE_PIECES_MAX);
            let pieces = count.and_then(|count| u32::try_from(count.max(1)).ok());
            users.extend(user.zip(pieces));
        }
        (users.len() == values.len()).then_some(users)
    }

    /// The statuses to list, each once; violations are noted.
    fn statuses(&mut self, values: &[i32]) -> Vec<CouponStatus> {
        let at = Path::root("statuses");
        let mut statuses = Vec::new();
        for (index, value) in values.iter().enumerate() {
            let status = match self.known(at.index(index), *value) {
                Some(v1::CouponStatus::Unspecified) => {
                    self.note(at.index(index), "must not be UNSPECIFIED");
                    continue;
                }
                Some(v1::CouponStatus::Available) => CouponStatus::Available,
                Some(v1::CouponStatus::Locked) => CouponStatus::Locked,
                Some(v1::CouponStatus::Used) => CouponStatus::Used,
                Some(v1::CouponStatus::Expired) => CouponStatus::Expired,
                Some(v1::CouponStatus::Voided) => CouponStatus::Voided,
                None => continue,
            };
            if !statuses.contains(&status) {
                statuses.push(status);
            }
        }
        statuses
    }
}
