//! `[quotes]`: how far the search for the best combination of coupons goes.

use serde::{Deserialize, Serialize};

use super::Checks;

/// `[quotes]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuotesConfig {
    /// Steps of one search, some 30 ns each: looking at a coupon is one, taking it off six lines is nine.
    /// Once they are used up, the best combination known by then is answered, with `optimal = false`.
    /// Default 20000.
    pub effort_max: usize,
}

impl Default for QuotesConfig {
    fn default() -> Self {
        Self { effort_max: 20_000 }
    }
}

impl QuotesConfig {
    pub(super) fn check(&self, checks: &mut Checks) {
        // A search keeps one core of the server busy, and its calls wait meanwhile.
        checks.within("quotes.effort_max", self.effort_max, 1_000, 100_000_000);
    }
}
