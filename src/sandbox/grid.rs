//! The documents: spreadsheets, what the app may do with them, which sheets they have. Pure.
//!
//! The bytes of images are not here but in [`Shelf`](super::shelf::Shelf), so that a copy of the
//! documents is cheap.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::rules::{MAX_IMAGES, Refusal};
use super::sheet::{Cell, ImageCell, Sheet, set};
use super::spec::{DocumentSpec, Permission};
use crate::a1::CellRef;
use crate::image::ContentHash;

/// Documents that may exist at once.
pub const MAX_DOCUMENTS: usize = 10_000;
/// Sheets that a document may have (open.feishu.cn, "Spreadsheet overview").
pub const MAX_SHEETS: usize = 300;

/// All documents by spreadsheet token.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
pub struct Documents(BTreeMap<String, Document>);

/// One spreadsheet.
#[derive(Debug, Clone, Serialize)]
pub struct Document {
    /// Its token.
    pub token: String,
    /// Its name.
    pub title: String,
    /// The wiki node that holds it.
    pub wiki_node: Option<String>,
    /// What the app may do with it.
    pub permission: Permission,
    /// Whether it was deleted.
    pub deleted: bool,
    /// How many distinct images it may hold.
    pub image_limit: u32,
    /// Its sheets, in the order of their tabs.
    pub sheets: Vec<Sheet>,
}

impl Documents {
    /// Every document.
    pub fn iter(&self) -> impl Iterator<Item = &Document> {
        self.0.values()
    }

    /// The document with this token, whatever its permission.
    pub fn get(&self, token: &str) -> Option<&Document> {
        self.0.get(token)
    }

    /// Makes or changes a document.
    ///
    /// # Errors
    /// With a sentence for people when a limit of the product would be exceeded.
    pub fn apply(&mut self, spec: &DocumentSpec) -> Result<(), String> {
        if spec.token.is_empty()
            || !spec
                .token
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        {
            return Err(format!("{:?} is no spreadsheet token", spec.token));
        }
        let known = self.0.contains_key(&spec.token);
        if !known && self.0.len() >= MAX_DOCUMENTS {
            return Err(format!("there are {MAX_DOCUMENTS} documents already"));
        }
        // Changed aside, so that a refused change leaves nothing half done.
        let mut document = self
            .0
            .get(&spec.token)
            .cloned()
            .unwrap_or_else(|| Document::new(&spec.token));
        document.change(spec)?;
        self.0.insert(spec.token.clone(), document);
        Ok(())
    }

    /// The document that a call names, if the call may touch it.
    ///
    /// # Errors
    /// [`Refusal::WikiToken`], [`Refusal::NoSpreadsheet`], [`Refusal::Deleted`] or
    /// [`Refusal::Forbidden`].
    pub fn open(&mut self, token: &str, writes: bool) -> Result<&mut Document, Refusal> {
        if !self.0.contains_key(token) {
            return Err(match self.by_wiki_node(token) {
                Some(_) => Refusal::WikiToken(token.to_owned()),
                None => Refusal::NoSpreadsheet,
            });
        }
        let document = self.0.get_mut(token).ok_or(Refusal::NoSpreadsheet)?;
        match (document.deleted, document.permission, writes) {
            (true, _, _) => Err(Refusal::Deleted),
            (_, Permission::Edit, _) | (_, Permission::View, false) => Ok(document),
            (_, _, true) => Err(Refusal::Forbidden("edit")),
            (_, _, false) => Err(Refusal::Forbidden("read")),
        }
    }

    /// The document that a wiki node holds.
    pub fn by_wiki_node(&self, node: &str) -> Option<&Document> {
        self.0
            .values()
            .find(|document| document.wiki_node.as_deref() == Some(node))
    }
}

impl Document {
    fn new(token: &str) -> Self {
        Self {
            token: token.to_owned(),
            title: token.to_owned(),
            wiki_node: None,
            permission: Permission::Edit,
            deleted: false,
            image_limit: MAX_IMAGES,
            sheets: Vec::new(),
        }
    }

    fn change(&mut self, spec: &DocumentSpec) -> Result<(), String> {
        set(&mut self.title, spec.title.as_ref());
        if spec.wiki_node.is_some() {
            self.wiki_node.clone_from(&spec.wiki_node);
        }
        set(&mut self.permission, spec.permission.as_ref());
        set(&mut self.deleted, spec.deleted.as_ref());
        set(&mut self.image_limit, spec.image_limit.as_ref());
        for sheet in &spec.sheets {
            let place = self.sheets.iter().position(|known| known.id == sheet.id);
            match (place, sheet.deleted) {
                (Some(place), true) => {
                    self.sheets.remove(place);
                }
                (None, true) => return Err(format!("there is no sheet {:?}", sheet.id)),
                (Some(place), false) => self.sheets[place].change(sheet)?,
                (None, false) => {
                    let mut made = Sheet::new(&sheet.id)?;
                    made.change(sheet)?;
                    self.sheets.push(made);
                }
            }
        }
        if self.sheets.is_empty() && spec.sheets.is_empty() {
            self.sheets.push(Sheet::new("Q7PlXT")?);
        }
        if self.sheets.len() > MAX_SHEETS {
            return Err(format!("a spreadsheet has at most {MAX_SHEETS} sheets"));
        }
        Ok(())
    }

    /// The sheet with this id.
    pub fn sheet(&self, id: &str) -> Option<&Sheet> {
        self.sheets.iter().find(|sheet| sheet.id == id)
    }

    /// The sheet that a range names.
    ///
    /// # Errors
    /// [`Refusal::NoSheet`], also for a sheet that has no grid.
    pub fn open_sheet(&mut self, id: &str) -> Result<&mut Sheet, Refusal> {
        self.sheets
            .iter_mut()
            .find(|sheet| sheet.id == id && sheet.resource_type == "sheet")
            .ok_or_else(|| Refusal::NoSheet(id.to_owned()))
    }

    /// Puts a picture into a cell; `revision` in it is overwritten. Returns the sheet's new
    /// revision and the file token of the picture that was there.
    ///
    /// # Errors
    /// [`Refusal::NoSheet`], [`Refusal::Bounds`], [`Refusal::Locked`] or [`Refusal::ImagesFull`].
    pub fn put_image(
        &mut self,
        sheet_id: &str,
        at: CellRef,
        mut image: ImageCell,
    ) -> Result<(u64, Option<String>), Refusal> {
        self.open_sheet(sheet_id)?.check(at.into())?;
        let limit = self.image_limit;
        if self.images_with(sheet_id, at, image.hash) > limit as usize {
            return Err(Refusal::ImagesFull(limit));
        }
        let sheet = self.open_sheet(sheet_id)?;
        sheet.revision += 1;
        image.revision = sheet.revision;
        let before = sheet.cells.insert(at, Cell::Image(image));
        let replaced = match before {
            Some(Cell::Image(before)) => Some(before.file_token),
            _ => None,
        };
        Ok((sheet.revision, replaced))
    }

    /// How many distinct images there would be with this one in its cell.
    fn images_with(&self, sheet_id: &str, at: CellRef, hash: ContentHash) -> usize {
        let cells: usize = self.sheets.iter().map(|sheet| sheet.cells.len()).sum();
        // Fewer cells than the limit cannot hold too many; most calls end here.
        if cells < self.image_limit as usize {
            return 0;
        }
        let others = self.sheets.iter().flat_map(|sheet| {
            let here = sheet.id == sheet_id;
            sheet
                .cells
                .iter()
                .filter(move |(place, _)| !(here && **place == at))
                .filter_map(|(_, cell)| match cell {
                    Cell::Image(image) => Some(image.hash),
                    Cell::Value { .. } => None,
                })
        });
        others.chain([hash]).collect::<BTreeSet<_>>().len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::body::Encoding;
    use super::super::endpoint::Endpoint;
    use super::super::spec::SheetSpec;
    use super::*;
    use crate::image::Format;
    use rstest::rstest;

    fn picture(content: &str) -> ImageCell {
        ImageCell {
            name: "a.png".into(),
            hash: ContentHash::of(content.as_bytes()),
            length: content.len() as u64,
            format: Format::Png,
            width: None,
            height: None,
            encoding: Encoding::Base64,
            file_token: format!("file-{content}"),
            revision: 0,
            written_ms: 0,
        }
    }

    fn documents() -> Documents {
        let mut documents = Documents::default();
        let spec = DocumentSpec::new("doc")
            .wiki_node("node")
            .image_limit(2)
            .sheet(
                SheetSpec::new("one", "One")
                    .grid(10, 5)
                    .lock("B2:C3".parse().unwrap()),
            )
            .sheet(SheetSpec::new("base", "Base").resource_type("bitable"));
        documents.apply(&spec).unwrap();
        documents
    }

    fn put(documents: &mut Documents, sheet: &str, cell: &str, content: &str) -> Result<u64, i64> {
        documents
            .open("doc", true)
            .and_then(|document| document.put_image(sheet, cell.parse().unwrap(), picture(content)))
            .map(|(revision, _)| revision)
            .map_err(|refusal| refusal.answer(Endpoint::ValuesImage).1)
    }

    #[test]
    fn every_update_of_a_sheet_counts_one_revision() {
        let mut documents = documents();
        assert_eq!(put(&mut documents, "one", "A1", "x"), Ok(1));
        assert_eq!(put(&mut documents, "one", "A1", "x"), Ok(2));
        let sheet = documents
            .open("doc", true)
            .unwrap()
            .open_sheet("one")
            .unwrap();
        assert_eq!(sheet.grow(1, 0), Ok(3));
        assert_eq!(put(&mut documents, "one", "A11", "x"), Ok(4));
    }

    #[rstest]
    #[case::last_cell("one", "E10", Ok(1))]
    #[case::column_outside("one", "F10", Err(90_212))]
    #[case::row_outside("one", "E11", Err(90_212))]
    #[case::locked("one", "C2", Err(90_218))]
    #[case::beside_the_lock("one", "D2", Ok(1))]
    #[case::other_case("One", "A1", Err(90_215))]
    #[case::no_grid("base", "A1", Err(90_215))]
    fn a_cell_must_exist_and_be_open(
        #[case] sheet: &str,
        #[case] cell: &str,
        #[case] expected: Result<u64, i64>,
    ) {
        assert_eq!(put(&mut documents(), sheet, cell, "x"), expected);
    }

    #[test]
    fn only_distinct_images_count_towards_the_limit() {
        let mut documents = documents();
        for (cell, content) in [("A1", "x"), ("A2", "x"), ("A3", "y"), ("A4", "y")] {
            assert!(put(&mut documents, "one", cell, content).is_ok());
        }
        assert_eq!(put(&mut documents, "one", "A5", "z"), Err(90_226));
        // A1's picture is still in A2, so replacing it would make three.
        assert_eq!(put(&mut documents, "one", "A1", "z"), Err(90_226));
        assert!(put(&mut documents, "one", "A2", "y").is_ok());
        assert!(put(&mut documents, "one", "A1", "z").is_ok());
    }

    #[rstest]
    #[case::edit(Permission::Edit, Ok(()), Ok(()))]
    #[case::view(Permission::View, Ok(()), Err(Refusal::Forbidden("edit")))]
    #[case::none(
        Permission::None,
        Err(Refusal::Forbidden("read")),
        Err(Refusal::Forbidden("edit"))
    )]
    fn permission_is_per_document(
        #[case] permission: Permission,
        #[case] read: Result<(), Refusal>,
        #[case] write: Result<(), Refusal>,
    ) {
        let mut documents = documents();
        documents
            .apply(&DocumentSpec::new("doc").permission(permission))
            .unwrap();
        assert_eq!(documents.open("doc", false).map(|_| ()), read);
        assert_eq!(documents.open("doc", true).map(|_| ()), write);
    }

    #[test]
    fn unknown_deleted_and_wiki_tokens_are_told_apart() {
        let mut documents = documents();
        let refusal = |documents: &mut Documents, token| documents.open(token, true).unwrap_err();
        assert_eq!(refusal(&mut documents, "nope"), Refusal::NoSpreadsheet);
        assert_eq!(
            refusal(&mut documents, "node"),
            Refusal::WikiToken("node".into())
        );
        documents
            .apply(&DocumentSpec::new("doc").deleted(true))
            .unwrap();
        assert_eq!(refusal(&mut documents, "doc"), Refusal::Deleted);
    }

    #[test]
    fn a_change_keeps_what_it_does_not_name() {
        let mut documents = documents();
        put(&mut documents, "one", "A1", "x").unwrap();
        let change = DocumentSpec::new("doc").sheet(SheetSpec {
            id: "one".into(),
            columns: Some(9),
            ..SheetSpec::default()
        });
        documents.apply(&change).unwrap();
        let document = documents.get("doc").unwrap();
        let sheet = document.sheet("one").unwrap();
        assert_eq!(
            (sheet.title.as_str(), sheet.rows, sheet.columns),
            ("One", 10, 9)
        );
        assert!(sheet.image("A1").is_some());
        assert_eq!((document.image_limit, document.sheets.len()), (2, 2));
    }

    #[test]
    fn a_refused_change_changes_nothing() {
        let mut documents = documents();
        let change = DocumentSpec::new("doc")
            .title("New")
            .sheet(SheetSpec::new("one", "One").grid(0, 5));
        assert!(documents.apply(&change).is_err());
        assert_eq!(documents.get("doc").unwrap().title, "doc");
    }

    #[test]
    fn a_deleted_sheet_is_gone() {
        let mut documents = documents();
        let change = DocumentSpec::new("doc").sheet(SheetSpec::new("one", "One").deleted());
        documents.apply(&change).unwrap();
        assert_eq!(put(&mut documents, "one", "A1", "x"), Err(90_215));
    }
}
