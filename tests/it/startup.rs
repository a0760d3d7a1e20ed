//! The server's program at its start and its end: one plain sentence with its remedy for whatever
//! keeps it from serving, and a drain at SIGTERM (R24, R65).

mod commands;
mod disk_full;
mod drain;

use std::path::Path;

use coupon_tests::process::{ServerOptions, ServerProcess};
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::harness::programs::{server, server_with};

/// Runs the program, which must refuse: exit code 1, nothing on stdout and one line on stderr, which
/// is answered.
async fn refused(args: &[&str]) -> String {
    refused_with(args, &[]).await
}

async fn refused_with(args: &[&str], envs: &[(&str, &str)]) -> String {
    let ended = server_with(args, envs).await;
    assert_eq!(ended.code, Some(1), "{args:?}: {ended:?}");
    assert_eq!(ended.stdout, "", "{args:?}");
    let lines: Vec<&str> = ended.stderr.lines().collect();
    let [line] = lines[..] else { panic!("{args:?}: not one line: {ended:?}") };
    let sentence = line.strip_prefix("error: ").unwrap_or_else(|| panic!("{args:?}: {line}"));
    assert!(!sentence.ends_with('.'), "{args:?}: {line}");
    for cause in ["os error", "code:"] {
        assert!(sentence.matches(cause).count() <= 1, "{args:?}: says it twice: {line}");
    }
    sentence.to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// What `serve` says of a data folder that it cannot use.
async fn serve_refused(data_dir: &Path) -> String {
    refused(&["serve", "--listen", "127.0.0.1:0", "--data-dir", text(data_dir)]).await
}

async fn start(data_dir: &Path) -> ServerProcess {
    let started = ServerProcess::start(ServerOptions::new(data_dir)).await;
    started.unwrap_or_else(|error| panic!("{error:#}"))
}

async fn open(data_dir: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(data_dir.join("coupon.db"));
    SqliteConnection::connect_with(&options).await.expect("the database")
}

// R65: a folder that is none.
#[tokio::test]
async fn a_file_where_the_folder_should_be() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    for path in [file.path().to_owned(), file.path().join("below")] {
        let sentence = serve_refused(&path).await;
        let expected = format!(
            "the data folder {} is a file or lies below one, \
             choose another --data-dir or move the file away",
            path.display()
        );
        assert_eq!(sentence, expected);
    }
}

// R65: a folder that takes no files, from whoever asks: the kernel's own file systems.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_folder_that_is_not_writable() {
    for path in ["/proc/coupon", "/proc/self", "/sys/coupon", "/sys/kernel"] {
        let sentence = serve_refused(Path::new(path)).await;
        assert!(sentence.starts_with(&format!("the data folder {path} ")), "{sentence}");
        assert!(sentence.ends_with("or choose another --data-dir"), "{sentence}");
    }
}

// R65: things in the way of the folder's own files.
#[tokio::test]
async fn a_database_that_is_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("coupon.db");
    std::fs::write(&database, "this is no database, but it is long enough to look like one\n")
        .expect("written");
    let sentence = serve_refused(folder.path()).await;
    let named = format!("cannot open the database {}", database.display());
    assert!(sentence.starts_with(&named), "{sentence}");
    assert!(sentence.contains("not a database"), "{sentence}");
    assert!(sentence.ends_with("move it away or choose another --data-dir"), "{sentence}");

    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("coupon.db")).expect("a folder in the way");
    let sentence = serve_refused(folder.path()).await;
    assert!(sentence.starts_with("cannot open the database"), "{sentence}");

    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("lock")).expect("a folder in the way");
    let sentence = serve_refused(folder.path()).await;
    assert!(sentence.ends_with("or choose another --data-dir"), "{sentence}");
}

// R65: a database that a newer version has written, on either set of migrations; nothing is changed.
#[tokio::test]
async fn a_database_of_a_newer_version() {
    for table in ["shard_migration", "meta_migration"] {
        let folder = tempfile::tempdir().expect("a folder");
        start(folder.path()).await.stop().await.expect("it stops");
        let mut database = open(folder.path()).await;
        let insert = format!("INSERT INTO {table} VALUES ('m20991231_000001_from_the_future', 0)");
        sqlx::query(sqlx::AssertSqlSafe(insert)).execute(&mut database).await.expect("inserted");
        database.close().await.expect("closed");
        for args in [
            &["serve", "--listen", "127.0.0.1:0", "--data-dir", text(folder.path())][..],
            &["migrate", "--data-dir", text(folder.path())],
        ] {
            let expected = "the database was written by a newer version \
                            (it has `m20991231_000001_from_the_future`); \
                            run that version or a later one, or choose another --data-dir";
            assert_eq!(refused(args).await, expected);
        }
        // Without the row it is served again.
        let mut database = open(folder.path()).await;
        let delete = format!("DELETE FROM {table} WHERE version LIKE '%future'");
        sqlx::query(sqlx::AssertSqlSafe(delete)).execute(&mut database).await.expect("deleted");
        database.close().await.expect("closed");
        start(folder.path()).await.stop().await.expect("it stops");
    }
}

// R65: a port that somebody else has.
#[tokio::test]
async fn a_port_that_is_taken() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = listener.local_addr().expect("an address").to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let sentence = refused(&["serve", "--listen", &taken, "--data-dir", text(folder.path())]).await;
    let expected = format!(
        "cannot listen on {taken}: stop the program that uses the port, or choose another --listen"
    );
    assert!(sentence.starts_with(&expected), "{sentence}");
    assert!(sentence.contains("in use"), "{sentence}");
    // The refused start has left nothing that keeps the next one out.
    start(folder.path()).await.stop().await.expect("it stops");
}

// R65: two servers on one folder; the first is not disturbed, and a crash leaves no lock.
#[tokio::test]
async fn a_second_server_on_the_same_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut first = start(folder.path()).await;
    let expected = format!(
        "the data folder {} is in use by another server (process {}), \
         stop the other server or choose another --data-dir",
        folder.path().display(),
        first.pid()
    );
    assert_eq!(serve_refused(folder.path()).await, expected);
    assert_eq!(refused(&["migrate", "--data-dir", text(folder.path())]).await, expected);
    let client = crate::harness::connect(first.endpoint()).await;
    let listed = client.list_templates(coupon_client::v1::ListTemplatesRequest::default()).await;
    assert!(listed.expect("the first serves").templates.is_empty());
    // Reading beside it is welcome.
    let audit = server(&["audit", "--data-dir", text(folder.path())]).await;
    assert_eq!(audit.code, Some(0), "{audit:?}");
    let check = server(&["check-config", "--data-dir", text(folder.path())]).await;
    assert!(check.stdout.contains("a server is running on it"), "{check:?}");
    first.kill().await;
    start(folder.path()).await.stop().await.expect("it stops");
}

// R65: a folder that has lived under a test clock.
#[tokio::test]
async fn a_folder_of_a_test_clock() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = ServerOptions {
        test_clock: Some("2026-11-11T00:00:00Z".to_owned()),
        ..ServerOptions::new(folder.path())
    };
    let server = ServerProcess::start(options).await.expect("started");
    server.stop().await.expect("it stops");
    let sentence = serve_refused(folder.path()).await;
    let expected = "the data folder belongs to a test clock, which stands at 2026-11-11T00:00:00Z; \
                    start with --test-clock, or choose another --data-dir";
    assert_eq!(sentence, expected);
}
