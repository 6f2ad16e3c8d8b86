//! `pixcell check`: is the configuration right, and with `--online`, does the API agree.

use std::io::{self, Write};

use super::args::{Check, Common};
use super::exit::{Exit, Failure};
use super::load;
use super::output;
use super::run::block_on;
use crate::config::{SpreadsheetRef, SpreadsheetToken};
use crate::feishu::{CallError, Client, find_sheet};
use crate::placement::Route;
use crate::service::Setup;

/// Checks the configuration.
///
/// # Errors
/// When it is wrong, with every problem; with `--online` also when the API cannot be asked.
pub fn run(common: &Common, args: &Check) -> Result<Exit, Failure> {
    let setup = load::setup(common.config.as_deref())?;
    let mut out = io::stdout().lock();
    let mappings = setup.config.mappings.len() as u64;
    let rules: u64 = setup
        .config
        .mappings
        .iter()
        .map(|mapping| mapping.rules.len() as u64)
        .sum();
    writeln!(
        out,
        "the configuration is right: {}, {}",
        output::count(mappings, "mapping"),
        output::count(rules, "rule")
    )?;
    for route in setup
        .routes
        .iter()
        .filter(|route| !route.mapping.folder.is_dir())
    {
        let (name, folder) = (&route.mapping.name, route.mapping.folder.display());
        writeln!(
            out,
            "{name}: the folder {folder} is not there yet; it will be waited for"
        )?;
    }
    if args.online {
        online(&setup, &mut out)
    } else {
        Ok(Exit::Done)
    }
}

fn online(setup: &Setup, out: &mut impl Write) -> Result<Exit, Failure> {
    let found = block_on(async {
        let mut found = Vec::new();
        for route in setup.routes.iter() {
            found.push((route, look(&setup.client, route).await));
        }
        found
    })?;
    let mut wrong = false;
    for (route, found) in found {
        let (name, spreadsheet) = (&route.mapping.name, &route.mapping.spreadsheet);
        match found {
            Ok(sheet) => writeln!(out, "{name}: {spreadsheet}, sheet {sheet}: reachable")?,
            Err(why) => {
                wrong = true;
                writeln!(out, "{name}: {spreadsheet}: {why}")?;
            }
        }
    }
    Ok(if wrong { Exit::Failed } else { Exit::Done })
}

async fn look(client: &Client, route: &Route) -> Result<String, String> {
    let mapping = &route.mapping;
    let told = |error: CallError| error.to_string();
    let token: SpreadsheetToken = match &mapping.spreadsheet {
        SpreadsheetRef::Token(token) => token.clone(),
        SpreadsheetRef::Wiki(node) => client.wiki_node(node).await.map_err(told)?,
    };
    let sheets = client.sheets(&token).await.map_err(told)?;
    let sheet = find_sheet(&sheets, &mapping.sheet)?;
    let outside = route
        .rules
        .fixed_cells()
        .find(|(_, cell)| !sheet.holds(*cell));
    match outside {
        Some((rule, cell)) => Err(format!(
            "rule {} writes {cell}, which lies outside the grid of {:?}; add rows or columns to the sheet, or change the rule",
            rule + 1,
            sheet.title
        )),
        None => Ok(format!("{:?} ({})", sheet.title, sheet.id)),
    }
}
