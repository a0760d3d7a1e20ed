//! `RedemptionService`.

use std::sync::Arc;

use async_trait::async_trait;
use coupon_domain::redemption::Redemption;
use coupon_proto::v1::{self, redemption_service_server::RedemptionService};
use tonic::{Request, Response, Status};

use super::{deadline, decode, encode, fresh, status};
use crate::{error::ServiceError, usecase::UseCases};

/// Metadata that the coordinator dtm adds to every call of its transactions: the transaction's id.
const DTM_GID: &str = "dtm-gid";

pub(super) struct RedemptionRpc {
    usecases: Arc<UseCases>,
}

impl RedemptionRpc {
    pub(super) fn new(usecases: Arc<UseCases>) -> Self {
        Self { usecases }
    }

    /// The redemption as it effectively is now.
    fn now(&self, redemption: Redemption) -> Option<v1::Redemption> {
        Some(encode::redemption(redemption, self.usecases.clock.now()))
    }

    fn count_refused(&self, verb: &'static str, error: &ServiceError) {
        if let ServiceError::Refused(refusal) = error {
            let reason = status::reason_of(refusal.reason);
            self.usecases.metrics.close_refused(verb, reason.as_reason());
        }
    }

    async fn try_lock(
        &self,
        request: Request<v1::LockRequest>,
    ) -> Result<Response<v1::LockResponse>, Status> {
        let deadline = deadline(&request, &self.usecases.config);
        let command = decode::lock(request.into_inner(), &self.usecases.config)?;
        let redemption = self.usecases.lock(command, deadline).await?;
        Ok(Response::new(v1::LockResponse { redemption: self.now(redemption) }))
    }
}

#[async_trait]
impl RedemptionService for RedemptionRpc {
    async fn lock(
        &self,
        request: Request<v1::LockRequest>,
    ) -> Result<Response<v1::LockResponse>, Status> {
        let under_dtm = request.metadata().contains_key(DTM_GID);
        let answer = self.try_lock(request).await;
        if under_dtm { answer.map_err(status::of_try) } else { answer }
    }

    async fn confirm(
        &self,
        request: Request<v1::ConfirmRequest>,
    ) -> Result<Response<v1::ConfirmResponse>, Status> {
        let deadline = deadline(&request, &self.usecases.config);
        let command = decode::confirm(request.into_inner(), &self.usecases.config)?;
        let confirmed = self.usecases.confirm(command, deadline).await;
        let redemption = confirmed.inspect_err(|error| self.count_refused("confirm", error))?;
        Ok(Response::new(v1::ConfirmResponse { redemption: self.now(redemption) }))
    }

    async fn cancel(
        &self,
        request: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::CancelResponse>, Status> {
        let deadline = deadline(&request, &self.usecases.config);
        let command = decode::cancel(request.into_inner(), &self.usecases.config)?;
        let cancelled = self.usecases.cancel(command, deadline).await;
        let redemption = cancelled.inspect_err(|error| self.count_refused("cancel", error))?;
        Ok(Response::new(v1::CancelResponse { redemption: self.now(redemption) }))
    }

    async fn restore(
        &self,
        request: Request<v1::RestoreRequest>,
    ) -> Result<Response<v1::RestoreResponse>, Status> {
        let deadline = deadline(&request, &self.usecases.config);
        let command = decode::restore(request.into_inner(), &self.usecases.config)?;
        let restored = self.usecases.restore(command, deadline).await?;
        Ok(Response::new(encode::restored(restored, self.usecases.clock.now())))
    }

    async fn get_redemption(
        &self,
        request: Request<v1::GetRedemptionRequest>,
    ) -> Result<Response<v1::GetRedemptionResponse>, Status> {
        let fresh = fresh(&request);
        let (user, order) = decode::get_redemption(request.into_inner())?;
        let redemption = self.usecases.redemption(user, order, fresh).await?;
        Ok(Response::new(v1::GetRedemptionResponse { redemption: self.now(redemption) }))
    }

    async fn list_stuck_redemptions(
        &self,
        request: Request<v1::ListStuckRedemptionsRequest>,
    ) -> Result<Response<v1::ListStuckRedemptionsResponse>, Status> {
        let decode::Stuck { min_overdue, page_size, after } =
            decode::list_stuck_redemptions(request.into_inner(), &self.usecases.config)?;
        let page = self.usecases.stuck_redemptions(min_overdue, page_size, after).await?;
        Ok(Response::new(encode::stuck_redemptions(page)))
    }

    async fn force_confirm(
        &self,
        request: Request<v1::ForceConfirmRequest>,
    ) -> Result<Response<v1::ForceConfirmResponse>, Status> {
        let deadline = deadline(&request, &self.usecases.config);
        let command = decode::force_confirm(request.into_inner())?;
        let redemption = self.usecases.force(command, deadline).await?;
        Ok(Response::new(v1::ForceConfirmResponse { redemption: self.now(redemption) }))
    }

    async fn force_cancel(
        &self,
        request: Request<v1::ForceCancelRequest>,
    ) -> Result<Response<v1::ForceCancelResponse>, Status> {
        let deadline = deadline(&request, &self.usecases.config);
        let command = decode::force_cancel(request.into_inner())?;
        let redemption = self.usecases.force(command, deadline).await?;
        Ok(Response::new(v1::ForceCancelResponse { redemption: self.now(redemption) }))
    }
}
