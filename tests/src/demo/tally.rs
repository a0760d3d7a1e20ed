//! Answers to claims, and what they add up to.

use std::time::Duration;

use coupon_client::{ClientError, tonic::Code, v1};
use hdrhistogram::Histogram;

/// The answer to one send.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) kind: Kind,
    pub(super) elapsed: Duration,
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Won {
        coupon_id: i64,
        replayed: bool,
    },
    SoldOut,
    Limit,
    /// Another refusal, in words.
    Refused(String),
    /// No definite answer, in words.
    Unknown(String),
}

impl Kind {
    /// Sorts a failed claim: whatever does not prove that nothing was given is unknown.
    pub(super) fn from_error(error: &ClientError) -> Self {
        match (error.reason(), error.code()) {
            (Some(v1::ErrorReason::SoldOut), _) => Self::SoldOut,
            (Some(v1::ErrorReason::LimitReached), _) => Self::Limit,
            (
                _,
                Code::FailedPrecondition
                | Code::InvalidArgument
                | Code::NotFound
                | Code::AlreadyExists,
            ) => Self::Refused(error.to_string()),
            _ => Self::Unknown(error.to_string()),
        }
    }

    /// Whether both say the same about one claim: a replay says what the win said.
    fn agrees_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Won { coupon_id: one, .. }, Self::Won { coupon_id: two, .. }) => one == two,
            _ => self == other,
        }
    }
}

/// All answers that one user got.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) user_id: i64,
    /// To the same claim.
    pub(super) answers: Vec<Answer>,
    /// To a winner's second claim; empty when the user did not win.
    pub(super) greedy: Vec<Answer>,
}

impl Visit {
    /// The distinct coupons that the user was told to have won.
    pub(super) fn coupons(&self) -> Vec<i64> {
        let mut coupons: Vec<i64> = self
            .answers
            .iter()
            .chain(&self.greedy)
            .filter_map(|answer| match answer.kind {
                Kind::Won { coupon_id, .. } => Some(coupon_id),
                _ => None,
            })
            .collect();
        coupons.sort_unstable();
        coupons.dedup();
        coupons
    }

    fn definite(&self) -> impl Iterator<Item = &Kind> {
        let kinds = self.answers.iter().map(|answer| &answer.kind);
        kinds.filter(|kind| !matches!(kind, Kind::Unknown(_)))
    }

    /// Whether the equal claims got different results, or were won more than once.
    fn is_torn(&self) -> bool {
        let mut definite = self.definite();
        let Some(first) = definite.next() else {
            return false;
        };
        let fresh = |kind: &&Kind| matches!(kind, Kind::Won { replayed: false, .. });
        !definite.all(|kind| kind.agrees_with(first)) || self.definite().filter(fresh).count() > 1
    }
}

/// Counts of answers and of users who were treated wrongly.
#[derive(Debug)]
pub(super) struct Tally {
    /// Claims sent, all sends of all users.
    pub(super) sends: u64,
    /// First answers that say won.
    pub(super) won: u64,
    /// Repeated answers that say won.
    pub(super) replays: u64,
    pub(super) sold_out: u64,
    pub(super) limit: u64,
    /// Refusals for any other reason.
    pub(super) refused: u64,
    /// Claims without a definite answer.
    pub(super) errors: u64,
    /// The first unexpected refusal or error, in words.
    pub(super) first_error: Option<String>,
    /// Time to the first answer that says won, in microseconds.
    pub(super) win_us: Histogram<u64>,
    /// Time to a repeated answer that says won, in microseconds.
    pub(super) replay_us: Histogram<u64>,
    /// Time to a refusal, in microseconds.
    pub(super) refusal_us: Histogram<u64>,
    /// Users whose outcome stayed unknown.
    pub(super) unsettled_users: u64,
    /// Users whose equal claims got different results.
    pub(super) torn_users: u64,
    /// Users who hold more than one coupon.
    pub(super) double_winners: u64,
    /// Winners whose second claim was refused for the limit.
    pub(super) greedy_refused: u64,
    /// Winners whose second claim was made.
    pub(super) greedy: u64,
}

impl Tally {
    /// Nothing counted yet.
    pub(super) fn new() -> anyhow::Result<Self> {
        let histogram = || Histogram::new_with_bounds(1, 120_000_000, 3);
        Ok(Self {
            sends: 0,
            won: 0,
            replays: 0,
            sold_out: 0,
            limit: 0,
            refused: 0,
            errors: 0,
            first_error: None,
            win_us: histogram()?,
            replay_us: histogram()?,
            refusal_us: histogram()?,
            unsettled_users: 0,
            torn_users: 0,
            double_winners: 0,
            greedy_refused: 0,
            greedy: 0,
        })
    }

    /// Adds all answers of one user.
    pub(super) fn count(&mut self, visit: &Visit) {
        for answer in visit.answers.iter().chain(&visit.greedy) {
            self.count_answer(answer);
        }
        self.unsettled_users += u64::from(visit.definite().next().is_none());
        self.torn_users += u64::from(visit.is_torn());
        self.double_winners += u64::from(visit.coupons().len() > 1);
        if let Some(greedy) = visit.greedy.last() {
            self.greedy += 1;
            self.greedy_refused += u64::from(greedy.kind == Kind::Limit);
        }
    }

    fn count_answer(&mut self, answer: &Answer) {
        self.sends += 1;
        let (counter, histogram) = match &answer.kind {
            Kind::Won { replayed: false, .. } => (&mut self.won, Some(&mut self.win_us)),
            Kind::Won { replayed: true, .. } => (&mut self.replays, Some(&mut self.replay_us)),
            Kind::SoldOut => (&mut self.sold_out, Some(&mut self.refusal_us)),
            Kind::Limit => (&mut self.limit, Some(&mut self.refusal_us)),
            Kind::Refused(text) => {
                self.first_error.get_or_insert_with(|| text.clone());
                (&mut self.refused, Some(&mut self.refusal_us))
            }
            Kind::Unknown(text) => {
                self.first_error.get_or_insert_with(|| text.clone());
                (&mut self.errors, None)
            }
        };
        *counter += 1;
        if let Some(histogram) = histogram {
            let micros = u64::try_from(answer.elapsed.as_micros()).unwrap_or(u64::MAX);
            histogram.saturating_record(micros);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn won(coupon_id: i64, replayed: bool) -> Kind {
        Kind::Won { coupon_id, replayed }
    }

    fn visit(answers: &[Kind], greedy: &[Kind]) -> Visit {
        let answer = |kind: &Kind| Answer { kind: kind.clone(), elapsed: Duration::from_millis(1) };
        Visit {
            user_id: 1,
            answers: answers.iter().map(answer).collect(),
            greedy: greedy.iter().map(answer).collect(),
        }
    }

    // R10: one claim and its resends, in whatever order the answers came.
    #[test]
    fn one_result_is_one_win_and_its_replays() {
        assert!(!visit(&[won(5, true), won(5, false), won(5, true)], &[]).is_torn());
        assert!(!visit(&[Kind::SoldOut, Kind::SoldOut], &[]).is_torn());
        let lost_answer = [Kind::Unknown("timeout".to_owned()), won(5, true)];
        assert!(!visit(&lost_answer, &[]).is_torn());
    }

    #[test]
    fn different_results_are_torn() {
        assert!(visit(&[won(5, false), won(6, false)], &[]).is_torn());
        assert!(visit(&[won(5, false), won(6, true)], &[]).is_torn());
        assert!(visit(&[won(5, false), won(5, false)], &[]).is_torn(), "won twice");
        assert!(visit(&[Kind::SoldOut, won(5, false)], &[]).is_torn());
        assert!(visit(&[won(5, false), Kind::Limit], &[]).is_torn());
    }

    #[test]
    fn a_visit_is_counted_once_per_answer_and_once_per_user() -> anyhow::Result<()> {
        let mut tally = Tally::new()?;
        tally.count(&visit(&[won(5, false), won(5, true)], &[Kind::Limit]));
        tally.count(&visit(&[won(6, false), won(6, true)], &[won(7, false)]));
        tally.count(&visit(&[Kind::SoldOut, Kind::SoldOut], &[]));
        tally.count(&visit(&[Kind::Unknown("down".to_owned())], &[]));
        assert_eq!((tally.sends, tally.won, tally.replays), (9, 3, 2));
        assert_eq!((tally.sold_out, tally.limit, tally.errors), (2, 1, 1));
        assert_eq!((tally.greedy, tally.greedy_refused), (2, 1));
        assert_eq!((tally.double_winners, tally.unsettled_users, tally.torn_users), (1, 1, 0));
        assert_eq!(tally.first_error.as_deref(), Some("down"));
        assert_eq!((tally.win_us.len(), tally.refusal_us.len()), (3, 3));
        Ok(())
    }
}
