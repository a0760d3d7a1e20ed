//! `CouponService`.

mod stream;

use std::sync::Arc;

use async_trait::async_trait;
use coupon_proto::v1::{self, coupon_service_server::CouponService};
use futures::stream::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use super::{deadline, decode, encode, fresh};
use crate::usecase::{UseCases, WalletQuery};

pub(super) struct CouponRpc {
    usecases: Arc<UseCases>,
}

impl CouponRpc {
    pub(super) fn new(usecases: Arc<UseCases>) -> Self {
        Self { usecases }
    }
}

#[async_trait]
impl CouponService for CouponRpc {
    type ClaimStreamStream = BoxStream<'static, Result<v1::ClaimStreamResponse, Status>>;

    async fn claim(
        &self,
        request: Request<v1::ClaimRequest>,
    ) -> Result<Response<v1::ClaimResponse>, Status> {
        let deadline = deadline(&request, &self.usecases.config);
        let command = decode::claim(request.into_inner())?;
        let claimed = self.usecases.claim(command, deadline).await?;
        Ok(Response::new(encode::claimed(claimed)))
    }

    async fn claim_stream(
        &self,
        request: Request<Streaming<v1::ClaimStreamRequest>>,
    ) -> Result<Response<Self::ClaimStreamStream>, Status> {
        Ok(Response::new(stream::answers(Arc::clone(&self.usecases), request)))
    }

    async fn issue(
        &self,
        request: Request<v1::IssueRequest>,
    ) -> Result<Response<v1::IssueResponse>, Status> {
        let deadline = deadline(&request, &self.usecases.config);
        let command = decode::issue(request.into_inner())?;
        let outcomes = self.usecases.issue(command, deadline).await?;
        let outcomes = outcomes.into_iter().map(encode::issued).collect();
        Ok(Response::new(v1::IssueResponse { outcomes }))
    }

    async fn get_coupon(
        &self,
        request: Request<v1::GetCouponRequest>,
    ) -> Result<Response<v1::GetCouponResponse>, Status> {
        let fresh = fresh(&request);
        let (user, coupon) = decode::get_coupon(request.into_inner())?;
        let view = self.usecases.coupon(user, coupon, fresh).await?;
        Ok(Response::new(v1::GetCouponResponse { coupon: Some(encode::coupon(view)) }))
    }

    async fn list_coupons(
        &self,
        request: Request<v1::ListCouponsRequest>,
    ) -> Result<Response<v1::ListCouponsResponse>, Status> {
        let fresh = fresh(&request);
        let query = decode::list_coupons(request.into_inner(), &self.usecases.config)?;
        let query = WalletQuery { fresh, ..query };
        let page = self.usecases.wallet(query).await?;
        Ok(Response::new(encode::wallet(page)))
    }

    async fn quote(
        &self,
        request: Request<v1::QuoteRequest>,
    ) -> Result<Response<v1::QuoteResponse>, Status> {
        let command = decode::quote(request.into_inner(), &self.usecases.config)?;
        let quoted = self.usecases.quote(command).await?;
        Ok(Response::new(encode::quoted(quoted)))
    }

    async fn void_coupon(
        &self,
        request: Request<v1::VoidCouponRequest>,
    ) -> Result<Response<v1::VoidCouponResponse>, Status> {
        let deadline = deadline(&request, &self.usecases.config);
        let (command, mark) = decode::void_coupon(request.into_inner())?;
        let view = self.usecases.void_coupon(command, mark, deadline).await?;
        Ok(Response::new(v1::VoidCouponResponse { coupon: Some(encode::coupon(view)) }))
    }
}
