//! A mapping's rules, compiled: every path gets exactly one verdict. Pure: whether a cell lies inside the
//! sheet is not known here.

use regex::{RegexSet, RegexSetBuilder};

use super::compile::{CompiledPlace, CompiledRule, RuleProblem, compile_ignore, compile_rule};
use super::ignore::Ignore;
use super::key::RowKey;
use super::path::RelPath;
use super::pattern::Captures;
use super::pattern::decode::Decoded;
use super::slot::{Slot, SlotAddress};
use crate::a1::{A1Error, CellRef, Column};
use crate::config::{Mapping, SheetRef, SpreadsheetRef};

/// Most memory for the set that finds candidates among all rules, in bytes. Beyond it rules are
/// tried one after another.
const MAX_SET_BYTES: usize = 16 << 20;

/// The verdict on one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// It is for this slot.
    Slot {
        /// Index of the rule that took it.
        rule: usize,
        /// Where its picture belongs.
        slot: SlotAddress,
    },
    /// It is not looked at.
    Ignored {
        /// The pattern that says so, of the mapping or of the built-in list.
        pattern: String,
    },
    /// No rule takes it.
    NoRule,
    /// A rule takes it and yet names no place for it.
    Unplaceable {
        /// Index of the rule that took it.
        rule: usize,
        /// Why, in a sentence for people.
        reason: String,
    },
}

/// A mapping's rules and ignored files, ready to judge paths.
#[derive(Debug, Clone)]
pub struct RuleSet {
    spreadsheet: SpreadsheetRef,
    sheet: SheetRef,
    ignore: Ignore,
    pub(super) rules: Vec<CompiledRule>,
    /// Finds in one pass which rules match; measured at a tenth of trying a hundred in turn.
    candidates: Option<RegexSet>,
}

impl RuleSet {
    /// Compiles a mapping's rules and ignored patterns.
    ///
    /// # Errors
    /// With every problem of every rule and pattern; each message begins with `rules[2]` or
    /// `ignore[0]`, counted from 0 as in a key path.
    pub fn compile(mapping: &Mapping) -> Result<Self, Vec<RuleProblem>> {
        let mut problems = Vec::new();
        let mut note = |list: &str, index: usize, found: Vec<RuleProblem>| {
            problems.extend(found.into_iter().map(|problem| RuleProblem {
                message: format!("{list}[{index}]: {}", problem.message),
                ..problem
            }));
        };
        let mut ignored = Vec::new();
        for (index, source) in mapping.ignore.iter().enumerate() {
            match compile_ignore(source) {
                Ok(pattern) => ignored.push(pattern),
                Err(problem) => note("ignore", index, vec![problem]),
            }
        }
        let mut rules = Vec::new();
        for (index, rule) in mapping.rules.iter().enumerate() {
            match compile_rule(rule) {
                Ok(rule) => rules.push(rule),
                Err(found) => note("rules", index, found),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let ignore = Ignore::new(&ignored).map_err(|message| {
            vec![RuleProblem {
                key: "ignore",
                message,
                help: Some("use fewer or simpler patterns".into()),
            }]
        })?;
        let candidates = RegexSetBuilder::new(rules.iter().map(|rule| rule.pattern.expression()))
            .size_limit(MAX_SET_BYTES)
            .build()
            .ok();
        Ok(Self {
            spreadsheet: mapping.spreadsheet.clone(),
            sheet: mapping.sheet.clone(),
            ignore,
            rules,
            candidates,
        })
    }

    /// The verdict on a path: the ignored files are looked at first, then the first rule that
    /// matches takes it.
    pub fn place(&self, path: &RelPath) -> Placement {
        let decoded = Decoded::new(path);
        if let Some(pattern) = self.ignore.pattern_for(&decoded) {
            return Placement::Ignored {
                pattern: pattern.to_owned(),
            };
        }
        let Some((rule, place, captures)) = self.first_match(path, &decoded) else {
            return Placement::NoRule;
        };
        match place.slot(&captures) {
            Ok(slot) => Placement::Slot {
                rule,
                slot: SlotAddress {
                    spreadsheet: self.spreadsheet.clone(),
                    sheet: self.sheet.clone(),
                    slot,
                },
            },
            Err(reason) => Placement::Unplaceable { rule, reason },
        }
    }

    /// The pattern for which a scan may leave the folder out: every path below it would be
    /// [`Placement::Ignored`]. The answer `None` promises nothing.
    pub fn folder_ignored_by(&self, folder: &RelPath) -> Option<&str> {
        self.ignore.takes_all_below(folder)
    }

    /// The rules that name one cell whatever the path, and that cell: what can be compared with
    /// other mappings before any file is seen.
    pub fn fixed_cells(&self) -> impl Iterator<Item = (usize, CellRef)> {
        self.rules
            .iter()
            .enumerate()
            .filter_map(|(index, rule)| match rule.place {
                CompiledPlace::Fixed(cell) => Some((index, cell)),
                _ => None,
            })
    }

    /// The rules whose cells are computed and yet lie in one column whatever the path, as `C{n+1}` does.
    pub fn computed_columns(&self) -> impl Iterator<Item = (usize, Column)> {
        self.rules
            .iter()
            .enumerate()
            .filter_map(|(index, rule)| Some((index, rule.computed_column()?)))
    }

    fn first_match<'a>(
        &'a self,
        path: &'a RelPath,
        decoded: &Decoded<'_>,
    ) -> Option<(usize, &'a CompiledPlace, Captures<'a>)> {
        let take = |index: usize| {
            let rule = self.rules.get(index)?;
            let captures = rule.pattern.captures_in(path, decoded)?;
            Some((index, &rule.place, captures))
        };
        match &self.candidates {
            Some(set) => set.matches(decoded.text()).iter().find_map(take),
            None => (0..self.rules.len()).find_map(take),
        }
    }
}

impl CompiledPlace {
    fn slot(&self, captures: &Captures<'_>) -> Result<Slot, String> {
        Ok(match self {
            Self::Fixed(cell) => Slot::Cell(*cell),
            Self::Computed(template) => {
                let text = template
                    .render(captures)
                    .map_err(|error| error.to_string())?;
                let cell = text
                    .parse()
                    .map_err(|error: A1Error| format!("`{template}` gives {text:?}: {error}"))?;
                Slot::Cell(cell)
            }
            Self::FindRow {
                key_column,
                equals,
                first_row,
                column,
            } => {
                let key = equals.render(captures).map_err(|error| error.to_string())?;
                // It would be found in the first row that says nothing.
                let key =
                    RowKey::new(&key).ok_or_else(|| format!("`{equals}` gives an empty key"))?;
                Slot::RowByKey {
                    key_column: *key_column,
                    key,
                    first_row: *first_row,
                    column: *column,
                }
            }
            Self::Append { column, first_row } => Slot::RowOfFile {
                file: captures.path().clone(),
                column: *column,
                first_row: *first_row,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{append, cell, find_row, mapping};
    use super::*;
    use crate::config::Rule;
    use proptest::prelude::*;
    use rstest::rstest;
    use std::sync::LazyLock;

    /// The rules of the configuration's documentation, the broad `{cell}` last.
    fn documented() -> RuleSet {
        RuleSet::compile(&mapping(
            &["drafts/**"],
            vec![
                cell("poster.{png,jpg}", "B2"),
                cell("camera-{n:int}.{jpg,jpeg}", "C{n+1}"),
                find_row("products/{sku}.{png,jpg}", "{sku}"),
                append("inspection/**/*.jpg"),
                cell("{cell}.{png,jpg}", "{cell}"),
            ],
        ))
        .unwrap()
    }

    fn path(bytes: impl AsRef<[u8]>) -> RelPath {
        RelPath::try_from(bytes.as_ref().to_vec()).unwrap()
    }

    /// The verdict in one line.
    fn told(rules: &RuleSet, file: impl AsRef<[u8]>) -> String {
        match rules.place(&path(file)) {
            Placement::Slot { rule, slot } => format!("{rule}: {}", slot.slot),
            Placement::Ignored { pattern } => format!("ignored by {pattern}"),
            Placement::NoRule => "no rule".into(),
            Placement::Unplaceable { rule, reason } => format!("{rule}! {reason}"),
        }
    }

    #[rstest]
    #[case("poster.png", "0: B2")]
    #[case("Lobby/POSTER.JPG", "0: B2")]
    #[case("camera-3.jpg", "1: C4")]
    #[case("camera-007.jpeg", "1: C8")]
    #[case("H7.png", "4: H7")]
    #[case("h7.png", "4: H7")]
    #[case("products/AB 12.png", "2: column D of the row where A says \"AB 12\"")]
    #[case("inspection/a.jpg", "3: column B of the row of inspection/a.jpg")]
    #[case(
        "inspection/2024/05/a.jpg",
        "3: column B of the row of inspection/2024/05/a.jpg"
    )]
    #[case("drafts/poster.png", "ignored by drafts/**")]
    #[case(".poster.png.a8Xk2c", "ignored by .*")]
    #[case("poster.png.part", "ignored by *.part")]
    #[case("readme.txt", "no rule")]
    #[case("products/deep/x.gif", "no rule")]
    #[case(
        "holiday.png",
        "4! `{cell}` gives \"holiday\": a cell is letters then a number, as in `B2`, but this is \"holiday\""
    )]
    #[case("camera-4999999.jpg", "1: C5000000")]
    #[case(
        "camera-5000000.jpg",
        "1! `C{n+1}` gives \"C5000001\": row 5000001 lies beyond the last row a sheet can have, 5,000,000"
    )]
    #[case(
        "a0.png",
        "4! `{cell}` gives \"a0\": rows count from 1, so there is no row 0"
    )]
    fn every_file_has_one_verdict(#[case] file: &str, #[case] verdict: &str) {
        assert_eq!(told(&documented(), file), verdict);
    }

    #[test]
    fn a_slot_carries_the_document_and_sheet_of_its_mapping() {
        let Placement::Slot { slot, .. } = documented().place(&path("poster.png")) else {
            panic!("no slot");
        };
        assert_eq!(
            slot.to_string(),
            "B2 of Lobby in Iow7sNNEphp3WbtnbCscPqabcef"
        );
    }

    #[test]
    fn every_spelling_of_a_cell_is_one_slot() {
        let at = |text: &str| {
            RuleSet::compile(&mapping(&[], vec![cell("*", text)]))
                .unwrap()
                .place(&path("x"))
        };
        assert_eq!(at("a5"), at("A5"));
        assert_eq!(at("A5:a5"), at("A5"));
        assert_eq!(at("A05"), at("A5"));
        assert_ne!(at("A6"), at("A5"));
    }

    #[rstest]
    #[case(
        cell("camera-{n:int}.jpg", "C{n-1}"),
        b"camera-1.jpg",
        "0! `C{n-1}` gives \"C0\": rows count from 1, so there is no row 0"
    )]
    #[case(
        cell("camera-{n:int}.jpg", "C{n-1}"),
        b"camera-0.jpg",
        "0! `{n-1}` is below zero, because `n` is `0`"
    )]
    #[case(
        cell("{cell}.jpg", "{cell}"),
        b"\xff1.jpg",
        "0! `{cell}` is `\\xff1`, which is not valid UTF-8"
    )]
    #[case(
        cell("{c}.jpg", "{c}1"),
        b"sfa.jpg",
        "0! `{c}1` gives \"sfa1\": column SFA lies beyond the last column of a sheet, SEZ (13,000)"
    )]
    #[case(
        cell("{c}.jpg", "{c}"),
        b"A1:B2.jpg",
        "0! `{c}` gives \"A1:B2\": \"A1:B2\" is a range; a picture goes into a single cell, as in `B2`"
    )]
    #[case(
        find_row("*.jpg", "{parent}"),
        b"x.jpg",
        "0! `{parent}` gives an empty key"
    )]
    #[case(find_row("{k}.jpg", "{k}"), b" .jpg", "0! `{k}` gives an empty key")]
    fn a_file_without_a_place_says_why(
        #[case] rule: Rule,
        #[case] file: &[u8],
        #[case] verdict: &str,
    ) {
        let rules = RuleSet::compile(&mapping(&[], vec![rule])).unwrap();
        assert_eq!(told(&rules, file), verdict);
    }

    #[test]
    fn a_name_that_is_not_utf8_has_a_row_of_its_own() {
        let rules = RuleSet::compile(&mapping(&[], vec![append("*.jpg")])).unwrap();
        assert_eq!(
            told(&rules, b"\xfe\n.jpg"),
            "0: column B of the row of \\xfe\\n.jpg"
        );
    }

    #[test]
    fn the_first_rule_that_matches_takes_the_file() {
        let both = |first, second| {
            RuleSet::compile(&mapping(&[], vec![cell(first, "A1"), cell(second, "A2")])).unwrap()
        };
        assert_eq!(told(&both("*.png", "x.png"), "x.png"), "0: A1");
        assert_eq!(told(&both("x.png", "*.png"), "x.png"), "0: A1");
        assert_eq!(told(&both("x.png", "*.png"), "y.png"), "1: A2");
    }

    #[test]
    fn a_broad_rule_takes_files_at_any_depth_from_the_rules_after_it() {
        let products = || find_row("products/{sku}.png", "{sku}");
        let of = |broad| {
            RuleSet::compile(&mapping(&[], vec![cell(broad, "{cell}"), products()])).unwrap()
        };
        assert_eq!(told(&of("{cell}.png"), "products/AB12.png"), "0: AB12");
        assert_eq!(
            told(&of("/{cell}.png"), "products/AB12.png"),
            "1: column D of the row where A says \"AB12\""
        );
    }

    #[test]
    fn trying_rules_in_turn_gives_the_same_verdicts_as_the_set() {
        let with = documented();
        let mut without = with.clone();
        without.candidates = None;
        for file in [
            "poster.png",
            "camera-3.jpg",
            "H7.png",
            "inspection/a.jpg",
            "none",
        ] {
            assert_eq!(with.place(&path(file)), without.place(&path(file)));
        }
        assert!(with.candidates.is_some());
    }

    #[test]
    fn an_ignored_folder_is_left_out_and_others_are_not() {
        let rules = documented();
        assert!(rules.folder_ignored_by(&path("drafts")).is_some());
        assert!(rules.folder_ignored_by(&path("a/.git")).is_some());
        assert!(rules.folder_ignored_by(&path("products")).is_none());
    }

    #[rstest]
    #[case(cell("camera-{n:int}.jpg", "C{n+1}"), Some("C"))]
    #[case(cell("camera-{n:int}-{m:int}.jpg", "aB{n}{m}"), Some("AB"))]
    #[case(cell("{row}.jpg", "C{row}"), None)]
    #[case(cell("{column}-{n:int}.jpg", "{column}{n}"), None)]
    #[case(cell("{cell}.jpg", "{cell}"), None)]
    #[case(cell("poster.jpg", "C2"), None)]
    fn a_column_is_known_where_only_the_row_is_computed(
        #[case] rule: Rule,
        #[case] column: Option<&str>,
    ) {
        let rules = RuleSet::compile(&mapping(&[], vec![rule])).unwrap();
        let told = rules.computed_columns().next();
        let told = told.map(|(_, column)| column.to_string());
        assert_eq!(told.as_deref(), column);
    }

    #[test]
    fn cells_known_before_any_file_are_told() {
        let cells: Vec<_> = documented().fixed_cells().collect();
        assert_eq!(cells, [(0, "B2".parse().unwrap())]);
    }

    #[test]
    fn all_problems_are_told_together_with_their_places() {
        let wrong = mapping(
            &["ok", "a//b"],
            vec![cell("a{", "B{"), cell("*", "B2"), find_row("{n", "{sku}")],
        );
        let problems = RuleSet::compile(&wrong).unwrap_err();
        let told: Vec<_> = problems
            .iter()
            .map(|problem| (problem.key, problem.message.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                (
                    "ignore",
                    "ignore[1]: in `a//b` at byte 2: no path has two slashes in a row"
                ),
                (
                    "files",
                    "rules[0]: in `a{` at byte 1: this `{` is never closed"
                ),
                (
                    "cell",
                    "rules[0]: in `B{` at byte 1: this `{` is never closed"
                ),
                (
                    "files",
                    "rules[2]: in `{n` at byte 0: this `{` is never closed"
                ),
            ]
        );
    }

    proptest! {
        #[test]
        fn every_path_has_a_verdict(
            file in prop_oneof![
                prop::collection::vec(any::<u8>(), 1..20),
                "(camera-|products/|inspection/|drafts/)?[A-Z0-9]{1,9}\\.(png|jpe?g|gif)".prop_map(String::into_bytes),
            ],
        ) {
            static RULES: LazyLock<RuleSet> = LazyLock::new(documented);
            let Ok(file) = RelPath::try_from(file) else { return Ok(()) };
            let rules = &*RULES;
            let verdict = rules.place(&file);
            prop_assert_eq!(&verdict, &rules.place(&file));
            let dotted = file.as_bytes().split(|byte| *byte == b'/').any(|part| part.starts_with(b"."));
            if dotted {
                let ignored = matches!(verdict, Placement::Ignored { .. });
                prop_assert!(ignored);
            }
        }
    }
}
