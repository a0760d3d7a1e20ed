//! Watches for locks that are overdue and not released: what a coordinator forgot and no alarm and no
//! sweep has freed (trap 12). A gauge shows them, the log names some, and a command of the operator's
//! is told.

use std::{process::Stdio, sync::Arc, time::Instant};

use anyhow::Context as _;
use coupon_domain::{redemption::Redemption, time::Timestamp};
use serde::Serialize;
use tokio::{io::AsyncWriteExt as _, process::Command};
use tokio_util::sync::CancellationToken;

use super::every;
use crate::{
    clock::Clock,
    config::StuckConfig,
    ledger::{Ledger, LedgerError},
    telemetry::metrics::Metrics,
};

/// Redemptions counted in one read.
const PAGE: usize = 1_000;
/// Redemptions that are named.
const NAMED_MAX: usize = 10;

/// What the command is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Notice {
    /// `stuck` or `cleared`.
    event: &'static str,
    /// How many there are.
    count: usize,
    /// Whether there may be more than `count`.
    more: bool,
    /// How long the first has been overdue, in seconds.
    oldest_overdue_s: i64,
    /// Some of them, longest overdue first.
    redemptions: Vec<Named>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Named {
    user_id: i64,
    order_id: String,
    redemption_id: i64,
    /// Milliseconds since 1970.
    locked_until_ms: i64,
}

impl Notice {
    fn new(event: &'static str) -> Self {
        Self { event, count: 0, more: false, oldest_overdue_s: 0, redemptions: Vec::new() }
    }

    fn enter(&mut self, redemption: &Redemption, now: Timestamp) {
        let Some(until) = redemption.locked_until else { return };
        if self.count == 0 {
            self.oldest_overdue_s = (now.as_millis() - until.as_millis()) / 1_000;
        }
        if self.redemptions.len() < NAMED_MAX {
            self.redemptions.push(Named {
                user_id: redemption.user.get(),
                order_id: redemption.order.clone(),
                redemption_id: redemption.id.get(),
                locked_until_ms: until.as_millis(),
            });
        }
        self.count += 1;
    }
}

/// The watch.
pub struct StuckWatch {
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    config: StuckConfig,
}

impl StuckWatch {
    /// One that has not looked yet.
    pub fn new(
        ledger: Arc<dyn Ledger>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        config: StuckConfig,
    ) -> Self {
        Self { ledger, clock, metrics, config }
    }

    /// Looks until `stop`; the gauges say 0 afterwards, because another node may look from then on.
    pub async fn run(self, stop: CancellationToken) {
        let told = tokio::sync::Mutex::new(None);
        every(self.config.check_interval(), &stop, || async {
            match self.look().await {
                Ok(notice) => self.tell(notice, &mut *told.lock().await).await,
                Err(error) => tracing::warn!(%error, "stuck redemptions not counted"),
            }
        })
        .await;
        self.show(&Notice::new("cleared"));
    }

    async fn look(&self) -> Result<Notice, LedgerError> {
        let now = self.clock.now();
        let until = now.minus(self.config.min_overdue());
        let mut notice = Notice::new("stuck");
        let mut after = None;
        loop {
            let limit = PAGE.min(self.config.count_max - notice.count);
            let page = self.ledger.overdue(until, after, limit).await?;
            page.iter().for_each(|redemption| notice.enter(redemption, now));
            after = page.last().and_then(|last| Some((last.locked_until?, last.id)));
            if page.len() < limit || after.is_none() {
                return Ok(notice);
            }
            if notice.count >= self.config.count_max {
                notice.more = true;
                return Ok(notice);
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    fn show(&self, notice: &Notice) {
        self.metrics.redemptions_stuck.set(notice.count as f64);
        self.metrics.redemptions_stuck_oldest.set(notice.oldest_overdue_s as f64);
    }

    /// Shows what was found and tells of a change, and of what stays again after a while. `told` is when
    /// it was last told that something is stuck.
    async fn tell(&self, notice: Notice, told: &mut Option<Instant>) {
        self.show(&notice);
        let again = |at: &Instant| at.elapsed() >= self.config.repeat_interval();
        if notice.count > 0 && told.as_ref().is_none_or(again) {
            *told = Some(Instant::now());
            let orders: Vec<&str> =
                notice.redemptions.iter().map(|one| one.order_id.as_str()).collect();
            tracing::error!(
                count = notice.count,
                oldest_overdue_s = notice.oldest_overdue_s,
                ?orders,
                "redemptions are stuck: ask the order service, then ForceConfirm or ForceCancel them"
            );
        } else if notice.count == 0 && told.take().is_some() {
            tracing::info!("no redemption is stuck any more");
            return self.command(&Notice::new("cleared")).await;
        } else {
            return;
        }
        self.command(&notice).await;
    }

    async fn command(&self, notice: &Notice) {
        if let Err(error) = self.try_command(notice).await {
            tracing::error!(error = format!("{error:#}"), "stuck.command did not do its work");
        }
    }

    async fn try_command(&self, notice: &Notice) -> anyhow::Result<()> {
        let Some((program, arguments)) = self.config.command.split_first() else { return Ok(()) };
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let mut text = serde_json::to_vec(notice)?;
        text.push(b'\n');
        let input = child.stdin.take();
        let work = async {
            if let Some(mut input) = input {
                // One that does not read is not at fault.
                let _ = input.write_all(&text).await;
            }
            child.wait().await
        };
        let ended = tokio::time::timeout(self.config.command_timeout(), work).await;
        let status = ended.with_context(|| format!("{program} took too long and was killed"))??;
        anyhow::ensure!(status.success(), "{program} ended with {status}");
        Ok(())
    }
}
