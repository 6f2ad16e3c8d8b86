//! From a pattern's source to its pieces. Finds every mistake of the grammar and says where it
//! stands and what would be right; knows nothing of how pieces are matched, except that it asks
//! `expression` to read the regular expression of a capture.

use super::expression;
use super::{CaptureKind, CaptureName, PatternError};

/// The longest pattern, in bytes: no path is longer (`PATH_MAX`).
const MAX_BYTES: usize = 4096;
/// How deep alternatives may nest. Keeps the recursion here and in the compiler small.
const MAX_DEPTH: usize = 8;
/// What templates know without a capture.
pub const RESERVED: [&str; 4] = ["stem", "suffix", "file", "parent"];

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// These letters, in either case. Never holds `/`.
    Literal(String),
    /// `/`
    Slash,
    /// `?`: one letter.
    AnyLetter,
    /// `*`: any number of letters.
    AnyLetters,
    /// `**`, standing alone between slashes: any number of folders, or all that is below.
    AnyDepth,
    /// `[a-z]`, as inclusive ranges.
    Class {
        /// `[!a-z]`
        negated: bool,
        /// First and last letter of each range; never descending.
        ranges: Vec<(char, char)>,
    },
    /// `{a,b}`: at least two.
    Alternatives(Vec<Vec<Piece>>),
    /// A capture, with its regular expression: without groups, never matching `/`.
    Capture(String),
}

/// A part of a pattern and where in the source it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// In bytes.
    pub offset: usize,
    /// What it is.
    pub node: Node,
}

/// A pattern that follows the grammar.
#[derive(Debug, Clone)]
pub struct Syntax {
    /// Without a slash, and so about file names at any depth.
    pub at_any_depth: bool,
    /// Never empty; a leading slash is not among them.
    pub pieces: Vec<Piece>,
    /// In the order of their `Node::Capture`.
    pub captures: Vec<CaptureName>,
}

/// Reads a pattern.
///
/// # Errors
/// With the first mistake.
pub fn read(source: &str) -> Result<Syntax, PatternError> {
    if source.len() > MAX_BYTES {
        return Err(PatternError::new(
            MAX_BYTES,
            "the pattern is longer than any path",
            "a pattern has at most 4,096 bytes",
        ));
    }
    let mut reader = Reader {
        source,
        at: 0,
        depth: 0,
        captures: Vec::new(),
    };
    let anchored = reader.eat('/');
    let pieces = reader.sequence()?;
    if pieces.is_empty() {
        return Err(PatternError::new(
            reader.at,
            "the pattern is empty",
            "`*` matches every file, `*.png` every file whose name ends so",
        ));
    }
    check_parts(&pieces)?;
    check_any_depth(&pieces, true, true)?;
    Ok(Syntax {
        at_any_depth: !anchored && !has_slash(&pieces),
        pieces,
        captures: reader.captures,
    })
}

fn has_slash(pieces: &[Piece]) -> bool {
    pieces.iter().any(|piece| match &piece.node {
        Node::Slash => true,
        Node::Alternatives(branches) => branches.iter().any(|branch| has_slash(branch)),
        _ => false,
    })
}

/// Parts that no path has would make a pattern that silently never matches.
fn check_parts(pieces: &[Piece]) -> Result<(), PatternError> {
    for part in pieces.split(|piece| piece.node == Node::Slash) {
        if let [Piece { offset, node }] = part
            && let Node::Literal(text) = node
            && matches!(text.as_str(), "." | "..")
        {
            return Err(PatternError::new(
                *offset,
                format!("no path has a part `{text}`"),
                "write the path from the mapped folder down, as in `products/*.png`",
            ));
        }
    }
    for pair in pieces.windows(2) {
        if let [first, second] = pair
            && first.node == Node::Slash
            && second.node == Node::Slash
        {
            return Err(PatternError::new(
                second.offset,
                "no path has two slashes in a row",
                "write one; any number of folders is `/**/`",
            ));
        }
    }
    match pieces {
        [first, ..] if first.node == Node::Slash => Err(PatternError::new(
            first.offset,
            "no path has two slashes in a row",
            "one leading slash ties a pattern to the mapped folder itself",
        )),
        [.., last] if last.node == Node::Slash => Err(PatternError::new(
            last.offset,
            "a pattern that ends with a slash matches no file",
            "everything below a folder is `folder/**`, at any depth `**/folder/**`",
        )),
        _ => Ok(()),
    }
}

/// `**` means something only as a whole part. `starts`: a part begins before the first piece;
/// `ends`: the pattern ends after the last.
fn check_any_depth(pieces: &[Piece], starts: bool, ends: bool) -> Result<(), PatternError> {
    let mut starts_here = starts;
    let mut rest = pieces.iter().peekable();
    while let Some(piece) = rest.next() {
        let ends_here = ends && rest.peek().is_none();
        match &piece.node {
            Node::AnyDepth => {
                let slash_follows = rest.peek().is_some_and(|next| next.node == Node::Slash);
                if !(starts_here && (slash_follows || ends_here)) {
                    return Err(PatternError::new(
                        piece.offset,
                        "`**` is only part of a name here",
                        "stand it alone between slashes, as in `**/*.jpg` or `a/**/b.jpg`; within a name write `*`",
                    ));
                }
            }
            Node::Alternatives(branches) => branches
                .iter()
                .try_for_each(|branch| check_any_depth(branch, starts_here, ends_here))?,
            _ => {}
        }
        starts_here = piece.node == Node::Slash;
    }
    Ok(())
}

struct Reader<'s> {
    source: &'s str,
    /// Always on the boundary of a letter.
    at: usize,
    /// Number of alternatives that are open.
    depth: usize,
    captures: Vec<CaptureName>,
}

impl<'s> Reader<'s> {
    fn rest(&self) -> &'s str {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.at += letter.len_utf8();
        Some(letter)
    }

    fn eat(&mut self, letter: char) -> bool {
        let eaten = self.peek() == Some(letter);
        if eaten {
            self.at += letter.len_utf8();
        }
        eaten
    }

    /// Up to the end or, within alternatives, up to a `,` or `}` that is not eaten.
    fn sequence(&mut self) -> Result<Vec<Piece>, PatternError> {
        let mut pieces = Vec::new();
        loop {
            let offset = self.at;
            let node = match self.peek() {
                None => return Ok(pieces),
                Some(',' | '}') if self.depth > 0 => return Ok(pieces),
                Some('}') => {
                    return Err(PatternError::new(
                        offset,
                        "this `}` closes nothing",
                        r"open it with `{`, or write `\}` for the letter itself",
                    ));
                }
                Some('{') => self.braces()?,
                Some('[') => self.class()?,
                Some('*') => self.stars()?,
                Some('?') => {
                    self.next();
                    Node::AnyLetter
                }
                Some('/') => {
                    self.next();
                    Node::Slash
                }
                Some(_) => Node::Literal(self.letter()?.into()),
            };
            match (pieces.last_mut(), node) {
                (
                    Some(Piece {
                        node: Node::Literal(text),
                        ..
                    }),
                    Node::Literal(more),
                ) => text.push_str(&more),
                (_, node) => pieces.push(Piece { offset, node }),
            }
        }
    }

    /// One letter that stands for itself, escaped or not.
    fn letter(&mut self) -> Result<char, PatternError> {
        let offset = self.at;
        let letter = self.next().unwrap_or_default();
        if letter != '\\' {
            return Ok(letter);
        }
        match self.next() {
            None => Err(PatternError::new(
                offset,
                r"this `\` escapes nothing",
                r"write `\\` for the letter itself",
            )),
            // `\n` and `photos\cam` are meant otherwise than as the letters `n` and `c`.
            Some(escaped) if escaped == '/' || escaped.is_alphanumeric() => Err(PatternError::new(
                offset,
                format!(r"`\{escaped}` means nothing"),
                r"only punctuation is escaped; folders are parted by `/`; write `\\` for the letter itself",
            )),
            Some(escaped) => Ok(escaped),
        }
    }

    fn stars(&mut self) -> Result<Node, PatternError> {
        let offset = self.at;
        self.next();
        if !self.eat('*') {
            return Ok(Node::AnyLetters);
        }
        if self.peek() == Some('*') {
            return Err(PatternError::new(
                offset,
                "three `*` in a row mean nothing",
                "`*` is any part of a name, `**` any number of folders",
            ));
        }
        Ok(Node::AnyDepth)
    }

    fn class(&mut self) -> Result<Node, PatternError> {
        let offset = self.at;
        let unclosed = || {
            PatternError::new(
                offset,
                "this `[` is never closed",
                r"close it with `]`, or write `\[` for the letter itself",
            )
        };
        self.next();
        let negated = self.eat('!') || self.eat('^');
        let mut ranges = Vec::new();
        loop {
            let item = self.at;
            match self.peek() {
                None => return Err(unclosed()),
                Some(']') if ranges.is_empty() => {
                    return Err(PatternError::new(
                        offset,
                        "this class is empty",
                        r"name its letters, as in `[a-z]`; the letter `]` is `[\]]`",
                    ));
                }
                Some(']') => {
                    self.next();
                    return Ok(Node::Class { negated, ranges });
                }
                Some('[') if self.rest().starts_with("[:") => {
                    return Err(PatternError::new(
                        item,
                        "classes are not known by name here",
                        r"name the letters, as in `[a-z]`, or capture with `{name:[[:alpha:]]+}`; the letter `[` is `\[`",
                    ));
                }
                Some('/') => {
                    return Err(PatternError::new(
                        item,
                        "a class never matches `/`",
                        "put the slash outside, or list both ways: `{a/b,a-b}`",
                    ));
                }
                Some(_) => {}
            }
            let first = self.letter()?;
            let mut ahead = self.rest().chars();
            let last = match (ahead.next(), ahead.next()) {
                (Some('-'), Some(end)) if end != ']' => {
                    self.next();
                    self.letter()?
                }
                _ => first,
            };
            if first > last {
                return Err(PatternError::new(
                    item,
                    format!("the range `{first}-{last}` runs backwards"),
                    format!("write `{last}-{first}`"),
                ));
            }
            ranges.push((first, last));
        }
    }

    /// A capture, or alternatives: a name and `}` or `:` make a capture.
    fn braces(&mut self) -> Result<Node, PatternError> {
        let offset = self.at;
        self.next();
        let name = leading_name(self.rest());
        match self
            .rest()
            .get(name.len()..)
            .unwrap_or_default()
            .chars()
            .next()
        {
            Some('}') if !name.is_empty() => {
                let name_at = self.at;
                self.at += name.len() + 1;
                self.declare(name_at, name, CaptureKind::Text)?;
                Ok(Node::Capture(expression::TEXT.to_owned()))
            }
            Some(':') if !name.is_empty() => self.typed_capture(offset, name),
            _ => self.alternatives(offset),
        }
    }

    fn typed_capture(&mut self, offset: usize, name: &str) -> Result<Node, PatternError> {
        let name_at = self.at;
        self.at += name.len() + 1;
        let regex_at = self.at;
        let Some(regex) = leading_regex(self.rest()) else {
            return Err(unclosed_brace(offset));
        };
        self.at += regex.len() + 1;
        if regex == "int" {
            self.declare(name_at, name, CaptureKind::Int)?;
            return Ok(Node::Capture(expression::INT.to_owned()));
        }
        self.declare(name_at, name, CaptureKind::Regex)?;
        let expression = expression::of_capture(regex).map_err(|mut error| {
            error.offset += regex_at;
            error
        })?;
        Ok(Node::Capture(expression))
    }

    fn declare(&mut self, at: usize, name: &str, kind: CaptureKind) -> Result<(), PatternError> {
        if self.depth > 0 {
            return Err(PatternError::new(
                at,
                format!("the capture `{name}` stands in one of several alternatives"),
                "it would be missing when another one matches; write a rule for each alternative",
            ));
        }
        if RESERVED.contains(&name) {
            return Err(PatternError::new(
                at,
                format!("`{name}` is built in and cannot be captured"),
                format!("take another name, as `{name}_`; templates know `{{{name}}}` already"),
            ));
        }
        if self.captures.iter().any(|known| known.as_str() == name) {
            return Err(PatternError::new(
                at,
                format!("`{name}` is captured twice"),
                "give each capture a name of its own",
            ));
        }
        self.captures.push(CaptureName::new(name, kind));
        Ok(())
    }

    fn alternatives(&mut self, offset: usize) -> Result<Node, PatternError> {
        if self.depth == MAX_DEPTH {
            return Err(PatternError::new(
                offset,
                format!("alternatives nest deeper than {MAX_DEPTH}"),
                "write further rules instead",
            ));
        }
        self.depth += 1;
        let inside = self.at;
        let mut branches = Vec::new();
        loop {
            branches.push(self.sequence()?);
            if self.eat(',') {
                continue;
            }
            let text = self.source.get(inside..self.at).unwrap_or_default();
            if !self.eat('}') {
                return Err(unclosed_brace(offset));
            }
            self.depth -= 1;
            return if branches.len() > 1 {
                Ok(Node::Alternatives(branches))
            } else {
                Err(PatternError::new(
                    offset,
                    format!("`{{{text}}}` is neither a capture nor alternatives"),
                    "a capture is a name of letters, digits and `_`, as in `{sku}`; alternatives are parted by commas, as in `{png,jpg}`",
                ))
            };
        }
    }
}

fn unclosed_brace(offset: usize) -> PatternError {
    PatternError::new(
        offset,
        "this `{` is never closed",
        r"close it with `}`, or write `\{` for the letter itself",
    )
}

/// The identifier that a text begins with: a letter or `_`, then letters, digits and `_`.
pub fn leading_name(text: &str) -> &str {
    let end = text
        .char_indices()
        .find(|(at, letter)| {
            let fits = if *at == 0 {
                letter.is_alphabetic()
            } else {
                letter.is_alphanumeric()
            };
            !fits && *letter != '_'
        })
        .map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or_default()
}

/// The regular expression before the `}` that ends its capture: braces of its own are counted,
/// those escaped or in a class are not. `None`: there is no such `}`.
fn leading_regex(text: &str) -> Option<&str> {
    let mut braces = 0usize;
    let mut classes = 0usize;
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => {
                letters.next();
            }
            '[' => {
                classes += 1;
                // A `]` that comes first is a letter of the class.
                letters.next_if(|(_, next)| *next == '^');
                letters.next_if(|(_, next)| *next == ']');
            }
            ']' => classes = classes.saturating_sub(1),
            '{' if classes == 0 => braces += 1,
            '}' if classes == 0 && braces == 0 => return text.get(..at),
            '}' if classes == 0 => braces -= 1,
            _ => {}
        }
    }
    None
}
