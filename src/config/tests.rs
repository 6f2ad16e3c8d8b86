//! The room as a whole: from a text to a configuration, or to what an operator reads.

mod example;
mod mistakes;
mod resolving;
mod secrets;

use std::path::Path;

use super::*;
use crate::a1::CellRef;

/// A configuration in which nothing is wrong and nothing is said that need not be.
const GOOD: &str = r#"feishu:
  app_id: cli_a1b2c3d4
mappings:
  - name: lobby
    folder: /srv/kiosk
    spreadsheet: https://sample.feishu.cn/sheets/Iow7sNNEphp3WbtnbCscPqabcef
    rules:
      - files: "poster.png"
        cell: B2
"#;

/// `GOOD` with one piece replaced.
fn good_but(from: &str, to: &str) -> String {
    assert!(
        GOOD.contains(from),
        "the good configuration has no {from:?}"
    );
    GOOD.replacen(from, to, 1)
}

fn source(text: &str) -> Source {
    Source::from_text(Path::new("/etc/pixcell/config.yaml"), text)
}

fn env() -> Environment {
    Environment {
        state_directory: Some("/var/lib/pixcell".into()),
        home: Some("/home/ada".into()),
        app_secret: Some("hunter2".into()),
        current_dir: "/tmp".into(),
        ..Environment::default()
    }
}

/// Stands for the room above: knows cells, and one pattern that is wrong.
struct Cells;

impl RuleCheck for Cells {
    fn rule(&self, rule: &Rule) -> Vec<RuleComplaint> {
        let cell = match &rule.place {
            Place::Cell { cell } if !cell.contains('{') => cell.parse::<CellRef>().err(),
            _ => None,
        };
        let cell = cell.map(|error| complaint("cell", error.to_string()));
        cell.into_iter()
            .chain(pattern("files", &rule.files))
            .collect()
    }

    fn ignore(&self, text: &str) -> Vec<RuleComplaint> {
        pattern("", text).into_iter().collect()
    }
}

fn pattern(key: &'static str, text: &str) -> Option<RuleComplaint> {
    let open = text.matches('{').count() != text.matches('}').count();
    open.then(|| complaint(key, format!("{text:?} has a brace that is not closed")))
}

fn complaint(key: &'static str, message: String) -> RuleComplaint {
    RuleComplaint {
        key,
        message,
        help: Some("(what the room above says)".to_owned()),
    }
}

fn parsed(text: &str) -> Parsed {
    parse(&source(text), &env(), &Cells).unwrap_or_else(|error| panic!("{error}\n\n{text}"))
}

fn refused(text: &str) -> ConfigError {
    match parse(&source(text), &env(), &Cells) {
        Ok(_) => panic!("this should be refused:\n{text}"),
        Err(error) => error,
    }
}
