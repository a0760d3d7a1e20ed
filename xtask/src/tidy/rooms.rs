//! The edges between the server's rooms, the top-level modules of `server/src`.

use super::{
    Violation, rust,
    tree::{File, Tree},
};

const RULE: &str = "room-edges";
const SOURCE: &str = "server/src/";

/// Rooms that every room may name: what all of them speak of, and planted faults for tests of tests.
const OPEN: [&str; 3] = ["error", "serving", "faults"];

/// A room and the further rooms that its code may name. `&["*"]` = any. The domain crate is open to
/// all, and so are the rooms in `OPEN`.
const ROOMS: [(&str, &[&str]); 20] = [
    // The way of a request.
    ("rpc", &["usecase", "policy", "clock", "telemetry", "config"]),
    ("policy", &["telemetry", "config", "clock"]),
    ("usecase", &["catalog", "gate", "ledger", "alarm", "clock", "mint", "config", "telemetry"]),
    // It is loaded through the ledger's port; who implements that is not its business.
    ("gate", &["ledger", "clock", "config"]),
    ("ledger", &["clock", "mint", "config"]),
    // Its messages carry the ledger's alarm rows.
    ("alarm", &["ledger", "clock", "config"]),
    // It finds templates for the ledger, and its database fails in the same ways.
    ("catalog", &["ledger", "mint", "clock", "config"]),
    // Beside it.
    (
        "worker",
        &["usecase", "gate", "ledger", "alarm", "catalog", "mint", "clock", "config", "telemetry"],
    ),
    ("audit", &["data_dir", "config"]),
    ("mint", &["clock", "config"]),
    ("clock", &["config"]),
    ("config", &[]),
    ("data_dir", &["config"]),
    ("telemetry", &["config"]),
    ("error", &[]),
    ("faults", &[]),
    ("serving", &[]),
    // They put the rooms together, so they name them all.
    ("backend", &["*"]),
    ("app", &["*"]),
    ("cli", &["*"]),
];

/// Code of a room names only the rooms that the table allows it. Tests may name any room.
pub(super) fn edges(tree: &Tree) -> Vec<Violation> {
    let files: Vec<(&File, &str)> =
        tree.rust().filter_map(|file| Some((file, room_of(&file.path)?))).collect();
    let is_room = |name: &str| files.iter().any(|(_, room)| *room == name);
    let mut found = Vec::new();
    for (file, room) in &files {
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| name == room) else {
            let message = format!("room `{room}` is not in the table of xtask/src/tidy/rooms.rs");
            found.push(Violation::new(&file.path, 0, RULE, message));
            continue;
        };
        for (line, other) in named_rooms(file) {
            let other = other.as_str();
            let free = other == *room
                || OPEN.contains(&other)
                || allowed.contains(&"*")
                || allowed.contains(&other);
            if is_room(other) && !free && !file.is_test(line) {
                let message = format!("room `{room}` must not name room `{other}`");
                found.push(Violation::new(&file.path, line, RULE, message));
            }
        }
    }
    found
}

/// The room of a file of the server; none for `lib.rs` and `main.rs`, which stand above the rooms.
fn room_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix(SOURCE)?;
    let room = inside.split('/').next()?.trim_end_matches(".rs");
    (!matches!(room, "lib" | "main" | "bin")).then_some(room)
}

/// (line, name) of whatever the file names at the root of the crate: `crate::a`, `crate::{a, b::c}`
/// and as many `super::` as it takes to get there.
fn named_rooms(file: &File) -> Vec<(usize, String)> {
    let code = file.code.join("\n");
    let depth = file.path[SOURCE.len()..].split('/').count();
    let to_root = "super::".repeat(depth);
    let mut found = Vec::new();
    for path in ["crate::", to_root.as_str()] {
        for (at, _) in code.match_indices(path) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| rust::is_word(c) || c == ':') {
                continue;
            }
            let line = code[..at].matches('\n').count() + 1;
            for (offset, name) in first_names(&code[at + path.len()..]) {
                found.push((line + offset, name));
            }
        }
    }
    found
}

/// The first names of a path's rest, `a::b` or `{a, b::{c, d}}`, each with its line offset.
fn first_names(rest: &str) -> Vec<(usize, String)> {
    if !rest.starts_with('{') {
        return vec![(0, rest.chars().take_while(|c| rust::is_word(*c)).collect())];
    }
    let mut names = Vec::new();
    let mut depth = 0;
    let mut line = 0;
    let mut at_start = false;
    for (at, c) in rest.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            '\n' => line += 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && at_start && rust::is_word(c) {
            names.push((line, rest[at..].chars().take_while(|c| rust::is_word(*c)).collect()));
        }
        at_start = depth == 1 && (c == '{' || c == ',' || (at_start && c.is_whitespace()));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::{super::tree::tree_of, *};

    fn found(path: &str, text: &str) -> Vec<String> {
        let others = ["ledger", "gate", "usecase", "config", "backend"]
            .map(|room| (format!("{SOURCE}{room}/x.rs"), String::new()));
        let files = others.into_iter().chain([(path.to_owned(), text.to_owned())]);
        edges(&Tree::from_texts(files)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_forbidden_room_is_found_in_every_way_of_naming_it() {
        for text in [
            "use crate::ledger::Ledger;",
            "fn f() { crate::ledger::go() }",
            "use crate::{config::Config, ledger::{A, usecase}};",
            "use super::super::ledger;",
        ] {
            let all = found("server/src/rpc/claim.rs", text);
            let expected =
                "server/src/rpc/claim.rs:1: room `rpc` must not name room `ledger` [room-edges]";
            assert_eq!(all, [expected], "{text}");
        }
    }

    #[test]
    fn lines_inside_a_group_are_counted() {
        let all = found(
            "server/src/gate/embedded.rs",
            "use crate::{\n    config::Config,\n    usecase::Claim,\n};\n",
        );
        assert_eq!(
            all,
            [
                "server/src/gate/embedded.rs:3: room `gate` must not name room `usecase` [room-edges]"
            ]
        );
    }

    #[test]
    fn allowed_rooms_own_room_tests_and_comments_are_free() {
        let text = "use crate::{usecase::Claim, rpc::status};\n// crate::ledger::x\nuse super::ledger;\n#[cfg(test)]\nmod tests { use crate::ledger::X; }\n";
        assert!(found("server/src/rpc/claim.rs", text).is_empty());
        assert!(found("server/src/backend.rs", "use crate::ledger::X;").is_empty());
        assert!(found("server/src/lib.rs", "pub use crate::ledger::X;").is_empty());
    }

    #[test]
    fn an_unknown_room_is_found() {
        let all = found("server/src/attic.rs", "");
        assert_eq!(all.len(), 1);
        assert!(all[0].contains("room `attic` is not in the table"));
    }

    #[test]
    fn every_room_of_the_table_allows_known_rooms_only() {
        for (room, allowed) in ROOMS {
            for other in allowed {
                let known = *other == "*" || ROOMS.iter().any(|(name, _)| name == other);
                assert!(known, "{room} -> {other}");
            }
        }
    }

    #[test]
    fn the_tree_helper_reads_rooms() {
        assert!(edges(&tree_of(&[("server/src/rpc.rs", "use crate::rpc::x;")])).is_empty());
    }
}
