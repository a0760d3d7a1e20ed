//! What tests ask of a broker beside the queue.

use coupon_server::config::PulsarConfig;
use pulsar::{Producer, Pulsar, TokioExecutor};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// A producer of whatever a test likes.
pub(super) async fn producer(config: &PulsarConfig) -> Producer<TokioExecutor> {
    let client = Box::pin(Pulsar::builder(config.url.as_str(), TokioExecutor).build()).await;
    let client: Pulsar<_> = client.expect("connected");
    let producer = client.producer().with_topic(&config.alarm_topic).build();
    Box::pin(producer).await.expect("a producer")
}

/// Messages of the workers' subscription that were not acknowledged; `None` when there is no such
/// subscription.
pub(super) async fn backlog(admin_url: &str, config: &PulsarConfig) -> Option<i64> {
    let topic = config.alarm_topic.replace("://", "/");
    let stats = get(admin_url, &format!("/admin/v2/{topic}/stats")).await?;
    let stats: Value = serde_json::from_str(&stats).expect("statistics");
    stats["subscriptions"][&config.subscription]["msgBacklog"].as_i64()
}

/// The body of an answer of 200.
async fn get(admin_url: &str, path: &str) -> Option<String> {
    let host = admin_url.strip_prefix("http://").expect("an address of http");
    let mut stream = TcpStream::connect(host).await.expect("the broker's web service");
    let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    head.split(' ').nth(1).is_some_and(|code| code == "200").then(|| body.to_owned())
}
