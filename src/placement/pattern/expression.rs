//! From pieces to regular expressions. What it makes is only ever matched by the `regex` crate, so
//! matching takes linear time whatever the pattern; nothing here matches `/` but a slash or `**`.
//!
//! All of it stands within `(?is)`: case ignored by Unicode's simple folding, and `.` any letter,
//! a newline too.

use std::fmt::Write as _;

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{
    Class, ClassBytes, ClassBytesRange, ClassUnicode, ClassUnicodeRange, Hir, HirKind,
};

use super::PatternError;
use super::syntax::{Node, Piece};

/// One letter of a name. Not folded: it has all cases, and folding it is slow.
const LETTER: &str = "(?-i:[^/])";
/// What `{name}` captures.
pub const TEXT: &str = "(?-i:[^/]+)";
/// What `{name:int}` captures: ASCII digits without a sign.
pub const INT: &str = "(?-i:[0-9]+)";
/// How deep the groups of a capture's own expression may nest; it bounds the recursion here.
const MAX_NEST: u32 = 40;

/// An expression for the whole of a path. `tail` follows the pieces.
pub fn of_path(at_any_depth: bool, pieces: &[Piece], tail: &str) -> String {
    let lead = if at_any_depth { "(?:.*/)?" } else { "" };
    let mut out = format!(r"(?is)\A{lead}");
    sequence(pieces, &mut out);
    out.push_str(tail);
    out.push_str(r"\z");
    out
}

fn sequence(pieces: &[Piece], out: &mut String) {
    let mut rest = pieces.iter().peekable();
    while let Some(piece) = rest.next() {
        match &piece.node {
            Node::Literal(text) => out.push_str(&regex::escape(text)),
            Node::Slash => out.push('/'),
            Node::AnyLetter => out.push_str(LETTER),
            Node::AnyLetters => {
                out.push_str(LETTER);
                out.push('*');
            }
            // With its slash it may be nothing at all; at the end it is at least one file.
            Node::AnyDepth => {
                let inner = rest.next_if(|next| next.node == Node::Slash).is_some();
                out.push_str(if inner { "(?:.*/)?" } else { ".+" });
            }
            Node::Class { negated, ranges } => class(*negated, ranges, out),
            Node::Alternatives(branches) => {
                out.push_str("(?:");
                for (index, branch) in branches.iter().enumerate() {
                    if index > 0 {
                        out.push('|');
                    }
                    sequence(branch, out);
                }
                out.push(')');
            }
            Node::Capture(expression) => {
                out.push('(');
                out.push_str(expression);
                out.push(')');
            }
        }
    }
}

fn class(negated: bool, ranges: &[(char, char)], out: &mut String) {
    out.push_str(if negated { "[^/" } else { "[[" });
    for (first, last) in ranges {
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            r"\x{{{:x}}}-\x{{{:x}}}",
            u32::from(*first),
            u32::from(*last)
        );
    }
    out.push_str(if negated { "]" } else { "]--/]" });
}

/// Reads the expression of `{name:REGEX}` and returns one that can stand inside another: without
/// groups, case ignored, never matching `/`.
///
/// # Errors
/// When it is no expression, is anchored, names a `/`, matches nothing, or is plain text. The
/// offset counts from the expression's first byte.
pub fn of_capture(source: &str) -> Result<String, PatternError> {
    if source.chars().all(|c| c.is_alphanumeric() || c == '_') {
        return Err(PatternError::new(
            0,
            if source.is_empty() {
                "this capture has an empty expression".to_owned()
            } else {
                format!("this capture would only ever hold the text `{source}`")
            },
            "`{n:int}` takes a whole number, `{n}` any text, `{n:[a-z]+}` what a regular expression takes",
        ));
    }
    let parsed = ParserBuilder::new()
        .case_insensitive(true)
        .dot_matches_new_line(true)
        .nest_limit(MAX_NEST)
        .build()
        .parse(source);
    let hir = parsed.map_err(|error| {
        let (offset, wrong) = match &error {
            regex_syntax::Error::Parse(error) => {
                (error.span().start.offset, error.kind().to_string())
            }
            regex_syntax::Error::Translate(error) => {
                (error.span().start.offset, error.kind().to_string())
            }
            _ => (0, error.to_string()),
        };
        PatternError::new(
            offset,
            format!("no regular expression: {wrong}"),
            "the syntax is that of docs.rs/regex; a brace that is no counter is `\\{` or `\\}`",
        )
    })?;
    if hir.properties().look_set().contains_anchor() {
        return Err(PatternError::new(
            0,
            "a capture's expression has `^` or `$`",
            "leave them out: a capture ends where the text around it begins",
        ));
    }
    let tame = within_a_name(hir).ok_or_else(|| {
        PatternError::new(
            0,
            "a capture never matches `/`",
            "capture each part by itself, as in `{area}/{sku}.png`",
        )
    })?;
    if tame.properties().minimum_len().is_none() {
        return Err(PatternError::new(
            0,
            "this expression matches no name at all",
            "a capture holds at least what some file name can have; it never matches `/`",
        ));
    }
    Ok(format!("(?-is:{tame})"))
}

/// Takes `/` out of every class and unwraps groups. `None`: the text itself names a `/`.
fn within_a_name(hir: Hir) -> Option<Hir> {
    Some(match hir.into_kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Look(look) => Hir::look(look),
        HirKind::Literal(literal) if literal.0.contains(&b'/') => return None,
        HirKind::Literal(literal) => Hir::literal(literal.0),
        HirKind::Class(Class::Unicode(mut class)) => {
            class.difference(&ClassUnicode::new([ClassUnicodeRange::new('/', '/')]));
            Hir::class(Class::Unicode(class))
        }
        HirKind::Class(Class::Bytes(mut class)) => {
            class.difference(&ClassBytes::new([ClassBytesRange::new(b'/', b'/')]));
            Hir::class(Class::Bytes(class))
        }
        HirKind::Repetition(mut repetition) => {
            repetition.sub = Box::new(within_a_name(*repetition.sub)?);
            Hir::repetition(repetition)
        }
        HirKind::Capture(group) => within_a_name(*group.sub)?,
        HirKind::Concat(subs) => Hir::concat(all_within_a_name(subs)?),
        HirKind::Alternation(subs) => Hir::alternation(all_within_a_name(subs)?),
    })
}

fn all_within_a_name(subs: Vec<Hir>) -> Option<Vec<Hir>> {
    subs.into_iter().map(within_a_name).collect()
}
