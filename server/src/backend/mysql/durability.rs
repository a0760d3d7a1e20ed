//! Whether a server keeps what it has acknowledged.

use std::collections::HashMap;

use anyhow::{Context as _, bail};
use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, Statement};

use crate::config::redact;

/// What decides it, under the names of MariaDB and of both ages of MySQL.
const VARIABLES: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ( \
                         'innodb_flush_log_at_trx_commit', 'sync_binlog', 'log_bin', 'sql_mode', \
                         'rpl_semi_sync_master_enabled', 'rpl_semi_sync_source_enabled', \
                         'rpl_semi_sync_master_wait_point', 'rpl_semi_sync_source_wait_point')";

/// Refuses a server whose settings can lose acknowledged commits, unless that was accepted.
/// `replicated` = a replica is configured, which may have to take over.
///
/// # Errors
/// One plain sentence that names address, variable, value and remedy.
pub async fn check(
    db: &DatabaseConnection,
    url: &str,
    replicated: bool,
    accept_loss: bool,
) -> anyhow::Result<()> {
    let shown = redact::url(url);
    let rows = db.query_all_raw(Statement::from_string(DbBackend::MySql, VARIABLES)).await;
    let rows = rows.with_context(|| format!("cannot read the settings of {shown}"))?;
    let mut variables = HashMap::new();
    for row in rows {
        variables.insert(row.try_get_by_index(0)?, row.try_get_by_index(1)?);
    }
    let found = faults(&variables, replicated);
    let Some(fault) = found.first() else { return Ok(()) };
    if accept_loss {
        for fault in &found {
            tracing::warn!(database = shown, "{fault}, acknowledged commits can be lost");
        }
        return Ok(());
    }
    bail!(
        "{shown} can lose acknowledged commits: {fault}, set it on that server or accept the loss \
         with mysql.accept_loss = true"
    )
}

/// What can lose commits, as "variable is value, not that".
fn faults(variables: &HashMap<String, String>, replicated: bool) -> Vec<String> {
    let of = |names: &[&str]| {
        let found = names.iter().find_map(|name| Some((*name, variables.get(*name)?)));
        found.map(|(name, value)| (name.to_owned(), value.to_uppercase()))
    };
    let mut faults = Vec::new();
    let mut want = |names: &[&str], good: &dyn Fn(&str) -> bool, wanted: &str| {
        let fallback = || (names[0].to_owned(), "missing".to_owned());
        let (name, value) = of(names).unwrap_or_else(fallback);
        if !good(&value) {
            faults.push(format!("{name} is {value}, not {wanted}"));
        }
    };
    let on = |value: &str| matches!(value, "ON" | "1");
    want(&["innodb_flush_log_at_trx_commit"], &|value| value == "1", "1");
    let strict =
        |value: &str| value.contains("STRICT_TRANS_TABLES") || value.contains("STRICT_ALL_TABLES");
    want(&["sql_mode"], &strict, "strict (STRICT_TRANS_TABLES)");
    if replicated || of(&["log_bin"]).is_some_and(|(_, value)| on(&value)) {
        want(&["sync_binlog"], &|value| value == "1", "1");
    }
    if replicated {
        want(&["log_bin"], &on, "ON");
        let enabled = ["rpl_semi_sync_master_enabled", "rpl_semi_sync_source_enabled"];
        want(&enabled, &on, "ON");
        let point = ["rpl_semi_sync_master_wait_point", "rpl_semi_sync_source_wait_point"];
        want(&point, &|value| value == "AFTER_SYNC", "AFTER_SYNC");
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_of(variables: &[(&str, &str)], replicated: bool) -> Vec<String> {
        let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        faults(&owned.collect(), replicated)
    }

    const SAFE: [(&str, &str); 3] = [
        ("innodb_flush_log_at_trx_commit", "1"),
        ("sql_mode", "STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION"),
        ("log_bin", "OFF"),
    ];

    #[test]
    fn what_can_lose_commits_is_named() {
        assert_eq!(faults_of(&SAFE, false), [] as [&str; 0]);
        let [_, mode, bin] = SAFE;
        let lazy = faults_of(&[("innodb_flush_log_at_trx_commit", "2"), mode, bin], false);
        assert_eq!(lazy, ["innodb_flush_log_at_trx_commit is 2, not 1"]);
        let unsynced = faults_of(&[SAFE[0], mode, ("log_bin", "ON"), ("sync_binlog", "0")], false);
        assert_eq!(unsynced, ["sync_binlog is 0, not 1"]);
        let loose = faults_of(&[SAFE[0], ("sql_mode", ""), bin], false);
        assert_eq!(loose, ["sql_mode is , not strict (STRICT_TRANS_TABLES)"]);
    }

    #[test]
    fn with_a_replica_commits_must_reach_it_first() {
        let alone = faults_of(&SAFE, true);
        assert!(alone.contains(&"log_bin is OFF, not ON".to_owned()), "{alone:?}");
        let replicated = [
            SAFE[0],
            SAFE[1],
            ("log_bin", "ON"),
            ("sync_binlog", "1"),
            ("rpl_semi_sync_source_enabled", "ON"),
            ("rpl_semi_sync_source_wait_point", "AFTER_SYNC"),
        ];
        assert_eq!(faults_of(&replicated, true), [] as [&str; 0]);
    }
}
