//! Templates (券模板): the states of a campaign, when its coupons can be claimed, and how many there are.

use std::sync::Arc;

use crate::{
    Rejection,
    ids::TemplateId,
    rules::{Rules, UseWindow},
    time::Timestamp,
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
    use crate::{
        money::{Currency, Minor},
        rules::Benefit,
        time::TimeZone,
    };

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn template(state: TemplateState, use_window: UseWindow) -> Template {
        let benefit = Benefit::DirectOff { amount: Minor::new(888) };
        let currency = Currency::parse("CNY").unwrap();
        let time_zone = TimeZone::parse("Asia/Shanghai").unwrap();
        let rules = Rules { use_window, ..Rules::plain(benefit, currency, time_zone) };
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
}
