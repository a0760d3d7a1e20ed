//! What a client is told when it connects.

use std::time::Duration;

/// Settings of a [`CouponClient`](crate::CouponClient). The defaults fit a service that calls the
/// platform over a local network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// URI of the platform, `http://HOST:PORT`.
    pub endpoint: String,
    /// HTTP/2 connections to open, at least 1. One connection does not scale past about one core, so
    /// heavy callers want twice their cores.
    pub channels: usize,
    /// Longest time to wait for one TCP connection.
    pub connect_timeout: Duration,
    /// Longest time for a whole call, all attempts and waits together. What is left of it travels
    /// with every attempt as `grpc-timeout`.
    pub deadline: Duration,
    /// Most times a call is sent, the first one included; 0 is read as 1.
    pub max_attempts: u32,
    /// Wait before the second attempt; doubles with every further one. Jittered.
    pub backoff_initial: Duration,
    /// Longest wait between two attempts, unless the server asks for a longer one.
    pub backoff_max: Duration,
}

impl ClientConfig {
    /// The defaults with another endpoint.
    pub fn new(endpoint: impl Into<String>) -> Self {
        Self { endpoint: endpoint.into(), ..Self::default() }
    }
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            endpoint: "http://127.0.0.1:50051".to_owned(),
            channels: 4,
            connect_timeout: Duration::from_secs(2),
            deadline: Duration::from_secs(2),
            max_attempts: 4,
            backoff_initial: Duration::from_millis(20),
            backoff_max: Duration::from_secs(1),
        }
    }
}
