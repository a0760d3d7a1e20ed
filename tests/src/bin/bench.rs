//! `coupon-bench`: takes the measures, each beside its baseline in the same run.
#![allow(clippy::print_stdout)] // the table is for the user

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::Parser;
use coupon_tests::bench::{ALL, Bench, Plan, Selection, Violation, report};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures the server beside a baseline taken in the same run on the same machine
///
/// Prints one table. A bench whose checker finds a violated invariant reports nothing but that, and
/// the exit code is 1.
#[derive(Debug, Parser)]
#[command(name = "coupon-bench", version)]
struct Args {
    /// What to measure, with or without a size: M2, M2@1e6. Nothing = everything that --list names
    names: Vec<Selection>,
    /// Also write the figures as JSON to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Name what can be measured, and exit
    #[arg(long)]
    list: bool,
    /// A smoke run of a few seconds each: exercises everything, proves nothing
    #[arg(long)]
    quick: bool,
    /// Length of one measurement
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Measurements of each side; the figures are their medians
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=50))]
    runs: u16,
    /// Stored coupons of M18's larger side
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1000..=100_000_000))]
    rows: u64,
    /// Folder below which data folders are made and removed; must be on a real disk, not on tmpfs
    /// [default: beside this program]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

impl Args {
    fn plan(&self) -> Plan {
        if self.quick {
            return Plan::quick();
        }
        Plan::full(Duration::from_secs(self.seconds), usize::from(self.runs), self.rows)
    }

    fn root(&self) -> anyhow::Result<PathBuf> {
        if let Some(root) = &self.root {
            return Ok(root.clone());
        }
        let program = std::env::current_exe().context("cannot tell the path of this program")?;
        let folder = program.parent().context("this program lies in no folder")?;
        Ok(folder.to_owned())
    }

    fn selections(&self) -> anyhow::Result<Vec<Selection>> {
        if !self.names.is_empty() {
            return Ok(self.names.clone());
        }
        ALL.iter().map(|name| name.parse()).collect()
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    if args.list {
        println!("{}", ALL.join("\n"));
        return Ok(ExitCode::SUCCESS);
    }
    tokio::select! {
        done = run(&args) => done,
        // Leaving by return lets every data folder be removed and every process be ended.
        _ = tokio::signal::ctrl_c() => Ok(ExitCode::FAILURE),
    }
}

async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut bench = Bench::new(args.plan(), args.root()?, |line| eprintln!("{line}")).await?;
    let mut rows = Vec::new();
    let mut failed = false;
    for selection in args.selections()? {
        let name = &selection.name;
        match Box::pin(bench.measure(&selection)).await {
            Ok(row) => rows.push(row),
            Err(error) if error.is::<Violation>() => {
                println!("{name}: {error:#}");
                return Ok(ExitCode::FAILURE);
            }
            Err(error) => {
                eprintln!("{name}: not measured: {error:#}");
                failed = true;
            }
        }
    }
    if !rows.is_empty() {
        println!("{}", report::table(&rows));
    }
    if args.quick {
        println!("a smoke run: these figures prove nothing");
    }
    if let Some(file) = &args.json {
        let json = serde_json::to_string_pretty(&rows)?;
        fs::write(file, json).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
