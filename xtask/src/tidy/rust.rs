//! Just enough of Rust's grammar to look for names in code alone: comments and the insides of
//! literals are blanked, test items are found, words and paths are picked out.

/// The text with comments and the insides of string and character literals turned into spaces.
/// Line breaks stay where they are.
pub(super) fn mask(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut masked = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let Some(end) = opaque_end(&chars, at) else {
            masked.push(chars[at]);
            at += 1;
            continue;
        };
        let end = end.min(chars.len());
        for &c in &chars[at..end] {
            masked.push(if c == '\n' { '\n' } else { ' ' });
        }
        at = end;
    }
    masked
}

/// Where the comment or literal that starts at `at` ends, if one starts there.
fn opaque_end(text: &[char], at: usize) -> Option<usize> {
    let next = text.get(at + 1).copied();
    match text[at] {
        '/' if next == Some('/') => Some(find(text, at, |c| c == '\n')),
        '/' if next == Some('*') => Some(block_comment_end(text, at)),
        '"' => Some(quoted_end(text, at + 1, '"')),
        'r' if !is_inside_word(text, at) => raw_string_end(text, at + 1),
        'b' if next == Some('r') && !is_inside_word(text, at) => raw_string_end(text, at + 2),
        '\'' => char_end(text, at),
        _ => None,
    }
}

fn is_inside_word(text: &[char], at: usize) -> bool {
    at > 0 && is_word(text[at - 1])
}

fn find(text: &[char], from: usize, wanted: impl Fn(char) -> bool) -> usize {
    (from..text.len()).find(|&at| wanted(text[at])).unwrap_or(text.len())
}

fn block_comment_end(text: &[char], start: usize) -> usize {
    let mut depth = 0;
    let mut at = start;
    while at + 1 < text.len() {
        match (text[at], text[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

fn quoted_end(text: &[char], from: usize, quote: char) -> usize {
    let mut at = from;
    while at < text.len() {
        match text[at] {
            '\\' => at += 2,
            c if c == quote => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

fn raw_string_end(text: &[char], from: usize) -> Option<usize> {
    let hashes = text[from..].iter().take_while(|&&c| c == '#').count();
    let open = from + hashes;
    if text.get(open) != Some(&'"') {
        return None;
    }
    let closes = |at: &usize| {
        text[*at] == '"' && (1..=hashes).all(|offset| text.get(at + offset) == Some(&'#'))
    };
    let end = (open + 1..text.len()).find(closes).unwrap_or(text.len());
    Some((end + 1 + hashes).min(text.len()))
}

/// A lifetime opens with the same quote; only `'x'` and `'\...'` are literals.
fn char_end(text: &[char], at: usize) -> Option<usize> {
    match text.get(at + 1)? {
        '\\' => Some(quoted_end(text, at + 1, '\'')),
        _ if text.get(at + 2) == Some(&'\'') => Some(at + 3),
        _ => None,
    }
}

/// For each line of masked text, whether it belongs to an item under `#[cfg(test)]`.
pub(super) fn test_lines(masked: &str) -> Vec<bool> {
    let mut lines = vec![false; masked.lines().count()];
    for (start, _) in masked.match_indices("#[cfg(test)]") {
        let end = item_end(masked, start);
        let first = masked[..start].matches('\n').count();
        let last = masked[..end].matches('\n').count();
        for line in lines.iter_mut().take(last + 1).skip(first) {
            *line = true;
        }
    }
    lines
}

/// The end of the item whose attributes start at `start`: its closing brace, or its semicolon.
fn item_end(masked: &str, start: usize) -> usize {
    let mut nesting = 0;
    let mut braces = 0;
    for (at, c) in masked[start..].char_indices() {
        match c {
            '(' | '[' => nesting += 1,
            ')' | ']' => nesting -= 1,
            '{' => braces += 1,
            '}' => braces -= 1,
            ';' => {}
            _ => continue,
        }
        if braces == 0 && (c == '}' || (c == ';' && nesting == 0)) {
            return start + at;
        }
    }
    masked.len()
}

/// The name in `mod name;`, if the line declares a module in a file of its own.
pub(super) fn declared_module(line: &str) -> Option<&str> {
    let declaration = line.trim().strip_suffix(';')?;
    let at = declaration.find("mod ")?;
    let before = declaration[..at].trim_end();
    let is_declaration = before.is_empty() || before.ends_with(']') || before.starts_with("pub");
    let name = declaration[at + 4..].trim();
    (is_declaration && name.chars().all(is_word)).then_some(name)
}

/// Whether the character can be part of a name.
pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where `needle` stands in `line` with no word character touching it on either side.
pub(super) fn find_word(line: &str, needle: &str) -> Option<usize> {
    let joined = |left: Option<char>, right: Option<char>| {
        left.is_some_and(is_word) && right.is_some_and(is_word)
    };
    line.match_indices(needle).map(|(at, _)| at).find(|&at| {
        let (before, behind) = (&line[..at], &line[at + needle.len()..]);
        let touched_before = joined(before.chars().next_back(), needle.chars().next());
        let touched_behind = joined(needle.chars().next_back(), behind.chars().next());
        !touched_before && !touched_behind
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left visible, each run of blanks as one; nothing may move.
    fn visible(source: &str) -> String {
        let masked = mask(source);
        assert_eq!(masked.chars().count(), source.chars().count());
        assert_eq!(masked.lines().count(), source.lines().count());
        masked.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_and_literals_are_blanked() {
        let source =
            "a(); // b\nc(\"d // e\\\" f\"); /* g /* h */ i\n */ j('k', '\\'', '\"') 'l: m";
        assert_eq!(visible(source), "a(); c( ); j( , , ) 'l: m");
    }

    #[test]
    fn raw_strings_end_at_their_own_hashes() {
        let source = r##"x(r#"a "b" c"#, br"d\", r2, for_r)"##;
        assert_eq!(visible(source), "x( , , r2, for_r)");
    }

    #[test]
    fn unclosed_literals_end_with_the_text() {
        assert_eq!(visible("a \"b\\"), "a");
        assert_eq!(visible("a r#\"b"), "a");
        assert_eq!(visible("a /* b"), "a");
    }

    #[test]
    fn lifetimes_are_no_literals() {
        assert_eq!(mask("fn f<'a>(x: &'a str) {}"), "fn f<'a>(x: &'a str) {}");
    }

    #[test]
    fn an_item_under_cfg_test_ends_at_its_brace_or_semicolon() {
        let source = "#[cfg(test)]\nuse a::{b, c};\nfn d() {}\n#[cfg(test)]\nfn e(x: [u8; 2]) {\n{}\n}\nfn f() {}\n";
        assert_eq!(test_lines(source), [true, true, false, true, true, true, true, false]);
    }

    #[test]
    fn modules_in_their_own_files_are_found() {
        assert_eq!(declared_module("mod tests;"), Some("tests"));
        assert_eq!(declared_module("    pub(crate) mod sim;"), Some("sim"));
        assert_eq!(declared_module("mod tests {"), None);
        assert_eq!(declared_module("let mod_x = 1;"), None);
    }

    #[test]
    fn words_touch_no_other_word() {
        assert_eq!(find_word("ExitCode::SUCCESS", "Code"), None);
        assert_eq!(find_word("ExitCode, Code::Ok", "Code"), Some(10));
        assert_eq!(find_word("x.unwrap()", ".unwrap()"), Some(1));
    }
}
