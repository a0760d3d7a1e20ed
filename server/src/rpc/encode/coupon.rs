//! Messages of `CouponService`.

use coupon_domain::{
    coupon::{Coupon, CouponStatus},
    time::Timestamp,
};
use coupon_proto::v1::{self, claim_outcome};

use super::{evaluation, instant};
use crate::{
    error::ServiceError,
    rpc::{decode, status},
    usecase::{Claimed, CouponView, Issued, Quoted, Unusable, Usable, WalletPage},
};

/// A coupon as it effectively is at the instant of the view.
pub(crate) fn coupon(view: CouponView) -> v1::Coupon {
    let CouponView { coupon, use_from, order, now } = view;
    message(coupon, use_from, order.unwrap_or_default(), now)
}

/// A coupon as it was when it was won.
pub(crate) fn claimed(claimed: Claimed) -> v1::ClaimResponse {
    let Claimed { coupon, use_from, replayed } = claimed;
    let at = coupon.claimed_at;
    v1::ClaimResponse { coupon: Some(message(coupon, use_from, String::new(), at)), replayed }
}

/// One claim of many.
pub(crate) fn claim_outcome(result: Result<Claimed, ServiceError>) -> v1::ClaimOutcome {
    let result = match result {
        Ok(won) => claim_outcome::Result::Won(claimed(won)),
        Err(error) => claim_outcome::Result::Error(status::rpc_status(error)),
    };
    v1::ClaimOutcome { result: Some(result) }
}

/// One user of many.
pub(crate) fn issued(outcome: Issued) -> v1::IssueOutcome {
    let user_id = outcome.user.get();
    match outcome.result {
        Ok((coupons, replayed)) => {
            let coupon_ids = coupons.into_iter().map(|coupon| coupon.get()).collect();
            v1::IssueOutcome { user_id, coupon_ids, replayed, error: None }
        }
        Err(error) => {
            let error = Some(status::rpc_status(error));
            v1::IssueOutcome { user_id, error, ..v1::IssueOutcome::default() }
        }
    }
}

/// A page of a wallet.
pub(crate) fn wallet(page: WalletPage) -> v1::ListCouponsResponse {
    v1::ListCouponsResponse {
        coupons: page.coupons.into_iter().map(coupon).collect(),
        next_page_token: page.next.map(|last| decode::token(last.get())).unwrap_or_default(),
    }
}

/// What coupons are worth.
pub(crate) fn quoted(quoted: Quoted) -> v1::QuoteResponse {
    v1::QuoteResponse {
        usable: quoted.usable.into_iter().map(usable).collect(),
        unusable: quoted.unusable.into_iter().map(unusable).collect(),
        best: quoted.best.map(evaluation::combination),
    }
}

fn usable(usable: Usable) -> v1::UsableCoupon {
    v1::UsableCoupon {
        coupon_id: usable.coupon.get(),
        template_id: usable.template.get(),
        discount_minor: usable.discount.get(),
    }
}

fn unusable(unusable: Unusable) -> v1::UnusableCoupon {
    let fault = unusable.fault;
    v1::UnusableCoupon {
        coupon_id: fault.coupon.get(),
        template_id: unusable.template.map_or(0, |template| template.get()),
        reason: status::reason_of(fault.reason).into(),
        missing_minor: fault.missing.get(),
    }
}

fn message(coupon: Coupon, use_from: Timestamp, order_id: String, now: Timestamp) -> v1::Coupon {
    let status = coupon.effective_status(now);
    let (locked, used) = (status == CouponStatus::Locked, status == CouponStatus::Used);
    v1::Coupon {
        name: format!("users/{}/coupons/{}", coupon.user, coupon.id),
        coupon_id: coupon.id.get(),
        user_id: coupon.user.get(),
        template_id: coupon.template.get(),
        template_version: coupon.template_version,
        status: wire_status(status).into(),
        claim_no: coupon.claim_no,
        claimed_at: Some(instant(coupon.claimed_at)),
        use_from: Some(instant(use_from)),
        valid_until: Some(instant(coupon.valid_until)),
        order_id: if locked || used { order_id } else { String::new() },
        locked_until: coupon.locked_until.filter(|_| locked).map(instant),
        used_at: coupon.used_at.filter(|_| used).map(instant),
        source: coupon.source,
        reissue_of: coupon.reissue_of.map_or(0, |used| used.get()),
    }
}

fn wire_status(status: CouponStatus) -> v1::CouponStatus {
    match status {
        CouponStatus::Available => v1::CouponStatus::Available,
        CouponStatus::Locked => v1::CouponStatus::Locked,
        CouponStatus::Used => v1::CouponStatus::Used,
        CouponStatus::Expired => v1::CouponStatus::Expired,
        CouponStatus::Voided => v1::CouponStatus::Voided,
    }
}

#[cfg(test)]
mod tests {
    use coupon_domain::ids::{CouponId, RedemptionId, TemplateId, UserId};

    use super::*;

    fn locked() -> Coupon {
        Coupon {
            id: CouponId::new(50_042).unwrap(),
            user: UserId::new(42).unwrap(),
            template: TemplateId::new(7).unwrap(),
            template_version: 1,
            claim_no: 1,
            status: CouponStatus::Locked,
            source: "app".to_owned(),
            claimed_at: Timestamp::from_millis(1_000),
            valid_until: Timestamp::from_millis(90_000),
            redemption: Some(RedemptionId::new(60_042).unwrap()),
            locked_until: Some(Timestamp::from_millis(50_000)),
            used_at: None,
            reissue_of: None,
        }
    }

    fn seen_at(coupon: Coupon, millis: i64) -> v1::Coupon {
        super::coupon(CouponView {
            coupon,
            use_from: Timestamp::from_millis(1_000),
            order: Some("order-1".to_owned()),
            now: Timestamp::from_millis(millis),
        })
    }

    #[test]
    fn a_coupon_is_shown_as_it_effectively_is() {
        let live = seen_at(locked(), 49_999);
        assert_eq!(live.status(), v1::CouponStatus::Locked);
        assert_eq!((live.order_id.as_str(), live.locked_until.is_some()), ("order-1", true));
        assert_eq!(live.name, "users/42/coupons/50042");

        let lapsed = seen_at(locked(), 50_000);
        assert_eq!(lapsed.status(), v1::CouponStatus::Available);
        assert_eq!((lapsed.order_id.as_str(), lapsed.locked_until), ("", None));

        let expired = seen_at(locked(), 90_000);
        assert_eq!(expired.status(), v1::CouponStatus::Expired);

        let used_at = Some(Timestamp::from_millis(40_000));
        let used = Coupon { status: CouponStatus::Used, locked_until: None, used_at, ..locked() };
        let used = seen_at(used, 99_000);
        assert_eq!(used.status(), v1::CouponStatus::Used);
        assert_eq!((used.order_id.as_str(), used.used_at.is_some()), ("order-1", true));
    }
}
