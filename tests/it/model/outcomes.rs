//! Outcomes on redemptions in the model's words.

use coupon_domain::{
    Rejection,
    coupon::CouponStatus,
    ids::CouponId,
    redemption::{Redemption, RedemptionState, RestoreResult, Restored},
    time::Timestamp,
};
use coupon_server::ledger::{NotRedeemed, Redeemed};

use super::sequential::Phase;

/// What a command comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Came {
    /// To this: phase, coupons in ascending order, discount, end of the lock.
    Order(Phase, Vec<CouponId>, i64, Option<i64>),
    Restored(Vec<(CouponId, Back)>),
    Voided,
    Refused(Rejection, Vec<(CouponId, Rejection)>),
}

/// A coupon after a refund. The id of a reissued one is compared apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Back {
    Given(i64),
    New(i64),
    Kept,
}

/// An outcome of the ledger in the model's words.
pub(super) fn came(outcome: &Result<Redeemed, NotRedeemed>, at: i64) -> Came {
    match outcome {
        Ok(Redeemed::Redemption(redemption)) => order(redemption, at),
        Ok(Redeemed::Restored(restored)) => backs(restored),
        Ok(Redeemed::Coupon(coupon)) => {
            assert_eq!(coupon.status, CouponStatus::Voided);
            Came::Voided
        }
        Ok(Redeemed::Lapsed(_)) => panic!("a lapse is compared by what it leaves"),
        Err(NotRedeemed::Refused(refusal)) => {
            let faults = refusal.faults.iter().map(|fault| (fault.coupon, fault.reason));
            Came::Refused(refusal.reason, faults.collect())
        }
        Err(NotRedeemed::Failed(error)) => panic!("failed: {error}"),
    }
}

fn order(redemption: &Redemption, at: i64) -> Came {
    let phase = match redemption.effective_state(Timestamp::from_millis(at)) {
        RedemptionState::Locked => Phase::Locked,
        RedemptionState::Confirmed => Phase::Confirmed,
        RedemptionState::Cancelled => Phase::Cancelled,
        RedemptionState::Lapsed => Phase::Lapsed,
        RedemptionState::Restored => Phase::Restored,
    };
    let discount = redemption.evaluation.as_ref().map_or(0, |one| one.discount().get());
    let until = redemption.locked_until.map(Timestamp::as_millis);
    Came::Order(phase, redemption.coupons().collect(), discount, until)
}

fn backs(restored: &Restored) -> Came {
    let back = restored.coupons.iter().map(|one| {
        let until = one.valid_until.map_or(0, Timestamp::as_millis);
        let back = match one.result {
            RestoreResult::GivenBack => Back::Given(until),
            RestoreResult::Reissued => Back::New(until),
            RestoreResult::KeptUsed => Back::Kept,
        };
        (one.coupon, back)
    });
    Came::Restored(back.collect())
}
