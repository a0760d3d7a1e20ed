//! `coupon-bench`: takes the measures, each beside its baseline in the same run.
#![allow(clippy::print_stdout)] // the table is for the user

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::Parser;
use coupon_tests::{
    bench::{
        Bench, Plan, Violation,
        distributed::Distributed,
        frame::Frame,
        ports, report,
        selection::{DISTRIBUTED, DISTRIBUTED_BY_DEFAULT, EMBEDDED, Ground, Selection},
    },
    services::Addresses,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures the server beside a baseline taken in the same run on the same machine
///
/// Prints one table. A bench whose checker finds a violated invariant reports nothing but that, and
/// the exit code is 1. The measures of the distributed back end need MySQL, Redis Cluster and Pulsar,
/// whose addresses are in COUPON_TEST_* (`cargo xtask bench` starts them).
#[derive(Debug, Parser)]
#[command(name = "coupon-bench", version)]
struct Args {
    /// What to measure, with or without a size: M2, M2@1e6. Nothing = everything of the embedded back
    /// end that --list names
    names: Vec<Selection>,
    /// Without names: everything of the distributed back end instead
    #[arg(long)]
    distributed: bool,
    /// Also write the figures as JSON to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Name what can be measured, and exit
    #[arg(long)]
    list: bool,
    /// Say whether the names need `services` and the program of the `ports`, and exit
    #[arg(long, hide = true)]
    needs: bool,
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
        let all: &[&str] = match self.distributed {
            true => &DISTRIBUTED[..DISTRIBUTED_BY_DEFAULT],
            false => &EMBEDDED,
        };
        all.iter().map(|name| name.parse()).collect()
    }

    /// Prints what has to be there besides this program.
    fn tell_needs(&self) -> anyhow::Result<()> {
        let grounds: Vec<Ground> =
            self.selections()?.iter().map(|selection| selection.measure.ground()).collect();
        if grounds.iter().any(|ground| *ground != Ground::Embedded) {
            println!("services");
        }
        if grounds.contains(&Ground::Ports) {
            println!("ports");
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    if args.list {
        println!("{}\n{}", EMBEDDED.join("\n"), DISTRIBUTED.join("\n"));
        return Ok(ExitCode::SUCCESS);
    }
    if args.needs {
        args.tell_needs()?;
        return Ok(ExitCode::SUCCESS);
    }
    tokio::select! {
        done = run(&args) => done,
        // Leaving by return lets every data folder be removed and every process be ended.
        _ = tokio::signal::ctrl_c() => Ok(ExitCode::FAILURE),
    }
}

/// What measures have been taken on so far; made at first use.
#[derive(Default)]
struct Grounds {
    embedded: Option<Bench>,
    distributed: Option<Distributed>,
}

impl Grounds {
    async fn measure(
        &mut self,
        frame: &Frame,
        selection: &Selection,
    ) -> anyhow::Result<Vec<report::Row>> {
        match selection.measure.ground() {
            Ground::Embedded => {
                if self.embedded.is_none() {
                    let Frame { plan, root, say } = frame.clone();
                    self.embedded = Some(Bench::new(plan, root, say).await?);
                }
                let bench = self.embedded.as_mut().context("the bench is gone")?;
                Ok(vec![Box::pin(bench.measure(selection)).await?])
            }
            Ground::Distributed => {
                if self.distributed.is_none() {
                    self.distributed =
                        Some(Distributed::new(frame.clone(), Addresses::from_env()?));
                }
                let bench = self.distributed.as_mut().context("the bench is gone")?;
                Box::pin(bench.measure(selection)).await
            }
            Ground::Ports => ports::measure(frame, selection).await,
        }
    }
}

async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let frame = Frame { plan: args.plan(), root: args.root()?, say: |line| eprintln!("{line}") };
    let mut grounds = Grounds::default();
    let mut rows = Vec::new();
    let mut failed = false;
    for selection in args.selections()? {
        let name = &selection.name;
        match grounds.measure(&frame, &selection).await {
            Ok(more) => rows.extend(more),
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
        report::write_json(&rows, file)?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
