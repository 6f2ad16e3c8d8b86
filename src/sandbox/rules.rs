//! What the API accepts, and the code and status it answers with otherwise. Pure: sees texts and
//! bytes, never a connection, a document or a clock.
//!
//! Codes are those of the vendor's tables. The HTTP status beside a code is not documented; the
//! ones here are mixed on purpose (200, 400, 403, 404), as they are in the field, so that a client
//! must go by the code.

use std::io::Cursor;

use super::endpoint::Endpoint;
use crate::a1::CellRef;
use crate::image::{Completeness, Format, HEAD_BYTES, Recognised, completeness, recognise};

/// The largest image, in bytes: the limit of the vendor's own client.
pub const MAX_IMAGE_BYTES: usize = 20 * 1024 * 1024;
/// The largest body that is read at all, in bytes: an image of the largest size as a JSON array
/// with a blank after each comma, and room for the other fields.
pub const MAX_BODY_BYTES: u64 = 128 * 1024 * 1024;
/// Distinct images in one spreadsheet, unless a document says otherwise.
pub const MAX_IMAGES: u32 = 4_000;
/// The media type that a call with a body must declare.
pub const CONTENT_TYPE: &str = "application/json; charset=utf-8";
/// The suffixes that `name` may end in, case ignored.
pub const SUFFIXES: [&str; 10] = [
    "png", "jpeg", "jpg", "gif", "bmp", "jfif", "exif", "tiff", "bpg", "heic",
];

/// Why a call is refused. `Display` is the answer's `msg`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message says what it is")]
pub enum Refusal {
    #[error(
        "Missing access token for authorization. Please make a test attempt with the correct token."
    )]
    TokenMissing,
    #[error("Invalid access token: it starts with neither `t-` nor `u-`.")]
    TokenShape,
    #[error("Invalid access token for authorization: unknown or expired tenant_access_token.")]
    TenantTokenInvalid,
    #[error("Invalid access token for authorization: unknown user_access_token.")]
    UserTokenInvalid,
    #[error("Authentication token expired: user_access_token.")]
    UserTokenExpired,
    #[error("invalid param: {0}")]
    CredentialsShape(String),
    #[error("app {0:?} is unavailable")]
    AppUnknown(String),
    #[error("app secret invalid")]
    SecretWrong,
    #[error("invalid_grant: the refresh token is unknown or was used before")]
    RefreshSpent,
    #[error("request trigger frequency limit: {limit} calls, free again in {reset_secs} s")]
    Throttled { limit: u32, reset_secs: u64 },
    #[error("too many request: another write call for spreadsheet {0} is in flight")]
    Overlap(String),
    #[error("a body needs an exact Content-Length; this one came {0}")]
    Unframed(&'static str),
    #[error("Content-Type must be `{CONTENT_TYPE}`, but is {0:?}")]
    ContentType(String),
    #[error("the body is not the JSON that this call takes: {0}")]
    Json(String),
    #[error("validate RangeVal fail: {0}")]
    Range(String),
    #[error("exceed sheet bounds: {0}")]
    Bounds(String),
    #[error("Image format is unknown: {0}")]
    Image(String),
    #[error("request too large: {0}")]
    TooLarge(String),
    #[error("forbidden: the app may not {0} this spreadsheet")]
    Forbidden(&'static str),
    #[error("spreadsheet not found")]
    NoSpreadsheet,
    #[error("spreadsheet was deleted")]
    Deleted,
    #[error("not exist: {0} is the token of a wiki node, not of a spreadsheet")]
    WikiToken(String),
    #[error("wiki node not found")]
    NoWikiNode,
    #[error("sheetId not found: {0:?}")]
    NoSheet(String),
    #[error("cell {0} is locked")]
    Locked(String),
    #[error("the spreadsheet holds {0} images already, its limit")]
    ImagesFull(u32),
    #[error("the sheet would exceed its limit: {0}")]
    CellsFull(String),
    #[error("the values do not fit into the answer: {0}")]
    AnswerTooLarge(String),
    #[error("invalid param: {0}")]
    Parameter(&'static str),
    #[error("media not found")]
    NoMedia,
    #[error("no such call: {0}")]
    NoEndpoint(String),
}

impl Refusal {
    /// The HTTP status and the code, in the family that `endpoint` uses.
    pub fn answer(&self, endpoint: Endpoint) -> (u16, i64) {
        let third = endpoint.third_version();
        match self {
            Self::TokenMissing => (400, 99_991_661),
            Self::TokenShape => (400, 99_991_671),
            Self::TenantTokenInvalid => (400, 99_991_663),
            Self::UserTokenInvalid => (401, 99_991_668),
            Self::UserTokenExpired => (401, 99_991_677),
            Self::CredentialsShape(_) => (200, 10_003),
            Self::AppUnknown(_) => (200, 10_014),
            Self::SecretWrong => (200, 10_015),
            Self::RefreshSpent => (400, 20_064),
            Self::Throttled { .. } => (429, 99_991_400),
            Self::Overlap(_) => (400, 90_217),
            Self::Unframed(_) => (411, 9_499),
            Self::ContentType(_) => (415, 9_499),
            Self::Json(_) => (400, 9_499),
            Self::Range(_) => (400, 90_202),
            Self::Bounds(_) => (400, 90_212),
            Self::Image(_) => (400, 90_204),
            Self::TooLarge(_) => (413, 90_227),
            Self::Forbidden(_) if third => (403, 1_310_213),
            Self::Forbidden(_) => (403, 90_213),
            Self::NoSpreadsheet if third => (404, 1_310_214),
            Self::Deleted if third => (404, 1_310_249),
            Self::NoSpreadsheet | Self::Deleted => (404, 90_214),
            Self::WikiToken(_) => (404, 91_402),
            Self::NoWikiNode => (400, 131_005),
            Self::NoSheet(_) => (400, 90_215),
            Self::Locked(_) => (200, 90_218),
            Self::ImagesFull(_) => (200, 90_226),
            Self::CellsFull(_) => (200, 90_219),
            Self::AnswerTooLarge(_) => (400, 90_221),
            Self::Parameter(_) => (400, 1_063_001),
            Self::NoMedia => (404, 1_061_003),
            Self::NoEndpoint(_) => (404, 404),
        }
    }
}

/// Checks how a body is framed and what it says it is, from the values of `Content-Length`,
/// `Transfer-Encoding` and `Content-Type`; returns its length in bytes.
///
/// # Errors
/// [`Refusal::Unframed`], [`Refusal::TooLarge`] or [`Refusal::ContentType`].
pub fn check_headers(
    endpoint: Endpoint,
    content_length: Option<&str>,
    transfer_encoding: Option<&str>,
    content_type: Option<&str>,
) -> Result<u64, Refusal> {
    if transfer_encoding.is_some() {
        return Err(Refusal::Unframed("chunked"));
    }
    let length = content_length
        .ok_or(Refusal::Unframed("without one"))?
        .parse()
        .map_err(|_| Refusal::Unframed("with one that is no number"))?;
    if length > MAX_BODY_BYTES {
        return Err(Refusal::TooLarge(format!("{length} bytes")));
    }
    let given = content_type.unwrap_or_default();
    let plain: String = given
        .chars()
        .filter(|c| *c != ' ')
        .map(|c| c.to_ascii_lowercase())
        .collect();
    // The pages of the token calls ask for the type only; the others fix the whole value.
    let good = if endpoint.gives_token() {
        plain.split(';').next() == Some("application/json")
    } else {
        plain == CONTENT_TYPE.replace(' ', "")
    };
    if good {
        Ok(length)
    } else {
        Err(Refusal::ContentType(given.to_owned()))
    }
}

/// Reads the range of an image: `<sheetId>!<cell>:<cell>`, the same cell twice.
///
/// # Errors
/// [`Refusal::Range`] for any other form, [`Refusal::Bounds`] for a cell that no sheet can have.
pub fn check_range(range: &str) -> Result<(String, CellRef), Refusal> {
    let wrong = |why: &str| Refusal::Range(format!("{range:?} {why}"));
    let (sheet, cells) = range.split_once('!').ok_or_else(|| wrong("has no `!`"))?;
    if sheet.is_empty() || !sheet.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(wrong("does not start with a sheet id"));
    }
    let (first, last) = cells
        .split_once(':')
        .ok_or_else(|| wrong("is not `<sheetId>!<cell>:<cell>`"))?;
    if first != last {
        return Err(wrong("names more than one cell"));
    }
    Ok((sheet.to_owned(), check_cell(first, range)?))
}

/// Reads one cell of `range` in the form the API documents: capital letters, no leading zero.
pub(super) fn check_cell(text: &str, range: &str) -> Result<CellRef, Refusal> {
    use crate::a1::A1Error;
    match text.parse::<CellRef>() {
        Ok(cell) if cell.to_string() == text => Ok(cell),
        Err(A1Error::ColumnBeyond(_) | A1Error::RowBeyond(_)) => {
            Err(Refusal::Bounds(range.to_owned()))
        }
        _ => Err(Refusal::Range(format!("{text:?} in {range:?} is no cell"))),
    }
}

/// Checks that `name` ends in a suffix that the API takes.
///
/// # Errors
/// [`Refusal::Image`].
pub fn check_name(name: &str) -> Result<(), Refusal> {
    let known = name.rsplit_once('.').is_some_and(|(stem, suffix)| {
        !stem.is_empty() && SUFFIXES.iter().any(|s| s.eq_ignore_ascii_case(suffix))
    });
    if known {
        Ok(())
    } else {
        Err(Refusal::Image(format!(
            "the name {name:?} has no known suffix"
        )))
    }
}

/// Checks that the bytes are one whole image of a format that the API takes.
///
/// # Errors
/// [`Refusal::TooLarge`] or [`Refusal::Image`].
pub fn check_image(bytes: &[u8]) -> Result<Format, Refusal> {
    if bytes.len() > MAX_IMAGE_BYTES {
        return Err(Refusal::TooLarge(format!(
            "the image has {} bytes",
            bytes.len()
        )));
    }
    let format = match recognise(&bytes[..bytes.len().min(HEAD_BYTES)]) {
        Recognised::Accepted(format) => format,
        Recognised::Blank => return Err(Refusal::Image("the content is only zeros".into())),
        Recognised::Other(what) => return Err(Refusal::Image(format!("the content is {what}"))),
    };
    match completeness(format, &mut Cursor::new(bytes), bytes.len() as u64) {
        Ok(Completeness::Complete | Completeness::Unknowable) => Ok(format),
        Ok(Completeness::Other(name)) => Err(Refusal::Image(format!("the content is {name}"))),
        Ok(Completeness::Incomplete(what)) => Err(Refusal::Image(format!("incomplete, {what}"))),
        Err(error) => Err(Refusal::Image(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::documented("Q7PlXT!H7:H7", Ok(("Q7PlXT", "H7")))]
    #[case::no_sheet("H7:H7", Err(90_202))]
    #[case::empty_sheet("!H7:H7", Err(90_202))]
    #[case::single_cell("Q7PlXT!H7", Err(90_202))]
    #[case::two_cells("Q7PlXT!H7:H8", Err(90_202))]
    #[case::lower_case("Q7PlXT!h7:h7", Err(90_202))]
    #[case::leading_zero("Q7PlXT!H07:H07", Err(90_202))]
    #[case::column("Q7PlXT!H:H", Err(90_202))]
    #[case::row_zero("Q7PlXT!H0:H0", Err(90_202))]
    #[case::blank("Q7PlXT! H7: H7", Err(90_202))]
    #[case::slash("../x!H7:H7", Err(90_202))]
    #[case::beyond_columns("Q7PlXT!SFA1:SFA1", Err(90_212))]
    #[case::beyond_rows("Q7PlXT!A5000001:A5000001", Err(90_212))]
    fn a_range_is_one_cell_written_twice(
        #[case] range: &str,
        #[case] expected: Result<(&str, &str), i64>,
    ) {
        let read = check_range(range)
            .map(|(sheet, cell)| (sheet, cell.to_string()))
            .map_err(|refusal| refusal.answer(Endpoint::ValuesImage).1);
        let expected = expected.map(|(sheet, cell)| (sheet.to_owned(), cell.to_owned()));
        assert_eq!(read, expected);
    }

    #[rstest]
    #[case("test.png", true)]
    #[case("TEST.JPEG", true)]
    #[case("a.b.Heic", true)]
    #[case("photo.exif", true)]
    #[case("test", false)]
    #[case("test.webp", false)]
    #[case("test.tif", false)]
    #[case("test.png ", false)]
    #[case("png", false)]
    #[case(".png", false)]
    #[case("", false)]
    fn a_name_needs_a_known_suffix(#[case] name: &str, #[case] good: bool) {
        assert_eq!(check_name(name).is_ok(), good);
        if let Err(refusal) = check_name(name) {
            assert_eq!(refusal.answer(Endpoint::ValuesImage).1, 90_204);
        }
    }

    #[rstest]
    #[case::exact(Some("7"), None, Some(CONTENT_TYPE), Ok(7))]
    #[case::other_spelling(Some("7"), None, Some("Application/JSON;charset=UTF-8"), Ok(7))]
    #[case::no_charset(Some("7"), None, Some("application/json"), Err((415, 9_499)))]
    #[case::no_type(Some("7"), None, None, Err((415, 9_499)))]
    #[case::chunked(None, Some("chunked"), Some(CONTENT_TYPE), Err((411, 9_499)))]
    #[case::no_length(None, None, Some(CONTENT_TYPE), Err((411, 9_499)))]
    #[case::huge(Some("134217729"), None, Some(CONTENT_TYPE), Err((413, 90_227)))]
    fn a_body_says_its_length_and_type(
        #[case] length: Option<&str>,
        #[case] transfer: Option<&str>,
        #[case] content_type: Option<&str>,
        #[case] expected: Result<u64, (u16, i64)>,
    ) {
        let checked = check_headers(Endpoint::ValuesImage, length, transfer, content_type)
            .map_err(|refusal| refusal.answer(Endpoint::ValuesImage));
        assert_eq!(checked, expected);
    }

    #[test]
    fn a_token_call_needs_no_charset() {
        let checked = check_headers(
            Endpoint::TenantToken,
            Some("7"),
            None,
            Some("application/json"),
        );
        assert_eq!(checked, Ok(7));
    }

    #[test]
    fn a_whole_image_is_taken_and_everything_else_is_format_unknown() {
        let png = fixture::png(3, 2);
        assert_eq!(check_image(&png), Ok(Format::Png));
        for bytes in [&b""[..], b"hello", &png[..4]] {
            let refusal = check_image(bytes).unwrap_err();
            assert_eq!(refusal.answer(Endpoint::ValuesImage).1, 90_204, "{refusal}");
        }
    }

    #[test]
    fn a_truncated_image_is_format_unknown() {
        let png = fixture::png(3, 2);
        let refusal = check_image(&png[..png.len() - 1]).unwrap_err();
        assert_eq!(refusal.answer(Endpoint::ValuesImage).1, 90_204);
    }

    #[test]
    fn an_image_over_the_limit_is_too_large() {
        let mut bytes = fixture::png(3, 2);
        bytes.resize(MAX_IMAGE_BYTES + 1, 0);
        let refusal = check_image(&bytes).unwrap_err();
        assert_eq!(refusal.answer(Endpoint::ValuesImage).1, 90_227);
    }

    #[rstest]
    #[case(Refusal::NoSpreadsheet, 90_214, 1_310_214)]
    #[case(Refusal::Forbidden("edit"), 90_213, 1_310_213)]
    #[case(Refusal::Deleted, 90_214, 1_310_249)]
    #[case(Refusal::WikiToken("w".into()), 91_402, 91_402)]
    fn the_third_version_has_codes_of_its_own(
        #[case] refusal: Refusal,
        #[case] second: i64,
        #[case] third: i64,
    ) {
        assert_eq!(refusal.answer(Endpoint::ValuesImage).1, second);
        assert_eq!(refusal.answer(Endpoint::SheetsQuery).1, third);
    }
}
