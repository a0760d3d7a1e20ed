//! What a use case answers when it does not do what it was asked.

use std::time::Duration;

use coupon_domain::{Refusal, Rejection};

/// A malformed field: its path in the request and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// For example `cart.lines[3].quantity`.
    pub field: String,
    /// What is wrong, and what would be right.
    pub description: String,
}

/// Why a call failed, independent of the wire. Retryability is a property of the kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// Malformed; nothing was tried.
    #[error("{} malformed field(s), the first is `{}`", .0.len(), .0.first().map_or("", |v| v.field.as_str()))]
    Invalid(Vec<FieldViolation>),
    /// Refused by rule or state; nothing changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A queue is full; nothing was tried.
    #[error("{queue} is full; try again in {} ms", .retry_after.as_millis())]
    Overloaded {
        /// Which queue.
        queue: &'static str,
        /// When to try again.
        retry_after: Duration,
    },
    /// A dependency is down, proven without effect: the same request id may be sent again.
    #[error("{0}")]
    Unavailable(String),
    /// The outcome is unknown; the same request id settles it.
    #[error("the outcome is unknown; send the same request id again to learn it")]
    Unknown,
    /// Not offered by this server.
    #[error("{0}")]
    Unsupported(&'static str),
    /// A defect. The text goes to the log, never to the caller.
    #[error("internal error")]
    Internal(String),
}

impl From<Rejection> for ServiceError {
    fn from(reason: Rejection) -> Self {
        Self::Refused(reason.into())
    }
}

impl ServiceError {
    /// A single malformed field.
    pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldViolation { field: field.into(), description: description.into() }])
    }

    /// The reason of a refusal.
    pub fn rejection(&self) -> Option<Rejection> {
        match self {
            Self::Refused(refusal) => Some(refusal.reason),
            _ => None,
        }
    }
}
