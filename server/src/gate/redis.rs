//! The gate in a Redis Cluster, shared by all nodes.
//!
//! Every bucket of a template has its stock and its users in two keys of one slot, and one script call
//! settles what has come of earlier claims and admits those that arrived meanwhile. Redis may lose any
//! of it: who is not known there is no stranger for that, so this gate never says that a request has
//! not won, except from the winners that a node has read in the ledger. An empty bucket does not take
//! from the others, which live elsewhere: its claims go on to the ledger, which does.

mod breaker;
mod cluster;
mod combiner;
mod entry;
mod flags;
mod group;
mod loading;
mod node;
mod slots;
mod templates;

use std::{
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak, atomic::AtomicU64},
    time::Duration,
};

use async_trait::async_trait;
use coupon_domain::{Rejection, fingerprint::hash_request_id, ids::TemplateId, template::Template};
use rustc_hash::FxHashMap;
use tokio::{runtime::Handle, sync::Notify, time::timeout};
use tokio_util::sync::CancellationToken;

use self::{
    cluster::Cluster,
    combiner::{Combiner, Shared},
    entry::{tell, under_way, user_key},
    flags::SoldOut,
    group::{Kind, Op},
    node::Script,
    templates::Local,
};
use super::{Gate, GateClaim, Recall, Verdict, winners};
use crate::{
    config::RedisConfig,
    ledger::{
        GiveCommand, Given, Holding, Ledger, LedgerError, NotGiven, Settle, Settlement,
        router::Router,
    },
};

const ADMIT: &str = include_str!("scripts/admit.lua");
const LOAD: &str = include_str!("scripts/load.lua");
/// Winners that one node keeps in memory, of all templates together: 4 bytes each.
const WINNERS_MAX: usize = 16_000_000;
/// Pause after winners could not be read.
const RETRY: Duration = Duration::from_secs(1);

/// The gate on Redis.
pub struct RedisGate {
    shared: Arc<Shared>,
    router: Router,
    key_prefix: String,
    templates_max: usize,
    templates: RwLock<FxHashMap<TemplateId, Arc<Local>>>,
    tick: AtomicU64,
    /// The one that it was loaded from last; it owns this gate, not the other way about.
    ledger: RwLock<Option<Weak<dyn Ledger>>>,
    winners_wanted: Arc<Notify>,
    stop: CancellationToken,
}

impl RedisGate {
    /// Connects to the cluster, in the background where it does not answer at once: until then claims
    /// go to the ledger. At most `templates_max` templates are remembered; beyond it the longest
    /// unused is forgotten.
    ///
    /// # Errors
    /// A configuration that the client refuses.
    pub async fn connect(
        config: &RedisConfig,
        templates_max: usize,
        router: Router,
    ) -> anyhow::Result<Arc<Self>> {
        let cluster = Arc::new(Cluster::start(config)?);
        match timeout(config.connect_timeout() * 2, cluster.look()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(error, "no redis cluster yet, claims go to the ledger")
            }
            Err(_) => tracing::warn!("no redis cluster yet, claims go to the ledger"),
        }
        tokio::spawn(Arc::clone(&cluster).keep_looking());
        let shared = Shared {
            cluster,
            admit: Script::new(ADMIT),
            load: Script::new(LOAD),
            runtime: Handle::current(),
            batch_max: config.batch_max.max(1),
            queue_max: config.queue_max.max(1),
            // Two nodes that count from the same number would take each other's calls for their own.
            attempts: AtomicU64::new(rand::random::<u64>() | 1),
        };
        let gate = Arc::new(Self {
            shared: Arc::new(shared),
            router,
            key_prefix: config.key_prefix.clone(),
            templates_max: templates_max.max(1),
            templates: RwLock::default(),
            tick: AtomicU64::new(0),
            ledger: RwLock::new(None),
            winners_wanted: Arc::default(),
            stop: CancellationToken::new(),
        });
        let wanted = Arc::clone(&gate.winners_wanted);
        tokio::spawn(find_winners(Arc::downgrade(&gate), wanted, gate.stop.clone()));
        Ok(gate)
    }

    /// Whether the cluster answers.
    ///
    /// # Errors
    /// One plain sentence: what does not answer, and what to do.
    pub async fn health(&self) -> Result<(), String> {
        self.shared.cluster.health().await
    }

    /// Closes the connections; claims go to the ledger from now on.
    pub async fn close(&self) {
        self.stop.cancel();
        self.shared.cluster.close().await;
    }

    fn read_templates(&self) -> RwLockReadGuard<'_, FxHashMap<TemplateId, Arc<Local>>> {
        self.templates.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_templates(&self) -> RwLockWriteGuard<'_, FxHashMap<TemplateId, Arc<Local>>> {
        self.templates.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn ledger(&self) -> Option<Arc<dyn Ledger>> {
        let ledger = self.ledger.read().unwrap_or_else(PoisonError::into_inner);
        ledger.as_ref().and_then(Weak::upgrade)
    }

    fn know(&self, ledger: &Arc<dyn Ledger>) {
        let known = self.ledger().is_some_and(|known| Arc::ptr_eq(&known, ledger));
        if !known {
            *self.ledger.write().unwrap_or_else(PoisonError::into_inner) =
                Some(Arc::downgrade(ledger));
        }
        self.winners_wanted.notify_one();
    }

    fn bucket(&self, template: TemplateId, local: &Local, claim: GateClaim) -> Arc<Combiner> {
        self.combiner(template, local, local.index(&self.router, claim.user))
    }

    /// Templates that are sold out and whose winners are not known; and how many winners are.
    fn unfiltered(&self) -> (FxHashMap<TemplateId, i64>, usize) {
        let templates = self.read_templates();
        let known = templates.values().map(|local| local.flags.winners()).sum();
        let wanted = templates
            .iter()
            .filter_map(|(template, local)| Some((*template, local.flags.unfiltered()?)));
        (wanted.collect(), known)
    }

    /// Reads winners; false when some are still wanted.
    async fn read_winners(&self) -> bool {
        let Some(ledger) = self.ledger() else { return true };
        let (wanted, known) = self.unfiltered();
        if wanted.is_empty() {
            return true;
        }
        let room = WINNERS_MAX.saturating_sub(known);
        let found = match winners::load(ledger.as_ref(), &wanted, room).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, templates = wanted.len(), "winners not read");
                return false;
            }
        };
        let whole = found.len() == wanted.len();
        for (template, winners) in found {
            if let (Some(local), Some(total)) = (self.find(template), wanted.get(&template)) {
                local.flags.filter(*total, winners);
            }
        }
        whole
    }

    /// What a settlement tells its bucket; `None` when nothing changes there.
    fn learn(&self, local: &Local, command: &GiveCommand, outcome: &Outcome) -> Option<Op> {
        let (user, request) = (user_key(command.user), hash_request_id(&command.request_id));
        let give_back = || Some(Op::other(user, Kind::GiveBack, request, &[]));
        match outcome {
            Ok(given) => given_op(command, given, request),
            Err(NotGiven::Failed(LedgerError::Unknown(_))) => {
                let entry = under_way(request, command.fingerprint, 0, 0);
                Some(Op::other(user, Kind::Unknown, request, &entry))
            }
            Err(NotGiven::Refused(Rejection::SoldOut)) if command.pieces == 1 => {
                if local.flags.prove(command.template.total) {
                    self.winners_wanted.notify_one();
                }
                Some(Op::other(user, Kind::SoldOut, request, &[]))
            }
            // This request has not won, not in an earlier try either.
            Err(NotGiven::Refused(Rejection::SoldOut | Rejection::LimitReached)) => give_back(),
            Err(_) if command.holds_unit => give_back(),
            Err(_) => None,
        }
    }
}

type Outcome = Result<Given, NotGiven>;

fn given_op(command: &GiveCommand, given: &Given, request_hash: u64) -> Option<Op> {
    let GiveCommand { user, fingerprint, .. } = *command;
    let of = |coupon: &_| Holding { user, coupon: *coupon, request_hash, fingerprint };
    let holdings: Vec<Holding> = given.coupons.iter().map(of).collect();
    match holdings.as_slice() {
        [one] if command.pieces == 1 && command.holds_unit && !given.replayed => {
            Some(Op::Won(user_key(user), entry::coupon(one)))
        }
        all => Op::coupons(Kind::Gave, all, given.replayed, command.holds_unit, command.pieces),
    }
}

/// Reads the winners of templates that are sold out, as long as the gate lives.
async fn find_winners(gate: Weak<RedisGate>, wanted: Arc<Notify>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = wanted.notified() => {}
        }
        loop {
            let Some(gate) = gate.upgrade() else { return };
            if gate.read_winners().await {
                break;
            }
            drop(gate);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }
}

impl Drop for RedisGate {
    fn drop(&mut self) {
        self.stop.cancel();
        let cluster = Arc::clone(&self.shared.cluster);
        self.shared.runtime.spawn(async move { cluster.close().await });
    }
}

#[async_trait]
impl Gate for RedisGate {
    async fn admit(&self, template: &Template, claim: GateClaim) -> Verdict {
        let local = self.local(template);
        let bucket = self.bucket(template.id, &local, claim);
        let limit = template.rules.per_user_limit;
        if local.flags.is_distrusted() {
            return if bucket.is_avoided() { Verdict::Dry } else { Verdict::NotLoaded };
        }
        match local.flags.sold_out(template.total, claim.user) {
            SoldOut::Never => Verdict::SoldOut,
            // The winners are read from the ledger that a load makes known.
            SoldOut::Unfiltered if self.ledger().is_none() => Verdict::NotLoaded,
            SoldOut::Unproven | SoldOut::Unfiltered => bucket.admit(claim, limit).await,
            SoldOut::Perhaps => {
                let Some(seen) = bucket.look(claim).await else { return Verdict::Dry };
                let told = tell(&seen, claim);
                match told.same {
                    Recall::Replay(holding) => Verdict::Replay(holding),
                    Recall::KeyReused => Verdict::KeyReused,
                    Recall::Unknown => Verdict::Pending,
                    Recall::Nothing if told.coupons >= limit => Verdict::Limit,
                    Recall::Nothing => Verdict::Dry,
                }
            }
        }
    }

    async fn recall(&self, template: &Template, claim: GateClaim) -> Recall {
        let local = self.local(template);
        if local.flags.sold_out(template.total, claim.user) == SoldOut::Never {
            return Recall::Nothing;
        }
        let Some(seen) = self.bucket(template.id, &local, claim).look(claim).await else {
            return Recall::Unknown;
        };
        match tell(&seen, claim).same {
            // What was written may have been lost.
            Recall::Nothing => Recall::Unknown,
            known => known,
        }
    }

    fn give_back(&self, template: TemplateId, claim: GateClaim) {
        let Some(local) = self.find(template) else { return };
        let op = Op::other(user_key(claim.user), Kind::GiveBack, claim.request_hash, &[]);
        self.bucket(template, &local, claim).settle([op]);
    }

    async fn load(
        &self,
        ledger: &Arc<dyn Ledger>,
        templates: &[Arc<Template>],
    ) -> Result<(), LedgerError> {
        self.know(ledger);
        self.load_all(ledger.as_ref(), templates).await
    }

    fn forget(&self, template: TemplateId) {
        if let Some(local) = self.find(template) {
            local.flags.forget();
        }
    }
}

impl Settle for RedisGate {
    fn settle(&self, group: &[Settlement<'_>]) {
        let mut ops: FxHashMap<(TemplateId, usize), (Arc<Local>, Vec<Op>)> = FxHashMap::default();
        for Settlement { command, outcome } in group {
            let template = command.template.id;
            let local = self.local(&command.template);
            let Some(op) = self.learn(&local, command, outcome) else { continue };
            let index = local.index(&self.router, command.user);
            ops.entry((template, index)).or_insert_with(|| (local, Vec::new())).1.push(op);
        }
        for ((template, index), (local, ops)) in ops {
            self.combiner(template, &local, index).settle(ops);
        }
    }
}
