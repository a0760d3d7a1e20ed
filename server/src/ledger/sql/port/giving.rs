//! Giving: every command goes to its user's lane, and the answers come back in order.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use coupon_domain::ids::{TemplateId, UserId};
use tokio::task::JoinHandle;

use crate::ledger::{
    GiveCommand, Given, Giving, Holding, HoldingCursor, LedgerError, NotGiven, ShardId,
    batcher::Answer,
    sql::{
        SqlLedger, audience,
        give::{GiveWriter, Outcome, Reply},
        shard::submit,
        wallet,
    },
};

/// Where the outcomes of a parcel come from.
enum Awaited {
    /// From its lane: one shard has all the stock.
    Lane(Answer<GiveWriter>),
    /// From a task of the ledger's own, which goes on when the caller goes away: members that fall
    /// short on their shard are not answered by its lane.
    Task(JoinHandle<Vec<Outcome>>),
}

impl Awaited {
    /// The outcomes; fewer when they are lost.
    async fn outcomes(self) -> Vec<Outcome> {
        let alone = || LedgerError::Corrupt("the only shard fell short".to_owned());
        match self {
            Self::Task(task) => task.await.unwrap_or_default(),
            Self::Lane(answer) => {
                let outcome = |reply| match reply {
                    Reply::Done(outcome) => outcome,
                    Reply::Short(_) => Err(alone().into()),
                };
                answer.await.unwrap_or_default().into_iter().map(outcome).collect()
            }
        }
    }
}

#[async_trait]
impl Giving for SqlLedger {
    async fn give(&self, commands: Vec<GiveCommand>) -> Vec<Result<Given, NotGiven>> {
        let count = commands.len();
        let mut by_lane: BTreeMap<(ShardId, usize), (Vec<usize>, Vec<GiveCommand>)> =
            BTreeMap::new();
        for (index, command) in commands.into_iter().enumerate() {
            let shard = self.router.shard_of_user(command.user);
            let lane = self.shards.get(usize::from(shard)).map(|shard| shard.give_lane(&command));
            let (indices, parcel) = by_lane.entry((shard, lane.unwrap_or(0))).or_default();
            indices.push(index);
            parcel.push(command);
        }
        let await_answer = |shard, count, answer| match &self.refills {
            None => Awaited::Lane(answer),
            Some(refills) => {
                let task = Arc::clone(refills).see_through(shard, answer, count);
                Awaited::Task(tokio::spawn(task))
            }
        };
        let waiting: Vec<_> = by_lane
            .into_iter()
            .map(|((shard, _), (indices, parcel))| {
                let submitted = submit(&self.shards, self.settle.as_ref(), shard, parcel);
                let awaited = submitted.map(|answer| await_answer(shard, indices.len(), answer));
                (indices, awaited)
            })
            .collect();
        let lost = || Err(LedgerError::Unknown("the group was dropped".to_owned()).into());
        let mut outcomes: Vec<_> = (0..count).map(|_| lost()).collect();
        for (indices, awaited) in waiting {
            match awaited {
                Ok(awaited) => {
                    for (index, outcome) in indices.into_iter().zip(awaited.outcomes().await) {
                        outcomes[index] = outcome;
                    }
                }
                Err(error) => {
                    for index in indices {
                        outcomes[index] = Err(error.clone().into());
                    }
                }
            }
        }
        outcomes
    }

    async fn holdings(
        &self,
        shard: ShardId,
        templates: &[TemplateId],
        after: HoldingCursor,
        limit: u32,
    ) -> Result<(Vec<(TemplateId, Holding)>, Option<HoldingCursor>), LedgerError> {
        wallet::holdings(&self.shard(shard)?.db.read, templates, after, limit).await
    }

    async fn held(&self, user: UserId, template: TemplateId) -> Result<Vec<Holding>, LedgerError> {
        wallet::held(&self.shard_of(user)?.db.read, user, template).await
    }

    async fn add_audience(
        &self,
        template: TemplateId,
        users: &[UserId],
    ) -> Result<i64, LedgerError> {
        let mut added = 0;
        for shard in self.shards.iter() {
            let here = |user: &&UserId| self.router.shard_of_user(**user) == shard.id;
            let users: Vec<UserId> = users.iter().filter(here).copied().collect();
            added += shard.db.retried(|| audience::add(&shard.db.write, template, &users)).await?;
        }
        Ok(added)
    }

    async fn is_named(&self, user: UserId, template: TemplateId) -> Result<bool, LedgerError> {
        audience::contains(&self.shard_of(user)?.db.read, template, user).await
    }
}
