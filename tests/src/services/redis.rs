//! Redis Cluster: three primaries with a replica each, in memory only.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use tokio::time::{sleep, timeout};

use super::{
    Options, Step,
    port::Ports,
    program,
    service::{Kind, Launch, POLL, Service},
};

const NODES: usize = 6;
const CONFIG: &str = "redis.conf";
const CLUSTER_TIMEOUT: Duration = Duration::from_secs(60);
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// Six nodes that are not running yet.
pub(super) fn nodes(folder: &Path, ports: &mut Ports) -> anyhow::Result<Vec<Service>> {
    let server = program::find("redis-server")?;
    let node = |index| {
        let launch = Launch { program: server.clone(), args: vec![CONFIG.to_owned()] };
        let name = format!("redis-{index}");
        let folder = folder.join(&name);
        let ports = (ports.take()?, vec![ports.take()?]);
        Ok(Service::new(name, Kind::Redis, ports, folder, launch))
    };
    (0..NODES).map(node).collect()
}

/// The gate must survive losing everything, so nothing is kept on disk. Slots whose primary is gone
/// must not stop the others, and a promotion must come soon.
fn config(service: &Service) -> String {
    let bus = service.more_ports.first().copied().unwrap_or_default();
    format!(
        "port {}
cluster-port {bus}
bind 127.0.0.1
daemonize no
cluster-enabled yes
cluster-config-file nodes.conf
cluster-node-timeout 1000
cluster-replica-validity-factor 0
cluster-require-full-coverage no
maxmemory 64mb
maxmemory-policy noeviction
repl-diskless-sync-delay 0
repl-backlog-size 1mb
appendonly no
save \"\"
",
        service.port
    )
}

/// Starts the nodes and makes a cluster of them.
pub(super) async fn start(nodes: Vec<Service>, options: &Options) -> anyhow::Result<Vec<Service>> {
    for node in &nodes {
        options.tell(Step::Doing(&node.name, "starting"));
        fs::create_dir_all(&node.folder)
            .with_context(|| format!("cannot make {}", node.folder.display()))?;
        fs::write(node.folder.join(CONFIG), config(node))
            .with_context(|| format!("cannot write the configuration of {}", node.name))?;
        node.spawn()?;
    }
    for node in &nodes {
        node.answers().await?;
        options.tell(Step::Doing(&node.name, "joining the cluster"));
    }
    let cli = program::find("redis-cli")?;
    let mut args = vec!["--cluster".to_owned(), "create".to_owned()];
    args.extend(nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)));
    args.extend(["--cluster-replicas", "1", "--cluster-yes"].map(str::to_owned));
    program::run(&cli, &nodes[0].folder, &args).await.context("cannot make the Redis Cluster")?;

    let started = Instant::now();
    for node in &nodes {
        while !in_order(node).await? {
            if started.elapsed() > CLUSTER_TIMEOUT {
                bail!("{} is not in the cluster; its log ends:\n{}", node.name, node.log(20));
            }
            sleep(POLL).await;
        }
        options.tell(Step::Up(&node.name));
    }
    Ok(nodes)
}

/// Whether the node knows every other, all slots are served, and, if it is a replica, it follows.
async fn in_order(node: &Service) -> anyhow::Result<bool> {
    let cluster = ask(node, &["cluster", "info"]).await?;
    let replication = ask(node, &["info", "replication"]).await?;
    let has = |text: &str, line: &str| text.lines().any(|l| l.trim_end() == line);
    let known = format!("cluster_known_nodes:{NODES}");
    let follows = has(&replication, "role:master") && has(&replication, "connected_slaves:1")
        || has(&replication, "master_link_status:up");
    Ok(has(&cluster, "cluster_state:ok") && has(&cluster, &known) && follows)
}

async fn ask(node: &Service, words: &[&str]) -> anyhow::Result<String> {
    let port = node.port.to_string();
    let args = [&["-h", "127.0.0.1", "-p", &port], words].concat();
    let cli = program::find("redis-cli")?;
    let answer = program::run(&cli, &node.folder, args);
    timeout(PING_TIMEOUT, answer).await.context("no answer within 2 s")?
}

/// Whether it answers.
pub(super) async fn ping(node: &Service) -> anyhow::Result<()> {
    let answer = ask(node, &["ping"]).await?;
    ensure!(answer.trim() == "PONG", "it answers {answer}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_small_keep_nothing_and_fail_over_soon() {
        let mut ports = Ports::new().unwrap();
        let nodes = nodes(Path::new("/a"), &mut ports).unwrap();
        assert_eq!(nodes.len(), 6);
        let text = config(&nodes[0]);
        for line in [
            "maxmemory 64mb",
            "maxmemory-policy noeviction",
            "cluster-node-timeout 1000",
            "cluster-require-full-coverage no",
            "appendonly no",
            "save \"\"",
        ] {
            assert!(text.lines().any(|l| l == line), "no {line} in\n{text}");
        }
        assert!(text.contains(&format!("port {}\n", nodes[0].port)));
        assert_ne!(nodes[0].port, nodes[0].more_ports[0]);
    }
}
