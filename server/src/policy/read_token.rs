//! Read tokens: whoever has written reads what it has written, also from a replica (R13).
//!
//! The answer to a write carries `coupon-read-token`, an instant by which the write was certainly
//! committed, in milliseconds since 1970 by the primaries' clocks. A caller that sends it back with
//! a read is answered from a replica only when that replica has come past it.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::clock::wall_millis;

/// The header of requests and answers.
pub const HEADER: &str = "coupon-read-token";

/// Calls that write coupons or redemptions.
const WRITES: [&str; 7] =
    ["/Claim", "/Issue", "/VoidCoupon", "/Lock", "/Confirm", "/Cancel", "/Restore"];

/// What the caller has written before this call; in the extensions of each request that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadToken {
    /// Committed by this instant, in milliseconds since 1970.
    Past(i64),
    /// Something that cannot be read: only the primary is sure to have it.
    Unreadable,
}

/// Wraps a service in [`CarryReadTokens`].
#[derive(Debug, Clone, Copy)]
pub struct ReadTokenLayer {
    margin_ms: Option<i64>,
}

impl ReadTokenLayer {
    /// `margin`: how far the clocks of nodes and primaries may lie apart, together; `None` when there
    /// are no replicas, so that there is nothing to carry.
    pub fn new(margin: Option<Duration>) -> Self {
        let millis = |margin: Duration| i64::try_from(margin.as_millis()).unwrap_or(i64::MAX);
        Self { margin_ms: margin.map(millis) }
    }
}

impl<S> Layer<S> for ReadTokenLayer {
    type Service = CarryReadTokens<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CarryReadTokens { inner, layer: *self }
    }
}

/// Takes tokens from requests and puts them on the answers of writes.
#[derive(Debug, Clone)]
pub struct CarryReadTokens<S> {
    inner: S,
    layer: ReadTokenLayer,
}

impl<S, B, R> Service<Request<B>> for CarryReadTokens<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = TokenFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let Some(margin_ms) = self.layer.margin_ms else {
            return TokenFuture { inner: self.inner.call(request), margin_ms: None };
        };
        if let Some(token) = request.headers().get(HEADER) {
            let millis = token.to_str().ok().and_then(|text| text.parse().ok());
            let token = millis.map_or(ReadToken::Unreadable, ReadToken::Past);
            request.extensions_mut().insert(token);
        }
        let writes = WRITES.iter().any(|ending| request.uri().path().ends_with(ending));
        let margin_ms = writes.then_some(margin_ms);
        TokenFuture { inner: self.inner.call(request), margin_ms }
    }
}

pin_project! {
    /// The future of [`CarryReadTokens`].
    pub struct TokenFuture<F> {
        #[pin]
        inner: F,
        margin_ms: Option<i64>,
    }
}

impl<F, R, E> Future for TokenFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<R>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut answer = ready!(this.inner.poll(context))?;
        // A refusal has `grpc-status` among its headers; it has written nothing.
        if let Some(margin_ms) = this.margin_ms
            && !answer.headers().contains_key("grpc-status")
        {
            let token = HeaderValue::from(wall_millis() + *margin_ms);
            answer.headers_mut().insert(HEADER, token);
        }
        Poll::Ready(Ok(answer))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tower::{ServiceExt as _, service_fn};

    use super::*;

    async fn call(
        path: &str,
        token: Option<&str>,
        margin: Option<Duration>,
    ) -> (Option<ReadToken>, bool) {
        let inner = service_fn(|request: Request<()>| async move {
            let mut answer = Response::new(());
            if let Some(token) = request.extensions().get::<ReadToken>() {
                answer.extensions_mut().insert(*token);
            }
            Ok::<_, Infallible>(answer)
        });
        let service = ReadTokenLayer::new(margin).layer(inner);
        let mut request = Request::builder().uri(format!("http://host/coupon.v1.S{path}"));
        if let Some(token) = token {
            request = request.header(HEADER, token);
        }
        let answer = service.oneshot(request.body(()).unwrap()).await.unwrap();
        (answer.extensions().get::<ReadToken>().copied(), answer.headers().contains_key(HEADER))
    }

    // R13.
    #[tokio::test]
    async fn writes_answer_with_a_token_and_reads_pass_theirs_on() {
        let margin = Some(Duration::from_secs(1));
        assert_eq!(call("/Claim", None, margin).await, (None, true));
        assert_eq!(call("/GetCoupon", None, margin).await, (None, false));
        assert_eq!(
            call("/GetCoupon", Some("17"), margin).await,
            (Some(ReadToken::Past(17)), false)
        );
        assert_eq!(
            call("/GetCoupon", Some("x"), margin).await,
            (Some(ReadToken::Unreadable), false)
        );
        assert_eq!(call("/Claim", Some("17"), None).await, (None, false));
    }
}
