//! Tests wait for what they wait for, never for time to pass.

use super::{Violation, rust, tree::Tree};

const RULE: &str = "sleep";
const NAMES: [&str; 4] = ["thread::sleep", "time::sleep", "sleep_until", "sleep_ms"];

/// No sleeping in tests. `use tokio::time::sleep` is found where it is imported.
pub(super) fn none_in_tests(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in tree.rust() {
        for (line, code) in file.test_code() {
            for name in NAMES.iter().filter(|name| rust::find_word(code, name).is_some()) {
                let message =
                    format!("`{name}` in a test: wait for the event, or move the test clock");
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
    fn tests_do_not_sleep_and_product_code_may() {
        let text = "fn a() { tokio::time::sleep(d) }\n#[cfg(test)]\nmod tests {\n  fn b() { std::thread::sleep(d) }\n}\n";
        let lines: Vec<usize> =
            none_in_tests(&tree_of(&[("a/b.rs", text)])).iter().map(|v| v.line).collect();
        assert_eq!(lines, [4]);
        assert_eq!(
            none_in_tests(&tree_of(&[("tests/it/a.rs", "use tokio::time::sleep;\n")])).len(),
            1
        );
    }
}
