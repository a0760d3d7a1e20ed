//! One refill under way, and who waits for it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use coupon_domain::{stock::Demand, time::Timestamp};
use tokio::sync::watch;

use crate::ledger::{GiveCommand, LedgerError};

/// How a refill ended: whoever waits tries again, or has failed.
pub(super) type Landing = Result<(), LedgerError>;

/// A refill under way.
pub(super) struct Flight {
    /// What its passengers want.
    pub(super) need: Arc<Need>,
    landing: watch::Receiver<Option<Landing>>,
}

impl Flight {
    /// A flight, and where its end is to be told.
    pub(super) fn new() -> (Self, watch::Sender<Option<Landing>>) {
        let (sender, landing) = watch::channel(None);
        (Self { need: Arc::default(), landing }, sender)
    }

    /// Whether its end will never be told.
    pub(super) fn is_lost(&self) -> bool {
        self.landing.has_changed().is_err()
    }

    /// Waits for the end.
    pub(super) fn landed(&self) -> impl Future<Output = Landing> + use<> {
        let mut landing = self.landing.clone();
        async move {
            let ended = landing.wait_for(Option::is_some).await;
            let crashed = || {
                Err(LedgerError::Unavailable("a transfer of stock was cut off; try again".into()))
            };
            ended.ok().and_then(|landing| landing.clone()).unwrap_or_else(crashed)
        }
    }
}

/// What the claims waiting for a refill want together.
#[derive(Default)]
pub(super) struct Need(Mutex<Option<(Demand, Timestamp)>>);

impl Need {
    /// More claims wait.
    pub(super) fn add<'a>(&self, commands: impl Iterator<Item = &'a GiveCommand>) {
        let mut need = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for command in commands {
            let (pieces, total) = (i64::from(command.pieces), command.template.total);
            let first = (Demand { total, pieces: 0, fewest: pieces }, command.at);
            let (demand, at) = need.get_or_insert(first);
            demand.total = demand.total.max(total);
            demand.pieces += pieces;
            demand.fewest = demand.fewest.min(pieces);
            *at = command.at.max(*at);
        }
    }

    /// What is wanted now, and the latest instant at which it was asked for.
    pub(super) fn now(&self) -> (Demand, Timestamp) {
        let nothing = Demand { total: 0, pieces: 0, fewest: 1 };
        let need = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        need.unwrap_or((nothing, Timestamp::default()))
    }
}

/// How long to wait before looking for stock that is on its way: 1 ms at first, 64 ms in the end.
pub(super) fn pause(round: u32) -> Duration {
    Duration::from_millis(1 << round.min(6))
}
