//! Background loops: each stoppable, each safe to repeat.

pub mod alarms;
pub mod clock_driver;
pub mod clock_watch;
pub mod folding;
pub mod leader;
pub mod lease;
pub mod relay;
pub mod replicas;
pub mod retention;
pub mod stuck;
pub mod sweeper;
pub mod templates;
pub mod transfers;

use std::{future::Future, time::Duration};

use tokio_util::sync::CancellationToken;

/// Runs `work` every `period` until `stop`, the first time after one period.
pub(crate) async fn every<F: Future<Output = ()>>(
    period: Duration,
    stop: &CancellationToken,
    mut work: impl FnMut() -> F,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(period) => work().await,
        }
    }
}
