//! `CouponService`: taking, giving, looking at coupons and asking what they are worth.

use coupon_proto::v1::{self, coupon_service_client::CouponServiceClient};
use tokio_stream::{Stream, StreamExt as _};
use tonic::Streaming;

use crate::{ClientError, CouponClient, request_id};

super::rpcs! { CouponServiceClient:
    /// The user takes one coupon of a template. `Ok` means won: the coupon is durable.
    write claim(v1::ClaimRequest) -> v1::ClaimResponse;
    /// The merchant gives coupons to up to 1,000 users, one outcome per user in their order.
    /// Outcomes with an error of their own are not sent again by this call.
    write issue(v1::IssueRequest) -> v1::IssueResponse;
    /// Reads one coupon of a user.
    read get_coupon(v1::GetCouponRequest) -> v1::GetCouponResponse;
    /// A user's coupons, newest first, a page at a time.
    read list_coupons(v1::ListCouponsRequest) -> v1::ListCouponsResponse;
    /// What the user's coupons are worth for a cart, now.
    read quote(v1::QuoteRequest) -> v1::QuoteResponse;
    /// An operator takes an AVAILABLE coupon away for good.
    write void_coupon(v1::VoidCouponRequest) -> v1::VoidCouponResponse;
}

impl CouponClient {
    /// Many claims over one stream, for gateways that batch. Lives on one connection until either
    /// side ends it; has no deadline and is not retried: claims without an answer are sent again on
    /// a new stream, under the same ids. Claims with an empty `request_id` get one minted.
    pub async fn claim_stream(
        &self,
        requests: impl Stream<Item = v1::ClaimStreamRequest> + Send + 'static,
    ) -> Result<Streaming<v1::ClaimStreamResponse>, ClientError> {
        let requests = requests.map(|mut batch| {
            for claim in &mut batch.claims {
                request_id::fill(&mut claim.request_id);
            }
            batch
        });
        let mut service = CouponServiceClient::new(self.shared.pool.pick());
        match service.claim_stream(requests).await {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => Err(ClientError::new("claim_stream", 1, status)),
        }
    }
}
