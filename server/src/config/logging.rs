//! `[logging]`: log output, always to standard error.

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use super::Checks;

/// How log events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line of text per event, for people.
    Text,
    /// One JSON object per event, for collectors.
    Json,
}

/// `[logging]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoggingConfig {
    /// `text` or `json`. Default `text`.
    pub format: LogFormat,
    /// Which events are written: a level, or `target=level` pairs with commas. Default `info`;
    /// `coupon::rpc=debug` adds one event per call.
    pub filter: String,
}

impl Default for LoggingConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".to_owned() }
    }
}

impl LoggingConfig {
    pub(super) fn check(&self, checks: &mut Checks) {
        if let Err(error) = EnvFilter::try_new(&self.filter) {
            checks.refuse(format!(
                "logging.filter = {:?} is not a filter ({error}), use a level such as info or pairs such as coupon_server=debug",
                self.filter
            ));
        }
    }
}
