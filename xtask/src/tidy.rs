//! `cargo xtask tidy`: the house rules that rustc and clippy do not know. The same checks run as a
//! test, so a plain `cargo test` keeps them too. Each rule is a function from the tree to what
//! violates it; the tables that are meant to be edited stand at the top of each module.

use std::{fmt, process::ExitCode};

use anyhow::bail;

use crate::cargo;

mod confined;
mod crates;
mod length;
mod placeholders;
mod requirements;
mod rooms;
mod rust;
mod schema;
mod sleeps;
mod tree;
mod words;

use tree::Tree;

/// A place that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    file: String,
    /// From 1; 0 = the file as a whole.
    line: usize,
    rule: &'static str,
    message: String,
}

impl Violation {
    fn new(file: &str, line: usize, rule: &'static str, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, rule, message: message.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": {} [{}]", self.message, self.rule)
    }
}

/// Every rule, with the name that its violations carry.
const RULES: [fn(&Tree) -> Vec<Violation>; 10] = [
    crates::edges,
    crates::lints_inherited,
    rooms::edges,
    confined::names,
    length::files,
    placeholders::none_left,
    requirements::tested,
    schema::of_shards,
    sleeps::none_in_tests,
    words::none_of_a_machine,
];

/// The command: prints warnings and violations; any violation is a failure.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    match check_workspace() {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            println!("{error:#}");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Checks the workspace, printing warnings and violations; any violation is an error.
pub(crate) fn check_workspace() -> anyhow::Result<()> {
    let tree = Tree::read(&cargo::root())?;
    for warning in length::long_files(&tree) {
        println!("note: {warning}");
    }
    let violations = violations(&tree);
    for violation in &violations {
        println!("{violation}");
    }
    match violations.len() {
        0 => {
            println!("tidy: {} files, {} rules, nothing to say", tree.files.len(), RULES.len());
            Ok(())
        }
        1 => bail!("tidy: 1 violation"),
        count => bail!("tidy: {count} violations"),
    }
}

fn violations(tree: &Tree) -> Vec<Violation> {
    RULES.iter().flat_map(|rule| rule(tree)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workspace_is_tidy() {
        let tree = Tree::read(&cargo::root()).expect("the workspace can be read");
        let found: Vec<String> = violations(&tree).iter().map(ToString::to_string).collect();
        assert!(found.is_empty(), "{} violations:\n{}", found.len(), found.join("\n"));
    }

    #[test]
    fn a_violation_reads_like_a_compiler_message() {
        assert_eq!(Violation::new("a/b.rs", 3, "sleep", "no").to_string(), "a/b.rs:3: no [sleep]");
        assert_eq!(Violation::new("a/b.rs", 0, "sleep", "no").to_string(), "a/b.rs: no [sleep]");
    }
}
