//! Secrets in what is printed.

use super::Config;

/// What stands in a secret's place.
const HIDDEN: &str = "***";

/// An address without its password.
pub(crate) fn url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return HIDDEN.to_owned() };
    let Some((account, host)) = rest.rsplit_once('@') else { return url.to_owned() };
    match account.split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:{HIDDEN}@{host}"),
        None => url.to_owned(),
    }
}

/// The configuration as it may be shown.
pub(super) fn config(config: &Config) -> Config {
    let mut shown = config.clone();
    let mysql = &mut shown.mysql;
    let urls = mysql.shard_urls.iter_mut().chain(&mut mysql.replica_urls);
    for secret in urls.chain([&mut mysql.meta_url]).filter(|text| !text.is_empty()) {
        *secret = url(secret);
    }
    for secret in [&mut shown.redis.password, &mut shown.pulsar.token] {
        if !secret.is_empty() {
            HIDDEN.clone_into(secret);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(url("mysql://root:pa@ss@db:3306/c"), "mysql://root:***@db:3306/c");
        assert_eq!(url("mysql://root@db:3306/c"), "mysql://root@db:3306/c");
        assert_eq!(url("mysql://db:3306/c"), "mysql://db:3306/c");
        assert_eq!(url("root:secret"), HIDDEN);
        let mut secret = Config::default();
        secret.mysql.meta_url = "mysql://a:tell@db/c".to_owned();
        secret.mysql.shard_urls = vec!["mysql://a:tell@db/c".to_owned()];
        secret.redis.password = "tell".to_owned();
        secret.pulsar.token = "tell".to_owned();
        assert!(!secret.to_toml().unwrap().contains("tell"));
    }
}
