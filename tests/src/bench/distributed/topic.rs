//! How many messages the broker was given, asked over its admin interface.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Messages published so far to the alarm topic, and to those whose names continue its name.
pub(super) async fn messages(admin_url: &str, topic: &str) -> anyhow::Result<u64> {
    let (namespace, name) = split(topic).context("the alarm topic has an unusual name")?;
    let listed = get(admin_url, &format!("/admin/v2/persistent/{namespace}")).await?;
    let topics = listed.as_array().context("the broker does not list its topics")?;
    let mut sum = 0;
    for found in topics.iter().filter_map(Value::as_str) {
        let Some((_, found)) = split(found).filter(|(_, found)| found.starts_with(name)) else {
            continue;
        };
        let stats =
            get(admin_url, &format!("/admin/v2/persistent/{namespace}/{found}/stats")).await?;
        sum += stats["msgInCounter"].as_u64().context("the broker counts no messages")?;
    }
    Ok(sum)
}

/// `persistent://TENANT/NAMESPACE/NAME`: (`TENANT/NAMESPACE`, `NAME`).
fn split(topic: &str) -> Option<(&str, &str)> {
    topic.strip_prefix("persistent://")?.rsplit_once('/')
}

/// A GET of HTTP/1.0, which is answered in one piece.
async fn get(base: &str, path: &str) -> anyhow::Result<Value> {
    let host = base.trim_start_matches("http://").trim_end_matches('/');
    let asked = async {
        let mut stream = TcpStream::connect(host).await?;
        let request =
            format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nAccept: application/json\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        anyhow::Ok(answer)
    };
    let answer = timeout(ANSWER_TIMEOUT, asked).await;
    let answer = answer.with_context(|| format!("{base} does not answer"))??;
    let (head, body) = answer.split_once("\r\n\r\n").context("the broker's answer has no end")?;
    let status = head.lines().next().unwrap_or_default();
    ensure!(status.contains(" 200"), "{base}{path}: {status}");
    serde_json::from_str(body).with_context(|| format!("{base}{path} answered no JSON"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_split_into_namespace_and_name() {
        assert_eq!(split("persistent://public/default/a-1"), Some(("public/default", "a-1")));
        assert_eq!(split("a-1"), None);
    }
}
