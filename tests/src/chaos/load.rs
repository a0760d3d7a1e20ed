//! Shoppers: a mixed load over several nodes that sends again whatever has no definite answer.

mod ask;
mod shopper;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use coupon_client::{ClientConfig, CouponClient};
use futures::{
    StreamExt as _,
    stream::{self, FuturesUnordered},
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{Instant, interval, sleep},
};

pub use self::ask::{Ask, Clients, OrderKey, order_state};
use self::shopper::{FORGOTTEN, Shopper};
use super::{log::Log, stage::Stage};

/// Longest time of one attempt.
const ATTEMPT: Duration = Duration::from_secs(2);
/// Shoppers under way at once in an open loop; beyond it arrivals are let go, as a shop's own front
/// door would.
const OPEN_MAX: usize = 400;

/// Winners who ask again at once.
const AGAIN: usize = 16;

/// How shoppers arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// So many at once, the next one when one is through.
    Closed(usize),
    /// So many a second, however long they take.
    Open(u32),
}

/// What a load is made of.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Decides what everybody does.
    pub seed: u64,
    /// How they arrive.
    pub pace: Pace,
    /// The first one's id; the others follow.
    pub first_user: i64,
    /// How long a request is sent again after the load was told to stop.
    pub patience: Duration,
    /// Whether some send the same thing, or two that exclude each other, to two nodes at once.
    pub doubles: bool,
}

/// What all shoppers share.
#[derive(Debug)]
pub struct Shop {
    /// Nodes.
    pub clients: Clients,
    /// What they did.
    pub log: Log,
    /// What there is.
    pub stage: Stage,
    stopping: AtomicBool,
    arrived: AtomicU64,
    /// Requests that won a scarce coupon.
    winners: Mutex<Vec<Ask>>,
    patience: Duration,
    doubles: bool,
}

impl Shop {
    /// Notes a request that won a scarce coupon.
    fn note_winner(&self, ask: &Ask) {
        self.winners.lock().unwrap_or_else(PoisonError::into_inner).push(ask.clone());
    }

    /// Whether nobody new comes any more.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

/// A running load.
#[derive(Debug)]
pub struct Load {
    shop: Arc<Shop>,
    first_user: i64,
    task: JoinHandle<anyhow::Result<()>>,
}

/// Opens the connections to these nodes, for attempts that are made once.
///
/// # Errors
/// When one does not answer.
pub async fn connect(endpoints: &[String]) -> anyhow::Result<Clients> {
    let mut clients = Vec::with_capacity(endpoints.len());
    for endpoint in endpoints {
        let config = ClientConfig {
            channels: 2,
            max_attempts: 1,
            deadline: ATTEMPT,
            ..ClientConfig::new(endpoint.as_str())
        };
        let client = CouponClient::connect(config).await;
        clients.push(client.with_context(|| format!("no node at {endpoint}"))?);
    }
    Ok(Clients::new(clients))
}

impl Load {
    /// Lets shoppers come.
    pub fn start(clients: Clients, stage: Stage, options: &LoadOptions) -> Self {
        let shop = Arc::new(Shop {
            clients,
            log: Log::default(),
            stage,
            stopping: AtomicBool::new(false),
            arrived: AtomicU64::new(0),
            winners: Mutex::default(),
            patience: options.patience,
            doubles: options.doubles,
        });
        let (crowd, first_user) = (Arc::clone(&shop), options.first_user);
        let (seed, pace) = (options.seed, options.pace);
        let task = tokio::spawn(async move {
            match pace {
                Pace::Closed(at_once) => closed(&crowd, seed, first_user, at_once).await,
                Pace::Open(per_second) => open(&crowd, seed, first_user, per_second).await,
            }
        });
        Self { shop, first_user, task }
    }

    /// What the shoppers share.
    pub fn shop(&self) -> &Shop {
        &self.shop
    }

    /// Lets nobody new come, and waits until everybody who is there has a definite answer or has
    /// lost patience, and no lock is left that nobody comes back to. The winners of what was scarce
    /// ask once more. Answers the users who came.
    ///
    /// # Errors
    /// When a shopper has panicked.
    pub async fn stop(self) -> anyhow::Result<(Arc<Shop>, Vec<i64>)> {
        self.shop.stopping.store(true, Ordering::Release);
        self.task.await.context("the load has panicked")??;
        ask_again(&self.shop).await;
        // What is read next must not lapse while it is read.
        sleep(FORGOTTEN + FORGOTTEN / 4).await;
        let count = i64::try_from(self.shop.arrived.load(Ordering::Acquire)).unwrap_or(0);
        let users = (self.first_user..self.first_user + count).collect();
        Ok((self.shop, users))
    }
}

/// Whoever has won what is sold out by now asks once more, and must be told so.
async fn ask_again(shop: &Shop) {
    let winners = std::mem::take(&mut *shop.winners.lock().unwrap_or_else(PoisonError::into_inner));
    let again = winners.into_iter().enumerate().map(|(number, ask)| async move {
        let mut random = StdRng::seed_from_u64(u64::try_from(number).unwrap_or(0));
        until_definite(shop, &ask, &mut random).await
    });
    stream::iter(again).buffer_unordered(AGAIN).collect::<Vec<_>>().await;
}

fn next(shop: &Arc<Shop>, seed: u64, first_user: i64) -> impl Future<Output = ()> + use<> {
    let number = shop.arrived.fetch_add(1, Ordering::AcqRel);
    let user = first_user + i64::try_from(number).unwrap_or(0);
    let random = StdRng::seed_from_u64(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let shop = Arc::clone(shop);
    async move { Shopper::new(&shop, user, random).go().await }
}

async fn closed(
    shop: &Arc<Shop>,
    seed: u64,
    first_user: i64,
    at_once: usize,
) -> anyhow::Result<()> {
    let mut crowd = FuturesUnordered::new();
    for _ in 0..at_once.max(1) {
        crowd.push(tokio::spawn(next(shop, seed, first_user)));
    }
    while let Some(through) = crowd.next().await {
        through.context("a shopper has panicked")?;
        if !shop.is_stopping() {
            crowd.push(tokio::spawn(next(shop, seed, first_user)));
        }
    }
    Ok(())
}

async fn open(shop: &Arc<Shop>, seed: u64, first_user: i64, per_second: u32) -> anyhow::Result<()> {
    let mut crowd = JoinSet::new();
    let mut arrivals = interval(Duration::from_secs(1) / per_second.max(1));
    while !shop.is_stopping() {
        tokio::select! {
            _ = arrivals.tick() => {
                if crowd.len() < OPEN_MAX {
                    crowd.spawn(next(shop, seed, first_user));
                }
            }
            Some(through) = crowd.join_next() => through.context("a shopper has panicked")?,
        }
    }
    while let Some(through) = crowd.join_next().await {
        through.context("a shopper has panicked")?;
    }
    Ok(())
}

/// Sends one request until its answer is definite, or the shop has been closing for too long.
/// Answers that outcome.
pub(super) async fn until_definite(
    shop: &Shop,
    ask: &Ask,
    random: &mut StdRng,
) -> super::log::Outcome {
    let mut give_up: Option<Instant> = None;
    let mut wait = Duration::from_millis(20);
    loop {
        let node = random.random_range(0..shop.clients.len());
        let outcome = shop.clients.send(node, ask, &shop.log).await;
        if outcome.is_definite() {
            return outcome;
        }
        if shop.is_stopping() {
            let end = *give_up.get_or_insert_with(|| Instant::now() + shop.patience);
            if Instant::now() >= end {
                return outcome;
            }
        }
        sleep(wait.mul_f64(random.random_range(0.5..1.5))).await;
        wait = (wait * 2).min(Duration::from_millis(500));
    }
}
