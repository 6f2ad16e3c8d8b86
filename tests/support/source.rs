//! Rust source reduced to its code: comments and texts are gone, so that what they say is not taken for
//! what the code does. Knows just enough of the language for that.

/// The code of `source`; what is left out becomes a space, lines stay lines.
pub fn code(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let (mut code, mut at) = (String::new(), 0);
    while at < chars.len() {
        let end = skipped(&chars, at);
        if end == at {
            code.push(chars[at]);
            at += 1;
        } else {
            let lines = chars[at..end].iter().filter(|c| **c == '\n').count();
            code.push(' ');
            code.extend(std::iter::repeat_n('\n', lines));
            at = end;
        }
    }
    code
}

/// Where what begins at `at` ends, if it is no code; else `at`.
fn skipped(chars: &[char], at: usize) -> usize {
    let starts = |text: &str| {
        text.chars()
            .enumerate()
            .all(|(n, c)| chars.get(at + n) == Some(&c))
    };
    let after_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    if starts("//") {
        find(chars, at, |rest| rest[0] == '\n', 0)
    } else if starts("/*") {
        block_comment(chars, at)
    } else if starts("\"") {
        text(chars, at + 1)
    } else if !after_word && (starts("r\"") || starts("r#")) {
        raw_text(chars, at + 1)
    } else if !after_word && (starts("br\"") || starts("br#")) {
        raw_text(chars, at + 2)
    } else if starts("'") {
        character(chars, at)
    } else {
        at
    }
}

fn find(chars: &[char], from: usize, is_end: impl Fn(&[char]) -> bool, length: usize) -> usize {
    let found = (from..chars.len()).find(|at| is_end(&chars[*at..]));
    found.map_or(chars.len(), |at| at + length)
}

fn block_comment(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    at
}

fn text(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    at
}

fn raw_text(chars: &[char], at: usize) -> usize {
    let hashes = chars[at..].iter().take_while(|c| **c == '#').count();
    if chars.get(at + hashes) != Some(&'"') {
        return at; // A raw identifier: only its `r` is left out.
    }
    let is_end = |rest: &[char]| {
        rest[0] == '"' && rest[1..].iter().take_while(|c| **c == '#').count() >= hashes
    };
    find(chars, at + hashes + 1, is_end, hashes + 1)
}

/// A character; a lifetime is code.
fn character(chars: &[char], at: usize) -> usize {
    match (chars.get(at + 1), chars.get(at + 2)) {
        (Some('\\'), Some(_)) => find(chars, at + 3, |rest| rest[0] == '\'', 1),
        (Some(_), Some('\'')) => at + 3,
        _ => at,
    }
}

#[test]
fn only_code_is_left() {
    let source = r##"a // b
/* c /* d */ e */ f("g\"h", r#"i"j"#, 'k', '\'', '\u{1F600}', b"l") + m::<'n>() + car"##;
    let left: String = code(source).split_whitespace().collect();
    assert_eq!(left, "af(,,,,,b)+m::<'n>()+car");
}
