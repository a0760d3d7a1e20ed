//! Migrating, checking and refusing to start (R15, R24, R65).

use std::path::Path;

use coupon_tests::{
    cluster::{Cluster, ClusterOptions, run_command},
    process::{ServerOptions, ServerProcess},
};
use sqlx::Executor as _;

use super::{CLOSED, connect, options};
use crate::harness::{
    eventually,
    programs::{Ended, server},
};

fn one_node() -> ClusterOptions {
    ClusterOptions { apis: 1, workers: 0, ..options() }
}

async fn prepare() -> Cluster {
    let cluster = Box::pin(Cluster::prepare(&one_node())).await;
    cluster.unwrap_or_else(|error| panic!("{error:#}"))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// Runs a command with settings of its own.
async fn with(command: &str, config: &Path, settings: &[String]) -> Ended {
    let mut args = vec![command, "--config", text(config)];
    args.extend(settings.iter().flat_map(|setting| ["--set", setting.as_str()]));
    server(&args).await
}

/// What `serve` says, which must refuse.
async fn refused(config: &Path, settings: &[String]) -> String {
    let ended = with("serve", config, settings).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{ended:?}");
    let errors: Vec<_> =
        ended.stderr.lines().filter_map(|line| line.strip_prefix("error: ")).collect();
    let [sentence] = errors[..] else { panic!("not one sentence: {ended:?}") };
    assert!(ended.stderr.ends_with(&format!("error: {sentence}\n")), "{ended:?}");
    sentence.to_owned()
}

async fn execute(url: &str, sql: &'static str) {
    connect(url).await.execute(sql).await.expect(sql);
}

/// What `migrate` says it has applied, sorted.
fn applied(said: &str) -> Vec<&str> {
    let mut applied: Vec<_> = said.lines().filter(|line| line.starts_with("applied ")).collect();
    applied.sort_unstable();
    applied
}

#[tokio::test]
async fn two_may_migrate_at_once() {
    let cluster = prepare().await;
    let config = cluster.any_config();
    let (one, other) =
        tokio::join!(run_command("migrate", &config), run_command("migrate", &config));
    let said = [one, other].map(|ended| {
        let (success, said) = ended.expect("it runs");
        assert!(success, "{said}");
        said
    });
    // Between them they have applied what one would have: each migration once.
    let alone = prepare().await;
    let (_, of_one) = alone.command("migrate").await.expect("it runs");
    Box::pin(alone.stop()).await.expect("dropped");
    assert_eq!(applied(&said.join("\n")), applied(&of_one));
    assert!(!applied(&of_one).is_empty(), "{of_one}");
    let (success, said) = run_command("migrate", &config).await.expect("it runs");
    assert!(success && said.ends_with("nothing to apply, the schema is up to date"), "{said}");
    let checked = with("check-config", &config, &["mysql.replica_urls=".to_owned()]).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    Box::pin(cluster.stop()).await.expect("dropped");
}

#[tokio::test]
async fn a_schema_that_is_behind_is_not_served() {
    let cluster = prepare().await;
    let config = cluster.any_config();
    // Of a new database, and of one shard that was left out.
    let sentence = refused(&config, &[]).await;
    assert!(sentence.contains("is behind"), "{sentence}");
    assert!(sentence.ends_with("run `coupon-server migrate`"), "{sentence}");
    let checked = with("check-config", &config, &[]).await;
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert_eq!(checked.stdout.matches("run `coupon-server migrate`").count(), 3, "{checked:?}");

    assert!(cluster.command("migrate").await.expect("it runs").0);
    let shard = &cluster.databases.shard_urls[1];
    execute(shard, "DELETE FROM shard_migration").await;
    let sentence = refused(&config, &[]).await;
    let name = shard.split(['/', '?']).find(|part| part.starts_with("coupon_t_")).expect("a name");
    assert!(sentence.contains(name), "{sentence}");
    assert!(sentence.ends_with("run `coupon-server migrate`"), "{sentence}");
    Box::pin(cluster.stop()).await.expect("dropped");
}

/// The lines about dependencies: each one's name, and whether it is well.
fn dependencies(checked: &Ended) -> Vec<(String, bool)> {
    let lines = checked.stdout.lines().filter_map(|line| {
        let well = line.starts_with("# ok ");
        let rest = line.strip_prefix("# ok ").or_else(|| line.strip_prefix("# FAILED "))?;
        Some((rest.trim().to_owned(), well))
    });
    lines.collect()
}

#[tokio::test]
async fn every_dependency_is_named() {
    let cluster = prepare().await;
    assert!(cluster.command("migrate").await.expect("it runs").0);
    let config = cluster.any_config();
    // The replica may still be on its way to the schema.
    let checked = eventually("all are well", async || {
        let checked = with("check-config", &config, &[]).await;
        (checked.code == Some(0)).then_some(checked)
    })
    .await;
    let found = dependencies(&checked);
    let replicas = cluster.databases.replica_urls.iter().filter(|url| !url.is_empty()).count();
    assert_eq!(found.len(), 1 + 2 + replicas + 2, "{found:?}");
    assert!(found.iter().all(|(_, well)| *well), "{found:?}");

    let first = &cluster.databases.shard_urls[0];
    let cases = [
        (format!("redis.nodes={CLOSED}"), "redis cluster"),
        (format!("mysql.shard_urls={first},mysql://root@{CLOSED}/gone"), "primary of shard 1"),
        (format!("mysql.replica_urls=mysql://root@{CLOSED}/gone"), "replica of shard 0"),
        (format!("pulsar.url=pulsar://{CLOSED}"), "pulsar broker"),
    ];
    for (setting, name) in cases {
        let since = std::time::Instant::now();
        let checked = with("check-config", &config, &[setting]).await;
        eprintln!("{name} is away: told after {:?}", since.elapsed());
        assert_eq!(checked.code, Some(1), "{checked:?}");
        let away: Vec<_> = dependencies(&checked).into_iter().filter(|(_, well)| !well).collect();
        let [(line, _)] = &away[..] else { panic!("not {name} alone: {away:?}") };
        eprintln!("{line}");
        assert!(line.starts_with(name), "{line}");
        assert!(line.contains(CLOSED), "{line}");
    }
    Box::pin(cluster.stop()).await.expect("dropped");
}

#[tokio::test]
async fn shards_that_are_not_those_of_the_data_are_not_served() {
    let cluster = Box::pin(Cluster::start(&one_node())).await;
    let mut cluster = cluster.unwrap_or_else(|error| panic!("{error:#}"));
    Box::pin(cluster.drain()).await.expect("drained");
    let config = cluster.any_config();
    let [first, second] = &cluster.databases.shard_urls[..] else { panic!("not two shards") };
    let alone = "mysql.replica_urls=".to_owned();

    let swapped = format!("mysql.shard_urls={second},{first}");
    let sentence = refused(&config, &[alone.clone(), swapped]).await;
    assert!(sentence.contains("says that it is shard 1"), "{sentence}");
    assert!(sentence.contains("mysql.shard_urls in the order"), "{sentence}");

    let fewer = format!("mysql.shard_urls={first}");
    let sentence = refused(&config, &[alone.clone(), fewer]).await;
    assert!(sentence.contains("of 2 shards, the configuration names 1"), "{sentence}");

    let twice = format!("mysql.shard_urls={first},{first}");
    let sentence = refused(&config, &[alone, twice]).await;
    assert!(sentence.contains("shard"), "{sentence}");

    // As it was, it is served.
    let mut options = ServerOptions::new(config.with_file_name("unused"));
    options.config = Some(config);
    let again = Box::pin(ServerProcess::start(options)).await.expect("it serves");
    again.stop().await.expect("it stops");
    Box::pin(cluster.stop()).await.expect("dropped");
}
