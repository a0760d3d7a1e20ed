//! Constant SQL texts for lists of any length, one per back end.
//!
//! Statement caches are keyed by text: lists are cut into a few sizes, or padded up to one, so that
//! a bounded number of texts serves every group. A MySQL server keeps every prepared text of every
//! connection, up to `max_prepared_stmt_count` (16,382) of all together, so there the sizes are few.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement, Value};

/// Rows of one multi-row statement, at most.
pub(super) const ROWS_MAX: usize = 256;

/// Runs a statement and answers the number of rows it touched.
pub(super) async fn execute(
    db: &impl ConnectionTrait,
    sql: &str,
    values: Vec<Value>,
) -> Result<u64, DbErr> {
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    db.execute_raw(statement).await.map(|done: ExecResult| done.rows_affected())
}

/// Runs a query.
pub(super) async fn query(
    db: &impl ConnectionTrait,
    sql: &str,
    values: Vec<Value>,
) -> Result<Vec<QueryResult>, DbErr> {
    db.query_all_raw(Statement::from_sql_and_values(db.get_database_backend(), sql, values)).await
}

/// Whether the database speaks MySQL.
pub(super) fn is_mysql(db: &impl ConnectionTrait) -> bool {
    db.get_database_backend() == DbBackend::MySql
}

/// One of two texts, by the database's dialect.
pub(super) fn dialect<'a>(db: &impl ConnectionTrait, sqlite: &'a str, mysql: &'a str) -> &'a str {
    if is_mysql(db) { mysql } else { sqlite }
}

/// `head row, row, ... tail` with `rows` times `row`.
pub(super) fn repeat(head: &str, row: &str, rows: usize, tail: &str) -> String {
    let mut text = String::with_capacity(head.len() + tail.len() + rows * (row.len() + 1));
    text.push_str(head);
    for index in 0..rows {
        if index > 0 {
            text.push(',');
        }
        text.push_str(row);
    }
    text.push_str(tail);
    text
}

/// On SQLite, lists up to this long have a text of their own: most groups need one statement, not
/// several.
const SQLITE_EXACT_MAX: usize = 64;
/// On MySQL, lists up to this long have a text of their own; beyond it there are four sizes for each
/// doubling.
const MYSQL_EXACT_MAX: usize = 8;

fn sqlite_sizes() -> Vec<usize> {
    let powers = (0..=ROWS_MAX.ilog2()).map(|power| 1_usize << power);
    (1..=SQLITE_EXACT_MAX).chain(powers.filter(|power| *power > SQLITE_EXACT_MAX)).collect()
}

fn mysql_sizes() -> Vec<usize> {
    let steps = (1..=ROWS_MAX).filter(|rows| {
        let step = (rows.next_power_of_two() / 8).max(1);
        *rows <= MYSQL_EXACT_MAX || rows % step == 0
    });
    steps.collect()
}

/// Texts of one statement for lists of some sizes, ascending, every power of two up to [`ROWS_MAX`]
/// among them.
pub(super) struct Lists {
    sizes: Vec<usize>,
    texts: Vec<String>,
}

impl Lists {
    fn new(sizes: Vec<usize>, text: impl Fn(usize) -> String) -> Self {
        let texts = sizes.iter().map(|rows| text(*rows)).collect();
        Self { sizes, texts }
    }

    /// The text for exactly `rows` rows, one of the sizes that [`Self::cuts`] yields.
    pub(super) fn of(&self, rows: usize) -> &str {
        let index = self.sizes.binary_search(&rows);
        index.ok().and_then(|index| self.texts.get(index)).map_or("", String::as_str)
    }

    /// The text for a list of `len` entries padded up to a power of two, and that power.
    pub(super) fn padded(&self, len: usize) -> (&str, usize) {
        let rows = len.clamp(1, ROWS_MAX).next_power_of_two();
        (self.of(rows), rows)
    }

    /// Cuts `len` rows into sizes that have a text, the largest first.
    pub(super) fn cuts(&self, mut len: usize) -> impl Iterator<Item = usize> + use<'_> {
        std::iter::from_fn(move || {
            let fitting = self.sizes.partition_point(|size| *size <= len);
            let rows = fitting.checked_sub(1).and_then(|index| self.sizes.get(index)).copied()?;
            len -= rows;
            Some(rows)
        })
    }
}

/// Texts of one statement, per back end.
pub(super) struct Texts {
    sqlite: Lists,
    mysql: Lists,
}

impl Texts {
    /// Prepares `head row, row, ... tail` for both back ends.
    pub(super) fn new(head: &str, row: &str, tail: &str) -> Self {
        let text = |rows| repeat(head, row, rows, tail);
        Self::per_backend(text, text)
    }

    /// Prepares a statement whose text differs; each function makes the one for a list of so many
    /// rows.
    pub(super) fn per_backend(
        sqlite: impl Fn(usize) -> String,
        mysql: impl Fn(usize) -> String,
    ) -> Self {
        let sqlite = Lists::new(sqlite_sizes(), sqlite);
        Self { sqlite, mysql: Lists::new(mysql_sizes(), mysql) }
    }

    /// The texts for the database.
    pub(super) fn on(&self, db: &impl ConnectionTrait) -> &Lists {
        if is_mysql(db) { &self.mysql } else { &self.sqlite }
    }
}

/// Queries with a list of keys, each of the values `key` yields, in padded portions; all rows.
pub(super) async fn query_by_keys<K>(
    db: &impl ConnectionTrait,
    texts: &Texts,
    keys: &[K],
    key: impl Fn(&K, &mut Vec<Value>),
) -> Result<Vec<QueryResult>, DbErr> {
    let mut found = Vec::new();
    for portion in keys.chunks(ROWS_MAX) {
        let (text, rows) = texts.on(db).padded(portion.len());
        let mut values = Vec::new();
        let Some(last) = portion.last() else { break };
        for entry in portion.iter().chain(std::iter::repeat_n(last, rows - portion.len())) {
            key(entry, &mut values);
        }
        found.extend(query(db, text, values).await?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_cut_into_sizes_that_have_a_text() {
        let texts = Texts::new("in (", "?", ")");
        assert_eq!(texts.sqlite.cuts(300).collect::<Vec<_>>(), [256, 44]);
        assert_eq!(texts.sqlite.cuts(200).collect::<Vec<_>>(), [128, 64, 8]);
        assert_eq!(texts.mysql.cuts(300).collect::<Vec<_>>(), [256, 40, 4]);
        assert_eq!(texts.mysql.cuts(255).collect::<Vec<_>>(), [224, 28, 3]);
        assert_eq!(texts.sqlite.of(1), "in (?)");
        for lists in [&texts.sqlite, &texts.mysql] {
            assert_eq!(lists.cuts(0).count(), 0);
            assert_eq!(lists.padded(3), ("in (?,?,?,?)", 4));
            for len in 1..1_000 {
                assert_eq!(lists.cuts(len).sum::<usize>(), len);
                assert!(lists.cuts(len).all(|rows| lists.of(rows).matches('?').count() == rows));
                let (text, rows) = lists.padded(len);
                assert_eq!(text.matches('?').count(), rows);
            }
        }
    }

    #[test]
    fn mysql_prepares_few_sizes() {
        assert!(mysql_sizes().len() <= 32, "{:?}", mysql_sizes());
    }
}
