//! What is measured, in the text format of Prometheus. Each server has its own, so that several in one
//! process do not mix.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use axum::{Router, http::header::CONTENT_TYPE, routing::get};
use metrics::{Gauge, Key, KeyName, Label, Level, Metadata, Recorder as _};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const CLOSES_REFUSED: &str = "coupon_redemption_closes_refused_total";

/// The metrics of one server.
pub struct Metrics {
    /// Locks that are overdue and not released. Those of the whole platform, on the node that has the
    /// lease of looking; 0 on the others.
    pub redemptions_stuck: Gauge,
    /// How long the one that is overdue longest has been so, in seconds.
    pub redemptions_stuck_oldest: Gauge,
    recorder: PrometheusRecorder,
}

impl Default for Metrics {
    fn default() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        let gauge = |name: &'static str, help: &'static str| {
            recorder.describe_gauge(KeyName::from_const_str(name), None, help.into());
            let metadata = Metadata::new(module_path!(), Level::INFO, None);
            recorder.register_gauge(&Key::from_static_name(name), &metadata)
        };
        recorder.describe_counter(
            KeyName::from_const_str(CLOSES_REFUSED),
            None,
            "Confirms and Cancels that were refused for good, by verb and reason".into(),
        );
        Self {
            redemptions_stuck: gauge(
                "coupon_redemptions_stuck",
                "Locks that are overdue by more than stuck.min_overdue_s and not released",
            ),
            redemptions_stuck_oldest: gauge(
                "coupon_redemptions_stuck_oldest_seconds",
                "How long the lock that is overdue longest has been so",
            ),
            recorder,
        }
    }
}

impl Metrics {
    /// All of them as text.
    pub fn render(&self) -> String {
        self.recorder.handle().render()
    }

    /// Counts a Confirm or Cancel, named by `verb`, that was refused for good: the caller and the
    /// platform disagree on what became of the order (trap 10).
    pub fn close_refused(&self, verb: &'static str, reason: &'static str) {
        let labels = vec![Label::new("verb", verb), Label::new("reason", reason)];
        let metadata = Metadata::new(module_path!(), Level::INFO, None);
        self.recorder
            .register_counter(&Key::from_parts(CLOSES_REFUSED, labels), &metadata)
            .increment(1);
    }
}

/// A listener for [`serve`].
///
/// # Errors
/// One plain sentence with the remedy.
pub async fn listen(addr: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(addr).await.with_context(|| {
        format!("cannot serve metrics on {addr}: stop the program that uses the port, or choose another metrics.listen")
    })
}

/// Answers `GET /metrics` until `stop`.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>, stop: CancellationToken) {
    let text = move || {
        let metrics = Arc::clone(&metrics);
        async move { ([(CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render()) }
    };
    let router = Router::new().route("/metrics", get(text));
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = served.await {
        tracing::warn!(%error, "metrics are not served any more");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_closes_are_counted_by_verb_and_reason() {
        let metrics = Metrics::default();
        metrics.close_refused("confirm", "LOCK_LAPSED");
        metrics.close_refused("confirm", "LOCK_LAPSED");
        let text = metrics.render();
        let labels = r#"{verb="confirm",reason="LOCK_LAPSED"} 2"#;
        assert!(text.contains(&format!("{CLOSES_REFUSED}{labels}")), "{text}");
    }

    #[test]
    fn gauges_are_rendered_with_what_they_mean() {
        let metrics = Metrics::default();
        metrics.redemptions_stuck.set(3.0);
        let text = metrics.render();
        assert!(text.contains("# HELP coupon_redemptions_stuck Locks that are overdue"), "{text}");
        assert!(text.contains("\ncoupon_redemptions_stuck 3\n"), "{text}");
    }
}
