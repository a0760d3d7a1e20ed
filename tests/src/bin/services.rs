//! `coupon-services`: the stores of the distributed back end as private processes.
#![allow(clippy::print_stdout, reason = "tells its user what runs and where")]

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Instant,
};

use anyhow::bail;
use clap::{Parser, Subcommand};
use coupon_tests::services::{self, Addresses, Options, Service, Services};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

// Beside a binary's root, where its module would be looked for, every file is a binary of its own.
#[path = "services/show.rs"]
mod show;

/// Starts, watches and stops the stores that tests, demo and replay run against: two MariaDB
/// primaries, the first with a read replica, a Redis Cluster of six nodes and a Pulsar broker. They
/// are private processes on free ports of the loopback interface; no instance of the system is
/// touched.
#[derive(Debug, Parser)]
#[command(name = "coupon-services", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
    /// Folder of their data and logs [default: services/run in the target folder]
    #[arg(long, global = true, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Print one JSON object, and draw no progress
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start them, or what of them is dead, and leave them running
    Up,
    /// Stop them and remove their data
    Down,
    /// Tell which run and what memory they hold; exits with 1 when one is dead
    Status,
    /// Print the end of the logs
    Logs {
        /// `mysql-0`, `mysql-0-replica`, `redis-3`, `pulsar`, ... [default: all]
        service: Option<String>,
        /// Lines of each
        #[arg(long, default_value_t = 40)]
        lines: usize,
    },
    /// Print the environment of a running set; exits with 1 when there is none
    Env,
    /// Start a set in a temporary folder, print its environment, and stop it at the end of standard
    /// input, or when told to end
    Hold,
}

#[tokio::main]
async fn main() -> ExitCode {
    match Box::pin(run(Args::parse())).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("coupon-services: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let folder = args.folder.unwrap_or_else(services::default_folder);
    match args.command {
        Command::Up => up(&folder, args.json).await?,
        Command::Down => down(&folder).await?,
        Command::Status => return show::status(&Services::open(&folder)?, args.json),
        Command::Logs { service, lines } => logs(&folder, service.as_deref(), lines)?,
        Command::Env => {
            let services = Services::open(&folder)?;
            if let Some(dead) = services.all().find(|service| !service.is_alive()) {
                bail!("{} is dead: run `cargo xtask services up` again", dead.name);
            }
            print!("{}", show::exports(services.addresses()));
        }
        Command::Hold => hold().await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn up(folder: &Path, json: bool) -> anyhow::Result<()> {
    let _lock = services::lock_folder(folder)?;
    let addresses = match Services::open(folder) {
        Ok(there) => mend(there, json).await?,
        Err(_) => start(folder, json).await?,
    };
    if json {
        println!("{}", serde_json::to_string(&addresses)?);
    } else {
        println!("{}", show::told(&addresses));
    }
    Ok(())
}

async fn start(folder: &Path, json: bool) -> anyhow::Result<Addresses> {
    let say = |text: &str| {
        if !json {
            println!("{text}")
        }
    };
    say("Starting MariaDB (2 primaries, 1 replica), Redis Cluster (3 + 3) and Pulsar as private");
    say(&format!("processes on free ports; data and logs are kept in {}\n", folder.display()));
    let started = Instant::now();
    let progress = show::Progress::new(json);
    let options = Options {
        folder: Some(folder.to_owned()),
        listener: Some(Arc::new({
            let progress = progress.clone();
            move |step| progress.tell(step)
        })),
        ..Options::default()
    };
    // An interrupt must not leave half a set behind: it ends the start from inside.
    let services = tokio::select! {
        services = Box::pin(Services::start(options)) => services,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            Err(anyhow::anyhow!("interrupted, what had started is stopped"))
        }
    };
    progress.finish();
    let services = match services {
        Ok(services) => services,
        Err(error) => {
            // The logs are quoted in the error; what is left would be in the way of the next start.
            let _ = std::fs::remove_dir_all(folder);
            return Err(error);
        }
    };
    let memory: u64 = services.all().map(Service::rss_bytes).sum();
    say(&format!(
        "\nAll up in {:.1} s, {} MB in memory.",
        started.elapsed().as_secs_f64(),
        memory >> 20
    ));
    let addresses = services.addresses().clone();
    services.detach()?;
    Ok(addresses)
}

async fn mend(services: Services, json: bool) -> anyhow::Result<Addresses> {
    let dead: Vec<_> = services.all().filter(|s| !s.is_alive()).map(|s| s.name.as_str()).collect();
    if !json {
        let folder = services.folder().display();
        if dead.is_empty() {
            println!("They run already, in {folder}.");
        } else {
            println!("Starting what is dead in {folder}: {}.", dead.join(", "));
        }
    }
    services.mend().await?;
    Ok(services.addresses().clone())
}

async fn down(folder: &Path) -> anyhow::Result<()> {
    if !folder.exists() {
        println!("There is nothing to stop in {}.", folder.display());
        return Ok(());
    }
    let _lock = services::lock_folder(folder)?;
    let services = Services::open(folder)?;
    let alive = services.all().filter(|service| service.is_alive()).count();
    services.remove().await?;
    println!("Stopped {alive} services and removed {}.", folder.display());
    Ok(())
}

fn logs(folder: &Path, wanted: Option<&str>, lines: usize) -> anyhow::Result<()> {
    let services = Services::open(folder)?;
    let mut found = false;
    for service in services.all().filter(|service| wanted.is_none_or(|name| name == service.name)) {
        found = true;
        println!("=== {} ({})", service.name, service.log_path().display());
        println!("{}", service.log(lines));
    }
    if !found {
        let names: Vec<_> = services.all().map(|service| service.name.as_str()).collect();
        bail!("there is no such service, there are {}", names.join(", "));
    }
    Ok(())
}

/// For a program that wants services for as long as it lives: whatever becomes of it, its end of the
/// pipe is closed then.
async fn hold() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let (closed, ended) = oneshot::channel();
    // A thread that nobody waits for: its read cannot be ended.
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = closed.send(());
    });
    let serve = async {
        let services = Box::pin(Services::start(Options::default())).await?;
        print!("{}", show::exports(services.addresses()));
        println!("{}", show::READY);
        std::future::pending::<()>().await;
        drop(services);
        anyhow::Ok(())
    };
    tokio::select! {
        failed = Box::pin(serve) => failed?,
        _ = ended => {}
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    Ok(())
}
