//! The deadline of a call: told to the handler, and kept.
//!
//! The caller's `grpc-timeout` (or the configured default) becomes a [`Deadline`] in the request's
//! extensions. When it passes, the answer is DEADLINE_EXCEEDED with the reason OUTCOME_UNKNOWN,
//! because what the handler started goes on in tasks of its own. tonic keeps the header too, but
//! answers CANCELLED, which says that nothing happened: so this layer, which stands inside tonic's
//! timer, fires a little before the caller's time is up.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use coupon_proto::v1::ErrorReason;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt};
use tower::{Layer, Service};

use super::grpc_timeout;

/// Calls that last: streams, and the test clock, which sweeps everything that falls due on its way.
/// They have no deadline but the one their caller brings.
const LASTING: [&str; 4] = ["/ClaimStream", "/AdvanceClock", "/Watch", "/ServerReflectionInfo"];

/// How much before the caller's time is up the answer is given: a twentieth of it within these.
const MARGIN_MIN: Duration = Duration::from_millis(1);
const MARGIN_MAX: Duration = Duration::from_millis(50);

/// The instant at which the caller is answered whatever the handler does; in the extensions of each
/// request that has one. Work not begun by then must not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(pub std::time::Instant);

/// Wraps a service in [`KeepDeadline`].
#[derive(Debug, Clone, Copy)]
pub struct DeadlineLayer {
    default: Duration,
    max: Duration,
}

impl DeadlineLayer {
    /// `default` holds for calls that bring no timeout, `max` cuts those that bring a longer one.
    pub fn new(default: Duration, max: Duration) -> Self {
        Self { default, max }
    }

    /// How long a call may take, if there is a limit.
    fn budget(&self, path: &str, timeout: Option<Duration>) -> Option<Duration> {
        let asked = timeout.map(|time| time.saturating_sub(margin(time)));
        if LASTING.iter().any(|ending| path.ends_with(ending)) {
            return asked;
        }
        Some(asked.unwrap_or(self.default).min(self.max))
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = KeepDeadline<S>;

    fn layer(&self, inner: S) -> Self::Service {
        KeepDeadline { inner, layer: *self }
    }
}

fn margin(timeout: Duration) -> Duration {
    (timeout / 20).clamp(MARGIN_MIN, MARGIN_MAX)
}

/// Answers for the service inside when its deadline passes, and drops its future.
#[derive(Debug, Clone)]
pub struct KeepDeadline<S> {
    inner: S,
    layer: DeadlineLayer,
}

impl<S, B, R> Service<Request<B>> for KeepDeadline<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = DeadlineFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let timeout = grpc_timeout::parse(request.headers());
        let budget = self.layer.budget(request.uri().path(), timeout);
        // A time too far away to be represented is no deadline.
        let deadline = budget.and_then(|budget| Instant::now().checked_add(budget));
        if let Some(deadline) = deadline {
            request.extensions_mut().insert(Deadline(deadline.into_std()));
        }
        DeadlineFuture { inner: self.inner.call(request), deadline, sleep: None }
    }
}

pin_project! {
    /// The future of [`KeepDeadline`].
    pub struct DeadlineFuture<F> {
        #[pin]
        inner: F,
        deadline: Option<Instant>,
        // Made when the handler first has to wait: most refusals never do, and a timer costs more
        // than they take.
        #[pin]
        sleep: Option<Sleep>,
    }
}

impl<F, R, E> Future for DeadlineFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Default,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Poll::Ready(result) = this.inner.poll(context) {
            return Poll::Ready(result);
        }
        let Some(deadline) = *this.deadline else {
            return Poll::Pending;
        };
        if this.sleep.is_none() {
            this.sleep.set(Some(tokio::time::sleep_until(deadline)));
        }
        let rung = match this.sleep.as_mut().as_pin_mut() {
            Some(sleep) => sleep.poll(context).is_ready(),
            None => false,
        };
        // Timers have a grain of a millisecond, and tonic's may wake this task in the same grain:
        // the clock decides, so that tonic, which asks us first, never gets to answer.
        if rung || deadline <= Instant::now() {
            return Poll::Ready(Ok(outcome_unknown().into_http()));
        }
        Poll::Pending
    }
}

/// The answer to a caller whose deadline passed.
fn outcome_unknown() -> Status {
    let message =
        "the deadline passed before the outcome was known; send it again with the same request id";
    let reason = ErrorReason::OutcomeUnknown.as_reason();
    let details = ErrorDetails::with_error_info(reason, coupon_proto::ERROR_DOMAIN, []);
    Status::with_error_details(Status::deadline_exceeded("").code(), message, details)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::pending;
    use std::sync::{Arc, Mutex};

    use tonic::body::Body;
    use tower::{ServiceExt, service_fn};

    use super::*;

    const CLAIM: &str = "/coupon.v1.CouponService/Claim";
    const STREAM: &str = "/coupon.v1.CouponService/ClaimStream";
    const DEFAULT: Duration = Duration::from_secs(10);
    const MAX: Duration = Duration::from_secs(60);

    fn request(path: &str, timeout: Option<&str>) -> Request<Body> {
        let mut builder = Request::builder().uri(path);
        if let Some(timeout) = timeout {
            builder = builder.header("grpc-timeout", timeout);
        }
        builder.body(Body::empty()).unwrap()
    }

    /// Sends a call to a handler that answers at once and returns the time it was given.
    async fn given(path: &str, timeout: Option<&str>) -> Option<Duration> {
        let seen = Arc::new(Mutex::new(None));
        let told = Arc::clone(&seen);
        let handler = service_fn(move |request: Request<Body>| {
            *told.lock().unwrap() = request.extensions().get::<Deadline>().copied();
            async { Ok::<_, Infallible>(Response::new(Body::empty())) }
        });
        let before = std::time::Instant::now();
        let service = DeadlineLayer::new(DEFAULT, MAX).layer(handler);
        service.oneshot(request(path, timeout)).await.unwrap();
        let deadline = *seen.lock().unwrap();
        deadline.map(|Deadline(at)| at - before)
    }

    fn assert_about(given: Option<Duration>, wanted: Duration) {
        let given = given.expect("a deadline");
        // The clock is read a moment after the call began.
        let late = given.checked_sub(wanted);
        assert!(
            late.is_some_and(|late| late < Duration::from_secs(2)),
            "{given:?} is not {wanted:?}"
        );
    }

    #[tokio::test]
    async fn the_handler_is_told_its_deadline() {
        assert_about(given(CLAIM, None).await, DEFAULT);
        assert_about(given(CLAIM, Some("nonsense")).await, DEFAULT);
        assert_about(given(CLAIM, Some("20S")).await, Duration::from_millis(19_950));
        assert_about(given(CLAIM, Some("5H")).await, MAX);
        assert_about(given(STREAM, Some("5H")).await, Duration::from_millis(17_999_950));
        assert_eq!(given(STREAM, None).await, None);
        assert_eq!(given("/coupon.dev.v1.ClockService/AdvanceClock", None).await, None);
        assert_eq!(given("/grpc.health.v1.Health/Watch", None).await, None);
    }

    #[test]
    fn the_margin_is_a_twentieth_within_bounds() {
        let margins = [1, 20, 100, 400, 1_000, 10_000]
            .map(|ms| margin(Duration::from_millis(ms)).as_millis());
        assert_eq!(margins, [1, 1, 5, 20, 50, 50]);
    }

    /// A late handler is answered for, with the reason that says "ask again with the same id".
    async fn answer_to_a_late_call(layer: DeadlineLayer, timeout: Option<&str>) -> Duration {
        let handler =
            service_fn(|_: Request<Body>| pending::<Result<Response<Body>, Infallible>>());
        let before = std::time::Instant::now();
        let call = layer.layer(handler).oneshot(request(CLAIM, timeout));
        let response = tokio::time::timeout(Duration::from_secs(30), call).await.unwrap().unwrap();
        let status = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(status.code(), Status::deadline_exceeded("").code());
        let info = status.get_details_error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("OUTCOME_UNKNOWN", "coupon.v1"));
        before.elapsed()
    }

    #[tokio::test]
    async fn a_late_call_is_deadline_exceeded_not_cancelled() {
        let layer = DeadlineLayer::new(DEFAULT, MAX);
        let taken = answer_to_a_late_call(layer, Some("40m")).await;
        assert!(taken >= Duration::from_millis(38), "{taken:?}");
        // No time at all, less than the margin, and the configured limits.
        answer_to_a_late_call(layer, Some("0m")).await;
        answer_to_a_late_call(layer, Some("500u")).await;
        let short = Duration::from_millis(20);
        answer_to_a_late_call(DeadlineLayer::new(short, MAX), None).await;
        answer_to_a_late_call(DeadlineLayer::new(short, short), Some("1H")).await;
    }

    #[tokio::test]
    async fn an_answer_in_time_passes_unchanged() {
        let handler = service_fn(|_: Request<Body>| async {
            // The first poll is pending, so the timer is made and then dropped.
            tokio::task::yield_now().await;
            Ok::<_, Infallible>(Status::not_found("no").into_http::<Body>())
        });
        let service = DeadlineLayer::new(DEFAULT, MAX).layer(handler);
        let response = service.oneshot(request(CLAIM, Some("9S"))).await.unwrap();
        assert_eq!(response.headers()["grpc-status"], "5");
    }
}
