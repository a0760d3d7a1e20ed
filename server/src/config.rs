//! Configuration: one struct per concern, layered
//! default < TOML file < environment < flags.
//!
//! - Every key has a default, so an empty configuration is the embedded server.
//! - A key in the environment is `COUPON__SECTION__KEY`, on the command line `--set section.key=value`.
//! - Units are part of the key: `_ms`, `_s`, `_days`, `_bytes`, `_kib`, `_rows`, `_pages`.
//! - An unknown key is refused, wherever it comes from, and the nearest known one is named.
//! - `config/coupon.toml` shows every key with its default and effect; a test keeps it complete.

mod alarms;
mod backend;
mod checks;
mod claims;
mod error;
mod idempotency;
mod load;
mod logging;
mod metrics;
mod mysql;
mod pages;
mod pulsar;
mod quotes;
pub(crate) mod redact;
mod redemptions;
mod redis;
mod server;
mod stats;
mod storage;
mod stuck;
mod templates;

use serde::{Deserialize, Serialize};

pub use alarms::AlarmsConfig;
pub use backend::{BackendConfig, BackendKind, Role};
pub use claims::ClaimsConfig;
pub use error::ConfigError;
pub use idempotency::IdempotencyConfig;
pub use load::{Flag, Sources};
pub use logging::{LogFormat, LoggingConfig};
pub use metrics::MetricsConfig;
pub use mysql::MysqlConfig;
pub use pages::PagesConfig;
pub use pulsar::PulsarConfig;
pub use quotes::QuotesConfig;
pub use redemptions::RedemptionsConfig;
pub use redis::RedisConfig;
pub use server::ServerConfig;
pub use stats::StatsConfig;
pub use storage::{StorageConfig, Synchronous};
pub use stuck::StuckConfig;
pub use templates::TemplatesConfig;

use checks::Checks;

/// The whole configuration of one server. `Config::default()` is the embedded server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The gRPC listener, deadlines, drain and runtime.
    pub server: ServerConfig,
    /// Which back end runs, and this process's part in it.
    pub backend: BackendConfig,
    /// The distributed ledger's databases.
    pub mysql: MysqlConfig,
    /// The distributed gate's cluster.
    pub redis: RedisConfig,
    /// The distributed alarms' broker.
    pub pulsar: PulsarConfig,
    /// The embedded ledger's files and connections.
    pub storage: StorageConfig,
    /// Claims and issues: grouping, queues, replay, sub-stock.
    pub claims: ClaimsConfig,
    /// Templates: cache and bounds of what may be created.
    pub templates: TemplatesConfig,
    /// Locks, carts and how long redemptions are kept.
    pub redemptions: RedemptionsConfig,
    /// How far the search for the best combination of coupons goes.
    pub quotes: QuotesConfig,
    /// Alarms, sweeps and their safety net.
    pub alarms: AlarmsConfig,
    /// Folding of the counts shown by template statistics.
    pub stats: StatsConfig,
    /// How long recorded outcomes of request ids are kept.
    pub idempotency: IdempotencyConfig,
    /// Page sizes of list calls.
    pub pages: PagesConfig,
    /// Log output.
    pub logging: LoggingConfig,
    /// Where metrics are served.
    pub metrics: MetricsConfig,
    /// Watching for locks that are overdue and not released.
    pub stuck: StuckConfig,
}

impl Config {
    /// Loads and checks the configuration from its layers.
    ///
    /// # Errors
    /// An unreadable file, an unknown key, a value of the wrong kind, or values that contradict
    /// each other; each names the key, the value and what is expected.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let config = load::merge(sources)?;
        config.check()?;
        Ok(config)
    }

    /// Checks bounds and the rules that span several keys; [`Self::load`] has already done so.
    ///
    /// # Errors
    /// [`ConfigError::Conflict`] with every broken rule.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut checks = Checks::default();
        self.server.check(&mut checks);
        self.backend.check(&mut checks);
        self.mysql.check(self.backend.kind, &mut checks);
        self.redis.check(self.backend.kind, &mut checks);
        self.pulsar.check(self.backend.kind, &mut checks);
        self.storage.check(&mut checks);
        self.claims.check(&mut checks);
        self.templates.check(&mut checks);
        self.redemptions.check(&mut checks);
        self.quotes.check(&mut checks);
        self.alarms.check(&mut checks);
        self.stats.check(&mut checks);
        self.idempotency.check(&mut checks);
        self.pages.check(&mut checks);
        self.logging.check(&mut checks);
        self.stuck.check(&mut checks);
        checks.at_most(
            ("claims.stream_batch_max", self.claims.stream_batch_max),
            ("claims.queue_max", self.claims.queue_max),
        );
        checks.finish()
    }

    /// The configuration as TOML, every key included, passwords hidden.
    ///
    /// # Errors
    /// [`ConfigError::Render`] when a value has no TOML form, such as a path that is not UTF-8.
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        toml::to_string(&redact::config(self))
            .map_err(|error| ConfigError::Render(error.to_string()))
    }
}

#[cfg(test)]
mod tests;
