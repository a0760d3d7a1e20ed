//! `coupon-server migrate`.
#![allow(clippy::print_stdout, reason = "the command's answer goes to standard output")]

use std::process::ExitCode;

use coupon_server::app;
use coupon_server::config::Config;

/// Brings the schema up to date and names what was applied.
pub(crate) async fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let applied = Box::pin(app::migrate(config)).await?;
    for name in &applied {
        println!("applied {name}");
    }
    if applied.is_empty() {
        println!("nothing to apply, the schema is up to date");
    }
    Ok(ExitCode::SUCCESS)
}
