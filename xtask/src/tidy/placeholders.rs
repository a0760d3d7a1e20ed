//! Nothing half done, and no panic on a missing value outside tests.

use super::{Violation, rust, tree::Tree};

const RULE: &str = "placeholders";
/// Nowhere, tests included.
const NEVER: [&str; 3] = ["todo!", "unimplemented!", "dbg!"];
/// Nowhere but in tests.
const IN_TESTS_ONLY: [&str; 1] = [".unwrap()"];

/// No placeholders anywhere, no unwrap outside tests.
pub(super) fn none_left(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in tree.rust() {
        for (line, code) in file.numbered_code() {
            for name in NEVER.iter().filter(|name| rust::find_word(code, name).is_some()) {
                found.push(Violation::new(
                    &file.path,
                    line,
                    RULE,
                    format!("`{name}` must not stay"),
                ));
            }
            for name in
                IN_TESTS_ONLY.iter().filter(|name| code.contains(*name) && !file.is_test(line))
            {
                let message =
                    format!("`{name}` outside tests: return an error, or expect with the reason");
                found.push(Violation::new(&file.path, line, RULE, message));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{super::tree::tree_of, *};

    #[test]
    fn code_is_found_and_comments_and_tests_are_not() {
        let text = "// todo!()\nfn a() { todo!() }\nfn b() { c().unwrap(); }\nfn d() { e(\"x.unwrap()\").unwrap_or(1); }\n#[cfg(test)]\nmod tests {\n  fn f() { g().unwrap(); unimplemented!() }\n}\n";
        let lines: Vec<usize> =
            none_left(&tree_of(&[("a/b.rs", text)])).iter().map(|v| v.line).collect();
        assert_eq!(lines, [2, 3, 7]);
    }
}
