//! The shapes of answers, read tolerantly: what we do not need may be absent or strange. No I/O.

use serde::Deserialize;
use serde_json::Value;

use crate::a1::CellRef;
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
}

impl Sheet {
    /// Whether a cell lies inside the grid, as far as the answer told.
    pub fn holds(&self, cell: CellRef) -> bool {
        let within = |at: u32, limit: Option<u64>| limit.is_none_or(|limit| u64::from(at) <= limit);
        within(cell.row.number(), self.rows) && within(cell.column.number(), self.columns)
    }
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
            })
        })
        .collect()
}

/// The sheet that the configuration means.
///
/// # Errors
/// With a sentence for people that names the sheets there are.
pub fn find_sheet<'a>(sheets: &'a [Sheet], wanted: &SheetRef) -> Result<&'a Sheet, String> {
    let found = match wanted {
        SheetRef::First => sheets.iter().min_by_key(|sheet| sheet.index),
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
    fn an_answer_without_data_has_no_fields_and_no_sheets() {
        let bare: Answer = serde_json::from_value(json!({"code": 5})).unwrap();
        assert!(bare.data("revision").is_null());
        assert_eq!(sheets(&bare), []);
    }
}
