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

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, anyhow};
use coupon_client::{ClientConfig, CouponClient};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::process::Command;

pub use invariants::Invariant;
pub use report::{Latency, Report};

use crate::process::{ServerOptions, ServerProcess, server_binary};
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
    let folder = tempfile::tempdir().context("cannot make a temporary data directory")?;
    let mut server = ServerProcess::start(ServerOptions {
        test_clock: Some(campaign::START.to_owned()),
        ..ServerOptions::new(folder.path())
    })
    .await?;
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
    let stopped = server.stop().await;
    let audit = audit(folder.path()).await?;
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

/// What `coupon-server audit` said about the data that the demo left.
#[derive(Debug)]
struct Audit {
    success: bool,
    output: String,
}

async fn audit(data_dir: &Path) -> anyhow::Result<Audit> {
    let output = Command::new(server_binary()?)
        .arg("audit")
        .arg("--data-dir")
        .arg(data_dir)
        .stdin(Stdio::null())
        .output()
        .await
        .context("cannot run `coupon-server audit`")?;
    let text = [output.stdout, output.stderr].concat();
    Ok(Audit {
        success: output.status.success(),
        output: String::from_utf8_lossy(&text).trim().to_owned(),
    })
}
