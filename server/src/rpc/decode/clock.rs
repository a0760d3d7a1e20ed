//! The test clock.

use coupon_domain::time::Timestamp;
use coupon_proto::dev;

use super::field::Violations;
use crate::error::ServiceError;

/// The instant to move the clock to.
pub(crate) fn advance_clock(request: dev::AdvanceClockRequest) -> Result<Timestamp, ServiceError> {
    let mut violations = Violations::default();
    let to = violations.instant("to", request.to);
    violations.finish(to)
}
