//! Carts after coupons.

use coupon_domain::evaluate::{Best, CouponUse, LineDiscount, LineShare, ShippingDiscount};
use coupon_proto::v1;

/// Coupons used together.
pub(super) fn combination(Best { evaluation, optimal }: Best) -> v1::Combination {
    v1::Combination {
        discount_minor: evaluation.discount().get(),
        payable_minor: evaluation.payable().get(),
        coupons: evaluation.uses.into_iter().map(coupon_use).collect(),
        lines: evaluation.lines.into_iter().map(line_discount).collect(),
        optimal,
        shipping: Some(shipping_discount(evaluation.shipping)),
    }
}

/// A coupon's part.
pub(super) fn coupon_use(used: CouponUse) -> v1::CouponUse {
    v1::CouponUse {
        coupon_id: used.coupon.get(),
        template_id: used.template.get(),
        discount_minor: used.discount.get(),
        shares: used.shares.into_iter().map(line_share).collect(),
        shipping_discount_minor: used.shipping.get(),
    }
}

/// A line after coupons.
pub(super) fn line_discount(line: LineDiscount) -> v1::LineDiscount {
    v1::LineDiscount {
        amount_minor: line.amount.get(),
        discount_minor: line.discount.get(),
        payable_minor: line.payable().get(),
        line_id: line.line_id,
        quantity: line.quantity,
    }
}

/// The shipping charge after coupons.
pub(super) fn shipping_discount(shipping: ShippingDiscount) -> v1::ShippingDiscount {
    v1::ShippingDiscount {
        amount_minor: shipping.amount.get(),
        discount_minor: shipping.discount.get(),
        payable_minor: shipping.payable().get(),
    }
}

fn line_share(share: LineShare) -> v1::LineShare {
    v1::LineShare { line_id: share.line_id, discount_minor: share.discount.get() }
}
