//! The server under load: started on a data folder, checked, stopped and audited.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use coupon_client::{ClientConfig, CouponClient, v1};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::process::Command;

use super::{
    Violation, cpu,
    load::{Load, Target},
    workload::{claim, request_id},
};
use crate::process::{ServerOptions, ServerProcess, server_binary};

const SETUP_DEADLINE: Duration = Duration::from_secs(60);
const SETUP_CALLS_IN_FLIGHT: usize = 16;

/// The ways to a server that runs: a client for set-up calls and the generator's connections.
#[derive(Debug)]
pub struct Node {
    /// For set-up and checks.
    pub client: CouponClient,
    /// For load.
    pub target: Target,
}

/// A running server on a data folder.
#[derive(Debug)]
pub struct Server {
    process: ServerProcess,
    data_dir: PathBuf,
    /// The ways to it.
    pub node: Node,
}

impl Server {
    /// Starts the server on the folder, with its default configuration.
    pub async fn start(data_dir: &Path) -> anyhow::Result<Self> {
        let process = ServerProcess::start(ServerOptions::new(data_dir)).await?;
        let node = Node::connect(&process).await?;
        Ok(Self { process, data_dir: data_dir.to_owned(), node })
    }

    /// `HOST:PORT`.
    pub fn addr(&self) -> std::net::SocketAddr {
        self.process.addr()
    }

    /// Resident memory, in bytes.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        cpu::resident_bytes(self.process.pid())
    }

    /// Stops the server.
    pub async fn stop(self) -> anyhow::Result<()> {
        let Self { process, node, .. } = self;
        // Connections that stay open would hold up the drain.
        drop(node);
        process.stop().await
    }

    /// Stops the server and has `coupon-server audit` look over its folder.
    pub async fn stop_and_audit(self) -> anyhow::Result<()> {
        let data_dir = self.data_dir.clone();
        self.stop().await?;
        let audit = Command::new(server_binary()?)
            .arg("audit")
            .arg("--data-dir")
            .arg(&data_dir)
            .kill_on_drop(true)
            .output()
            .await
            .context("cannot run coupon-server audit")?;
        if audit.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&audit.stdout);
        let log = String::from_utf8_lossy(&audit.stderr);
        // 1 = violated rows; anything else is an audit that could not be made.
        anyhow::ensure!(audit.status.code() == Some(1), "audit failed: {said}{log}");
        Err(Violation(format!("audit of the ledger: {said}{log}")).into())
    }
}

impl Node {
    /// Opens the connections to the process.
    pub async fn connect(process: &ServerProcess) -> anyhow::Result<Self> {
        let config = ClientConfig {
            channels: 2,
            deadline: SETUP_DEADLINE,
            ..ClientConfig::new(process.endpoint())
        };
        let client = CouponClient::connect(config).await?;
        let target = Target::connect(process.addr(), process.pid()).await?;
        Ok(Self { client, target })
    }

    /// Creates and publishes a template; its id.
    pub async fn publish(&self, template: v1::Template) -> anyhow::Result<i64> {
        let create =
            v1::CreateTemplateRequest { request_id: String::new(), template: Some(template) };
        let created = self.client.create_template(create).await?;
        let template_id = created.template.context("CreateTemplate answered nothing")?.template_id;
        let publish = v1::PublishTemplateRequest { template_id, ..Default::default() };
        self.client.publish_template(publish).await?;
        Ok(template_id)
    }

    /// Asks again, with the same request ids, for the claims whose outcome is unknown.
    pub async fn settle(&self, template_id: i64, load: &mut Load) -> anyhow::Result<()> {
        let unsettled = std::mem::take(&mut load.unsettled);
        let won: Vec<i64> = stream::iter(unsettled)
            .map(|seq| async move {
                let answer = self.client.claim(claim(seq, template_id)).await;
                let answer =
                    answer.with_context(|| format!("cannot settle {}", request_id(seq)))?;
                let coupon = answer.coupon.context("Claim answered OK without a coupon")?;
                anyhow::Ok(coupon.coupon_id)
            })
            .buffer_unordered(SETUP_CALLS_IN_FLIGHT)
            .try_collect()
            .await?;
        load.won.extend(won);
        Ok(())
    }

    /// Coupons given of a template.
    pub async fn issued(&self, template_id: i64) -> anyhow::Result<u64> {
        let request = v1::GetTemplateStatsRequest { template_id };
        let stats = self.client.get_template_stats(request).await?;
        Ok(u64::try_from(stats.issued_count)?)
    }

    /// Holds the wins counted against the coupons seen and the ledger's own count.
    pub async fn check_wins(&self, template_id: i64, won: &[i64]) -> anyhow::Result<()> {
        let distinct = won.iter().collect::<HashSet<_>>().len();
        let issued = self.issued(template_id).await?;
        if distinct == won.len() && issued == won.len() as u64 {
            return Ok(());
        }
        let wins = won.len();
        Err(Violation(format!(
            "template {template_id}: {wins} wins, {distinct} distinct coupons, {issued} issued"
        ))
        .into())
    }
}

/// Calls `make` for 0..count, several at a time, and keeps the answers in order.
pub async fn in_order<T, F>(count: u64, make: impl Fn(u64) -> F) -> anyhow::Result<Vec<T>>
where
    F: Future<Output = anyhow::Result<T>>,
{
    stream::iter(0..count).map(make).buffered(SETUP_CALLS_IN_FLIGHT).try_collect().await
}

/// Fails when a run met an answer that the platform must not give.
pub fn check_load(load: &Load) -> anyhow::Result<()> {
    match &load.violation {
        Some(what) => Err(Violation(what.clone()).into()),
        None => Ok(()),
    }
}
