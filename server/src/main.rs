//! `coupon-server`: one process that serves the `coupon.v1` API, and the commands to prepare and
//! judge its data.

mod cli;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use coupon_server::config::Config;
use coupon_server::telemetry;
use tokio::runtime::{Builder, Runtime};

use cli::Cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long threads that block, such as a file being closed, may hold up the end of the process.
const SHUTDOWN_MAX: Duration = Duration::from_secs(5);

pub(crate) fn main() -> ExitCode {
    // Several providers are linked in; clients of Redis and Pulsar panic when none is chosen. An
    // error says that one was installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match run(&Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let config = Config::load(&cli.settings().sources(environment())?)?;
    telemetry::init(&config.logging)?;
    let runtime = build_runtime(config.server.worker_threads)?;
    let outcome = runtime.block_on(cli.run(config));
    runtime.shutdown_timeout(SHUTDOWN_MAX);
    outcome
}

/// The process environment; the only place that reads it. What is not UTF-8 is no setting.
fn environment() -> Vec<(String, String)> {
    let texts = std::env::vars_os()
        .map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    texts.flatten().collect()
}

fn build_runtime(worker_threads: usize) -> anyhow::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if worker_threads > 0 {
        builder.worker_threads(worker_threads);
    }
    builder
        .thread_name("coupon")
        .enable_all()
        .build()
        .context("the runtime's threads cannot be started, lower server.worker_threads or raise the process limit")
}
