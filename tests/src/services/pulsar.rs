//! The Pulsar broker in its standalone form, a JVM with jars that Maven has fetched.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{
    Options, Step,
    port::Ports,
    program,
    service::{Kind, Launch, Service},
};

mod jars;

const CONFIG: &str = "standalone.conf";
/// Link to the folder of the jars, so that the class path is short and known before they are there.
const JARS: &str = "jars";
const MAIN_CLASS: &str = "org.apache.pulsar.PulsarStandaloneStarter";
const PING_TIMEOUT: Duration = Duration::from_secs(5);

const JVM: &[&str] = &[
    "-Xms256m",
    "-Xmx512m",
    "-XX:MaxDirectMemorySize=512m",
    "-Dbookkeeper.metadata.bookie.drivers=org.apache.pulsar.metadata.bookkeeper.PulsarMetadataBookieDriver",
    "-Dbookkeeper.metadata.client.drivers=org.apache.pulsar.metadata.bookkeeper.PulsarMetadataClientDriver",
    "-Dio.netty.tryReflectionSetAccessible=true",
    "-Djava.net.preferIPv4Stack=true",
    "-Dlog4j.shutdownHookEnabled=false",
    // While it sets that up a JVM works in another folder, and is not taken for the service.
    "-XX:-UsePerfData",
    // Native libraries are unpacked there: beside the data, so that they go with it.
    "-Djava.io.tmpdir=tmp",
];

/// Parts of the JDK that the broker reaches into.
const OPENED: &[&str] = &[
    "java.base/java.io",
    "java.base/java.util.zip",
    "java.base/java.nio",
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.platform",
    "java.base/sun.net",
    "java.management/sun.management",
];

/// The broker, not running yet.
pub(super) fn broker(folder: &Path, ports: &mut Ports) -> anyhow::Result<Service> {
    let (service, web, bookie) = (ports.take()?, ports.take()?, ports.take()?);
    let mut args: Vec<String> = JVM.iter().map(|arg| (*arg).to_owned()).collect();
    for opened in OPENED {
        args.extend(["--add-opens".to_owned(), format!("{opened}=ALL-UNNAMED")]);
    }
    args.extend(["-cp".to_owned(), format!("{JARS}/*"), MAIN_CLASS.to_owned()]);
    let bookie_port = bookie.to_string();
    args.extend(
        [
            ["-c", CONFIG],
            ["--metadata-dir", "data/metadata"],
            ["--bookkeeper-dir", "data/bookkeeper"],
            ["--bookkeeper-port", &bookie_port],
            ["-a", "127.0.0.1"],
        ]
        .iter()
        .flatten()
        .map(|arg| (*arg).to_owned()),
    );
    // Neither functions nor streams are used.
    args.extend(["-nfw", "-nss"].map(str::to_owned));
    let launch = Launch { program: program::find("java")?, args };
    let ports = (service, vec![web, bookie]);
    Ok(Service::new("pulsar", Kind::Pulsar, ports, folder.join("pulsar"), launch))
}

fn web_port(broker: &Service) -> anyhow::Result<u16> {
    broker.more_ports.first().copied().context("the broker has no web port")
}

/// Address of its web service.
pub(super) fn admin_url(broker: &Service) -> anyhow::Result<String> {
    Ok(format!("http://127.0.0.1:{}", web_port(broker)?))
}

/// Memory is bounded, and nothing is synced: alarms may be lost, the sweeper finds what they meant.
/// The bookie heeds its port only where ephemeral ones are allowed.
fn config(broker: &Service) -> anyhow::Result<String> {
    let (port, web) = (broker.port, web_port(broker)?);
    Ok(format!(
        "clusterName=standalone
bindAddress=127.0.0.1
advertisedAddress=127.0.0.1
brokerServicePort={port}
webServicePort={web}
managedLedgerDefaultEnsembleSize=1
managedLedgerDefaultWriteQuorum=1
managedLedgerDefaultAckQuorum=1
loadManagerClassName=org.apache.pulsar.broker.loadbalance.NoopLoadManager
loadBalancerEnabled=false
webSocketServiceEnabled=false
functionsWorkerEnabled=false
allowLoopback=true
allowEphemeralPorts=true
ledgerStorageClass=org.apache.bookkeeper.bookie.storage.ldb.DbLedgerStorage
journalSyncData=false
diskUsageThreshold=0.99
diskUsageWarnThreshold=0.98
dbStorage_writeCacheMaxSizeMb=32
dbStorage_readAheadCacheMaxSizeMb=32
delayedDeliveryEnabled=true
delayedDeliveryTickTimeMillis=100
numIOThreads=2
numHttpServerThreads=8
backlogQuotaDefaultLimitGB=-1
"
    ))
}

/// Fetches the jars where they are not there yet, and starts the broker.
pub(super) async fn start(broker: Service, options: &Options) -> anyhow::Result<Service> {
    let jars = jars::provide(&broker.name, options).await?;
    options.tell(Step::Doing(&broker.name, "starting"));
    fs::create_dir_all(broker.folder.join("tmp"))
        .with_context(|| format!("cannot make {}", broker.folder.display()))?;
    fs::write(broker.folder.join(CONFIG), config(&broker)?)
        .context("cannot write the configuration of the broker")?;
    std::os::unix::fs::symlink(&jars, broker.folder.join(JARS))
        .context("cannot link the jars of the broker")?;
    broker.spawn()?;
    broker.answers().await?;
    options.tell(Step::Up(&broker.name));
    Ok(broker)
}

/// Whether it says that it is healthy: it then has sent itself a message.
pub(super) async fn ping(broker: &Service) -> anyhow::Result<()> {
    let port = web_port(broker)?;
    let ask = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let request = format!(
            "GET /admin/v2/brokers/health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        anyhow::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = timeout(PING_TIMEOUT, ask).await.context("no answer within 5 s")??;
    let line = answer.lines().next().unwrap_or_default();
    ensure!(line.split_whitespace().nth(1) == Some("200"), "its health check says {line:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delayed_messages_are_served_on_ports_of_its_own() {
        let mut ports = Ports::new().unwrap();
        let broker = broker(Path::new("/a"), &mut ports).unwrap();
        let text = config(&broker).unwrap();
        for line in [
            format!("brokerServicePort={}", broker.port),
            format!("webServicePort={}", broker.more_ports[0]),
            "delayedDeliveryEnabled=true".to_owned(),
            "backlogQuotaDefaultLimitGB=-1".to_owned(),
        ] {
            assert!(text.lines().any(|l| l == line), "no {line} in\n{text}");
        }
        let args = broker.launch.args.join(" ");
        assert!(args.contains(&format!("--bookkeeper-port {}", broker.more_ports[1])), "{args}");
        assert!(args.contains("--add-opens java.base/java.nio=ALL-UNNAMED"), "{args}");
    }
}
