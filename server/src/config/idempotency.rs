//! `[idempotency]`: how long recorded outcomes of request ids are kept.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Checks;

/// `[idempotency]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdempotencyConfig {
    /// How long the outcome of a template call is kept under its request id, in days. Default 7.
    pub request_log_retention_days: u64,
}

impl Default for IdempotencyConfig {
    fn default() -> Self {
        Self { request_log_retention_days: 7 }
    }
}

impl IdempotencyConfig {
    /// How long the outcome of a template call is kept under its request id.
    pub fn request_log_retention(&self) -> Duration {
        Duration::from_secs(self.request_log_retention_days.saturating_mul(86_400))
    }

    pub(super) fn check(&self, checks: &mut Checks) {
        let days = self.request_log_retention_days;
        checks.within("idempotency.request_log_retention_days", days, 1, 36_500);
    }
}
