//! `coupon-cluster`: the distributed platform to play with: two API nodes and a worker.
#![allow(clippy::print_stdout, reason = "tells its user what runs and what to try")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use coupon_tests::cluster::{Cluster, ClusterOptions};
use coupon_tests::services::Addresses;

/// Runs API nodes and workers against MySQL shards, a Redis Cluster and a Pulsar broker, whose
/// addresses are in COUPON_TEST_* (`cargo xtask run --distributed` starts them). Ctrl-C drains the
/// nodes and drops their databases.
#[derive(Debug, Parser)]
#[command(name = "coupon-cluster", version)]
struct Args {
    /// Port of the first API node; the others follow.
    #[arg(long, default_value_t = 50_051)]
    port: u16,
    /// API nodes.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    apis: u16,
    /// Workers; with none the API nodes run the background loops too.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(0..=64))]
    workers: u16,
    /// Shards of the ledger.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    shards: u16,
    /// Folder for the nodes' configurations.
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Further settings of every node, `section.key=value`.
    #[arg(long = "set", value_name = "SETTING")]
    settings: Vec<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("coupon-cluster: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    let options = ClusterOptions {
        shards: usize::from(args.shards),
        apis: usize::from(args.apis),
        workers: usize::from(args.workers),
        first_port: Some(args.port),
        folder: args.folder,
        settings: args.settings,
        ..ClusterOptions::new(Addresses::from_env()?)
    };
    let mut cluster = Cluster::start(&options).await?;
    println!("\nThe distributed platform runs:");
    for (kind, nodes) in [("api", &cluster.apis), ("worker", &cluster.workers)] {
        for node in nodes {
            let pid = node.process.as_ref().map_or(0, |process| process.pid());
            println!("  {kind:6}  {}  pid {pid}  {}", node.endpoint(), node.config.display());
        }
    }
    println!(
        "\nIts configurations can be copied and edited. Ctrl-C stops it; its databases go too."
    );
    tokio::signal::ctrl_c().await?;
    println!("stopping");
    cluster.drain().await?;
    cluster.drop_data().await
}
