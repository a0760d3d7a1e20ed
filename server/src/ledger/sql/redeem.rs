//! The redemption group: Lock, Confirm, Cancel, Restore, Force, Void and Lapse of many orders in one
//! transaction. Loads the rows by key, lets the commands change the [`Book`] one after the other,
//! writes the difference, commits. Order of locking rows: redemptions, then coupons, each by id.

mod load;
mod write;

use std::{collections::HashMap, sync::Arc, time::Instant};

use async_trait::async_trait;
use coupon_domain::{
    book::{AlarmKind, Book},
    ids::TemplateId,
    redemption::{self, Templates},
    template::Template,
    time::{Minute, Timestamp},
};
use sea_orm::{ConnectionTrait, DbErr};

pub(super) use self::{
    load::{by_order, overdue},
    write::log,
};
use super::{
    Neighbours,
    lane_db::{LaneDb, pause_before},
};
use crate::{
    ledger::{
        AlarmBell, LedgerError, NotRedeemed, RedeemCommand, Redeemed, ShardId, TemplateSource,
        batcher::GroupWriter, error::is_definite_abort,
    },
    mint::{Mint, MintExhausted},
};

/// A command with its time and deadline.
#[derive(Debug, Clone)]
pub(crate) struct RedeemItem {
    pub(super) command: RedeemCommand,
    pub(super) at: Timestamp,
    pub(super) deadline: Instant,
}

/// Writes redemption groups of one shard.
pub(crate) struct RedeemWriter {
    shard: ShardId,
    db: LaneDb,
    attempts_max: u32,
    mint: Arc<Mint>,
    templates: Arc<dyn TemplateSource>,
    bell: Arc<dyn AlarmBell>,
}

type Outcome = Result<Redeemed, NotRedeemed>;

/// How often a group whose commit is unsettled is looked at again before its outcome is unknown.
const SETTLE_ATTEMPTS: u32 = 2;

/// Why a group's transaction did not commit.
enum GroupError {
    /// Rolled back because the database let somebody else go first, or because a row that the group
    /// inserts is there by now: it is decided again on the rows found.
    Conflict(LedgerError),
    /// Rolled back, nothing changed.
    Failed(LedgerError),
    /// COMMIT was answered with an error: it may have happened.
    Unsettled(LedgerError),
}

impl GroupError {
    /// What a COMMIT that was answered with an error says.
    fn of_commit(error: DbErr) -> Self {
        if is_definite_abort(&error) { Self::from(error) } else { Self::Unsettled(error.into()) }
    }
}

impl<E: Into<LedgerError>> From<E> for GroupError {
    fn from(error: E) -> Self {
        match error.into() {
            error @ LedgerError::Aborted(_) => Self::Conflict(error),
            error => Self::Failed(error),
        }
    }
}

/// Commands of a group that are tried together.
struct Part {
    /// Their indices in the group.
    members: Vec<usize>,
    /// Commits that were not answered.
    unsettled: u32,
    /// Conflicts.
    tries: u32,
}

/// The templates of a group's coupons.
#[derive(Default)]
struct Loaded(HashMap<TemplateId, Arc<Template>>);

impl Templates for Loaded {
    fn template(&self, id: TemplateId) -> Option<&Template> {
        self.0.get(&id).map(AsRef::as_ref)
    }
}

/// A failure after a commit that was not answered (`unsettled` of them): nothing says any more that the
/// command had no effect. A refusal does, because it was decided on the rows.
fn unsettle(error: NotRedeemed, unsettled: u32) -> NotRedeemed {
    match error {
        NotRedeemed::Failed(error) if unsettled > 0 => {
            LedgerError::Unknown(error.to_string()).into()
        }
        error => error,
    }
}

impl RedeemWriter {
    pub(super) fn new(
        shard: ShardId,
        db: LaneDb,
        attempts_max: u32,
        neighbours: &Neighbours,
    ) -> Self {
        Self {
            shard,
            db,
            attempts_max,
            mint: Arc::clone(&neighbours.mint),
            templates: Arc::clone(&neighbours.templates),
            bell: Arc::clone(&neighbours.bell),
        }
    }

    /// Writes a group, halving one that the database refuses, so that one bad command never fails
    /// its neighbours. An unsettled commit is settled by running the commands again: they repeat by
    /// request id and state.
    async fn settle_group(&self, group: Vec<RedeemItem>) -> Vec<Outcome> {
        let mut outcomes: Vec<Option<Outcome>> = vec![None; group.len()];
        let all = Part { members: (0..group.len()).collect(), unsettled: 0, tries: 0 };
        let mut waiting = vec![all];
        while let Some(Part { members: part, unsettled, tries }) = waiting.pop() {
            let error = match self.transact(&group, &part).await {
                Ok(answers) => {
                    for (index, answer) in part.into_iter().zip(answers) {
                        let settled = |error| unsettle(error, unsettled);
                        outcomes[index] = Some(answer.map_err(settled));
                    }
                    continue;
                }
                Err(GroupError::Unsettled(_)) if unsettled < SETTLE_ATTEMPTS => {
                    waiting.push(Part { members: part, unsettled: unsettled + 1, tries });
                    continue;
                }
                Err(GroupError::Conflict(_)) if tries < self.attempts_max => {
                    pause_before(tries).await;
                    waiting.push(Part { members: part, unsettled, tries: tries + 1 });
                    continue;
                }
                Err(GroupError::Unsettled(error)) => LedgerError::Unknown(error.to_string()),
                Err(GroupError::Failed(LedgerError::Corrupt(error))) if part.len() > 1 => {
                    tracing::error!(
                        shard = self.shard,
                        commands = part.len(),
                        error,
                        "group halved"
                    );
                    let (left, right) = part.split_at(part.len() / 2);
                    let half = |half: &[usize]| Part { members: half.to_vec(), unsettled, tries };
                    waiting.extend([half(right), half(left)]);
                    continue;
                }
                Err(GroupError::Conflict(error) | GroupError::Failed(error)) => error,
            };
            for index in part {
                outcomes[index] = Some(Err(unsettle(error.clone().into(), unsettled)));
            }
        }
        let missing =
            || Err(LedgerError::Corrupt("a command was left without outcome".into()).into());
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect()
    }

    async fn transact(
        &self,
        group: &[RedeemItem],
        part: &[usize],
    ) -> Result<Vec<Outcome>, GroupError> {
        let items: Vec<&RedeemItem> = part.iter().map(|index| &group[*index]).collect();
        let tx = self.db.begin().await?;
        match self.decide_and_write(&tx, &items).await {
            Ok((answers, Some(alarms))) => {
                tx.commit().await.map_err(GroupError::of_commit)?;
                self.bell.wanted(self.shard, &alarms);
                Ok(answers)
            }
            Ok((answers, None)) => {
                // Nothing was changed: no commit, whose outcome could be unknown, is needed.
                let _ = tx.rollback().await;
                Ok(answers)
            }
            Err(error) => {
                if let Err(error) = tx.rollback().await {
                    tracing::warn!(shard = self.shard, %error, "a transaction was not rolled back");
                }
                Err(error.into())
            }
        }
    }

    /// Answers the outcomes, and the alarms that now exist if anything was written.
    async fn decide_and_write(
        &self,
        tx: &impl ConnectionTrait,
        items: &[&RedeemItem],
    ) -> Result<(Vec<Outcome>, Option<Vec<(AlarmKind, Minute)>>), LedgerError> {
        let now = Instant::now();
        let (mut book, templates) = load::load(tx, items).await?;
        let mut loaded = Loaded::default();
        for id in templates {
            if let Some(template) = self.db.patiently(self.templates.find(id)).await? {
                loaded.0.insert(id, template);
            }
        }
        let answers = items.iter().map(|item| {
            if now >= item.deadline {
                return Err(LedgerError::Late.into());
            }
            self.decide(&mut book, &loaded, item)
        });
        let answers = answers.collect();
        let at = items.iter().map(|item| item.at).max().unwrap_or_default();
        let changes = book.into_changes();
        if changes.is_empty() {
            return Ok((answers, None));
        }
        Ok((answers, Some(write::write(tx, changes, &self.mint, at).await?)))
    }

    fn decide(&self, book: &mut Book, templates: &Loaded, item: &RedeemItem) -> Outcome {
        let exhausted = |error: MintExhausted| LedgerError::from(error);
        match &item.command {
            RedeemCommand::Lock(command, limits) => {
                let fresh = self.mint.redemption(command.user).map_err(exhausted)?;
                let locked = redemption::lock(book, command, templates, *limits, fresh, item.at)?;
                Ok(Redeemed::Redemption(locked))
            }
            RedeemCommand::Confirm(command) => {
                Ok(Redeemed::Redemption(redemption::confirm(book, command, item.at)?))
            }
            RedeemCommand::Cancel(command) => {
                let fresh = self.mint.redemption(command.user).map_err(exhausted)?;
                Ok(Redeemed::Redemption(redemption::cancel(book, command, fresh, item.at)?))
            }
            RedeemCommand::Restore(command) => {
                let ids = load::coupons_to_restore(book, command);
                let minted: Result<Vec<_>, _> =
                    (0..ids).map(|_| self.mint.coupon(command.user)).collect();
                let mut minted = minted.map_err(exhausted)?.into_iter();
                // One id per coupon of the order was minted: there are always enough.
                let spare = self.mint.coupon(command.user).map_err(exhausted)?;
                let mint = || minted.next().unwrap_or(spare);
                let restored = redemption::restore(book, command, templates, mint, item.at)?;
                Ok(Redeemed::Restored(restored))
            }
            RedeemCommand::Force(command) => {
                Ok(Redeemed::Redemption(redemption::force(book, command, item.at)?))
            }
            RedeemCommand::Void(command) => {
                Ok(Redeemed::Coupon(redemption::void(book, *command, item.at)?))
            }
            RedeemCommand::Lapse(_, id) => {
                Ok(Redeemed::Lapsed(redemption::lapse(book, *id, item.at)))
            }
        }
    }
}

#[async_trait]
impl GroupWriter for RedeemWriter {
    type Command = RedeemItem;
    type Outcome = Outcome;

    async fn write(&self, group: Vec<RedeemItem>) -> Vec<Outcome> {
        self.settle_group(group).await
    }
}
