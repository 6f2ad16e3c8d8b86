//! The shapes of answers, read tolerantly: what we do not need may be absent or strange. No I/O.

use serde::Deserialize;
use serde_json::Value;

use crate::a1::{CellRef, Column, Row};
use crate::config::{SheetId, SheetRef};

/// What every answer has around its data.
#[derive(Debug, Deserialize)]
pub struct Answer {
    pub code: i64,
    #[serde(default)]
    pub msg: String,
    /// Everything beside `code` and `msg`: most calls nest it under `data`, the token call does not.
    #[serde(flatten)]
    pub rest: Value,
}

impl Answer {
    /// A field of `data`.
    pub fn data(&self, field: &str) -> &Value {
        &self.rest["data"][field]
    }
}

/// A sheet of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sheet {
    /// Its id.
    pub id: SheetId,
    /// What its tab says.
    pub title: String,
    /// Its place among the tabs, from 0.
    pub index: u64,
    /// `sheet`, or another kind (`bitable`, …) that has no cells.
    pub kind: String,
    /// Rows of its grid; `None` when the answer did not tell.
    pub rows: Option<u64>,
    /// Columns of its grid; `None` when the answer did not tell.
    pub columns: Option<u64>,
    /// Whether its tab is hidden.
    pub hidden: bool,
    /// Its merged cells.
    pub merges: Vec<Merge>,
}

/// Cells merged into one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merge {
    /// The upper left cell, which alone holds what is shown.
    pub first: CellRef,
    /// The lower right cell.
    pub last: CellRef,
}

impl Merge {
    /// Whether the cell lies in it.
    pub fn contains(&self, cell: CellRef) -> bool {
        (self.first.row..=self.last.row).contains(&cell.row)
            && (self.first.column..=self.last.column).contains(&cell.column)
    }
}

/// Cells of a sheet that only some may edit. Who may is not told in a way that an app finds itself in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// All of the sheet.
    Sheet,
    /// Rows, both ends included.
    Rows(Row, Row),
    /// Columns, both ends included.
    Columns(Column, Column),
}

/// What a cell says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CellValue {
    /// Nothing.
    Empty,
    /// This text; numbers as the sheet shows them.
    Text(String),
    /// A picture.
    Picture,
}

impl Sheet {
    /// Whether a cell lies inside the grid, as far as the answer told.
    pub fn holds(&self, cell: CellRef) -> bool {
        let within = |at: u32, limit: Option<u64>| limit.is_none_or(|limit| u64::from(at) <= limit);
        within(cell.row.number(), self.rows) && within(cell.column.number(), self.columns)
    }

    /// The merged range that shows another cell in this one's place.
    pub fn covering(&self, cell: CellRef) -> Option<&Merge> {
        self.merges
            .iter()
            .find(|merge| merge.contains(cell) && merge.first != cell)
    }
}

/// The values of a column, from the first row asked for on; `None` when the answer holds none,
/// which is not the same as an empty column.
pub fn column(answer: &Answer) -> Option<Vec<CellValue>> {
    let range = answer.data("valueRange").as_object()?;
    let rows = match range.get("values") {
        None | Some(Value::Null) => return Some(Vec::new()),
        Some(values) => values.as_array()?,
    };
    Some(rows.iter().map(|row| cell_value(&row[0])).collect())
}

fn cell_value(value: &Value) -> CellValue {
    let text = match value {
        Value::Object(object) if object.get("type").is_some_and(|kind| kind == "embed-image") => {
            return CellValue::Picture;
        }
        value => plain(value),
    };
    if text.is_empty() {
        CellValue::Empty
    } else {
        CellValue::Text(text)
    }
}

/// A value as text; links and mentions come as objects with a `text`, mixed cells as lists of them.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(plain).collect(),
        Value::Object(object) => object.get("text").map(plain).unwrap_or_default(),
        Value::Bool(true) => "TRUE".into(),
        Value::Bool(false) => "FALSE".into(),
        Value::Number(number) => number.to_string(),
    }
}

/// Merged cells as the API counts them: from 0, ends included.
fn merge(merge: &Value) -> Option<Merge> {
    let cell = |row: &str, column: &str| {
        let at = |field: &str| {
            let index = u32::try_from(merge[field].as_u64()?).ok()?;
            index.checked_add(1)
        };
        Some(CellRef {
            row: Row::new(at(row)?).ok()?,
            column: Column::new(at(column)?).ok()?,
        })
    };
    Some(Merge {
        first: cell("start_row_index", "start_column_index")?,
        last: cell("end_row_index", "end_column_index")?,
    })
}

/// The sheets that `sheets/query` tells of; one without a usable id is left out.
pub fn sheets(answer: &Answer) -> Vec<Sheet> {
    let list = answer
        .data("sheets")
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    list.iter()
        .enumerate()
        .filter_map(|(place, sheet)| {
            let grid = &sheet["grid_properties"];
            Some(Sheet {
                id: sheet["sheet_id"].as_str()?.parse().ok()?,
                title: sheet["title"].as_str().unwrap_or_default().to_owned(),
                index: sheet["index"].as_u64().unwrap_or(place as u64),
                kind: sheet["resource_type"]
                    .as_str()
                    .unwrap_or("sheet")
                    .to_owned(),
                rows: grid["row_count"].as_u64(),
                columns: grid["column_count"].as_u64(),
                hidden: sheet["hidden"].as_bool().unwrap_or(false),
                merges: sheet["merges"]
                    .as_array()
                    .map(|merges| merges.iter().filter_map(merge).collect())
                    .unwrap_or_default(),
            })
        })
        .collect()
}

/// The protections that `metainfo` tells of, each with its sheet: of rows, of columns and of whole sheets,
/// counted from 1. Protected cells are in no documented answer; one that is not understood is left out.
pub fn protections(answer: &Answer) -> Vec<(SheetId, Protection)> {
    let sheets = answer.data("sheets").as_array();
    let of_sheet = |sheet: &Value| {
        let id: SheetId = sheet["sheetId"].as_str()?.parse().ok()?;
        let told = sheet["protectedRange"].as_array()?.iter();
        let found = told.filter_map(protection);
        Some(found.map(|found| (id.clone(), found)).collect::<Vec<_>>())
    };
    let found = sheets.into_iter().flatten().filter_map(of_sheet);
    found.flatten().collect()
}

fn protection(told: &Value) -> Option<Protection> {
    let dimension = told.get("dimension").filter(|told| !told.is_null());
    let Some(dimension) = dimension else {
        return Some(Protection::Sheet);
    };
    let at = |field: &str| u32::try_from(dimension[field].as_u64()?).ok();
    let (start, end) = (at("startIndex")?, at("endIndex")?);
    match dimension["majorDimension"].as_str()? {
        "ROWS" => Some(Protection::Rows(Row::new(start).ok()?, Row::new(end).ok()?)),
        "COLUMNS" => Some(Protection::Columns(
            Column::new(start).ok()?,
            Column::new(end).ok()?,
        )),
        _ => None,
    }
}

/// The sheet that the configuration means.
///
/// # Errors
/// With a sentence for people that names the sheets there are.
pub fn find_sheet<'a>(sheets: &'a [Sheet], wanted: &SheetRef) -> Result<&'a Sheet, String> {
    let found = match wanted {
        // What a person sees first; a hidden tab only when there is no other.
        SheetRef::First => sheets
            .iter()
            .min_by_key(|sheet| (sheet.hidden, sheet.index)),
        SheetRef::Id(id) => sheets.iter().find(|sheet| sheet.id == *id),
        // A title wins over an id: people read titles.
        SheetRef::Named(name) => sheets
            .iter()
            .find(|sheet| sheet.title == *name)
            .or_else(|| sheets.iter().find(|sheet| sheet.id.as_str() == name)),
    };
    let sheet = found.ok_or_else(|| {
        let there: Vec<String> = sheets
            .iter()
            .take(20)
            .map(|sheet| format!("{:?} ({})", sheet.title, sheet.id))
            .collect();
        format!(
            "the document has no sheet {wanted:?}, it has {}; change `sheet` in the configuration",
            there.join(", "),
            wanted = wanted.to_string()
        )
    })?;
    if sheet.kind != "sheet" {
        return Err(format!(
            "{:?} is a {}, not a grid of cells; name another `sheet` in the configuration",
            sheet.title, sheet.kind
        ));
    }
    Ok(sheet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(data: &Value) -> Answer {
        serde_json::from_value(json!({"code": 0, "msg": "ok", "data": data})).unwrap()
    }

    fn some_sheets() -> Vec<Sheet> {
        sheets(&answer(&json!({"sheets": [
            {"sheet_id": "bbb", "title": "Second", "index": 1, "resource_type": "sheet",
             "grid_properties": {"row_count": 200, "column_count": 20}},
            {"sheet_id": "aaa", "title": "Lobby", "index": 0, "hidden": false},
            {"sheet_id": "ccc", "title": "Base", "index": 2, "resource_type": "bitable"},
            {"title": "no id"},
        ]})))
    }

    #[test]
    fn sheets_are_found_by_title_by_id_and_by_place() {
        let sheets = some_sheets();
        let id = |wanted: SheetRef| find_sheet(&sheets, &wanted).unwrap().id.to_string();
        assert_eq!(id(SheetRef::First), "aaa");
        assert_eq!(id(SheetRef::Named("Second".into())), "bbb");
        assert_eq!(id(SheetRef::Named("bbb".into())), "bbb");
        assert_eq!(id(SheetRef::Id("bbb".parse().unwrap())), "bbb");
        assert_eq!((sheets[0].rows, sheets[1].rows), (Some(200), None));
    }

    #[test]
    fn a_sheet_that_is_not_there_or_is_no_grid_is_told_with_those_there_are() {
        let sheets = some_sheets();
        let told = |name: &str| find_sheet(&sheets, &SheetRef::Named(name.into())).unwrap_err();
        insta::assert_snapshot!(told("Loby"), @r#"the document has no sheet "Loby", it has "Second" (bbb), "Lobby" (aaa), "Base" (ccc); change `sheet` in the configuration"#);
        insta::assert_snapshot!(told("Base"), @r#""Base" is a bitable, not a grid of cells; name another `sheet` in the configuration"#);
    }

    #[test]
    fn the_first_sheet_is_the_first_that_is_seen() {
        let listed = json!({"sheets": [
            {"sheet_id": "aaa", "title": "Old", "index": 0, "hidden": true},
            {"sheet_id": "bbb", "title": "New", "index": 1},
        ]});
        let mut sheets = sheets(&answer(&listed));
        assert_eq!(find_sheet(&sheets, &SheetRef::First).unwrap().title, "New");
        sheets.truncate(1);
        assert_eq!(find_sheet(&sheets, &SheetRef::First).unwrap().title, "Old");
    }

    #[test]
    fn merged_cells_cover_all_but_their_first() {
        let sheets = sheets(&answer(&json!({"sheets": [{"sheet_id": "aaa", "merges": [
            {"start_row_index": 1, "end_row_index": 2, "start_column_index": 1, "end_column_index": 2},
            {"start_row_index": 1},
        ]}]})));
        let covered = |cell: &str| sheets[0].covering(cell.parse().unwrap()).is_some();
        assert_eq!(sheets[0].merges.len(), 1);
        assert!(covered("C3") && covered("B3") && covered("C2"));
        assert!(!covered("B2") && !covered("D3") && !covered("B4") && !covered("A1"));
    }

    #[test]
    fn protections_are_read_as_far_as_they_are_understood() {
        let told = answer(&json!({"sheets": [
            {"sheetId": "aaa", "protectedRange": [
                {"dimension": {"majorDimension": "ROWS", "startIndex": 2, "endIndex": 5, "sheetId": "aaa"}},
                {"dimension": {"majorDimension": "COLUMNS", "startIndex": 4, "endIndex": 4}},
                {"dimension": {"majorDimension": "CELLS", "startIndex": 4, "endIndex": 4}},
                {"dimension": {"majorDimension": "ROWS", "startIndex": 0, "endIndex": 4}},
            ]},
            {"sheetId": "bbb", "protectedRange": [{"protectId": "1"}, {"dimension": null}]},
            {"sheetId": "ccc"},
        ]}));
        let of = |id: &str| -> Vec<Protection> {
            let all = protections(&told).into_iter();
            all.filter(|(sheet, _)| sheet.as_str() == id)
                .map(|(_, found)| found)
                .collect()
        };
        let (row, column) = (|n| Row::new(n).unwrap(), |n| Column::new(n).unwrap());
        assert_eq!(
            of("aaa"),
            [
                Protection::Rows(row(2), row(5)),
                Protection::Columns(column(4), column(4))
            ]
        );
        assert_eq!(of("bbb"), [Protection::Sheet, Protection::Sheet]);
        assert_eq!(of("ccc"), []);
        assert_eq!(of("ddd"), []);
    }

    #[test]
    fn a_cell_is_read_as_a_person_reads_it() {
        let read = |values: Value| column(&answer(&json!({"valueRange": {"values": values}})));
        let text = |text: &str| CellValue::Text(text.into());
        assert_eq!(
            read(json!([
                ["007"],
                [7],
                [null],
                [],
                [""],
                [true],
                [{"type": "embed-image", "fileToken": "boxcn", "text": ""}],
                [[{"type": "text", "text": "A-"}, {"type": "url", "text": "1", "link": "x"}]],
            ])),
            Some(vec![
                text("007"),
                text("7"),
                CellValue::Empty,
                CellValue::Empty,
                CellValue::Empty,
                text("TRUE"),
                CellValue::Picture,
                text("A-1"),
            ])
        );
        assert_eq!(read(Value::Null), Some(Vec::new()));
        assert_eq!(column(&answer(&json!({}))), None);
        assert_eq!(read(json!("x")), None);
    }

    #[test]
    fn an_answer_without_data_has_no_fields_and_no_sheets() {
        let bare: Answer = serde_json::from_value(json!({"code": 5})).unwrap();
        assert!(bare.data("revision").is_null());
        assert_eq!(sheets(&bare), []);
    }
}
