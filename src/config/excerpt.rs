//! One line of the configuration as it may be shown to a person, with a mark under the place.
//! Never shows a secret: values of keys that may hold one are hidden, even where the YAML is broken
//! or the key misspelt, so this goes by the text alone.

use std::fmt;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Longer lines are cut, in characters.
const LONGEST_LINE: usize = 110;
/// What a cut line keeps before the place, in characters.
const KEPT_BEFORE: usize = 50;
const HIDDEN: &str = "(hidden)";
/// What people put between a key and its value, rightly or not.
const MARKS: [char; 3] = [':', '=', '：'];

/// A line and where its mark goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Excerpt {
    number: usize,
    line: String,
    /// Columns on a terminal, not characters: Chinese text is twice as wide.
    before: usize,
    marked: usize,
}

impl Excerpt {
    /// The line with this number, marked at this column; both from 1, in characters.
    pub(super) fn of(text: &str, number: usize, column: usize) -> Option<Self> {
        let lines: Vec<&str> = text.lines().take(number).collect();
        let raw = *lines.get(number.checked_sub(1)?)?;
        let shown: Vec<char> = visible(raw, below_a_secret(&lines))
            .chars()
            .map(plain)
            .collect();
        let start = column.saturating_sub(1).min(shown.len());
        let end = start + token_length(&shown[start..]);

        let from = if shown.len() > LONGEST_LINE {
            start.saturating_sub(KEPT_BEFORE)
        } else {
            0
        };
        let to = shown.len().min(from + LONGEST_LINE);
        let piece = |from: usize, to: usize| shown[from.min(to)..to].iter().collect::<String>();
        let lead = if from > 0 { "..." } else { "" };
        let tail = if to < shown.len() { "..." } else { "" };
        Some(Self {
            number,
            line: format!("{lead}{}{tail}", piece(from, to)),
            before: lead.width() + piece(from, start).width(),
            marked: piece(start, end.min(to)).width().max(1),
        })
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.number.to_string();
        let gap = number.width();
        writeln!(f, "  {number} | {}", self.line)?;
        write!(
            f,
            "  {:gap$} | {:before$}{}",
            "",
            "",
            "^".repeat(self.marked),
            before = self.before
        )
    }
}

/// One printable character for one of the file, so that the mark stays under its place.
fn plain(c: char) -> char {
    match c {
        '\t' => '→',
        _ if c.is_control() || c.width().is_none() => '\u{FFFD}',
        _ => c,
    }
}

/// How much of the rest of a line belongs to the key or value that starts here.
fn token_length(rest: &[char]) -> usize {
    let until = |stop: &dyn Fn(usize) -> bool| (0..rest.len()).find(|n| stop(*n));
    let comment = until(&|n| rest[n] == '#' && n > 0 && rest[n - 1] == ' ').unwrap_or(rest.len());
    let end = match rest.first() {
        Some(quote @ ('"' | '\'')) => {
            until(&|n| n > 0 && rest[n] == *quote).map_or(comment, |n| n + 1)
        }
        Some('{' | '[') => comment,
        Some('→') => until(&|n| rest[n] != '→').unwrap_or(rest.len()),
        _ => until(&|n| {
            n > 0 && rest[n] == ':' && matches!(rest.get(n + 1), None | Some(' '))
                || matches!(rest[n], ',' | ']' | '}') && matches!(rest.get(n + 1), None | Some(' '))
        })
        .map_or(comment, |n| n.min(comment)),
    };
    let trailing = rest[..end]
        .iter()
        .rev()
        .take_while(|c| c.is_whitespace())
        .count();
    end - trailing
}

/// Whether a key with this name may hold a secret. Misspelt ones too: `app-secrt`.
fn holds_a_secret(key: &str) -> bool {
    let key = key.to_lowercase().replace('-', "_");
    let named = ["secret", "token", "passw", "credential"];
    let like = |known: &str| strsim::jaro_winkler(&key, known) > 0.92;
    !key.ends_with("file") && (named.iter().any(|part| key.contains(part)) || like("app_secret"))
}

/// Where the value of the first key that may hold a secret starts, in bytes.
fn secret_value(line: &str) -> Option<usize> {
    let start = indentation(line);
    let word = line[start..]
        .find(' ')
        .map_or(line.len(), |end| start + end);
    // A line without any mark, where the colon was forgotten.
    if word < line.len() && !line[..word].contains(MARKS) && holds_a_secret(&line[start..word]) {
        return Some(word);
    }
    line.match_indices(MARKS).find_map(|(at, mark)| {
        let before = line[..at].trim_end().trim_end_matches(['"', '\'']);
        let named = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
        let start = before.rfind(|c| !named(c)).map_or(0, |n| n + 1);
        let key = before.get(start..).unwrap_or(before);
        let value = &line[at + mark.len()..];
        let proxy = key.eq_ignore_ascii_case("proxy") && value.contains('@');
        (holds_a_secret(key) || proxy).then_some(at + mark.len())
    })
}

/// Whether the line with this number, from 1, may show or continue a secret, so that no message may
/// repeat a part of it.
pub(super) fn hides(lines: &[&str], number: usize) -> bool {
    let upto = &lines[..number.min(lines.len())];
    upto.last().is_some_and(|line| secret_value(line).is_some()) || below_a_secret(upto)
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Whether the last of these lines may continue a secret that began on a line above.
fn below_a_secret(lines: &[&str]) -> bool {
    let Some((last, above)) = lines.split_last() else {
        return false;
    };
    let mut filled = above
        .iter()
        .rev()
        .filter(|line| !line.trim().is_empty())
        .peekable();
    let open = |line: &str| {
        secret_value(line).is_some_and(|at| {
            let value = line[at..].trim();
            value.is_empty() || value.starts_with(['"', '\'', '|', '>'])
        })
    };
    // Broken files: a value on the next line need not be indented.
    if secret_value(last).is_none()
        && filled.peek().is_some_and(|line| open(line))
        && !last.contains(": ")
    {
        return true;
    }
    let mut depth = indentation(last);
    for line in filled {
        if indentation(line) < depth {
            if secret_value(line).is_some() {
                return true;
            }
            depth = indentation(line);
        }
    }
    false
}

/// The line with secrets replaced.
fn visible(line: &str, continues_a_secret: bool) -> String {
    if continues_a_secret {
        return format!("{}{HIDDEN}", &line[..indentation(line)]);
    }
    if let Some(value) = secret_value(line) {
        let gap = indentation(&line[value..]).min(line.len() - value);
        let rest = &line[value + gap..];
        let hidden = if rest.is_empty() { "" } else { HIDDEN };
        return format!("{}{hidden}", &line[..value + gap]);
    }
    match (line.find("://"), line.rfind('@')) {
        // A name and password in front of a host.
        (Some(scheme), Some(at)) if scheme + 3 < at => {
            format!("{}{HIDDEN}{}", &line[..scheme + 3], &line[at..])
        }
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn shown(text: &str, number: usize, column: usize) -> String {
        Excerpt::of(text, number, column).unwrap().to_string()
    }

    #[test]
    fn the_mark_stands_under_its_place() {
        assert_eq!(
            shown("a: 1\n  cell: B2:C3  # note\n", 2, 9),
            "  2 |   cell: B2:C3  # note\n    |         ^^^^^"
        );
    }

    #[test]
    fn the_mark_stands_under_its_place_after_wide_text() {
        assert_eq!(shown("大厅: x", 1, 5), "  1 | 大厅: x\n    |       ^");
    }

    #[test]
    fn a_tab_is_made_visible() {
        assert_eq!(shown("a:\n\tb: 1", 2, 1), "  2 | →b: 1\n    | ^");
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let line = format!("{}B0{}", "x".repeat(300), "y".repeat(300));
        let text = shown(&line, 1, 301);
        assert!(
            text.lines().all(|line| line.chars().count() < 140),
            "{text}"
        );
        assert!(text.contains("...xxx") && text.contains("xB0y"), "{text}");
    }

    #[rstest]
    #[case("app_secret: hunter2", 1)]
    #[case("app_secret : 'hunter2'", 1)]
    #[case("  \"app_secret\": \"hunter2\"", 1)]
    #[case("feishu: {app_id: cli, app_secret: hunter2}", 1)]
    #[case("app-secrt: hunter2", 1)]
    #[case("appSecret: hunter2", 1)]
    #[case("app_secret=hunter2", 1)]
    #[case("app_secret：hunter2", 1)]
    #[case("app_secret:hunter2", 1)]
    #[case("app_secret hunter2", 1)]
    #[case("user_token: hunter2", 1)]
    #[case("password: hunter2", 1)]
    #[case("app_secret: |\n  hunter2", 2)]
    #[case("app_secret:\n\n  hunter2", 3)]
    #[case("app_secret:\nhunter2", 2)]
    #[case("app_secret: \"\nhunter2\"", 2)]
    #[case("  app_secret: >-\n      a\n\n    hunter2", 4)]
    #[case("proxy: http://me:hunter2@proxy:3128", 1)]
    #[case("proxy: http://me:a@hunter2@proxy:3128", 1)]
    #[case("proxy: me:hunter2@proxy:3128", 1)]
    #[case("endpoint: https://me:hunter2@open.feishu.cn", 1)]
    fn no_line_shows_a_secret(#[case] text: &str, #[case] number: usize) {
        let shown = shown(text, number, 1);
        assert!(
            !shown.contains("hunter2") && shown.contains(HIDDEN),
            "{shown}"
        );
    }

    #[rstest]
    #[case("app_secret_file: /etc/secret")]
    #[case("user_token_file: /etc/token")]
    #[case("app_id: cli_1")]
    #[case("spreadsheet: https://sample.feishu.cn/sheets/abc")]
    #[case("proxy: http://proxy.corp:3128")]
    fn other_lines_are_shown_whole(#[case] text: &str) {
        assert!(shown(text, 1, 1).contains(text));
    }

    #[test]
    fn keys_after_a_secret_are_shown() {
        assert!(shown("feishu:\n  app_secret: x\n  app_id: y", 3, 3).contains("app_id: y"));
    }

    proptest! {
        #[test]
        fn no_place_panics(text in "(\\PC|\\n|\\t){0,200}", number in 0usize..6, column in 0usize..80) {
            let _ = Excerpt::of(&text, number, column).map(|excerpt| excerpt.to_string());
        }
    }
}
