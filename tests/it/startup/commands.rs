//! The command line: help, settings and the commands that end by themselves (R65).

use super::{refused, refused_with, start, text};
use crate::harness::programs::server;

// R65: a setting that is not known, wherever it stands, with the nearest that is.
#[tokio::test]
async fn an_unknown_setting_is_refused_with_the_nearest_known() {
    let sentence = refused(&["check-config", "--set", "claims.gruop_max=4"]).await;
    let expected = "unknown setting claims.gruop_max in --set, did you mean claims.group_max?";
    assert_eq!(sentence, expected);
    let file = tempfile::NamedTempFile::with_suffix(".toml").expect("a file");
    std::fs::write(file.path(), "[storage]\ndata_dri = \"x\"\n").expect("written");
    let path = text(file.path());
    for command in ["serve", "check-config", "migrate", "audit"] {
        let sentence = refused(&[command, "--config", path]).await;
        assert!(sentence.contains("storage.data_dri"), "{sentence}");
        assert!(sentence.contains(path), "{sentence}");
        assert!(sentence.contains("did you mean storage.data_dir?"), "{sentence}");
    }
    let envs = [("COUPON__SERVER__LISTNE", "127.0.0.1:0")];
    let sentence = refused_with(&["check-config"], &envs).await;
    let expected = "unknown setting COUPON__SERVER__LISTNE in the environment, \
                    did you mean COUPON__SERVER__LISTEN?";
    assert_eq!(sentence, expected);
}

// R65: values that cannot be, and a file that is not there.
#[tokio::test]
async fn a_value_that_cannot_be_is_refused() {
    for (setting, named) in [
        ("claims.group_max=0", "claims.group_max"),
        ("claims.group_max=many", "claims.group_max"),
        ("storage.synchronous=off", "storage.synchronous"),
        ("server.listen=here", "server.listen"),
        ("logging.format=xml", "logging.format"),
    ] {
        let sentence = refused(&["check-config", "--set", setting]).await;
        assert!(sentence.contains(named), "{setting}: {sentence}");
    }
    let sentence = refused(&["check-config", "--config", "/nowhere/coupon.toml"]).await;
    assert!(sentence.contains("/nowhere/coupon.toml"), "{sentence}");
    assert!(sentence.contains("--config"), "{sentence}");
}

// R65: every command explains itself.
#[tokio::test]
async fn every_command_has_its_help() {
    let all = server(&["--help"]).await;
    assert_eq!((all.code, all.stderr.as_str()), (Some(0), ""));
    for command in ["serve", "migrate", "check-config", "audit"] {
        assert!(all.stdout.contains(command), "{command}");
        let help = server(&[command, "--help"]).await;
        assert_eq!(help.code, Some(0), "{help:?}");
        assert!(help.stdout.contains(&format!("Usage: coupon-server {command}")), "{help:?}");
        for option in ["--config", "--data-dir", "--set", "section.key=value"] {
            assert!(help.stdout.contains(option), "{command} {option}: {help:?}");
        }
    }
    let serve = server(&["serve", "--help"]).await.stdout;
    for told in ["--test-clock", "--listen", "listening on ADDRESS", "SIGTERM", "Examples:"] {
        assert!(serve.contains(told), "{told}: {serve}");
    }
    let audit = server(&["audit", "--help"]).await.stdout;
    for told in ["--json", "ends with 1", "Examples:"] {
        assert!(audit.contains(told), "{told}: {audit}");
    }
    // Wrong usage is told apart from a refusal by its exit code, and points to the help.
    let wrong = server(&["serve", "--no-such-option"]).await;
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("--help"), "{wrong:?}");
    let none = server(&[]).await;
    assert_eq!(none.code, Some(2));
    let version = server(&["--version"]).await;
    assert!(version.stdout.starts_with("coupon-server "), "{version:?}");
}

// R65: what check-config prints is a configuration itself.
#[tokio::test]
async fn the_effective_configuration_can_be_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let args = ["check-config", "--data-dir", text(&data), "--set", "claims.group_max=7"];
    let checked = server(&args).await;
    assert_eq!((checked.code, checked.stderr.as_str()), (Some(0), ""));
    assert!(checked.stdout.contains("group_max = 7"), "{}", checked.stdout);
    assert!(checked.stdout.contains("does not exist yet, serve creates it"), "{}", checked.stdout);
    assert!(!data.exists(), "checking creates nothing");
    let file = folder.path().join("coupon.toml");
    std::fs::write(&file, &checked.stdout).expect("written");
    let again = server(&["check-config", "--config", text(&file)]).await;
    assert_eq!(again.stdout, checked.stdout);
}

// R65: migrate makes the folder ready, once.
#[tokio::test]
async fn migrate_applies_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let args = ["migrate", "--data-dir", text(folder.path())];
    let first = server(&args).await;
    assert_eq!(first.code, Some(0), "{first:?}");
    assert!(first.stdout.lines().count() >= 2, "{first:?}");
    assert!(first.stdout.lines().all(|line| line.starts_with("applied ")), "{first:?}");
    let again = server(&args).await;
    assert_eq!(again.code, Some(0), "{again:?}");
    assert_eq!(again.stdout, "nothing to apply, the schema is up to date\n");
    start(folder.path()).await.stop().await.expect("it stops");
}

// R63: audit needs a database, and says so.
#[tokio::test]
async fn an_audit_of_nothing_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    for path in [folder.path().to_owned(), folder.path().join("none")] {
        let sentence = refused(&["audit", "--data-dir", text(&path)]).await;
        assert!(sentence.contains(text(&path)), "{sentence}");
        assert!(sentence.contains("correct --data-dir"), "{sentence}");
    }
    assert!(!folder.path().join("none").exists());
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
}
