//! `[pulsar]`: the broker that carries the distributed back end's alarms.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{BackendKind, Checks};

/// `[pulsar]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PulsarConfig {
    /// Address of the broker or its proxy, `pulsar://host:port` or `pulsar+ssl://host:port`. Default
    /// empty.
    pub url: String,
    /// Token to authenticate with; empty = none. Default empty.
    pub token: String,
    /// Topic of the alarms. It must have no message time-to-live: undelivered alarms would be dropped.
    /// Default `persistent://public/default/coupon-alarms`.
    pub alarm_topic: String,
    /// Shared subscription of the workers. Default `coupon-workers`.
    pub subscription: String,
    /// How long the broker may take to accept a message, in milliseconds. Default 5000.
    pub send_timeout_ms: u64,
    /// Messages that may wait to be sent. Default 10000.
    pub queue_max: usize,
    /// Deliveries held by one worker. Default 100.
    pub receive_queue: u32,
    /// Pause before an alarm that could not be handled comes again, in milliseconds. Default 5000.
    pub retry_after_ms: u64,
}

impl Default for PulsarConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            token: String::new(),
            alarm_topic: "persistent://public/default/coupon-alarms".to_owned(),
            subscription: "coupon-workers".to_owned(),
            send_timeout_ms: 5_000,
            queue_max: 10_000,
            receive_queue: 100,
            retry_after_ms: 5_000,
        }
    }
}

impl PulsarConfig {
    /// How long the broker may take to accept a message.
    pub fn send_timeout(&self) -> Duration {
        Duration::from_millis(self.send_timeout_ms)
    }

    /// Pause before an alarm that could not be handled comes again.
    pub fn retry_after(&self) -> Duration {
        Duration::from_millis(self.retry_after_ms)
    }

    pub(super) fn check(&self, kind: BackendKind, checks: &mut Checks) {
        let known = self.url.starts_with("pulsar://") || self.url.starts_with("pulsar+ssl://");
        if self.url.is_empty() {
            if kind == BackendKind::Distributed {
                checks.refuse("pulsar.url is empty, name the broker".to_owned());
            }
        } else if !known {
            checks
                .refuse(format!("pulsar.url = {} is not of the form pulsar://host:port", self.url));
        }
        if self.alarm_topic.is_empty() || self.subscription.is_empty() {
            checks
                .refuse("pulsar.alarm_topic and pulsar.subscription must not be empty".to_owned());
        }
        checks.within("pulsar.send_timeout_ms", self.send_timeout_ms, 100, 600_000);
        checks.within("pulsar.queue_max", self.queue_max, 100, 1_000_000);
        checks.within("pulsar.receive_queue", self.receive_queue, 1, 50_000);
        checks.within("pulsar.retry_after_ms", self.retry_after_ms, 100, 3_600_000);
    }
}
