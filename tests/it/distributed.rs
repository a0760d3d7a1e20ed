//! The distributed platform end to end: several server processes on MySQL shards, a Redis Cluster
//! and a Pulsar broker, over real gRPC.

mod alarms;
mod claims;
mod lost;
mod nodes;
mod orders;
mod reads;
mod start;

use coupon_client::{CouponClient, v1};
use coupon_server::clock::wall_millis;
use coupon_tests::{
    cluster::{Cluster, ClusterOptions, Node},
    services::Addresses,
};
use sqlx::{ConnectOptions as _, MySqlConnection, mysql::MySqlConnectOptions};

use crate::harness::{
    self, at_once,
    given::{DAY, HOUR, claim, fixed, instant, rules, template_of},
};

/// A running cluster and a client of each of its first two API nodes; of the only one, when there is
/// one.
pub(crate) struct Stage {
    /// Its nodes and databases.
    pub(crate) cluster: Cluster,
    /// Of the first node.
    pub(crate) a: CouponClient,
    b: CouponClient,
}

impl Stage {
    /// Two API nodes and a worker.
    async fn start() -> Self {
        Self::start_with(options()).await
    }

    /// As many nodes as the options say.
    pub(crate) async fn start_with(options: ClusterOptions) -> Self {
        let cluster = Box::pin(Cluster::start(&options)).await;
        let cluster = cluster.unwrap_or_else(|error| panic!("{error:#}"));
        let last = cluster.apis.last().expect("an API node").endpoint();
        let a = harness::connect(cluster.apis[0].endpoint()).await;
        let b = harness::connect(last).await;
        Self { cluster, a, b }
    }

    /// Either node in turn.
    fn client(&self, turn: i64) -> CouponClient {
        if turn % 2 == 0 { self.a.clone() } else { self.b.clone() }
    }

    /// Sends every claim through the node whose turn it is, many at once; answers in their order.
    async fn claim_all(
        &self,
        claims: impl IntoIterator<Item = (i64, v1::ClaimRequest)>,
    ) -> Vec<Claimed> {
        at_once(claims.into_iter().map(|(turn, request)| {
            let client = self.client(turn);
            async move { client.claim(request).await }
        }))
        .await
    }

    /// Drains the nodes, audits what they leave and drops it.
    pub(crate) async fn finish(self) {
        let Self { mut cluster, a, b } = self;
        drop((a, b));
        Box::pin(cluster.drain()).await.unwrap_or_else(|error| panic!("{error:#}"));
        let (clean, found) = cluster.command("audit").await.expect("the audit runs");
        assert!(clean, "{found}");
        Box::pin(cluster.stop()).await.expect("the databases are dropped");
    }
}

type Claimed = Result<v1::ClaimResponse, coupon_client::ClientError>;

fn options() -> ClusterOptions {
    ClusterOptions::new(Addresses::from_env().unwrap_or_else(|error| panic!("{error:#}")))
}

/// The id of a won coupon.
fn won(claimed: &Claimed) -> Option<i64> {
    let answer = claimed.as_ref().ok()?;
    Some(answer.coupon.as_ref().expect("the coupon").coupon_id)
}

/// `total` pieces that can be claimed and used now, one each.
fn offer(total: i64) -> v1::Template {
    let now = wall_millis();
    let usable = v1::TemplateRules { use_window: fixed(now - HOUR, now + 30 * DAY), ..rules() };
    offer_of(total, usable)
}

fn offer_of(total: i64, rules: v1::TemplateRules) -> v1::Template {
    let now = wall_millis();
    v1::Template {
        claim_from: Some(instant(now - HOUR)),
        claim_until: Some(instant(now + DAY)),
        ..template_of(total, rules)
    }
}

/// Publishes a template through one node; answers its id.
async fn publish(client: &CouponClient, template: v1::Template) -> i64 {
    let request = v1::CreateTemplateRequest { template: Some(template), ..Default::default() };
    let created = client.create_template(request).await.expect("a draft");
    let template_id = created.template.expect("the draft").template_id;
    let request = v1::PublishTemplateRequest { template_id, ..Default::default() };
    client.publish_template(request).await.expect("published");
    template_id
}

/// Claims under an id of its own; answers the coupon's id.
async fn win(client: &CouponClient, user_id: i64, template_id: i64) -> i64 {
    let claimed = client.claim(claim(user_id, template_id, "")).await;
    won(&claimed).unwrap_or_else(|| panic!("no win: {claimed:?}"))
}

/// Publishes a template for one user and claims it; answers the coupon's id.
async fn give(client: &CouponClient, user: i64, rules: v1::TemplateRules) -> i64 {
    let template = publish(client, offer_of(1_000, rules)).await;
    win(client, user, template).await
}

/// Usable now.
fn usable() -> v1::TemplateRules {
    offer(1).rules.expect("rules")
}

async fn stats(client: &CouponClient, template_id: i64) -> v1::GetTemplateStatsResponse {
    let request = v1::GetTemplateStatsRequest { template_id };
    client.get_template_stats(request).await.expect("counts")
}

/// A connection past the nodes.
pub(crate) async fn connect(url: &str) -> MySqlConnection {
    let options: MySqlConnectOptions = url.parse().expect("an address");
    options.connect().await.expect("the database answers")
}

/// Kills a node (SIGKILL); it can be started again on its address.
async fn kill(node: &mut Node) {
    node.process.as_mut().expect("it runs").kill().await;
}

/// An address of this machine at which nobody listens.
const CLOSED: &str = "127.0.0.1:1";
