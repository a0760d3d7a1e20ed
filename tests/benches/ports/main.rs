//! The measures at the ports of the server's library, on real stores: what the ledger and the gate can
//! do by themselves, without the calls in front of them. `cargo xtask bench` runs it.
#![allow(clippy::print_stdout, missing_docs, reason = "a program whose table is for its user")]

mod deck;
mod drive;
mod gate;
mod ledger;
mod orm;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use clap::Parser;
use coupon_tests::{
    bench::{
        Plan, Violation,
        distributed::lone_first,
        frame::Frame,
        ports::VIOLATED,
        report::{self, Row},
        selection::{Measure, Selection},
    },
    services::Addresses,
};

// As the server has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Takes measures at the ports of the server's library; the stores are those in COUPON_TEST_*.
#[derive(Debug, Parser)]
#[command(name = "ports")]
struct Args {
    /// M3, M4-PORT, M6, M7, with or without a size.
    #[arg(required = true)]
    names: Vec<Selection>,
    /// Write the figures as JSON to this file instead of printing a table.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Length of one measurement, in milliseconds.
    #[arg(long, default_value_t = 5_000)]
    millis: u64,
    /// Measurements of each side.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Stored coupons of a measure without a size.
    #[arg(long, default_value_t = 100_000)]
    rows: u64,
    /// Largest size that a name may ask for.
    #[arg(long, default_value_t = u64::MAX)]
    rows_max: u64,
    /// Longest warm-up, in milliseconds.
    #[arg(long, default_value_t = 10_000)]
    warm_up_millis: u64,
    /// Folder below which files are made and removed; on a real disk.
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: PathBuf,
    /// `cargo bench` says so.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Args {
    fn frame(&self) -> Frame {
        let plan = Plan {
            warm_up_max: Duration::from_millis(self.warm_up_millis),
            rows: self.rows,
            rows_max: self.rows_max,
            ..Plan::full(Duration::from_millis(self.millis), self.runs, self.rows)
        };
        Frame { plan, root: self.root.clone(), say: |line| eprintln!("{line}") }
    }
}

fn main() -> anyhow::Result<ExitCode> {
    // Clients of Redis and Pulsar panic when no provider is chosen; an error says that one is.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let rows = match runtime.block_on(Box::pin(run(&args))) {
        Ok(rows) => rows,
        Err(error) if error.is::<Violation>() => {
            println!("{error:#}");
            return Ok(ExitCode::from(VIOLATED));
        }
        Err(error) => return Err(error),
    };
    match &args.json {
        Some(file) => report::write_json(&rows, file)?,
        None => println!("{}", report::table(&rows)),
    }
    Ok(ExitCode::SUCCESS)
}

async fn run(args: &Args) -> anyhow::Result<Vec<Row>> {
    let frame = args.frame();
    let addresses = lone_first(Addresses::from_env()?);
    let mut rows = Vec::new();
    for selection in &args.names {
        let name = &selection.name;
        (frame.say)(&format!("{name}: begins"));
        let stored = selection.rows.unwrap_or(frame.plan.rows).min(frame.plan.rows_max);
        let deck = deck::Deck::open(&addresses).await.context("the ledger cannot be opened")?;
        let measured = match selection.measure {
            Measure::M3 => {
                gate::measure(&frame, &deck, &addresses, name).await.map(|row| vec![row])
            }
            Measure::M4Port => ledger::textbook(&frame, &deck, name, stored).await,
            Measure::M6 => ledger::plain(&frame, &deck, name, stored).await.map(|row| vec![row]),
            Measure::M7 => orm::measure(&frame, &deck, name).await.map(|row| vec![row]),
            _ => bail!("{name} is not measured at a port"),
        };
        deck.close().await?;
        rows.extend(measured?);
    }
    Ok(rows)
}
