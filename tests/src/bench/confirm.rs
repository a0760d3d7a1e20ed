//! Independent generators, where they are installed: `h2load` for M1 and the echo, `ghz` for M2.
//! They confirm the headline figures; a machine without them still gets its figures, and is told.

use std::{fmt::Write as _, io, net::SocketAddr, path::Path};

use anyhow::{Context as _, ensure};
use bytes::{BufMut as _, Bytes, BytesMut};
use http::uri::PathAndQuery;
use tokio::process::Command;

use super::{cpu, echo::EchoCalls, load, server::Server, stage::new_dir, stats::median};

/// By how much an independent figure may differ, in percent.
const DEVIATION_MAX_PERCENT: f64 = 15.0;
const H2LOAD_CALLS: u32 = 100_000;
/// Passes over each side, in turn.
const H2LOAD_ROUNDS: usize = 3;
const GHZ_CALLS: u32 = 40_000;

/// What `h2load` is to send, each body in a pass of its own.
#[derive(Clone, Debug)]
pub struct H2Load {
    uri: String,
    bodies: Vec<Bytes>,
}

impl H2Load {
    /// Calls of one method with prepared messages.
    pub fn new<'a>(
        addr: SocketAddr,
        path: &PathAndQuery,
        bodies: impl IntoIterator<Item = &'a Bytes>,
    ) -> Self {
        let bodies = bodies.into_iter().map(framed).collect();
        Self { uri: format!("http://{addr}{path}"), bodies }
    }

    /// Calls per second when the bodies take turns, from one pass with each.
    async fn rate(&self, root: &Path) -> anyhow::Result<f64> {
        let dir = new_dir(root)?;
        let mut seconds_per_call = 0.0;
        for body in &self.bodies {
            let file = dir.path().join("body");
            std::fs::write(&file, body)?;
            seconds_per_call += 1.0 / self.pass(&file).await? / self.bodies.len() as f64;
        }
        Ok(1.0 / seconds_per_call)
    }

    async fn pass(&self, body: &Path) -> anyhow::Result<f64> {
        let output = Command::new("h2load")
            .args(["-n", &H2LOAD_CALLS.to_string(), "-t", "1"])
            .args(["-c", &load::CONNECTIONS.to_string(), "-m", &load::DEPTH.to_string()])
            .args(["-H", "content-type: application/grpc", "-H", "te: trailers", "-d"])
            .arg(body)
            .arg(&self.uri)
            .kill_on_drop(true)
            .output()
            .await?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "h2load failed: {text}");
        let failed = format!("{H2LOAD_CALLS} succeeded, 0 failed");
        ensure!(text.contains(&failed), "h2load saw failures: {text}");
        parse_rate(&text).with_context(|| format!("h2load told no rate: {text}"))
    }
}

/// The echo's calls as `h2load` sends them.
pub fn echo_h2load(addr: SocketAddr, calls: &EchoCalls) -> H2Load {
    H2Load::new(addr, calls.path(), &calls.bodies())
}

/// A message with gRPC's prefix: not compressed, and its length.
fn framed(message: &Bytes) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    frame.put_u32(message.len() as u32);
    frame.put_slice(message);
    frame.freeze()
}

/// Reads `finished in 1.22s, 81967.21 req/s, 10.1MB/s`.
fn parse_rate(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with("finished in"))?;
    let (before, _) = line.split_once(" req/s")?;
    before.rsplit_once(' ')?.1.parse().ok()
}

/// One line on what `h2load` says of both sides, beside the ratio that we found.
pub async fn h2load(ours: &H2Load, echo: &H2Load, ratio: f64, root: &Path) -> String {
    match h2load_rounds(ours, echo, root).await {
        Ok((ours, echo, found)) => {
            let judged = deviation(found, ratio);
            format!("h2load: ours {ours:.0}/s, echo {echo:.0}/s, ratio {found:.3}, {judged}")
        }
        Err(error) => missing(&error, "h2load", "Debian's nghttp2-client has it"),
    }
}

/// Medians of ours, of the echo and of the ratio, the sides taking turns.
async fn h2load_rounds(
    ours: &H2Load,
    echo: &H2Load,
    root: &Path,
) -> anyhow::Result<(f64, f64, f64)> {
    let (mut our_rates, mut echo_rates, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..H2LOAD_ROUNDS {
        let (our_rate, echo_rate) = (ours.rate(root).await?, echo.rate(root).await?);
        our_rates.push(our_rate);
        echo_rates.push(echo_rate);
        ratios.push(our_rate / echo_rate);
    }
    Ok((median(&our_rates), median(&echo_rates), median(&ratios)))
}

/// One line on the CPU time per win that the server takes when `ghz` drives it, beside ours.
pub async fn ghz(server: &Server, template_id: i64, cpu_us: f64) -> String {
    match ghz_cpu_us(server, template_id).await {
        Ok(found) => format!("ghz: {found:.1} CPU-µs per win, {}", deviation(found, cpu_us)),
        Err(error) => missing(&error, "ghz", "`go install github.com/bojand/ghz/cmd/ghz@latest`"),
    }
}

async fn ghz_cpu_us(server: &Server, template_id: i64) -> anyhow::Result<f64> {
    // Scattered, as ours are, and below them; a user drawn twice is refused and not counted.
    let user = "{{randomInt 1000000 1000000000000}}";
    let claim = format!(
        r#"{{"user_id":"{user}","template_id":"{template_id}","request_id":"ghz-{{{{.RequestNumber}}}}"}}"#
    );
    let pid = server.node.target.pid;
    let issued_before = server.node.issued(template_id).await?;
    let cpu_before = cpu::cpu_time(pid)?;
    let output = Command::new("ghz")
        .args(["--insecure", "--call", "coupon.v1.CouponService/Claim", "-d", &claim])
        .args(["-n", &GHZ_CALLS.to_string(), "--connections", &load::CONNECTIONS.to_string()])
        .args(["-c", &(load::CONNECTIONS * load::DEPTH).to_string()])
        .arg(server.addr().to_string())
        .kill_on_drop(true)
        .output()
        .await?;
    let used = cpu::cpu_time(pid)?.saturating_sub(cpu_before);
    let wins = server.node.issued(template_id).await?.saturating_sub(issued_before);
    let log = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && wins > 0, "ghz won nothing: {log}");
    Ok(used.as_secs_f64() * 1e6 / wins as f64)
}

fn deviation(found: f64, ours: f64) -> String {
    let percent = (found / ours - 1.0) * 100.0;
    let verdict = if percent.abs() <= DEVIATION_MAX_PERCENT { "within" } else { "outside" };
    format!("{percent:+.1} % from ours, {verdict} {DEVIATION_MAX_PERCENT} %")
}

fn missing(error: &anyhow::Error, tool: &str, remedy: &str) -> String {
    let absent = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::NotFound);
    let mut line = format!("not confirmed by {tool}: ");
    let _ = match absent {
        true => write!(line, "it is not installed ({remedy})"),
        false => write!(line, "{error:#}"),
    };
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_of_h2load_is_read() {
        let text =
            "progress: 100% done\n\nfinished in 1.22s, 81967.21 req/s, 10.10MB/s\nrequests: 1";
        assert_eq!(parse_rate(text), Some(81_967.21));
        assert_eq!(parse_rate("nothing of the kind"), None);
    }

    #[test]
    fn a_frame_carries_the_length_of_its_message() {
        assert_eq!(framed(&Bytes::from_static(b"abc")).as_ref(), b"\0\0\0\0\x03abc");
    }

    #[test]
    fn a_deviation_names_its_side_of_the_limit() {
        assert_eq!(deviation(1.1, 1.0), "+10.0 % from ours, within 15 %");
        assert_eq!(deviation(0.5, 1.0), "-50.0 % from ours, outside 15 %");
    }

    #[test]
    fn an_absent_tool_is_told_with_its_remedy() {
        let absent = io::Error::from(io::ErrorKind::NotFound).into();
        let line = missing(&absent, "h2load", "install it");
        assert_eq!(line, "not confirmed by h2load: it is not installed (install it)");
    }
}
