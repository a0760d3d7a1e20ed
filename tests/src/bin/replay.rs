//! `coupon-replay`: a year of real coupon campaigns against a server on a test clock.
#![allow(clippy::print_stdout, reason = "prints its result for its user")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use coupon_client::{ClientConfig, CouponClient};
use coupon_tests::platform::Platform;
use coupon_tests::replay::data::Journey;
use coupon_tests::replay::drive::{clock_start, replay};
use coupon_tests::replay::report::Summary;
use coupon_tests::services::Addresses;
use indicatif::{ProgressBar, ProgressStyle};

/// A call may wait behind a whole campaign being issued.
const CALL_DEADLINE: Duration = Duration::from_secs(60);

/// Replay a year of real coupon campaigns in time order through the public API.
///
/// Starts a server of its own on a test clock, publishes and issues every campaign's coupons at its
/// start, quotes every basket, redeems what shoppers presented, lets the rest expire, and checks
/// how it ended. Exit code 1 when an invariant is broken or the replay cannot go on.
#[derive(Debug, Parser)]
#[command(name = "coupon-replay", version)]
struct Args {
    /// Folder with campaigns.csv, coupons.csv, coupon_products.csv, products.csv, recipients.csv,
    /// baskets.csv and redemptions.csv, each plain or with .gz.
    #[arg(long, value_name = "DIR", default_value_os_t = default_data())]
    data: PathBuf,
    /// End the output with one line of JSON.
    #[arg(long)]
    json: bool,
    /// Use a running server, whose test clock must stand before the first event.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Run on the distributed back end: MySQL shards, Redis Cluster and Pulsar, whose addresses are in
    /// COUPON_TEST_* (`cargo xtask replay --distributed` starts them).
    #[arg(long, conflicts_with = "endpoint")]
    distributed: bool,
    /// Channels of the client.
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = positive)]
    connections: usize,
    /// Calls under way at once; with 1 everything happens in turn.
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = positive)]
    in_flight: usize,
}

fn default_data() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/data/journey"))
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(count) => Ok(count),
        Err(_) => Err("not a whole number".to_owned()),
    }
}

// One thread is plenty for a client that mostly waits, and leaves the cores to the server.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(&Args::parse()).await {
        Ok(summary) if summary.sound() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<Summary> {
    let started = Instant::now();
    let journey = Journey::read(&args.data)?;
    let server = match &args.endpoint {
        Some(_) => None,
        None => {
            let stores = args.distributed.then(Addresses::from_env).transpose()?;
            Some(Platform::start(stores.as_ref(), &clock_start(&journey)).await?)
        }
    };
    let own = server.as_ref().map(Platform::endpoint);
    let endpoint = args.endpoint.clone().or(own).unwrap_or_default();
    let config = ClientConfig {
        channels: args.connections,
        deadline: CALL_DEADLINE,
        ..ClientConfig::new(endpoint.as_str())
    };
    let client = CouponClient::connect(config).await;
    let client = client.with_context(|| format!("cannot reach {endpoint}"))?;
    let progress = ProgressBar::no_length().with_style(ProgressStyle::with_template(
        "{msg} {wide_bar} {pos}/{len} events, {elapsed}",
    )?);
    let replayed = replay(client, &journey, args.in_flight, &progress).await;
    progress.finish_and_clear();
    if let (Err(_), Some(server)) = (&replayed, &server) {
        eprintln!("the server's log ends:\n{}", server.log());
    }
    let mut summary = replayed?;
    if let Some(server) = server {
        let (stopped, audit) = server.finish().await?;
        stopped?;
        ensure!(audit.success, "the audit found violations:\n{}", audit.output);
    }
    summary.seconds = started.elapsed().as_millis() as f64 / 1e3;
    print!("{summary}");
    if args.json {
        println!("{}", serde_json::to_string(&summary)?);
    }
    Ok(summary)
}
