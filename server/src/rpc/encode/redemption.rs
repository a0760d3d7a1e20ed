//! Messages of `RedemptionService`.

use coupon_domain::{
    evaluate::Evaluation,
    ids::RedemptionId,
    redemption::{
        Forced, Redemption, RedemptionState, RefundProgress, RefundedLine, RestoreResult, Restored,
        RestoredCoupon,
    },
    time::Timestamp,
};
use coupon_proto::v1;

use super::{evaluation, instant};
use crate::rpc::decode;

/// A redemption as it effectively is at `now`.
pub(crate) fn redemption(redemption: Redemption, now: Timestamp) -> v1::Redemption {
    let state = redemption.effective_state(now);
    message(redemption, state)
}

/// A page of overdue locks, in their stored states.
pub(crate) fn stuck_redemptions(
    (page, next): (Vec<Redemption>, Option<(Timestamp, RedemptionId)>),
) -> v1::ListStuckRedemptionsResponse {
    let as_stored = |redemption: Redemption| {
        let state = redemption.state;
        message(redemption, state)
    };
    v1::ListStuckRedemptionsResponse {
        redemptions: page.into_iter().map(as_stored).collect(),
        next_page_token: next.map(decode::redemption_token).unwrap_or_default(),
    }
}

/// A refunded order.
pub(crate) fn restored(restored: Restored, now: Timestamp) -> v1::RestoreResponse {
    let amounts = restored.amounts;
    v1::RestoreResponse {
        redemption: Some(redemption(restored.redemption, now)),
        coupons: restored.coupons.into_iter().map(restored_coupon).collect(),
        refund_minor: amounts.amount.get(),
        lines: amounts.lines.into_iter().map(refunded_line).collect(),
        shipping_refund_minor: amounts.shipping.get(),
        clawed_back_minor: amounts.clawed_back,
    }
}

fn refunded_line(line: RefundedLine) -> v1::RefundedLine {
    v1::RefundedLine {
        line_id: line.line_id,
        quantity: line.quantity,
        amount_minor: line.amount.get(),
    }
}

fn restored_coupon(restored: RestoredCoupon) -> v1::RestoredCoupon {
    let result = match restored.result {
        RestoreResult::GivenBack => v1::RestoreResult::GivenBack,
        RestoreResult::Reissued => v1::RestoreResult::Reissued,
        RestoreResult::KeptUsed => v1::RestoreResult::KeptUsed,
    };
    v1::RestoredCoupon {
        coupon_id: restored.coupon.get(),
        result: result.into(),
        reissued_coupon_id: restored.reissued.map_or(0, |coupon| coupon.get()),
        valid_until: restored.valid_until.map(instant),
    }
}

fn message(redemption: Redemption, state: RedemptionState) -> v1::Redemption {
    let mut message = v1::Redemption {
        name: format!("users/{}/redemptions/{}", redemption.user, redemption.order),
        redemption_id: redemption.id.get(),
        user_id: redemption.user.get(),
        order_id: redemption.order,
        state: wire_state(state).into(),
        first_locked_at: redemption.first_locked_at.map(instant),
        locked_until: redemption.locked_until.map(instant),
        closed_at: redemption.closed_at.map(instant),
        forced: redemption.forced.map(forced),
        ..v1::Redemption::default()
    };
    if let Some(evaluation) = redemption.evaluation {
        message.refunded = refunded(&redemption.refunded, &evaluation);
        message.shipping = Some(evaluation::shipping_discount(evaluation.shipping));
        evaluation.currency.as_str().clone_into(&mut message.currency_code);
        message.discount_minor = evaluation.discount().get();
        message.payable_minor = evaluation.payable().get();
        message.coupons = evaluation.uses.into_iter().map(evaluation::coupon_use).collect();
        message.lines = evaluation.lines.into_iter().map(evaluation::line_discount).collect();
    }
    message
}

/// What has been refunded; nothing before the first refund.
fn refunded(progress: &RefundProgress, evaluation: &Evaluation) -> Option<v1::RefundProgress> {
    if *progress == RefundProgress::default() {
        return None;
    }
    let lines = evaluation.lines.iter().zip(&progress.quantities);
    let lines = lines.filter(|(_, quantity)| **quantity > 0).map(|(line, quantity)| {
        v1::LineQuantity { line_id: line.line_id.clone(), quantity: *quantity }
    });
    Some(v1::RefundProgress {
        amount_minor: progress.amount.get(),
        lines: lines.collect(),
        shipping: progress.shipping,
    })
}

fn forced(forced: Forced) -> v1::ForcedClose {
    v1::ForcedClose {
        operator: forced.operator,
        reason: forced.reason,
        from_state: wire_state(forced.from).into(),
        at: Some(instant(forced.at)),
    }
}

fn wire_state(state: RedemptionState) -> v1::RedemptionState {
    match state {
        RedemptionState::Locked => v1::RedemptionState::Locked,
        RedemptionState::Confirmed => v1::RedemptionState::Confirmed,
        RedemptionState::Cancelled => v1::RedemptionState::Cancelled,
        RedemptionState::Lapsed => v1::RedemptionState::Lapsed,
        RedemptionState::Restored => v1::RedemptionState::Restored,
    }
}
