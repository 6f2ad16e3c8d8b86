//! Reading and writing the values of cells: what `values` calls answer and take. Pure.

use serde::Deserialize;
use serde_json::{Value, json};

use super::area::Area;
use super::rules::Refusal;
use super::sheet::{Cell, Sheet};
use crate::a1::{CellRef, Column, Row};

/// The largest answer of a read, in bytes.
pub const MAX_ANSWER_BYTES: usize = 10 * 1024 * 1024;
/// Columns of an open range, and of a write.
pub const MAX_COLUMNS: u32 = 100;
/// Rows of a write.
pub const MAX_ROWS: usize = 5_000;

/// The body of a write.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WriteRequest {
    /// The only field.
    pub value_range: ValueRange,
}

/// Where, and what.
#[derive(Debug, Deserialize)]
pub struct ValueRange {
    /// `<sheetId>!A1:B2`.
    pub range: String,
    /// Rows of cells.
    pub values: Vec<Vec<Value>>,
}

/// Reads an area as rows. A closed area answers all its cells, empty ones as `null`; an open one
/// ends with the last row that holds anything in it. With `as_text` numbers and booleans become
/// texts (`valueRenderOption=ToString`).
///
/// # Errors
/// [`Refusal::Bounds`] outside the grid, [`Refusal::AnswerTooLarge`] beyond the documented limits.
pub fn read(sheet: &Sheet, area: Area, as_text: bool) -> Result<Vec<Vec<Value>>, Refusal> {
    sheet.check_bounds(area)?;
    let (left, right) = (area.first.column.number(), area.last_column.number());
    if area.last_row.is_none() && right - left >= MAX_COLUMNS {
        return Err(Refusal::AnswerTooLarge(format!(
            "{} columns of an open range",
            right - left + 1
        )));
    }
    let last_row = match area.last_row {
        Some(row) => row.number(),
        None => sheet
            .cells
            .keys()
            .rev()
            .find(|at| area.contains(**at))
            .map_or(0, |at| at.row.number()),
    };
    let top = area.first.row.number();
    let cells = u64::from((last_row + 1).saturating_sub(top)) * u64::from(right - left + 1);
    let mut bytes = cells.saturating_mul(5);
    let too_large = || Refusal::AnswerTooLarge(format!("over {MAX_ANSWER_BYTES} bytes"));
    if bytes > MAX_ANSWER_BYTES as u64 {
        return Err(too_large());
    }
    let mut rows = Vec::new();
    for row in top..=last_row {
        let mut cells = Vec::new();
        for column in left..=right {
            let value = match (Row::new(row), Column::new(column)) {
                (Ok(row), Ok(column)) => sheet.cells.get(&CellRef { row, column }),
                _ => None,
            };
            let value = value.map_or(Value::Null, |cell| shown(cell, as_text));
            if let Value::String(text) = &value {
                bytes += text.len() as u64;
            }
            cells.push(value);
        }
        if bytes > MAX_ANSWER_BYTES as u64 {
            return Err(too_large());
        }
        rows.push(cells);
    }
    Ok(rows)
}

fn shown(cell: &Cell, as_text: bool) -> Value {
    match cell {
        Cell::Image(image) => json!({
            "type": "embed-image",
            "fileToken": image.file_token,
            "width": image.width.unwrap_or(0),
            "height": image.height.unwrap_or(0),
            "link": "",
            "text": "",
        }),
        Cell::Value { value } => match value {
            Value::Number(number) if as_text => Value::String(number.to_string()),
            Value::Bool(boolean) if as_text => {
                Value::String(if *boolean { "TRUE" } else { "FALSE" }.to_owned())
            }
            other => other.clone(),
        },
    }
}

/// What a write did.
#[derive(Debug, PartialEq, Eq)]
pub struct Written {
    /// The sheet's new revision.
    pub revision: u64,
    /// Rows written.
    pub rows: usize,
    /// Columns written.
    pub columns: usize,
    /// File tokens of pictures that were overwritten.
    pub replaced: Vec<String>,
}

/// Overwrites the cells of an area; an empty text or `null` clears one.
///
/// # Errors
/// [`Refusal::Range`] when the values do not fit into the area or the limits of a write;
/// [`Refusal::Bounds`] or [`Refusal::Locked`].
pub fn write(sheet: &mut Sheet, area: Area, values: &[Vec<Value>]) -> Result<Written, Refusal> {
    let columns = values.iter().map(Vec::len).max().unwrap_or(0);
    if values.is_empty() || columns == 0 {
        return Err(Refusal::Range("there are no values".into()));
    }
    if values.len() > MAX_ROWS || columns > MAX_COLUMNS as usize {
        return Err(Refusal::Range(format!(
            "at most {MAX_ROWS} rows and {MAX_COLUMNS} columns in one call"
        )));
    }
    let Some(last_row) = area.last_row else {
        return Err(Refusal::Range(format!("{area} has no last row")));
    };
    let high = (last_row.number() - area.first.row.number() + 1) as usize;
    let wide = (area.last_column.number() - area.first.column.number() + 1) as usize;
    if values.len() > high || columns > wide {
        return Err(Refusal::Range(format!(
            "{} rows of {columns} values do not fit into {area}",
            values.len()
        )));
    }
    if let Some(odd) = values
        .iter()
        .flatten()
        .find(|v| v.is_array() || v.is_object())
    {
        return Err(Refusal::Range(format!("{odd} is no plain value")));
    }
    sheet.check(area)?;
    let mut replaced = Vec::new();
    for (row, cells) in (area.first.row.number()..).zip(values) {
        for (column, value) in (area.first.column.number()..).zip(cells) {
            // In the grid, as checked above, so both exist.
            let (Ok(row), Ok(column)) = (Row::new(row), Column::new(column)) else {
                continue;
            };
            let at = CellRef { row, column };
            let before = if value.is_null() || value.as_str() == Some("") {
                sheet.cells.remove(&at)
            } else {
                let value = value.clone();
                sheet.cells.insert(at, Cell::Value { value })
            };
            if let Some(Cell::Image(image)) = before {
                replaced.push(image.file_token);
            }
        }
    }
    sheet.revision += 1;
    Ok(Written {
        revision: sheet.revision,
        rows: values.len(),
        columns,
        replaced,
    })
}

#[cfg(test)]
mod tests {
    use super::super::grid::Documents;
    use super::super::spec::{DocumentSpec, SheetSpec};
    use super::*;
    use rstest::rstest;

    fn with_sheet<R>(then: impl FnOnce(&mut Sheet) -> R) -> R {
        let mut documents = Documents::default();
        let spec = DocumentSpec::new("d").sheet(SheetSpec::new("s", "S").grid(20, 5));
        documents.apply(&spec).unwrap();
        let document = documents.open("d", true).unwrap();
        then(document.open_sheet("s").unwrap())
    }

    fn area(text: &str) -> Area {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_written_is_read_back() {
        with_sheet(|sheet| {
            let values = [vec![json!("x"), json!(1)], vec![json!(true), json!("")]];
            let written = write(sheet, area("A2:B3"), &values).unwrap();
            assert_eq!((written.revision, written.rows, written.columns), (1, 2, 2));
            assert_eq!(
                read(sheet, area("A1:B3"), false).unwrap(),
                [
                    vec![Value::Null, Value::Null],
                    vec![json!("x"), json!(1)],
                    vec![json!(true), Value::Null]
                ]
            );
            assert_eq!(
                read(sheet, area("A2:B3"), true).unwrap()[0],
                [json!("x"), json!("1")]
            );
        });
    }

    #[test]
    fn an_open_range_ends_with_the_last_row_in_use() {
        with_sheet(|sheet| {
            write(sheet, area("A5:A5"), &[vec![json!("k")]]).unwrap();
            write(sheet, area("B9:B9"), &[vec![json!("other")]]).unwrap();
            assert_eq!(
                read(sheet, area("A4:A"), true).unwrap(),
                [vec![Value::Null], vec![json!("k")]]
            );
            assert!(read(sheet, area("A10:A"), true).unwrap().is_empty());
        });
    }

    #[test]
    fn an_empty_text_clears_a_cell() {
        with_sheet(|sheet| {
            write(sheet, area("A1:A1"), &[vec![json!("k")]]).unwrap();
            write(sheet, area("A1:A1"), &[vec![json!("")]]).unwrap();
            assert!(sheet.cells.is_empty());
            assert_eq!(sheet.revision, 2);
        });
    }

    #[rstest]
    #[case::too_wide("A1:A1", json!([["x", "y"]]))]
    #[case::too_high("A1:A1", json!([["x"], ["y"]]))]
    #[case::open("A1:A", json!([["x"]]))]
    #[case::nothing("A1:A1", json!([]))]
    #[case::nested("A1:A1", json!([[["x"]]]))]
    fn values_must_fit(#[case] at: &str, #[case] values: Value) {
        let values: Vec<Vec<Value>> = serde_json::from_value(values).unwrap();
        with_sheet(|sheet| {
            assert!(matches!(
                write(sheet, area(at), &values),
                Err(Refusal::Range(_))
            ));
            assert_eq!(sheet.revision, 0);
        });
    }
}
