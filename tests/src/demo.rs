//! The flash-sale demo: many users grab few coupons at once over real gRPC, the coupons are used,
//! cancelled, left to lapse and left to expire, and every promise of the platform is checked on the
//! way.
//!
//! The platform runs as a process of its own over an empty data directory, under a test clock, so
//! that the whole life of a coupon passes in seconds.

mod aftermath;
mod campaign;
mod invariants;
mod report;
mod sale;
mod stage;
mod sweep;
mod tally;

use std::time::Duration;

use anyhow::anyhow;
use coupon_client::{ClientConfig, CouponClient};
use indicatif::{ProgressBar, ProgressStyle};

pub use invariants::Invariant;
pub use report::{Latency, Report};

use crate::{platform::Platform, services::Addresses};
use aftermath::Aftermath;
use campaign::Campaign;
use sale::Sale;

/// Calls in flight on one connection.
const CALLS_PER_CONNECTION: usize = 64;
/// Generous, because a flood of callers on one machine queues: the demo counts what becomes of every
/// claim, and a deadline would only make it ask again.
const CALL_DEADLINE: Duration = Duration::from_secs(30);

/// What the demo is asked to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Users who grab, each a coupon; at least 1.
    pub users: u64,
    /// Coupons there are; at least 1.
    pub stock: i64,
    /// Connections that the users share; at least 1.
    pub connections: usize,
    /// The stores, to run on the distributed back end; `None` = embedded.
    pub distributed: Option<Addresses>,
    /// Whether to draw progress on stderr; without a terminal nothing is drawn either way.
    pub progress: bool,
}

impl Options {
    fn calls_in_flight(&self) -> usize {
        self.connections * CALLS_PER_CONNECTION
    }

    fn bar(&self, label: &'static str, length: u64) -> anyhow::Result<ProgressBar> {
        if !self.progress {
            return Ok(ProgressBar::hidden());
        }
        let style = "{prefix:>10} [{bar:32}] {human_pos}/{human_len} {elapsed} {msg}";
        let style = ProgressStyle::with_template(style)?.progress_chars("=> ");
        Ok(ProgressBar::new(length).with_style(style).with_prefix(label))
    }
}

/// Runs the whole demo. An error means that it could not be run to its end; broken promises are in
/// the report.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut server = Platform::start(options.distributed.as_ref(), campaign::START).await?;
    let endpoint = server.endpoint();
    let driven = tokio::select! {
        figures = drive(options, endpoint) => figures,
        ended = server.wait() => match ended {
            Ok(status) => Err(anyhow!("coupon-server ended during the demo: {status}")),
            Err(error) => Err(error),
        },
    };
    let (sale, aftermath) = match driven {
        Ok(figures) => figures,
        Err(error) => {
            let log = server.log();
            return Err(anyhow!("{error:#}; the server's log ends:\n{log}"));
        }
    };
    let (stopped, audit) = server.finish().await?;
    let invariants = invariants::check(options, &sale, &aftermath, &stopped, &audit);
    Ok(Report::new(options, &sale, &aftermath, invariants))
}

async fn drive(options: &Options, endpoint: String) -> anyhow::Result<(Sale, Aftermath)> {
    let client = CouponClient::connect(ClientConfig {
        channels: options.connections,
        deadline: CALL_DEADLINE,
        ..ClientConfig::new(endpoint)
    })
    .await?;
    let campaign = Campaign::publish(&client, options.stock).await?;
    let sale = sale::run(&client, &campaign, options).await?;
    let aftermath = aftermath::run(&client, &campaign, &sale, options).await?;
    Ok((sale, aftermath))
}
