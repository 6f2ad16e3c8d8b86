//! Paths that a pattern matches, made up, so that two rules can be compared before any file is seen.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, ClassUnicodeRange, Hir, HirKind};

use super::Pattern;
use crate::placement::RelPath;

/// Letters that stand for any text, by turns.
const LETTERS: [char; 4] = ['a', 'k', '7', 'x'];

impl Pattern {
    /// A path that it matches, with these texts for its captures; another for another `turn`, where
    /// there are several. `None` when none was found, which does not mean that there is none.
    pub(in crate::placement) fn sample(
        &self,
        turn: usize,
        captures: &[(&str, &str)],
    ) -> Option<RelPath> {
        let hir = ParserBuilder::new().build().parse(self.expression()).ok()?;
        let given = |index: u32| {
            let name = self.captures.get((index as usize).checked_sub(1)?)?;
            let found = captures.iter().find(|(given, _)| *given == name.as_str());
            found.map(|(_, text)| *text)
        };
        let mut text = String::new();
        write(&hir, turn, &given, &mut text)?;
        let path = RelPath::new(text.as_ref())?;
        self.is_match(&path).then_some(path)
    }
}

fn write<'a>(
    hir: &Hir,
    turn: usize,
    given: &impl Fn(u32) -> Option<&'a str>,
    out: &mut String,
) -> Option<()> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => out.push_str(str::from_utf8(&literal.0).ok()?),
        HirKind::Class(Class::Unicode(class)) => {
            let holds = |letter: &char| {
                let mut ranges = class.iter();
                ranges.any(|range| (range.start()..=range.end()).contains(letter))
            };
            let any = LETTERS.iter().cycle().skip(turn).take(LETTERS.len());
            let letter = any.copied().find(holds).or_else(|| {
                let firsts = || class.iter().map(ClassUnicodeRange::start);
                let plain = firsts().find(char::is_ascii_lowercase);
                plain.or_else(|| firsts().next())
            })?;
            out.push(letter);
        }
        HirKind::Class(Class::Bytes(_)) => return None,
        HirKind::Repetition(repeated) => {
            // Folders that may be missing are left out; a text that may be empty is not.
            let once = matches!(repeated.sub.kind(), HirKind::Class(_));
            let times = repeated.min.max(u32::from(once && repeated.max != Some(0)));
            // What a person would not write is not worth making up.
            for _ in 0..times.min(64) {
                write(&repeated.sub, turn, given, out)?;
            }
        }
        HirKind::Capture(capture) => match given(capture.index) {
            Some(text) => out.push_str(text),
            None => write(&capture.sub, turn, given, out)?,
        },
        HirKind::Concat(parts) => {
            for part in parts {
                write(part, turn, given, out)?;
            }
        }
        HirKind::Alternation(branches) => {
            write(branches.get(turn % branches.len())?, turn, given, out)?;
        }
    }
    Some(())
}
