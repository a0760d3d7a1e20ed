//! The gate refuses early: replays, limits and empty stock, from memory, before the ledger is asked.
//!
//! It may lie, be lost or lag behind at any time, and nothing is oversold, doubled or lost: it only
//! ever refuses what the ledger has proven, and what it admits the ledger decides again (I1, I2).
//! The contract of every implementation:
//! - A claim is judged in the order idempotency, limit, stock (R9).
//! - `SoldOut` is answered only after the ledger has proven it for exactly the template's present
//!   total, and only to users who are known not to hold the template.
//! - `Limit` is answered only from coupons that the ledger has committed.
//! - Stock is set by [`Gate::load`] alone, from the ledger; admission takes from it, and settling
//!   gives back what came to nothing. What is unknown is left alone.
//! - Stock in another of the template's buckets is found (R18): an empty bucket takes from it before
//!   it is dry, or the claim goes on as [`Verdict::Dry`] to the ledger, which does.
//! - What a gate does not know of a user proves nothing, unless it cannot lose what it has known.

pub mod embedded;
pub mod loader;
pub mod redis;
pub mod winners;

use std::sync::Arc;

use async_trait::async_trait;
use coupon_domain::{
    fingerprint::Fingerprint,
    ids::{TemplateId, UserId},
    template::Template,
};

use crate::ledger::{Holding, Ledger, LedgerError, Settle};

/// A claim at the gate.
#[derive(Debug, Clone, Copy)]
pub struct GateClaim {
    /// Who.
    pub user: UserId,
    /// [`coupon_domain::fingerprint::hash_request_id`] of its request id.
    pub request_hash: u64,
    /// Of its body.
    pub fingerprint: Fingerprint,
}

/// What the gate says of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// This request has won before.
    Replay(Holding),
    /// This request id has won before, with another body.
    KeyReused,
    /// The user holds as many as allowed.
    Limit,
    /// Proven for the present total.
    SoldOut,
    /// A unit of stock is set aside: on to the ledger.
    Admitted,
    /// A claim of this user is under way: on to the ledger, which decides between them.
    Pending,
    /// No unit was found, and nothing is proven: on to the ledger.
    Dry,
    /// The template is not in memory: on to the ledger, and [`Gate::load`] is wanted.
    NotLoaded,
}

/// What the gate knows of a user and a request, without admitting anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recall {
    /// This request has won before.
    Replay(Holding),
    /// This request id has won before, with another body.
    KeyReused,
    /// This request has not won.
    Nothing,
    /// Ask the ledger.
    Unknown,
}

/// The gate. See the module's contract. Outcomes reach it through [`Settle`].
#[async_trait]
pub trait Gate: Settle {
    /// Judges a claim, and sets a unit aside when it is [`Verdict::Admitted`].
    async fn admit(&self, template: &Template, claim: GateClaim) -> Verdict;

    /// Looks for an earlier win of the same request.
    async fn recall(&self, template: &Template, claim: GateClaim) -> Recall;

    /// Gives a unit back that was set aside for a claim which never reached the ledger.
    fn give_back(&self, template: TemplateId, claim: GateClaim);

    /// Takes stock and holders of templates from the ledger. Claims of those templates are
    /// [`Verdict::NotLoaded`] meanwhile. A gate that may forget holders learns many of them later, from
    /// outcomes.
    ///
    /// # Errors
    /// When the ledger cannot be read, or the gate's store not be written; the load is to be repeated
    /// then.
    async fn load(
        &self,
        ledger: &Arc<dyn Ledger>,
        templates: &[Arc<Template>],
    ) -> Result<(), LedgerError>;

    /// Forgets everything about a template.
    fn forget(&self, template: TemplateId);
}
