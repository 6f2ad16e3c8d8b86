//! What each call does, in two steps: `prepare` reads a body and needs no lock, `apply` changes the
//! documents and is quick. Opens no connection and waits for nothing.

use std::io::Cursor;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::answer::Done;
use super::area::{self, Area};
use super::body::{self, Encoding};
use super::endpoint::Endpoint;
use super::grid::Document;
use super::route::Target;
use super::rules::{Refusal, check_image, check_name, check_range};
use super::shared::{Inner, Shared};
use super::sheet::ImageCell;
use super::spec::Permission;
use super::values::{self, WriteRequest};
use crate::a1::CellRef;
use crate::image::{ContentHash, Format};

/// A call that was read and found well-formed.
#[derive(Debug)]
pub enum Work {
    /// Credentials to check.
    TenantToken { app_id: String, app_secret: String },
    /// A refresh token to exchange.
    UserToken(RefreshRequest),
    /// A wiki node to look up.
    WikiNode { node: String },
    /// The sheets to list.
    SheetsQuery,
    /// What a document is made of; with `protected` also which rows and columns only some may edit.
    MetaInfo { protected: bool },
    /// Whether the app may do this with a document.
    MemberAuth { action: String },
    /// A picture to write.
    Image(Box<Picture>),
    /// Values to read.
    ReadValues {
        sheet: String,
        area: Area,
        as_text: bool,
    },
    /// Values to write.
    WriteValues {
        sheet: String,
        area: Area,
        values: Vec<Vec<Value>>,
    },
    /// Rows or columns to add.
    AddDimension {
        sheet: String,
        rows: u32,
        columns: u32,
    },
    /// A media to hand out.
    Media { file: String },
}

/// A picture that was decoded and found whole.
#[derive(Debug)]
pub struct Picture {
    /// The sheet's id.
    pub sheet: String,
    /// The cell.
    pub at: CellRef,
    name: String,
    bytes: Bytes,
    hash: ContentHash,
    format: Format,
    size: Option<(u32, u32)>,
    encoding: Encoding,
}

/// The body of a refresh.
#[derive(Debug, Deserialize)]
pub struct RefreshRequest {
    grant_type: String,
    client_id: String,
    client_secret: String,
    refresh_token: String,
}

impl Work {
    /// Reads a call.
    ///
    /// # Errors
    /// The refusal of what is malformed; nothing of the documents is known yet.
    pub fn prepare(target: &Target, body: &[u8]) -> Result<Self, Refusal> {
        Ok(match target.endpoint {
            Endpoint::TenantToken => {
                #[derive(Deserialize)]
                struct Credentials {
                    app_id: String,
                    app_secret: String,
                }
                let Credentials { app_id, app_secret } = credentials(body)?;
                Self::TenantToken { app_id, app_secret }
            }
            Endpoint::UserToken => Self::UserToken(credentials(body)?),
            Endpoint::WikiNode => Self::WikiNode {
                node: target.parameter("token").ok_or(Refusal::NoWikiNode)?,
            },
            Endpoint::SheetsQuery => Self::SheetsQuery,
            Endpoint::MetaInfo => Self::MetaInfo {
                protected: target.parameter("extFields").as_deref() == Some("protectedRange"),
            },
            Endpoint::MemberAuth => {
                let named = |name: &str| target.parameter(name).unwrap_or_default();
                if named("type") != "sheet" {
                    return Err(Refusal::Parameter("type"));
                }
                Self::MemberAuth {
                    action: named("action"),
                }
            }
            Endpoint::ValuesImage => Self::Image(Box::new(picture(body)?)),
            Endpoint::ReadValues => {
                let (sheet, area) = area::on_sheet(&target.argument)?;
                let as_text = target.parameter("valueRenderOption").as_deref() == Some("ToString");
                Self::ReadValues {
                    sheet,
                    area,
                    as_text,
                }
            }
            Endpoint::WriteValues => {
                let WriteRequest { value_range } = json_body(body)?;
                let (sheet, area) = area::on_sheet(&value_range.range)?;
                Self::WriteValues {
                    sheet,
                    area,
                    values: value_range.values,
                }
            }
            Endpoint::AddDimension => dimension(body)?,
            Endpoint::MediaDownload => Self::Media {
                file: target.argument.clone(),
            },
            Endpoint::Unknown => return Err(Refusal::NoEndpoint(target.argument.clone())),
        })
    }

    /// The hash of the picture that it is to write.
    pub fn picture(&self) -> Option<ContentHash> {
        match self {
            Self::Image(picture) => Some(picture.hash),
            _ => None,
        }
    }

    /// Does it.
    ///
    /// # Errors
    /// The refusal of what the documents do not allow; then nothing has changed.
    pub fn apply(self, shared: &Shared, target: &Target) -> Result<Done, Refusal> {
        let now = shared.now();
        let written_ms = shared.unix_ms();
        let document = target.spreadsheet.as_deref().unwrap_or_default();
        let writes = target.endpoint.writes();
        shared.change(|inner| match self {
            Self::TenantToken { app_id, app_secret } => {
                if app_id != shared.options.app_id {
                    return Err(Refusal::AppUnknown(app_id));
                }
                if app_secret != shared.options.app_secret {
                    return Err(Refusal::SecretWrong);
                }
                let (token, expire) = inner.tokens.tenant(now);
                inner.state.tokens_made = inner.tokens.made();
                Ok(Done::Beside(
                    json!({"tenant_access_token": token, "expire": expire}),
                ))
            }
            Self::UserToken(request) => refresh(shared, inner, &request),
            Self::WikiNode { node } => wiki_node(inner, &node),
            Self::SheetsQuery => {
                let document = inner.state.documents.open(document, writes)?;
                Ok(Done::Data(json!({"sheets": sheets(document)})))
            }
            Self::MetaInfo { protected } => {
                let document = inner.state.documents.open(document, writes)?;
                Ok(Done::Data(meta_info(document, protected)))
            }
            Self::MemberAuth { action } => {
                let document = inner.state.documents.get(document);
                let document = document.ok_or(Refusal::NoSpreadsheet)?;
                let may = match (action.as_str(), document.permission) {
                    ("edit", permission) => permission == Permission::Edit,
                    ("view", permission) => permission != Permission::None,
                    _ => return Err(Refusal::Parameter("action")),
                };
                Ok(Done::Data(json!({"auth_result": may && !document.deleted})))
            }
            Self::Image(picture) => {
                let range_field = if shared.options.updated_range {
                    "updatedRange"
                } else {
                    "updateRange"
                };
                picture.write(inner, document, range_field, written_ms)
            }
            Self::ReadValues {
                sheet,
                area,
                as_text,
            } => {
                let found = inner
                    .state
                    .documents
                    .open(document, writes)?
                    .open_sheet(&sheet)?;
                let values = values::read(found, area, as_text)?;
                Ok(Done::Data(json!({
                    "revision": found.revision,
                    "spreadsheetToken": document,
                    "valueRange": {
                        "majorDimension": "ROWS",
                        "range": format!("{sheet}!{area}"),
                        "revision": found.revision,
                        "values": values,
                    },
                })))
            }
            Self::WriteValues {
                sheet,
                area,
                values,
            } => {
                let found = inner
                    .state
                    .documents
                    .open(document, writes)?
                    .open_sheet(&sheet)?;
                let written = values::write(found, area, &values)?;
                for file in &written.replaced {
                    inner.shelf.remove(file);
                }
                Ok(Done::Data(json!({
                    "revision": written.revision,
                    "spreadsheetToken": document,
                    "updatedCells": written.rows * written.columns,
                    "updatedColumns": written.columns,
                    "updatedRows": written.rows,
                    "updatedRange": format!("{sheet}!{area}"),
                })))
            }
            Self::AddDimension {
                sheet,
                rows,
                columns,
            } => {
                let found = inner
                    .state
                    .documents
                    .open(document, writes)?
                    .open_sheet(&sheet)?;
                found.grow(rows, columns)?;
                let major = if rows > 0 { "ROWS" } else { "COLUMNS" };
                Ok(Done::Data(
                    json!({"addCount": rows + columns, "majorDimension": major}),
                ))
            }
            Self::Media { file } => {
                let bytes = inner.shelf.get(&file).ok_or(Refusal::NoMedia)?;
                Ok(Done::Media(media_type_of(&bytes), bytes))
            }
        })
    }
}

fn json_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::Json(error.to_string()))
}

fn credentials<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    // Only where it is wrong, never what it says: the body holds a secret.
    serde_json::from_slice(body).map_err(|error| {
        Refusal::CredentialsShape(format!("line {} column {}", error.line(), error.column()))
    })
}

fn picture(body: &[u8]) -> Result<Picture, Refusal> {
    let request = body::read(body)?;
    let (sheet, at) = check_range(&request.range)?;
    check_name(&request.name)?;
    let format = check_image(&request.image)?;
    let size = ::image::ImageReader::new(Cursor::new(&request.image))
        .with_guessed_format()
        .ok()
        .and_then(|reader| reader.into_dimensions().ok());
    Ok(Picture {
        sheet,
        at,
        name: request.name,
        hash: ContentHash::of(&request.image),
        bytes: request.image.into(),
        format,
        size,
        encoding: request.encoding,
    })
}

impl Picture {
    fn write(
        self,
        inner: &mut Inner,
        token: &str,
        range_field: &str,
        written_ms: u64,
    ) -> Result<Done, Refusal> {
        let file_token = inner.shelf.token();
        let cell = ImageCell {
            name: self.name,
            hash: self.hash,
            length: self.bytes.len() as u64,
            format: self.format,
            width: self.size.map(|(width, _)| width),
            height: self.size.map(|(_, height)| height),
            encoding: self.encoding,
            file_token: file_token.clone(),
            revision: 0,
            written_ms,
        };
        let document = inner.state.documents.open(token, true)?;
        let (revision, replaced) = document.put_image(&self.sheet, self.at, cell)?;
        if let Some(replaced) = replaced {
            inner.shelf.remove(&replaced);
        }
        inner.shelf.put(&file_token, self.bytes);
        Ok(Done::Data(json!({
            "spreadsheetToken": token,
            "revision": revision,
            range_field: format!("{}!{at}:{at}", self.sheet, at = self.at),
        })))
    }
}

fn dimension(body: &[u8]) -> Result<Work, Refusal> {
    #[derive(Deserialize)]
    struct Request {
        dimension: Dimension,
    }
    #[derive(Deserialize)]
    struct Dimension {
        #[serde(rename = "sheetId")]
        sheet: String,
        #[serde(rename = "majorDimension")]
        major: String,
        length: u32,
    }
    let Request { dimension } = json_body(body)?;
    // 1 to 5,000 in one call (open.feishu.cn, "Add rows and columns").
    if !(1..=5_000).contains(&dimension.length) {
        return Err(Refusal::Range(format!(
            "length {} is not 1 to 5000",
            dimension.length
        )));
    }
    let (rows, columns) = match dimension.major.as_str() {
        "ROWS" => (dimension.length, 0),
        "COLUMNS" => (0, dimension.length),
        other => return Err(Refusal::Range(format!("majorDimension {other:?}"))),
    };
    Ok(Work::AddDimension {
        sheet: dimension.sheet,
        rows,
        columns,
    })
}

fn refresh(shared: &Shared, inner: &mut Inner, request: &RefreshRequest) -> Result<Done, Refusal> {
    if request.grant_type != "refresh_token" {
        return Err(Refusal::CredentialsShape(format!(
            "grant_type {:?}",
            request.grant_type
        )));
    }
    if request.client_id != shared.options.app_id {
        return Err(Refusal::AppUnknown(request.client_id.clone()));
    }
    if request.client_secret != shared.options.app_secret {
        return Err(Refusal::SecretWrong);
    }
    let pair = inner.tokens.refresh(&request.refresh_token, shared.now())?;
    inner.state.tokens_made = inner.tokens.made();
    Ok(Done::Beside(json!({
        "access_token": pair.access,
        "expires_in": pair.expires_in,
        "refresh_token": pair.refresh,
        "refresh_token_expires_in": 604_800,
        "token_type": "Bearer",
    })))
}

fn wiki_node(inner: &mut Inner, node: &str) -> Result<Done, Refusal> {
    let document = inner
        .state
        .documents
        .by_wiki_node(node)
        .ok_or(Refusal::NoWikiNode)?;
    Ok(Done::Data(json!({"node": {
        "space_id": "7000000000000000001",
        "node_token": node,
        "node_type": "origin",
        "obj_token": document.token,
        "obj_type": "sheet",
        "title": document.title,
        "has_child": false,
    }})))
}

fn sheets(document: &Document) -> Vec<Value> {
    let sheets = document.sheets.iter().enumerate();
    sheets
        .map(|(index, sheet)| {
            let mut value = json!({
                "sheet_id": sheet.id,
                "title": sheet.title,
                "index": index,
                "hidden": sheet.hidden,
                "resource_type": sheet.resource_type,
            });
            // Sheets of another kind have no grid; merges are absent where there are none.
            if sheet.resource_type == "sheet" {
                value["grid_properties"] = json!({
                    "frozen_row_count": 0,
                    "frozen_column_count": 0,
                    "row_count": sheet.rows,
                    "column_count": sheet.columns,
                });
                if !sheet.merges.is_empty() {
                    value["merges"] = json!(sheet.merges);
                }
            }
            value
        })
        .collect()
}

/// The answer of the older call, which counts merged cells in its own way.
fn meta_info(document: &Document, protected: bool) -> Value {
    let sheets = document.sheets.iter().enumerate();
    let sheets: Vec<Value> = sheets
        .map(|(index, sheet)| {
            let merges = sheet.merges.iter().map(|merge| {
                json!({
                    "startRowIndex": merge.start_row_index,
                    "startColumnIndex": merge.start_column_index,
                    "rowCount": merge.end_row_index - merge.start_row_index + 1,
                    "columnCount": merge.end_column_index - merge.start_column_index + 1,
                })
            });
            let mut value = json!({
                "sheetId": sheet.id,
                "title": sheet.title,
                "index": index,
                "rowCount": sheet.rows,
                "columnCount": sheet.columns,
                "frozenRowCount": 0,
                "frozenColCount": 0,
                "merges": merges.collect::<Vec<_>>(),
            });
            if sheet.resource_type != "sheet" {
                value["blockInfo"] =
                    json!({"blockToken": "blk", "blockType": sheet.resource_type.to_uppercase()});
            }
            if protected {
                value["protectedRange"] = sheet.protected_ranges().into();
            }
            value
        })
        .collect();
    json!({
        "spreadsheetToken": document.token,
        "properties": {"title": document.title, "sheetCount": sheets.len(), "revision": 0},
        "sheets": sheets,
    })
}

/// The media type of a format.
pub fn media_type(format: Format) -> &'static str {
    match format {
        Format::Png => "image/png",
        Format::Jpeg => "image/jpeg",
        Format::Gif => "image/gif",
        Format::Bmp => "image/bmp",
        Format::Tiff => "image/tiff",
        Format::Heic => "image/heic",
        Format::Bpg => "image/bpg",
    }
}

fn media_type_of(bytes: &[u8]) -> &'static str {
    use crate::image::{HEAD_BYTES, Recognised, recognise};
    match recognise(&bytes[..bytes.len().min(HEAD_BYTES)]) {
        Recognised::Accepted(format) => media_type(format),
        Recognised::Blank | Recognised::Other(_) => "application/octet-stream",
    }
}
