//! `[templates]`: the template cache and bounds of what may be created.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Checks;

/// `[templates]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TemplatesConfig {
    /// Templates held in memory. Default 10000.
    pub cache_entries_max: u64,
    /// How long a template is served from memory before it is read again, in the background, in
    /// seconds. Default 60.
    pub cache_ttl_s: u64,
    /// How long a template is served from memory while it cannot be read again because the meta
    /// database is away, in seconds; at least `cache_ttl_s`. Default 3600.
    pub stale_max_s: u64,
    /// Time between two looks at what other nodes have changed, in milliseconds. Default 500.
    pub refresh_interval_ms: u64,
    /// Products, merchants and categories that one template may name. Default 15000.
    pub scope_entries_max: usize,
    /// Largest stock of one template, in pieces. Default 1000000000, which is also the most.
    pub total_count_max: i64,
    /// Largest number of pieces per user. Default 1000, which is also the most.
    pub per_user_limit_max: i32,
}

impl Default for TemplatesConfig {
    fn default() -> Self {
        Self {
            cache_entries_max: 10_000,
            cache_ttl_s: 60,
            stale_max_s: 3_600,
            refresh_interval_ms: 500,
            scope_entries_max: 15_000,
            total_count_max: 1_000_000_000,
            per_user_limit_max: 1_000,
        }
    }
}

impl TemplatesConfig {
    /// How long a template is served from memory before it is read again.
    pub fn cache_ttl(&self) -> Duration {
        Duration::from_secs(self.cache_ttl_s)
    }

    /// How long a template is served from memory while it cannot be read again.
    pub fn stale_max(&self) -> Duration {
        Duration::from_secs(self.stale_max_s)
    }

    /// Time between two looks at what other nodes have changed.
    pub fn refresh_interval(&self) -> Duration {
        Duration::from_millis(self.refresh_interval_ms)
    }

    pub(super) fn check(&self, checks: &mut Checks) {
        checks.at_least("templates.cache_entries_max", self.cache_entries_max, 1);
        checks.within("templates.cache_ttl_s", self.cache_ttl_s, 1, 86_400);
        checks.within("templates.stale_max_s", self.stale_max_s, 1, 604_800);
        checks.at_most(
            ("templates.cache_ttl_s", self.cache_ttl_s),
            ("templates.stale_max_s", self.stale_max_s),
        );
        checks.within("templates.refresh_interval_ms", self.refresh_interval_ms, 10, 60_000);
        checks.at_least("templates.scope_entries_max", self.scope_entries_max, 1);
        checks.within("templates.total_count_max", self.total_count_max, 1, 1_000_000_000);
        checks.within("templates.per_user_limit_max", self.per_user_limit_max, 1, 1_000);
    }
}
