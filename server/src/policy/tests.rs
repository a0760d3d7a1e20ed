//! The layers inside a real tonic server, under tonic's own timer.

use std::convert::Infallible;
use std::future::Pending;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use coupon_proto::v1;
use coupon_proto::v1::coupon_service_client::CouponServiceClient;
use http::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::transport::{Endpoint, Server};
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

// On a clock that stands still while anybody works, because the two timers lie 40 ms apart.
#[tokio::test(start_paused = true)]
async fn the_caller_hears_deadline_exceeded_before_tonic_cancels() {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let server = Server::builder()
        .layer(super::stack(&Config::default(), std::sync::Arc::default()))
        .add_service(Stuck)
        .serve_with_incoming(tokio_stream::once(Ok::<_, io::Error>(far)));
    let server = tokio::spawn(server);

    let mut near = Some(TokioIo::new(near));
    let connector = tower::service_fn(move |_: Uri| {
        std::future::ready(near.take().ok_or_else(|| io::Error::other("there is one connection")))
    });
    let endpoint = Endpoint::from_static("http://memory");
    let channel = endpoint.connect_with_connector(connector).await.unwrap();
    let mut client = CouponServiceClient::new(channel);
    let mut request = tonic::Request::new(v1::ClaimRequest::default());
    // The header only: the client's own timer, set to the same time, fires at the whole of it.
    request.set_timeout(Duration::from_millis(800));
    let status = client.claim(request).await.unwrap_err();
    assert_eq!(status.code(), tonic::Status::deadline_exceeded("").code(), "{status:?}");
    assert_eq!(status.get_details_error_info().unwrap().reason, "OUTCOME_UNKNOWN");
    server.abort();
}
