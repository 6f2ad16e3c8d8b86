//! Documents as one asks for them: when the stand-in starts, and later to change them.
//!
//! Every field but the tokens may be absent: then an existing document keeps what it has, and a
//! new one gets the default that the field names.

use serde::{Deserialize, Serialize};

use super::area::Area;

/// What the app may do with a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    /// Read and write.
    Edit,
    /// Read only.
    View,
    /// Nothing.
    None,
}

/// Merged cells, counted from 0, ends included, as the API answers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Merge {
    /// First row.
    pub start_row_index: u32,
    /// Last row.
    pub end_row_index: u32,
    /// First column.
    pub start_column_index: u32,
    /// Last column.
    pub end_column_index: u32,
}

/// A spreadsheet to make or to change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentSpec {
    /// The spreadsheet token: the last segment of the document's URL.
    pub token: String,
    /// The document's name. Default: the token.
    #[serde(default)]
    pub title: Option<String>,
    /// Token of the wiki node that holds the document. Default: none does.
    #[serde(default)]
    pub wiki_node: Option<String>,
    /// Sheets to make or to change; others stay as they are. A new document without any gets one
    /// with the id `Q7PlXT`.
    #[serde(default)]
    pub sheets: Vec<SheetSpec>,
    /// Default: edit.
    #[serde(default)]
    pub permission: Option<Permission>,
    /// Whether it was deleted. Default: no.
    #[serde(default)]
    pub deleted: Option<bool>,
    /// How many distinct images it may hold. Default: 4,000.
    #[serde(default)]
    pub image_limit: Option<u32>,
}

impl DocumentSpec {
    /// A document with this token.
    pub fn new(token: impl Into<String>) -> Self {
        Self {
            token: token.into(),
            ..Self::default()
        }
    }

    /// Names it.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Puts it into a wiki, under this node.
    #[must_use]
    pub fn wiki_node(mut self, node: impl Into<String>) -> Self {
        self.wiki_node = Some(node.into());
        self
    }

    /// Adds or changes a sheet.
    #[must_use]
    pub fn sheet(mut self, sheet: SheetSpec) -> Self {
        self.sheets.push(sheet);
        self
    }

    /// Sets what the app may do.
    #[must_use]
    pub fn permission(mut self, permission: Permission) -> Self {
        self.permission = Some(permission);
        self
    }

    /// Deletes it, or brings it back.
    #[must_use]
    pub fn deleted(mut self, deleted: bool) -> Self {
        self.deleted = Some(deleted);
        self
    }

    /// Limits its distinct images.
    #[must_use]
    pub fn image_limit(mut self, images: u32) -> Self {
        self.image_limit = Some(images);
        self
    }
}

/// A sheet to make or to change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SheetSpec {
    /// The sheet's id: letters and digits.
    pub id: String,
    /// What its tab says. Default: the id.
    #[serde(default)]
    pub title: Option<String>,
    /// Rows of its grid. Default: 200.
    #[serde(default)]
    pub rows: Option<u32>,
    /// Columns of its grid, at most 13,000. Default: 20.
    #[serde(default)]
    pub columns: Option<u32>,
    /// Whether it is hidden. Default: no.
    #[serde(default)]
    pub hidden: Option<bool>,
    /// `sheet`, `bitable` and others. Default: `sheet`; all others have no grid.
    #[serde(default)]
    pub resource_type: Option<String>,
    /// Its merged cells. Default: none.
    #[serde(default)]
    pub merges: Option<Vec<Merge>>,
    /// Its locked cells, as `B2` or `A1:C3`. Default: none.
    #[serde(default)]
    pub locked: Option<Vec<Area>>,
    /// `true` removes the sheet and its cells.
    #[serde(default)]
    pub deleted: bool,
}

impl SheetSpec {
    /// A sheet with this id and title.
    pub fn new(id: impl Into<String>, title: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            title: Some(title.into()),
            ..Self::default()
        }
    }

    /// Sets the size of its grid.
    #[must_use]
    pub fn grid(mut self, rows: u32, columns: u32) -> Self {
        self.rows = Some(rows);
        self.columns = Some(columns);
        self
    }

    /// Hides or shows it.
    #[must_use]
    pub fn hidden(mut self, hidden: bool) -> Self {
        self.hidden = Some(hidden);
        self
    }

    /// Makes it something else than a grid, as `bitable`.
    #[must_use]
    pub fn resource_type(mut self, kind: impl Into<String>) -> Self {
        self.resource_type = Some(kind.into());
        self
    }

    /// Merges cells.
    #[must_use]
    pub fn merge(mut self, merge: Merge) -> Self {
        self.merges.get_or_insert_default().push(merge);
        self
    }

    /// Locks cells.
    #[must_use]
    pub fn lock(mut self, area: Area) -> Self {
        self.locked.get_or_insert_default().push(area);
        self
    }

    /// Removes it.
    #[must_use]
    pub fn deleted(mut self) -> Self {
        self.deleted = true;
        self
    }
}
