//! The layers inside a real tonic server, under tonic's own timer.

use std::convert::Infallible;
use std::future::Pending;
use std::task::{Context, Poll};
use std::time::Duration;

use coupon_proto::v1;
use coupon_proto::v1::coupon_service_client::CouponServiceClient;
use http::{Request, Response};
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic_types::StatusExt;
use tower::Service;

use crate::config::Config;

/// A service whose calls never end.
#[derive(Clone)]
struct Stuck;

impl NamedService for Stuck {
    const NAME: &'static str = "coupon.v1.CouponService";
}

impl Service<Request<Body>> for Stuck {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pending<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        std::future::pending()
    }
}

#[tokio::test]
async fn the_caller_hears_deadline_exceeded_before_tonic_cancels() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = Server::builder()
        .layer(super::stack(&Config::default(), std::sync::Arc::default()))
        .add_service(Stuck)
        .serve_with_incoming(TcpIncoming::from(listener));
    let server = tokio::spawn(server);

    let channel = Channel::from_shared(endpoint).unwrap().connect().await.unwrap();
    let mut client = CouponServiceClient::new(channel);
    let mut request = tonic::Request::new(v1::ClaimRequest::default());
    // The header only: the client's own timer, set to the same time, fires at the whole of it.
    request.set_timeout(Duration::from_millis(800));
    let status = client.claim(request).await.unwrap_err();
    assert_eq!(status.code(), tonic::Status::deadline_exceeded("").code(), "{status:?}");
    assert_eq!(status.get_details_error_info().unwrap().reason, "OUTCOME_UNKNOWN");
    server.abort();
}
