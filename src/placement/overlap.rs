//! Rules that get in each other's way, told before any file is seen: two that can fill one slot, and one
//! that no file reaches. Found by made-up paths that are then judged like any other, so what is told is
//! so; what is not told may be so all the same. Pure.

use super::compile::CompiledPlace;
use super::template::{Part, Template};
use super::{Placement, RelPath, RuleSet, Slot};

/// Made-up paths that are tried for each rule.
const TURNS: usize = 4;

/// Two rules that can fill the same slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// The slot.
    pub slot: Slot,
    /// One rule's index, and a path that it sends there.
    pub one: (usize, RelPath),
    /// The other's.
    pub other: (usize, RelPath),
}

/// A rule that no tried path reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreached {
    /// The rule's index.
    pub rule: usize,
    /// A path that matches its pattern, and what takes it instead.
    pub path: RelPath,
    /// The earlier rule, or `None` when the path is ignored.
    pub taken_by: Option<usize>,
}

/// Pairs of a rule of one mapping and a rule of another, or of the same, that can fill one slot of the
/// sheet that both feed; each pair once.
pub fn overlaps(one: &RuleSet, other: &RuleSet) -> Vec<Overlap> {
    let same = std::ptr::eq(one, other);
    let mut found = Vec::new();
    for first in 0..one.rules.len() {
        let from = if same { first + 1 } else { 0 };
        for second in from..other.rules.len() {
            let forward = meet(one, first, other, second);
            let backward = || {
                meet(other, second, one, first).map(|Overlap { slot, one, other }| Overlap {
                    slot,
                    one: other,
                    other: one,
                })
            };
            found.extend(forward.or_else(backward));
        }
    }
    found
}

/// Rules that seem out of reach, because all that was tried is taken before them.
pub fn unreached(rules: &RuleSet) -> Vec<Unreached> {
    let seems = |rule: usize| {
        let mut first = None;
        for turn in 0..TURNS {
            let path = rules.rules.get(rule)?.pattern.sample(turn, &[])?;
            let taken_by = match rules.place(&path) {
                Placement::Slot { rule: by, .. } | Placement::Unplaceable { rule: by, .. }
                    if by != rule =>
                {
                    Some(by)
                }
                Placement::Ignored { .. } => None,
                _ => return None,
            };
            first.get_or_insert(Unreached {
                rule,
                path,
                taken_by,
            });
        }
        first
    };
    (0..rules.rules.len()).filter_map(seems).collect()
}

/// A path of `one`'s rule and one of `other`'s that have the same slot.
fn meet(one: &RuleSet, first: usize, other: &RuleSet, second: usize) -> Option<Overlap> {
    (0..TURNS).find_map(|turn| {
        let path = one.rules.get(first)?.pattern.sample(turn, &[])?;
        let slot = slot_of(one, first, &path)?;
        let theirs = path_for(other, second, &slot, turn)?;
        Some(Overlap {
            slot,
            one: (first, path),
            other: (second, theirs),
        })
    })
}

fn slot_of(rules: &RuleSet, wanted: usize, path: &RelPath) -> Option<Slot> {
    match rules.place(path) {
        Placement::Slot { rule, slot } if rule == wanted => Some(slot.slot),
        _ => None,
    }
}

/// A path that the rule sends to the slot.
fn path_for(rules: &RuleSet, rule: usize, slot: &Slot, turn: usize) -> Option<RelPath> {
    let compiled = rules.rules.get(rule)?;
    let text = match slot {
        Slot::Cell(cell) => cell.to_string(),
        Slot::RowByKey { key, .. } => key.as_str().to_owned(),
        // No other file has its row.
        Slot::RowOfFile { .. } => return None,
    };
    let given = match &compiled.place {
        CompiledPlace::Computed(template)
        | CompiledPlace::FindRow {
            equals: template, ..
        } => Some(solve(template, &text)?),
        CompiledPlace::Fixed(_) | CompiledPlace::Append { .. } => None,
    };
    let given: Vec<_> = given
        .iter()
        .map(|(name, text): &(&str, String)| (*name, text.as_str()))
        .collect();
    let path = compiled.pattern.sample(turn, &given)?;
    (slot_of(rules, rule, &path)? == *slot).then_some(path)
}

/// What a template's only value must be for the template to become `text`.
fn solve<'a>(template: &'a Template, text: &str) -> Option<(&'a str, String)> {
    let mut rest = text;
    let mut value = None;
    let parts = template.parts();
    for (index, part) in parts.iter().enumerate() {
        match part {
            Part::Text(fixed) => {
                let end = fixed.len();
                let same = rest.get(..end)?.eq_ignore_ascii_case(fixed);
                rest = same.then(|| &rest[end..])?;
            }
            Part::Value { name, step } if value.is_none() => {
                let tail: usize = parts[index + 1..]
                    .iter()
                    .map(|part| match part {
                        Part::Text(fixed) => fixed.len(),
                        Part::Value { .. } => 0,
                    })
                    .sum();
                let (own, tail) = rest.split_at_checked(rest.len().checked_sub(tail)?)?;
                rest = tail;
                let text = match step {
                    Some(step) => {
                        let number = own.parse::<i64>().ok()? - i64::from(*step);
                        u64::try_from(number).ok()?.to_string()
                    }
                    None => own.to_owned(),
                };
                value = Some((name.as_str(), text));
            }
            Part::Value { .. } => return None,
        }
    }
    value.filter(|_| rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{cell, mapping};
    use super::*;
    use crate::config::Rule;
    use rstest::rstest;

    fn rules(rules: Vec<Rule>) -> RuleSet {
        RuleSet::compile(&mapping(&["drafts/**"], rules)).unwrap()
    }

    #[rstest]
    #[case(
        cell("poster.png", "B2"),
        cell("door.jpg", "B2"),
        Some("B2: poster.png, door.jpg")
    )]
    #[case(
        cell("poster.png", "B2"),
        cell("{cell}.{png,jpg}", "{cell}"),
        Some("B2: poster.png, B2.png")
    )]
    #[case(
        cell("camera-{n:int}.jpg", "C{n+1}"),
        cell("c/{n:int}.jpg", "C{n-1}"),
        Some("C8: camera-7.jpg, c/9.jpg")
    )]
    #[case(cell("poster.png", "B2"), cell("camera-{n:int}.jpg", "C{n+1}"), None)]
    #[case(cell("poster.png", "B2"), cell("door.jpg", "B3"), None)]
    // The first takes all that the second would need.
    #[case(cell("*.png", "B2"), cell("B2.png", "B2"), None)]
    fn rules_that_can_fill_one_slot_are_found_with_an_example(
        #[case] one: Rule,
        #[case] other: Rule,
        #[case] expected: Option<&str>,
    ) {
        let rules = rules(vec![one, other]);
        let told: Vec<_> = overlaps(&rules, &rules)
            .iter()
            .map(|found| format!("{}: {}, {}", found.slot, found.one.1, found.other.1))
            .collect();
        assert_eq!(told.first().map(String::as_str), expected);
        assert!(told.len() < 2);
    }

    #[test]
    fn a_rule_that_no_file_reaches_is_found() {
        let rules = rules(vec![
            cell("{cell}.{png,jpg}", "{cell}"),
            cell("products/{sku}.png", "B2"),
            cell("drafts/*.gif", "B3"),
            cell("*.bmp", "B4"),
        ]);
        let told: Vec<_> = unreached(&rules)
            .iter()
            .map(|found| (found.rule, found.path.to_string(), found.taken_by))
            .collect();
        assert_eq!(
            told,
            [
                (1, "products/a.png".to_owned(), Some(0)),
                (2, "drafts/a.gif".to_owned(), None)
            ]
        );
    }
}
