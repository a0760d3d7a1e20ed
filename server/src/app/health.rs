//! What health says: SERVING while nothing objects.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::serving::Serving;

/// Tells health of every change until `stop`.
pub(super) async fn run(health: HealthReporter, serving: Arc<Serving>, stop: CancellationToken) {
    let mut changes = serving.changes();
    loop {
        let status =
            if serving.serves() { ServingStatus::Serving } else { ServingStatus::NotServing };
        health.set_service_status("", status).await;
        tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
        }
    }
}
