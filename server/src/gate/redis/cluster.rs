//! The cluster: which node has which slot, redirections, and failures told apart by node.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use fred::prelude::{Error, Value};
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit},
    time::timeout_at,
};
use tokio_util::sync::CancellationToken;

use super::{
    node::{Command, Node},
    slots::{SLOTS, Slots, parse_slots},
};
use crate::config::RedisConfig;

/// Redirections of one call, at most.
const REDIRECTIONS: usize = 3;
/// Between two looks at the slots, when nothing is wrong.
const CALM: Duration = Duration::from_secs(10);
/// The same, while a primary fails or slots have none.
const TROUBLE: Duration = Duration::from_millis(250);
/// Between two looks that were asked for.
const LOOK: Duration = Duration::from_millis(50);

/// The right to make one script call, until it is dropped.
pub(super) type Turn = OwnedSemaphorePermit;

/// Why a call came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// It was not sent: nobody serves the slot, or its primary is left alone.
    NotSent,
    /// It was not sent: those before it took all the time there is.
    Busy,
    /// Nobody knows whether it was carried out.
    Silent,
    /// It was refused, without effect, for a reason that passes.
    Refused(String),
    /// The script failed.
    Failed(String),
}

/// The cluster.
pub(super) struct Cluster {
    config: RedisConfig,
    nodes: RwLock<FxHashMap<String, Arc<Node>>>,
    slots: RwLock<Arc<Slots>>,
    look: Notify,
    stop: CancellationToken,
}

impl Cluster {
    /// Begins to connect to the nodes that are named.
    pub(super) fn start(config: &RedisConfig) -> anyhow::Result<Self> {
        let cluster = Self {
            config: config.clone(),
            nodes: RwLock::default(),
            slots: RwLock::default(),
            look: Notify::new(),
            stop: CancellationToken::new(),
        };
        for address in &config.nodes {
            cluster.node(address)?;
        }
        Ok(cluster)
    }

    fn node(&self, address: &str) -> anyhow::Result<Arc<Node>> {
        let find = |nodes: &FxHashMap<String, Arc<Node>>| nodes.get(address).map(Arc::clone);
        if let Some(node) = find(&self.nodes.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(node);
        }
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = find(&nodes) {
            return Ok(node);
        }
        let node = Arc::new(Node::start(address, &self.config)?);
        nodes.insert(address.to_owned(), Arc::clone(&node));
        Ok(node)
    }

    fn all(&self) -> Vec<Arc<Node>> {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        nodes.values().map(Arc::clone).collect()
    }

    fn slots(&self) -> Arc<Slots> {
        Arc::clone(&self.slots.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether calls for a slot are being kept away from its primary.
    pub(super) fn is_avoided(&self, slot: u16) -> bool {
        self.slots().owner(slot).is_none_or(|node| node.breaker.is_open())
    }

    /// Waits until a script call for a slot may begin. Few are under way at one primary: what waits
    /// meanwhile travels together, which is cheaper for both sides than many small calls. Who waits
    /// in vain says nothing about the primary: that is for those whose calls it does not answer.
    pub(super) async fn turn(&self, slot: u16) -> Result<Turn, Failure> {
        let until = tokio::time::Instant::now() + self.config.command_timeout();
        loop {
            let Some(node) = self.slots().owner(slot) else {
                self.look.notify_one();
                return Err(Failure::NotSent);
            };
            if node.breaker.is_open() {
                return Err(Failure::NotSent);
            }
            let turn = timeout_at(until, Arc::clone(&node.turns).acquire_owned()).await;
            let Ok(Ok(turn)) = turn else { return Err(Failure::Busy) };
            // The slot may have moved while this was waiting.
            if self.slots().owner(slot).is_some_and(|owner| Arc::ptr_eq(&owner, &node)) {
                return Ok(turn);
            }
        }
    }

    /// Carries a command out at the primary of a slot, wherever that is by now, within the time of one
    /// call.
    pub(super) async fn call(&self, slot: u16, command: Command<'_>) -> Result<Value, Failure> {
        let Some(mut node) = self.slots().owner(slot) else {
            self.look.notify_one();
            return Err(Failure::NotSent);
        };
        if node.breaker.is_open() {
            return Err(Failure::NotSent);
        }
        let until = tokio::time::Instant::now() + self.config.command_timeout();
        let mut asking = false;
        for _ in 0..=REDIRECTIONS {
            let called = timeout_at(until, node.call(slot, command.clone(), asking)).await;
            let error = match called {
                Ok(Ok(value)) => {
                    node.breaker.succeeded();
                    return Ok(value);
                }
                Ok(Err(error)) => error,
                Err(_) => return Err(self.failed(&node, Failure::Silent)),
            };
            match understand(&error) {
                Answer::Moved(address) => {
                    node.breaker.succeeded();
                    self.look.notify_one();
                    node = self.redirected(&node, &address)?;
                    asking = false;
                }
                Answer::Ask(address) => {
                    node.breaker.succeeded();
                    node = self.redirected(&node, &address)?;
                    asking = true;
                }
                Answer::Later => {
                    node.breaker.succeeded();
                    return Err(Failure::Refused(error.details().to_owned()));
                }
                Answer::Error => {
                    let text = error.details().to_owned();
                    tracing::warn!(node = node.address, error = text, "a redis call failed");
                    return Err(self.failed(&node, Failure::Failed(text)));
                }
                Answer::Broken => return Err(self.failed(&node, Failure::Silent)),
                Answer::Down => {
                    let refused = Failure::Refused(error.details().to_owned());
                    return Err(self.failed(&node, refused));
                }
            }
        }
        Err(Failure::Refused("redirected again and again".to_owned()))
    }

    fn redirected(&self, from: &Node, address: &str) -> Result<Arc<Node>, Failure> {
        // A node that does not know its own name is the one that answered.
        let host = from.address.rsplit_once(':').map_or("", |(host, _)| host);
        let address = match address.strip_prefix(':') {
            Some(port) => format!("{host}:{port}"),
            None => address.to_owned(),
        };
        let node = self.node(&address).map_err(|error| Failure::Refused(error.to_string()))?;
        if node.breaker.is_open() { Err(Failure::NotSent) } else { Ok(node) }
    }

    fn failed(&self, node: &Node, failure: Failure) -> Failure {
        if node.breaker.failed(Instant::now()) {
            tracing::warn!(
                node = node.address,
                ?failure,
                "redis is left alone for a while, claims go to the ledger"
            );
        }
        self.look.notify_one();
        failure
    }

    /// Asks every node where the slots are; takes the view in which most slots are at nodes that
    /// answer: after a failover the nodes agree only after a while.
    pub(super) async fn look(&self) -> Result<(), String> {
        let nodes = self.all();
        let until = tokio::time::Instant::now() + self.config.connect_timeout();
        let asked = nodes.iter().map(|node| async move {
            let slots = timeout_at(until, node.slots()).await;
            let slots = slots.map_err(|_| "it does not answer".to_owned());
            (node, slots.and_then(|slots| slots.map_err(|error| error.to_string())))
        });
        let mut trouble = "no node is named in redis.nodes".to_owned();
        let mut best: Option<(usize, Slots)> = None;
        let mut alive = FxHashSet::default();
        let answers = futures::future::join_all(asked).await;
        for (node, answer) in &answers {
            match answer {
                Ok(_) => {
                    alive.insert(node.address.clone());
                    if node.breaker.is_due(Instant::now()) {
                        node.breaker.succeeded();
                        tracing::info!(node = node.address, "redis answers again");
                    }
                }
                Err(error) => trouble = format!("redis at {}: {error}", node.address),
            }
        }
        for (node, answer) in answers {
            let Ok(answer) = answer else { continue };
            let Some(view) = parse_slots(&answer, &node.address) else {
                trouble = format!("redis at {} is not part of a cluster", node.address);
                continue;
            };
            let dead = |address: &String| {
                !alive.contains(address) && nodes.iter().any(|node| node.address == *address)
            };
            let served = view.iter().filter(|(.., address)| !dead(address));
            let score = served.map(|(first, last, _)| usize::from(last - first) + 1).sum();
            if best.as_ref().is_none_or(|(most, _)| score > *most) {
                let slots = self.slots_of(view).map_err(|error| error.to_string())?;
                best = Some((score, slots));
            }
        }
        let Some((_, slots)) = best.filter(|(_, slots)| slots.covered() > 0) else {
            return Err(trouble);
        };
        let slots = Arc::new(slots);
        *self.slots.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&slots);
        self.part_from_others(&slots);
        Ok(())
    }

    fn slots_of(&self, view: Vec<(u16, u16, String)>) -> anyhow::Result<Slots> {
        let mut slots = Slots::default();
        for (first, last, address) in view {
            let known = slots.nodes.iter().position(|node| node.address == address);
            let index = match known {
                Some(index) => index,
                None => {
                    slots.nodes.push(self.node(&address)?);
                    slots.nodes.len() - 1
                }
            };
            slots.ranges.push((first, last, index));
        }
        slots.ranges.sort_unstable();
        Ok(slots)
    }

    /// Closes the connections to nodes that have no slots and are not named in the configuration.
    fn part_from_others(&self, slots: &Slots) {
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        nodes.retain(|address, node| {
            let kept = self.config.nodes.contains(address)
                || slots.nodes.iter().any(|owner| owner.address == *address);
            if !kept {
                let node = Arc::clone(node);
                tokio::spawn(async move { node.quit().await });
            }
            kept
        });
    }

    /// Keeps looking where the slots are.
    pub(super) async fn keep_looking(self: Arc<Self>) {
        loop {
            let slots = self.slots();
            let troubled =
                slots.covered() < SLOTS || slots.nodes.iter().any(|node| node.breaker.is_open());
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(if troubled { TROUBLE } else { CALM }) => {}
                () = self.look.notified() => tokio::time::sleep(LOOK).await,
            }
            if let Err(error) = self.look().await {
                tracing::debug!(error, "the slots of redis are not known");
            }
        }
    }

    /// Whether every slot has a primary that answers; says which has not, and what to do.
    pub(super) async fn health(&self) -> Result<(), String> {
        let look = self.look().await;
        let slots = self.slots();
        let silent = |node: &Node, error: String| {
            format!("redis at {} does not answer ({error}): start it", node.address)
        };
        let until = tokio::time::Instant::now() + self.config.connect_timeout();
        let pings = slots.nodes.iter().map(|node| async move {
            match timeout_at(until, node.ping()).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(silent(node, error.to_string())),
                Err(_) => Err(silent(node, "within the connect timeout".to_owned())),
            }
        });
        let answers = futures::future::join_all(pings).await;
        answers.into_iter().collect::<Result<(), String>>()?;
        look.map_err(|error| {
            format!("no redis cluster is reached ({error}): start it, or correct redis.nodes")
        })?;
        let missing = SLOTS.saturating_sub(slots.covered());
        if missing > 0 {
            return Err(format!("{missing} slots of the redis cluster have no primary: repair it"));
        }
        Ok(())
    }

    /// Closes all connections.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        futures::future::join_all(self.all().iter().map(|node| node.quit())).await;
    }
}

/// What an error means.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Moved(String),
    Ask(String),
    /// The slot is on its way: a moment later it is served.
    Later,
    /// The node answers, and cannot serve.
    Down,
    /// The script cannot be carried out.
    Error,
    /// The connection.
    Broken,
}

fn understand(error: &Error) -> Answer {
    let details = error.details();
    let mut words = details.split_ascii_whitespace();
    let first = words.next().unwrap_or_default();
    let address = || words.clone().nth(1).unwrap_or_default().to_owned();
    match first {
        "MOVED" => Answer::Moved(address()),
        "ASK" => Answer::Ask(address()),
        "TRYAGAIN" => Answer::Later,
        "CLUSTERDOWN" | "LOADING" | "MASTERDOWN" | "READONLY" | "NOREPLICAS" | "BUSY" | "OOM"
        | "NOAUTH" | "WRONGPASS" | "NOPERM" => Answer::Down,
        // As redis writes them, in capitals; the client's own are sentences.
        "ERR" | "NOSCRIPT" | "WRONGTYPE" | "CROSSSLOT" => Answer::Error,
        _ if details.contains("OOM command not allowed") => Answer::Down,
        _ if details.contains("user_script") || details.contains("@user_script") => Answer::Error,
        _ => Answer::Broken,
    }
}

#[cfg(test)]
mod tests {
    use fred::prelude::ErrorKind;

    use super::*;

    #[test]
    fn errors_are_told_apart() {
        let of = |text: &str| understand(&Error::new(ErrorKind::Unknown, text.to_owned()));
        assert_eq!(of("MOVED 12 127.0.0.1:7001"), Answer::Moved("127.0.0.1:7001".to_owned()));
        assert_eq!(of("ASK 12 127.0.0.1:7001"), Answer::Ask("127.0.0.1:7001".to_owned()));
        assert_eq!(of("TRYAGAIN Multiple keys request during rehashing of slot"), Answer::Later);
        assert_eq!(of("CLUSTERDOWN Hash slot not served"), Answer::Down);
        let out =
            "OOM command not allowed when used memory > 'maxmemory'. script: 1, on @user_script:1.";
        assert_eq!(of(out), Answer::Down);
        assert_eq!(of("ERR user_script:3: attempt to index a nil value"), Answer::Error);
        assert_eq!(of("Request timed out."), Answer::Broken);
    }
}
