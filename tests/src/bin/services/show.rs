//! What the user sees.

use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use coupon_tests::services::{Addresses, Service, Services, Step};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

/// Ends what `hold` prints once its services answer.
pub(crate) const READY: &str = "ready";

/// The environment, as lines for a shell.
pub(crate) fn exports(addresses: &Addresses) -> String {
    addresses.to_env().iter().map(|(name, value)| format!("export {name}='{value}'\n")).collect()
}

/// Where everything is, and what to do with it.
pub(crate) fn told(addresses: &Addresses) -> String {
    let mut text = String::from("\n");
    for (index, url) in addresses.mysql_shards.iter().enumerate() {
        text += &format!("MariaDB {index}   {url}\n");
    }
    for url in addresses.mysql_replicas.iter().filter(|url| !url.is_empty()) {
        text += &format!("  replica   {url}\n");
    }
    text += &format!("Redis       {}\n", addresses.redis_nodes.join(" "));
    text += &format!("Pulsar      {} {}\n\n", addresses.pulsar_url, addresses.pulsar_admin_url);
    text += &exports(addresses);
    text + "\n`cargo xtask test`, `run --distributed`, `demo --distributed` and `replay --distributed` use them from now on;\n\
           plain `cargo test` needs the lines above. `cargo xtask services down` stops them and removes their data."
}

/// Prints a line per service; answers 1 when one is dead.
pub(crate) fn status(services: &Services, as_json: bool) -> anyhow::Result<ExitCode> {
    let mut alive = true;
    let mut total = 0;
    let mut rows = Vec::new();
    for service in services.all() {
        let state = state(service);
        alive &= state != "dead";
        total += service.rss_bytes();
        rows.push((service, state));
    }
    if as_json {
        let rows: Vec<_> = rows.iter().map(|(service, state)| row(service, state)).collect();
        println!("{}", json!({"folder": services.folder(), "services": rows}));
    } else {
        for (service, state) in rows {
            let pid = service.pid().map_or_else(|| "-".to_owned(), |pid| pid.to_string());
            let memory = service.rss_bytes() >> 20;
            println!(
                "{:16} {state:8} pid {pid:>8}  port {:>5}  {memory:>4} MB",
                service.name, service.port
            );
        }
        println!("{:16} {:>43} MB", "total", total >> 20);
    }
    Ok(if alive { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn row(service: &Service, state: &str) -> serde_json::Value {
    json!({
        "name": service.name,
        "kind": service.kind,
        "state": state,
        "pid": service.pid(),
        "port": service.port,
        "more_ports": service.more_ports,
        "folder": service.folder,
        "rss_bytes": service.rss_bytes(),
    })
}

fn state(service: &Service) -> &'static str {
    match (service.is_alive(), service.is_paused()) {
        (false, _) => "dead",
        (true, true) => "frozen",
        (true, false) => "running",
    }
}

/// A line per service that turns from a spinner into what became of it.
#[derive(Clone)]
pub(crate) struct Progress {
    all: MultiProgress,
    bars: Arc<Mutex<BTreeMap<String, (ProgressBar, Instant)>>>,
    plain: bool,
}

impl Progress {
    /// `silent` shows nothing; without a terminal only what is up is told.
    pub(crate) fn new(silent: bool) -> Self {
        let all = MultiProgress::new();
        let plain = !silent && all.is_hidden();
        if silent {
            all.set_draw_target(ProgressDrawTarget::hidden());
        }
        Self { all, bars: Arc::default(), plain }
    }

    /// Shows a step.
    pub(crate) fn tell(&self, step: Step<'_>) {
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        let name = match step {
            Step::Doing(name, _) | Step::Up(name) => name,
        };
        let (bar, since) = bars.entry(name.to_owned()).or_insert_with(|| {
            let bar = self.all.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix:16} {msg} {elapsed}")
            {
                bar.set_style(style);
            }
            bar.set_prefix(name.to_owned());
            bar.enable_steady_tick(Duration::from_millis(100));
            (bar, Instant::now())
        });
        match step {
            Step::Doing(_, what) => bar.set_message(what.to_owned()),
            Step::Up(_) => {
                let took = since.elapsed().as_secs_f64();
                if let Ok(style) = ProgressStyle::with_template("  {prefix:16} {msg}") {
                    bar.set_style(style);
                }
                bar.finish_with_message(format!("up in {took:.1} s"));
                if self.plain {
                    println!("  {name:16} up in {took:.1} s");
                }
            }
        }
    }

    /// Ends the spinners that still turn.
    pub(crate) fn finish(&self) {
        let bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        for (bar, _) in bars.values().filter(|(bar, _)| !bar.is_finished()) {
            bar.abandon();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exported_lines_can_be_read_by_a_shell() {
        let addresses = Addresses {
            mysql_shards: vec!["mysql://a:1?socket=/s".into(), "mysql://a:2".into()],
            mysql_replicas: vec![String::new(), String::new()],
            redis_nodes: vec!["a:3".into()],
            pulsar_url: "pulsar://a:4".into(),
            pulsar_admin_url: "http://a:5".into(),
        };
        let text = exports(&addresses);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 5);
        assert_eq!(lines[0], "export COUPON_TEST_MYSQL_SHARDS='mysql://a:1?socket=/s,mysql://a:2'");
        assert!(told(&addresses).contains(&text));
    }
}
