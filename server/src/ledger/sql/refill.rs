//! Refills: stock for a shard that has run dry, and the proof that there is none (R18, R44).
//!
//! A group never waits for another shard. It hands back the members for which its shard has too
//! little; a task of the ledger's own, which no caller can drop, fetches stock from other shards and
//! sends them through a group again. There they are judged anew: a replay is still a replay, and "sold
//! out" is said of them only when the pieces given on all shards have been counted.
//!
//! Per template and shard one refill is under way at a time on a node; whoever falls short meanwhile
//! waits for that one, inside its deadline.

mod flight;
mod proofs;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use coupon_domain::{
    ids::TemplateId,
    stock::{Bucket, Supply, Survey},
    time::Timestamp,
};
use futures::future::join_all;

use self::flight::{Flight, Landing, Need};
pub(super) use self::proofs::Proofs;
use super::{
    Shard,
    give::{GiveWriter, Outcome, Reply},
    shard::submit,
    stock,
    transfer::{self, Transfer},
};
use crate::{
    ledger::{GiveCommand, LedgerError, Settle, Settlement, ShardId, batcher::Answer},
    mint::Mint,
};

/// How often one command is sent through a group after a refill.
const REFILLS_MAX: u32 = 24;
/// How often one refill looks anew at shards that others draw from too.
const ROUNDS_MAX: u32 = 16;
/// Transfers that one search finishes.
const SEARCH_ROWS: u32 = 1_000;

/// How long a shard may take to say what it holds: one that hangs must not keep the others' stock
/// away.
const COUNT_MAX: Duration = Duration::from_secs(1);
/// How long a transfer may take; one that is cut off is finished by whoever finds it.
const TRANSFER_MAX: Duration = Duration::from_secs(5);

/// What a failed refill says to a claim. An effect that is in doubt is that of a transfer, which
/// somebody finishes, not the claim's.
fn without_effect(error: LedgerError) -> LedgerError {
    match error {
        LedgerError::Corrupt(text) => LedgerError::Corrupt(text),
        error => LedgerError::Unavailable(error.to_string()),
    }
}

/// Waits for a shard no longer than `max`.
async fn in_time<T>(
    max: Duration,
    work: impl Future<Output = Result<T, LedgerError>>,
) -> Result<T, LedgerError> {
    let late = || LedgerError::Unavailable(format!("a shard did not answer within {max:?}"));
    tokio::time::timeout(max, work).await.unwrap_or_else(|_| Err(late()))
}

/// Refills of all shards on this node.
pub(super) struct Refills {
    shards: Arc<[Shard]>,
    mint: Arc<Mint>,
    settle: Arc<dyn Settle>,
    proofs: Arc<Proofs>,
    flights: Mutex<HashMap<(TemplateId, ShardId), Flight>>,
}

/// Members of one template that fell short, by their places in the parcel.
type Short = Vec<(usize, GiveCommand)>;

impl Refills {
    pub(super) fn new(
        shards: Arc<[Shard]>,
        mint: Arc<Mint>,
        settle: Arc<dyn Settle>,
        proofs: Arc<Proofs>,
    ) -> Self {
        Self { shards, mint, settle, proofs, flights: Mutex::default() }
    }

    /// Waits for a parcel's answer, refilling the shard for the members that fall short, until each of
    /// the `count` members has its outcome.
    pub(super) async fn see_through(
        self: Arc<Self>,
        shard: ShardId,
        mut answer: Answer<GiveWriter>,
        count: usize,
    ) -> Vec<Outcome> {
        let lost = || Err(LedgerError::Unknown("the group was dropped".to_owned()).into());
        let mut outcomes: Vec<Outcome> = (0..count).map(|_| lost()).collect();
        let mut places: Vec<usize> = (0..count).collect();
        for refills in 0.. {
            let mut short = Short::new();
            for (place, reply) in places.into_iter().zip(answer.await.unwrap_or_default()) {
                match reply {
                    Reply::Done(outcome) => outcomes[place] = outcome,
                    Reply::Short(command) => short.push((place, *command)),
                }
            }
            let refilled = self.refill(shard, short, refills, &mut outcomes).await;
            let (left, commands): (Vec<usize>, Vec<GiveCommand>) = refilled.into_iter().unzip();
            if commands.is_empty() {
                break;
            }
            match submit(&self.shards, self.settle.as_ref(), shard, commands) {
                Ok(next) => (places, answer) = (left, next),
                Err(error) => {
                    for place in left {
                        outcomes[place] = Err(error.clone().into());
                    }
                    break;
                }
            }
        }
        outcomes
    }

    /// Refills the shard with each template of which somebody has too little. Answers who is to try
    /// again; all others have their outcomes.
    async fn refill(
        self: &Arc<Self>,
        shard: ShardId,
        short: Short,
        refills: u32,
        outcomes: &mut [Outcome],
    ) -> Short {
        let mut by_template: HashMap<TemplateId, Short> = HashMap::new();
        for (place, command) in short {
            by_template.entry(command.template.id).or_default().push((place, command));
        }
        let landings = by_template.into_iter().map(|(template, short)| async move {
            (self.land(template, shard, &short, refills).await, short)
        });
        let mut again = Short::new();
        for (landing, short) in join_all(landings).await {
            let Err(error) = landing else {
                again.extend(short);
                continue;
            };
            let outcome = Err(error.into());
            let ended = short.iter().map(|(_, command)| Settlement { command, outcome: &outcome });
            self.settle.settle(&ended.collect::<Vec<_>>());
            for (place, _) in short {
                outcomes[place] = outcome.clone();
            }
        }
        again
    }

    /// Joins the refill under way, or starts one, and waits for its end inside the deadlines.
    async fn land(
        self: &Arc<Self>,
        template: TemplateId,
        shard: ShardId,
        short: &Short,
        refills: u32,
    ) -> Landing {
        if refills >= REFILLS_MAX {
            return Err(LedgerError::Unavailable("too much contention; try again".into()));
        }
        let deadline = short.iter().map(|(_, command)| command.deadline).max();
        let deadline = deadline.unwrap_or_else(Instant::now);
        let landed = self.fly(template, shard, short);
        match tokio::time::timeout_at(deadline.into(), landed).await {
            Ok(landing) => landing,
            // Nothing of theirs was begun.
            Err(_) => Err(LedgerError::Late),
        }
    }

    /// The end of the refill under way, joined or started here. It goes on when nobody waits for it any
    /// more.
    fn fly(
        self: &Arc<Self>,
        template: TemplateId,
        shard: ShardId,
        short: &Short,
    ) -> impl Future<Output = Landing> + use<> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fresh = None;
        if flights.get(&(template, shard)).is_some_and(Flight::is_lost) {
            flights.remove(&(template, shard));
        }
        let flight = flights.entry((template, shard)).or_insert_with(|| {
            let (flight, landing) = Flight::new();
            fresh = Some(landing);
            flight
        });
        flight.need.add(short.iter().map(|(_, command)| command));
        let (landed, need) = (flight.landed(), Arc::clone(&flight.need));
        drop(flights);
        if let Some(landing) = fresh {
            let refills = Arc::clone(self);
            tokio::spawn(async move {
                let result = refills.supply(template, shard, &need).await;
                let mut flights = refills.flights.lock().unwrap_or_else(PoisonError::into_inner);
                flights.remove(&(template, shard));
                drop(flights);
                // Everybody may have left.
                let _ = landing.send(Some(result));
            });
        }
        landed
    }

    /// Brings stock to the shard, or the proof that there is none.
    async fn supply(&self, template: TemplateId, to: ShardId, need: &Need) -> Landing {
        let moving =
            || LedgerError::Unavailable("stock of the template is being moved; try again".into());
        for round in 0..ROUNDS_MAX {
            let (demand, at) = need.now();
            let (survey, sources, unread) = self.survey(template, to).await;
            match survey.decide(demand) {
                Supply::Ready => return Ok(()),
                Supply::Fetch(pieces) => {
                    if self.fetch(template, to, &sources, pieces, at).await? > 0 {
                        return Ok(());
                    }
                }
                Supply::SoldOut => {
                    self.proofs.note_issued(template, survey.issued);
                    return Ok(());
                }
                Supply::Blind => return Err(unread.unwrap_or_else(moving)),
                // It may have arrived, or be granted, just now: look a few times, further and further
                // apart.
                Supply::Search => {
                    if self.finish_of(template, at).await.map_err(without_effect)? == 0 {
                        tokio::time::sleep(flight::pause(round)).await;
                    }
                }
            }
        }
        Err(moving())
    }

    /// Counts the template's stock on all shards, as last committed, with the shards that hold some,
    /// the fullest first, and why a shard could not be asked.
    async fn survey(
        &self,
        template: TemplateId,
        to: ShardId,
    ) -> (Survey, Vec<ShardId>, Option<LedgerError>) {
        let asked = self.shards.iter().map(|shard| async move {
            let templates = [template];
            let count = stock::buckets(shard.db.latest(), &templates);
            (shard.id, in_time(COUNT_MAX, count).await)
        });
        let (mut survey, mut unread) = (Survey { complete: true, ..Survey::default() }, None);
        let mut sources = Vec::new();
        for (shard, buckets) in join_all(asked).await {
            let buckets = match buckets {
                Ok(buckets) => buckets,
                Err(error) => {
                    tracing::warn!(shard, %template, %error, "stock of a shard cannot be counted");
                    survey.complete = false;
                    unread = Some(without_effect(error));
                    continue;
                }
            };
            let left: i64 = buckets.iter().map(Bucket::left).sum();
            survey.issued += buckets.iter().map(|bucket| bucket.issued).sum::<i64>();
            if shard == to {
                survey.here = left;
            } else if left > 0 {
                survey.elsewhere += left;
                sources.push((left, shard));
            }
        }
        sources.sort_unstable_by_key(|(left, shard)| (std::cmp::Reverse(*left), *shard));
        (survey, sources.into_iter().map(|(_, shard)| shard).collect(), unread)
    }

    /// Transfers pieces from the sources in turn; says how many arrived. Fails when none arrived and a
    /// source failed.
    async fn fetch(
        &self,
        template: TemplateId,
        to: ShardId,
        sources: &[ShardId],
        wanted: i64,
        at: Timestamp,
    ) -> Result<i64, LedgerError> {
        let (mut arrived, mut failed) = (0, None);
        for from in sources {
            if arrived >= wanted {
                break;
            }
            let transfer = self.transfer(*from, (template, to), wanted - arrived, at);
            match in_time(TRANSFER_MAX, transfer).await {
                Ok(pieces) => arrived += pieces,
                Err(error) => {
                    tracing::warn!(from, to, %template, %error, "stock was not transferred");
                    failed = Some(error);
                }
            }
        }
        failed.filter(|_| arrived == 0).map_or(Ok(arrived), |error| Err(without_effect(error)))
    }

    async fn transfer(
        &self,
        from: ShardId,
        (template, to): (TemplateId, ShardId),
        wanted: i64,
        at: Timestamp,
    ) -> Result<i64, LedgerError> {
        let source = self.shard(from)?;
        let id = self.mint.operation()?;
        let sent = transfer::send(&source.db.write, id, (template, to), wanted, at).await?;
        let Some(transfer) = sent else { return Ok(0) };
        tracing::debug!(from, to, %template, pieces = transfer.pieces, "stock transferred");
        self.finish(from, transfer, at).await?;
        Ok(transfer.pieces)
    }

    /// Sees a transfer home; says whether it had not arrived before.
    async fn finish(
        &self,
        from: ShardId,
        transfer: Transfer,
        at: Timestamp,
    ) -> Result<bool, LedgerError> {
        let arrived = transfer::arrive(&self.shard(transfer.to)?.db.write, transfer, at).await?;
        transfer::close(&self.shard(from)?.db.write, transfer.id).await?;
        Ok(arrived)
    }

    /// Finishes the template's transfers, whoever has begun them; says how many were under way.
    async fn finish_of(&self, template: TemplateId, at: Timestamp) -> Result<usize, LedgerError> {
        let mut found = 0;
        for shard in self.shards.iter() {
            let db = shard.db.latest();
            let search = transfer::under_way(db, Some(template), Timestamp::MAX, SEARCH_ROWS);
            let under_way = in_time(COUNT_MAX, search).await?;
            for transfer in under_way {
                in_time(TRANSFER_MAX, self.finish(shard.id, transfer, at)).await?;
                found += 1;
            }
        }
        Ok(found)
    }

    /// Finishes up to `limit` transfers that left a shard before `before`; says how many there were.
    pub(super) async fn finish_old(
        &self,
        shard: ShardId,
        before: Timestamp,
        limit: u32,
        at: Timestamp,
    ) -> Result<usize, LedgerError> {
        let db = self.shard(shard)?.db.latest();
        let old = transfer::under_way(db, None, before, limit).await?;
        let (mut found, mut failed) = (0, None);
        for transfer in old {
            match in_time(TRANSFER_MAX, self.finish(shard, transfer, at)).await {
                Ok(_) => found += 1,
                // One shard that is away must not hold up the transfers to the others.
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(found), Err)
    }

    fn shard(&self, id: ShardId) -> Result<&Shard, LedgerError> {
        let missing = || LedgerError::Corrupt(format!("a transfer names shard {id}"));
        self.shards.get(usize::from(id)).ok_or_else(missing)
    }
}
