//! The redemption group: Lock, Confirm, Cancel, Restore, Void and Lapse of many orders in one
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
use sea_orm::{DatabaseConnection, DatabaseTransaction, DbErr, TransactionTrait};

pub(super) use self::{
    load::{by_order, overdue},
    write::log,
};
use super::Neighbours;
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
    db: DatabaseConnection,
    mint: Arc<Mint>,
    templates: Arc<dyn TemplateSource>,
    bell: Arc<dyn AlarmBell>,
}

type Outcome = Result<Redeemed, NotRedeemed>;

/// How often a group whose commit is unsettled is looked at again before its outcome is unknown.
const SETTLE_ATTEMPTS: u32 = 2;

/// Why a group's transaction did not commit.
enum GroupError {
    Failed(LedgerError),
    Unsettled(LedgerError),
}

impl GroupError {
    /// What a COMMIT that was answered with an error says.
    fn of_commit(error: DbErr) -> Self {
        if is_definite_abort(&error) {
            Self::Failed(error.into())
        } else {
            Self::Unsettled(error.into())
        }
    }
}

impl<E: Into<LedgerError>> From<E> for GroupError {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// The templates of a group's coupons.
#[derive(Default)]
struct Loaded(HashMap<TemplateId, Arc<Template>>);

impl Templates for Loaded {
    fn template(&self, id: TemplateId) -> Option<&Template> {
        self.0.get(&id).map(AsRef::as_ref)
    }
}

/// A failure after a commit that was not answered (`attempts` is above 0): nothing says any more
/// that the command had no effect. A refusal does, because it was decided on the rows.
fn unsettle(error: NotRedeemed, attempts: u32) -> NotRedeemed {
    match error {
        NotRedeemed::Failed(error) if attempts > 0 => {
            LedgerError::Unknown(error.to_string()).into()
        }
        error => error,
    }
}

impl RedeemWriter {
    pub(super) fn new(shard: ShardId, db: DatabaseConnection, neighbours: &Neighbours) -> Self {
        Self {
            shard,
            db,
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
        let mut waiting = vec![((0..group.len()).collect::<Vec<_>>(), 0_u32)];
        while let Some((part, attempts)) = waiting.pop() {
            let error = match self.transact(&group, &part).await {
                Ok(answers) => {
                    for (index, answer) in part.into_iter().zip(answers) {
                        let settled = |error| unsettle(error, attempts);
                        outcomes[index] = Some(answer.map_err(settled));
                    }
                    continue;
                }
                Err(GroupError::Unsettled(_)) if attempts < SETTLE_ATTEMPTS => {
                    waiting.push((part, attempts + 1));
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
                    waiting.extend([(right.to_vec(), attempts), (left.to_vec(), attempts)]);
                    continue;
                }
                Err(GroupError::Failed(error)) => error,
            };
            for index in part {
                outcomes[index] = Some(Err(unsettle(error.clone().into(), attempts)));
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
            Ok((answers, alarms)) => {
                tx.commit().await.map_err(GroupError::of_commit)?;
                self.bell.wanted(self.shard, &alarms);
                Ok(answers)
            }
            Err(error) => {
                // An explicit rollback: after a failed statement the transaction is still open, unless
                // the database has ended it by itself. The pool closes what is left in doubt.
                if let Err(error) = tx.rollback().await {
                    tracing::warn!(shard = self.shard, %error, "a transaction was not rolled back");
                }
                Err(error.into())
            }
        }
    }

    async fn decide_and_write(
        &self,
        tx: &DatabaseTransaction,
        items: &[&RedeemItem],
    ) -> Result<(Vec<Outcome>, Vec<(AlarmKind, Minute)>), LedgerError> {
        let now = Instant::now();
        let (mut book, templates) = load::load(tx, items).await?;
        let mut loaded = Loaded::default();
        for id in templates {
            if let Some(template) = self.templates.find(id).await? {
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
        let alarms = write::write(tx, book.into_changes(), &self.mint, at).await?;
        Ok((answers, alarms))
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
