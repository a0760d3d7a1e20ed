//! `[metrics]`: where metrics are served.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// `[metrics]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsConfig {
    /// Address at which `GET /metrics` answers in the text format of Prometheus, for example
    /// `127.0.0.1:9464`; port 0 = any free port. Default none: metrics are not served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
}
