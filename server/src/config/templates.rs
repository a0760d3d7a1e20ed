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
    /// How long a template is served from memory before it is read again, in seconds. Default 60.
    pub cache_ttl_s: u64,
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

    pub(super) fn check(&self, checks: &mut Checks) {
        checks.at_least("templates.cache_entries_max", self.cache_entries_max, 1);
        // The cache refuses lives of a thousand years.
        checks.within("templates.cache_ttl_s", self.cache_ttl_s, 1, 86_400);
        checks.at_least("templates.scope_entries_max", self.scope_entries_max, 1);
        checks.within("templates.total_count_max", self.total_count_max, 1, 1_000_000_000);
        checks.within("templates.per_user_limit_max", self.per_user_limit_max, 1, 1_000);
    }
}
