//! Templates (券模板): what a coupon is worth, where, when, and how many there are.

use std::sync::Arc;

use crate::{
    Rejection,
    cart::CartLine,
    ids::TemplateId,
    money::{Currency, Minor},
    time::{TimeZone, Timestamp},
};

/// Where a template stands. Stored as the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TemplateState {
    /// Being prepared.
    Draft = 0,
    /// Claimable inside its claim window.
    Active = 1,
    /// Stopped for now.
    Paused = 2,
    /// Stopped for good.
    Ended = 3,
}

impl TemplateState {
    /// As stored.
    pub const fn to_stored(self) -> i32 {
        self as i32
    }

    /// From storage; `None` for a number no version wrote.
    pub const fn from_stored(value: i32) -> Option<Self> {
        match value {
            0 => Some(Self::Draft),
            1 => Some(Self::Active),
            2 => Some(Self::Paused),
            3 => Some(Self::Ended),
            _ => None,
        }
    }

    /// DRAFT -> ACTIVE <-> PAUSED -> ENDED; ACTIVE -> ENDED.
    ///
    /// # Errors
    /// [`Rejection::TemplateEnded`] from ENDED, [`Rejection::TemplateStateConflict`] for every other
    /// edge that is not drawn.
    pub const fn change(self, change: StateChange) -> Result<Self, Rejection> {
        match (self, change) {
            (Self::Draft, StateChange::Publish) | (Self::Paused, StateChange::Resume) => {
                Ok(Self::Active)
            }
            (Self::Active, StateChange::Pause) => Ok(Self::Paused),
            (Self::Active | Self::Paused, StateChange::End) => Ok(Self::Ended),
            (Self::Ended, _) => Err(Rejection::TemplateEnded),
            _ => Err(Rejection::TemplateStateConflict),
        }
    }
}

/// A change of a template's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StateChange {
    /// DRAFT -> ACTIVE.
    Publish,
    /// ACTIVE -> PAUSED.
    Pause,
    /// PAUSED -> ACTIVE.
    Resume,
    /// ACTIVE | PAUSED -> ENDED.
    End,
}

/// The discount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Benefit {
    /// 满减: `amount` off from `threshold` on.
    ThresholdOff {
        /// Least total of the eligible lines before coupons.
        threshold: Minor,
        /// Taken off.
        amount: Minor,
    },
    /// 直减: `amount` off, capped at what is left.
    DirectOff {
        /// Taken off.
        amount: Minor,
    },
    /// 折扣: `pay_bps` of what is left is paid; 8折 = 8,000.
    Percentage {
        /// Paid share in basis points, 1..=9,999.
        pay_bps: i32,
        /// Highest discount; `None` = no cap.
        max_discount: Option<Minor>,
        /// Least total of the eligible lines before coupons; zero = none.
        threshold: Minor,
    },
}

impl Benefit {
    /// Least total of the eligible lines before coupons.
    pub const fn threshold(&self) -> Minor {
        match self {
            Self::ThresholdOff { threshold, .. } | Self::Percentage { threshold, .. } => *threshold,
            Self::DirectOff { .. } => Minor::ZERO,
        }
    }
}

/// A sorted set of ids, compact and quick to search.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IdSet(Box<[i64]>);

impl IdSet {
    /// Whether the set holds the id.
    pub fn contains(&self, id: i64) -> bool {
        self.0.binary_search(&id).is_ok()
    }

    /// The ids in ascending order.
    pub fn as_slice(&self) -> &[i64] {
        &self.0
    }
}

impl FromIterator<i64> for IdSet {
    fn from_iter<I: IntoIterator<Item = i64>>(ids: I) -> Self {
        let mut ids: Vec<i64> = ids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        Self(ids.into_boxed_slice())
    }
}

/// Which cart lines a coupon applies to (R28, R34).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every line.
    All,
    /// Lines of these merchants.
    Merchants(IdSet),
    /// Lines of these categories, sorted.
    Categories(Box<[String]>),
    /// Lines of these products.
    Products(IdSet),
}

impl Scope {
    /// Categories, sorted and without repeats.
    pub fn categories(codes: impl IntoIterator<Item = String>) -> Self {
        let mut codes: Vec<String> = codes.into_iter().collect();
        codes.sort_unstable();
        codes.dedup();
        Self::Categories(codes.into_boxed_slice())
    }

    /// Whether the line is eligible.
    pub fn covers(&self, line: &CartLine) -> bool {
        match self {
            Self::All => true,
            Self::Merchants(ids) => ids.contains(line.merchant),
            Self::Categories(codes) => {
                codes.binary_search_by(|code| code.as_str().cmp(&line.category)).is_ok()
            }
            Self::Products(ids) => ids.contains(line.product),
        }
    }

    /// Order of application when stacked: narrowest first.
    pub const fn breadth(&self) -> u8 {
        match self {
            Self::Products(_) => 0,
            Self::Categories(_) => 1,
            Self::Merchants(_) => 2,
            Self::All => 3,
        }
    }
}

/// Whether a coupon may share an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stacking {
    /// Alone in its order.
    Mutex,
    /// Together with other stackable ones.
    Stackable,
}

/// When a coupon may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UseWindow {
    /// The same `[from, until)` for every coupon.
    Fixed {
        /// First instant of use.
        from: Timestamp,
        /// First instant at which it is expired.
        until: Timestamp,
    },
    /// From the claim to the end of the N-th local day after it.
    AfterClaim {
        /// N.
        days: u32,
    },
}

/// Who may claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Every user.
    Everyone,
    /// Users named beforehand.
    Named,
}

/// What a refund does with a used coupon (R59).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestorePolicy {
    /// Used is used.
    Never,
    /// Given back while unexpired.
    IfUnexpired,
    /// Given back, valid for at least `days` more days.
    Extend {
        /// Days from the refund.
        days: u32,
    },
    /// A new coupon valid for `days` days.
    Reissue {
        /// Days from the refund.
        days: u32,
    },
}

/// What is frozen at publish.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// The discount.
    pub benefit: Benefit,
    /// Of every amount.
    pub currency: Currency,
    /// Which lines.
    pub scope: Scope,
    /// Alone or not.
    pub stacking: Stacking,
    /// When.
    pub use_window: UseWindow,
    /// For "end of day".
    pub time_zone: TimeZone,
    /// Pieces per user, claims and issues together, at least 1.
    pub per_user_limit: i32,
    /// Who may claim.
    pub audience: Audience,
    /// What a refund does.
    pub restore: RestorePolicy,
}

/// `[use_from, valid_until)` of one coupon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// First instant of use.
    pub use_from: Timestamp,
    /// First instant at which it is expired.
    pub valid_until: Timestamp,
}

/// A template.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    /// Minted by the server.
    pub id: TemplateId,
    /// Shown to users.
    pub display_name: String,
    /// Publisher; 0 = the platform.
    pub merchant: i64,
    /// Where it stands.
    pub state: TemplateState,
    /// Frozen at publish.
    pub rules: Arc<Rules>,
    /// Stock over the whole life.
    pub total: i64,
    /// First instant of claiming.
    pub claim_from: Timestamp,
    /// First instant at which claiming is over.
    pub claim_until: Timestamp,
    /// Sub-stock buckets per shard; 0 before publish.
    pub buckets: u16,
    /// Of the rules.
    pub version: i32,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was published.
    pub published_at: Option<Timestamp>,
}

impl Template {
    /// Why nobody can claim now, if so: the template's own part of the order of precedence.
    pub fn claim_rejection(&self, now: Timestamp) -> Option<Rejection> {
        match self.state {
            TemplateState::Draft => Some(Rejection::TemplateNotPublished),
            TemplateState::Paused => Some(Rejection::TemplatePaused),
            TemplateState::Ended => Some(Rejection::ClaimEnded),
            TemplateState::Active if now < self.claim_from => Some(Rejection::ClaimNotStarted),
            TemplateState::Active if now >= self.claim_until => Some(Rejection::ClaimEnded),
            TemplateState::Active => None,
        }
    }

    /// Why nothing can be issued now, if so: issuing ignores the claim window but gives nothing that
    /// is expired already.
    pub fn issue_rejection(&self, now: Timestamp) -> Option<Rejection> {
        match self.state {
            TemplateState::Draft => Some(Rejection::TemplateNotPublished),
            TemplateState::Paused => Some(Rejection::TemplatePaused),
            TemplateState::Ended => Some(Rejection::ClaimEnded),
            TemplateState::Active if now >= self.validity(now).valid_until => {
                Some(Rejection::ClaimEnded)
            }
            TemplateState::Active => None,
        }
    }

    /// The validity of a coupon given at `claimed_at`.
    pub fn validity(&self, claimed_at: Timestamp) -> Validity {
        match self.rules.use_window {
            UseWindow::Fixed { from, until } => Validity { use_from: from, valid_until: until },
            UseWindow::AfterClaim { days } => Validity {
                use_from: claimed_at,
                valid_until: self.rules.time_zone.end_of_day_after(claimed_at, days),
            },
        }
    }

    /// First instant of use of a coupon given at `claimed_at`, cheaper than [`Self::validity`].
    pub fn use_from(&self, claimed_at: Timestamp) -> Timestamp {
        match self.rules.use_window {
            UseWindow::Fixed { from, .. } => from,
            UseWindow::AfterClaim { .. } => claimed_at,
        }
    }
}
