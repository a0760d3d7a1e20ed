//! What the schema of the sharded databases must be, so that it also runs on Vitess and TiDB, stays
//! fast when it outgrows memory, and can be brought up to date again after a runner was killed.

use super::{Violation, tree::Tree};

const RULE: &str = "schema";

/// The migrations that are looked through.
const FOLDER: &str = "migrations/src/mysql/";

/// What no statement may name, and why.
const FORBIDDEN: [(&str, &str); 10] = [
    ("AUTO_INCREMENT", "ids are minted by the server"),
    ("FOREIGN KEY", "rows of one user are kept together by the code, not by the database"),
    ("REFERENCES", "rows of one user are kept together by the code, not by the database"),
    ("TRIGGER", "what happens stands in the code"),
    ("PROCEDURE", "what happens stands in the code"),
    ("EVENT", "what happens stands in the code"),
    ("VIEW", "sharded keyspaces have none"),
    ("UNSIGNED", "SQLite has no unsigned numbers"),
    ("CURRENT_TIMESTAMP", "time is the injected clock's"),
    ("NOW(", "time is the injected clock's"),
];

/// How a statement begins that can be run again.
const REPEATABLE: [&str; 2] = ["CREATE TABLE IF NOT EXISTS ", "INSERT IGNORE INTO "];

/// Tables that every claim or order adds rows to: one index beginning with the user, no more, because
/// each costs a random page a row once the table outgrows memory.
const BY_USER: [&str; 2] = ["coupon", "redemption"];

/// The rules of the schema.
pub(super) fn of_shards(tree: &Tree) -> Vec<Violation> {
    let scripts = tree
        .files
        .iter()
        .filter(|file| file.path.starts_with(FOLDER) && file.path.ends_with(".sql"));
    scripts.flat_map(|file| script(&file.path, &file.text)).collect()
}

fn script(path: &str, text: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut statement: Vec<(usize, &str)> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("--") || line.trim().is_empty() {
            continue;
        }
        let upper = line.to_uppercase();
        for (name, reason) in FORBIDDEN.iter().filter(|(name, _)| upper.contains(name)) {
            let message = format!("`{name}` has no place in the schema: {reason}");
            found.push(Violation::new(path, number, RULE, message));
        }
        statement.push((number, line));
        if line.trim_end().ends_with(';') {
            found.extend(judge(path, &statement));
            statement.clear();
        }
    }
    if let Some((number, _)) = statement.first() {
        found.push(Violation::new(path, *number, RULE, "the statement has no end"));
    }
    found
}

fn judge(path: &str, statement: &[(usize, &str)]) -> Vec<Violation> {
    let Some((first, begin)) = statement.first().copied() else { return Vec::new() };
    if !REPEATABLE.iter().any(|head| begin.starts_with(head)) {
        let message = "must be a statement that can be run again: `CREATE TABLE IF NOT EXISTS` or \
                       `INSERT IGNORE INTO`";
        return vec![Violation::new(path, first, RULE, message)];
    }
    let Some(name) = begin.strip_prefix(REPEATABLE[0]) else { return Vec::new() };
    let table = name.split(['(', ' ']).next().unwrap_or_default();
    let mut found = Vec::new();
    let mut say = |line: usize, message: String| {
        found.push(Violation::new(path, line, RULE, message));
    };
    let lines = || statement.iter().map(|(number, line)| (*number, line.trim()));
    let has_user = lines().any(|(_, line)| line.starts_with("user_id "));
    let (mut primary, mut by_user) = (false, 0);
    for (number, line) in lines() {
        let text = line.contains("CHAR(") || line.contains("TEXT");
        if text && !line.contains("CHARACTER SET utf8mb4 COLLATE utf8mb4_bin") {
            say(
                number,
                "texts are compared by their bytes: utf8mb4 COLLATE utf8mb4_bin".to_owned(),
            );
        }
        let Some((kind, columns)) = key_of(line) else { continue };
        primary |= kind == Key::Primary;
        by_user += usize::from(columns.first() == Some(&"user_id"));
        if kind == Key::Unique && has_user && !columns.contains(&"user_id") {
            say(
                number,
                "a unique key holds on one shard alone: it must contain user_id".to_owned(),
            );
        }
    }
    if !primary {
        say(first, format!("table `{table}` has no primary key"));
    }
    if !lines().any(|(_, line)| line.ends_with("ENGINE = InnoDB;")) {
        say(first, format!("table `{table}` must be `ENGINE = InnoDB`"));
    }
    let allowed = if BY_USER.contains(&table) { 1..=1 } else { 0..=1 };
    if !allowed.contains(&by_user) {
        say(
            first,
            format!("table `{table}` has {by_user} indexes that begin with user_id, not one"),
        );
    }
    found
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Primary,
    Unique,
    Plain,
}

/// The columns of a line that defines a key.
fn key_of(line: &str) -> Option<(Key, Vec<&str>)> {
    let kinds = [("PRIMARY KEY", Key::Primary), ("UNIQUE KEY", Key::Unique), ("KEY", Key::Plain)];
    let kind = kinds.iter().find(|(word, _)| line.starts_with(word))?.1;
    let (_, columns) = line.split_once('(')?;
    let (columns, _) = columns.split_once(')')?;
    Some((kind, columns.split(',').map(str::trim).collect()))
}

#[cfg(test)]
mod tests {
    use super::{super::tree::tree_of, *};

    fn messages(text: &str) -> Vec<String> {
        let tree = tree_of(&[("migrations/src/mysql/shard_0002.sql", text)]);
        of_shards(&tree).into_iter().map(|violation| violation.message).collect()
    }

    fn table(lines: &[&str]) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS coupon (\n    {}\n) ENGINE = InnoDB;\n",
            lines.join(",\n    ")
        )
    }

    const SOUND: [&str; 4] = [
        "coupon_id BIGINT NOT NULL",
        "user_id BIGINT NOT NULL",
        "PRIMARY KEY (coupon_id)",
        "UNIQUE KEY coupon_user (user_id, coupon_id)",
    ];

    #[test]
    fn a_sound_table_is_left_alone() {
        assert_eq!(messages(&table(&SOUND)), [] as [&str; 0]);
        assert_eq!(
            messages("-- No FOREIGN KEY; no TRIGGER.\nINSERT IGNORE INTO a VALUES (1);\n"),
            [] as [&str; 0]
        );
    }

    #[test]
    fn what_other_engines_lack_is_refused() {
        for (line, named) in [
            ("id BIGINT NOT NULL AUTO_INCREMENT", "AUTO_INCREMENT"),
            ("n BIGINT UNSIGNED NOT NULL", "UNSIGNED"),
            ("at DATETIME(3) ON UPDATE CURRENT_TIMESTAMP", "CURRENT_TIMESTAMP"),
            ("FOREIGN KEY (a) REFERENCES b (c)", "FOREIGN KEY"),
        ] {
            let found = messages(&table(&[&SOUND[..], &[line]].concat()));
            assert!(found.iter().any(|message| message.contains(named)), "{found:?}");
        }
        assert_eq!(messages("CREATE TRIGGER a BEFORE INSERT ON b;\n").len(), 2);
    }

    #[test]
    fn a_hot_table_has_one_index_by_user() {
        let none = messages(&table(&SOUND[..3]));
        assert!(none[0].contains("has 0 indexes"), "{none:?}");
        let two = messages(&table(&[&SOUND[..], &["KEY more (user_id, claimed_at)"]].concat()));
        assert!(two[0].contains("has 2 indexes"), "{two:?}");
    }

    #[test]
    fn keys_and_texts_follow_their_rules() {
        let global = messages(&table(&[&SOUND[..], &["UNIQUE KEY code (coupon_id)"]].concat()));
        assert!(global[0].contains("must contain user_id"), "{global:?}");
        let folded = messages(&table(&[&SOUND[..], &["code VARCHAR(64) NOT NULL"]].concat()));
        assert!(folded[0].contains("utf8mb4_bin"), "{folded:?}");
        assert!(messages("ALTER TABLE a ADD b INT;\n")[0].contains("can be run again"));
        assert!(
            messages("CREATE TABLE IF NOT EXISTS a (\n b INT\n) ENGINE = InnoDB;\n")[0]
                .contains("no primary key")
        );
    }
}
