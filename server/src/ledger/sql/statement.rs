//! Constant SQL texts for lists of any length.
//!
//! Statement caches are keyed by text: lists are cut into a few sizes, or padded up to one, so that
//! a bounded number of texts serves every group.

use sea_orm::{ConnectionTrait, DbErr, ExecResult, QueryResult, Statement, Value};

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

/// Lists up to this long have a text of their own: most groups need one statement, not several.
const EXACT_MAX: usize = 64;

/// The largest list with a text that fits into `len` entries.
fn size_below(len: usize) -> usize {
    match len {
        0..=EXACT_MAX => len,
        _ => (1 << len.ilog2()).min(ROWS_MAX),
    }
}

/// Texts of one statement for 1, 2, 3 ... [`EXACT_MAX`] rows and for the powers of two up to
/// [`ROWS_MAX`].
pub(super) struct Texts {
    exact: Vec<String>,
    powers: Vec<String>,
}

impl Texts {
    /// Prepares `head row, row, ... tail`.
    pub(super) fn new(head: &str, row: &str, tail: &str) -> Self {
        let powers = (0..=ROWS_MAX.ilog2()).map(|power| 1_usize << power);
        Self {
            exact: (1..=EXACT_MAX).map(|rows| repeat(head, row, rows, tail)).collect(),
            powers: powers.map(|rows| repeat(head, row, rows, tail)).collect(),
        }
    }

    /// The text for exactly `rows` rows, one of the sizes that [`cuts`] yields.
    pub(super) fn of(&self, rows: usize) -> &str {
        let text = match rows {
            0..=EXACT_MAX => self.exact.get(rows.saturating_sub(1)),
            _ => self.powers.get(usize::try_from(rows.ilog2()).unwrap_or(0)),
        };
        text.map_or("", String::as_str)
    }

    /// The text for a list of `len` entries padded up to a power of two, and that power.
    pub(super) fn padded(&self, len: usize) -> (&str, usize) {
        let rows = len.clamp(1, ROWS_MAX).next_power_of_two();
        (self.of(rows), rows)
    }
}

/// Cuts `len` rows into sizes that have a text, the largest first.
pub(super) fn cuts(mut len: usize) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let rows = size_below(len);
        len -= rows;
        (rows > 0).then_some(rows)
    })
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
        let (text, rows) = texts.padded(portion.len());
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
        assert_eq!(cuts(300).collect::<Vec<_>>(), [256, 44]);
        assert_eq!(cuts(200).collect::<Vec<_>>(), [128, 64, 8]);
        assert_eq!(cuts(0).count(), 0);
        let texts = Texts::new("in (", "?", ")");
        assert_eq!(texts.padded(3), ("in (?,?,?,?)", 4));
        assert_eq!(texts.of(1), "in (?)");
        for len in 1..1_000 {
            assert_eq!(cuts(len).sum::<usize>(), len);
            assert!(cuts(len).all(|rows| texts.of(rows).matches('?').count() == rows));
        }
    }
}
