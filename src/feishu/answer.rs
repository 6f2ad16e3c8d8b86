//! What came of a request: an answer read and judged, or the reason why there is none, in words for people.
//! Makes no request.

use std::error::Error as _;
use std::time::Duration;

use bytesize::ByteSize;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;

use super::body::SourceFault;
use super::class::{Class, classify};
use super::error::{CallError, Outcome, Refusal};
use super::limit::Late;
use super::wire::Answer;
use crate::config::SpreadsheetToken;

/// Longest answer read, in bytes: the API's own bound for its longest.
const ANSWER_MOST: usize = 10 * 1024 * 1024;
/// Longest wait a server can ask for.
const LONGEST_WAIT: Duration = Duration::from_mins(10);

/// Reads at most [`ANSWER_MOST`] bytes.
pub(super) async fn read_answer(
    mut response: reqwest::Response,
) -> Result<Vec<u8>, reqwest::Error> {
    let mut text = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        text.extend_from_slice(&chunk);
        if text.len() > ANSWER_MOST {
            text.clear();
            break;
        }
    }
    Ok(text)
}

/// Where a write goes.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub spreadsheet: &'a SpreadsheetToken,
    pub range: &'a str,
}

/// What the answer is: a success, or what it asks of us. The vendor has code 0 as success whatever the
/// status; with a status that says otherwise only the answer to a write that names its place is taken
/// for one, as nothing else has something to show for it.
pub(super) fn judge(
    status: StatusCode,
    headers: &HeaderMap,
    text: &[u8],
    log_id: Option<String>,
    place: Option<Place<'_>>,
) -> Result<(Answer, Option<String>), CallError> {
    let parsed: Option<Answer> = serde_json::from_slice(text).ok();
    let code = parsed.as_ref().map(|answer| answer.code);
    let is_written = |answer: &Answer| {
        let named = place.map(|place| fits(answer, place));
        named == Some((Some(true), Some(true)))
    };
    match parsed {
        Some(answer) if answer.code == 0 && (status.is_success() || is_written(&answer)) => {
            Ok((answer, log_id))
        }
        parsed => Err(CallError::Refused(Refusal {
            class: classify(status.as_u16(), code),
            status: status.as_u16(),
            code,
            msg: parsed.map_or_else(|| no_json(text), |answer| printable(&answer.msg)),
            log_id,
            wait: asked_wait(headers),
        })),
    }
}

/// The range and the spreadsheet that the answer to a write names.
fn named(answer: &Answer) -> (Option<&str>, Option<&str>) {
    let told = |field| answer.data(field).as_str();
    let range = told("updateRange").or_else(|| told("updatedRange"));
    (range, told("spreadsheetToken"))
}

/// Whether range and spreadsheet are those that were sent; `None` where the answer names none.
fn fits(answer: &Answer, place: Place<'_>) -> (Option<bool>, Option<bool>) {
    let (range, spreadsheet) = named(answer);
    let single = place.range.split(':').next();
    (
        range.map(|range| range == place.range || Some(range) == single),
        spreadsheet.map(|spreadsheet| spreadsheet == place.spreadsheet.as_str()),
    )
}

/// Success for another place than the one sent is a fault: nobody knows which cell changed.
pub(super) fn check_place(
    answer: &Answer,
    place: Place<'_>,
    log_id: Option<String>,
) -> Result<(), CallError> {
    let (range_fits, spreadsheet_fits) = fits(answer, place);
    if range_fits != Some(false) && spreadsheet_fits != Some(false) {
        return Ok(());
    }
    let Place { spreadsheet, range } = place;
    let (place, document) = named(answer);
    let (place, document) = (place.unwrap_or("?"), document.unwrap_or("?"));
    Err(CallError::Refused(Refusal {
        class: Class::Unknown,
        status: 200,
        code: None,
        msg: printable(&format!(
            "success for {place} in {document} instead of {range} in {spreadsheet}"
        )),
        log_id,
        wait: None,
    }))
}

/// A wait that the server names, in seconds.
fn asked_wait(headers: &HeaderMap) -> Option<Duration> {
    let seconds = |name| header(headers, name)?.trim().parse::<f64>().ok();
    let named = seconds("x-ogw-ratelimit-reset").or_else(|| seconds("retry-after"))?;
    let wait = Duration::try_from_secs_f64(named).ok()?;
    // None at all would be an invitation to go on at full pace: then our own back-off holds.
    (!wait.is_zero()).then(|| wait.min(LONGEST_WAIT))
}

/// A header as one bounded line.
pub(super) fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(printable)
}

/// A fresh token was refused as well: no other would do.
pub(super) fn still_refused(refusal: Refusal) -> CallError {
    CallError::Refused(Refusal {
        class: Class::Credentials,
        ..refusal
    })
}

/// A token call that succeeded and gave none.
pub(super) fn no_token(log_id: Option<String>) -> CallError {
    CallError::Refused(Refusal {
        class: Class::Busy,
        status: 200,
        code: None,
        msg: "the answer holds no token".into(),
        log_id,
        wait: None,
    })
}

/// The token call itself has no token to renew.
pub(super) fn as_credentials(error: CallError) -> CallError {
    match error {
        CallError::Refused(refusal) if refusal.class == Class::Token => still_refused(refusal),
        other => other,
    }
}

/// There is no answer.
pub(super) fn network(error: reqwest::Error) -> CallError {
    // Without a connection nothing was sent; after that nobody knows.
    let (outcome, class) = if error.is_connect() {
        (Outcome::Untouched, Class::Unreached)
    } else {
        (Outcome::Unknown, Class::Busy)
    };
    let error = error.without_url();
    let why = chain(&error);
    let kind = match () {
        // The words of rustls, which reqwest hands on as text alone.
        () if why.contains("invalid peer certificate") => {
            "the API's certificate is not trusted: see `feishu.ca_file` and this machine's clock"
        }
        () if error.is_connect() => "the API cannot be reached",
        () if error.is_timeout() => "the API did not answer in time",
        () => "the connection to the API broke",
    };
    CallError::Network {
        what: format!("{kind} ({why})"),
        outcome,
        class,
    }
}

/// A write that passed a limit of time with so many bytes of its body left.
pub(super) fn given_up(limit: Late, left: u64) -> CallError {
    let sent = match left {
        0 => "all was sent".to_owned(),
        left => format!("{} were not sent yet", ByteSize(left).display().iec()),
    };
    let what = match limit {
        Late::Idle(idle) => {
            format!("the API did not answer in time (nothing moved for {idle:.0?}; {sent})")
        }
        Late::Slow(took) => {
            format!("the API did not answer in time (the link is too slow: {took:.0?}; {sent})")
        }
    };
    // Nothing can come of a body that is not whole.
    let outcome = match left {
        0 => Outcome::Unknown,
        _ => Outcome::Untouched,
    };
    CallError::Network {
        what,
        outcome,
        class: Class::Busy,
    }
}

/// The innermost causes, which say more than reqwest's own words.
pub(super) fn chain(error: &reqwest::Error) -> String {
    let mut texts = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        texts.push(cause.to_string());
        source = cause.source();
    }
    texts.dedup();
    match texts.len() {
        0 => printable(&error.to_string()),
        many => printable(&texts[many.saturating_sub(2)..].join(": ")),
    }
}

fn no_json(text: &[u8]) -> String {
    match String::from_utf8_lossy(&text[..text.len().min(80)]).trim() {
        "" => "an empty answer".into(),
        start => printable(&format!("not JSON: {start}")),
    }
}

/// One line of bounded length, whatever the server said.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(300)
        .collect()
}

impl From<SourceFault> for CallError {
    fn from(fault: SourceFault) -> Self {
        Self::Source(fault)
    }
}
#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[rstest]
    #[case(&[("x-ogw-ratelimit-reset", "3")], Some(3.0))]
    #[case(&[("retry-after", "7"), ("x-ogw-ratelimit-reset", "3")], Some(3.0))]
    #[case(&[("retry-after", "7")], Some(7.0))]
    #[case(&[("x-ogw-ratelimit-reset", "1e9")], Some(600.0))]
    #[case(&[("x-ogw-ratelimit-reset", "-1")], None)]
    #[case(&[("x-ogw-ratelimit-reset", "0")], None)]
    #[case(&[("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT")], None)]
    #[case(&[], None)]
    fn a_wait_is_read_from_the_headers(
        #[case] pairs: &[(&'static str, &'static str)],
        #[case] seconds: Option<f64>,
    ) {
        assert_eq!(
            asked_wait(&headers(pairs)).map(|wait| wait.as_secs_f64()),
            seconds
        );
    }

    #[rstest]
    #[case(200, r#"{"code":0,"msg":"success","data":{}}"#, None)]
    #[case(200, r#"{"code":90218,"msg":"locked"}"#, Some(Class::Cell))]
    #[case(500, r#"{"code":0,"msg":"success","data":{}}"#, Some(Class::Busy))]
    #[case(
        200,
        "<html>Sign in to the hotel's network</html>",
        Some(Class::Unreached)
    )]
    #[case(200, "", Some(Class::Unreached))]
    #[case(307, "", Some(Class::Unreached))]
    fn success_takes_both_the_status_and_the_code(
        #[case] status: u16,
        #[case] text: &str,
        #[case] class: Option<Class>,
    ) {
        let status = StatusCode::from_u16(status).unwrap();
        let judged = judge(status, &HeaderMap::new(), text.as_bytes(), None, None);
        assert_eq!(judged.err().and_then(|error| error.class()), class);
    }

    #[rstest]
    #[case(500, 0, r#"{"updateRange":"Q7!H7:H7","spreadsheetToken":"Tok"}"#, None)]
    #[case(404, 0, r#"{"updatedRange":"Q7!H7","spreadsheetToken":"Tok"}"#, None)]
    #[case(200, 0, "{}", None)]
    #[case(500, 0, r#"{"updateRange":"Q7!H7:H7"}"#, Some(Class::Busy))]
    #[case(500, 0, r#"{"spreadsheetToken":"Tok"}"#, Some(Class::Busy))]
    #[case(
        500,
        0,
        r#"{"updateRange":"Q7!H8:H8","spreadsheetToken":"Tok"}"#,
        Some(Class::Busy)
    )]
    #[case(
        500,
        0,
        r#"{"updateRange":"Q7!H7:H7","spreadsheetToken":"Other"}"#,
        Some(Class::Busy)
    )]
    #[case(
        500,
        90218,
        r#"{"updateRange":"Q7!H7:H7","spreadsheetToken":"Tok"}"#,
        Some(Class::Cell)
    )]
    fn a_write_that_names_its_place_is_done_whatever_the_status(
        #[case] status: u16,
        #[case] code: i64,
        #[case] data: &str,
        #[case] class: Option<Class>,
    ) {
        let status = StatusCode::from_u16(status).unwrap();
        let text = format!(r#"{{"code":{code},"msg":"m","data":{data}}}"#);
        let spreadsheet = "Tok".parse().unwrap();
        let place = Place {
            spreadsheet: &spreadsheet,
            range: "Q7!H7:H7",
        };
        let judge = |place| judge(status, &HeaderMap::new(), text.as_bytes(), None, place);
        let failed = judge(Some(place)).err();
        assert_eq!(failed.and_then(|error| error.class()), class);
        // No other call has a place to name.
        assert_eq!(judge(None).is_ok(), status.is_success() && code == 0);
    }

    #[rstest]
    #[case(r#"{"updateRange":"Q7!H7:H7","spreadsheetToken":"Tok"}"#, true)]
    #[case(r#"{"updatedRange":"Q7!H7:H7"}"#, true)]
    #[case(r#"{"updateRange":"Q7!H7"}"#, true)]
    #[case("{}", true)]
    #[case(r#"{"updateRange":"Q7!H8:H8"}"#, false)]
    #[case(r#"{"spreadsheetToken":"Other"}"#, false)]
    fn success_must_be_for_the_place_that_was_sent(#[case] data: &str, #[case] fits: bool) {
        let text = format!(r#"{{"code":0,"data":{data}}}"#);
        let answer: Answer = serde_json::from_str(&text).unwrap();
        let spreadsheet = "Tok".parse().unwrap();
        let place = Place {
            spreadsheet: &spreadsheet,
            range: "Q7!H7:H7",
        };
        let checked = check_place(&answer, place, None);
        assert_eq!(checked.is_ok(), fits);
    }

    #[test]
    fn a_servers_words_are_one_bounded_line() {
        let told = no_json("<html>\n\u{1b}[31m".repeat(99).as_bytes());
        assert!(
            !told.contains(['\n', '\u{1b}']) && told.len() < 100,
            "{told}"
        );
    }
}
