//! How a call fails.

use std::time::Duration;

use coupon_proto::v1::ErrorReason;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Why a call did not do what it was asked. Switch on [`Self::reason`], then on [`Self::code`];
/// never on the text.
#[derive(Debug, thiserror::Error)]
#[error("{rpc}: {} ({}){}", status.message(), self.label(), self.effort())]
pub struct ClientError {
    rpc: &'static str,
    attempts: u32,
    // Not a `source`: its text is already part of this error's own.
    status: Status,
}

impl ClientError {
    pub(crate) fn new(rpc: &'static str, attempts: u32, status: Status) -> Self {
        Self { rpc, attempts, status }
    }

    /// The gRPC code of the last attempt.
    pub fn code(&self) -> Code {
        self.status.code()
    }

    /// The platform's reason; `None` when the error did not come from the platform (a broken
    /// connection, a proxy) or its reason is newer than this SDK.
    pub fn reason(&self) -> Option<ErrorReason> {
        let info = self.status.get_details_error_info()?;
        if info.domain != coupon_proto::ERROR_DOMAIN {
            return None;
        }
        ErrorReason::from_reason(&info.reason)
    }

    /// How long the server asked to wait before the same request is sent again.
    pub fn retry_after(&self) -> Option<Duration> {
        self.status.get_details_retry_info()?.retry_delay
    }

    /// With `INVALID_ARGUMENT`: every field found wrong and what is wrong with it.
    pub fn field_violations(&self) -> Vec<(String, String)> {
        let Some(details) = self.status.get_details_bad_request() else {
            return Vec::new();
        };
        let violations = details.field_violations.into_iter();
        violations.map(|violation| (violation.field, violation.description)).collect()
    }

    /// How often the call was sent; 0 when it never was.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The status of the last attempt, with all its details and metadata.
    pub fn status(&self) -> &Status {
        &self.status
    }

    fn label(&self) -> String {
        match self.reason() {
            Some(reason) => format!("{:?}, {}", self.code(), reason.as_reason()),
            None => format!("{:?}", self.code()),
        }
    }

    fn effort(&self) -> String {
        if self.attempts > 1 { format!(" after {} attempts", self.attempts) } else { String::new() }
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    fn error(code: Code, message: &str, details: ErrorDetails, attempts: u32) -> ClientError {
        ClientError::new("claim", attempts, Status::with_error_details(code, message, details))
    }

    #[test]
    fn reason_and_text_of_a_refusal() {
        let mut details = ErrorDetails::new();
        details.set_error_info("SOLD_OUT", coupon_proto::ERROR_DOMAIN, []);
        let error = error(Code::FailedPrecondition, "every piece is given", details, 1);
        assert_eq!(error.reason(), Some(ErrorReason::SoldOut));
        assert_eq!(error.to_string(), "claim: every piece is given (FailedPrecondition, SOLD_OUT)");
    }

    #[test]
    fn reason_of_another_domain_is_not_ours() {
        let mut details = ErrorDetails::new();
        details.set_error_info("SOLD_OUT", "proxy.example", []);
        let error = error(Code::Unavailable, "no upstream", details, 3);
        assert_eq!(error.reason(), None);
        assert_eq!(error.to_string(), "claim: no upstream (Unavailable) after 3 attempts");
    }

    #[test]
    fn details_are_decoded() {
        let mut details = ErrorDetails::new();
        details
            .set_retry_info(Some(Duration::from_millis(250)))
            .add_bad_request_violation("user_id", "must be positive");
        let error = error(Code::InvalidArgument, "malformed", details, 1);
        assert_eq!(error.retry_after(), Some(Duration::from_millis(250)));
        let expected = ("user_id".to_owned(), "must be positive".to_owned());
        assert_eq!(error.field_violations(), [expected]);
    }

    #[test]
    fn a_bare_status_has_no_details() {
        let error = ClientError::new("claim", 1, Status::internal("a defect"));
        assert_eq!(error.reason(), None);
        assert_eq!(error.retry_after(), None);
        assert!(error.field_violations().is_empty());
    }
}
