//! The claim group: coupons, stock and alarms of many claims and issues in one transaction.
//!
//! Always in this order: coupons by (user, template, claim_no), one guarded update per bucket,
//! alarms, commit. Row counts decide:
//! - A member tries number n only after 1..n-1 have been read, committed, all with other request
//!   ids; with a limit of 1, number 1 needs no reading.
//! - On a clash its rows of that template are read in the next round: same id = replay, otherwise
//!   the next number, or refused beyond the limit.
//! - At most one member per (user, template) in one transaction; the others follow in the next.
//! - Stock is not read, only taken; a guard that fails rolls the round back, and the group is formed
//!   again with the buckets read, filled from each other, and what there is.

mod insert;
mod plan;

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Instant,
};

use async_trait::async_trait;
use coupon_domain::{
    book::AlarmKind,
    ids::{TemplateId, UserId},
    time::Minute,
};
use sea_orm::{ConnectionTrait, DbErr};

use self::plan::{Member, Plan, Verdict};
use super::{
    Neighbours, alarms,
    lane_db::{LaneDb, pause_before},
    refill::Proofs,
    stock,
};
#[cfg(feature = "sabotage")]
use crate::faults;
use crate::{
    ledger::{
        AlarmBell, GiveCommand, Given, LedgerError, NotGiven, Settle, Settlement, ShardId,
        batcher::GroupWriter, error::is_definite_abort,
    },
    mint::Mint,
};

/// Writes claim groups of one shard.
pub(crate) struct GiveWriter {
    shard: ShardId,
    db: LaneDb,
    attempts_max: u32,
    mint: Arc<Mint>,
    settle: Arc<dyn Settle>,
    bell: Arc<dyn AlarmBell>,
    /// What is known of the stock of all shards; `None` when this one has it all.
    proofs: Option<Arc<Proofs>>,
}

/// What becomes of a command.
pub(super) type Outcome = Result<Given, NotGiven>;

/// What the writer says of a command.
pub(crate) enum Reply {
    /// Its outcome, settled.
    Done(Outcome),
    /// Nothing was written: this shard has too little stock, and others may have more. Never where
    /// this shard has it all.
    Short(Box<GiveCommand>),
}

/// Why a round's transaction did not commit.
enum RoundError {
    /// Rolled back because rows were not as read; the round is formed again.
    Conflict,
    /// Rolled back because the database let somebody else go first; the round is tried again.
    Aborted(LedgerError),
    /// Rolled back, nothing changed.
    Failed(LedgerError),
    /// COMMIT was answered with an error: it may have happened.
    Unsettled(LedgerError),
}

impl RoundError {
    /// What a COMMIT that was answered with an error says.
    fn of_commit(error: DbErr) -> Self {
        if is_definite_abort(&error) { Self::from(error) } else { Self::Unsettled(error.into()) }
    }
}

impl<E: Into<LedgerError>> From<E> for RoundError {
    fn from(error: E) -> Self {
        match error.into() {
            error @ LedgerError::Aborted(_) => Self::Aborted(error),
            error => Self::Failed(error),
        }
    }
}

impl GiveWriter {
    pub(super) fn new(
        shard: ShardId,
        db: LaneDb,
        attempts_max: u32,
        neighbours: &Neighbours,
        proofs: Option<Arc<Proofs>>,
    ) -> Self {
        Self {
            proofs,
            shard,
            db,
            attempts_max,
            mint: Arc::clone(&neighbours.mint),
            settle: Arc::clone(&neighbours.settle),
            bell: Arc::clone(&neighbours.bell),
        }
    }

    /// Rounds until every member has its outcome.
    async fn rounds(&self, members: &mut [Member]) {
        loop {
            let now = Instant::now();
            let mut seen: HashSet<(UserId, TemplateId)> = HashSet::with_capacity(members.len());
            let mut round = Vec::with_capacity(members.len());
            for (index, member) in members.iter_mut().enumerate() {
                if member.is_done() {
                    continue;
                }
                if now >= member.command.deadline && member.tries == 0 {
                    member.outcome = Some(Err(LedgerError::Late.into()));
                } else if seen.insert((member.command.user, member.command.template.id)) {
                    round.push(index);
                }
            }
            if round.is_empty() {
                return;
            }
            self.settle_round(members, round).await;
        }
    }

    /// One transaction for the members named, and what follows when it does not commit. Halves a
    /// round that the database refuses, so that one bad member never fails its neighbours.
    async fn settle_round(&self, members: &mut [Member], round: Vec<usize>) {
        let mut waiting = vec![round];
        while let Some(round) = waiting.pop() {
            match self.transact(members, &round).await {
                Ok(()) => {}
                Err(RoundError::Conflict) => self.again(members, &round, None),
                #[cfg(feature = "sabotage")]
                Err(RoundError::Unsettled(error)) if faults::is(faults::Fault::ReturnOnTimeout) => {
                    self.give_back_blindly(members, &round, &error).await;
                }
                Err(RoundError::Unsettled(error)) => self.again(members, &round, Some(error)),
                Err(RoundError::Aborted(error)) => {
                    self.after_abort(members, &round, &error).await;
                }
                Err(RoundError::Failed(LedgerError::Corrupt(error))) if round.len() > 1 => {
                    tracing::error!(
                        shard = self.shard,
                        members = round.len(),
                        error,
                        "group halved"
                    );
                    let (left, right) = round.split_at(round.len() / 2);
                    waiting.extend([right.to_vec(), left.to_vec()]);
                }
                Err(RoundError::Failed(error)) => {
                    for index in round {
                        members[index].fail(&error);
                    }
                }
            }
        }
    }

    /// Sends members of an aborted round into the next one, unless they have no more time.
    async fn after_abort(&self, members: &mut [Member], round: &[usize], error: &LedgerError) {
        let mut tries = 0;
        let now = Instant::now();
        for index in round {
            let member = &mut members[*index];
            member.tries += 1;
            tries = tries.max(member.tries);
            if member.tries > self.attempts_max || now >= member.command.deadline {
                member.fail(error);
            }
        }
        pause_before(tries).await;
    }

    /// Sends members into the next round, where they read before they write: that finds what an
    /// unsettled commit has done.
    fn again(&self, members: &mut [Member], round: &[usize], unsettled: Option<LedgerError>) {
        for index in round {
            let member = &mut members[*index];
            member.read_first = true;
            member.count_stock = true;
            member.tries += 1;
            member.unsettled |= unsettled.is_some();
            if member.tries > self.attempts_max {
                let worn_out = || LedgerError::Unavailable("too much contention; try again".into());
                member.fail(&unsettled.clone().unwrap_or_else(worn_out));
            }
        }
    }

    /// What must never be done: returns stock while the outcome is unknown.
    #[cfg(feature = "sabotage")]
    async fn give_back_blindly(
        &self,
        members: &mut [Member],
        round: &[usize],
        error: &LedgerError,
    ) {
        let Ok(tx) = self.db.begin().await else { return };
        for index in round {
            let member = &mut members[*index];
            let GiveCommand { template, user, .. } = &member.command;
            let bucket = user.slot().bucket(template.buckets);
            let sql = format!(
                "UPDATE stock_bucket SET issued = issued - 1 \
                 WHERE template_id = {} AND bucket = {bucket} AND issued > 0",
                template.id.get()
            );
            let _ = tx.execute_unprepared(&sql).await;
            member.unsettled = true;
            member.fail(error);
        }
        let _ = tx.commit().await;
    }

    async fn transact(&self, members: &mut [Member], round: &[usize]) -> Result<(), RoundError> {
        let tx = self.db.begin().await?;
        match self.write_round(&tx, members, round).await {
            Ok((verdicts, alarms)) => {
                // Whatever was given has an alarm. A round that gave nothing needs no commit, whose
                // outcome could be unknown.
                let ended = if alarms.is_empty() { tx.rollback().await } else { tx.commit().await };
                if !alarms.is_empty() {
                    ended.map_err(RoundError::of_commit)?;
                }
                self.bell.wanted(self.shard, &alarms);
                self.note(members, round, verdicts);
                Ok(())
            }
            Err(error) => {
                if let Err(error) = tx.rollback().await {
                    tracing::warn!(shard = self.shard, %error, "a transaction was not rolled back");
                }
                Err(error)
            }
        }
    }

    async fn write_round(
        &self,
        tx: &impl ConnectionTrait,
        members: &[Member],
        round: &[usize],
    ) -> Result<(Vec<Verdict>, Vec<(AlarmKind, Minute)>), RoundError> {
        let round: Vec<&Member> = round.iter().map(|index| &members[*index]).collect();
        let held = plan::read_held(tx, &round).await?;
        let mut plan = Plan::judge(&round, &held);
        let counted = plan.templates_to_count(&round);
        // Who lost to others when it had counted already holds what it counts.
        let buckets = match round.iter().any(|member| member.tries > 1) {
            true => stock::hold_buckets(tx, &counted).await?,
            false => stock::buckets(tx, &counted).await?,
        };
        plan.load_buckets(&counted, buckets);
        plan.assume_buckets(&round);
        plan.allot(&round, self.proofs.as_deref());
        let wanted = plan.wanted(&round, &self.mint)?;
        let inserted = insert::insert(tx, &wanted).await?;
        if !plan.note_inserted(&round, &wanted, &inserted) {
            return Err(RoundError::Conflict);
        }
        for (buckets, taken) in plan.takings() {
            if !stock::take(tx, buckets, taken).await? {
                return Err(RoundError::Conflict);
            }
        }
        let minutes: BTreeSet<Minute> =
            plan.given().map(|coupon| coupon.valid_until.due_minute()).collect();
        let wanted: Vec<_> =
            minutes.into_iter().map(|minute| (AlarmKind::CouponExpiry, minute)).collect();
        alarms::want(tx, &wanted).await?;
        Ok((plan.into_verdicts(), wanted))
    }

    fn note(&self, members: &mut [Member], round: &[usize], verdicts: Vec<Verdict>) {
        let mut again = Vec::new();
        for (index, verdict) in round.iter().zip(verdicts) {
            match verdict {
                Verdict::Done(outcome) => members[*index].outcome = Some(outcome),
                Verdict::Short => members[*index].short = true,
                Verdict::Again => again.push(*index),
            }
        }
        self.again(members, &again, None);
    }
}

#[async_trait]
impl GroupWriter for GiveWriter {
    type Command = GiveCommand;
    type Outcome = Reply;

    async fn write(&self, group: Vec<GiveCommand>) -> Vec<Reply> {
        let mut members: Vec<Member> = group.into_iter().map(Member::new).collect();
        if let Some(proofs) = &self.proofs {
            for Member { command, read_first, count_stock, .. } in &mut members {
                // Nothing to insert and to roll back again: replays are all there can be.
                let refused = proofs.prove_sold_out(&command.template, command.pieces.into());
                *read_first |= refused;
                *count_stock |= refused;
            }
        }
        self.rounds(&mut members).await;
        let missing =
            || Err(LedgerError::Corrupt("a member was left without outcome".into()).into());
        let replies: Vec<(GiveCommand, Option<Outcome>)> = members
            .into_iter()
            .map(|member| {
                let outcome = (!member.short).then(|| member.outcome.unwrap_or_else(missing));
                (member.command, outcome)
            })
            .collect();
        let settlements: Vec<Settlement<'_>> = replies
            .iter()
            .filter_map(|(command, outcome)| {
                outcome.as_ref().map(|outcome| Settlement { command, outcome })
            })
            .collect();
        self.settle.settle(&settlements);
        let reply = |(command, outcome): (GiveCommand, Option<Outcome>)| {
            outcome.map_or_else(|| Reply::Short(Box::new(command)), Reply::Done)
        };
        replies.into_iter().map(reply).collect()
    }
}
