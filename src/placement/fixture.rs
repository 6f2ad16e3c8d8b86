//! Mappings and rules for tests: the least that makes each valid.

use std::sync::Arc;
use std::time::Duration;

use super::{Route, RuleSet};
use crate::a1::Row;
use crate::config::{Backend, Mapping, Place, Rule, SheetRef, SpreadsheetRef, Watch};

pub(crate) fn cell(files: &str, cell: &str) -> Rule {
    Rule {
        files: files.into(),
        place: Place::Cell { cell: cell.into() },
    }
}

pub(crate) fn find_row(files: &str, equals: &str) -> Rule {
    Rule {
        files: files.into(),
        place: Place::FindRow {
            key_column: "A".parse().unwrap(),
            equals: equals.into(),
            first_row: Row::new(2).unwrap(),
            column: "D".parse().unwrap(),
        },
    }
}

pub(crate) fn append(files: &str) -> Rule {
    Rule {
        files: files.into(),
        place: Place::Append {
            column: "B".parse().unwrap(),
            first_row: Row::new(2).unwrap(),
        },
    }
}

pub(crate) fn mapping(ignore: &[&str], rules: Vec<Rule>) -> Mapping {
    Mapping {
        name: "lobby".to_owned().try_into().unwrap(),
        folder: "/srv/kiosk".into(),
        recursive: true,
        spreadsheet: SpreadsheetRef::Token("Iow7sNNEphp3WbtnbCscPqabcef".parse().unwrap()),
        sheet: SheetRef::Named("Lobby".into()),
        ignore: ignore.iter().map(ToString::to_string).collect(),
        min_interval: Duration::ZERO,
        max_bytes: 20 << 20,
        watch: Watch {
            backend: Backend::Auto,
            poll_interval: Duration::from_secs(2),
            settle: Duration::from_millis(500),
            rescan_every: Duration::from_mins(15),
        },
        rules,
    }
}

/// A mapping of one rule.
pub(crate) fn route(files: &str, place: &str) -> Arc<Route> {
    let mapping = mapping(&[], vec![cell(files, place)]);
    Arc::new(Route {
        rules: RuleSet::compile(&mapping).unwrap(),
        mapping: Arc::new(mapping),
    })
}
