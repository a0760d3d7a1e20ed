//! Loading: stock, and holders as far as they are few, from the ledger into Redis.
//!
//! A token is left in every bucket before the ledger is read, and the stock is set only if it still
//! stands: whoever began later has read the ledger later. Holders are learned from outcomes anyway: one
//! who is not known here is admitted, and the ledger finds the replay or the limit. So only templates
//! with few of them are filled in beforehand, and a sale goes on soon after Redis has lost everything.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use coupon_domain::{ids::TemplateId, template::Template};
use fred::prelude::Value;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use rustc_hash::FxHashMap;

use super::{
    RedisGate,
    cluster::Failure,
    combiner::Combiner,
    group::{Kind, LIFE_MS, Op},
    node::Command,
    templates::Local,
};
use crate::{
    gate::winners::walk,
    ledger::{Ledger, LedgerError},
};

/// Coupons of a template that are filled in before its stock is set.
const FILL_MAX: i64 = 50_000;
/// Steps of the walk that finds them.
const FILL_STEPS: usize = 20;
/// Commands of one load in flight.
const PIPELINED: usize = 64;
/// How long a token stands, in milliseconds.
const TOKEN_MS: i64 = 60_000;

/// A template to be loaded, and the buckets that are.
struct Wanted {
    template: TemplateId,
    local: Arc<Local>,
    replace: bool,
    buckets: Vec<(usize, Arc<Combiner>)>,
}

/// What the ledger has of a template.
struct Stock {
    token: Bytes,
    /// By index of the bucket.
    left: FxHashMap<usize, i64>,
    /// Coupons given by all buckets.
    issued: i64,
}

fn failed(failure: Failure) -> LedgerError {
    let why = match failure {
        Failure::NotSent => "its primary is being left alone".to_owned(),
        Failure::Busy => "its primary has too much to do".to_owned(),
        Failure::Silent => "its primary did not answer".to_owned(),
        Failure::Refused(error) | Failure::Failed(error) => error,
    };
    LedgerError::Unavailable(format!("redis cannot be loaded: {why}"))
}

/// Many calls, some of them in flight at a time.
async fn pipelined<T>(
    calls: Vec<impl Future<Output = Result<T, Failure>>>,
) -> Result<Vec<T>, LedgerError> {
    stream::iter(calls).buffer_unordered(PIPELINED).try_collect().await.map_err(failed)
}

impl RedisGate {
    pub(super) async fn load_all(
        &self,
        ledger: &dyn Ledger,
        templates: &[Arc<Template>],
    ) -> Result<(), LedgerError> {
        let mut wanted = Vec::new();
        for template in templates {
            wanted.extend(self.wanted(template).await?);
        }
        let (mut read, mut few) = (Vec::new(), Vec::new());
        for one in &wanted {
            let stock = self.read_stock(ledger, one).await?;
            // What is replaced has lost its stock, not its holders.
            if !one.replace && (1..=FILL_MAX).contains(&stock.issued) {
                few.push(one.template);
            }
            read.push(stock);
        }
        // After the stock was read: whatever it has counted is known before it is set, and its outcome
        // is not counted again.
        self.fill(ledger, &wanted, &few).await?;
        for (one, stock) in wanted.iter().zip(read) {
            self.set_stock(one, stock).await?;
        }
        Ok(())
    }

    /// The buckets of a template that are not loaded; all when what is there is not to be trusted.
    async fn wanted(&self, template: &Template) -> Result<Option<Wanted>, LedgerError> {
        let local = self.local(template);
        let replace = local.flags.is_distrusted();
        let all: Vec<_> = (0..local.len())
            .map(|index| self.is_missing(index, self.combiner(template.id, &local, index), replace))
            .collect();
        let missing: Vec<Option<_>> = pipelined(all).await?;
        let buckets: Vec<_> = missing.into_iter().flatten().collect();
        let template = template.id;
        Ok((!buckets.is_empty()).then_some(Wanted { template, local, replace, buckets }))
    }

    async fn is_missing(
        &self,
        index: usize,
        bucket: Arc<Combiner>,
        replace: bool,
    ) -> Result<Option<(usize, Arc<Combiner>)>, Failure> {
        if replace {
            return Ok(Some((index, bucket)));
        }
        let command = Command::exists(&bucket.keys.stock);
        let exists = self.shared.cluster.call(bucket.keys.slot, command).await?;
        Ok((exists.as_i64() == Some(0)).then_some((index, bucket)))
    }

    /// Enters the holders of templates that have few, as far as they are found in a few steps.
    async fn fill(
        &self,
        ledger: &dyn Ledger,
        wanted: &[Wanted],
        few: &[TemplateId],
    ) -> Result<(), LedgerError> {
        if few.is_empty() {
            return Ok(());
        }
        let places: FxHashMap<TemplateId, &Wanted> =
            wanted.iter().map(|one| (one.template, one)).collect();
        let mut ops: FxHashMap<(TemplateId, usize), VecDeque<Op>> = FxHashMap::default();
        let mut steps = 0;
        walk(ledger, few, |rows| {
            for (template, holding) in rows {
                let Some(one) = places.get(template) else { continue };
                let index = one.local.index(&self.router, holding.user);
                let op = Op::coupons(Kind::Holds, &[*holding], false, false, 1);
                ops.entry((*template, index)).or_default().extend(op);
            }
            steps += 1;
            steps < FILL_STEPS
        })
        .await?;
        let mut fills = Vec::with_capacity(ops.len());
        for ((template, index), ops) in ops {
            if let Some(one) = places.get(&template) {
                let bucket = self.combiner(template, &one.local, index);
                fills.push(async move { bucket.fill(ops).await });
            }
        }
        pipelined(fills).await.map(drop)
    }

    /// Leaves a token in every bucket, and reads what the ledger has.
    async fn read_stock(&self, ledger: &dyn Ledger, wanted: &Wanted) -> Result<Stock, LedgerError> {
        let token = Bytes::from(rand::random::<u128>().to_string());
        let mut tokens = Vec::with_capacity(wanted.buckets.len());
        for (_, bucket) in &wanted.buckets {
            let command = Command::set(&bucket.keys.token, token.clone(), TOKEN_MS);
            tokens.push(self.shared.cluster.call(bucket.keys.slot, command));
        }
        pipelined(tokens).await?;
        let rows = ledger.buckets(wanted.template).await?;
        let issued = rows.iter().map(|(_, row)| row.issued).sum();
        let left = rows
            .iter()
            .map(|(shard, row)| (wanted.local.place(*shard, row.key.bucket), row.left().max(0)));
        Ok(Stock { token, left: left.collect(), issued })
    }

    async fn set_stock(&self, wanted: &Wanted, stock: Stock) -> Result<(), LedgerError> {
        let mut sets = Vec::with_capacity(wanted.buckets.len());
        for (index, bucket) in &wanted.buckets {
            let keys = &bucket.keys;
            let args = vec![
                Value::Bytes(stock.token.clone()),
                stock.left.get(index).copied().unwrap_or(0).into(),
                i64::from(wanted.replace).into(),
                LIFE_MS.into(),
            ];
            let all = [keys.stock.clone(), keys.users.clone(), keys.token.clone()];
            let command = Command::script(&self.shared.load, &all, args);
            sets.push(self.shared.cluster.call(keys.slot, command));
        }
        let set = pipelined(sets).await?;
        // Where another load has begun meanwhile, it sets what it has read later.
        let loaded = set.iter().filter(|answer| answer.as_i64() == Some(1)).count();
        tracing::debug!(template = wanted.template.get(), loaded, of = set.len(), "gate loaded");
        wanted.local.flags.trust();
        Ok(())
    }
}
