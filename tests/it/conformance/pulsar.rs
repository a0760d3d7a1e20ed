//! The alarm queue on a Pulsar broker, each test on a topic of its own; and what becomes of it when
//! the broker or the messages are not as they should be.

mod broker;
mod distributed_broker;

use std::sync::Arc;

use coupon_server::{
    alarm::{AlarmQueue, pulsar::PulsarAlarms},
    clock::{Clock, WallClock},
    config::PulsarConfig,
};
use coupon_tests::services::Addresses;

use super::alarms::{
    QueueUnderTest,
    running::{RunningWorld, receive},
};

/// A topic that nobody has used.
fn fresh_topic() -> String {
    format!("persistent://public/default/coupon-test-{:032x}", rand::random::<u128>())
}

/// As in production, but impatient.
fn config(url: &str) -> PulsarConfig {
    PulsarConfig {
        url: url.to_owned(),
        alarm_topic: fresh_topic(),
        send_timeout_ms: 5_000,
        retry_after_ms: 500,
        ..PulsarConfig::default()
    }
}

fn addresses() -> Addresses {
    Addresses::from_env().expect("services for tests")
}

/// A node of the wall's time.
fn node(config: &PulsarConfig, consume: bool) -> Arc<PulsarAlarms> {
    let clock: Arc<dyn Clock> = Arc::new(WallClock::default());
    PulsarAlarms::connect(config, clock, consume)
}

struct OnBroker(PulsarConfig);

impl QueueUnderTest for OnBroker {
    fn open(&self, clock: Arc<dyn Clock>) -> Arc<dyn AlarmQueue> {
        PulsarAlarms::connect(&self.0, clock, true)
    }
}

pub(super) async fn alarms() -> RunningWorld {
    RunningWorld::start(Box::new(OnBroker(config(&addresses().pulsar_url)))).await
}
