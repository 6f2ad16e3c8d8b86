//! Reading the tree key by key, noting every problem and going on. Nothing here knows what a key
//! means; the texts that any key of the same kind needs are here once.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::environment::Environment;
use super::keypath::KeyPath;
use super::keys::{self, Keys};
use super::locate::{self, Part};
use super::problem::Problem;
use super::raw::Node;
use super::source::Source;
use super::{syntax, units};

/// Collects what is found wrong in one file.
pub(super) struct Notes<'s> {
    source: &'s Source,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
}

impl<'s> Notes<'s> {
    pub(super) fn new(source: &'s Source) -> Self {
        Self {
            source,
            problems: RefCell::default(),
            warnings: RefCell::default(),
        }
    }

    pub(super) fn source(&self) -> &'s Source {
        self.source
    }

    /// Notes what makes the configuration unusable.
    pub(super) fn problem(&self, at: &KeyPath, message: impl Into<String>, help: impl Help) {
        self.note(&self.problems, at, Part::Value, message.into(), help.text());
    }

    /// The same, shown at the key instead of its value.
    pub(super) fn problem_at_key(
        &self,
        at: &KeyPath,
        nth: usize,
        message: impl Into<String>,
        help: impl Help,
    ) {
        self.note(
            &self.problems,
            at,
            Part::Key(nth),
            message.into(),
            help.text(),
        );
    }

    /// Notes what deserves a look.
    pub(super) fn warning(&self, at: &KeyPath, message: impl Into<String>, help: impl Help) {
        self.note(&self.warnings, at, Part::Value, message.into(), help.text());
    }

    /// The line, from 1, of a value.
    pub(super) fn line(&self, at: &KeyPath) -> Option<usize> {
        locate::place(self.source.text(), at, Part::Value).map(|(line, _)| line)
    }

    /// Problems and warnings, each in the file's order.
    pub(super) fn into_lists(self) -> (Vec<Problem>, Vec<Problem>) {
        let sorted = |list: RefCell<Vec<Problem>>| {
            let mut list = list.into_inner();
            list.sort_by_key(|problem| {
                problem
                    .place
                    .as_ref()
                    .map(|place| (place.line, place.column))
            });
            list
        };
        (sorted(self.problems), sorted(self.warnings))
    }

    fn note(
        &self,
        list: &RefCell<Vec<Problem>>,
        at: &KeyPath,
        part: Part,
        message: String,
        help: Option<String>,
    ) {
        let place = locate::place(self.source.text(), at, part);
        list.borrow_mut()
            .push(self.source.problem(place, at.clone(), message, help));
    }
}

/// A help that may be missing.
pub(super) trait Help {
    fn text(self) -> Option<String>;
}

impl Help for &str {
    fn text(self) -> Option<String> {
        Some(self.to_owned())
    }
}

impl Help for String {
    fn text(self) -> Option<String> {
        Some(self)
    }
}

impl Help for Option<String> {
    fn text(self) -> Option<String> {
        self
    }
}

/// A map of the file with the keys it may have.
pub(super) struct Section<'a> {
    pub(super) notes: &'a Notes<'a>,
    pub(super) path: KeyPath,
    entries: &'a [(String, Node)],
    /// Keys that are not missed: a misspelt form of each is there and has been noted.
    misspelt: Vec<String>,
    /// Whether anything can be missed: not where something else stands in the section's place.
    is_map: bool,
}

impl<'a> Section<'a> {
    /// A section without a key. `is_map`: whether this is for lack of any, not for a wrong kind.
    fn empty(notes: &'a Notes<'a>, path: KeyPath, is_map: bool) -> Self {
        let (entries, misspelt) = (&[][..], Vec::new());
        Self {
            notes,
            path,
            entries,
            misspelt,
            is_map,
        }
    }

    /// Notes unknown and repeated keys.
    fn new(
        notes: &'a Notes<'a>,
        path: KeyPath,
        entries: &'a [(String, Node)],
        keys: &Keys,
    ) -> Self {
        let mut section = Self {
            entries,
            ..Self::empty(notes, path, true)
        };
        for (n, (key, _)) in entries.iter().enumerate() {
            let before = entries[..n]
                .iter()
                .filter(|(other, _)| other == key)
                .count();
            let at = section.path.key(key);
            if !keys.known.contains(&key.as_str()) {
                let help = unknown_help(key, keys);
                let meant = keys
                    .known
                    .iter()
                    .filter(|known| help.contains(&format!("mean `{known}`")));
                section.misspelt.extend(meant.map(ToString::to_string));
                notes.problem_at_key(&at, before, "is no key known here", help);
            } else if before > 0 {
                let first = locate::place(notes.source.text(), &at, Part::Key(0));
                let first = first.map_or_else(String::new, |(line, _)| {
                    format!("; the first is in line {line}")
                });
                notes.problem_at_key(
                    &at,
                    before,
                    format!("is given twice{first}"),
                    "keep one of the two lines",
                );
            }
        }
        section
    }

    /// The value of a key; `None` when it is not given. A key without a value is noted: an empty
    /// line is as often a forgotten value as the wish for the default.
    pub(super) fn get(&self, key: &str) -> Option<Value<'a>> {
        let value = self.optional_block(key)?;
        if let Node::Null = value.node {
            self.notes.problem_at_key(
                &value.path,
                0,
                "has no value",
                "write one after the colon, or remove the line",
            );
            return None;
        }
        Some(value)
    }

    /// The same for a list or section, which counts as not given when all below it is left out.
    pub(super) fn get_block(&self, key: &str) -> Option<Value<'a>> {
        self.optional_block(key)
            .filter(|value| !matches!(value.node, Node::Null))
    }

    /// The value of a key that must be given.
    pub(super) fn required(&self, key: &str, help: &str) -> Option<Value<'a>> {
        if self.misses(key) {
            self.notes.problem(&self.path.key(key), "is missing", help);
        }
        self.get(key)
    }

    /// Notes that a list has no entry, or is not there.
    pub(super) fn none_given(&self, key: &str, help: &str) {
        let at = self.path.key(key);
        if self.has(key) {
            self.notes.problem_at_key(&at, 0, "has no entry", help);
        } else if self.misses(key) {
            self.notes.problem(&at, "is missing", help);
        }
    }

    /// Whether the key is neither given nor already noted in another form: one mistake is told once.
    pub(super) fn misses(&self, key: &str) -> bool {
        let noted = !self.is_map || self.misspelt.iter().any(|meant| meant == key);
        !self.has(key) && !noted
    }

    /// Whether the key is given at all.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(name, _)| name == key)
    }

    /// A section below this one, empty when it is not given.
    pub(super) fn section(&self, key: &str, keys: &Keys) -> Section<'a> {
        let given = self.get_block(key);
        let is_map = given.is_none();
        given
            .and_then(|value| value.section(keys))
            .unwrap_or_else(|| Section::empty(self.notes, self.path.key(key), is_map))
    }

    fn optional_block(&self, key: &str) -> Option<Value<'a>> {
        let (_, node) = self.entries.iter().find(|(name, _)| name == key)?;
        Some(Value {
            notes: self.notes,
            path: self.path.key(key),
            node,
        })
    }
}

fn unknown_help(key: &str, keys: &Keys) -> String {
    if key.starts_with(['{', '[']) {
        return "a text that begins with `{` or `[` needs quotes".to_owned();
    }
    keys::suggestion(key, keys)
}

/// One value of the file. Each reader returns `None` after noting what is wrong.
pub(super) struct Value<'a> {
    pub(super) notes: &'a Notes<'a>,
    pub(super) path: KeyPath,
    node: &'a Node,
}

impl<'a> Value<'a> {
    /// The file as a whole.
    pub(super) fn root(notes: &'a Notes<'a>, node: &'a Node) -> Self {
        Self {
            notes,
            path: KeyPath::default(),
            node,
        }
    }

    /// Notes what is wrong with this value.
    pub(super) fn problem<T>(&self, message: impl Into<String>, help: impl Help) -> Option<T> {
        self.notes.problem(&self.path, message, help);
        None
    }

    /// Notes what deserves a look.
    pub(super) fn warning(&self, message: impl Into<String>, help: impl Help) {
        self.notes.warning(&self.path, message, help);
    }

    /// As the map it must be.
    pub(super) fn section(&self, keys: &Keys) -> Option<Section<'a>> {
        let Node::Map(entries) = self.node else {
            return self.wrong_kind("keys with their values");
        };
        Some(Section::new(self.notes, self.path.clone(), entries, keys))
    }

    /// As the list it must be.
    pub(super) fn list(&self) -> Option<Vec<Value<'a>>> {
        let Node::List(nodes) = self.node else {
            return self.wrong_kind("a list");
        };
        let value = |(index, node)| Value {
            notes: self.notes,
            path: self.path.index(index),
            node,
        };
        Some(nodes.iter().enumerate().map(value).collect())
    }

    /// Text as it is written: `2024.10` and `007` need no quotes.
    pub(super) fn text(&self) -> Option<String> {
        let text = match self.node {
            Node::Text(text) => text.clone(),
            Node::Bool(_) | Node::Number(_) => {
                locate::spelling(self.notes.source.text(), &self.path)
                    .unwrap_or_else(|| self.node.as_key())
            }
            Node::Null | Node::List(_) | Node::Map(_) | Node::Tagged(_) => {
                return self.wrong_kind("text");
            }
        };
        if text.trim().is_empty() {
            return self.problem(
                "is empty",
                "write a value between the quotes, or remove the line",
            );
        }
        Some(text)
    }

    /// `true` or `false`, `yes` or `no`, `on` or `off`.
    pub(super) fn flag(&self) -> Option<bool> {
        let text = match self.node {
            Node::Bool(value) => return Some(*value),
            Node::Text(text) => text.to_lowercase(),
            Node::Null | Node::Number(_) | Node::List(_) | Node::Map(_) | Node::Tagged(_) => {
                return self.wrong_kind("`true` or `false`");
            }
        };
        match text.as_str() {
            "yes" | "on" | "true" => Some(true),
            "no" | "off" | "false" => Some(false),
            _ => self.problem(format!("{text:?} is neither `true` nor `false`"), None),
        }
    }

    /// A whole number within a range.
    pub(super) fn whole(&self, least: u64, most: u64) -> Option<u64> {
        let number = match self.node {
            Node::Number(number) => number.whole,
            Node::Text(text) => text.trim().parse().ok(),
            Node::Null | Node::Bool(_) | Node::List(_) | Node::Map(_) | Node::Tagged(_) => {
                return self.wrong_kind("a whole number");
            }
        };
        match number {
            Some(number) if (least..=most).contains(&number) => Some(number),
            _ => {
                let given = self.text()?;
                let accepted = match most {
                    u64::MAX => format!("a whole number from {least} on"),
                    _ => format!("a whole number from {least} to {most}"),
                };
                self.problem(format!("{given:?} is not accepted"), accepted)
            }
        }
    }

    /// A duration of at least `least` and at most `most`.
    pub(super) fn duration(&self, least: Duration, most: Duration) -> Option<Duration> {
        let text = self.text()?;
        let (low, high) = (units::show_duration(least), units::show_duration(most));
        match units::duration(&text) {
            Ok(duration) if duration < least => {
                self.problem(format!("{text:?} is too short"), format!("at least {low}"))
            }
            Ok(duration) if duration > most => {
                self.problem(format!("{text:?} is too long"), format!("at most {high}"))
            }
            Ok(duration) => Some(duration),
            Err(error) => self.problem(error.to_string(), error.help()),
        }
    }

    /// A size of at least 1 byte and at most `most`.
    pub(super) fn size(&self, most: u64) -> Option<u64> {
        let text = self.text()?;
        match units::size(&text) {
            Ok(0) => self.problem(format!("{text:?} would reject every file"), "at least 1B"),
            Ok(bytes) if bytes > most => self.problem(
                format!("{text:?} is too large"),
                format!(
                    "at most {}, which is all that the API takes",
                    units::show_size(most)
                ),
            ),
            Ok(bytes) => Some(bytes),
            Err(error) => self.problem(error.to_string(), error.help()),
        }
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = words
            .iter()
            .find(|(word, _)| text.eq_ignore_ascii_case(word));
        if let Some((_, value)) = found {
            return Some(*value);
        }
        let known: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
        self.problem(
            format!("{text:?} is not accepted"),
            format!("one of {}", known.join(", ")),
        )
    }

    /// A path, made absolute: `~/` is the home folder, anything else starts from the file's folder.
    pub(super) fn path(&self, env: &Environment) -> Option<PathBuf> {
        let text = self.text()?;
        let drive = text.as_bytes();
        let windows = drive.len() > 2
            && drive[0].is_ascii_alphabetic()
            && drive[1] == b':'
            && matches!(drive[2], b'\\' | b'/');
        if windows || text.starts_with("\\\\") {
            return self.problem(
                "this is a Windows path, and pixcell runs on Linux",
                "as in `/srv/kiosk`; a Windows share must be mounted first",
            );
        }
        if text.contains("://") {
            return self.problem(
                format!("{text:?} is an address, not a path"),
                "as in `/srv/kiosk`",
            );
        }
        if text.starts_with('$') {
            return self.problem(
                format!("{text:?}: variables are not replaced here"),
                "write the path out, or start it with `~/` for the home folder",
            );
        }
        if text.contains('\0') {
            return self.problem("holds a zero character, which no path can", None);
        }
        match text.strip_prefix('~') {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => match &env.home {
                Some(home) => Some(clean(&home.join(rest.trim_start_matches('/')))),
                None => self.problem(
                    format!("{text:?}: there is no home folder, since $HOME is not set"),
                    "write the path out",
                ),
            },
            Some(_) => self.problem(
                format!("{text:?}: the home of another user is not looked up"),
                "write the path out",
            ),
            None => Some(clean(&self.notes.source.folder().join(text))),
        }
    }

    fn problem_with<T>(&self, explained: syntax::Explained) -> Option<T> {
        self.problem(explained.message, explained.help)
    }

    fn wrong_kind<T>(&self, wanted: &str) -> Option<T> {
        let source = self.notes.source.text();
        let place = locate::place(source, &self.path, Part::Value);
        let start = place.map_or("", |(line, column)| rest_of(source, line, column));
        let wants_text = wanted == "text";
        let wants_keys = wanted.starts_with("keys");
        let uncommented = start.split(" #").next().unwrap_or_default().trim_end();
        let several = (self.path.last_key() == Some("files")).then(|| {
            "a rule has one pattern; several become one with `{a,b}`, as in `\"*.{png,jpg}\"`"
                .to_owned()
        });
        let help = match self.node {
            Node::List(nodes) if wants_text && nodes.len() > 1 => several,
            Node::Map(_) | Node::List(_) | Node::Tagged(_)
                if wants_text && start.starts_with(['{', '[', '!']) =>
            {
                let first = start.chars().next().unwrap_or_default();
                return self.problem_with(syntax::text_needs_quotes(
                    source,
                    place,
                    first,
                    uncommented,
                ));
            }
            Node::Tagged(_) => Some("a text that begins with `!` needs quotes".to_owned()),
            Node::Map(_) if wanted == "a list" => {
                Some("start each entry with `- `, a dash and a space".to_owned())
            }
            Node::List(_) if wants_keys => Some("remove the `- ` in front of the keys".to_owned()),
            Node::List(_) if wants_text => several,
            Node::Text(text) if wants_keys => Some(match text.split_once(':') {
                Some((key, _)) => format!("put a space after the colon: `{}: ...`", key.trim()),
                None => "each line is `key: value`, as `config.example.yaml` shows".to_owned(),
            }),
            Node::Text(_) if wanted == "a list" => {
                Some("put each entry on a line of its own that starts with `- `".to_owned())
            }
            _ => None,
        };
        self.problem(
            format!("should be {wanted}, but is {}", self.node.kind()),
            help,
        )
    }
}

fn rest_of(text: &str, line: usize, column: usize) -> &str {
    let line = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let start = line
        .char_indices()
        .nth(column.saturating_sub(1))
        .map_or(line.len(), |(at, _)| at);
    &line[start..]
}

/// Without `.` and doubled slashes. `..` stays: what it means depends on links.
fn clean(path: &Path) -> PathBuf {
    path.components().collect()
}
