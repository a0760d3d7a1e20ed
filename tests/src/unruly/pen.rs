//! Where calls are held until enough are there to be let go in another order.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rand::{Rng, seq::SliceRandom as _};
use tokio::{sync::oneshot, time::timeout};

/// See the module.
#[derive(Debug)]
pub(super) struct Pen {
    held_max: usize,
    hold_max: Duration,
    held: Mutex<Vec<oneshot::Sender<()>>>,
}

impl Pen {
    /// Lets go at `held_max` calls, and each by itself after `hold_max`.
    pub(super) fn new(held_max: usize, hold_max: Duration) -> Self {
        Self { held_max, hold_max, held: Mutex::default() }
    }

    /// Holds the caller. Who fills the pen opens it, in an order that is drawn.
    pub(super) async fn hold(&self, random: impl Rng) {
        let (go, told) = oneshot::channel();
        for go in self.join(go, random) {
            // Fails for one whose time was over in the same instant: it goes by itself.
            let _ = go.send(());
        }
        // In time or not, it goes.
        let _ = timeout(self.hold_max, told).await;
    }

    /// Adds one; answers who is let go for it, in their new order.
    fn join(&self, go: oneshot::Sender<()>, mut random: impl Rng) -> Vec<oneshot::Sender<()>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|other| !other.is_closed());
        held.push(go);
        if held.len() < self.held_max {
            return Vec::new();
        }
        let mut released = std::mem::take(&mut *held);
        released.shuffle(&mut random);
        released
    }
}
