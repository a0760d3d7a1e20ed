//! The verbs: what callers can ask for. One file per verb; each takes a decoded command and answers
//! with domain types, so that no use case knows the wire.

mod audience;
mod claim;
mod issue;
mod quote;
mod redeem;
mod template;
mod wallet;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use coupon_domain::{
    CouponFault,
    cart::Cart,
    coupon::Coupon,
    evaluate::Best,
    fingerprint::Fingerprint,
    ids::{CouponId, TemplateId, UserId},
    money::Minor,
    redemption::RequestMark,
    rules::Rules,
    template::{Template, TemplateState},
    time::Timestamp,
};

use crate::{
    catalog::{Catalog, CatalogError},
    clock::Clock,
    config::Config,
    error::ServiceError,
    gate::{Gate, loader::GateLoader},
    ledger::{Ledger, LedgerError, NotRedeemed},
    mint::{Mint, MintExhausted},
    telemetry::metrics::Metrics,
};

/// The verbs and what they stand on.
pub struct UseCases {
    /// Templates.
    pub catalog: Arc<Catalog>,
    /// The truth.
    pub ledger: Arc<dyn Ledger>,
    /// Early refusals.
    pub gate: Arc<dyn Gate>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// New ids.
    pub mint: Arc<Mint>,
    /// Brings templates into the gate.
    pub loader: GateLoader,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Limits.
    pub config: Arc<Config>,
}

/// What an overloaded caller is told to wait.
const OVERLOAD_RETRY_AFTER: Duration = Duration::from_millis(100);

pub use crate::ledger::Fresh;

/// By when a caller wants its answer; nothing starts after it. Real monotonic time.
pub type Deadline = Instant;

/// The user takes one coupon.
#[derive(Debug, Clone)]
pub struct ClaimCommand {
    /// Who.
    pub user: UserId,
    /// Of what.
    pub template: TemplateId,
    /// Idempotency key, scoped to (user, template).
    pub request_id: String,
    /// Where the claim came from; may be empty.
    pub source: String,
}

/// A won claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// As it was when won.
    pub coupon: Coupon,
    /// First instant of use.
    pub use_from: Timestamp,
    /// Whether this request had won before.
    pub replayed: bool,
}

/// The merchant gives coupons.
#[derive(Debug, Clone)]
pub struct IssueCommand {
    /// Of what.
    pub template: TemplateId,
    /// Idempotency key, scoped to (user, template) for every user of the list.
    pub request_id: String,
    /// Whom and how many each (at least 1), every user once.
    pub users: Vec<(UserId, u32)>,
    /// As in [`ClaimCommand`].
    pub source: String,
}

/// What became of one user's pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// Who.
    pub user: UserId,
    /// The coupons and whether an earlier call had given them, or why there are none.
    pub result: Result<(Vec<CouponId>, bool), ServiceError>,
}

/// A coupon as a reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CouponView {
    /// As stored.
    pub coupon: Coupon,
    /// First instant of use.
    pub use_from: Timestamp,
    /// The order that holds or used it.
    pub order: Option<String>,
    /// When it was read: the instant its effective status is true for.
    pub now: Timestamp,
}

/// Which of a user's coupons to list.
#[derive(Debug, Clone)]
pub struct WalletQuery {
    /// Owner.
    pub user: UserId,
    /// Effective statuses; empty = all.
    pub statuses: Vec<coupon_domain::coupon::CouponStatus>,
    /// Only this template.
    pub template: Option<TemplateId>,
    /// At most this many, at least 1.
    pub page_size: usize,
    /// Only coupons with a smaller id: the last one of the previous page.
    pub before: Option<CouponId>,
    /// How fresh the page has to be.
    pub fresh: Fresh,
}

/// A page of a wallet.
#[derive(Debug, Clone)]
pub struct WalletPage {
    /// Newest first.
    pub coupons: Vec<CouponView>,
    /// Where the next page starts; `None` on the last.
    pub next: Option<CouponId>,
}

/// What coupons are worth for a cart.
#[derive(Debug, Clone)]
pub struct QuoteCommand {
    /// Owner.
    pub user: UserId,
    /// What is being bought.
    pub cart: Cart,
    /// Only these, distinct; empty = the wallet.
    pub coupons: Vec<CouponId>,
}

/// A coupon that could be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usable {
    /// Which.
    pub coupon: CouponId,
    /// Its template.
    pub template: TemplateId,
    /// What it saves alone.
    pub discount: Minor,
}

/// A coupon that could not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unusable {
    /// Which and why.
    pub fault: CouponFault,
    /// Its template; `None` when it was not found.
    pub template: Option<TemplateId>,
}

/// The answer to a [`QuoteCommand`].
#[derive(Debug, Clone)]
pub struct Quoted {
    /// Highest discount first.
    pub usable: Vec<Usable>,
    /// In the order of the wallet or the request.
    pub unusable: Vec<Unusable>,
    /// The combination to lock.
    pub best: Option<Best>,
}

/// A template to be.
#[derive(Debug, Clone)]
pub struct NewTemplate {
    /// Shown to users.
    pub display_name: String,
    /// Publisher; 0 = the platform.
    pub merchant: i64,
    /// What it is worth.
    pub rules: Rules,
    /// Stock.
    pub total: i64,
    /// First instant of claiming.
    pub claim_from: Timestamp,
    /// First instant at which claiming is over.
    pub claim_until: Timestamp,
}

/// Changes to a template; `None` = as it is.
#[derive(Debug, Clone)]
pub struct TemplateUpdate {
    /// Which.
    pub template: TemplateId,
    /// Shown to users.
    pub display_name: Option<String>,
    /// Stock; only rises.
    pub total: Option<i64>,
    /// First instant of claiming.
    pub claim_from: Option<Timestamp>,
    /// First instant at which claiming is over.
    pub claim_until: Option<Timestamp>,
}

/// Which templates to list.
#[derive(Debug, Clone)]
pub struct TemplateQuery {
    /// Only this state.
    pub state: Option<TemplateState>,
    /// Only this publisher.
    pub merchant: Option<i64>,
    /// At most this many, at least 1.
    pub page_size: usize,
    /// Only templates with a smaller id.
    pub before: Option<TemplateId>,
}

/// A page of templates.
#[derive(Debug, Clone)]
pub struct TemplatePage {
    /// Newest first.
    pub templates: Vec<Arc<Template>>,
    /// Where the next page starts; `None` on the last.
    pub next: Option<TemplateId>,
}

/// Counts of a template's coupons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TemplateStats {
    /// Stock over the whole life.
    pub total: i64,
    /// Given against the stock; exact.
    pub issued: i64,
    /// Stored LOCKED, as of `as_of`.
    pub locked: i64,
    /// Stored USED, as of `as_of`.
    pub used: i64,
    /// Stored EXPIRED, as of `as_of`.
    pub expired: i64,
    /// Stored VOIDED, as of `as_of`.
    pub voided: i64,
    /// Reissued, as of `as_of`.
    pub reissued: i64,
    /// The instant the folded counts are true for.
    pub as_of: Timestamp,
}

/// A template change with its idempotency mark.
#[derive(Debug, Clone)]
pub struct Marked<T> {
    /// The change.
    pub command: T,
    /// Id and body of the request.
    pub request: RequestMark,
}

/// The fingerprint of a claim: all its fields but the id.
pub(crate) fn claim_fingerprint(user: UserId, template: TemplateId, source: &str) -> Fingerprint {
    coupon_domain::fingerprint::Fingerprinter::new("claim")
        .number(user.get())
        .number(template.get())
        .text(source)
        .finish()
}

/// The fingerprint of one user's part of an issue: all its fields but the id.
pub(crate) fn issue_fingerprint(
    user: UserId,
    template: TemplateId,
    pieces: u32,
    source: &str,
) -> Fingerprint {
    coupon_domain::fingerprint::Fingerprinter::new("issue")
        .number(user.get())
        .number(template.get())
        .number(i64::from(pieces))
        .text(source)
        .finish()
}

impl From<LedgerError> for ServiceError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Overloaded(queue) => {
                Self::Overloaded { queue, retry_after: OVERLOAD_RETRY_AFTER }
            }
            LedgerError::Unavailable(_) | LedgerError::Aborted(_) | LedgerError::Late => {
                Self::Unavailable(error.to_string())
            }
            LedgerError::Unknown(_) => Self::Unknown,
            LedgerError::Corrupt(text) => Self::Internal(text),
        }
    }
}

impl From<NotRedeemed> for ServiceError {
    fn from(error: NotRedeemed) -> Self {
        match error {
            NotRedeemed::Refused(refusal) => refusal.into(),
            NotRedeemed::Failed(error) => error.into(),
        }
    }
}

impl From<CatalogError> for ServiceError {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::Store(error) => error.into(),
            CatalogError::Raced => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<MintExhausted> for ServiceError {
    fn from(error: MintExhausted) -> Self {
        Self::Unavailable(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn future_size<'a, A, B, F>(_: impl FnOnce(&'a UseCases, A, B) -> F) -> usize {
        size_of::<F>()
    }

    // They are moved several times on their way to a task, once for each layer.
    #[test]
    fn the_future_of_a_call_stays_small() {
        const MAX: usize = 2_048;
        for (name, size) in [
            ("claim", future_size(UseCases::claim)),
            ("claim_many", future_size(UseCases::claim_many)),
            ("issue", future_size(UseCases::issue)),
            ("lock", future_size(UseCases::lock)),
        ] {
            assert!(size <= MAX, "{name}: {size} bytes, box what is rarely needed");
        }
    }
}
