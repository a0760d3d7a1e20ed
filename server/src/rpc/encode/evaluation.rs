//! Carts after coupons.

use coupon_domain::evaluate::{CouponUse, Evaluation, LineDiscount, LineShare};
use coupon_proto::v1;

/// Coupons used together.
pub(super) fn combination(evaluation: Evaluation, optimal: bool) -> v1::Combination {
    v1::Combination {
        discount_minor: evaluation.discount().get(),
        payable_minor: evaluation.payable().get(),
        coupons: evaluation.uses.into_iter().map(coupon_use).collect(),
        lines: evaluation.lines.into_iter().map(line_discount).collect(),
        optimal,
    }
}

/// A coupon's part.
pub(super) fn coupon_use(used: CouponUse) -> v1::CouponUse {
    v1::CouponUse {
        coupon_id: used.coupon.get(),
        template_id: used.template.get(),
        discount_minor: used.discount.get(),
        shares: used.shares.into_iter().map(line_share).collect(),
    }
}

/// A line after coupons.
pub(super) fn line_discount(line: LineDiscount) -> v1::LineDiscount {
    v1::LineDiscount {
        amount_minor: line.amount.get(),
        discount_minor: line.discount.get(),
        payable_minor: line.payable().get(),
        line_id: line.line_id,
    }
}

fn line_share(share: LineShare) -> v1::LineShare {
    v1::LineShare { line_id: share.line_id, discount_minor: share.discount.get() }
}
