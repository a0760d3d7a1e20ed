//! Watches how far this node's clock differs from those of the primaries (F19). Beyond the bound the
//! node must not serve: by its time coupons would expire early and locks live too long.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::future::join_all;
use tokio_util::sync::CancellationToken;

use super::every;
use crate::{
    catalog::Primary,
    clock::wall_millis,
    serving::{Cause, Serving},
};

/// How long a primary may take to tell its time.
const ANSWER: Duration = Duration::from_secs(2);

/// One look at a primary's clock, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reading {
    /// This node's clock when it asked.
    asked_at: i64,
    /// How long the answer took, by monotonic time.
    trip: i64,
    /// The primary's clock, somewhere on the way.
    primary: i64,
}

impl Reading {
    /// How far this node is ahead of the primary, if the primary looked in the middle of the trip.
    fn ahead(self) -> i64 {
        self.asked_at + self.trip / 2 - self.primary
    }

    /// Whether the node may serve: within the bound yes, surely beyond it no. In between, where the
    /// trip was too long to tell, `None`.
    fn within(self, bound: i64) -> Option<bool> {
        let off = self.ahead().abs();
        if off <= bound {
            return Some(true);
        }
        (off - self.trip / 2 > bound).then_some(false)
    }
}

/// What is held against a primary's clock, after another reading. One that could not be asked leaves
/// things as they are: its ledger answers for itself.
fn judge(
    name: &str,
    reading: Option<Reading>,
    before: Option<String>,
    bound: i64,
) -> Option<String> {
    let Some(reading) = reading else { return before };
    match reading.within(bound) {
        Some(true) => None,
        None => before,
        Some(false) => {
            let ahead = reading.ahead();
            let word = if ahead > 0 { "ahead of" } else { "behind" };
            Some(format!(
                "its clock is {} ms {word} that of {name}, more than {bound} ms: set this \
                 machine's clock, or the primary's",
                ahead.abs()
            ))
        }
    }
}

/// The watch over all primaries.
pub struct ClockWatch {
    primaries: Vec<Arc<dyn Primary>>,
    /// In milliseconds.
    bound: i64,
    serving: Arc<Serving>,
    now: Box<dyn Fn() -> i64 + Send + Sync>,
    /// What is held against each, in the order of the primaries.
    held: Mutex<Vec<Option<String>>>,
}

impl ClockWatch {
    /// Objects in `serving` while the difference to any primary is beyond `bound`.
    pub fn new(primaries: Vec<Arc<dyn Primary>>, bound: Duration, serving: Arc<Serving>) -> Self {
        Self::with_now(primaries, bound, serving, wall_millis)
    }

    /// One for a node whose clock shows `now`, Unix milliseconds.
    pub fn with_now(
        primaries: Vec<Arc<dyn Primary>>,
        bound: Duration,
        serving: Arc<Serving>,
        now: impl Fn() -> i64 + Send + Sync + 'static,
    ) -> Self {
        let held = Mutex::new(vec![None; primaries.len()]);
        let bound = i64::try_from(bound.as_millis()).unwrap_or(i64::MAX);
        Self { primaries, bound, serving, now: Box::new(now), held }
    }

    /// Looks every `interval` until `stop`; the first time at once.
    pub async fn run(self, interval: Duration, stop: CancellationToken) {
        self.look().await;
        every(interval, &stop, || self.look()).await;
    }

    /// Looks at every clock once and turns the switch.
    pub async fn look(&self) {
        let readings = join_all(self.primaries.iter().map(|primary| self.read(&**primary))).await;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let before = held.clone();
        for ((primary, reading), held) in self.primaries.iter().zip(readings).zip(held.iter_mut()) {
            *held = judge(primary.name(), reading, held.take(), self.bound);
        }
        let reasons: Vec<&str> = held.iter().filter_map(Option::as_deref).collect();
        let heard: Vec<&str> = before.iter().filter_map(Option::as_deref).collect();
        if reasons.is_empty() {
            self.serving.agree(Cause::Clock);
        } else if heard.is_empty() || reasons.len() != heard.len() {
            self.serving.object(Cause::Clock, reasons.join("; "));
        }
    }

    async fn read(&self, primary: &dyn Primary) -> Option<Reading> {
        let (asked_at, asked) = ((self.now)(), Instant::now());
        let answer = tokio::time::timeout(ANSWER, primary.wall_millis()).await;
        let trip = i64::try_from(asked.elapsed().as_millis()).unwrap_or(i64::MAX);
        match answer {
            Ok(Ok(Some(time))) => Some(Reading { asked_at, trip, primary: time }),
            Ok(Ok(None)) => None,
            Ok(Err(error)) => {
                tracing::debug!(%error, primary = primary.name(), "clock not readable");
                None
            }
            Err(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use async_trait::async_trait;

    use super::*;
    use crate::{catalog::CatalogError, ledger::LedgerError};

    fn reading(asked_at: i64, trip: i64, primary: i64) -> Reading {
        Reading { asked_at, trip, primary }
    }

    #[test]
    fn the_bound_itself_is_allowed_and_a_long_trip_proves_nothing() {
        assert_eq!(reading(1_500, 0, 1_000).within(500), Some(true));
        assert_eq!(reading(1_501, 0, 1_000).within(500), Some(false));
        assert_eq!(reading(1_000, 0, 1_501).within(500), Some(false));
        // The node was frozen for ten seconds between asking and hearing.
        assert_eq!(reading(1_000, 10_000, 1_000).within(500), None);
        assert_eq!(reading(1_000, 10_000, 900_000).within(500), Some(false));
    }

    #[test]
    fn a_primary_that_cannot_be_asked_keeps_its_verdict() {
        let off = judge("meta", Some(reading(6_000, 0, 1_000)), None, 500);
        assert_eq!(
            off.as_deref(),
            Some(
                "its clock is 5000 ms ahead of that of meta, more than 500 ms: set this machine's \
                 clock, or the primary's"
            )
        );
        assert_eq!(judge("meta", None, off.clone(), 500), off);
        assert_eq!(judge("meta", None, None, 500), None);
        assert_eq!(judge("meta", Some(reading(1_010, 4, 1_000)), off, 500), None);
    }

    /// A primary that is this far ahead of the node; `i64::MIN` = it does not answer.
    struct Far(AtomicI64);

    const NODE: i64 = 1_000_000;

    #[async_trait]
    impl Primary for Far {
        fn name(&self) -> &'static str {
            "shard 0 at HOST"
        }

        async fn wall_millis(&self) -> Result<Option<i64>, CatalogError> {
            match self.0.load(Ordering::SeqCst) {
                i64::MIN => Err(LedgerError::Unavailable("down".to_owned()).into()),
                ahead => Ok(Some(NODE + ahead)),
            }
        }
    }

    // F19.
    #[tokio::test]
    async fn a_node_whose_clock_is_off_stops_serving_until_it_is_right_again() {
        let (off, good) = (Arc::new(Far(AtomicI64::new(0))), Arc::new(Far(AtomicI64::new(20))));
        let serving = Arc::new(Serving::default());
        let primaries: Vec<Arc<dyn Primary>> = vec![good, Arc::clone(&off) as Arc<dyn Primary>];
        let bound = Duration::from_millis(500);
        let watch = ClockWatch::with_now(primaries, bound, Arc::clone(&serving), || NODE);
        watch.look().await;
        assert!(serving.serves());
        off.0.store(300_000, Ordering::SeqCst);
        watch.look().await;
        assert!(!serving.serves());
        let reason = serving.reason();
        assert!(reason.contains("behind that of shard 0 at HOST"), "{reason}");
        off.0.store(i64::MIN, Ordering::SeqCst);
        watch.look().await;
        assert!(!serving.serves());
        off.0.store(-100, Ordering::SeqCst);
        watch.look().await;
        assert!(serving.serves());
    }
}
