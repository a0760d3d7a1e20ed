//! The text files of the workspace, read once, and which of their lines are tests.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::rust;

/// Folders that are never looked into, wherever they are: made by builds and tools.
const SKIPPED_DIRS: [&str; 3] = ["target", ".git", "node_modules"];
/// Where `cargo xtask run` keeps the server's data.
const DATA_DIR: &str = "data";
/// What is read: the texts that people write.
const TEXT_ENDINGS: [&str; 13] =
    ["rs", "toml", "md", "yaml", "yml", "proto", "sh", "json", "sql", "txt", "lua", "tpl", "lock"];
/// Written by people, but with no ending.
const TEXT_NAMES: [&str; 2] = [".ci/run", ".gitignore"];

/// The workspace.
pub(super) struct Tree {
    /// Sorted by path.
    pub(super) files: Vec<File>,
}

/// One text file.
pub(super) struct File {
    /// From the workspace's root, with `/`.
    pub(super) path: String,
    /// As it is.
    pub(super) text: String,
    /// Of a Rust file: the text with comments and the insides of literals blanked, line by line.
    pub(super) code: Vec<String>,
    /// Of a Rust file: for each line, whether it is test code.
    test_lines: Vec<bool>,
}

impl Tree {
    /// Reads the workspace.
    pub(super) fn read(root: &Path) -> anyhow::Result<Self> {
        let mut paths = Vec::new();
        list(root, root, &mut paths)?;
        paths.sort();
        let mut files = Vec::new();
        for path in paths {
            let full = root.join(&path);
            // Other people's editors save while this reads: a file that has gone is no error.
            if let Ok(text) = fs::read_to_string(&full) {
                files.push((path, text));
            }
        }
        Ok(Self::from_texts(files))
    }

    /// A tree of these (path, text) pairs.
    pub(super) fn from_texts(texts: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut files: Vec<File> =
            texts.into_iter().map(|(path, text)| File::new(path, text)).collect();
        let test_modules: BTreeSet<String> = files.iter().flat_map(File::test_modules).collect();
        for file in &mut files {
            if test_modules.iter().any(|module| is_module_file(&file.path, module)) {
                file.test_lines.fill(true);
            }
        }
        Self { files }
    }

    /// The file at this path.
    pub(super) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// The Rust files.
    pub(super) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is_rust())
    }
}

impl File {
    fn new(path: String, text: String) -> Self {
        let (code, test_lines) = if path.ends_with(".rs") {
            let masked = rust::mask(&text);
            let mut test_lines = rust::test_lines(&masked);
            if is_test_path(&path) {
                test_lines.fill(true);
            }
            (masked.lines().map(str::to_owned).collect(), test_lines)
        } else {
            (Vec::new(), Vec::new())
        };
        Self { path, text, code, test_lines }
    }

    /// Whether this is Rust.
    pub(super) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether the line (from 1) is test code.
    pub(super) fn is_test(&self, line: usize) -> bool {
        line > 0 && self.test_lines.get(line - 1).copied().unwrap_or(false)
    }

    /// (number from 1, masked text) of the lines that are not test code.
    pub(super) fn product_code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.numbered_code().filter(|(line, _)| !self.is_test(*line))
    }

    /// (number from 1, masked text) of the lines that are test code.
    pub(super) fn test_code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.numbered_code().filter(|(line, _)| self.is_test(*line))
    }

    /// (number from 1, masked text) of all lines.
    pub(super) fn numbered_code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.iter().enumerate().map(|(index, line)| (index + 1, line.as_str()))
    }

    /// The modules that this file declares as `#[cfg(test)] mod name;`, as path stems.
    fn test_modules(&self) -> Vec<String> {
        let Some(stem) = self.path.strip_suffix(".rs") else {
            return Vec::new();
        };
        let (folder, name) = stem.rsplit_once('/').unwrap_or(("", stem));
        let base = if matches!(name, "lib" | "main" | "mod") { folder } else { stem };
        self.test_code()
            .filter_map(|(_, line)| rust::declared_module(line))
            .map(|module| format!("{base}/{module}"))
            .collect()
    }
}

/// Whether a whole file is tests by its place. What `tests/src` holds is not: the harness and the
/// programs are used like any product code, and clippy holds them to the same rules.
fn is_test_path(path: &str) -> bool {
    path.starts_with("tests/it/")
        || path.ends_with("/tests.rs")
        || ["/tests/", "/benches/", "/examples/"].iter().any(|part| path.contains(part))
}

fn is_module_file(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

fn list(root: &Path, dir: &Path, paths: &mut Vec<String>) -> anyhow::Result<()> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    for entry in entries {
        let path = entry?.path();
        let relative = relative(root, &path);
        if path.is_dir() {
            let name = relative.rsplit('/').next().unwrap_or_default();
            if !SKIPPED_DIRS.contains(&name) && relative != DATA_DIR {
                list(root, &path, paths)?;
            }
        } else if is_text(&path, &relative) {
            paths.push(relative);
        }
    }
    Ok(())
}

fn relative(root: &Path, path: &Path) -> String {
    let inside: PathBuf = path.strip_prefix(root).unwrap_or(path).to_path_buf();
    inside.to_string_lossy().replace('\\', "/")
}

fn is_text(path: &Path, relative: &str) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| TEXT_ENDINGS.contains(&ending)) || TEXT_NAMES.contains(&relative)
}

#[cfg(test)]
pub(super) fn tree_of(texts: &[(&str, &str)]) -> Tree {
    Tree::from_texts(texts.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_known_by_place_attribute_and_declaration() {
        let tree = tree_of(&[
            ("server/src/lib.rs", "pub mod gate;\n#[cfg(test)]\nmod sim;\n"),
            ("server/src/sim.rs", "fn a() {}\n"),
            ("server/src/sim/deep.rs", "fn a() {}\n"),
            (
                "server/src/gate.rs",
                "fn a() {}\n#[cfg(test)]\nmod tests {\n  fn b() {}\n}\nfn c() {}\n",
            ),
            ("tests/it/main.rs", "fn a() {}\n"),
            ("tests/src/process.rs", "fn a() {}\n"),
        ]);
        let tests = |path: &str| -> Vec<usize> {
            tree.file(path).expect("present").test_code().map(|(line, _)| line).collect()
        };
        assert_eq!(tests("server/src/sim.rs"), [1]);
        assert_eq!(tests("server/src/sim/deep.rs"), [1]);
        assert_eq!(tests("server/src/gate.rs"), [2, 3, 4, 5]);
        assert_eq!(tests("tests/it/main.rs"), [1]);
        assert_eq!(tests("tests/src/process.rs"), [] as [usize; 0]);
    }
}
