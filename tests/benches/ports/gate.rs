//! M3: claims that the gate admits per second of Redis, against one script call per claim.

use std::{
    ops::Range,
    pin::pin,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use coupon_domain::{
    fingerprint::hash_request_id,
    ids::{CouponId, UserId},
    template::Template,
    time::Timestamp,
};
use coupon_server::{
    backend,
    gate::{Gate, GateClaim, Verdict},
    ledger::{GiveCommand, Given, GivenCoupon, NotGiven, Settle, Settlement},
};
use coupon_tests::{
    bench::{
        Violation,
        frame::Frame,
        report::{Bound, Row, Runs},
        stats::median,
        stores::{Usage, micros_each},
        workload::user,
    },
    services::Addresses,
};
use fred::{
    clients::Pool,
    interfaces::{ClientLike as _, KeysInterface as _, LuaInterface as _},
    types::config::{Config, ReconnectPolicy, ServerConfig},
    types::{Builder, scripts::Script},
};
use futures::StreamExt as _;
use tokio::sync::mpsc;

use crate::{
    deck::{BUCKETS, Deck, PLENTY},
    drive::{Driven, drive},
};

/// Claims under way: 64 on each of 8 connections of callers.
const DEPTH: usize = 64 * 8;
/// Outcomes told to the gate together, as a group of the ledger does.
const GROUP: usize = 256;

/// What every textbook does: has the user one, is there one left, take it.
const ONE_CLAIM: &str = "
    if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 1 then return -1 end
    if tonumber(redis.call('GET', KEYS[1]) or '0') <= 0 then return 0 end
    redis.call('DECR', KEYS[1])
    redis.call('SADD', KEYS[2], ARGV[1])
    return 1";

/// One side's run.
struct Admitted {
    driven: Driven<u64>,
    used: Usage,
}

impl Admitted {
    fn count(&self) -> u64 {
        self.driven.answers.len() as u64
    }

    /// Claims per CPU-second of the primaries of Redis.
    fn per_core(&self) -> f64 {
        self.count() as f64 / self.used.redis.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    fn redis_us(&self) -> f64 {
        micros_each(self.used.redis, self.count())
    }
}

pub(crate) async fn measure(
    frame: &Frame,
    deck: &Deck,
    addresses: &Addresses,
    name: &str,
) -> anyhow::Result<Row> {
    let plan = &frame.plan;
    let mut config = deck.config.clone();
    let prefix = format!("bench-{:016x}", rand::random::<u64>());
    config.redis.key_prefix.clone_from(&prefix);
    let ports = backend::gate(&config, &deck.router).await?;
    let textbook = Textbook::connect(addresses, config.redis.connections, &prefix).await?;

    ours(deck, &ports, plan.slice() * 3).await?;
    textbook.forget_all().await?;
    textbook.run(deck, plan.slice() * 3, 0).await?;
    let mut runs = Runs::default();
    let mut rates = [Vec::new(), Vec::new()];
    let (mut used, mut ops) = (Usage::default(), 0);
    for index in 0..plan.runs {
        let ours = ours(deck, &ports, plan.length).await?;
        textbook.forget_all().await?;
        let baseline = textbook.run(deck, plan.length, index + 1).await?;
        frame.say_run(name, index, "claims per redis-CPU-s", ours.per_core(), baseline.per_core());
        runs.ours.push(ours.per_core());
        runs.baseline.push(baseline.per_core());
        runs.cpu_ours.push(ours.redis_us());
        runs.cpu_baseline.push(baseline.redis_us());
        runs.done.extend(ours.driven.latency);
        rates[0].push(ours.driven.rate());
        rates[1].push(baseline.driven.rate());
        used = used.plus(ours.used);
        ops += ours.count();
    }
    let mut row = runs.row(name, "claims/redis-CPU-s", Bound::AtLeast, 2.5, 0);
    let [ours, baseline] = rates.map(|rates| median(&rates));
    row.notes.push(format!(
        "{DEPTH} claims under way, {BUCKETS} sub-stock keys on both sides; telling the gate each \
         outcome is part of ours; {ours:.0} against {baseline:.0} claims/s, {:.2} times as many; \
         CPU is that of redis",
        ours / baseline
    ));
    row.notes.push(used.told(ops));
    Ok(row)
}

/// A fresh template through the gate, and every outcome told to it.
async fn ours(
    deck: &Deck,
    (gate, settle): &(Arc<dyn Gate>, Arc<dyn Settle>),
    length: Duration,
) -> anyhow::Result<Admitted> {
    let template = deck.publish().await?;
    gate.load(&deck.ledger, &[Arc::clone(&template)]).await?;
    let (won, outcomes) = mpsc::unbounded_channel();
    let teller = tokio::spawn(tell(Arc::clone(settle), outcomes));
    let next = Arc::new(AtomicU64::new(0));
    let before = deck.stores.usage(&[])?;
    let (at, of) = (Arc::clone(gate), Arc::clone(&template));
    let call = move |numbers: Range<u64>| {
        admit(Arc::clone(&at), Arc::clone(&of), won.clone(), numbers.start)
    };
    let driven = drive(DEPTH, 1, length, &next, call).await?;
    teller.await??;
    // What was told last reaches Redis with the next call of its bucket.
    let used = deck.stores.usage(&[])?.since(before);
    gate.forget(template.id);
    Ok(Admitted { driven, used })
}

async fn admit(
    gate: Arc<dyn Gate>,
    template: Arc<Template>,
    won: mpsc::UnboundedSender<GiveCommand>,
    seq: u64,
) -> anyhow::Result<Vec<u64>> {
    let mut command = Deck::claim(&template, seq)?;
    let claim = GateClaim {
        user: command.user,
        request_hash: hash_request_id(&command.request_id),
        fingerprint: command.fingerprint,
    };
    match gate.admit(&template, claim).await {
        Verdict::Admitted => {
            command.holds_unit = true;
            won.send(command).ok().context("the teller has ended")?;
            Ok(vec![seq])
        }
        // On to the ledger, which is not measured here.
        Verdict::Pending | Verdict::Dry | Verdict::NotLoaded => Ok(Vec::new()),
        verdict @ (Verdict::Replay(_) | Verdict::KeyReused | Verdict::Limit | Verdict::SoldOut) => {
            Err(Violation(format!("a new claim with stock for all was answered {verdict:?}"))
                .into())
        }
    }
}

/// Tells the gate that every admitted claim was won, in groups.
async fn tell(
    settle: Arc<dyn Settle>,
    mut outcomes: mpsc::UnboundedReceiver<GiveCommand>,
) -> anyhow::Result<()> {
    let mut group = Vec::with_capacity(GROUP);
    while outcomes.recv_many(&mut group, GROUP).await > 0 {
        let won: anyhow::Result<Vec<Result<Given, NotGiven>>> = group.iter().map(given).collect();
        let won = won?;
        let settlements: Vec<_> = group
            .iter()
            .zip(&won)
            .map(|(command, outcome)| Settlement { command, outcome })
            .collect();
        settle.settle(&settlements);
        group.clear();
        // The others get their turn, as they do while a transaction commits.
        tokio::task::yield_now().await;
    }
    Ok(())
}

fn given(command: &GiveCommand) -> anyhow::Result<Result<Given, NotGiven>> {
    let coupon = GivenCoupon {
        id: CouponId::new(command.user.get())?,
        claim_no: 1,
        claimed_at: command.at,
        valid_until: Timestamp::from_millis(3_950_000_000_000),
    };
    Ok(Ok(Given { coupons: vec![coupon], replayed: false }))
}

/// One script call per claim, through as many connections as the gate has.
struct Textbook {
    pool: Pool,
    script: Script,
    prefix: String,
}

impl Textbook {
    async fn connect(
        addresses: &Addresses,
        connections: usize,
        prefix: &str,
    ) -> anyhow::Result<Self> {
        let hosts: Vec<(String, u16)> = addresses
            .redis_nodes
            .iter()
            .filter_map(|node| {
                let (host, port) = node.rsplit_once(':')?;
                Some((host.to_owned(), port.parse().ok()?))
            })
            .collect();
        let config = Config { server: ServerConfig::new_clustered(hosts), ..Config::default() };
        let pool = Builder::from_config(config)
            .with_connection_config(|connection| connection.tcp.nodelay = Some(true))
            .set_policy(ReconnectPolicy::new_exponential(0, 50, 1_000, 2))
            .build_pool(connections)?;
        pool.init().await?;
        let script = Script::from_lua(ONE_CLAIM);
        for client in pool.clients() {
            script.load(client).await?;
        }
        Ok(Self { pool, script, prefix: prefix.to_owned() })
    }

    /// Removes every key of this bench, so that each run begins with the same memory.
    async fn forget_all(&self) -> anyhow::Result<()> {
        let pattern = format!("*{}*", self.prefix);
        let mut keys = pin!(self.pool.next().scan_cluster_buffered(pattern, Some(1_000), None));
        while let Some(key) = keys.next().await {
            let _: i64 = self.pool.unlink(key?).await?;
        }
        Ok(())
    }

    fn keys(&self, index: usize, bucket: u16) -> [String; 2] {
        let tag = format!("{}:{{textbook-{index}.{bucket}}}", self.prefix);
        [format!("{tag}:stock"), format!("{tag}:users")]
    }

    async fn run(&self, deck: &Deck, length: Duration, index: usize) -> anyhow::Result<Admitted> {
        let keys: Vec<[String; 2]> = (0..BUCKETS).map(|bucket| self.keys(index, bucket)).collect();
        for [stock, _] in &keys {
            let share = PLENTY / i64::from(BUCKETS);
            let () = self.pool.set(stock.as_str(), share, None, None, false).await?;
        }
        let keys: Arc<[[String; 2]]> = keys.into();
        let (pool, sha, all) = (self.pool.clone(), self.script.sha1().clone(), Arc::clone(&keys));
        let call = move |numbers: Range<u64>| {
            let (pool, sha, all) = (pool.clone(), sha.clone(), Arc::clone(&all));
            async move {
                let claimer = user(numbers.start);
                let bucket = UserId::new(claimer)?.slot().bucket(BUCKETS);
                let [stock, users] = &all[usize::from(bucket)];
                let verdict: i64 =
                    pool.evalsha(sha, vec![stock.as_str(), users.as_str()], claimer).await?;
                ensure!(verdict == 1, "the textbook answered {verdict} to a new claim");
                Ok(vec![numbers.start])
            }
        };
        let before = deck.stores.usage(&[])?;
        let driven = drive(DEPTH, 1, length, &Arc::default(), call).await?;
        let used = deck.stores.usage(&[])?.since(before);
        self.forget_all().await?;
        Ok(Admitted { driven, used })
    }
}
