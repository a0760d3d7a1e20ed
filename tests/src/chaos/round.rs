//! One fault: calm, broken, mended, calm, and then the judgement.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use anyhow::Context as _;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{
    checker::{self, Rule, Verdict, Violation},
    ground::{Field, Ground},
    load::{Ask, Load, LoadOptions, OrderKey, Pace, Shop, connect},
    log::{Op, Outcome, Verb, goodput},
    nemesis::{Fault, LAST_PRIMARY, Nemesis},
    stage::{Stage, patient},
};

/// How long after everything is mended a node may take to serve again.
const SERVES_AGAIN: Duration = Duration::from_secs(60);
/// How long a request is sent again once the load ends.
const PATIENCE: Duration = Duration::from_secs(60);
/// I9: how long after everything is mended an outcome may stay unknown.
const SETTLED: Duration = Duration::from_secs(30);
/// Fresh users in a row whose claims a node must win to be serving; enough to meet every shard.
const PROBES: i64 = 8;
const PROBE_PAUSE: Duration = Duration::from_millis(100);
/// Where the ids of users who probe begin, behind those of the shoppers.
const PROBE_USERS: i64 = 900_000;

/// The last digits of a user's id give the slot.
const SLOTS: i64 = 10_000;

/// What a round is made of.
#[derive(Clone, Debug)]
pub struct RoundOptions {
    /// What is broken.
    pub fault: Fault,
    /// Decides what the shoppers do.
    pub seed: u64,
    /// First id of its users, who are nobody else's.
    pub first_user: i64,
    /// Of the calm before and after.
    pub calm: Duration,
    /// How shoppers arrive.
    pub pace: Pace,
    /// Pieces of the hot template.
    pub hot_total: i64,
}

/// What came of a round.
#[derive(Clone, Debug, Serialize)]
pub struct Round {
    /// What was broken.
    pub fault: Fault,
    /// What exactly was done.
    pub done: String,
    /// Attempts.
    pub attempts: u64,
    /// Requests that they belong to.
    pub requests: u64,
    /// Attempts that ended unknown.
    pub unknown: u64,
    /// Attempts that were not admitted.
    pub not_admitted: u64,
    /// Definite answers a second before the fault.
    pub calm_goodput: f64,
    /// Definite answers a second while it lasted.
    pub fault_goodput: f64,
    /// Definite answers a second after it.
    pub after_goodput: f64,
    /// How long it lasted, in seconds.
    pub fault_s: f64,
    /// How long after mending every node served again, in seconds.
    pub healed_s: f64,
    /// Longest time from an unknown outcome to the definite one, in seconds.
    pub settled_s: f64,
    /// Longest time that an outcome stayed unknown after mending, in seconds.
    pub settled_after_s: f64,
    /// With one shard unreachable: goodput of the other shards' users, broken by calm.
    pub isolation: Option<f64>,
    /// Broken promises.
    pub violations: Vec<Violation>,
}

impl Round {
    /// Runs a round.
    ///
    /// # Errors
    /// When something could not be broken, mended or read.
    pub async fn run(
        ground: &mut Ground,
        nemesis: &mut Nemesis,
        options: &RoundOptions,
    ) -> anyhow::Result<Self> {
        let endpoints = ground.endpoints().to_vec();
        let first = endpoints.first().context("there is no node")?;
        let client = patient(first).await?;
        let stage = Stage::set(&client, options.hot_total).await?;
        let clients = connect(&endpoints).await?;
        let load = Load::start(
            clients,
            stage,
            &LoadOptions {
                seed: options.seed,
                pace: options.pace,
                first_user: options.first_user,
                patience: PATIENCE,
                doubles: true,
            },
        );
        let began = load.shop().log.now();
        sleep(options.calm).await;
        let broken = load.shop().log.now();
        let injected = nemesis.inject(options.fault, ground, &stage).await;
        let done = injected.with_context(|| format!("the nodes' logs end:\n{}", ground.logs()))?;
        let mended = load.shop().log.now();
        let probes = Probes { next: AtomicI64::new(options.first_user + PROBE_USERS) };
        let serving = probes.serving(load.shop()).await;
        let healed = load.shop().log.now();
        sleep(options.calm).await;
        let calm_again = load.shop().log.now();
        let (shop, mut users) = load.stop().await?;
        users.extend(options.first_user + PROBE_USERS..probes.next.load(Ordering::Relaxed));
        let ops = shop.log.take();
        let orders = orders(&ops);
        let ending = Box::pin(stage.ending(&client, &users, &orders)).await?;
        let mut verdict = checker::check(&ops, &ending);
        let settled_after = settled_after(&ops, mended);
        if settled_after > SETTLED {
            let what = format!("an outcome stayed unknown {settled_after:?} after mending");
            verdict.violations.push(Violation { rule: Rule::Settled, what });
        }
        verdict.violations.extend(serving.err());
        for node in ground.ended().await? {
            let what = format!("{node} has ended and was not started again");
            verdict.violations.push(Violation { rule: Rule::Settled, what });
        }
        let isolation = match ground.field().filter(|_| options.fault == Fault::F13) {
            Some(field) => isolation(&ops, field, (began, broken, mended)).await?,
            None => None,
        };
        let goodput = |from, until| goodput(&ops, from, until);
        Ok(Self {
            fault: options.fault,
            done,
            calm_goodput: goodput(began, broken),
            fault_goodput: goodput(broken, mended),
            after_goodput: goodput(healed, calm_again),
            fault_s: (mended - broken).as_secs_f64(),
            healed_s: (healed - mended).as_secs_f64(),
            settled_after_s: settled_after.as_secs_f64(),
            isolation,
            ..Self::of(options.fault, verdict)
        })
    }

    fn of(fault: Fault, verdict: Verdict) -> Self {
        Self {
            fault,
            done: String::new(),
            attempts: verdict.attempts,
            requests: verdict.requests,
            unknown: verdict.unknown,
            not_admitted: verdict.not_admitted,
            calm_goodput: 0.0,
            fault_goodput: 0.0,
            after_goodput: 0.0,
            fault_s: 0.0,
            healed_s: 0.0,
            settled_s: verdict.settled_within.as_secs_f64(),
            settled_after_s: 0.0,
            isolation: None,
            violations: verdict.violations,
        }
    }

    /// It all in one line.
    pub fn line(&self) -> String {
        let mut line = format!(
            "{}: {}; {} attempts, {} unknown, {} not admitted; {:.0}/s calm, {:.0}/s broken, \
             {:.0}/s after; serving after {:.1} s, settled within {:.1} s",
            self.fault,
            self.done,
            self.attempts,
            self.unknown,
            self.not_admitted,
            self.calm_goodput,
            self.fault_goodput,
            self.after_goodput,
            self.healed_s,
            self.settled_s,
        );
        if let Some(isolation) = self.isolation {
            line.push_str(&format!("; other shards at {:.0} %", 100.0 * isolation));
        }
        if !self.violations.is_empty() {
            line.push_str(&format!("; {} VIOLATIONS", self.violations.len()));
        }
        line
    }
}

/// Goodput of the users of the shards that were reachable, while one was not, by that before.
async fn isolation(
    ops: &[Op],
    field: &Field,
    (began, broken, mended): (Duration, Duration, Duration),
) -> anyhow::Result<Option<f64>> {
    let mut slots = HashSet::new();
    for shard in (0..field.shard_urls.len()).filter(|shard| *shard != LAST_PRIMARY) {
        slots.extend(field.slots_of(shard).await?);
    }
    let theirs = ops.iter().filter(|op| slots.contains(&(op.user % SLOTS)));
    let theirs: Vec<Op> = theirs.cloned().collect();
    let calm = goodput(&theirs, began, broken);
    Ok((calm > 0.0).then(|| goodput(&theirs, broken, mended) / calm))
}

/// Orders that were asked for.
pub(super) fn orders(ops: &[Op]) -> BTreeSet<OrderKey> {
    let asked = ops.iter().filter(|op| !op.verb.gives());
    asked.map(|op| (op.user, op.order.clone())).collect()
}

/// Longest time after mending that passed until a request with an unknown outcome had a definite one.
fn settled_after(ops: &[Op], mended: Duration) -> Duration {
    let mut open: HashMap<(Verb, i64, i64, &str, &str), bool> = HashMap::new();
    let mut by_end: Vec<&Op> = ops.iter().collect();
    by_end.sort_by_key(|op| op.end);
    let mut longest = Duration::ZERO;
    for op in by_end {
        let key = (op.verb, op.user, op.template, op.order.as_str(), op.request_id.as_str());
        // What became unknown after mending is not the fault's.
        if op.outcome == Outcome::Unknown && op.start < mended {
            open.insert(key, true);
        } else if op.outcome.is_definite() && open.remove(&key).is_some() {
            longest = longest.max(op.end.saturating_sub(mended));
        }
    }
    longest
}

/// Claims of fresh users that tell whether a node serves.
struct Probes {
    next: AtomicI64,
}

impl Probes {
    /// Waits until every node wins a row of claims of fresh users, and settles those that were not
    /// won.
    async fn serving(&self, shop: &Shop) -> Result<(), Violation> {
        let end = Instant::now() + SERVES_AGAIN;
        let mut open = Vec::new();
        for node in 0..shop.clients.len() {
            let mut row = 0;
            while row < PROBES {
                let ask = self.ask(shop.stage.ample);
                if shop.clients.send(node, &ask, &shop.log).await.is_done() {
                    row += 1;
                    continue;
                }
                row = 0;
                open.push((node, ask));
                if Instant::now() >= end {
                    let what = format!("node {node} does not serve {SERVES_AGAIN:?} after mending");
                    return Err(Violation { rule: Rule::Settled, what });
                }
                sleep(PROBE_PAUSE).await;
            }
        }
        for (node, ask) in open {
            while Instant::now() < end + SERVES_AGAIN {
                if shop.clients.send(node, &ask, &shop.log).await.is_definite() {
                    break;
                }
                sleep(PROBE_PAUSE).await;
            }
        }
        Ok(())
    }

    fn ask(&self, template: i64) -> Ask {
        Ask {
            verb: Verb::Claim,
            user: self.next.fetch_add(1, Ordering::Relaxed),
            template,
            order: String::new(),
            request_id: "probe".to_owned(),
            coupons: Vec::new(),
            source: String::new(),
            lock_ttl: None,
        }
    }
}
