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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn template(state: TemplateState, use_window: UseWindow) -> Template {
        let rules = Rules {
            benefit: Benefit::DirectOff { amount: Minor::new(888) },
            currency: Currency::parse("CNY").unwrap(),
            scope: Scope::All,
            stacking: Stacking::Stackable,
            use_window,
            time_zone: TimeZone::parse("Asia/Shanghai").unwrap(),
            per_user_limit: 1,
            audience: Audience::Everyone,
            restore: RestorePolicy::Never,
        };
        Template {
            id: TemplateId::new(1).unwrap(),
            display_name: "新年红包券".to_owned(),
            merchant: 0,
            state,
            rules: Arc::new(rules),
            total: 1_000,
            claim_from: at("2022-11-01T00:00:00+08:00"),
            claim_until: at("2022-11-06T00:00:00+08:00"),
            buckets: 1,
            version: 1,
            created_at: at("2022-10-01T00:00:00Z"),
            published_at: None,
        }
    }

    // R36: every edge, drawn or not.
    #[test]
    fn the_state_machine_has_exactly_five_edges() {
        use {StateChange as C, TemplateState as S};
        let changes = [C::Publish, C::Pause, C::Resume, C::End];
        let conflict = Err(Rejection::TemplateStateConflict);
        let ended = Err(Rejection::TemplateEnded);
        let table = [
            (S::Draft, [Ok(S::Active), conflict, conflict, conflict]),
            (S::Active, [conflict, Ok(S::Paused), conflict, Ok(S::Ended)]),
            (S::Paused, [conflict, conflict, Ok(S::Active), Ok(S::Ended)]),
            (S::Ended, [ended, ended, ended, ended]),
        ];
        for (from, outcomes) in table {
            for (change, outcome) in changes.into_iter().zip(outcomes) {
                assert_eq!(from.change(change), outcome, "{from:?} {change:?}");
            }
            assert_eq!(S::from_stored(from.to_stored()), Some(from));
        }
        assert_eq!(S::from_stored(4), None);
    }

    // R9: the state first, then the window; the window is half open.
    #[test]
    fn a_claim_is_refused_by_state_before_window() {
        let window = UseWindow::AfterClaim { days: 30 };
        let early = at("2022-10-31T23:59:59.999+08:00");
        let first = at("2022-11-01T00:00:00+08:00");
        let last = at("2022-11-05T23:59:59.999+08:00");
        let late = at("2022-11-06T00:00:00+08:00");
        let of = |state, now| template(state, window).claim_rejection(now);
        for now in [early, first, last, late] {
            let draft = Some(Rejection::TemplateNotPublished);
            assert_eq!(of(TemplateState::Draft, now), draft);
            assert_eq!(of(TemplateState::Paused, now), Some(Rejection::TemplatePaused));
            assert_eq!(of(TemplateState::Ended, now), Some(Rejection::ClaimEnded));
        }
        assert_eq!(of(TemplateState::Active, early), Some(Rejection::ClaimNotStarted));
        assert_eq!(of(TemplateState::Active, first), None);
        assert_eq!(of(TemplateState::Active, last), None);
        assert_eq!(of(TemplateState::Active, late), Some(Rejection::ClaimEnded));
    }

    // R27: issuing ignores the claim window, but gives nothing that is expired already.
    #[test]
    fn an_issue_is_refused_by_state_and_by_expiry() {
        let (from, until) = (at("2022-11-11T00:00:00+08:00"), at("2022-11-12T00:00:00+08:00"));
        let of =
            |state, now| template(state, UseWindow::Fixed { from, until }).issue_rejection(now);
        let before = at("2020-01-01T00:00:00Z");
        assert_eq!(of(TemplateState::Draft, before), Some(Rejection::TemplateNotPublished));
        assert_eq!(of(TemplateState::Paused, before), Some(Rejection::TemplatePaused));
        assert_eq!(of(TemplateState::Ended, before), Some(Rejection::ClaimEnded));
        assert_eq!(of(TemplateState::Active, before), None);
        assert_eq!(
            of(TemplateState::Active, until.minus(std::time::Duration::from_millis(1))),
            None
        );
        assert_eq!(of(TemplateState::Active, until), Some(Rejection::ClaimEnded));
        let rolling = template(TemplateState::Active, UseWindow::AfterClaim { days: 0 });
        assert_eq!(rolling.issue_rejection(until), None);
    }

    // R34, trap 34: the N-th day after the claim counts to its end, in the template's zone.
    #[test]
    fn validity_is_fixed_or_runs_from_the_claim() {
        let (from, until) = (at("2022-11-11T00:00:00+08:00"), at("2022-11-12T00:00:00+08:00"));
        let claimed = at("2022-11-02T23:30:00+08:00");
        let fixed = template(TemplateState::Active, UseWindow::Fixed { from, until });
        assert_eq!(fixed.validity(claimed), Validity { use_from: from, valid_until: until });
        let rolling = template(TemplateState::Active, UseWindow::AfterClaim { days: 30 });
        let valid_until = at("2022-12-03T00:00:00+08:00");
        assert_eq!(rolling.validity(claimed), Validity { use_from: claimed, valid_until });
        for one in [fixed, rolling] {
            assert_eq!(one.use_from(claimed), one.validity(claimed).use_from);
        }
    }

    // R28: which lines each kind of scope reaches, the narrowest first.
    #[test]
    fn a_scope_covers_its_lines_only() {
        let line = CartLine {
            line_id: "a".to_owned(),
            product: 10,
            merchant: 7,
            category: "digital".to_owned(),
            quantity: 1,
            amount: Minor::new(1),
        };
        let ids = |ids: [i64; 3]| ids.into_iter().collect::<IdSet>();
        let codes = |codes: [&str; 2]| Scope::categories(codes.map(str::to_owned));
        assert!(Scope::All.covers(&line));
        assert!(Scope::Products(ids([12, 10, 10])).covers(&line));
        assert!(!Scope::Products(ids([7, 9, 11])).covers(&line));
        assert!(Scope::Merchants(ids([9, 7, 1])).covers(&line));
        assert!(!Scope::Merchants(ids([10, 8, 6])).covers(&line));
        assert!(codes(["food", "digital"]).covers(&line));
        assert!(!codes(["digit", "digitals"]).covers(&line));
        let unmarked = CartLine { merchant: 0, category: String::new(), ..line };
        assert!(!Scope::Merchants(ids([9, 7, 1])).covers(&unmarked));
        assert!(!codes(["food", "digital"]).covers(&unmarked));
        assert_eq!(ids([12, 10, 10]).as_slice(), [10, 12]);
        let scopes = [Scope::Products(ids([1, 2, 3])), codes(["a", "b"]), Scope::All];
        assert!(scopes.is_sorted_by_key(Scope::breadth));
        let merchants = Scope::Merchants(ids([1, 2, 3])).breadth();
        assert!(scopes[1].breadth() < merchants && merchants < Scope::All.breadth());
    }

    #[test]
    fn thresholds_belong_to_their_benefits() {
        let (threshold, amount) = (Minor::new(501), Minor::new(500));
        assert_eq!(Benefit::ThresholdOff { threshold, amount }.threshold(), threshold);
        assert_eq!(Benefit::DirectOff { amount }.threshold(), Minor::ZERO);
        let benefit = Benefit::Percentage { pay_bps: 8_000, max_discount: None, threshold };
        assert_eq!(benefit.threshold(), threshold);
    }
}
