//! What every call passes before its handler, as tower layers, outermost first:
//!
//! 1. [`trace`]: one debug event per call;
//! 2. the caller's identity (not in the embedded server, which trusts its network);
//! 3. [`serving`]: a node that must not serve refuses;
//! 4. [`deadline`]: the instant by which the handler must have answered;
//! 5. [`read_token`]: what the caller has written, for reads from replicas;
//! 6. rate limit and load shedding (the ledger's bounded queues refuse for now).
//!
//! A refused claim costs little more than the echo of its message, and so must these layers: no
//! boxed futures, no timer before a handler has to wait, nothing formatted unless it is logged.

pub mod deadline;
mod grpc_timeout;
pub mod read_token;
pub mod serving;
pub mod trace;

use std::{sync::Arc, time::Duration};

use tower::ServiceBuilder;
use tower::layer::util::{Identity, Stack};

pub use deadline::{Deadline, DeadlineLayer};
pub use read_token::{ReadToken, ReadTokenLayer};
pub use serving::ServingLayer;
pub use trace::TraceLayer;

use crate::{config::Config, serving::Serving};

/// The layers in their order, for `tonic::transport::Server::builder().layer(..)`.
pub type PolicyLayer = ServiceBuilder<
    Stack<ReadTokenLayer, Stack<DeadlineLayer, Stack<ServingLayer, Stack<TraceLayer, Identity>>>>,
>;

/// Builds the layers from the configuration and the switch.
pub fn stack(config: &Config, serving: Arc<Serving>) -> PolicyLayer {
    let server = &config.server;
    // A node's clock may be off by the bound in one direction, the next node's in the other.
    let margin = Duration::from_millis(2 * config.backend.clock_offset_max_ms);
    let replicas = config.mysql.replica_urls.iter().any(|url| !url.is_empty());
    ServiceBuilder::new()
        .layer(TraceLayer)
        .layer(ServingLayer::new(serving))
        .layer(DeadlineLayer::new(server.deadline_default(), server.deadline_max()))
        .layer(ReadTokenLayer::new(replicas.then_some(margin)))
}

#[cfg(test)]
mod tests;
