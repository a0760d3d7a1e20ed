//! Whether this node may serve, and if not, why.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

use tokio::sync::watch;

/// What can keep a node from serving, each by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Its clock differs too much from a primary's.
    Clock,
    /// It holds no node number, so it cannot mint ids.
    NodeNumber,
}

/// A switch that several watchers turn. A node serves while none of them objects.
#[derive(Debug)]
pub struct Serving {
    serves: AtomicBool,
    objections: watch::Sender<BTreeMap<Cause, String>>,
}

impl Default for Serving {
    fn default() -> Self {
        Self { serves: AtomicBool::new(true), objections: watch::Sender::default() }
    }
}

impl Serving {
    /// Stops serving for a cause, in plain words; a later reason takes the place of an earlier one.
    pub fn object(&self, cause: Cause, reason: String) {
        tracing::error!(?cause, reason, "this node stops serving");
        self.objections.send_modify(|objections| {
            objections.insert(cause, reason);
        });
        self.serves.store(false, Ordering::Release);
    }

    /// Takes a cause's objection back.
    pub fn agree(&self, cause: Cause) {
        let removed = self.objections.send_if_modified(|objections| {
            let removed = objections.remove(&cause).is_some();
            self.serves.store(objections.is_empty(), Ordering::Release);
            removed
        });
        if removed {
            tracing::info!(?cause, "this node may serve again");
        }
    }

    /// Whether it serves. Costs next to nothing.
    pub fn serves(&self) -> bool {
        self.serves.load(Ordering::Acquire)
    }

    /// Why it does not; empty when it does.
    pub fn reason(&self) -> String {
        self.objections.borrow().values().cloned().collect::<Vec<_>>().join("; ")
    }

    /// Hears of every change.
    pub fn changes(&self) -> watch::Receiver<BTreeMap<Cause, String>> {
        self.objections.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_serves_while_nobody_objects() {
        let serving = Serving::default();
        assert!(serving.serves());
        serving.object(Cause::Clock, "the clock is off".to_owned());
        serving.object(Cause::NodeNumber, "no number".to_owned());
        serving.agree(Cause::Clock);
        assert!(!serving.serves());
        assert_eq!(serving.reason(), "no number");
        serving.agree(Cause::NodeNumber);
        assert!(serving.serves());
        assert_eq!(serving.reason(), "");
    }
}
