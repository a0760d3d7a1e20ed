//! Every requirement that the README claims is named by a test.

use std::collections::BTreeSet;

use super::{Violation, rust, tree::Tree};

const RULE: &str = "requirement-tested";
const README: &str = "README.md";
/// A row whose last cell begins so claims nothing, and needs no test.
const NOT_CLAIMED: &str = "not yet";
/// What stands between the ends of a range.
const DASHES: [&str; 2] = ["-", "\u{2013}"];

/// Every R-number of the README's table of requirements stands in a test or in its comments.
pub(super) fn tested(tree: &Tree) -> Vec<Violation> {
    let Some(readme) = tree.file(README) else {
        return vec![Violation::new(
            README,
            0,
            RULE,
            "is missing, and with it the table of requirements",
        )];
    };
    let claimed = claimed(&readme.text);
    if claimed.is_empty() {
        return vec![Violation::new(
            README,
            0,
            RULE,
            "has no table whose first column holds R-numbers",
        )];
    }
    let named = named_in_tests(tree);
    claimed
        .into_iter()
        .filter(|(_, number)| !named.contains(number))
        .map(|(line, number)| {
            Violation::new(README, line, RULE, format!("R{number} is named by no test"))
        })
        .collect()
}

/// (line, number) of the rows that claim a requirement.
fn claimed(readme: &str) -> Vec<(usize, u32)> {
    let mut found = Vec::new();
    for (index, line) in readme.lines().enumerate() {
        let Some(row) = line.trim().strip_prefix('|') else {
            continue;
        };
        let cells: Vec<&str> = row.trim_end_matches('|').split('|').map(str::trim).collect();
        let state = cells.last().map(|cell| cell.to_lowercase()).unwrap_or_default();
        if !state.starts_with(NOT_CLAIMED) {
            let first = cells.first().copied().unwrap_or_default();
            found.extend(numbers(first).into_iter().map(|number| (index + 1, number)));
        }
    }
    found
}

fn named_in_tests(tree: &Tree) -> BTreeSet<u32> {
    // The snippets in this folder's own tests prove nothing.
    let files = tree.rust().filter(|file| !file.path.starts_with("xtask/src/tidy"));
    let mut named = BTreeSet::new();
    for file in files {
        let whole = file.path.starts_with("tests/");
        let lines = file.text.lines().enumerate();
        for (_, line) in lines.filter(|(index, _)| whole || file.is_test(index + 1)) {
            named.extend(numbers(line));
        }
    }
    named
}

/// The R-numbers in a text; `R8-R11` and `R8-11` name all of them.
fn numbers(text: &str) -> Vec<u32> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find('R').map(|offset| from + offset) {
        from = at + 1;
        if text[..at].chars().next_back().is_some_and(rust::is_word) {
            continue;
        }
        let Some((first, end)) = number_at(text, at + 1) else {
            continue;
        };
        let (last, end) = range_end(text, end).unwrap_or((first, end));
        found.extend(first..=last);
        from = end;
    }
    found
}

/// The number behind a dash at `at` and where it ends, if a range goes on there.
fn range_end(text: &str, at: usize) -> Option<(u32, usize)> {
    let dash = DASHES.iter().find(|dash| text[at..].starts_with(*dash))?;
    let behind = at + dash.len();
    let letter = usize::from(text[behind..].starts_with('R'));
    number_at(text, behind + letter)
}

/// The number that starts at `at` and where it ends, unless a word goes on behind it.
fn number_at(text: &str, at: usize) -> Option<(u32, usize)> {
    let digits = text.get(at..)?.bytes().take_while(u8::is_ascii_digit).count();
    let end = at + digits;
    let goes_on = text[end..].chars().next().is_some_and(rust::is_word);
    let number = text[at..end].parse().ok()?;
    (!goes_on).then_some((number, end))
}

#[cfg(test)]
mod tests {
    use super::{super::tree::tree_of, *};

    #[test]
    fn numbers_lists_and_ranges_are_read() {
        assert_eq!(numbers("R17, R3 and R8-R11"), [17, 3, 8, 9, 10, 11]);
        assert_eq!(numbers("R26\u{2013}R28 R45-47"), [26, 27, 28, 45, 46, 47]);
        assert_eq!(numbers("CR5 R R7x R9."), [9]);
    }

    #[test]
    fn a_claimed_number_without_a_test_is_found_with_its_line() {
        let readme = (
            "README.md",
            "| number | state |\n|---|---|\n| R1 | works |\n| R2-R4 | works |\n| R12 | not yet |\n",
        );
        let test = ("tests/it/claim.rs", "/// R1, R3\nfn a() {}\n");
        let product =
            ("domain/src/a.rs", "/// R2\nfn a() {}\n#[cfg(test)]\nmod tests {\n  // R4\n}\n");
        let found = tested(&tree_of(&[readme, test, product]));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].line, found[0].message.as_str()), (4, "R2 is named by no test"));
    }

    #[test]
    fn a_readme_without_the_table_is_found() {
        assert_eq!(tested(&tree_of(&[("README.md", "# Coupons\n")])).len(), 1);
        assert_eq!(tested(&tree_of(&[("a.md", "")])).len(), 1);
    }
}
