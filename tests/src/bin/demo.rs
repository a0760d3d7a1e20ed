//! `coupon-demo`: a flash sale against a server of its own, with every promise checked.
#![allow(clippy::print_stdout, reason = "the report goes to stdout")]

use std::process::ExitCode;

use anyhow::bail;
use clap::Parser;
use coupon_tests::{
    demo::{self, Options},
    services::Addresses,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs a flash sale over real gRPC against a server process of its own: users grab, win, use,
/// cancel and forget their coupons until all are used or expired. Exits with 1 when the platform
/// broke one of its promises.
#[derive(Debug, Parser)]
#[command(name = "coupon-demo", version)]
struct Args {
    /// Users who grab, each sending the same claim four times.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    users: u64,
    /// Coupons there are.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(i64).range(1..=1_000_000_000))]
    stock: i64,
    /// Connections that the users share, each with up to 64 calls in flight.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    connections: u16,
    /// Run on the distributed back end: MySQL shards, Redis Cluster and Pulsar, whose addresses are in
    /// COUPON_TEST_* (`cargo xtask demo --distributed` starts them).
    #[arg(long)]
    distributed: bool,
    /// Print one JSON object instead of a table, and draw no progress.
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("coupon-demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<bool> {
    let options = Options {
        users: args.users,
        stock: args.stock,
        connections: usize::from(args.connections),
        distributed: args.distributed.then(Addresses::from_env).transpose()?,
        progress: !args.json,
    };
    // An interrupt must not leave the server and its data behind, so it ends the demo from inside.
    let report = tokio::select! {
        report = demo::run(&options) => report?,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            bail!("interrupted, the server is stopped and its data removed");
        }
    };
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{report}");
    }
    Ok(report.ok)
}
