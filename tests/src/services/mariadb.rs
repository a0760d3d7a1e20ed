//! MariaDB: primaries with full durability, and a read replica that follows the first of them.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, MySqlConnection, Row as _,
    mysql::MySqlConnectOptions,
};
use tokio::time::{sleep, timeout};

use super::{
    Options, Step, program,
    service::{Kind, Launch, POLL, Service},
};

const SOCKET: &str = "mysql.sock";
/// Longest path of a unix socket that every system takes.
const SOCKET_PATH_MAX: usize = 100;
const REPLICATION_TIMEOUT: Duration = Duration::from_secs(60);
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// Settings of every instance. Nothing that guards a commit is switched off: tests of broken days
/// prove it.
const COMMON: &[&str] = &[
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--sql-mode=STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ZERO_DATE,NO_ZERO_IN_DATE,NO_ENGINE_SUBSTITUTION",
    "--transaction-isolation=READ-COMMITTED",
    "--character-set-server=utf8mb4",
    "--binlog-format=ROW",
    "--gtid-strict-mode=ON",
    "--innodb-doublewrite=ON",
    "--innodb-flush-log-at-trx-commit=1",
    "--sync-binlog=1",
    "--performance-schema=OFF",
    "--max-connections=600",
    // Every connection keeps its statements prepared.
    "--max-prepared-stmt-count=1048576",
];

/// A commit is acknowledged once the replica has it; a dead replica costs one commit a second, then
/// the primary goes on alone until it is back.
const SEMI_SYNC_PRIMARY: &[&str] = &[
    "--rpl-semi-sync-master-enabled=ON",
    "--rpl-semi-sync-master-wait-point=AFTER_SYNC",
    "--rpl-semi-sync-master-timeout=1000",
];

const REPLICA: &[&str] = &[
    "--innodb-buffer-pool-size=64M",
    "--rpl-semi-sync-slave-enabled=ON",
    "--relay-log=relay",
    "--relay-log-recovery=ON",
    "--read-only=ON",
];

/// A primary that is not running yet; the first one waits for its replica.
pub(super) fn primary(folder: &Path, index: usize, port: u16) -> anyhow::Result<Service> {
    let mut settings = vec!["--innodb-buffer-pool-size=256M", "--log-bin=binlog"];
    if index == 0 {
        settings.extend(SEMI_SYNC_PRIMARY);
    }
    instance(folder, format!("mysql-{index}"), Kind::Mysql, port, 1 + index, &settings)
}

/// The read replica of the first primary, not running yet.
pub(super) fn replica(folder: &Path, port: u16) -> anyhow::Result<Service> {
    instance(folder, "mysql-0-replica".to_owned(), Kind::Replica, port, 101, REPLICA)
}

fn instance(
    set: &Path,
    name: String,
    kind: Kind,
    port: u16,
    server_id: usize,
    settings: &[&str],
) -> anyhow::Result<Service> {
    let folder = set.join(&name);
    // The first argument of all, or it is not heeded.
    let mut args = vec!["--no-defaults".to_owned()];
    if program::is_root() {
        args.push("--user=root".to_owned());
    }
    args.push(format!("--datadir={}", data(&folder).display()));
    args.push(tmpdir(&folder));
    // From the data folder, which it works in: an absolute path might be too long.
    args.push(format!("--socket=../{SOCKET}"));
    args.push(format!("--pid-file={}", folder.join("mariadbd.pid").display()));
    args.push(format!("--port={port}"));
    args.push(format!("--server-id={server_id}"));
    args.extend(COMMON.iter().chain(settings).map(|setting| (*setting).to_owned()));
    let launch = Launch { program: program::find("mariadbd")?, args };
    Ok(Service::new(name, kind, (port, Vec::new()), folder, launch))
}

fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

/// A starting server removes whatever temporary tables it finds in this folder, also those that
/// another one is using: each has a folder of its own.
fn tmpdir(folder: &Path) -> String {
    format!("--tmpdir={}", folder.join("tmp").display())
}

/// Address without a database: TCP, with the unix socket for those who may use it.
pub(super) fn url(service: &Service) -> String {
    let tcp = format!("mysql://root@127.0.0.1:{}", service.port);
    match service.folder.join(SOCKET).to_str() {
        Some(path) if path.len() <= SOCKET_PATH_MAX => format!("{tcp}?socket={}", encoded(path)),
        _ => tcp,
    }
}

/// A path as a parameter of an address, in a list with commas.
fn encoded(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
    path.bytes()
        .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// Starts all instances side by side, then the replication.
pub(super) async fn start(
    primaries: Vec<Service>,
    replica: Service,
    options: &Options,
) -> anyhow::Result<(Vec<Service>, Service)> {
    let all = primaries.iter().chain([&replica]);
    futures::future::try_join_all(all.map(|service| Box::pin(install(service, options)))).await?;
    follow(&replica, &primaries[0], options).await?;
    Ok((primaries, replica))
}

async fn install(service: &Service, options: &Options) -> anyhow::Result<()> {
    options.tell(Step::Doing(&service.name, "laying out its data"));
    fs::create_dir_all(service.folder.join("tmp"))
        .with_context(|| format!("cannot make {}", service.folder.display()))?;
    let install = program::find("mariadb-install-db")?;
    let mut args = vec!["--no-defaults".to_owned()];
    if program::is_root() {
        args.push("--user=root".to_owned());
    }
    args.push(format!("--datadir={}", data(&service.folder).display()));
    args.push(tmpdir(&service.folder));
    args.extend(["--auth-root-authentication-method=normal", "--skip-test-db"].map(str::to_owned));
    program::run(&install, &service.folder, &args).await?;
    options.tell(Step::Doing(&service.name, "starting"));
    service.spawn()?;
    service.answers().await?;
    if service.kind == Kind::Mysql {
        options.tell(Step::Up(&service.name));
    }
    Ok(())
}

/// Has the replica follow the primary, and waits until the primary waits for it.
async fn follow(replica: &Service, primary: &Service, options: &Options) -> anyhow::Result<()> {
    options.tell(Step::Doing(&replica.name, "starting the replication"));
    let mut connection = connect(replica).await?;
    // Both start from the same empty layout, so from the same position.
    let change = format!(
        "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {}, MASTER_USER = 'root', \
         MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1",
        primary.port
    );
    for statement in [change.as_str(), "START SLAVE"] {
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
            .execute(&mut connection)
            .await
            .context("cannot start the replication")?;
    }
    let started = Instant::now();
    let mut primary = connect(primary).await?;
    while status(&mut primary, "Rpl_semi_sync_master_clients").await? != "1" {
        if started.elapsed() > REPLICATION_TIMEOUT {
            bail!("the replica does not follow its primary; its log ends:\n{}", replica.log(20));
        }
        sleep(POLL).await;
    }
    options.tell(Step::Up(&replica.name));
    Ok(())
}

async fn status(connection: &mut MySqlConnection, name: &'static str) -> anyhow::Result<String> {
    let text = format!("SHOW GLOBAL STATUS LIKE '{name}'");
    let row = sqlx::raw_sql(AssertSqlSafe(text)).fetch_one(connection).await?;
    Ok(row.try_get::<String, _>(1)?)
}

async fn connect(service: &Service) -> anyhow::Result<MySqlConnection> {
    let options: MySqlConnectOptions = url(service).parse()?;
    Ok(options.connect().await?)
}

/// Whether it answers.
pub(super) async fn ping(service: &Service) -> anyhow::Result<()> {
    let answer = async {
        let mut connection = connect(service).await?;
        connection.ping().await?;
        connection.close().await?;
        anyhow::Ok(())
    };
    timeout(PING_TIMEOUT, Box::pin(answer)).await.context("no answer within 2 s")?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(service: &Service, arg: &str) -> bool {
        service.launch.args.iter().any(|a| a == arg)
    }

    #[test]
    fn a_primary_loses_no_commit() {
        let folder = Path::new("/a");
        let one = primary(folder, 0, 1).unwrap();
        let two = primary(folder, 1, 2).unwrap();
        for service in [&one, &two] {
            assert_eq!(service.launch.args[0], "--no-defaults");
            for setting in [
                "--innodb-flush-log-at-trx-commit=1",
                "--sync-binlog=1",
                "--innodb-doublewrite=ON",
                "--log-bin=binlog",
                "--binlog-format=ROW",
            ] {
                assert!(has(service, setting), "{} lacks {setting}", service.name);
            }
        }
        assert!(has(&one, "--tmpdir=/a/mysql-0/tmp"), "a shared one loses temporary tables");
        assert!(has(&one, "--rpl-semi-sync-master-wait-point=AFTER_SYNC"));
        assert!(!has(&two, "--rpl-semi-sync-master-enabled=ON"), "nobody would answer it");
        assert!(has(&one, "--server-id=1") && has(&two, "--server-id=2"));
        assert!(has(&replica(folder, 3).unwrap(), "--server-id=101"));
    }

    #[test]
    fn addresses_hold_the_port_and_where_possible_the_socket() {
        let short = primary(Path::new("/a b,c"), 0, 7).unwrap();
        assert_eq!(url(&short), "mysql://root@127.0.0.1:7?socket=/a%20b%2Cc/mysql-0/mysql.sock");
        let options: MySqlConnectOptions = url(&short).parse().unwrap();
        assert_eq!(options.get_socket(), Some(&PathBuf::from("/a b,c/mysql-0/mysql.sock")));
        let long = primary(&Path::new("/").join("x".repeat(100)), 0, 7).unwrap();
        assert_eq!(url(&long), "mysql://root@127.0.0.1:7");
    }
}
