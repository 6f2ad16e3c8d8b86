//! Patterns: which files a rule takes, and what it learns from their paths. Parsed once, with every
//! mistake told by its place; after that matching cannot fail. Pure; never looks at a file.
//!
//! `docs/patterns.md` is the grammar for users. The way: source → `syntax` (pieces) → `expression`
//! (one regular expression) → matched against a path as `decode` reads it.

use std::fmt;
use std::ops::Range;

use regex::{Regex, RegexBuilder};

use super::RelPath;

pub(super) mod decode;
mod expression;
mod sample;
pub(super) mod syntax;

use decode::Decoded;
use syntax::{Node, Piece};

/// Most memory that one compiled pattern may take, in bytes. A plain pattern needs a few KB; this
/// stops `{x:(a{1000}){1000}}`.
const MAX_COMPILED_BYTES: usize = 1 << 20;

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{wrong}, at byte {offset}; {right}")]
pub struct PatternError {
    /// Where in the source, in bytes from 0.
    pub offset: usize,
    /// What is wrong there.
    pub wrong: String,
    /// What would be right.
    pub right: String,
}

impl PatternError {
    fn new(offset: usize, wrong: impl Into<String>, right: impl Into<String>) -> Self {
        Self {
            offset,
            wrong: wrong.into(),
            right: right.into(),
        }
    }
}

/// What a capture takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaptureKind {
    /// `{name}`: one or more letters of a name.
    Text,
    /// `{name:int}`: one or more of the digits 0 to 9. The only kind that templates count with.
    Int,
    /// `{name:REGEX}`: what the expression matches, which may be nothing.
    Regex,
}

/// A capture as its pattern declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureName {
    name: Box<str>,
    kind: CaptureKind,
}

impl CaptureName {
    pub(super) fn new(name: &str, kind: CaptureKind) -> Self {
        Self {
            name: name.into(),
            kind,
        }
    }

    /// The name: letters, digits and `_`.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// What it takes.
    pub fn kind(&self) -> CaptureKind {
        self.kind
    }
}

/// Which files, by their path below the mapped folder. Case is ignored.
#[derive(Debug, Clone)]
pub struct Pattern {
    source: Box<str>,
    at_any_depth: bool,
    pieces: Vec<Piece>,
    /// In the order of the expression's groups.
    captures: Vec<CaptureName>,
    regex: Regex,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// With the first mistake: where it is, what is wrong, what would be right.
    pub fn parse(source: &str) -> Result<Self, PatternError> {
        let syntax = syntax::read(source)?;
        let expression = expression::of_path(syntax.at_any_depth, &syntax.pieces, "");
        let regex = RegexBuilder::new(&expression)
            .size_limit(MAX_COMPILED_BYTES)
            .build()
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => PatternError::new(
                    0,
                    "the pattern is too large once its repetitions are written out",
                    "use smaller counts, or `+` instead of a count",
                ),
                // Not reached: what `expression` writes is well formed.
                other => PatternError::new(0, other.to_string(), "write it more simply"),
            })?;
        Ok(Self {
            source: source.into(),
            at_any_depth: syntax.at_any_depth,
            pieces: syntax.pieces,
            captures: syntax.captures,
            regex,
        })
    }

    /// Whether the path matches.
    pub fn is_match(&self, path: &RelPath) -> bool {
        self.regex.is_match(Decoded::new(path).text())
    }

    /// What the captures hold; `None` when the path does not match.
    ///
    /// Where several ways of matching exist, each capture and star, from the left, is as long as it
    /// can be.
    pub fn captures<'a>(&'a self, path: &'a RelPath) -> Option<Captures<'a>> {
        self.captures_in(path, &Decoded::new(path))
    }

    pub(super) fn captures_in<'a>(
        &'a self,
        path: &'a RelPath,
        decoded: &Decoded<'_>,
    ) -> Option<Captures<'a>> {
        let found = self.regex.captures(decoded.text())?;
        let spans = found
            .iter()
            .skip(1)
            .map(|group| group.map_or(0..0, |group| decoded.span(&group.range())))
            .collect();
        Some(Captures {
            names: &self.captures,
            spans,
            path,
        })
    }

    /// What the pattern captures, from the left.
    pub fn capture_names(&self) -> &[CaptureName] {
        &self.captures
    }

    /// The regular expression of the whole path, for sets of patterns.
    pub(super) fn expression(&self) -> &str {
        self.regex.as_str()
    }

    /// The same for every path that matches or lies in a folder that does.
    pub(super) fn expression_with_below(&self) -> String {
        expression::of_path(self.at_any_depth, &self.pieces, BELOW)
    }

    /// The same for every folder of which all that lies below is matched by
    /// [`Self::expression_with_below`]: `a/**` takes all below `a`, though not a file `a`.
    pub(super) fn expression_of_full_folders(&self) -> String {
        let mut pieces = self.pieces.as_slice();
        while let [rest @ .., slash, all] = pieces
            && slash.node == Node::Slash
            && matches!(all.node, Node::AnyDepth | Node::AnyLetters)
        {
            pieces = rest;
        }
        expression::of_path(self.at_any_depth, pieces, BELOW)
    }
}

/// Nothing, or anything below.
const BELOW: &str = "(?:/.*)?";

impl fmt::Display for Pattern {
    /// The source.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

/// What a pattern learned from one path. All of its captures are present.
#[derive(Debug, Clone)]
pub struct Captures<'a> {
    names: &'a [CaptureName],
    /// In the path's bytes; one for each name.
    spans: Vec<Range<usize>>,
    path: &'a RelPath,
}

impl<'a> Captures<'a> {
    /// The text of a capture, which need not be UTF-8; `None` when the pattern has no such capture.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.iter()
            .find_map(|(known, text)| (known == name).then_some(text))
    }

    /// Names and texts, from the left.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let bytes = self.path.as_bytes();
        self.names
            .iter()
            .zip(&self.spans)
            .map(|(name, span)| (name.as_str(), bytes.get(span.clone()).unwrap_or_default()))
    }

    /// The path that matched.
    pub fn path(&self) -> &'a RelPath {
        self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn path(bytes: impl AsRef<[u8]>) -> RelPath {
        RelPath::try_from(bytes.as_ref().to_vec()).unwrap()
    }

    fn captured(pattern: &str, file: impl AsRef<[u8]>) -> Option<Vec<(String, Vec<u8>)>> {
        let pattern = Pattern::parse(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        let file = path(file);
        let found = pattern.captures(&file);
        assert_eq!(found.is_some(), pattern.is_match(&file));
        found.map(|captures| {
            captures
                .iter()
                .map(|(name, text)| (name.to_owned(), text.to_vec()))
                .collect()
        })
    }

    #[rstest]
    // Any depth without a slash, the folder itself with one.
    #[case("poster.{png,jpg}", "poster.jpg")]
    #[case("poster.{png,jpg}", "a/b/poster.png")]
    #[case("/poster.png", "poster.png")]
    #[case("a/*.png", "a/x.png")]
    // Case, by Unicode.
    #[case("Poster.PNG", "pOSTER.png")]
    #[case("ÄRGER-ß.png", "ärger-ẞ.PNG")]
    #[case("[а-я]*.jpg", "Фото.JPG")]
    #[case("{k:[a-z]+}.png", "ABC.png")]
    #[case("σ.png", "ς.png")]
    // Names that are not plain words.
    #[case("my photo (1).png", "my photo (1).png")]
    #[case("照片-?.png", "照片-一.png")]
    #[case("??.png", "🙂🙃.png")]
    #[case("'\"$^.|+.png", "'\"$^.|+.png")]
    #[case("a?b.png", "a\nb.png")]
    #[case("*.png", "a\nb.png")]
    #[case("{k:.}.png", "\n.png")]
    #[case("c.png", "a\nb/c.png")]
    #[case("**/c.png", "a\nb/c.png")]
    #[case("x/**", "x/a\nb")]
    #[case("*", " ")]
    // Stars.
    #[case("*.jpg", ".jpg")]
    #[case("*a*", "a")]
    #[case("inspection/**/*.jpg", "inspection/a.jpg")]
    #[case("inspection/**/*.jpg", "inspection/2024/05/a.jpg")]
    #[case("a/**/b", "a/b")]
    #[case("a/**/b", "a/x/y/b")]
    #[case("**/x", "x")]
    #[case("**/x", "a/b/x")]
    #[case("x/**", "x/a")]
    #[case("x/**", "x/a/b")]
    #[case("**", "a/b")]
    #[case("a/**/**/b", "a/b")]
    #[case("x/{a/**,b}", "x/a/b/c")]
    #[case("{**/a,b}/c", "x/a/c")]
    // Classes.
    #[case("[a-c].png", "B.png")]
    #[case("[!a-c].png", "d.png")]
    #[case("[^a-c].png", "d.png")]
    #[case("[a-].png", "-.png")]
    #[case("[-a].png", "-.png")]
    #[case(r"[\]\\].png", "].png")]
    #[case("[&&].png", "&.png")]
    #[case("[a~~b].png", "~.png")]
    #[case("[中-国].png", "丰.png")]
    #[case("a].png", "a].png")]
    // Alternatives.
    #[case("photo{,-hd}.png", "photo.png")]
    #[case("photo{,-hd}.png", "photo-hd.png")]
    #[case("{a,b{c,d?}}.png", "bdx.png")]
    #[case("{a/b,c}/d.png", "a/b/d.png")]
    #[case("a,b.png", "a,b.png")]
    #[case(r"{a\,b,c}.png", "a,b.png")]
    #[case(r"{a\:b,c}.png", "a:b.png")]
    #[case(r"\{a\}\*\?\[\\.png", r"{a}*?[\.png")]
    fn a_file_is_matched(#[case] pattern: &str, #[case] file: &str) {
        assert!(captured(pattern, file).is_some());
    }

    #[rstest]
    #[case("poster.png", "my-poster.png")]
    #[case("poster.png", "poster.png.bak")]
    #[case("poster.png", "poster.png/x")]
    #[case("poster.png", "posterxpng")]
    #[case("/poster.png", "a/poster.png")]
    #[case("a/*.png", "b/a/x.png")]
    #[case("a/*.png", "a/b/x.png")]
    #[case("a?b", "a/b")]
    #[case("/[!x]", "a/b")]
    #[case("a[!x]b", "a/b")]
    #[case("a[!-~]b", "a/b")]
    #[case("a{k}b/c", "a/b/c")]
    #[case("a{k:.}b/c", "a/b/c")]
    #[case("a{k:[^x]+}c/d", "a/b/c/d")]
    #[case(r"a{k:\W}b/c", "a/b/c")]
    #[case(r"a{k:(?-u:[\x00-\x7f])}b/c", "a/b/c")]
    #[case("a{k}", "a")]
    #[case("???.png", "中.png")]
    #[case("?.png", "\u{65}\u{301}.png")]
    #[case("x/**", "x")]
    #[case("a/**/b", "ab")]
    #[case("a/**/b", "a/xb")]
    #[case("[a-c].png", "d.png")]
    #[case("[!a-c].png", "B.png")]
    #[case("{n:int}.png", "-1.png")]
    #[case("{n:int}.png", "１.png")]
    #[case("{n:[0-9]{3}}.png", "12.png")]
    fn a_file_is_left(#[case] pattern: &str, #[case] file: &str) {
        assert_eq!(captured(pattern, file), None);
    }

    #[rstest]
    #[case("camera-{n:int}.{jpg,jpeg}", "Camera-007.JPEG", &[("n", "007")])]
    #[case("{cell}.{png,jpg}", "in/H7.png", &[("cell", "H7")])]
    #[case("products/{sku}.{png,jpg}", "Products/AB 12.3.png", &[("sku", "AB 12.3")])]
    #[case("{a}-{b}.png", "x-y-z.png", &[("a", "x-y"), ("b", "z")])]
    #[case("{a}{b}", "中文", &[("a", "中"), ("b", "文")])]
    #[case("{n:[0-9]{3}}{rest:.*}.png", "123.png", &[("n", "123"), ("rest", "")])]
    #[case("{n:(?P<x>a)(b|c)+}-{m:int}.png", "abcb-9.png", &[("n", "abcb"), ("m", "9")])]
    #[case("{k:[}{]+|\\}}.png", "}{.png", &[("k", "}{")])]
    #[case("{k:[]}]+}.png", "]}.png", &[("k", "]}")])]
    #[case("{k:\\bfoo\\b}-x", "foo-x", &[("k", "foo")])]
    #[case("{k:(?-i)ab?}.png", "a.png", &[("k", "a")])]
    #[case("{_a1}/{编号}.png", "x/一.png", &[("_a1", "x"), ("编号", "一")])]
    #[case("**/{day}/{n:int}.png", "a/b/mon/1.png", &[("day", "mon"), ("n", "1")])]
    #[case("{k}'s.png", "Ann's.png", &[("k", "Ann")])]
    fn captures_hold_what_was_between(
        #[case] pattern: &str,
        #[case] file: &str,
        #[case] expected: &[(&str, &str)],
    ) {
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec()))
            .collect();
        assert_eq!(captured(pattern, file), Some(expected));
    }

    #[rstest]
    #[case("?.png", b"\xff.png", true)]
    #[case("??.png", b"\xff\xfe.png", true)]
    #[case("?.png", b"\xff\xfe.png", false)]
    #[case("*.png", b"a\xe4\xb8.png", true)]
    #[case("{k}.png", b"\xff.png", true)]
    #[case("{k:.}.png", b"\xff.png", true)]
    #[case("{k:[^a]}.png", b"\xff.png", true)]
    #[case("[!a].png", b"\xff.png", true)]
    #[case("[a-z].png", b"\xff.png", false)]
    #[case("{k:\\w}.png", b"\xff.png", false)]
    #[case("**/a.png", b"\xff/a.png", true)]
    #[case("a.png", b"\xff/a.png", true)]
    fn a_name_that_is_not_utf8_counts_each_broken_byte_as_a_letter(
        #[case] pattern: &str,
        #[case] file: &[u8],
        #[case] matches: bool,
    ) {
        assert_eq!(captured(pattern, file).is_some(), matches);
    }

    #[test]
    fn captures_of_a_broken_name_are_its_own_bytes() {
        assert_eq!(
            captured("{a}-{b}.png", b"\xff\xe7\x85\xa7-\xe4\xb8x.png"),
            Some(vec![
                ("a".into(), b"\xff\xe7\x85\xa7".to_vec()),
                ("b".into(), b"\xe4\xb8x".to_vec()),
            ])
        );
    }

    #[rstest]
    #[case("", 0, "the pattern is empty", "`*`")]
    #[case("/", 1, "the pattern is empty", "`*`")]
    #[case("a//b", 2, "no path has two slashes in a row", "/**/")]
    #[case("//a", 1, "no path has two slashes in a row", "one leading slash")]
    #[case(
        "drafts/",
        6,
        "a pattern that ends with a slash matches no file",
        "`folder/**`"
    )]
    #[case("./a.png", 0, "no path has a part `.`", "mapped folder")]
    #[case("照/../b", 4, "no path has a part `..`", "mapped folder")]
    #[case("a**.jpg", 1, "`**` is only part of a name here", "`**/*.jpg`")]
    #[case("a/**.jpg", 2, "`**` is only part of a name here", "`**/*.jpg`")]
    #[case("a/x**", 3, "`**` is only part of a name here", "`**/*.jpg`")]
    #[case("{a/**,b}/c", 3, "`**` is only part of a name here", "`**/*.jpg`")]
    #[case("x{**/a,b}", 2, "`**` is only part of a name here", "`**/*.jpg`")]
    #[case(
        "a/***",
        2,
        "three `*` in a row mean nothing",
        "`**` any number of folders"
    )]
    #[case("[a-z.png", 0, "this `[` is never closed", r"`\[`")]
    #[case("x[].png", 1, "this class is empty", r"`[\]]`")]
    #[case("x[!].png", 1, "this class is empty", r"`[\]]`")]
    #[case("[z-a]", 1, "the range `z-a` runs backwards", "`a-z`")]
    #[case("[a/b]", 2, "a class never matches `/`", "outside")]
    #[case("[[:alpha:]]", 1, "classes are not known by name here", "[[:alpha:]]+")]
    #[case("a}", 1, "this `}` closes nothing", r"`\}`")]
    #[case("a{b", 1, "this `{` is never closed", r"`\{`")]
    #[case("a{b,c", 1, "this `{` is never closed", r"`\{`")]
    #[case("a{n:[0-9]{3}", 1, "this `{` is never closed", r"`\{`")]
    #[case("{}", 0, "`{}` is neither a capture nor alternatives", "`{png,jpg}`")]
    #[case(
        "x{a-b}",
        1,
        "`{a-b}` is neither a capture nor alternatives",
        "`{sku}`"
    )]
    #[case("{1st}", 0, "`{1st}` is neither a capture nor alternatives", "`{sku}`")]
    #[case(
        "{a,{b,{c,{d,{e,{f,{g,{h,{i,j}}}}}}}}}",
        24,
        "alternatives nest deeper than 8",
        "further rules"
    )]
    #[case("a\\", 1, "this `\\` escapes nothing", r"`\\`")]
    #[case(r"photos\cam.jpg", 6, r"`\c` means nothing", "parted by `/`")]
    #[case("{n}-{n:int}", 5, "`n` is captured twice", "a name of its own")]
    #[case(
        "{stem}.png",
        1,
        "`stem` is built in and cannot be captured",
        "`{stem}`"
    )]
    #[case(
        "{suffix:int}",
        1,
        "`suffix` is built in and cannot be captured",
        "`suffix_`"
    )]
    #[case("{file}", 1, "`file` is built in and cannot be captured", "`file_`")]
    #[case(
        "{parent}/a",
        1,
        "`parent` is built in and cannot be captured",
        "`parent_`"
    )]
    #[case(
        "{a,x{n}}",
        5,
        "the capture `n` stands in one of several alternatives",
        "a rule for each"
    )]
    #[case("{n:}", 3, "this capture has an empty expression", "`{n:int}`")]
    #[case(
        "{n:number}",
        3,
        "this capture would only ever hold the text `number`",
        "`{n:int}`"
    )]
    #[case(
        "照{n:a(b}",
        7,
        "no regular expression: unclosed group",
        "docs.rs/regex"
    )]
    #[case(
        "{n:a+\\d{2,1}}",
        7,
        "no regular expression: invalid repetition count range, the start must be <= the end",
        "docs.rs/regex"
    )]
    #[case(
        "{n:(?-u:\\xff)}",
        8,
        "no regular expression: pattern can match invalid UTF-8",
        "docs.rs/regex"
    )]
    #[case(
        "{n:^a+}",
        3,
        "a capture's expression has `^` or `$`",
        "leave them out"
    )]
    #[case(
        "{n:a+|b\\z}",
        3,
        "a capture's expression has `^` or `$`",
        "leave them out"
    )]
    #[case("{n:a/b+}", 3, "a capture never matches `/`", "`{area}/{sku}.png`")]
    #[case("{n:[/]+}", 3, "a capture never matches `/`", "`{area}/{sku}.png`")]
    #[case(
        "{n:[a&&b]}",
        3,
        "this expression matches no name at all",
        "a capture holds"
    )]
    #[case(
        "{n:(a{1000}){1000}}",
        0,
        "the pattern is too large once its repetitions are written out",
        "smaller counts"
    )]
    fn a_wrong_pattern_says_where_and_what(
        #[case] source: &str,
        #[case] offset: usize,
        #[case] wrong: &str,
        #[case] right: &str,
    ) {
        let error = Pattern::parse(source).unwrap_err();
        assert_eq!((error.offset, error.wrong.as_str()), (offset, wrong));
        assert!(
            error.right.contains(right),
            "{:?} lacks {right:?}",
            error.right
        );
    }

    #[test]
    fn a_pattern_longer_than_any_path_is_refused() {
        assert!(Pattern::parse(&"a".repeat(4096)).is_ok());
        assert_eq!(Pattern::parse(&"a".repeat(4097)).unwrap_err().offset, 4096);
    }

    #[test]
    fn a_capture_is_known_by_name_and_kind_in_order() {
        let pattern = Pattern::parse("{a}/{b:int}-{c:x+}.png").unwrap();
        let names: Vec<_> = pattern
            .capture_names()
            .iter()
            .map(|capture| (capture.as_str(), capture.kind()))
            .collect();
        assert_eq!(
            names,
            [
                ("a", CaptureKind::Text),
                ("b", CaptureKind::Int),
                ("c", CaptureKind::Regex),
            ]
        );
        let file = path("x/1-xx.png");
        let captures = pattern.captures(&file).unwrap();
        assert_eq!(captures.get("c"), Some(&b"xx"[..]));
        assert_eq!(captures.get("d"), None);
        assert_eq!(captures.path(), &file);
    }

    /// A second opinion on stars, letters and folders, slow and plain.
    fn plain_match(pattern: &[&str], path: &[&str]) -> bool {
        match (pattern, path) {
            (["**"], rest) => !rest.is_empty(),
            (["**", more @ ..], rest) => {
                (0..=rest.len()).any(|skipped| plain_match(more, &rest[skipped..]))
            }
            ([part, more @ ..], [name, rest @ ..]) => {
                let (part, name): (Vec<_>, Vec<_>) =
                    (part.chars().collect(), name.chars().collect());
                plain_name(&part, &name) && plain_match(more, rest)
            }
            ([], []) => true,
            _ => false,
        }
    }

    fn plain_name(part: &[char], name: &[char]) -> bool {
        match (part, name) {
            (['*', more @ ..], rest) => {
                (0..=rest.len()).any(|skipped| plain_name(more, &rest[skipped..]))
            }
            (['?', more @ ..], [_, rest @ ..]) => plain_name(more, rest),
            ([a, more @ ..], [b, rest @ ..]) => a.eq_ignore_ascii_case(b) && plain_name(more, rest),
            ([], []) => true,
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn stars_and_folders_match_as_a_plain_matcher_says(
            pattern in "/(\\*\\*|[ab*?]{1,3})(/(\\*\\*|[ab*?]{1,3})){0,3}",
            file in "[abA中]{1,3}(/[abB中]{1,3}){0,3}",
        ) {
            let Ok(compiled) = Pattern::parse(&pattern) else { return Ok(()) };
            let parts: Vec<_> = pattern[1..].split('/').collect();
            let names: Vec<_> = file.split('/').collect();
            prop_assert_eq!(compiled.is_match(&path(&file)), plain_match(&parts, &names));
        }

        #[test]
        fn no_pattern_and_no_path_panics(
            source in "(\\PC|[*?{}\\[\\],:/\\\\!a-c]|\\*\\*/|\\{[a-c]\\}|\\{[a-c]:[a-c.+(|)/\\[\\]]{1,5}\\}){0,12}",
            bytes in prop::collection::vec(any::<u8>(), 1..24),
        ) {
            match (Pattern::parse(&source), RelPath::try_from(bytes)) {
                (Ok(pattern), Ok(file)) => {
                    prop_assert_eq!(pattern.to_string(), source);
                    let found = pattern.captures(&file);
                    prop_assert_eq!(found.is_some(), pattern.is_match(&file));
                    for (_, text) in found.iter().flat_map(Captures::iter) {
                        prop_assert!(!text.contains(&b'/'));
                    }
                }
                (Err(error), _) => prop_assert!(error.offset <= source.len()),
                _ => {}
            }
        }

        #[test]
        fn a_path_escaped_is_a_pattern_that_matches_it(file in "\\PC{1,20}") {
            let Ok(file) = RelPath::try_from(file.into_bytes()) else { return Ok(()) };
            let escaped: String = str::from_utf8(file.as_bytes()).unwrap().chars()
                .flat_map(|c| (c != '/' && !c.is_alphanumeric()).then_some('\\').into_iter().chain([c]))
                .collect();
            let pattern = Pattern::parse(&format!("/{escaped}")).unwrap();
            prop_assert!(pattern.is_match(&file));
        }
    }
}
