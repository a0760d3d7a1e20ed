//! `ClockService`: the clock of a server that runs with `--test-clock`. `UNIMPLEMENTED` elsewhere.

use std::time::Duration;

use coupon_proto::dev::{self, clock_service_client::ClockServiceClient};

use crate::{ClientError, CouponClient};

/// An advance answers when every alarm on the way is swept, which may be millions of coupons.
const ADVANCE_DEADLINE: Duration = Duration::from_secs(600);

super::rpcs! { ClockServiceClient:
    /// The server's time.
    read get_clock(dev::GetClockRequest) -> dev::GetClockResponse;
}

impl CouponClient {
    /// Moves the server's clock forward, sweeping what falls due on the way. Waits up to ten minutes
    /// whatever the configured deadline. Repeating it is harmless: the target is absolute.
    pub async fn advance_clock(
        &self,
        request: dev::AdvanceClockRequest,
    ) -> Result<dev::AdvanceClockResponse, ClientError> {
        self.call("advance_clock", ADVANCE_DEADLINE, request, |channel, request| async move {
            ClockServiceClient::new(channel).advance_clock(request).await
        })
        .await
    }
}
