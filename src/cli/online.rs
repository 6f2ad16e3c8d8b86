//! `pixcell check --online`: what the API says of every document, sheet and place that the configuration
//! names. Reads only: writes no cell, and asks for each document once.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::clicks::{Clicks, Mend};
use crate::a1::{CellRef, Column, Row};
use crate::config::{Feishu, Identity, Mapping, Place, SheetId, SpreadsheetRef, SpreadsheetToken};
use crate::feishu::{CallError, Class, Client, Protection, Sheet, find_sheet};
use crate::placement::Route;
use crate::service::Setup;
use crate::upload::{fits, holds_column};

/// What a mapping feeds.
#[derive(Debug)]
pub struct Reached {
    /// The document.
    pub token: SpreadsheetToken,
    /// The sheet.
    pub sheet: SheetId,
}

/// Something that was found.
struct Finding {
    line: String,
    mend: Option<Mend>,
    /// Whether pictures will not get through.
    grave: bool,
}

impl Finding {
    fn grave(line: String, mend: Option<Mend>) -> Self {
        Self {
            line,
            mend,
            grave: true,
        }
    }

    /// Something to know, that stops nothing for sure.
    fn doubt(line: String, mend: Option<Mend>) -> Self {
        Self {
            line,
            mend,
            grave: false,
        }
    }

    fn of(error: &CallError) -> Self {
        Self::grave(said(error), Mend::of(error))
    }
}

/// What a document answered.
struct Document {
    token: SpreadsheetToken,
    sheets: Vec<Sheet>,
    may_edit: Result<Option<bool>, CallError>,
    protections: Result<Vec<(SheetId, Protection)>, CallError>,
}

/// Everything that was asked.
pub struct Online<'a> {
    setup: &'a Setup,
    clicks: Clicks,
    documents: BTreeMap<SpreadsheetRef, Result<Document, CallError>>,
}

impl<'a> Online<'a> {
    /// Asks for every document once.
    pub async fn ask(setup: &'a Setup) -> Self {
        let mut documents: BTreeMap<_, Result<Document, CallError>> = BTreeMap::new();
        // What concerns every call need not be heard, nor waited for, once a document.
        let mut all: Option<CallError> = None;
        for route in setup.routes.iter() {
            let named = &route.mapping.spreadsheet;
            if documents.contains_key(named) {
                continue;
            }
            let asked = match &all {
                Some(error) => Err(error.clone()),
                None => ask_document(&setup.client, named).await,
            };
            if let Err(error) = &asked
                && let Some(Class::Credentials | Class::Quota | Class::Unreached) = error.class()
            {
                all = Some(error.clone());
            }
            documents.insert(named.clone(), asked);
        }
        let Feishu {
            endpoint, app_id, ..
        } = &setup.config.feishu;
        Self {
            setup,
            clicks: Clicks::new(endpoint, app_id),
            documents,
        }
    }

    /// What a mapping feeds, when it is there.
    pub fn reached(&self, mapping: &Mapping) -> Option<Reached> {
        let document = self.documents.get(&mapping.spreadsheet)?.as_ref().ok()?;
        let sheet = find_sheet(&document.sheets, &mapping.sheet).ok()?;
        Some(Reached {
            token: document.token.clone(),
            sheet: sheet.id.clone(),
        })
    }

    /// Writes what was found; `true` when pictures will not get through.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn tell(&self, out: &mut impl Write) -> io::Result<bool> {
        writeln!(out, "{}", self.rate())?;
        let mut wrong = false;
        for route in self.setup.routes.iter() {
            let name = &route.mapping.name;
            for found in self.findings(route) {
                wrong |= found.grave;
                writeln!(out, "{name}: {}", found.line)?;
                if let Some(mend) = found.mend {
                    writeln!(out, "  {}", self.clicks.to(mend))?;
                }
            }
        }
        Ok(wrong)
    }

    /// The app's rate beside what the API documents and what its answers named.
    fn rate(&self) -> String {
        /// Calls a second for an app and a tenant (open.feishu.cn, "Write images").
        const DOCUMENTED: u32 = 100;
        let rate = self.setup.config.feishu.requests_per_second.get();
        let lower = if rate > DOCUMENTED {
            ": lower `requests_per_second`"
        } else {
            ""
        };
        let limit = self.setup.client.told_limit();
        let limit = limit.map(|limit| format!("; an answer named a limit of {limit}"));
        format!(
            "the app makes at most {rate} calls a second, the API documents {DOCUMENTED} for all that use it together{lower}{}",
            limit.unwrap_or_default()
        )
    }

    fn findings(&self, route: &Route) -> Vec<Finding> {
        let Mapping {
            spreadsheet,
            sheet: wanted,
            ..
        } = route.mapping.as_ref();
        let document = match self.documents.get(spreadsheet) {
            Some(Ok(document)) => document,
            Some(Err(error)) => {
                let Finding { line, mend, grave } = Finding::of(error);
                let line = format!("{spreadsheet}: {line}");
                return vec![Finding { line, mend, grave }];
            }
            None => return Vec::new(),
        };
        let sheet = match find_sheet(&document.sheets, wanted) {
            Ok(sheet) => sheet,
            Err(why) => {
                let line = format!("{spreadsheet}: {why}");
                return vec![Finding::grave(line, Some(Mend::Sheet))];
            }
        };
        let (title, id) = (&sheet.title, &sheet.id);
        let reachable = format!("{spreadsheet}, sheet {title:?} ({id}): reachable");
        let mut found = vec![Finding::doubt(reachable, None)];
        found.extend(self.access(document));
        if sheet.hidden {
            let line = format!(
                "the sheet {title:?} is hidden; pictures go there all the same: show it among the document's tabs, or name another `sheet`"
            );
            found.push(Finding::doubt(line, Some(Mend::Hidden)));
        }
        found.extend(misfits(route, sheet));
        match &document.protections {
            Ok(told) => {
                let here = told.iter().filter(|(of, _)| of == id);
                let here: Vec<_> = here.map(|(_, protection)| *protection).collect();
                found.extend(protected(route, sheet, &here));
            }
            Err(error) => found.push(Finding::doubt(
                format!("whether cells are protected is not known: {}", said(error)),
                None,
            )),
        }
        found
    }

    fn access(&self, document: &Document) -> Option<Finding> {
        match &document.may_edit {
            Ok(Some(true)) => None,
            Ok(Some(false)) => Some(match self.setup.config.feishu.identity {
                Identity::App { .. } => Finding::grave(
                    "the app may read the document and not edit it, so no picture can be written"
                        .into(),
                    Some(Mend::Access),
                ),
                Identity::User { .. } => Finding::grave(
                    "the person of `user_token_file` may read the document and not edit it, so no picture can be written; share it with them to edit".into(),
                    None,
                ),
            }),
            Ok(None) => Some(Finding::doubt(
                "whether the document may be edited is not known: the answer does not say".into(),
                None,
            )),
            Err(error) => Some(Finding::doubt(
                format!("whether the document may be edited is not known: {}", said(error)),
                None,
            )),
        }
    }
}

async fn ask_document(client: &Client, named: &SpreadsheetRef) -> Result<Document, CallError> {
    let token = match named {
        SpreadsheetRef::Token(token) => token.clone(),
        SpreadsheetRef::Wiki(node) => client.wiki_node(node).await?,
    };
    Ok(Document {
        sheets: client.sheets(&token).await?,
        may_edit: client.may_edit(&token).await,
        protections: client.protections(&token).await,
        token,
    })
}

/// What a call said, for a command that makes it once.
fn said(error: &CallError) -> String {
    match error {
        CallError::Refused(refusal) => match refusal.class {
            Class::Throttled(_) | Class::Busy | Class::Unreached => {
                let wait = refusal.wait.map_or("a moment".into(), |wait| {
                    format!("{} s, as the API asks", wait.as_secs_f64().ceil())
                });
                format!("{}; check again in {wait}", refusal.said())
            }
            _ if Mend::of(error).is_some() => refusal.said(),
            _ => refusal.to_string(),
        },
        CallError::Network { what, .. } => format!(
            "{what}; see the network, `endpoint` and `proxy` under `feishu`, then check again"
        ),
        other => other.to_string(),
    }
}

/// Rules whose places the sheet does not have.
fn misfits(route: &Route, sheet: &Sheet) -> Vec<Finding> {
    let found = |rule: usize, why: String, mend| {
        Finding::grave(format!("rule {}: {why}", rule + 1), Some(mend))
    };
    let cells = route.rules.fixed_cells().filter_map(|(rule, cell)| {
        let mend = sheet
            .covering(cell)
            .map_or(Mend::Grid, |merge| Mend::Merged(*merge));
        Some(found(rule, fits(sheet, cell).err()?, mend))
    });
    let missing =
        move |(rule, column)| Some(found(rule, holds_column(sheet, column).err()?, Mend::Grid));
    let computed = route.rules.computed_columns();
    let columns = places(route).flat_map(|(rule, place)| {
        let columns = match *place {
            Place::Cell { .. } => Vec::new(),
            Place::FindRow {
                key_column, column, ..
            } => vec![key_column, column],
            Place::Append { column, .. } => vec![column],
        };
        columns.into_iter().map(move |column| (rule, column))
    });
    let columns = columns.chain(computed).filter_map(missing);
    cells.chain(columns).collect()
}

/// Rules whose places are protected. Who may edit them is not told, so it is a doubt.
fn protected(route: &Route, sheet: &Sheet, told: &[Protection]) -> Vec<Finding> {
    let title = &sheet.title;
    let refused = "pictures are refused there (code 90218) unless the app may edit it";
    if told.contains(&Protection::Sheet) {
        let line = format!("the sheet {title:?} is protected; {refused}");
        return vec![Finding::doubt(line, Some(Mend::Protected))];
    }
    let cells = route.rules.fixed_cells().map(|(rule, cell)| {
        let CellRef { row, column } = cell;
        (rule, Some(row), Some(row), Some(column))
    });
    let columns = places(route).filter_map(|(rule, place)| match *place {
        Place::Cell { .. } => None,
        Place::FindRow {
            column, first_row, ..
        }
        | Place::Append { column, first_row } => Some((rule, Some(first_row), None, Some(column))),
    });
    let computed = route.rules.computed_columns();
    let computed = computed.map(|(rule, column)| (rule, None, None, Some(column)));
    let mut all: Vec<_> = cells.chain(columns).chain(computed).collect();
    all.sort_by_key(|(rule, ..)| *rule);
    let touching = all.into_iter().filter_map(|(rule, first, last, column)| {
        let touched: Vec<String> = told
            .iter()
            .filter(|told| touches(told, first, last, column))
            .map(named)
            .collect();
        (!touched.is_empty()).then(|| {
            let line = format!(
                "rule {}: protected in sheet {title:?}: {}; {refused}",
                rule + 1,
                touched.join(", ")
            );
            Finding::doubt(line, Some(Mend::Protected))
        })
    });
    touching.collect()
}

/// Whether a protection covers some of a column from one row to another; `None` for what is not known.
fn touches(
    told: &Protection,
    first: Option<Row>,
    last: Option<Row>,
    column: Option<Column>,
) -> bool {
    match *told {
        Protection::Sheet => true,
        Protection::Rows(from, to) => {
            first.is_none_or(|first| first <= to) && last.is_none_or(|last| from <= last)
        }
        Protection::Columns(from, to) => column.is_some_and(|column| (from..=to).contains(&column)),
    }
}

fn named(protection: &Protection) -> String {
    match protection {
        Protection::Sheet => "all of it".into(),
        Protection::Rows(from, to) if from == to => format!("row {from}"),
        Protection::Rows(from, to) => format!("rows {from} to {to}"),
        Protection::Columns(from, to) if from == to => format!("column {from}"),
        Protection::Columns(from, to) => format!("columns {from} to {to}"),
    }
}

fn places(route: &Route) -> impl Iterator<Item = (usize, &Place)> {
    let rules = route.mapping.rules.iter().enumerate();
    rules.map(|(index, rule)| (index, &rule.place))
}
