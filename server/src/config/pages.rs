//! `[pages]`: page sizes of list calls.

use serde::{Deserialize, Serialize};

use super::Checks;

/// `[pages]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PagesConfig {
    /// Entries of a page when the caller does not say. Default 50.
    pub size_default: u32,
    /// Most entries of a page; more is cut to this. Default 200.
    pub size_max: u32,
    /// Entries of a page of a user's coupons when the caller does not say. Default 20.
    pub wallet_size_default: u32,
    /// Rows of one user that a page of coupons may read to find its entries. Default 10000.
    pub wallet_scan_rows_max: u32,
}

impl Default for PagesConfig {
    fn default() -> Self {
        Self {
            size_default: 50,
            size_max: 200,
            wallet_size_default: 20,
            wallet_scan_rows_max: 10_000,
        }
    }
}

impl PagesConfig {
    pub(super) fn check(&self, checks: &mut Checks) {
        let size_max = ("pages.size_max", self.size_max);
        checks.at_least("pages.size_default", self.size_default, 1);
        checks.at_least("pages.wallet_size_default", self.wallet_size_default, 1);
        checks.at_most(("pages.size_default", self.size_default), size_max);
        checks.at_most(("pages.wallet_size_default", self.wallet_size_default), size_max);
        checks.within("pages.size_max", self.size_max, 1, 10_000);
        checks.at_most(size_max, ("pages.wallet_scan_rows_max", self.wallet_scan_rows_max));
    }
}
