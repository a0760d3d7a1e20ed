//! The worked examples of `docs/pricing.md`, run: what the document promises is what the evaluator and
//! the redemption functions answer (R26, R28, R31, R33, R34, R47, R48, R59, R60).

#![allow(clippy::unwrap_used)] // Also in the functions that the tests share.

#[path = "pricing/read.rs"]
mod read;
#[path = "pricing/rules.rs"]
mod rules;
#[path = "pricing/run.rs"]
mod run;
mod shelf;

const DOCUMENT: &str = include_str!("../../docs/pricing.md");
/// The fence that opens an example.
const FENCE: &str = "```example";
/// As many examples the document has at least: fewer means that the fences are not found.
const EXAMPLES_MIN: usize = 38;

/// The examples with the number of their first line.
fn examples(document: &str) -> Vec<(usize, Vec<&str>)> {
    let mut found = Vec::new();
    let mut lines = document.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        if line.trim_end() == FENCE {
            let body = lines.by_ref().map(|(line, _)| line).take_while(|line| *line != "```");
            found.push((number + 1, body.collect()));
        }
    }
    found
}

#[test]
fn every_worked_example_comes_out_as_written() {
    let examples = examples(DOCUMENT);
    let mut wrong = Vec::new();
    let mut results = 0;
    for (first, lines) in &examples {
        match read::example(lines, *first).and_then(|example| run::check(&example)) {
            Ok(checked) => results += checked,
            Err(message) => wrong.push(format!("docs/pricing.md:{message}")),
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n\n"));
    let count = examples.len();
    assert!(count >= EXAMPLES_MIN, "{count} examples found, at least {EXAMPLES_MIN} expected");
    assert!(results >= 3 * count, "{count} examples with only {results} lines of results");
}

// A reader that takes everything would prove nothing.
#[test]
fn a_wrong_example_is_told_with_its_place() {
    let told = |text: &str| {
        let lines: Vec<&str> = text.lines().collect();
        read::example(&lines, 7).and_then(|example| run::check(&example)).unwrap_err()
    };
    let given = "title\nline a 10.00\ncoupon A: 5.00 off\n";
    let differs = told(&format!("{given}use A\n  A takes 4.00: a 4.00\n  pays 6.00"));
    assert!(differs.starts_with("10: `use A` of `title`"), "{differs}");
    assert!(differs.contains("A takes 5.00: a 5.00"), "{differs}");
    let missing = told(&format!("{given}use A\n  A takes 5.00: a 5.00"));
    assert!(missing.contains("pays 5.00"), "{missing}");
    for (text, place) in [
        ("title\nline a ten", "8: "),
        ("title\nline a 1.00 colour red", "8: "),
        ("title\ncoupon A: 5.00 off, every friday", "8: "),
        ("title\nline a 1.00\nuse B", "9: "),
        ("title\nline a 1.00\n  pays 1.00", "9: "),
        ("title\nspend 1.00", "8: "),
        ("title\nline a 1.00", "7: "),
    ] {
        let message = told(text);
        assert!(message.starts_with(place), "{text}: {message}");
    }
}
