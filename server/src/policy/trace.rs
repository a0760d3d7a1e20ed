//! One debug event per call, target `coupon::rpc`: method, gRPC status, time taken.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::{Request, Response, Uri};
use pin_project_lite::pin_project;
use tower::{Layer, Service};
use tracing::Level;

/// Wraps a service in [`Trace`].
#[derive(Debug, Clone, Copy, Default)]
pub struct TraceLayer;

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Trace { inner }
    }
}

/// Logs each call of the service inside at debug level; costs one comparison when that is off.
#[derive(Debug, Clone)]
pub struct Trace<S> {
    inner: S,
}

impl<S, B, R> Service<Request<B>> for Trace<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Display,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = TraceFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let observed = tracing::enabled!(target: "coupon::rpc", Level::DEBUG)
            .then(|| Observed { started: Instant::now(), uri: request.uri().clone() });
        TraceFuture { inner: self.inner.call(request), observed }
    }
}

/// What the event at the end needs from the beginning of the call.
struct Observed {
    started: Instant,
    uri: Uri,
}

impl Observed {
    fn report<R, E: Display>(&self, result: &Result<Response<R>, E>) {
        let method = self.uri.path();
        let elapsed_us = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        match result {
            Ok(response) => {
                // A refusal has its status in the headers; a success, or a stream, in the trailers
                // that are yet to come, and those say 0 unless a stream breaks.
                let status = response.headers().get("grpc-status");
                let status = status.and_then(|value| value.to_str().ok()).unwrap_or("0");
                tracing::debug!(target: "coupon::rpc", method, status, elapsed_us, "call answered");
            }
            Err(error) => {
                tracing::debug!(target: "coupon::rpc", method, %error, elapsed_us, "call broke");
            }
        }
    }
}

pin_project! {
    /// The future of [`Trace`].
    pub struct TraceFuture<F> {
        #[pin]
        inner: F,
        observed: Option<Observed>,
    }
}

impl<F, R, E> Future for TraceFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Display,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(context));
        if let Some(observed) = this.observed {
            observed.report(&result);
        }
        Poll::Ready(result)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tonic::Status;
    use tonic::body::Body;
    use tower::{ServiceExt, service_fn};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    async fn logged(level: Level) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let refusing = service_fn(|_: Request<Body>| async {
            Ok::<_, std::convert::Infallible>(Status::not_found("no").into_http::<Body>())
        });
        let request = Request::builder().uri("/coupon.v1.CouponService/Claim").body(Body::empty());
        let response = TraceLayer.layer(refusing).oneshot(request.unwrap()).await.unwrap();
        assert_eq!(response.headers()["grpc-status"], "5");
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[tokio::test]
    async fn a_call_is_one_event_at_debug_and_none_at_info() {
        let text = logged(Level::DEBUG).await;
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(
            text.contains(
                "coupon::rpc: call answered method=\"/coupon.v1.CouponService/Claim\" status=\"5\""
            ),
            "{text}"
        );
        assert_eq!(logged(Level::INFO).await, "");
    }
}
