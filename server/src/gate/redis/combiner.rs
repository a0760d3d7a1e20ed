//! What arrives for one bucket while a call is in flight travels in the next one; nothing waits for a
//! timer. One call per bucket is in flight at a time, and few at one primary; those are pipelined.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use fred::util::redis_keyslot;
use rustc_hash::FxHashSet;
use tokio::{runtime::Handle, sync::oneshot};

use super::{
    cluster::{Cluster, Failure},
    entry::{UserKey, under_way, user_key},
    flags::Flags,
    group::{Group, Kind, Looking, Op, Reply, Waiting},
    node::{Command, Script},
};
use crate::gate::{GateClaim, Verdict};

/// What all combiners of a gate share.
pub(super) struct Shared {
    pub(super) cluster: Arc<Cluster>,
    pub(super) admit: Script,
    pub(super) load: Script,
    /// Tasks run here, whichever thread asks for them.
    pub(super) runtime: Handle,
    /// Members of one call, at most.
    pub(super) batch_max: usize,
    /// Claims that wait at one bucket, and settlements, at most.
    pub(super) queue_max: usize,
    /// Tells one call from another; never 0.
    pub(super) attempts: AtomicU64,
}

/// The keys of a bucket, all in one slot.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    pub(super) slot: u16,
    pub(super) stock: Bytes,
    pub(super) users: Bytes,
    pub(super) token: Bytes,
}

impl Keys {
    /// Of bucket `bucket` of a template on a shard.
    pub(super) fn new(prefix: &str, template: i64, shard: u16, bucket: u16) -> Self {
        let key =
            |last: &str| Bytes::from(format!("{prefix}:{{{template}:{shard}.{bucket}}}:{last}"));
        let stock = key("stock");
        let slot = redis_keyslot(&stock);
        Self { slot, stock, users: key("users"), token: key("load") }
    }
}

#[derive(Default)]
struct Queue {
    ops: VecDeque<Op>,
    claims: VecDeque<Waiting>,
    looks: VecDeque<Looking>,
    /// A task is emptying it.
    running: bool,
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.ops.is_empty() && self.claims.is_empty() && self.looks.is_empty()
    }
}

/// The queue of a bucket.
pub(super) struct Combiner {
    shared: Arc<Shared>,
    flags: Arc<Flags>,
    pub(super) keys: Keys,
    queue: Mutex<Queue>,
}

impl Combiner {
    pub(super) fn new(shared: Arc<Shared>, flags: Arc<Flags>, keys: Keys) -> Self {
        Self { shared, flags, keys, queue: Mutex::default() }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the queue, and sees to it that somebody empties it.
    fn change(self: &Arc<Self>, change: impl FnOnce(&mut Queue)) {
        let idle = {
            let mut queue = self.queue();
            change(&mut queue);
            !std::mem::replace(&mut queue.running, true)
        };
        if idle {
            self.shared.runtime.spawn(Arc::clone(self).run());
        }
    }

    /// Judges a claim.
    pub(super) async fn admit(self: &Arc<Self>, claim: GateClaim, limit: i32) -> Verdict {
        if self.is_avoided() || self.queue().claims.len() >= self.shared.queue_max {
            return Verdict::Dry;
        }
        let (reply, verdict) = oneshot::channel();
        let attempt = self.shared.attempts.fetch_add(1, Ordering::Relaxed).max(1);
        let under_way = under_way(claim.request_hash, claim.fingerprint, 1, attempt);
        let user = user_key(claim.user);
        let waiting = Waiting { claim, user, under_way, limit, reply };
        self.change(|queue| queue.claims.push_back(waiting));
        verdict.await.unwrap_or(Verdict::Dry)
    }

    /// What is known of a user, after all that was settled before; `None` when nobody can say.
    pub(super) async fn look(self: &Arc<Self>, claim: GateClaim) -> Option<Bytes> {
        if self.is_avoided() || self.queue().looks.len() >= self.shared.queue_max {
            return None;
        }
        let (reply, seen) = oneshot::channel();
        let user = user_key(claim.user);
        self.change(|queue| queue.looks.push_back(Looking { user, reply }));
        seen.await.ok().flatten()
    }

    /// Enters what became of claims. Does not wait. What does not fit is forgotten, and the template
    /// loaded again.
    pub(super) fn settle(self: &Arc<Self>, ops: impl IntoIterator<Item = Op>) {
        self.change(|queue| queue.ops.extend(ops));
        self.bound_ops();
    }

    /// Whether calls are being kept away from its primary.
    pub(super) fn is_avoided(&self) -> bool {
        self.shared.cluster.is_avoided(self.keys.slot)
    }

    /// Enters holders; answers when they are entered.
    pub(super) async fn fill(&self, mut ops: VecDeque<Op>) -> Result<(), Failure> {
        while !ops.is_empty() {
            let ops = take_distinct(&mut ops, self.shared.batch_max, |op| *op.user());
            self.call(&Group { ops, ..Group::default() }).await?;
        }
        Ok(())
    }

    async fn call(&self, group: &Group) -> Result<Reply, Failure> {
        let keys = [self.keys.stock.clone(), self.keys.users.clone()];
        let command = Command::script(&self.shared.admit, &keys, group.args());
        let answer = self.shared.cluster.call(self.keys.slot, command).await?;
        let unreadable = || Failure::Failed("its answer cannot be read".to_owned());
        Reply::read(answer, group).ok_or_else(unreadable)
    }

    fn bound_ops(&self) {
        let mut queue = self.queue();
        if queue.ops.len() > self.shared.queue_max {
            let beyond = queue.ops.len() - self.shared.queue_max;
            queue.ops.drain(..beyond);
            self.flags.distrust();
        }
    }

    /// Whether anything waits; if not, the next to come starts a task again.
    fn is_wanted(&self) -> bool {
        let mut queue = self.queue();
        queue.running = !queue.is_empty();
        queue.running
    }

    async fn run(self: Arc<Self>) {
        while self.is_wanted() {
            let turn = self.shared.cluster.turn(self.keys.slot).await;
            let group = take(&mut self.queue(), self.shared.batch_max);
            let goes_on = match turn {
                Ok(_turn) => self.send(group).await,
                Err(failure) => self.give_up(group, &failure),
            };
            if !goes_on {
                return;
            }
        }
    }

    /// Makes one call; false when the primary is left alone, so that what is to be settled waits for
    /// the next claim.
    async fn send(&self, group: Group) -> bool {
        match self.call(&group).await {
            Ok(reply) => {
                if reply.disagrees {
                    self.flags.distrust();
                }
                for (waiting, verdict) in group.claims.into_iter().zip(reply.verdicts) {
                    // A claim whose caller has gone is settled by nobody: its unit goes back.
                    if let Err(Verdict::Admitted) = waiting.reply.send(verdict) {
                        self.queue().ops.push_back(undo(&waiting.user, &waiting.under_way));
                    }
                }
                for (looking, seen) in group.looks.into_iter().zip(reply.seen) {
                    let _ = looking.reply.send(Some(seen));
                }
                true
            }
            Err(failure) => self.give_up(group, &failure),
        }
    }

    /// Sends everybody who waits on to the ledger; says whether to go on at once.
    fn give_up(&self, group: Group, failure: &Failure) -> bool {
        let mut queue = self.queue();
        let mut back: Vec<Op> = match failure {
            // They may be the reason; the load that follows makes up for them.
            Failure::Failed(_) => {
                self.flags.distrust();
                Vec::new()
            }
            _ => group.ops,
        };
        if *failure == Failure::Silent {
            // They may have been admitted, and go on as if they had not.
            back.extend(group.claims.iter().map(|claim| undo(&claim.user, &claim.under_way)));
        }
        for op in back.into_iter().rev() {
            queue.ops.push_front(op);
        }
        let (claims, looks) = (std::mem::take(&mut queue.claims), std::mem::take(&mut queue.looks));
        let stops = matches!(failure, Failure::NotSent | Failure::Refused(_));
        queue.running = !stops;
        drop(queue);
        self.bound_ops();
        for waiting in group.claims.into_iter().chain(claims) {
            let _ = waiting.reply.send(Verdict::Dry);
        }
        for looking in group.looks.into_iter().chain(looks) {
            let _ = looking.reply.send(None);
        }
        !stops
    }
}

/// Gives the unit of one attempt back, if it was set aside.
fn undo(user: &UserKey, under_way: &[u8; 32]) -> Op {
    let [a, b, c, d, e, f, g, h, ..] = *under_way;
    let request_hash = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    Op::other(*user, Kind::Attempt, request_hash, &under_way[24..])
}

/// The next call: what came first, but no user twice among those to be settled, nor among those who
/// claim.
fn take(queue: &mut Queue, batch_max: usize) -> Group {
    let looks = queue.looks.len().min(batch_max);
    Group {
        ops: take_distinct(&mut queue.ops, batch_max, |op| *op.user()),
        claims: take_distinct(&mut queue.claims, batch_max, |claim| claim.user),
        looks: queue.looks.drain(..looks).collect(),
    }
}

fn take_distinct<T>(queue: &mut VecDeque<T>, max: usize, user: impl Fn(&T) -> UserKey) -> Vec<T> {
    let mut taken = Vec::with_capacity(queue.len().min(max));
    let mut users = FxHashSet::default();
    let mut left = Vec::new();
    while taken.len() < max {
        let Some(next) = queue.pop_front() else { break };
        if users.insert(user(&next)) { taken.push(next) } else { left.push(next) }
    }
    for next in left.into_iter().rev() {
        queue.push_front(next);
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    // Two words about one user are said one after the other, and in their order.
    #[test]
    fn a_user_stands_once_in_a_call() {
        let mut queue: VecDeque<(u8, u32)> =
            [(1, 0), (2, 1), (1, 2), (3, 3), (1, 4), (2, 5)].into();
        let user = |(user, _): &(u8, u32)| [*user; 8];
        assert_eq!(take_distinct(&mut queue, 9, user), [(1, 0), (2, 1), (3, 3)]);
        assert_eq!(take_distinct(&mut queue, 1, user), [(1, 2)]);
        assert_eq!(take_distinct(&mut queue, 9, user), [(1, 4), (2, 5)]);
        assert!(queue.is_empty());
    }

    #[test]
    fn the_keys_of_a_bucket_share_a_slot() {
        let keys = Keys::new("coupon", 17, 2, 3);
        assert_eq!(keys.stock, Bytes::from_static(b"coupon:{17:2.3}:stock"));
        assert_eq!(redis_keyslot(&keys.users), keys.slot);
        assert_eq!(redis_keyslot(&keys.token), keys.slot);
    }
}
