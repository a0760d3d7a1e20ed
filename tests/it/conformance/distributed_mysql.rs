//! What only real servers show of the ledger on MySQL: links that break around a COMMIT, servers that
//! stand still, rows that somebody else holds, nodes that write the same rows, what a sweep reads, and
//! migrations.

mod links;
mod migrations;
mod rivals;
mod sweeps;

use coupon_server::ledger::{GiveCommand, Given, LedgerError, NotGiven};

use super::fixture::World;

/// Sends until the ledger is not busy, as callers do.
async fn insist(world: &World, command: &GiveCommand) -> Result<Given, NotGiven> {
    loop {
        let outcome = world.give(command.clone()).await;
        let busy = |error: &NotGiven| {
            matches!(error, NotGiven::Failed(LedgerError::Unavailable(_) | LedgerError::Aborted(_)))
        };
        if !outcome.as_ref().is_err_and(busy) {
            return outcome;
        }
    }
}
