//! What every call passes before its handler, as tower layers, outermost first:
//!
//! 1. [`trace`]: one debug event per call;
//! 2. the caller's identity (not in the embedded server, which trusts its network);
//! 3. [`serving`]: a node that must not serve refuses;
//! 4. [`deadline`]: the instant by which the handler must have answered;
//! 5. rate limit and load shedding (the ledger's bounded queues refuse for now).
//!
//! A refused claim costs little more than the echo of its message, and so must these layers: no
//! boxed futures, no timer before a handler has to wait, nothing formatted unless it is logged.

pub mod deadline;
mod grpc_timeout;
pub mod serving;
pub mod trace;

use std::sync::Arc;

use tower::ServiceBuilder;
use tower::layer::util::{Identity, Stack};

pub use deadline::{Deadline, DeadlineLayer};
pub use serving::ServingLayer;
pub use trace::TraceLayer;

use crate::{config::ServerConfig, serving::Serving};

/// The layers in their order, for `tonic::transport::Server::builder().layer(..)`.
pub type PolicyLayer = ServiceBuilder<Stack<DeadlineLayer, Stack<ServingLayer, Stack<TraceLayer, Identity>>>>;

/// Builds the layers from `[server]` and the switch.
pub fn stack(config: &ServerConfig, serving: Arc<Serving>) -> PolicyLayer {
    ServiceBuilder::new()
        .layer(TraceLayer)
        .layer(ServingLayer::new(serving))
        .layer(DeadlineLayer::new(config.deadline_default(), config.deadline_max()))
}

#[cfg(test)]
mod tests;
