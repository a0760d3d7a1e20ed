//! What a node remembers of a template in front of Redis: whether its stock there is to be trusted, and
//! whether it is sold out.

use std::{
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use coupon_domain::ids::UserId;

use crate::gate::winners::Winners;

/// No total has been proven sold out.
const NEVER: i64 = -1;
/// Between two loads of a template whose stock disagrees with the ledger: near the end of a sale the
/// ledger moves pieces between buckets all the time.
const PAUSE: Duration = Duration::from_secs(1);

/// The flags of a template.
#[derive(Debug)]
pub(super) struct Flags {
    distrusted: AtomicBool,
    distrusted_at: Mutex<Option<Instant>>,
    /// The total for which "sold out" is proven.
    sold_out_for: AtomicI64,
    winners: RwLock<Option<(i64, Arc<Winners>)>>,
}

/// What is known of a user of a template whose present total is proven to be sold out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SoldOut {
    /// Nothing is proven for this total.
    Unproven,
    /// It is proven; who has won is not known yet.
    Unfiltered,
    /// It is proven, and the user may have won.
    Perhaps,
    /// It is proven, and the user has not won.
    Never,
}

impl Default for Flags {
    fn default() -> Self {
        Self {
            distrusted: AtomicBool::new(false),
            distrusted_at: Mutex::default(),
            sold_out_for: AtomicI64::new(NEVER),
            winners: RwLock::default(),
        }
    }
}

impl Flags {
    /// The stock in Redis is not the ledger's.
    pub(super) fn distrust(&self) {
        let mut last = self.distrusted_at.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= PAUSE) {
            *last = Some(Instant::now());
            self.distrusted.store(true, Ordering::Release);
        }
    }

    /// Whether the template is to be loaded, whatever is in Redis.
    pub(super) fn is_distrusted(&self) -> bool {
        self.distrusted.load(Ordering::Acquire)
    }

    /// It has been loaded.
    pub(super) fn trust(&self) {
        self.distrusted.store(false, Ordering::Release);
    }

    /// Nothing is known any more.
    pub(super) fn forget(&self) {
        self.sold_out_for.store(NEVER, Ordering::Release);
        *self.winners.write().unwrap_or_else(PoisonError::into_inner) = None;
        self.distrusted.store(true, Ordering::Release);
    }

    /// The ledger has proven "sold out" for a total; true when that is news.
    pub(super) fn prove(&self, total: i64) -> bool {
        self.sold_out_for.swap(total, Ordering::AcqRel) != total
    }

    /// The total that is sold out and whose winners are not known yet.
    pub(super) fn unfiltered(&self) -> Option<i64> {
        let total = self.sold_out_for.load(Ordering::Acquire);
        let winners = self.winners.read().unwrap_or_else(PoisonError::into_inner);
        let known = winners.as_ref().is_some_and(|(of, _)| *of == total);
        (total != NEVER && !known).then_some(total)
    }

    /// Enters all winners of a total, read after it was proven to be sold out.
    pub(super) fn filter(&self, total: i64, winners: Winners) {
        let mut place = self.winners.write().unwrap_or_else(PoisonError::into_inner);
        *place = Some((total, Arc::new(winners)));
    }

    /// How many winners are kept in memory.
    pub(super) fn winners(&self) -> usize {
        let winners = self.winners.read().unwrap_or_else(PoisonError::into_inner);
        winners.as_ref().map_or(0, |(_, winners)| winners.len())
    }

    /// What is known of a user at the template's present total.
    pub(super) fn sold_out(&self, total: i64, user: UserId) -> SoldOut {
        if self.sold_out_for.load(Ordering::Acquire) != total {
            return SoldOut::Unproven;
        }
        let winners = self.winners.read().unwrap_or_else(PoisonError::into_inner);
        match winners.as_ref().filter(|(of, _)| *of == total) {
            None => SoldOut::Unfiltered,
            Some((_, winners)) if winners.may_hold(user) => SoldOut::Perhaps,
            Some(_) => SoldOut::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: i64) -> UserId {
        UserId::new(id).unwrap()
    }

    // R44: only with the winners of exactly this total is anybody refused from memory.
    #[test]
    fn a_proof_holds_for_one_total() {
        let flags = Flags::default();
        assert_eq!(flags.sold_out(5, user(1)), SoldOut::Unproven);
        assert!(flags.prove(5) && !flags.prove(5));
        assert_eq!(
            (flags.sold_out(5, user(1)), flags.unfiltered()),
            (SoldOut::Unfiltered, Some(5))
        );
        flags.filter(5, Winners::of([user(1)]));
        assert_eq!(flags.unfiltered(), None);
        assert_eq!(flags.sold_out(5, user(1)), SoldOut::Perhaps);
        assert_eq!(flags.sold_out(5, user(2)), SoldOut::Never);
        assert_eq!(flags.sold_out(6, user(2)), SoldOut::Unproven);
        assert!(flags.prove(6));
        assert_eq!(flags.sold_out(6, user(2)), SoldOut::Unfiltered, "the winners of another total");
        flags.forget();
        assert_eq!((flags.sold_out(6, user(2)), flags.unfiltered()), (SoldOut::Unproven, None));
        assert!(flags.is_distrusted());
    }

    #[test]
    fn a_disagreement_asks_for_one_load() {
        let flags = Flags::default();
        flags.distrust();
        assert!(flags.is_distrusted());
        flags.trust();
        flags.distrust();
        assert!(!flags.is_distrusted(), "not again at once");
    }
}
