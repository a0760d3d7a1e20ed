//! The gate in process memory: sub-stock buckets, each with the users that draw from it.

mod bucket;

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, RwLock,
    atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
};

use async_trait::async_trait;
use coupon_domain::{
    Rejection,
    ids::{TemplateId, UserId},
    stock::plan_moves,
    template::Template,
};
use rustc_hash::FxHashMap;

use self::bucket::{Bucket, Decision};
use super::{Gate, GateClaim, Recall, Verdict};
use crate::ledger::{Ledger, LedgerError, NotGiven, Settle, Settlement};

/// Rows of one step of a load.
const LOAD_ROWS: u32 = 10_000;
/// No total has been proven sold out.
const NEVER: i64 = -1;

/// The embedded gate.
pub struct EmbeddedGate {
    templates_max: usize,
    templates: RwLock<FxHashMap<TemplateId, Arc<TemplateGate>>>,
    tick: AtomicU64,
}

/// One template's part.
struct TemplateGate {
    buckets: Box<[Mutex<Bucket>]>,
    /// False until every holder is known.
    loaded: AtomicBool,
    /// The total for which "sold out" is proven.
    sold_out_for: AtomicI64,
    /// For evicting the longest unused.
    used: AtomicU64,
}

/// A lock that survives a panic elsewhere: the gate may lie, so half a change does no harm.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TemplateGate {
    fn new(buckets: u16) -> Self {
        Self {
            buckets: (0..buckets.max(1)).map(|_| Mutex::new(Bucket::default())).collect(),
            loaded: AtomicBool::new(false),
            sold_out_for: AtomicI64::new(NEVER),
            used: AtomicU64::new(0),
        }
    }

    fn bucket_of(&self, user: UserId) -> usize {
        let buckets = u16::try_from(self.buckets.len()).unwrap_or(u16::MAX);
        usize::from(user.slot().bucket(buckets))
    }

    fn bucket(&self, user: UserId) -> MutexGuard<'_, Bucket> {
        lock(&self.buckets[self.bucket_of(user)])
    }

    fn admit(&self, template: &Template, claim: GateClaim) -> Verdict {
        let sold_out = self.sold_out_for.load(Ordering::Acquire) == template.total;
        let decision = self.bucket(claim.user).admit(template, claim, sold_out);
        match decision {
            Decision::Verdict(verdict) => verdict,
            Decision::Empty if self.refill(claim.user) => {
                match self.bucket(claim.user).admit(template, claim, sold_out) {
                    Decision::Verdict(verdict) => verdict,
                    Decision::Empty => Verdict::Dry,
                }
            }
            Decision::Empty => Verdict::Dry,
        }
    }

    /// Carries pieces from the fullest other bucket to the user's; false when none has any.
    fn refill(&self, user: UserId) -> bool {
        let to = self.bucket_of(user);
        let left: Vec<i64> = self.buckets.iter().map(|bucket| lock(bucket).stock).collect();
        for step in plan_moves(&left, to, left[to].max(0) + 1) {
            let taken = {
                let mut from = lock(&self.buckets[step.from]);
                let taken = step.pieces.min(from.stock);
                from.stock -= taken;
                taken
            };
            lock(&self.buckets[to]).stock += taken;
        }
        lock(&self.buckets[to]).stock > 0
    }
}

impl EmbeddedGate {
    /// An empty gate for at most `templates_max` templates; beyond it the longest unused is
    /// forgotten.
    pub fn new(templates_max: usize) -> Self {
        Self {
            templates_max: templates_max.max(1),
            templates: RwLock::default(),
            tick: AtomicU64::new(0),
        }
    }

    fn find(&self, id: TemplateId) -> Option<Arc<TemplateGate>> {
        let templates = self.templates.read().unwrap_or_else(PoisonError::into_inner);
        templates.get(&id).map(Arc::clone)
    }

    /// The template's part when all is known of it.
    fn loaded(&self, id: TemplateId) -> Option<Arc<TemplateGate>> {
        self.find(id).filter(|gate| gate.loaded.load(Ordering::Acquire))
    }

    /// Makes room and an empty part, which learns from settlements while it is being loaded.
    fn begin(&self, template: &Template) -> Arc<TemplateGate> {
        let gate = Arc::new(TemplateGate::new(template.buckets));
        let now = self.tick.fetch_add(1, Ordering::Relaxed);
        gate.used.store(now, Ordering::Relaxed);
        let mut templates = self.templates.write().unwrap_or_else(PoisonError::into_inner);
        templates.insert(template.id, Arc::clone(&gate));
        while templates.len() > self.templates_max {
            let unused = templates.iter().min_by_key(|(_, gate)| gate.used.load(Ordering::Relaxed));
            let Some(id) = unused.map(|(id, _)| *id) else { break };
            templates.remove(&id);
        }
        gate
    }

    async fn load_holders(
        &self,
        ledger: &dyn Ledger,
        templates: &[TemplateId],
        gates: &FxHashMap<TemplateId, Arc<TemplateGate>>,
    ) -> Result<(), LedgerError> {
        for shard in 0..ledger.shards() {
            let mut after = Some(0);
            while let Some(cursor) = after {
                let (rows, next) = ledger.holdings(shard, templates, cursor, LOAD_ROWS).await?;
                for (template, holding) in rows {
                    if let Some(gate) = gates.get(&template) {
                        gate.bucket(holding.user).hold(holding);
                    }
                }
                after = next;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Gate for EmbeddedGate {
    async fn admit(&self, template: &Template, claim: GateClaim) -> Verdict {
        let Some(gate) = self.loaded(template.id) else { return Verdict::NotLoaded };
        gate.used.store(self.tick.load(Ordering::Relaxed), Ordering::Relaxed);
        gate.admit(template, claim)
    }

    async fn recall(&self, template: &Template, claim: GateClaim) -> Recall {
        let Some(gate) = self.loaded(template.id) else { return Recall::Unknown };
        gate.bucket(claim.user).recall(claim)
    }

    fn give_back(&self, template: TemplateId, claim: GateClaim) {
        if let Some(gate) = self.find(template) {
            gate.bucket(claim.user).give_back(claim.user, claim.request_hash);
        }
    }

    async fn load(
        &self,
        ledger: &Arc<dyn Ledger>,
        templates: &[Arc<Template>],
    ) -> Result<(), LedgerError> {
        let wanted: Vec<&Arc<Template>> =
            templates.iter().filter(|template| self.loaded(template.id).is_none()).collect();
        let gates: FxHashMap<TemplateId, Arc<TemplateGate>> =
            wanted.iter().map(|template| (template.id, self.begin(template))).collect();
        let mut with_holders = Vec::new();
        for template in &wanted {
            let buckets = ledger.buckets(template.id).await?;
            let Some(gate) = gates.get(&template.id) else { continue };
            for (_, row) in &buckets {
                if let Some(bucket) = gate.buckets.get(usize::from(row.key.bucket)) {
                    lock(bucket).stock += row.left();
                }
            }
            if buckets.iter().any(|(_, row)| row.issued > 0) {
                with_holders.push(template.id);
            }
        }
        if !with_holders.is_empty() {
            self.load_holders(ledger.as_ref(), &with_holders, &gates).await?;
        }
        for gate in gates.values() {
            gate.loaded.store(true, Ordering::Release);
        }
        Ok(())
    }

    fn forget(&self, template: TemplateId) {
        self.templates.write().unwrap_or_else(PoisonError::into_inner).remove(&template);
    }
}

impl Settle for EmbeddedGate {
    fn settle(&self, group: &[Settlement<'_>]) {
        for Settlement { command, outcome } in group {
            let Some(gate) = self.find(command.template.id) else { continue };
            let mut bucket = gate.bucket(command.user);
            match outcome {
                Ok(given) => bucket.settle_given(command, given),
                Err(NotGiven::Failed(LedgerError::Unknown(_))) => bucket.settle_unknown(command),
                Err(NotGiven::Refused(Rejection::SoldOut)) => {
                    bucket.drop_pending(command);
                    if command.pieces == 1 {
                        drop(bucket);
                        gate.sold_out_for.store(command.template.total, Ordering::Release);
                    }
                }
                Err(NotGiven::Refused(Rejection::LimitReached)) => bucket.settle_refused(command),
                Err(_) => bucket.settle_nothing(command),
            }
        }
    }
}
