//! Layers, refusals and the example file.

use std::io::Write;

use super::*;

const EXAMPLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../config/coupon.toml"));

fn variable(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn load_file(text: &str) -> Result<Config, ConfigError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    Config::load(&Sources { file: Some(file.path().to_owned()), ..Sources::default() })
}

fn load_environment(name: &str, value: &str) -> Result<Config, ConfigError> {
    Config::load(&Sources { environment: vec![variable(name, value)], ..Sources::default() })
}

fn load_set(text: &str) -> Result<Config, ConfigError> {
    Config::load(&Sources { flags: vec![Flag::set(text)?], ..Sources::default() })
}

fn message(result: Result<Config, ConfigError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn nothing_is_the_default() {
    assert_eq!(Config::load(&Sources::default()), Ok(Config::default()));
}

#[test]
fn each_layer_wins_over_the_one_below() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"[claims]\ngroup_max = 10\nqueue_max = 2000\nattempts_max = 2\n").unwrap();
    let config = Config::load(&Sources {
        file: Some(file.path().to_owned()),
        environment: vec![
            variable("COUPON__CLAIMS__QUEUE_MAX", "3_000"),
            variable("COUPON__CLAIMS__ATTEMPTS_MAX", "3"),
            variable("PATH", "/bin"),
        ],
        flags: vec![
            Flag::set("claims.attempts_max=4").unwrap(),
            Flag::set("claims.attempts_max = 6").unwrap(),
        ],
    })
    .unwrap();
    assert_eq!(config.claims.group_max, 10);
    assert_eq!(config.claims.queue_max, 3_000);
    assert_eq!(config.claims.attempts_max, 6);
    assert_eq!(config.claims.buckets_max, ClaimsConfig::default().buckets_max);
}

#[test]
fn values_of_every_kind_come_from_text() {
    assert!(!load_set("server.reflection=false").unwrap().server.reflection);
    assert_eq!(
        load_set("storage.synchronous=normal").unwrap().storage.synchronous,
        Synchronous::Normal
    );
    assert_eq!(
        load_environment("COUPON__LOGGING__FORMAT", "json").unwrap().logging.format,
        LogFormat::Json
    );
    assert_eq!(load_set("server.listen=[::1]:0").unwrap().server.listen.port(), 0);
    let nodes = |text: &str| load_set(&format!("redis.nodes={text}")).unwrap().redis.nodes;
    assert_eq!(nodes("a:1, b:2,"), ["a:1", "b:2"]);
    assert!(nodes("").is_empty() && nodes(",").is_empty());
    // The second shard's replica is not the first one's.
    let replicas = load_set("mysql.replica_urls=,mysql://r:1/d,").unwrap().mysql.replica_urls;
    assert_eq!(replicas, ["", "mysql://r:1/d"]);
    // A folder whose name is a number stays text.
    assert_eq!(load_set("storage.data_dir=2024").unwrap().storage.data_dir.to_str(), Some("2024"));
}

#[test]
fn an_unknown_key_names_the_nearest() {
    let text = message(load_file("[server]\nlisten_adress = \"x\"\n"));
    assert!(text.contains("unknown setting server.listen_adress in "), "{text}");
    assert!(text.ends_with("did you mean server.listen?"), "{text}");
    let text = message(load_file("[claim]\ngroup_max = 1\n"));
    assert!(text.contains("unknown setting [claim] in "), "{text}");
    assert!(text.ends_with("did you mean [claims]?"), "{text}");
    let text = message(load_file("deadline_max_ms = 1\n"));
    assert!(text.ends_with("did you mean server.deadline_max_ms?"), "{text}");
    let text = message(load_environment("COUPON__SERVER__LISEN", "x"));
    assert_eq!(
        text,
        "unknown setting COUPON__SERVER__LISEN in the environment, did you mean COUPON__SERVER__LISTEN?"
    );
    let text = message(load_environment("COUPON__LISTEN", "x"));
    assert!(text.ends_with("did you mean COUPON__SERVER__LISTEN?"), "{text}");
    let text = message(load_set("claims.lock_ttl_max_s=1"));
    assert_eq!(
        text,
        "unknown setting claims.lock_ttl_max_s in --set, did you mean redemptions.lock_ttl_max_s?"
    );
    let text = message(load_set("zzz.qqq=1"));
    assert_eq!(text, "unknown setting zzz.qqq in --set, config/coupon.toml shows all settings");
}

#[test]
fn a_bad_value_names_key_value_and_expectation() {
    assert_eq!(
        message(load_set("server.request_max_bytes=4MiB")),
        "server.request_max_bytes = \"4MiB\" in --set is not valid, expected a whole number, 0 or more"
    );
    assert_eq!(
        message(load_environment("COUPON__SERVER__DEADLINE_MAX_MS", "-1")),
        "COUPON__SERVER__DEADLINE_MAX_MS = -1 in the environment is not valid, expected a whole number, 0 or more"
    );
    assert_eq!(
        message(load_set("server.reflection=yes")),
        "server.reflection = \"yes\" in --set is not valid, expected true or false"
    );
    assert_eq!(
        message(load_set("storage.synchronous=off")),
        "storage.synchronous = \"off\" in --set is not valid, expected full or normal"
    );
    assert_eq!(
        message(load_set("storage.cache_kib=5000000000")),
        "storage.cache_kib = 5000000000 in --set is not valid, expected a whole number from 0 to 4294967295"
    );
    let text = message(load_file("[server]\nlisten = \"localhost\"\n"));
    assert!(text.contains("server.listen = \"localhost\" in "), "{text}");
    assert!(text.ends_with("expected an IP address and port such as 127.0.0.1:50051"), "{text}");
    assert_eq!(
        message(load_set("server.listen")),
        "--set server.listen is not valid, expected --set section.key=value"
    );
}

#[test]
fn contradictions_are_refused_together() {
    let text = message(load_file(
        "[redemptions]\nlock_ttl_default_s = 9000\nlock_ttl_max_s = 600\n[claims]\ngroup_max = 0\n",
    ));
    assert!(
        text.contains(
            "redemptions.lock_ttl_default_s = 9000 exceeds redemptions.lock_ttl_max_s = 600"
        ),
        "{text}"
    );
    assert!(text.contains("claims.group_max = 0 is out of range, use 1 to 10000"), "{text}");
    let text = message(load_set("redemptions.fence_retention_days=6"));
    assert!(text.contains("is shorter than redemptions.lock_horizon_s = 604800"), "{text}");
    let text = message(load_set("logging.filter=coupon=loud"));
    assert!(text.contains("logging.filter = \"coupon=loud\" is not a filter"), "{text}");
}

#[test]
fn files_that_cannot_be_read_say_so() {
    let text = message(load_file("[server\n"));
    assert!(text.contains("is not valid TOML: TOML parse error at line 1"), "{text}");
    let text = message(Config::load(&Sources {
        file: Some("no/such/file.toml".into()),
        ..Sources::default()
    }));
    assert!(text.starts_with("cannot read the configuration file no/such/file.toml: "), "{text}");
}

#[test]
fn the_example_is_the_default_and_shows_every_key() {
    assert_eq!(load_file(EXAMPLE), Ok(Config::default()));
    let example: toml::Table = EXAMPLE.parse().unwrap();
    let known = toml::Table::try_from(Config::default()).unwrap();
    assert_eq!(example, known);
    // Above every key stands a comment that repeats the default in words.
    let lines: Vec<&str> = EXAMPLE.lines().collect();
    let mut settings = 0;
    for (index, line) in lines.iter().enumerate() {
        if line.starts_with('#') || !line.contains(" = ") {
            continue;
        }
        settings += 1;
        let comment = lines[..index].iter().rev().take_while(|above| above.starts_with('#'));
        assert!(comment.clone().any(|above| above.contains("Default")), "no default above: {line}");
    }
    let all: usize = known.values().filter_map(toml::Value::as_table).map(toml::Table::len).sum();
    assert_eq!(settings, all);
}

#[test]
fn the_effective_configuration_loads_again() {
    let config = load_set("claims.buckets_max=3").unwrap();
    assert_eq!(load_file(&config.to_toml().unwrap()), Ok(config));
}

#[test]
fn buckets_follow_the_stock() {
    let claims = ClaimsConfig::default();
    let buckets = [0, 10, 127, 128, 640, 1_000_000_000].map(|total| claims.buckets_for(total));
    assert_eq!(buckets, [1, 1, 1, 2, 10, 16]);
}
