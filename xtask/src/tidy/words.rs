//! Nothing of one machine in the files: no absolute path of a home or a workplace, no host of a
//! package registry.

use super::{Violation, tree::Tree};

const RULE: &str = "machine-words";

/// Beginnings of absolute paths. Written in two parts, so that this file does not contain them.
const PATHS: [&str; 3] = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
/// Hosts of package registries and their mirrors, written in two parts as well.
const HOSTS: [&str; 8] = [
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("registry.", "npmjs"),
    concat!("registry.", "yarnpkg"),
    concat!("deb.", "debian.org"),
    concat!("proxy.", "golang.org"),
    concat!("pypi", ".org"),
    concat!("repo1.", "maven"),
];
/// Made by cargo; names its registry.
const EXEMPT: [&str; 1] = ["Cargo.lock"];

/// No word of a machine in any file.
pub(super) fn none_of_a_machine(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in tree.files.iter().filter(|file| !EXEMPT.contains(&file.path.as_str())) {
        for (index, line) in file.text.lines().enumerate() {
            let paths = PATHS.iter().filter(|path| has_path(line, path));
            for word in paths.chain(HOSTS.iter().filter(|host| line.contains(*host))) {
                let message = format!("`{word}` belongs to a machine, not into the project");
                found.push(Violation::new(&file.path, index + 1, RULE, message));
            }
        }
    }
    found
}

/// Whether an absolute path starts so in the line: `a/work/` and `../work/` are relative.
fn has_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-~}*".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::{super::tree::tree_of, *};

    #[test]
    fn absolute_paths_and_registry_hosts_are_found() {
        let text = format!("a\nsee {}x\nurl https://{}\n", PATHS[0], HOSTS[0]);
        let lines: Vec<usize> =
            none_of_a_machine(&tree_of(&[("docs/a.md", &text)])).iter().map(|v| v.line).collect();
        assert_eq!(lines, [2, 3]);
    }

    #[test]
    fn relative_paths_and_the_lock_file_are_free() {
        let text = format!("src{0}x ..{0}x ${{HOME}}{0}x", PATHS[0]);
        assert!(
            none_of_a_machine(&tree_of(&[("a.md", &text), ("Cargo.lock", HOSTS[0])])).is_empty()
        );
    }
}
