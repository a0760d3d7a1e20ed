//! A node that must not serve says so, and why, to every call but those that ask after its health.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt};
use tower::{Layer, Service};

use crate::serving::Serving;

/// When to ask again: a clock is looked at once a second.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Calls that are answered all the same.
const ALWAYS: [&str; 2] = ["/grpc.health.v1.", "/grpc.reflection."];

/// Wraps a service in [`RefuseUnlessServing`].
#[derive(Debug, Clone)]
pub struct ServingLayer(Arc<Serving>);

impl ServingLayer {
    /// Goes by the switch.
    pub fn new(serving: Arc<Serving>) -> Self {
        Self(serving)
    }
}

impl<S> Layer<S> for ServingLayer {
    type Service = RefuseUnlessServing<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RefuseUnlessServing { inner, serving: Arc::clone(&self.0) }
    }
}

/// Answers UNAVAILABLE for the service inside while the node must not serve.
#[derive(Debug, Clone)]
pub struct RefuseUnlessServing<S> {
    inner: S,
    serving: Arc<Serving>,
}

impl<S, B, R> Service<Request<B>> for RefuseUnlessServing<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ServingFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let path = request.uri().path();
        if self.serving.serves() || ALWAYS.iter().any(|start| path.starts_with(start)) {
            return ServingFuture { inside: Some(self.inner.call(request)), refusal: None };
        }
        ServingFuture { inside: None, refusal: Some(self.serving.reason()) }
    }
}

pin_project! {
    /// The answer of the service inside, or the refusal when there is no such service to ask.
    pub struct ServingFuture<F> {
        #[pin]
        inside: Option<F>,
        refusal: Option<String>,
    }
}

impl<F, E, R> Future for ServingFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Default,
{
    type Output = Result<Response<R>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.inside.as_pin_mut() {
            Some(inside) => inside.poll(context),
            None => {
                let reason = this.refusal.take().unwrap_or_default();
                let details = ErrorDetails::with_retry_info(Some(RETRY_AFTER));
                let text = format!("this node does not serve at present: {reason}");
                let status = Status::with_error_details(tonic::Code::Unavailable, text, details);
                Poll::Ready(Ok(status.into_http()))
            }
        }
    }
}
