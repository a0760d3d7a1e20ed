//! The calls of an order, and what their callers were told.

use std::time::Instant;

use coupon_client::{ClientError, CouponClient, v1};
use v1::{ErrorReason, RedemptionState};

use crate::harness::{
    PATIENCE,
    given::{cancel, confirm, lock},
};

/// One order with one coupon.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) user: i64,
    pub(super) id: String,
    pub(super) coupon: i64,
}

impl Order {
    /// A Lock of the usual length.
    pub(super) fn lock(&self, request_id: &str) -> Call {
        Call::Lock(lock(self.user, &self.id, request_id, &[self.coupon]))
    }

    /// A Lock that holds for `seconds`.
    pub(super) fn lock_for(&self, seconds: i64, request_id: &str) -> Call {
        let lock_ttl = Some(coupon_client::prost_types::Duration { seconds, nanos: 0 });
        let request = lock(self.user, &self.id, request_id, &[self.coupon]);
        Call::Lock(v1::LockRequest { lock_ttl, ..request })
    }

    /// A Confirm.
    pub(super) fn confirm(&self, request_id: &str) -> Call {
        Call::Confirm(confirm(self.user, &self.id, request_id))
    }

    /// A Cancel.
    pub(super) fn cancel(&self, request_id: &str) -> Call {
        Call::Cancel(cancel(self.user, &self.id, request_id))
    }
}

/// Try, Confirm or Cancel.
#[derive(Clone, Debug)]
pub(super) enum Call {
    Lock(v1::LockRequest),
    Confirm(v1::ConfirmRequest),
    Cancel(v1::CancelRequest),
}

/// What a caller knows in the end.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) call: Call,
    pub(super) outcome: Result<v1::Redemption, ErrorReason>,
    /// When it asked for the last time.
    pub(super) asked: Instant,
    /// When it was told.
    pub(super) told: Instant,
}

impl Call {
    /// Asks until the outcome is known, always with the same request: whoever is not told by the
    /// platform itself knows nothing, and the same request id settles it (R61).
    pub(super) async fn settle(self, client: CouponClient) -> Told {
        let begun = Instant::now();
        loop {
            let asked = Instant::now();
            let outcome = match self.clone().send(&client).await {
                Ok(redemption) => Ok(redemption),
                Err(error) => match definite(&error) {
                    Some(reason) => Err(reason),
                    None if begun.elapsed() < PATIENCE => continue,
                    None => panic!("never settled: {self:?}: {error}"),
                },
            };
            return Told { call: self, outcome, asked, told: Instant::now() };
        }
    }

    async fn send(self, client: &CouponClient) -> Result<v1::Redemption, ClientError> {
        let redemption = match self {
            Self::Lock(request) => client.lock(request).await?.redemption,
            Self::Confirm(request) => client.confirm(request).await?.redemption,
            Self::Cancel(request) => client.cancel(request).await?.redemption,
        };
        Ok(redemption.expect("an answer carries the redemption"))
    }
}

/// Why the platform has refused; `None` when it may have done what it was asked, or may do it yet.
fn definite(error: &ClientError) -> Option<ErrorReason> {
    let again =
        [ErrorReason::Overloaded, ErrorReason::BackendUnavailable, ErrorReason::OutcomeUnknown];
    error.reason().filter(|reason| !again.contains(reason))
}

impl Told {
    pub(super) fn is_lock(&self) -> bool {
        matches!(self.call, Call::Lock(_))
    }

    pub(super) fn is_confirm(&self) -> bool {
        matches!(self.call, Call::Confirm(_))
    }

    pub(super) fn is_cancel(&self) -> bool {
        matches!(self.call, Call::Cancel(_))
    }

    fn order(&self) -> (i64, &str) {
        match &self.call {
            Call::Lock(request) => (request.user_id, &request.order_id),
            Call::Confirm(request) => (request.user_id, &request.order_id),
            Call::Cancel(request) => (request.user_id, &request.order_id),
        }
    }

    /// Whether it is about this order.
    pub(super) fn is_of(&self, order: &Order) -> bool {
        self.order() == (order.user, &order.id)
    }
}

/// All were told the same redemption, in this state; answers it.
pub(super) fn all_told(told: &[Told], state: RedemptionState) -> v1::Redemption {
    let first = told.first().expect("somebody asked").outcome.clone();
    let first = first.unwrap_or_else(|reason| panic!("refused with {reason:?}: {told:#?}"));
    assert_eq!(first.state(), state);
    for one in told {
        assert_eq!(one.outcome.as_ref(), Ok(&first), "{one:?}");
    }
    first
}

/// All were refused for this reason.
pub(super) fn all_refused(told: &[Told], reason: ErrorReason) {
    for one in told {
        assert_eq!(one.outcome, Err(reason), "{one:?}");
    }
}
