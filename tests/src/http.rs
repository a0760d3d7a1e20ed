//! Just enough of HTTP to ask a service of the tests something.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A GET of JSON from `base` (`http://HOST:PORT`).
///
/// # Errors
/// When there is no answer within ten seconds, or it is not 200 with a body in JSON.
pub async fn get(base: &str, path: &str) -> anyhow::Result<Value> {
    let body = get_text(base, path).await?;
    serde_json::from_str(&body).with_context(|| format!("{base}{path} answered no JSON"))
}

/// A GET of HTTP/1.0, which is answered in one piece, from `base` (`http://HOST:PORT`).
///
/// # Errors
/// When there is no answer within ten seconds, or it is not 200.
pub async fn get_text(base: &str, path: &str) -> anyhow::Result<String> {
    let host = base.trim_start_matches("http://").trim_end_matches('/');
    let asked = async {
        let mut stream = TcpStream::connect(host).await?;
        let request = format!(
            "GET {path} HTTP/1.0\r\nHost: {host}\r\nAccept: application/json, text/plain\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        anyhow::Ok(answer)
    };
    let answer = timeout(ANSWER_TIMEOUT, asked).await;
    let answer = answer.with_context(|| format!("{base} does not answer"))??;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer has no end")?;
    let status = head.lines().next().unwrap_or_default();
    ensure!(status.contains(" 200"), "{base}{path}: {status}: {body}");
    Ok(body.to_owned())
}
