//! One entry of `mappings` and its rules.

use std::path::PathBuf;
use std::time::Duration;

use super::watch;
use crate::a1::{A1Error, Column, MAX_ROW, Row};
use crate::config::check::{RuleCheck, RuleComplaint};
use crate::config::environment::Environment;
use crate::config::keypath::KeyPath;
use crate::config::model::{Mapping, MappingName, Place, Rule, Watch};
use crate::config::section::{Notes, Section, Value};
use crate::config::target::{SheetRef, SpreadsheetLink};
use crate::config::{defaults, keys, units};

/// A mapping, and what of it is known even when the whole is not right.
pub(super) struct Resolved {
    pub(super) path: KeyPath,
    pub(super) name: Option<MappingName>,
    pub(super) folder: Option<PathBuf>,
    /// The host of the spreadsheet's URL.
    pub(super) host: Option<String>,
    pub(super) mapping: Option<Mapping>,
}

pub(super) fn resolve(
    entry: &Value<'_>,
    env: &Environment,
    above: Watch,
    check: &dyn RuleCheck,
) -> Resolved {
    let path = entry.path.clone();
    let mut resolved = Resolved {
        path,
        name: None,
        folder: None,
        host: None,
        mapping: None,
    };
    let Some(section) = entry.section(&keys::MAPPING) else {
        return resolved;
    };
    let name = section
        .required(
            "name",
            "a short name for messages and records, as in `name: lobby`",
        )
        .and_then(|value| {
            let text = value.text()?;
            MappingName::try_from(text).map_or_else(|error| value.problem(error, None), Some)
        });
    let folder = section
        .required(
            "folder",
            "the folder whose images are sent, as in `folder: /srv/kiosk`",
        )
        .and_then(|value| value.path(env));
    let recursive = match section.get("recursive") {
        Some(value) => value.flag(),
        None => Some(defaults::RECURSIVE),
    };
    let link = section
        .required(
            "spreadsheet",
            "the address of the spreadsheet as the browser shows it, as in \
             `spreadsheet: https://sample.feishu.cn/sheets/Iow7sNNEphp3WbtnbCscPqabcef`",
        )
        .and_then(|value| {
            let text = value.text()?;
            let link: Result<SpreadsheetLink, _> = text.parse();
            link.map_or_else(|error| value.problem(error.to_string(), error.help()), Some)
        });
    let named = section.get("sheet").map(|value| value.text());
    let ignore = ignore(&section, check);
    let min_interval = match section.get("min_interval") {
        Some(value) => value.duration(Duration::ZERO, units::LONGEST),
        None => Some(defaults::MIN_INTERVAL),
    };
    let max_bytes = match section.get("max_bytes") {
        Some(value) => value.size(defaults::MAX_BYTES),
        None => Some(defaults::MAX_BYTES),
    };
    let watch = watch(&section.section("watch", &keys::WATCH), above);
    let rules = rules(&section, check);

    resolved.name.clone_from(&name);
    resolved.folder.clone_from(&folder);
    resolved.host = link.as_ref().and_then(|link| link.host.clone());
    resolved.mapping = (|| {
        let SpreadsheetLink {
            document, sheet, ..
        } = link?;
        let sheet = match named {
            Some(title) => SheetRef::Named(title?.trim().to_owned()),
            None => sheet.map_or(SheetRef::First, SheetRef::Id),
        };
        Some(Mapping {
            name: name?,
            folder: folder?,
            recursive: recursive?,
            spreadsheet: document,
            sheet,
            ignore: ignore?,
            min_interval: min_interval?,
            max_bytes: max_bytes?,
            watch,
            rules: rules?,
        })
    })();
    resolved
}

fn ignore(section: &Section<'_>, check: &dyn RuleCheck) -> Option<Vec<String>> {
    let Some(value) = section.get_block("ignore") else {
        return Some(Vec::new());
    };
    let patterns = value.list()?;
    let read = |value: &Value<'_>| {
        let pattern = value.text()?;
        complain(value.notes, &value.path, check.ignore(&pattern));
        Some(pattern)
    };
    // Read before they are collected: every one is looked at.
    let patterns: Vec<Option<String>> = patterns.iter().map(read).collect();
    patterns.into_iter().collect()
}

fn rules(section: &Section<'_>, check: &dyn RuleCheck) -> Option<Vec<Rule>> {
    let entries = match section.get_block("rules") {
        Some(value) => value.list()?,
        None => Vec::new(),
    };
    if entries.is_empty() {
        section.none_given(
            "rules",
            "at least one rule says where which file goes, as in `- files: \"poster.png\"` and below it `cell: B2`",
        );
        return None;
    }
    let rules: Vec<Option<Rule>> = entries.iter().map(|entry| rule(entry, check)).collect();
    rules.into_iter().collect()
}

fn rule(entry: &Value<'_>, check: &dyn RuleCheck) -> Option<Rule> {
    let section = entry.section(&keys::RULE)?;
    let files = section
        .required(
            "files",
            "the pattern of the files it takes, as in `files: \"*.png\"`",
        )
        .and_then(|value| value.text());
    let place = place(&section);
    let rule = Rule {
        files: files?,
        place: place?,
    };
    complain(entry.notes, &entry.path, check.rule(&rule));
    Some(rule)
}

fn place(section: &Section<'_>) -> Option<Place> {
    let ways = ["cell", "find_row", "append"];
    let given: Vec<&str> = ways.into_iter().filter(|way| section.has(way)).collect();
    let one_of = "one of: `cell: B2`; `find_row: { column: A, equals: \"{stem}\" }` with `column: D`; `append: { column: B }`";
    match given[..] {
        ["cell"] => cell(section),
        ["find_row"] => find_row(section),
        ["append"] => append(section),
        [] => {
            if ways.into_iter().all(|way| section.misses(way)) {
                let message = "says which files, but not where they go";
                section.notes.problem(&section.path, message, one_of);
            }
            None
        }
        _ => {
            let keys: Vec<String> = given.iter().map(|key| format!("`{key}`")).collect();
            let message = format!("has {}, but a file goes to one place", keys.join(" and "));
            section
                .notes
                .problem(&section.path, message, "keep one, or write a rule for each");
            None
        }
    }
}

fn cell(section: &Section<'_>) -> Option<Place> {
    no_column(section, "`cell` names the column already; remove this line");
    Some(Place::Cell {
        cell: section.get("cell")?.text()?,
    })
}

fn find_row(section: &Section<'_>) -> Option<Place> {
    let column = column(
        section,
        "the column that the picture goes to, as in `column: D`",
    );
    let find = section.required("find_row", "")?.section(&keys::FIND_ROW)?;
    let key_column = self::column(
        &find,
        "the column in which the key is looked for, as in `column: A`",
    );
    let equals = find
        .required(
            "equals",
            "what the key column says for a file, as in `equals: \"{stem}\"`",
        )
        .and_then(|value| value.text());
    let first_row = first_row(&find);
    Some(Place::FindRow {
        key_column: key_column?,
        equals: equals?,
        first_row: first_row?,
        column: column?,
    })
}

fn append(section: &Section<'_>) -> Option<Place> {
    no_column(
        section,
        "the column of `append` stands below it: `append: { column: B }`",
    );
    let append = section.required("append", "")?.section(&keys::APPEND)?;
    let column = column(
        &append,
        "the column that the picture goes to, as in `column: B`",
    );
    let first_row = first_row(&append);
    Some(Place::Append {
        column: column?,
        first_row: first_row?,
    })
}

fn no_column(section: &Section<'_>, help: &str) {
    if section.has("column") {
        let at = section.path.key("column");
        section
            .notes
            .problem_at_key(&at, 0, "belongs to a rule with `find_row`", help);
    }
}

fn column(section: &Section<'_>, help: &str) -> Option<Column> {
    let value = section.required("column", help)?;
    let text = value.text()?;
    text.parse().map_or_else(
        |error: A1Error| {
            let number = text
                .parse()
                .ok()
                .and_then(|number| Column::new(number).ok());
            let help =
                number.map(|letters| format!("columns are letters: number {text} is `{letters}`"));
            value.problem(error.to_string(), help)
        },
        Some,
    )
}

fn first_row(section: &Section<'_>) -> Option<Row> {
    let number = match section.get("first_row") {
        Some(value) => u32::try_from(value.whole(1, u64::from(MAX_ROW))?).ok()?,
        None if section.has("first_row") => return None,
        None => defaults::FIRST_ROW,
    };
    Row::new(number).ok()
}

fn complain(notes: &Notes<'_>, at: &KeyPath, complaints: Vec<RuleComplaint>) {
    for RuleComplaint { key, message, help } in complaints {
        notes.problem(&at.below(key), message, help);
    }
}
