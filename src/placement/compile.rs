//! A rule and an ignored pattern from their source texts: every mistake that can be told before a file is
//! seen, by [`check_rule`] beside the other checks of a configuration. Pure.

use super::pattern::{CaptureKind, Pattern, PatternError};
use super::template::{Part, Template, TemplateError};
use crate::a1::{A1Error, CellRef, Column, Row};
use crate::config::{Place, Rule};

/// Something wrong with a rule or an ignored pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleProblem {
    /// Which key of the rule, or of the mapping: `files`, `cell`, `find_row.equals` or `ignore`.
    pub key: &'static str,
    /// What is wrong, with the text it is about.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

impl RuleProblem {
    fn of_pattern(key: &'static str, source: &str, error: PatternError) -> Self {
        let PatternError {
            offset,
            wrong,
            right,
        } = error;
        Self {
            key,
            message: format!("in `{source}` at byte {offset}: {wrong}"),
            help: Some(right),
        }
    }

    fn of_template(key: &'static str, source: &str, error: TemplateError) -> Self {
        let TemplateError {
            offset,
            wrong,
            right,
        } = error;
        Self {
            key,
            message: format!("in `{source}` at byte {offset}: {wrong}"),
            help: Some(right),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct CompiledRule {
    pub(super) pattern: Pattern,
    pub(super) place: CompiledPlace,
}

#[derive(Debug, Clone)]
pub(super) enum CompiledPlace {
    Fixed(CellRef),
    Computed(Template),
    FindRow {
        key_column: Column,
        equals: Template,
        first_row: Row,
        column: Column,
    },
    Append {
        column: Column,
        first_row: Row,
    },
}

impl CompiledRule {
    /// The column of a computed cell, when letters are followed by a whole number.
    pub(super) fn computed_column(&self) -> Option<Column> {
        let CompiledPlace::Computed(template) = &self.place else {
            return None;
        };
        let [Part::Text(letters), Part::Value { name, .. }, ..] = template.parts() else {
            return None;
        };
        is_whole(&self.pattern, name)
            .then(|| letters.parse().ok())
            .flatten()
    }
}

/// Whether a capture is a whole number.
fn is_whole(pattern: &Pattern, name: &str) -> bool {
    pattern
        .capture_names()
        .iter()
        .any(|capture| capture.as_str() == name && capture.kind() == CaptureKind::Int)
}

/// All that is wrong with a rule; nothing when it compiles.
pub fn check_rule(rule: &Rule) -> Vec<RuleProblem> {
    compile_rule(rule).err().unwrap_or_default()
}

/// All that is wrong with an ignored pattern; nothing when it compiles.
pub fn check_ignore(source: &str) -> Vec<RuleProblem> {
    compile_ignore(source).err().into_iter().collect()
}

pub(super) fn compile_ignore(source: &str) -> Result<Pattern, RuleProblem> {
    if source.starts_with('!') {
        return Err(RuleProblem {
            key: "ignore",
            message: format!("in `{source}` at byte 0: a pattern cannot take another back"),
            help: Some(r"write `\!` for the letter itself".into()),
        });
    }
    let pattern =
        Pattern::parse(source).map_err(|error| RuleProblem::of_pattern("ignore", source, error))?;
    // `*.{tmp}` would ignore every file that has a suffix.
    if let Some(capture) = pattern.capture_names().first() {
        return Err(RuleProblem {
            key: "ignore",
            message: format!(
                "`{source}` captures `{}`, which matches any text",
                capture.as_str()
            ),
            help: Some("alternatives need a comma, as in `*.{tmp,bak}`; any text is `*`".into()),
        });
    }
    Ok(pattern)
}

pub(super) fn compile_rule(rule: &Rule) -> Result<CompiledRule, Vec<RuleProblem>> {
    let mut problems = Vec::new();
    let pattern = Pattern::parse(&rule.files)
        .map_err(|error| problems.push(RuleProblem::of_pattern("files", &rule.files, error)))
        .ok();
    // Without the pattern the names are unknown, but mistakes of grammar can still be told.
    let mut template = |key: &'static str, source: &str| {
        let read = match &pattern {
            Some(pattern) => Template::parse(source, pattern.capture_names()).map(Some),
            None => Template::check_grammar(source).map(|()| None),
        };
        read.map_err(|error| problems.push(RuleProblem::of_template(key, source, error)))
            .ok()
            .flatten()
    };
    let place = match &rule.place {
        Place::Cell { cell } => template("cell", cell)
            .and_then(|template| cell_place(template, pattern.as_ref(), &mut problems)),
        Place::FindRow {
            key_column,
            equals,
            first_row,
            column,
        } => template("find_row.equals", equals)
            .filter(|template| {
                let empty = template.constant().is_some_and(|key| key.trim().is_empty());
                if empty {
                    problems.push(RuleProblem {
                        key: "find_row.equals",
                        message: "the key is empty".into(),
                        help: Some("name a capture, as in `{sku}`, or `{stem}`".into()),
                    });
                }
                !empty
            })
            .map(|equals| CompiledPlace::FindRow {
                key_column: *key_column,
                equals,
                first_row: *first_row,
                column: *column,
            }),
        Place::Append { column, first_row } => Some(CompiledPlace::Append {
            column: *column,
            first_row: *first_row,
        }),
    };
    match (pattern, place) {
        (Some(pattern), Some(place)) if problems.is_empty() => Ok(CompiledRule { pattern, place }),
        _ => Err(problems),
    }
}

/// A template for a cell, unless it can never name one.
fn cell_place(
    template: Template,
    pattern: Option<&Pattern>,
    problems: &mut Vec<RuleProblem>,
) -> Option<CompiledPlace> {
    let problem = |message: String| RuleProblem {
        key: "cell",
        message,
        help: Some(
            "name one cell, as `B2`, `C{n+1}` or `{cell}`; the sheet is the mapping's `sheet`"
                .into(),
        ),
    };
    if let Some(text) = template.constant() {
        return text
            .parse()
            .map(CompiledPlace::Fixed)
            .map_err(|error: A1Error| problems.push(problem(error.to_string())))
            .ok();
    }
    let stray = template.parts().iter().find_map(|part| match part {
        Part::Text(text) => text
            .chars()
            .find(|c| !c.is_ascii_alphanumeric() && *c != ':'),
        Part::Value { .. } => None,
    });
    if let Some(stray) = stray {
        problems.push(problem(format!(
            "`{template}` never names a cell, because of its {stray:?}"
        )));
        return None;
    }
    if let Some(error) = pattern.and_then(|pattern| never_a_cell(&template, pattern)) {
        problems.push(problem(format!("`{template}` never names a cell: {error}")));
        return None;
    }
    Some(CompiledPlace::Computed(template))
}

/// What is wrong with a template of letters and whole numbers whatever the numbers are: one trial
/// tells, because neither the shape nor the column depends on them.
fn never_a_cell(template: &Template, pattern: &Pattern) -> Option<A1Error> {
    let mut trial = String::new();
    for part in template.parts() {
        match part {
            Part::Text(text) => trial.push_str(text),
            Part::Value { name, .. } => {
                if !is_whole(pattern, name) {
                    return None;
                }
                trial.push('1');
            }
        }
    }
    match trial.parse::<CellRef>() {
        Err(error @ (A1Error::Shape(_) | A1Error::NoColumn(_) | A1Error::ColumnBeyond(_))) => {
            Some(error)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::RuleSet;
    use super::super::fixture::{append, cell, find_row, mapping};
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(
        cell("a{", "B2"),
        "files",
        "in `a{` at byte 1: this `{` is never closed"
    )]
    #[case(cell("*", "B{"), "cell", "in `B{` at byte 1: this `{` is never closed")]
    #[case(
        cell("{n:int}", "C{m}"),
        "cell",
        "in `C{m}` at byte 1: there is no `{m}`"
    )]
    #[case(
        cell("{n}", "C{n+1}"),
        "cell",
        "in `C{n+1}` at byte 1: `n` is text, and only whole numbers can be counted with"
    )]
    #[case(
        cell("*", ""),
        "cell",
        "a cell is letters then a number, as in `B2`, but this is \"\""
    )]
    #[case(cell("*", "a0"), "cell", "rows count from 1, so there is no row 0")]
    #[case(
        cell("*", "A1:B2"),
        "cell",
        "\"A1:B2\" is a range; a picture goes into a single cell, as in `B2`"
    )]
    #[case(
        cell("*", "SFA1"),
        "cell",
        "column SFA lies beyond the last column of a sheet, SEZ (13,000)"
    )]
    #[case(
        cell("*", "A5000001"),
        "cell",
        "row 5000001 lies beyond the last row a sheet can have, 5,000,000"
    )]
    #[case(
        cell("*", "Lobby!B2"),
        "cell",
        "a cell is letters then a number, as in `B2`, but this is \"Lobby!B2\""
    )]
    #[case(
        cell("{n:int}", "Lobby!B{n}"),
        "cell",
        "`Lobby!B{n}` never names a cell, because of its '!'"
    )]
    #[case(
        cell("{k}", "{{{k}}}"),
        "cell",
        "`{{{k}}}` never names a cell, because of its '{'"
    )]
    #[case(
        cell("{n:int}", "{n}"),
        "cell",
        "`{n}` never names a cell: a cell is letters then a number, as in `B2`, but this is \"1\""
    )]
    #[case(
        cell("{n:int}", "ABCD{n}"),
        "cell",
        "`ABCD{n}` never names a cell: column ABCD lies beyond the last column of a sheet, SEZ (13,000)"
    )]
    #[case(
        find_row("*", "{sku}"),
        "find_row.equals",
        "in `{sku}` at byte 0: there is no `{sku}`"
    )]
    #[case(find_row("*", " "), "find_row.equals", "the key is empty")]
    #[case(
        append("a//b"),
        "files",
        "in `a//b` at byte 2: no path has two slashes in a row"
    )]
    fn a_wrong_rule_says_what_is_wrong(
        #[case] rule: Rule,
        #[case] key: &'static str,
        #[case] message: &str,
    ) {
        let problems = check_rule(&rule);
        let told: Vec<_> = problems
            .iter()
            .map(|problem| (problem.key, problem.message.as_str()))
            .collect();
        assert_eq!(told, [(key, message)]);
        assert!(problems.iter().all(|problem| problem.help.is_some()));
        assert!(
            RuleSet::compile(&mapping(&[], vec![rule])).is_err(),
            "as a mapping's"
        );
    }

    #[rstest]
    #[case(cell("{a:int}-{b:int}", "A{a+9000}:A{b}"))]
    #[case(cell("{a:int}-{b:int}", "A{a}:A1{b}"))]
    #[case(cell("{n:int}", "A500000{n}"))]
    #[case(cell("{n:int}", "C{n-9999999}"))]
    #[case(cell("{n:int}", "A{n+5000000}"))]
    #[case(cell("{c}{n:int}", "{c}{n}"))]
    #[case(find_row("*", "fixed"))]
    #[case(find_row("*", "{parent}"))]
    fn a_rule_that_may_name_a_place_is_not_refused(#[case] rule: Rule) {
        assert_eq!(check_rule(&rule), []);
    }

    #[rstest]
    #[case(
        "drafts/",
        "in `drafts/` at byte 6: a pattern that ends with a slash matches no file"
    )]
    #[case(
        "!keep.png",
        "in `!keep.png` at byte 0: a pattern cannot take another back"
    )]
    #[case("*.{tmp}", "`*.{tmp}` captures `tmp`, which matches any text")]
    fn a_wrong_ignored_pattern_says_what_is_wrong(#[case] source: &str, #[case] message: &str) {
        let problems = check_ignore(source);
        assert_eq!(problems.len(), 1);
        assert_eq!(
            (problems[0].key, problems[0].message.as_str()),
            ("ignore", message)
        );
    }

    #[test]
    fn a_right_ignored_pattern_has_no_problem() {
        assert_eq!(check_ignore("drafts/**"), []);
        assert_eq!(check_ignore(r"\!keep.png"), []);
    }
}
