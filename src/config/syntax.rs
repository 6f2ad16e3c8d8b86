//! What a YAML syntax error means to somebody who does not know YAML. The parser tells where it
//! gave up and in which words; the lines around that place tell what was meant. Pure.

use super::excerpt;
use super::raw::Refusal;

/// A syntax error for people.
#[derive(Debug)]
pub(super) struct Explained {
    /// Line and column, from 1.
    pub(super) place: Option<(usize, usize)>,
    pub(super) message: String,
    pub(super) help: Option<String>,
    /// Whether the help may repeat a part of the line.
    repeats: bool,
}

impl Explained {
    /// A help that repeats a part of its line is not given where that could be a secret.
    fn without_secrets(self, lines: &[&str]) -> Self {
        if self.repeats
            && self
                .place
                .is_some_and(|(line, _)| excerpt::hides(lines, line))
        {
            return Self {
                help: Some("put the value in quotes, after `key: `".to_owned()),
                ..self
            };
        }
        self
    }
}

/// Says in plain words what the parser refused.
pub(super) fn explain(text: &str, refusal: &Refusal) -> Explained {
    let Refusal { words, place } = refusal;
    let lines: Vec<&str> = text.lines().collect();
    let found = match *place {
        _ if words.contains("more than one document") => second_document(&lines),
        _ if words.starts_with("control characters") => control_character(&lines),
        Some((line, column)) => Trouble {
            lines: &lines,
            words,
            line,
            column,
            began: began(words),
        }
        .explain(),
        None => None,
    };
    let found = found.map(|found| found.without_secrets(&lines));
    found.unwrap_or_else(|| Explained {
        place: *place,
        message: format!("this is not valid YAML here: {}", without_positions(words)),
        help: Some(
            "look at this line and the one above: indentation, colons, quotes and brackets".into(),
        ),
        repeats: false,
    })
}

fn explained(
    place: (usize, usize),
    message: impl Into<String>,
    help: impl Into<String>,
) -> Explained {
    Explained {
        place: Some(place),
        message: message.into(),
        help: Some(help.into()),
        repeats: true,
    }
}

fn without_positions(words: &str) -> &str {
    words.split(" at line ").next().unwrap_or(words)
}

/// Where the construct began in which the parser gave up: the second position in its words.
fn began(words: &str) -> Option<(usize, usize)> {
    let context = words.split(", while ").nth(1)?;
    let (line, column) = context.split(" at line ").nth(1)?.split_once(" column ")?;
    Some((line.trim().parse().ok()?, column.trim().parse().ok()?))
}

fn second_document(lines: &[&str]) -> Option<Explained> {
    // A table of another format opens a list, which ends the first document.
    let first = lines
        .iter()
        .position(|line| !line.trim().is_empty() && !line.starts_with('#'))?;
    if lines[first].starts_with('[') {
        return Some(explained(
            (first + 1, 1),
            "this looks like TOML or INI; the configuration is YAML",
            "write `feishu:` and the keys below it as `  key: value`; `config.example.yaml` shows all",
        ));
    }
    let filled_before = |n: usize| {
        lines[..n].iter().any(|line| {
            let line = line.trim();
            !line.is_empty() && !line.starts_with('#') && line != "---" && !line.starts_with('%')
        })
    };
    let at = (0..lines.len()).find(|n| {
        (lines[*n].starts_with("---") || lines[*n].starts_with("...")) && filled_before(*n)
    })?;
    Some(explained(
        (at + 1, 1),
        "a second YAML document begins here",
        "one file is one configuration: remove this line, or what follows it",
    ))
}

fn control_character(lines: &[&str]) -> Option<Explained> {
    let odd = |c: char| c.is_control() && c != '\t' && c != '\r';
    let (line, column, c) = lines.iter().enumerate().find_map(|(n, line)| {
        let (column, c) = line.chars().enumerate().find(|(_, c)| odd(*c))?;
        Some((n + 1, column + 1, c))
    })?;
    Some(explained(
        (line, column),
        format!(
            "there is an invisible control character here (U+{:04X})",
            u32::from(c)
        ),
        "delete it, or type the line again",
    ))
}

/// The place of a syntax error with what is needed to say what was meant.
struct Trouble<'a> {
    lines: &'a [&'a str],
    words: &'a str,
    line: usize,
    column: usize,
    began: Option<(usize, usize)>,
}

impl Trouble<'_> {
    fn explain(&self) -> Option<Explained> {
        self.tab()
            .or_else(|| self.quotes())
            .or_else(|| self.special_start())
            .or_else(|| self.text_after_brackets())
            .or_else(|| self.unclosed_bracket())
            .or_else(|| self.colon())
            .or_else(|| self.indentation())
    }

    fn text(&self, line: usize) -> &str {
        line.checked_sub(1)
            .and_then(|n| self.lines.get(n))
            .copied()
            .unwrap_or_default()
    }

    /// The nearest line above that says something, with its number.
    fn line_above(&self) -> Option<(usize, &str)> {
        let says = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
        let above = self.lines.get(..self.line.saturating_sub(1))?;
        let at = above.iter().rposition(|line| says(line))?;
        Some((at + 1, above[at]))
    }

    fn tab(&self) -> Option<Explained> {
        let line = self.text(self.line);
        let indent = &line[..line.len() - line.trim_start().len()];
        let at = indent.chars().position(|c| c == '\t').map(|n| n + 1);
        let at =
            at.or_else(|| (char_at(line, self.column) == Some('\t')).then_some(self.column))?;
        Some(explained(
            (self.line, at),
            "a tab; YAML is indented with spaces only",
            "replace each tab by two spaces",
        ))
    }

    fn quotes(&self) -> Option<Explained> {
        if !self.words.contains("a quoted scalar") {
            return None;
        }
        let start = self.began?;
        if self.words.contains("end of stream") || self.words.contains("document indicator") {
            return Some(explained(
                start,
                "this quote is never closed",
                "put the same quote at the end of the text",
            ));
        }
        if self.words.contains("escape") || self.words.contains("hexadecimal") {
            return Some(explained(
                start,
                "in double quotes, a backslash starts a special character, and this one starts none",
                "use single quotes, in which a backslash is a backslash; paths are written with `/`",
            ));
        }
        None
    }

    /// A value whose first character means something to YAML.
    fn special_start(&self) -> Option<Explained> {
        let sign = ["alias", "anchor", "scanning a tag"];
        let alias = sign.iter().any(|sign| self.words.contains(sign));
        let start = if alias {
            self.began.unwrap_or((self.line, self.column))
        } else {
            (self.line, self.column)
        };
        let line = self.text(start.0);
        let c = char_at(line, start.1)?;
        let reserved = self.words.contains("cannot start any token") && "@`%".contains(c);
        if !alias && !reserved {
            return None;
        }
        // `[a-z]*.png`: the bracket, not the star, is where the text starts.
        if let Some(found) = bracketed_value(line, start.0) {
            return Some(found);
        }
        Some(needs_quotes(start, c, &value_at(line, start.1)))
    }

    /// `{cell}.png` and `"a".png`: YAML ends the value at the closing mark.
    fn text_after_brackets(&self) -> Option<Explained> {
        if !self.words.contains("did not find expected") {
            return None;
        }
        let line = self.text(self.line);
        if let Some(found) = bracketed_value(line, self.line) {
            return Some(found);
        }
        let (column, value) = value_of(line)?;
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let closing = value.chars().skip(1).position(|c| c == quote)? + 1;
        let rest: String = value.chars().skip(closing + 1).collect();
        (!rest.trim().is_empty()).then(|| {
            explained(
                (self.line, column + closing + 1),
                "there is text after the closing quote",
                "put all of the value into one pair of quotes",
            )
        })
    }

    fn unclosed_bracket(&self) -> Option<Explained> {
        let open = match () {
            () if self.words.contains("flow sequence") => ('[', ']'),
            () if self.words.contains("flow mapping") => ('{', '}'),
            () => return None,
        };
        Some(explained(
            self.began.unwrap_or((self.line, self.column)),
            format!("this `{}` is not closed by `{}`", open.0, open.1),
            format!(
                "close it, with commas between the entries; a text that begins with `{}` needs quotes",
                open.0
            ),
        ))
    }

    fn colon(&self) -> Option<Explained> {
        let mapping = self.words.contains("mapping values are not allowed");
        let missing = self.words.contains("could not find expected ':'");
        if !mapping && !missing {
            return None;
        }
        let line = self.text(self.line);
        let before: String = line.chars().take(self.column.saturating_sub(1)).collect();
        if mapping && let Some(at) = before.find(": ") {
            let column = before[..at].chars().count() + 3;
            return Some(explained(
                (self.line, column),
                "a second `: ` in one line",
                format!(
                    "if it belongs to the value, put the value in quotes: {}",
                    quoted(&value_at(line, column))
                ),
            ));
        }
        let (number, suspect) = match (missing, self.began) {
            (true, Some((number, _))) => (number, self.text(number)),
            _ => self.line_above()?,
        };
        if let Some(found) = no_colon(number, suspect) {
            return Some(found);
        }
        (mapping && indentation(line) > indentation(suspect)).then(|| self.indented(suspect))
    }

    fn indentation(&self) -> Option<Explained> {
        if !self.words.contains("did not find expected") {
            return None;
        }
        let block = self.words.contains("block mapping") || self.words.contains("block collection");
        let line = self.text(self.line);
        // Only where the parser stopped at the start of the line is the indentation at fault.
        if !block || indentation(line) + 1 != self.column {
            return None;
        }
        let (_, above) = self.line_above()?;
        if self.words.contains("block mapping") && line.trim_start().starts_with("- ") {
            return Some(explained(
                (self.line, self.column),
                "a list entry (`- `) among keys",
                "entries of one list all start with `- ` in the same column",
            ));
        }
        Some(self.indented(above))
    }

    fn indented(&self, above: &str) -> Explained {
        let spaces = indentation(self.text(self.line));
        let message = format!(
            "this line starts with {}, which fits no line above it",
            count(spaces)
        );
        let item = above.trim_start().starts_with("- ");
        let column = indentation(above) + if item { 2 } else { 0 };
        let help = if item && column != spaces {
            format!(
                "to belong to the entry that begins with `- ` above, it starts with {}",
                count(column)
            )
        } else {
            format!(
                "keys that belong together start in the same column; the line above starts with {}",
                count(indentation(above))
            )
        };
        Explained {
            repeats: false,
            ..explained((self.line, self.column.min(spaces + 1)), message, help)
        }
    }
}

fn count(spaces: usize) -> String {
    match spaces {
        0 => "no space".to_owned(),
        1 => "1 space".to_owned(),
        n => format!("{n} spaces"),
    }
}

fn char_at(line: &str, column: usize) -> Option<char> {
    line.chars().nth(column.checked_sub(1)?)
}

fn indentation(line: &str) -> usize {
    line.chars().take_while(|c| *c == ' ').count()
}

/// The value of a `key: value` or `- value` line and its column.
fn value_of(line: &str) -> Option<(usize, &str)> {
    let start = line
        .find(": ")
        .map(|at| at + 2)
        .or_else(|| line.find("- ").map(|at| at + 2))?;
    let value = line[start..].trim_start();
    let column = line[..line.len() - value.len()].chars().count() + 1;
    Some((column, value.trim_end())).filter(|(_, value)| !value.is_empty())
}

/// The value that starts at this column, to the end of the line or list entry.
fn value_at(line: &str, column: usize) -> String {
    let rest: String = line.chars().skip(column.saturating_sub(1)).collect();
    let in_list = line
        .chars()
        .take(column.saturating_sub(1))
        .any(|c| c == '[');
    let end = if in_list {
        rest.find([',', ']'])
    } else {
        rest.find(" #")
    };
    rest[..end.unwrap_or(rest.len())].trim().to_owned()
}

/// The value as YAML text, in the quotes that need no escapes.
fn quoted(value: &str) -> String {
    if value.contains(['"', '\\']) {
        format!("`'{}'`", value.replace('\'', "''"))
    } else {
        format!("`\"{value}\"`")
    }
}

/// The same for a value that YAML could read, as something else than text.
pub(super) fn text_needs_quotes(
    text: &str,
    place: Option<(usize, usize)>,
    first: char,
    value: &str,
) -> Explained {
    let lines: Vec<&str> = text.lines().collect();
    needs_quotes(place.unwrap_or_default(), first, value).without_secrets(&lines)
}

/// A value whose first character means something to YAML.
fn needs_quotes(place: (usize, usize), first: char, value: &str) -> Explained {
    explained(
        place,
        format!("a text that begins with `{first}` needs quotes"),
        format!("write {}", quoted(value)),
    )
}

/// A value that goes on after its first bracket is closed, as `{cell}.png`.
fn bracketed_value(line: &str, number: usize) -> Option<Explained> {
    let (column, value) = value_of(line)?;
    let open = value.chars().next().filter(|c| matches!(c, '{' | '['))?;
    let close = if open == '{' { '}' } else { ']' };
    let end = value.find(close)?;
    let value = value_at(line, column);
    let more = value
        .get(end + 1..)
        .is_some_and(|rest| !rest.trim().is_empty());
    more.then(|| needs_quotes((number, column), open, &value))
}

/// A line that should be `key: value` and has no `: `.
fn no_colon(number: usize, line: &str) -> Option<Explained> {
    let text = line.trim();
    let at = (number, indentation(line) + 1);
    if text.contains(": ") || text.ends_with(':') {
        return (text.starts_with('-') && !text.starts_with("- ")).then(|| {
            explained(
                at,
                "`-` without a space after it",
                "a list entry starts with `- `, a dash and a space",
            )
        });
    }
    if let Some((key, value)) = text.split_once('：') {
        return Some(explained(
            at,
            "this line has a full-width colon (`：`)",
            format!("use the plain one and a space: `{}: ...`", key.trim())
                .replace("...", if value.is_empty() { "" } else { "..." }),
        ));
    }
    let separator = text.find([':', '=']).or_else(|| text.find(' '));
    let key = separator.map_or(text, |at| text[..at].trim());
    let message = match separator.and_then(|at| text[at..].chars().next()) {
        Some(':') => "this line has no space after its colon",
        Some('=') => "this line has `=` where YAML has `: `",
        _ => "this line has no `: ` between a key and its value",
    };
    Some(explained(
        at,
        message,
        format!("write `{key}: ...`, with a colon and a space"),
    ))
}
