//! Templates: text with placeholders that a matched path fills in. Parsed against the captures of
//! its pattern, so that an unknown name is told when the configuration is read and not when a
//! picture arrives. Pure.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use super::path::Escaped;
use super::pattern::syntax::{RESERVED, leading_name};
use super::pattern::{CaptureKind, CaptureName, Captures};

/// Most digits after `+` or `-`: as many as the last row of a sheet has.
const MAX_STEP_DIGITS: usize = 7;
/// Most digits a captured number may have to be counted with, leading zeros aside.
const MAX_NUMBER_DIGITS: usize = 18;

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{wrong}, at byte {offset}; {right}")]
pub struct TemplateError {
    /// Where in the source, in bytes from 0.
    pub offset: usize,
    /// What is wrong there.
    pub wrong: String,
    /// What would be right.
    pub right: String,
}

impl TemplateError {
    fn new(offset: usize, wrong: impl Into<String>, right: impl Into<String>) -> Self {
        Self {
            offset,
            wrong: wrong.into(),
            right: right.into(),
        }
    }
}

/// Why a template gives no text for one path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// A cell holds text, and these bytes are none.
    #[error("`{{{name}}}` is `{text}`, which is not valid UTF-8")]
    NotUtf8 {
        /// The placeholder.
        name: String,
        /// Its bytes, escaped for people.
        text: String,
    },
    /// The number is beyond 18 digits.
    #[error("`{{{name}}}` is `{digits}`, too large to count with")]
    TooLarge {
        /// The placeholder.
        name: String,
        /// What it holds.
        digits: String,
    },
    /// Subtracting leads below 0.
    #[error("`{{{name}-{by}}}` is below zero, because `{name}` is `{digits}`")]
    BelowZero {
        /// The placeholder.
        name: String,
        /// What it holds.
        digits: String,
        /// What is subtracted.
        by: u32,
    },
    /// The captures are those of another pattern.
    #[error("there is no capture `{name}`")]
    NoCapture {
        /// The placeholder.
        name: String,
    },
}

/// A text with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    source: Box<str>,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    Value {
        name: String,
        /// `{n+1}`: counts instead of copying. Within ±9,999,999.
        step: Option<i32>,
    },
}

impl Template {
    /// Reads a template over the captures of a pattern ([`super::Pattern::capture_names`]).
    ///
    /// # Errors
    /// With the first mistake, a name that is not available among them.
    pub fn parse(source: &str, available: &[CaptureName]) -> Result<Self, TemplateError> {
        let found = read(source)?;
        for (offset, part) in &found {
            if let Part::Value { name, step } = part {
                check_name(*offset, name, step.is_some(), available)?;
            }
        }
        Ok(Self {
            source: source.into(),
            parts: found.into_iter().map(|(_, part)| part).collect(),
        })
    }

    /// The grammar alone, for when the pattern, and with it the names, could not be read.
    ///
    /// # Errors
    /// With the first mistake.
    pub(super) fn check_grammar(source: &str) -> Result<(), TemplateError> {
        read(source).map(|_| ())
    }

    /// Fills the placeholders in.
    ///
    /// # Errors
    /// When a value is not UTF-8, or a count leaves the whole numbers from 0 to 18 digits.
    pub fn render(&self, captures: &Captures<'_>) -> Result<String, RenderError> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Value { name, step } => {
                    let text = value(name, captures)?;
                    match step {
                        None => out.push_str(text),
                        Some(step) => out.push_str(&count(name, text, *step)?),
                    }
                }
            }
        }
        Ok(out)
    }

    /// The text, when there is no placeholder in it.
    pub fn constant(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }
}

impl fmt::Display for Template {
    /// The source.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

/// Parts with the offset of each; neighbouring texts are one part.
fn read(source: &str) -> Result<Vec<(usize, Part)>, TemplateError> {
    let mut parts: Vec<(usize, Part)> = Vec::new();
    let mut at = 0;
    while let Some(rest) = source.get(at..).filter(|rest| !rest.is_empty()) {
        let offset = at;
        let text = if rest.starts_with("{{") || rest.starts_with("}}") {
            at += 2;
            rest.get(..1)
        } else if rest.starts_with('}') {
            return Err(TemplateError::new(
                offset,
                "this `}` closes nothing",
                "open it with `{`, or write `}}` for the letter itself",
            ));
        } else if let Some(inside) = rest.strip_prefix('{') {
            let Some((inside, _)) = inside.split_once('}') else {
                return Err(TemplateError::new(
                    offset,
                    "this `{` is never closed",
                    "close it with `}`, or write `{{` for the letter itself",
                ));
            };
            parts.push((offset, placeholder(offset + 1, inside)?));
            at += inside.len() + 2;
            continue;
        } else {
            let end = rest.find(['{', '}']).unwrap_or(rest.len());
            at += end;
            rest.get(..end)
        }
        .unwrap_or_default();
        match parts.last_mut() {
            Some((_, Part::Text(before))) => before.push_str(text),
            _ => parts.push((offset, Part::Text(text.to_owned()))),
        }
    }
    Ok(parts)
}

/// Reads `name`, `name+1` or `name-1`.
fn placeholder(at: usize, inside: &str) -> Result<Part, TemplateError> {
    let name = leading_name(inside);
    let after = inside.get(name.len()..).unwrap_or_default();
    let after_at = at + name.len();
    if name.is_empty() {
        return Err(TemplateError::new(
            at,
            "a placeholder begins with a name",
            "write a name of letters, digits and `_`, as in `{stem}`; for a brace write `{{` and `}}`",
        ));
    }
    let mut letters = after.chars();
    let sign = match letters.next() {
        None => {
            return Ok(Part::Value {
                name: name.to_owned(),
                step: None,
            });
        }
        Some('+') => 1,
        Some('-') => -1,
        Some(':') => {
            return Err(TemplateError::new(
                after_at,
                "what a capture takes is said in `files`, not here",
                format!("write `{{{name}}}`"),
            ));
        }
        Some(other) => {
            return Err(TemplateError::new(
                after_at,
                format!("`{other}` cannot follow a name"),
                "a placeholder is a name, or a name with `+` or `-` and a whole number, as in `{n+1}`, without spaces",
            ));
        }
    };
    let digits = letters.as_str();
    let known = (1..=MAX_STEP_DIGITS).contains(&digits.len())
        && digits.bytes().all(|digit| digit.is_ascii_digit());
    match digits.parse::<i32>() {
        Ok(step) if known => Ok(Part::Value {
            name: name.to_owned(),
            step: Some(sign * step),
        }),
        _ => Err(TemplateError::new(
            after_at + 1,
            format!("`{digits}` is no whole number of at most {MAX_STEP_DIGITS} digits"),
            "count as in `{n+1}` or `{n-1}`",
        )),
    }
}

fn check_name(
    offset: usize,
    name: &str,
    counts: bool,
    available: &[CaptureName],
) -> Result<(), TemplateError> {
    let capture = available.iter().find(|known| known.as_str() == name);
    if capture.is_none() && !RESERVED.contains(&name) {
        return Err(TemplateError::new(
            offset,
            format!("there is no `{{{name}}}`"),
            available_names(name, available),
        ));
    }
    if counts && capture.is_none_or(|capture| capture.kind() != CaptureKind::Int) {
        let right = if capture.is_some() {
            format!("capture it in `files` as `{{{name}:int}}`")
        } else {
            "count with a capture such as `{n:int}`".to_owned()
        };
        return Err(TemplateError::new(
            offset,
            format!("`{name}` is text, and only whole numbers can be counted with"),
            right,
        ));
    }
    Ok(())
}

fn available_names(wanted: &str, available: &[CaptureName]) -> String {
    let names = || {
        available
            .iter()
            .map(CaptureName::as_str)
            .chain(RESERVED.iter().copied())
    };
    let near = names()
        .map(|name| (strsim::damerau_levenshtein(name, wanted), name))
        .filter(|(distance, name)| *distance <= 2 && *distance < name.chars().count())
        .min();
    let list: Vec<String> = names().map(|name| format!("`{{{name}}}`")).collect();
    let list = list.join(", ");
    match near {
        Some((_, name)) => format!("did you mean `{{{name}}}`? available: {list}"),
        None => format!("available: {list}"),
    }
}

fn value<'a>(name: &str, captures: &Captures<'a>) -> Result<&'a str, RenderError> {
    let path = captures.path();
    let bytes = match name {
        "file" => path.file_name().as_bytes(),
        "stem" => path.as_path().file_stem().map_or(&[][..], OsStr::as_bytes),
        "suffix" => path.as_path().extension().map_or(&[][..], OsStr::as_bytes),
        "parent" => path.folder_name().map_or(&[][..], OsStr::as_bytes),
        _ => captures.get(name).ok_or_else(|| RenderError::NoCapture {
            name: name.to_owned(),
        })?,
    };
    str::from_utf8(bytes).map_err(|_| RenderError::NotUtf8 {
        name: name.to_owned(),
        text: Escaped(bytes).to_string(),
    })
}

fn count(name: &str, digits: &str, step: i32) -> Result<String, RenderError> {
    let too_large = || RenderError::TooLarge {
        name: name.to_owned(),
        digits: digits.to_owned(),
    };
    let significant = digits.trim_start_matches('0');
    let number: i64 = match significant.len() {
        0 => 0,
        1..=MAX_NUMBER_DIGITS => significant.parse().map_err(|_| too_large())?,
        _ => return Err(too_large()),
    };
    match number.checked_add(i64::from(step)) {
        Some(sum) if sum >= 0 => Ok(sum.to_string()),
        Some(_) => Err(RenderError::BelowZero {
            name: name.to_owned(),
            digits: digits.to_owned(),
            by: step.unsigned_abs(),
        }),
        None => Err(too_large()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::{Pattern, RelPath};
    use proptest::prelude::*;
    use rstest::rstest;

    fn names() -> Vec<CaptureName> {
        let pattern = Pattern::parse("{n:int}/{sku}-{part:[0-9]+}").unwrap();
        pattern.capture_names().to_vec()
    }

    fn rendered(pattern: &str, template: &str, path: &[u8]) -> Result<String, RenderError> {
        let pattern = Pattern::parse(pattern).unwrap();
        let path = RelPath::try_from(path.to_vec()).unwrap();
        Template::parse(template, pattern.capture_names())
            .unwrap()
            .render(&pattern.captures(&path).unwrap())
    }

    #[rstest]
    #[case("camera-{n:int}.jpg", "C{n+1}", "camera-3.jpg", "C4")]
    #[case("camera-{n:int}.jpg", "C{n-1}", "camera-3.jpg", "C2")]
    #[case("camera-{n:int}.jpg", "C{n}", "camera-007.jpg", "C007")]
    #[case("camera-{n:int}.jpg", "C{n+1}", "camera-007.jpg", "C8")]
    #[case("camera-{n:int}.jpg", "C{n+0}", "camera-000.jpg", "C0")]
    #[case(
        "{n:int}.jpg",
        "{n+1}",
        "999999999999999999.jpg",
        "1000000000000000000"
    )]
    #[case(
        "{n:int}.jpg",
        "{n}",
        "99999999999999999999.jpg",
        "99999999999999999999"
    )]
    #[case(
        "*",
        "{stem}|{suffix}|{file}|{parent}",
        "a/b/x.tar.gz",
        "x.tar|gz|x.tar.gz|b"
    )]
    #[case("*", "{stem}|{suffix}|{file}|{parent}", "plain", "plain||plain|")]
    #[case("{k}.png", "{{{k}}}", "Ab.png", "{Ab}")]
    #[case("{k}.png", "", "x.png", "")]
    #[case("{编号}.png", "货{编号}号", "一.png", "货一号")]
    fn a_template_is_filled_in(
        #[case] pattern: &str,
        #[case] template: &str,
        #[case] path: &str,
        #[case] text: &str,
    ) {
        assert_eq!(rendered(pattern, template, path.as_bytes()).unwrap(), text);
    }

    #[rstest]
    #[case("{n:int}", "{n-1}", b"0", "`{n-1}` is below zero, because `n` is `0`")]
    #[case(
        "{n:int}",
        "{n+1}",
        b"1000000000000000000",
        "`{n}` is `1000000000000000000`, too large to count with"
    )]
    #[case(
        "{k}.png",
        "{k}",
        b"a\xff\n.png",
        "`{k}` is `a\\xff\\n`, which is not valid UTF-8"
    )]
    #[case(
        "a/*",
        "{file}",
        b"a/\xff",
        "`{file}` is `\\xff`, which is not valid UTF-8"
    )]
    fn a_value_that_cannot_be_used_says_why(
        #[case] pattern: &str,
        #[case] template: &str,
        #[case] path: &[u8],
        #[case] message: &str,
    ) {
        assert_eq!(
            rendered(pattern, template, path).unwrap_err().to_string(),
            message
        );
    }

    #[test]
    fn only_the_values_a_template_uses_must_be_text() {
        assert_eq!(
            rendered("{a}-{n:int}.png", "{n}", b"\xff-7.png").unwrap(),
            "7"
        );
    }

    #[test]
    fn captures_of_another_pattern_are_refused() {
        let template = Template::parse("{sku}", &names()).unwrap();
        let other = Pattern::parse("{other}").unwrap();
        let path = RelPath::try_from(b"x".to_vec()).unwrap();
        assert_eq!(
            template.render(&other.captures(&path).unwrap()),
            Err(RenderError::NoCapture { name: "sku".into() })
        );
    }

    #[rstest]
    #[case("a{", 1, "this `{` is never closed", "`{{`")]
    #[case("a}b", 1, "this `}` closes nothing", "`}}`")]
    #[case("照{}", 4, "a placeholder begins with a name", "{stem}")]
    #[case("{1}", 1, "a placeholder begins with a name", "{stem}")]
    #[case("{ n}", 1, "a placeholder begins with a name", "{stem}")]
    #[case(
        "{n:int}",
        2,
        "what a capture takes is said in `files`, not here",
        "`{n}`"
    )]
    #[case("{n*2}", 2, "`*` cannot follow a name", "`{n+1}`")]
    #[case("{n +1}", 2, "` ` cannot follow a name", "without spaces")]
    #[case("{n+}", 3, "`` is no whole number of at most 7 digits", "`{n+1}`")]
    #[case("{n+-1}", 3, "`-1` is no whole number of at most 7 digits", "`{n+1}`")]
    #[case(
        "{n+12345678}",
        3,
        "`12345678` is no whole number of at most 7 digits",
        "`{n+1}`"
    )]
    #[case("{n+１}", 3, "`１` is no whole number of at most 7 digits", "`{n+1}`")]
    #[case(
        "A{sk}",
        1,
        "there is no `{sk}`",
        "did you mean `{sku}`? available: `{n}`, `{sku}`, `{part}`, `{stem}`, `{suffix}`, `{file}`, `{parent}`"
    )]
    #[case("{N}", 0, "there is no `{N}`", "available: `{n}`")]
    #[case(
        "{sku+1}",
        0,
        "`sku` is text, and only whole numbers can be counted with",
        "`{sku:int}`"
    )]
    #[case(
        "{part+1}",
        0,
        "`part` is text, and only whole numbers can be counted with",
        "`{part:int}`"
    )]
    #[case(
        "{stem+1}",
        0,
        "`stem` is text, and only whole numbers can be counted with",
        "`{n:int}`"
    )]
    fn a_wrong_template_says_where_and_what(
        #[case] source: &str,
        #[case] offset: usize,
        #[case] wrong: &str,
        #[case] right: &str,
    ) {
        let error = Template::parse(source, &names()).unwrap_err();
        assert_eq!((error.offset, error.wrong.as_str()), (offset, wrong));
        assert!(
            error.right.contains(right),
            "{:?} lacks {right:?}",
            error.right
        );
    }

    #[test]
    fn a_template_shows_its_source_and_knows_when_it_is_constant() {
        let constant = Template::parse("a{{b}}", &[]).unwrap();
        assert_eq!(
            (constant.to_string().as_str(), constant.constant()),
            ("a{{b}}", Some("a{b}"))
        );
        assert_eq!(Template::parse("a{file}", &[]).unwrap().constant(), None);
    }

    proptest! {
        #[test]
        fn no_template_panics(
            source in "([{}+a-z0-9-]|\\{n|\\{stem\\}|\\PC){0,12}",
            path in "[0-9]{1,25}/\\PC{1,8}-[0-9]",
        ) {
            let pattern = Pattern::parse("{n:int}/{sku}-{part:[0-9]+}").unwrap();
            let Ok(path) = RelPath::try_from(path.into_bytes()) else { return Ok(()) };
            if let (Ok(template), Some(captures)) =
                (Template::parse(&source, pattern.capture_names()), pattern.captures(&path))
            {
                prop_assert_eq!(template.to_string(), source);
                let _ = template.render(&captures);
            }
        }
    }
}
