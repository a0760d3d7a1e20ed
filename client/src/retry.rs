//! Which failures are sent again, and when. Pure: time left and randomness are arguments.
//!
//! Sending again is safe because every mutating call carries an idempotency key and reads change
//! nothing. What is worth it depends on the code alone:
//!
//! | code | why again |
//! | --- | --- |
//! | `UNAVAILABLE` | proven without effect |
//! | `RESOURCE_EXHAUSTED` | shed; after the server's hint |
//! | `DEADLINE_EXCEEDED` | outcome unknown; the same id settles it |
//!
//! A call whose connection broke, outcome unknown, counts as `UNAVAILABLE` without a reason: see
//! [`normalize`].

use std::{error::Error as _, time::Duration};

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::config::ClientConfig;

/// When a call is sent again.
#[derive(Clone, Debug)]
pub(crate) struct RetryPolicy {
    max_attempts: u32,
    initial: Duration,
    max: Duration,
}

impl RetryPolicy {
    pub(crate) fn new(config: &ClientConfig) -> Self {
        Self {
            max_attempts: config.max_attempts.max(1),
            initial: config.backoff_initial,
            max: config.backoff_max.max(config.backoff_initial),
        }
    }

    /// How long to wait after the failed `attempt` (from 1), or `None` when `status` is the call's
    /// result: final by its code, out of attempts, or the wait does not fit into what is `left`.
    /// `random` is uniform in `[0, 1)`.
    pub(crate) fn wait(
        &self,
        status: &Status,
        attempt: u32,
        left: Duration,
        random: f64,
    ) -> Option<Duration> {
        let worth_it = matches!(
            status.code(),
            Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded
        );
        if attempt >= self.max_attempts || !worth_it {
            return None;
        }
        let backoff = self.backoff(attempt);
        let hint = status.get_details_retry_info().and_then(|info| info.retry_delay);
        let wait = match hint {
            // Never earlier than asked; the jitter keeps the callers that were shed together apart.
            Some(hint) => hint + self.initial.min(backoff).mul_f64(random),
            None => backoff.mul_f64(0.5 + 0.5 * random),
        };
        (wait < left).then_some(wait)
    }

    fn backoff(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(20);
        self.initial.saturating_mul(1 << doublings).min(self.max)
    }
}

/// Gives failures that the transport made up the code that callers know them by.
///
/// - tonic reports an expired `grpc-timeout` as `CANCELLED`, here and in servers built on it. Nobody
///   cancelled anything: the outcome is unknown, `DEADLINE_EXCEEDED`.
/// - A broken or draining connection is `CANCELLED`, `UNKNOWN` or, when the call met the server's
///   GOAWAY, `INTERNAL`, depending on where the call was. All are `UNAVAILABLE`, as the table of HTTP/2
///   errors in gRPC's `PROTOCOL-HTTP2.md` has it.
pub(crate) fn normalize(status: Status) -> Status {
    match status.code() {
        Code::Cancelled if status.message() == "Timeout expired" => deadline_exceeded(),
        // The platform never answers CANCELLED: a draining connection has dropped the call.
        Code::Cancelled => broken(&status),
        // A status with a source was not sent by the server: tonic made it from an error.
        Code::Unknown | Code::Internal if status.source().is_some() => broken(&status),
        _ => status,
    }
}

fn broken(status: &Status) -> Status {
    Status::unavailable(format!(
        "the connection was closed, send again with the same request id ({})",
        status.message(),
    ))
}

/// The status of a call that got no answer in time.
pub(crate) fn deadline_exceeded() -> Status {
    Status::deadline_exceeded(
        "no answer within the deadline, send again with the same request id to learn the outcome",
    )
}

#[cfg(test)]
mod tests {
    use std::io;

    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn a_call_dropped_by_a_draining_connection_is_sent_again() {
        let dropped = normalize(Status::cancelled("operation was canceled"));
        assert_eq!(dropped.code(), Code::Unavailable);
    }

    const LONG: Duration = Duration::from_secs(60);

    fn policy() -> RetryPolicy {
        RetryPolicy::new(&ClientConfig {
            max_attempts: 4,
            backoff_initial: Duration::from_millis(20),
            backoff_max: Duration::from_millis(50),
            ..ClientConfig::default()
        })
    }

    fn with_hint(code: Code, hint: Duration) -> Status {
        Status::with_error_details(code, "later", ErrorDetails::with_retry_info(Some(hint)))
    }

    #[test]
    fn codes_that_are_sent_again() {
        for code in (0..=16).map(Code::from_i32) {
            let again = policy().wait(&Status::new(code, ""), 1, LONG, 0.0).is_some();
            let expected = matches!(
                code,
                Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded
            );
            assert_eq!(again, expected, "{code:?}");
        }
    }

    #[test]
    fn a_broken_connection_is_sent_again() {
        let broken = Status::from_error(Box::new(io::Error::from(io::ErrorKind::BrokenPipe)));
        assert_eq!(normalize(broken).code(), Code::Unavailable);
    }

    #[test]
    fn a_call_that_meets_goaway_is_sent_again() {
        let goaway = Status::from_error(Box::new(h2::Error::from(h2::Reason::NO_ERROR)));
        assert_eq!(goaway.code(), Code::Internal, "what tonic makes of it");
        assert_eq!(normalize(goaway).code(), Code::Unavailable);
    }

    #[test]
    fn what_the_server_answered_stays() {
        for code in (0..=16).map(Code::from_i32).filter(|code| *code != Code::Cancelled) {
            assert_eq!(normalize(Status::new(code, "")).code(), code);
        }
    }

    #[test]
    fn backoff_doubles_up_to_the_cap_with_jitter_down_to_half() {
        let status = Status::unavailable("");
        let millis = |attempt, random| {
            policy().wait(&status, attempt, LONG, random).map(|wait| wait.as_millis())
        };
        assert_eq!(millis(1, 0.0), Some(10));
        assert_eq!(millis(1, 0.5), Some(15));
        assert_eq!(millis(2, 0.0), Some(20));
        assert_eq!(millis(3, 0.0), Some(25), "capped at 50 ms before the jitter");
    }

    #[test]
    fn attempts_are_bounded() {
        let status = Status::unavailable("");
        assert!(policy().wait(&status, 3, LONG, 0.0).is_some());
        assert_eq!(policy().wait(&status, 4, LONG, 0.0), None);
    }

    #[test]
    fn zero_attempts_means_one() {
        let config = ClientConfig { max_attempts: 0, ..ClientConfig::default() };
        let wait = RetryPolicy::new(&config).wait(&Status::unavailable(""), 1, LONG, 0.0);
        assert_eq!(wait, None);
    }

    #[test]
    fn the_hint_is_a_lower_bound() {
        let hint = Duration::from_millis(300);
        let status = with_hint(Code::ResourceExhausted, hint);
        assert_eq!(policy().wait(&status, 1, LONG, 0.0), Some(hint));
        let jittered = policy().wait(&status, 1, LONG, 0.5);
        assert_eq!(jittered, Some(hint + Duration::from_millis(10)));
    }

    #[test]
    fn a_wait_beyond_the_deadline_gives_up_at_once() {
        let status = with_hint(Code::ResourceExhausted, Duration::from_secs(5));
        assert_eq!(policy().wait(&status, 1, Duration::from_secs(5), 0.0), None);
    }

    #[test]
    fn an_expired_timeout_is_an_unknown_outcome() {
        let status = normalize(Status::cancelled("Timeout expired"));
        assert_eq!(status.code(), Code::DeadlineExceeded);
    }
}
