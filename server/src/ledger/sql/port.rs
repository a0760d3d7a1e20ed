//! The ledger's port over all shards: which of them are asked, and how their answers are joined. What
//! one shard does stands in the modules beside this one.

mod alarms;
mod giving;
mod redeeming;
mod stock;
mod upkeep;
mod wallets;

use super::SqlLedger;
use crate::ledger::Ledger;

impl Ledger for SqlLedger {
    fn shards(&self) -> u16 {
        self.router.shards()
    }
}
