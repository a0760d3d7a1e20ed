//! `coupon-server serve`.

use std::process::ExitCode;

use coupon_domain::time::Timestamp;
use coupon_server::app;
use coupon_server::config::Config;

/// Serves until SIGTERM.
pub(crate) async fn run(config: Config, test_clock: Option<Timestamp>) -> anyhow::Result<ExitCode> {
    // Boxed because the server's future holds everything that serves and would swell every caller's.
    Box::pin(app::serve(config, test_clock)).await?;
    Ok(ExitCode::SUCCESS)
}
