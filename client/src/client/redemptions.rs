//! `RedemptionService`: using coupons in an order, as the participant of a TCC transaction.

use coupon_proto::v1::{self, redemption_service_client::RedemptionServiceClient};

super::rpcs! { RedemptionServiceClient:
    /// Try: locks all the coupons for the order, or none.
    write lock(v1::LockRequest) -> v1::LockResponse;
    /// Paid: the locked coupons are used.
    write confirm(v1::ConfirmRequest) -> v1::ConfirmResponse;
    /// Not paid: the locked coupons are free again. Succeeds when nothing was locked.
    write cancel(v1::CancelRequest) -> v1::CancelResponse;
    /// Refunded, wholly or in parts: says how much to give back, and gives the coupons of a confirmed
    /// order back under their templates' policies.
    write restore(v1::RestoreRequest) -> v1::RestoreResponse;
    /// Reads one redemption, as it effectively is now.
    read get_redemption(v1::GetRedemptionRequest) -> v1::GetRedemptionResponse;
    /// Redemptions still stored LOCKED although their time is over, longest overdue first.
    read list_stuck_redemptions(v1::ListStuckRedemptionsRequest)
        -> v1::ListStuckRedemptionsResponse;
    /// An operator confirms an order that a coordinator gave up on, whatever the time.
    write force_confirm(v1::ForceConfirmRequest) -> v1::ForceConfirmResponse;
    /// An operator cancels an order that a coordinator gave up on.
    write force_cancel(v1::ForceCancelRequest) -> v1::ForceCancelResponse;
}
