//! The part of a gate that is about one template: its flags, and a combiner for each bucket in use.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use coupon_domain::{
    ids::{TemplateId, UserId},
    template::Template,
};

use super::{
    RedisGate,
    combiner::{Combiner, Keys},
    flags::Flags,
};
use crate::ledger::{ShardId, router::Router};

/// One template's part.
pub(super) struct Local {
    pub(super) flags: Arc<Flags>,
    /// On each shard.
    buckets: u16,
    combiners: Box<[OnceLock<Arc<Combiner>>]>,
    /// For evicting the longest unused.
    used: AtomicU64,
}

impl Local {
    fn new(shards: u16, buckets: u16) -> Self {
        let buckets = buckets.max(1);
        let all = usize::from(shards) * usize::from(buckets);
        Self {
            flags: Arc::default(),
            buckets,
            combiners: (0..all).map(|_| OnceLock::new()).collect(),
            used: AtomicU64::new(0),
        }
    }

    /// Buckets on all shards.
    pub(super) fn len(&self) -> usize {
        self.combiners.len()
    }

    /// The index of a bucket.
    pub(super) fn place(&self, shard: ShardId, bucket: u16) -> usize {
        usize::from(shard) * usize::from(self.buckets) + usize::from(bucket)
    }

    /// The index of the bucket that a user draws from.
    pub(super) fn index(&self, router: &Router, user: UserId) -> usize {
        self.place(router.shard_of_user(user), user.slot().bucket(self.buckets))
    }
}

impl RedisGate {
    /// The template's part; made when it is missing, beyond the bound in place of the longest unused.
    pub(super) fn local(&self, template: &Template) -> Arc<Local> {
        let now = self.tick.fetch_add(1, Ordering::Relaxed);
        if let Some(local) = self.find(template.id) {
            local.used.store(now, Ordering::Relaxed);
            return local;
        }
        let made = Arc::new(Local::new(self.router.shards(), template.buckets));
        made.used.store(now, Ordering::Relaxed);
        let mut templates = self.write_templates();
        let local = Arc::clone(templates.entry(template.id).or_insert(made));
        while templates.len() > self.templates_max {
            let unused = templates.iter().min_by_key(|(_, one)| one.used.load(Ordering::Relaxed));
            let Some(id) = unused.map(|(id, _)| *id) else { break };
            // A call in flight keeps its combiner until it has ended.
            templates.remove(&id);
        }
        local
    }

    /// The template's part, if there is one.
    pub(super) fn find(&self, template: TemplateId) -> Option<Arc<Local>> {
        self.read_templates().get(&template).map(Arc::clone)
    }

    /// The combiner of a bucket.
    pub(super) fn combiner(
        &self,
        template: TemplateId,
        local: &Local,
        index: usize,
    ) -> Arc<Combiner> {
        let make = || {
            let buckets = usize::from(local.buckets);
            let number = |index: usize| u16::try_from(index).unwrap_or(u16::MAX);
            let (shard, bucket) = (number(index / buckets), number(index % buckets));
            let keys = Keys::new(&self.key_prefix, template.get(), shard, bucket);
            Arc::new(Combiner::new(Arc::clone(&self.shared), Arc::clone(&local.flags), keys))
        };
        Arc::clone(local.combiners[index].get_or_init(make))
    }
}
