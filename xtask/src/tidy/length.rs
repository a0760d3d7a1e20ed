//! How long a file may be.

use super::{
    Violation,
    tree::{File, Tree},
};

const RULE: &str = "file-length";
/// No Rust file is longer.
const LINES_MAX: usize = 600;
/// From here on it is pointed out, so that it is split in good time.
const LINES_LONG: usize = 350;

/// Files over the limit.
pub(super) fn files(tree: &Tree) -> Vec<Violation> {
    longer(tree, LINES_MAX)
        .map(|(file, lines)| {
            let message =
                format!("{lines} lines, at most {LINES_MAX}: split it by what it is about");
            Violation::new(&file.path, 0, RULE, message)
        })
        .collect()
}

/// Files that grow long, within the limit.
pub(super) fn long_files(tree: &Tree) -> Vec<Violation> {
    longer(tree, LINES_LONG)
        .filter(|(_, lines)| *lines <= LINES_MAX)
        .map(|(file, lines)| {
            Violation::new(&file.path, 0, RULE, format!("grows long: {lines} lines"))
        })
        .collect()
}

fn longer(tree: &Tree, limit: usize) -> impl Iterator<Item = (&File, usize)> {
    tree.rust().map(|file| (file, file.code.len())).filter(move |(_, lines)| *lines > limit)
}

#[cfg(test)]
mod tests {
    use super::{super::tree::tree_of, *};

    #[test]
    fn limits_are_inclusive() {
        let lines = |count: usize| "//\n".repeat(count);
        let (fits, long, over) = (lines(LINES_LONG), lines(LINES_MAX), lines(LINES_MAX + 1));
        let tree = tree_of(&[("a.rs", &fits), ("b.rs", &long), ("c.rs", &over), ("d.json", &over)]);
        let paths = |found: Vec<Violation>| found.into_iter().map(|v| v.file).collect::<Vec<_>>();
        assert_eq!(paths(files(&tree)), ["c.rs"]);
        assert_eq!(paths(long_files(&tree)), ["b.rs"]);
    }
}
