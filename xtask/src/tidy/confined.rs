//! Names that may stand in a few places only.

use super::{Violation, rust, tree::Tree};

const RULE: &str = "confined-names";

/// A name, where it is looked for, where it may stand, and why.
struct Confined {
    names: &'static [&'static str],
    /// Beginnings of paths that are looked through.
    scope: &'static [&'static str],
    /// Beginnings of paths where the name may stand.
    homes: &'static [&'static str],
    reason: &'static str,
}

const CONFINED: [Confined; 5] = [
    Confined {
        names: &["Code"],
        scope: &["server/src/"],
        homes: &["server/src/rpc/status.rs", "server/src/policy"],
        reason: "outcomes are named as the domain names them and become gRPC codes in rpc/status.rs alone",
    },
    Confined {
        names: &["sea_orm", "sea_orm_migration", "sqlx"],
        scope: &["server/src/"],
        homes: &[
            "server/src/ledger",
            "server/src/catalog",
            "server/src/mint",
            "server/src/backend",
            "server/src/audit",
        ],
        reason: "rows and drivers stay behind the ports",
    },
    Confined {
        names: &["fred", "pulsar::"],
        scope: &["server/src/"],
        homes: &[
            "server/src/gate/redis",
            "server/src/alarm/pulsar",
            "server/src/backend",
            "server/src/config",
        ],
        reason: "drivers stay behind the ports",
    },
    Confined {
        names: &[
            "ledger::sql",
            "gate::embedded",
            "gate::redis",
            "alarm::embedded",
            "alarm::clocked",
            "alarm::pulsar",
        ],
        scope: &["server/src/"],
        homes: &["server/src/ledger", "server/src/gate", "server/src/alarm", "server/src/backend"],
        reason: "a port is used through its trait; backend.rs alone chooses who implements it",
    },
    Confined {
        names: &["SystemTime::now", "Timestamp::now", "Zoned::now"],
        scope: &["server/src/", "domain/", "migrations/src/", "proto/src/"],
        homes: &["server/src/clock"],
        reason: "time is a port: take the injected Clock",
    },
];

/// Confined names stay where they belong. Tests may name them anywhere.
pub(super) fn names(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for rule in &CONFINED {
        let starts = |path: &str, of: &[&str]| of.iter().any(|start| path.starts_with(start));
        let files = tree
            .rust()
            .filter(|file| starts(&file.path, rule.scope) && !starts(&file.path, rule.homes));
        for file in files {
            for (line, code) in file.product_code() {
                for name in rule.names.iter().filter(|name| rust::find_word(code, name).is_some()) {
                    let message = format!("`{name}` must not stand here: {}", rule.reason);
                    found.push(Violation::new(&file.path, line, RULE, message));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{super::tree::tree_of, *};

    fn count(path: &str, text: &str) -> usize {
        names(&tree_of(&[(path, text)])).len()
    }

    #[test]
    fn grpc_codes_belong_to_the_status_file() {
        let text = "fn f() -> Status { Status::new(Code::Ok, \"\") }";
        assert_eq!(count("server/src/rpc/claim.rs", text), 1);
        assert_eq!(count("server/src/usecase.rs", "use tonic::{Code, Status};"), 1);
        assert_eq!(count("server/src/rpc/status.rs", text), 0);
        assert_eq!(count("client/src/error.rs", text), 0);
        assert_eq!(count("server/src/main.rs", "ExitCode::SUCCESS; // Code"), 0);
    }

    #[test]
    fn drivers_belong_behind_the_ports() {
        assert_eq!(count("server/src/rpc.rs", "use sea_orm::Statement;"), 1);
        assert_eq!(count("server/src/usecase/claim.rs", "sqlx::query(x)"), 1);
        assert_eq!(count("server/src/ledger/sqlite.rs", "sqlx::query(x)"), 0);
    }

    #[test]
    fn adapters_are_chosen_in_one_place() {
        let text = "use crate::gate::embedded::EmbeddedGate;";
        assert_eq!(count("server/src/usecase/claim.rs", text), 1);
        assert_eq!(count("server/src/backend.rs", text), 0);
    }

    #[test]
    fn the_clock_alone_reads_the_time() {
        let text = "fn f() { SystemTime::now(); }";
        assert_eq!(count("domain/src/time.rs", text), 1);
        assert_eq!(count("server/src/clock.rs", text), 0);
        assert_eq!(
            count("server/src/ledger.rs", "#[cfg(test)]\nmod t { fn f() { Timestamp::now(); } }"),
            0
        );
    }
}
