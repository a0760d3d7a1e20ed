//! `ClockService`: moves the clock of a server that runs on a test clock.

use std::sync::Arc;

use async_trait::async_trait;

use coupon_proto::dev::{
    AdvanceClockRequest, AdvanceClockResponse, GetClockRequest, GetClockResponse,
    clock_service_server::ClockService,
};
use tonic::{Request, Response, Status};

use super::{decode, encode};
use crate::{clock::ClockDriver, error::ServiceError};

pub(super) struct ClockRpc {
    driver: Option<Arc<dyn ClockDriver>>,
}

impl ClockRpc {
    pub(super) fn new(driver: Option<Arc<dyn ClockDriver>>) -> Self {
        Self { driver }
    }

    fn driver(&self) -> Result<&dyn ClockDriver, ServiceError> {
        let off = "the server does not run on a test clock; start it with --test-clock";
        self.driver.as_deref().ok_or(ServiceError::Unsupported(off))
    }
}

#[async_trait]
impl ClockService for ClockRpc {
    async fn get_clock(
        &self,
        _request: Request<GetClockRequest>,
    ) -> Result<Response<GetClockResponse>, Status> {
        let now = encode::instant(self.driver()?.now());
        Ok(Response::new(GetClockResponse { now: Some(now) }))
    }

    async fn advance_clock(
        &self,
        request: Request<AdvanceClockRequest>,
    ) -> Result<Response<AdvanceClockResponse>, Status> {
        let driver = self.driver()?;
        let to = decode::advance_clock(request.into_inner())?;
        let (now, alarms_handled) = driver.advance(to).await?;
        let now = Some(encode::instant(now));
        Ok(Response::new(AdvanceClockResponse { now, alarms_handled }))
    }
}
