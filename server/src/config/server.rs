//! `[server]`: the listener, deadlines, drain and runtime.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Checks;

/// `[server]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Address and port to listen on; port 0 takes a free one. Default `127.0.0.1:50051`.
    pub listen: SocketAddr,
    /// Largest request message, in bytes. Default 4194304 (4 MiB).
    pub request_max_bytes: usize,
    /// Deadline of a call that brings none, in milliseconds. Default 10000.
    pub deadline_default_ms: u64,
    /// Longest deadline of a unary call, whatever its caller asks, in milliseconds. Default 60000.
    pub deadline_max_ms: u64,
    /// Longest wait for calls in flight at shutdown, in milliseconds. Default 10000.
    pub drain_max_ms: u64,
    /// Time between health NOT_SERVING and closing the listener, in milliseconds. Default 0.
    pub drain_notice_ms: u64,
    /// Concurrent calls on one HTTP/2 connection. Default 1024.
    pub concurrent_streams_max: u32,
    /// Time between HTTP/2 pings, in seconds. Default 30.
    pub keepalive_interval_s: u64,
    /// How long a ping may stay unanswered, in seconds. Default 10.
    pub keepalive_timeout_s: u64,
    /// Whether gRPC server reflection is served. Default true.
    pub reflection: bool,
    /// Runtime threads; 0 = one per core. Default 0.
    pub worker_threads: usize,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 50051)),
            request_max_bytes: 4 * 1024 * 1024,
            deadline_default_ms: 10_000,
            deadline_max_ms: 60_000,
            drain_max_ms: 10_000,
            drain_notice_ms: 0,
            concurrent_streams_max: 1024,
            keepalive_interval_s: 30,
            keepalive_timeout_s: 10,
            reflection: true,
            worker_threads: 0,
        }
    }
}

impl ServerConfig {
    /// Deadline of a call that brings none.
    pub fn deadline_default(&self) -> Duration {
        Duration::from_millis(self.deadline_default_ms)
    }

    /// Longest deadline of a unary call.
    pub fn deadline_max(&self) -> Duration {
        Duration::from_millis(self.deadline_max_ms)
    }

    /// Longest wait for calls in flight at shutdown.
    pub fn drain_max(&self) -> Duration {
        Duration::from_millis(self.drain_max_ms)
    }

    /// Time between health NOT_SERVING and closing the listener.
    pub fn drain_notice(&self) -> Duration {
        Duration::from_millis(self.drain_notice_ms)
    }

    /// Time between HTTP/2 pings.
    pub fn keepalive_interval(&self) -> Duration {
        Duration::from_secs(self.keepalive_interval_s)
    }

    /// How long a ping may stay unanswered.
    pub fn keepalive_timeout(&self) -> Duration {
        Duration::from_secs(self.keepalive_timeout_s)
    }

    pub(super) fn check(&self, checks: &mut Checks) {
        // HTTP/2 and gRPC framing carry message lengths in 32 bits.
        checks.within("server.request_max_bytes", self.request_max_bytes, 1024, 1 << 30);
        checks.at_least("server.deadline_default_ms", self.deadline_default_ms, 1);
        checks.at_most(
            ("server.deadline_default_ms", self.deadline_default_ms),
            ("server.deadline_max_ms", self.deadline_max_ms),
        );
        checks.within("server.deadline_max_ms", self.deadline_max_ms, 1, 3_600_000);
        checks.at_least("server.concurrent_streams_max", self.concurrent_streams_max, 1);
        checks.at_least("server.keepalive_interval_s", self.keepalive_interval_s, 1);
        checks.at_least("server.keepalive_timeout_s", self.keepalive_timeout_s, 1);
        checks.within("server.worker_threads", self.worker_threads, 0, 1024);
    }
}
