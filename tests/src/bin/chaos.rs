//! `coupon-chaos`: broken days, with a report.
#![allow(clippy::print_stdout, reason = "the report goes to stdout")]

use std::{io::IsTerminal as _, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use clap::Parser;
use coupon_tests::chaos::{
    self, Options,
    control::{self, ControlOptions, Sabotage, expect_caught},
    nemesis::{Fault, HOLD},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Kills, freezes and cuts off the parts of a platform of its own, one fault after the other, while
/// shoppers claim, lock, confirm, cancel and refund through its nodes; then judges every answer. Exits
/// with 1 when a promise was broken.
#[derive(Debug, Parser)]
#[command(name = "coupon-chaos", version)]
struct Args {
    /// How long at least; every fault comes once in any case.
    #[arg(long, default_value_t = 5)]
    minutes: u64,
    /// Repeats the choices of an earlier run [default: a new one].
    #[arg(long)]
    seed: Option<u64>,
    /// Only these faults, as `F3,F9`.
    #[arg(long, value_delimiter = ',')]
    faults: Vec<Fault>,
    /// Seconds of calm before and after each fault.
    #[arg(long, default_value_t = 4)]
    calm: u64,
    /// Seconds for which something stays broken that has no time of its own, as a killed broker.
    #[arg(long, default_value_t = HOLD.as_secs(), value_parser = clap::value_parser!(u64).range(1..=3_600))]
    hold: u64,
    /// Shoppers at once.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1000))]
    shoppers: u16,
    /// One embedded server instead of nodes on MySQL, Redis and Pulsar.
    #[arg(long)]
    embedded: bool,
    /// Instead of that run sabotaged platforms, which the checker must catch; needs
    /// coupon-server-sabotaged, whose path may stand in COUPON_SABOTAGED_BIN.
    #[arg(long, conflicts_with_all = ["minutes", "faults", "json"])]
    controls: bool,
    /// Print one JSON object instead of a table, and tell nothing on the way.
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("coupon-chaos: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<bool> {
    let seed = args.seed.unwrap_or_else(|| rand::random_range(0..1_000_000));
    if args.controls {
        return controls(seed, args.embedded).await;
    }
    let known: &[Fault] = if args.embedded { &Fault::EMBEDDED } else { &Fault::ALL };
    let faults = if args.faults.is_empty() { known.to_vec() } else { args.faults };
    if let Some(fault) = faults.iter().find(|fault| !known.contains(fault)) {
        bail!("{fault} ({}) needs the distributed back end: leave --embedded out", fault.what());
    }
    let began = std::time::Instant::now();
    let quiet = args.json;
    let listener = move |line: &str| {
        if !quiet {
            let elapsed = began.elapsed().as_secs();
            eprintln!("{:>3}:{:02}  {line}", elapsed / 60, elapsed % 60);
        }
    };
    if !quiet && std::io::stderr().is_terminal() {
        eprintln!("seed {seed}; Ctrl-C ends it and removes everything");
    }
    let options = Options {
        distributed: !args.embedded,
        length: Duration::from_secs(60 * args.minutes),
        seed,
        faults,
        calm: Duration::from_secs(args.calm),
        hold: Duration::from_secs(args.hold),
        shoppers: usize::from(args.shoppers),
        listener: Arc::new(listener),
    };
    // An interrupt must not leave processes and data behind, so it ends the day from inside.
    let report = tokio::select! {
        report = chaos::run(&options) => report,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            bail!("interrupted, everything is stopped and removed (seed {seed})");
        }
    };
    let report = report.map_err(|error| error.context(format!("seed {seed}")))?;
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("\n{report}");
    }
    if !report.is_clean() {
        eprintln!("promises were broken: --seed {seed} repeats the choices");
    }
    Ok(report.is_clean())
}

/// Whether every sabotage was caught.
async fn controls(seed: u64, embedded: bool) -> anyhow::Result<bool> {
    let program = chaos::sabotaged_binary().context(
        "there is no coupon-server-sabotaged: run `cargo build -p coupon-server --features sabotage \
         --bin coupon-server-sabotaged`",
    )?;
    let (mut caught, mut all) = (0, 0);
    for sabotage in Sabotage::ALL {
        if embedded && sabotage == Sabotage::UnsafeDatabase {
            continue;
        }
        let length = Duration::from_secs(4);
        let options = ControlOptions { sabotage, program: program.clone(), seed, length };
        let verdict = Box::pin(control::run(&options)).await?;
        let told = expect_caught(sabotage, &verdict);
        let (attempts, counts) = (verdict.attempts, verdict.counts());
        println!("{sabotage:?}: {counts:?} in {attempts} attempts");
        if let Err(error) = &told {
            eprintln!("{error:#}");
        }
        all += 1;
        caught += u32::from(told.is_ok());
    }
    println!("caught {caught} of {all} sabotaged platforms, seed {seed}");
    Ok(caught == all)
}
