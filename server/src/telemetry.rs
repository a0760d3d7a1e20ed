//! Log output: `tracing` events to standard error, as text or JSON; and metrics.

pub mod metrics;

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LoggingConfig};

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter does not parse.
    #[error("logging.filter = {filter:?} is not a filter ({reason}), use a level such as info")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A subscriber is installed already.
    #[error("logging is already set up in this process, call init once")]
    AlreadySet,
}

/// Installs the process-wide subscriber.
///
/// # Errors
/// A filter that does not parse, or a subscriber that is already installed.
pub fn init(config: &LoggingConfig) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(&config.filter).map_err(|error| TelemetryError::Filter {
        filter: config.filter.clone(),
        reason: error.to_string(),
    })?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let installed = match config.format {
        LogFormat::Text => subscriber.try_init(),
        LogFormat::Json => subscriber.json().try_init(),
    };
    installed.map_err(|_| TelemetryError::AlreadySet)
}
