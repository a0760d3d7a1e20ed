//! Loads templates into the gate in the background, many in one walk over the ledger.

use std::{collections::HashMap, sync::Arc, time::Duration};

use coupon_domain::{ids::TemplateId, template::Template};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Gate;
use crate::ledger::Ledger;

/// Requests that may wait; more are dropped, and the next claim asks again.
const QUEUE_MAX: usize = 1_024;
/// Pause after a failed load.
const RETRY: Duration = Duration::from_millis(200);

/// Asks for templates to be loaded.
#[derive(Debug, Clone)]
pub struct GateLoader {
    queue: mpsc::Sender<Arc<Template>>,
}

impl GateLoader {
    /// A loader and the end that [`run`] serves.
    pub fn new() -> (Self, mpsc::Receiver<Arc<Template>>) {
        let (queue, requests) = mpsc::channel(QUEUE_MAX);
        (Self { queue }, requests)
    }

    /// Asks for a template. Never waits: the claim goes on to the ledger meanwhile.
    pub fn request(&self, template: &Arc<Template>) {
        // A full queue is no loss: the next claim of the template asks again.
        let _ = self.queue.try_send(Arc::clone(template));
    }
}

/// Serves requests until `stop`: everything asked for while one load ran is loaded by the next.
pub async fn run(
    gate: Arc<dyn Gate>,
    ledger: Arc<dyn Ledger>,
    mut requests: mpsc::Receiver<Arc<Template>>,
    stop: CancellationToken,
) {
    loop {
        let first = tokio::select! {
            () = stop.cancelled() => return,
            request = requests.recv() => match request {
                Some(template) => template,
                None => return,
            },
        };
        let mut wanted: HashMap<TemplateId, Arc<Template>> = HashMap::from([(first.id, first)]);
        while let Ok(template) = requests.try_recv() {
            wanted.insert(template.id, template);
        }
        let templates: Vec<Arc<Template>> = wanted.into_values().collect();
        if let Err(error) = gate.load(&ledger, &templates).await {
            tracing::warn!(%error, templates = templates.len(), "gate not loaded");
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }
}
