//! Outcomes as gRPC statuses: the only file that names [`tonic::Code`].
//!
//! | outcome | code | retry |
//! | --- | --- | --- |
//! | malformed | INVALID_ARGUMENT + BadRequest | no |
//! | unknown thing | NOT_FOUND | no |
//! | refused by rule or state | FAILED_PRECONDITION | no |
//! | id reused with another body | ALREADY_EXISTS | no |
//! | queue full | RESOURCE_EXHAUSTED + RetryInfo | after the hint |
//! | dependency down, proven without effect | UNAVAILABLE + RetryInfo | yes, same id |
//! | outcome unknown | DEADLINE_EXCEEDED | yes, same id |
//! | not offered | UNIMPLEMENTED | no |
//! | defect | INTERNAL, the details in the log alone | no |
//!
//! Under the coordinator dtm a Try has codes of its own: see [`of_try`].
//!
//! Each carries an `ErrorInfo` with its reason. Details travel in a header, and clients bound the
//! size of theirs (8 KiB in the strictest), so long lists are cut or told tersely.

mod reason;

use std::{sync::OnceLock, time::Duration};

use bytes::Bytes;
use coupon_domain::{CouponFault, Refusal, Rejection, money::Minor};
use coupon_proto::{ERROR_DOMAIN, v1::ErrorReason};
use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, PreconditionViolation, StatusExt as _};

use crate::error::{self, ServiceError};

pub(super) use reason::reason_of;

/// Bytes of field violations that one answer carries; the message says how many there are.
const VIOLATIONS_BYTES_MAX: usize = 4 * 1024;
/// Refused coupons up to which each is told in a sentence.
const SENTENCES_MAX: usize = 20;
/// When to call again after a dependency was down.
const UNAVAILABLE_RETRY: Duration = Duration::from_millis(200);

impl From<ServiceError> for Status {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::Refused(refusal) => refused(refusal),
            ServiceError::Invalid(violations) => invalid(violations),
            ServiceError::Overloaded { retry_after, .. } => {
                let details = info(ErrorReason::Overloaded, Some(retry_after));
                Self::with_error_details(Code::ResourceExhausted, error.to_string(), details)
            }
            ServiceError::Unavailable(message) => {
                let details = info(ErrorReason::BackendUnavailable, Some(UNAVAILABLE_RETRY));
                Self::with_error_details(Code::Unavailable, message, details)
            }
            ServiceError::Unknown => {
                let details = info(ErrorReason::OutcomeUnknown, None);
                Self::with_error_details(Code::DeadlineExceeded, error.to_string(), details)
            }
            ServiceError::Unsupported(message) => {
                let details = info(ErrorReason::TestClockOff, None);
                Self::with_error_details(Code::Unimplemented, message, details)
            }
            ServiceError::Internal(details) => {
                tracing::error!(details, "a call failed on a defect");
                let details = info(ErrorReason::Internal, None);
                Self::with_error_details(Code::Internal, "internal error", details)
            }
        }
    }
}

/// The same outcome told to dtm, a coordinator of transactions over several services, for a Try.
///
/// It reads codes in a way of its own: ABORTED is a definite failure, FAILED_PRECONDITION is "still
/// at work, ask again", every other code is an unknown outcome. So all that is definite becomes
/// ABORTED; message and details, and with them the reason, stay what they are.
///
/// For Lock alone, the one call whose answer decides. Confirm and Cancel are sent again until they
/// answer OK, whatever the code: at a steady interval after FAILED_PRECONDITION, at growing ones, and
/// with an alarm, after any other.
pub(super) fn of_try(status: Status) -> Status {
    match status.code() {
        Code::InvalidArgument | Code::NotFound | Code::AlreadyExists | Code::FailedPrecondition => {
            // The details repeat the code, and clients distrust a status where the two differ.
            let told = tonic_types::Status { code: Code::Aborted.into(), ..unpack(&status) };
            Status::with_details(Code::Aborted, status.message(), told.encode_to_vec().into())
        }
        _ => status,
    }
}

/// The same outcome inside an answer, for one claim or user among many.
pub(super) fn rpc_status(error: ServiceError) -> tonic_types::Status {
    if let ServiceError::Refused(Refusal { reason, faults }) = &error
        && faults.is_empty()
        && let Some(prepared) = prepared(*reason)
    {
        return prepared.rpc.clone();
    }
    unpack(&Status::from(error))
}

/// Reads the `google.rpc.Status` that a status carries as its details.
fn unpack(status: &Status) -> tonic_types::Status {
    tonic_types::Status::decode(status.details()).unwrap_or_else(|_| tonic_types::Status {
        code: status.code().into(),
        message: status.message().to_owned(),
        details: Vec::new(),
    })
}

/// A refusal without further details, encoded once: under a flash sale it is the commonest answer.
struct Prepared {
    code: Code,
    message: String,
    details: Bytes,
    rpc: tonic_types::Status,
}

const REJECTIONS: usize = Rejection::TemplateEnded as usize + 1;

fn prepared(reason: Rejection) -> Option<&'static Prepared> {
    static TABLE: [OnceLock<Prepared>; REJECTIONS] = [const { OnceLock::new() }; REJECTIONS];
    let entry = TABLE.get(reason as usize)?;
    Some(entry.get_or_init(|| {
        let status = refused_with(&Refusal::from(reason));
        Prepared {
            code: status.code(),
            message: status.message().to_owned(),
            details: Bytes::copy_from_slice(status.details()),
            rpc: unpack(&status),
        }
    }))
}

fn refused(refusal: Refusal) -> Status {
    match prepared(refusal.reason) {
        Some(it) if refusal.faults.is_empty() => {
            Status::with_details(it.code, it.message.as_str(), it.details.clone())
        }
        _ => refused_with(&refusal),
    }
}

fn refused_with(refusal: &Refusal) -> Status {
    let mut details = info(reason_of(refusal.reason), None);
    if !refusal.faults.is_empty() {
        let terse = refusal.faults.len() > SENTENCES_MAX;
        let violations = refusal.faults.iter().map(|fault| violation(fault, terse));
        details.set_precondition_failure(violations.collect::<Vec<_>>());
    }
    Status::with_error_details(code_of(refusal.reason), refusal.to_string(), details)
}

/// One failing coupon: its reason, its id, and what its lines lack.
fn violation(fault: &CouponFault, terse: bool) -> PreconditionViolation {
    let missing = fault.missing;
    let description = match (missing > Minor::ZERO, terse) {
        (true, true) => format!("lacks {missing}"),
        (true, false) => format!("{}; they lack {missing} minor units", fault.reason),
        (false, true) => String::new(),
        (false, false) => fault.reason.to_string(),
    };
    let kind = reason_of(fault.reason).as_reason();
    PreconditionViolation::new(kind, fault.coupon.to_string(), description)
}

fn code_of(reason: Rejection) -> Code {
    match reason {
        Rejection::TemplateNotFound | Rejection::CouponNotFound | Rejection::RedemptionNotFound => {
            Code::NotFound
        }
        Rejection::IdempotencyKeyReused => Code::AlreadyExists,
        _ => Code::FailedPrecondition,
    }
}

fn invalid(violations: Vec<error::FieldViolation>) -> Status {
    let message = match violations.first() {
        Some(first) => format!(
            "{} malformed field(s), the first is `{}`: {}",
            violations.len(),
            first.field,
            first.description
        ),
        None => "the request is malformed".to_owned(),
    };
    let mut bytes = 0;
    let told = violations.into_iter().take_while(|violation| {
        bytes += violation.field.len() + violation.description.len();
        bytes <= VIOLATIONS_BYTES_MAX
    });
    let told: Vec<_> = told.map(|v| FieldViolation::new(v.field, v.description)).collect();
    let mut details = info(ErrorReason::InvalidField, None);
    details.set_bad_request(told);
    Status::with_error_details(Code::InvalidArgument, message, details)
}

fn info(reason: ErrorReason, retry_after: Option<Duration>) -> ErrorDetails {
    let mut details = ErrorDetails::with_error_info(reason.as_reason(), ERROR_DOMAIN, []);
    if retry_after.is_some() {
        details.set_retry_info(retry_after);
    }
    details
}

#[cfg(test)]
mod tests;
