//! SIGTERM and SIGINT.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT; from now on they end the process only by way of us.
pub(super) fn catch() -> Option<(Signal, Signal)> {
    let (terminate, interrupt) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    terminate.ok().zip(interrupt.ok())
}

/// Waits for either.
pub(super) async fn wait(signals: Option<(Signal, Signal)>) {
    let Some((mut terminate, mut interrupt)) = signals else {
        tracing::error!("signals cannot be received; stop the server by killing it");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
