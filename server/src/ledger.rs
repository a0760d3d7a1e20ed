//! The ledger is the truth: every coupon, and what pays for it.
//!
//! A claim is won when its row is committed, never before. The contract of every back end:
//! - **Durability**: what is answered as done survives the loss of the process and of the machine's
//!   power (unless the operator has given that up).
//! - **Atomicity**: a command is wholly there or not at all, together with its stock, its log rows
//!   and its alarms.
//! - **No oversell**: `issued <= granted` per bucket is a constraint of the database (I1).
//! - **Idempotency**: the same command with the same request id may come any number of times.
//! - **Ownership**: once a command is accepted its effect no longer depends on the caller: a caller
//!   that goes away loses the answer, nothing else.
//! - **Deadlines**: nothing starts after its caller's deadline (I10).

mod alarms;
mod batcher;
mod error;
mod giving;
mod redeeming;
pub mod router;
pub mod sql;
mod stock;
mod upkeep;
mod wallets;

use std::sync::Arc;

use async_trait::async_trait;
use coupon_domain::{ids::TemplateId, template::Template};

pub use self::{
    alarms::{AlarmBell, AlarmRow, Alarms, Swept},
    error::LedgerError,
    giving::{
        GiveCommand, Given, GivenCoupon, Giving, Holding, HoldingCursor, NotGiven, Settle,
        Settlement,
    },
    redeeming::{NotRedeemed, RedeemCommand, Redeemed, Redeeming},
    stock::{Granted, Stock},
    upkeep::{Counts, Purged, Upkeep},
    wallets::{Fresh, StoredCoupon, Wallets},
};

/// A shard's number, 0..shards.
pub type ShardId = u16;

/// Finds the templates that decisions about coupons need.
#[async_trait]
pub trait TemplateSource: Send + Sync {
    /// The template; `None` when there is none.
    ///
    /// # Errors
    /// When its store cannot be read.
    async fn find(&self, id: TemplateId) -> Result<Option<Arc<Template>>, LedgerError>;
}

/// The ledger. See the module's contract.
pub trait Ledger: Giving + Stock + Redeeming + Wallets + Alarms + Upkeep {
    /// How many shards there are.
    fn shards(&self) -> u16;
}
