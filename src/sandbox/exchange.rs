//! One call of the API from its head to its answer: the order in which the rules are asked and the
//! faults carried out.
//!
//! 1. the head has come: it counts in the rate windows and, if it writes, is in flight; a call
//!    refused for its head has its body read all the same, so that the caller sees the answer
//! 2. a fault is taken; a wrong answer before the body goes out
//! 3. the body is read
//! 4. the body is checked; a fault for its cell is taken
//! 5. waits: latency, fault, hold
//! 6. the effect, under the lock
//! 7. waits, cuts and wrong answers after the effect

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::Response;
use bytes::Bytes;
use http_body::{Body as _, Frame};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::answer::Answer;
use super::endpoint::Endpoint;
use super::faults::{AnswerWhen, Cut, Fault};
use super::route::Target;
use super::rules::{Refusal, check_headers};
use super::shared::{OpenCall, Shared};
use super::state::{CallRecord, Outcome};
use super::work::Work;

/// Longest body of a call that should have none, in bytes.
const STRAY_BODY: usize = 64 * 1024;
/// Bodies longer than this are read off the runtime, in bytes.
const LARGE_BODY: usize = 256 * 1024;

/// How long a body is swallowed after an answer that did not wait for it.
const LINGER: Duration = Duration::from_secs(1);

/// Cuts the TCP connection that a request came on.
#[derive(Debug, Clone, Default)]
pub struct Wire(pub CancellationToken);

/// How a call ends, other than with an answer.
enum End {
    Answer(Answer),
    Cut,
    /// The caller stopped sending; nobody is left to answer.
    Gone,
}

impl From<Answer> for End {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

/// Serves everything below `/open-apis/`.
pub async fn serve(
    State(shared): State<Arc<Shared>>,
    Extension(wire): Extension<Wire>,
    Path(path): Path<String>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let query = head.uri.query().unwrap_or_default();
    let target = Target::read(head.method.as_str(), &path, query);
    let call = shared.begin(CallRecord {
        id: 0,
        endpoint: target.endpoint,
        method: head.method.to_string(),
        path: head.uri.to_string(),
        spreadsheet: target.spreadsheet.clone(),
        range: None,
        log_id: String::new(),
        body_bytes: 0,
        fault: false,
        held: false,
        outcome: None,
        status: None,
        code: None,
        revision: None,
        wrote: None,
        started_ms: 0,
        ended_ms: None,
    });
    match exchange(&shared, &call, target, &head.headers, body).await {
        End::Answer(answer) => {
            let log_id = call.log_id.clone();
            call.end(|record| {
                record.outcome = Some(Outcome::Answered);
                record.status = Some(answer.status);
                record.code = answer.code;
                record.revision = answer.revision;
            });
            answer.into_response(&log_id)
        }
        End::Cut => {
            call.end(|record| record.outcome = Some(Outcome::Cut));
            wire.0.cancel();
            // The connection's task drops this future together with the socket.
            pending().await
        }
        End::Gone => {
            drop(call);
            wire.0.cancel();
            pending().await
        }
    }
}

async fn exchange(
    shared: &Shared,
    call: &OpenCall,
    target: Target,
    headers: &HeaderMap,
    body: Body,
) -> End {
    let endpoint = target.endpoint;
    let refused = |refusal: &Refusal| -> End {
        Answer::refused(refusal, endpoint, shared.options.throttled_as_400).into()
    };
    // Asked in any case: both count what they see.
    let (pace, flight) = (call.pace(), call.take_flight().await);
    let overlaps = matches!(flight, Err(Refusal::Overlap(_)));
    let framed = if endpoint.has_body() {
        framing(endpoint, headers)
    } else {
        Ok(0)
    };
    let unread = matches!(&framed, Err(Refusal::Unframed(_) | Refusal::TooLarge(_)));
    let length = *framed.as_ref().unwrap_or(&0);
    let head = pace
        .and(flight)
        .and_then(|()| authorize(shared, endpoint, headers))
        .and(framed);
    if let Err(refusal) = head {
        let end = if unread {
            closing(Answer::refused(&refusal, endpoint, false), body)
        } else {
            match read(call, body, 0, None, None).await {
                Ok(()) => refused(&refusal),
                Err(end) => return end,
            }
        };
        // Not before: what its caller broke off is no violation.
        if overlaps {
            call.count_overlap();
        }
        return end;
    }

    // A fault is left for a call that is not refused anyway, so that each counts.
    let mut fault = call.take_fault();
    if let Some(wrong) = wrong_answer(fault.as_ref(), AnswerWhen::BeforeBody) {
        return closing(wrong, body);
    }
    // Held to the end of the call: the decoded picture takes the place of the body.
    let _room = room(shared, length).await;
    let mut bytes = Vec::new();
    if let Err(end) = read(call, body, length, fault.as_ref(), Some(&mut bytes)).await {
        return end;
    }
    if let Some(wrong) = wrong_answer(fault.as_ref(), AnswerWhen::BeforeWrite) {
        wait_before_write(shared, call, fault.as_ref()).await;
        return wrong.into();
    }

    let (target, work) = prepare(target, bytes).await;
    let work = match work {
        Ok(work) => work,
        Err(refusal) => {
            tokio::time::sleep(shared.options.latency).await;
            return refused(&refusal);
        }
    };
    if let Work::Image(picture) = &work {
        call.note(|record| {
            record.range = Some(format!("{}!{at}:{at}", picture.sheet, at = picture.at));
        });
        if fault.is_none() {
            fault = call.take_fault_for_cell(&picture.at.to_string());
        }
    }
    let fault = fault.as_ref();
    wait_before_write(shared, call, fault).await;
    if fault.and_then(|fault| fault.cut) == Some(Cut::BeforeWrite) {
        return End::Cut;
    }
    if let Some(wrong) = wrong_answer(fault, AnswerWhen::BeforeWrite) {
        return wrong.into();
    }
    let picture = work.picture();
    let done = work.apply(shared, &target);
    if done.is_ok() {
        call.note(|record| record.wrote = picture);
    }
    if let Some(fault) = fault {
        tokio::time::sleep(Duration::from_millis(fault.delay_answer_ms)).await;
        if fault.cut == Some(Cut::AfterWrite) {
            return End::Cut;
        }
    }
    if let Some(wrong) = wrong_answer(fault, AnswerWhen::AfterWrite) {
        return wrong.into();
    }
    match done {
        Ok(done) => Answer::done(done, fault).into(),
        Err(refusal) => refused(&refusal),
    }
}

fn wrong_answer(fault: Option<&Fault>, when: AnswerWhen) -> Option<Answer> {
    fault?.answer_at(when).map(Answer::wrong)
}

/// An answer given before the body was read. The connection ends with it, but what still comes is
/// swallowed for a while: closing at once would reset the connection under a caller that is still
/// sending, and the answer would be lost.
fn closing(mut answer: Answer, mut body: Body) -> End {
    answer.header("connection", "close");
    tokio::spawn(tokio::time::timeout(LINGER, async move {
        while let Some(Ok(_)) = next_frame(&mut body).await {}
    }));
    answer.into()
}

async fn next_frame(body: &mut Body) -> Option<Result<Frame<Bytes>, axum::Error>> {
    poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
}

async fn wait_before_write(shared: &Shared, call: &OpenCall, fault: Option<&Fault>) {
    let delay = fault.map_or(0, |fault| fault.delay_write_ms);
    tokio::time::sleep(shared.options.latency + Duration::from_millis(delay)).await;
    call.wait_while_held().await;
}

fn authorize(shared: &Shared, endpoint: Endpoint, headers: &HeaderMap) -> Result<(), Refusal> {
    if endpoint.gives_token() || endpoint == Endpoint::Unknown {
        return Ok(());
    }
    let authorization = text(headers, &header::AUTHORIZATION);
    let now = shared.now();
    shared.look(|inner| inner.tokens.check(authorization, now))
}

fn framing(endpoint: Endpoint, headers: &HeaderMap) -> Result<u64, Refusal> {
    check_headers(
        endpoint,
        text(headers, &header::CONTENT_LENGTH),
        text(headers, &header::TRANSFER_ENCODING),
        text(headers, &header::CONTENT_TYPE),
    )
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Waits until a body of this length may be in memory.
async fn room(shared: &Shared, length: u64) -> Option<OwnedSemaphorePermit> {
    // No body is longer than the whole budget; the semaphore is never closed.
    let kib = u32::try_from(length.div_ceil(1024)).unwrap_or(u32::MAX);
    Arc::clone(&shared.body_budget)
        .acquire_many_owned(kib)
        .await
        .ok()
}

/// Reads a body to its end, into `keep` or into nothing, as slowly as the fault says.
async fn read(
    call: &OpenCall,
    mut body: Body,
    length: u64,
    fault: Option<&Fault>,
    mut keep: Option<&mut Vec<u8>>,
) -> Result<(), End> {
    let cut_after = match fault.and_then(|fault| fault.cut) {
        Some(Cut::InBody { bytes }) => Some(bytes),
        _ => None,
    };
    let rate = fault.and_then(|fault| fault.read_bytes_per_second);
    if let Some(keep) = &mut keep {
        keep.reserve_exact(usize::try_from(length).unwrap_or(0));
    }
    let mut count = 0u64;
    while cut_after.is_none_or(|bytes| count < bytes) {
        let frame = match next_frame(&mut body).await {
            Some(Ok(frame)) => frame,
            Some(Err(_)) => return Err(End::Gone),
            None => break,
        };
        let Some(data) = frame.data_ref() else {
            continue;
        };
        count += data.len() as u64;
        if let Some(keep) = &mut keep {
            // A call that should have no body may still send one; it is not kept for ever.
            if keep.len() + data.len() <= keep.capacity().max(STRAY_BODY) {
                keep.extend_from_slice(data);
            }
        }
        if let Some(rate) = rate {
            let micros = data.len() as u64 * 1_000_000 / u64::from(rate.max(1));
            tokio::time::sleep(Duration::from_micros(micros)).await;
        }
    }
    call.note(|record| record.body_bytes = count);
    if cut_after.is_some() {
        Err(End::Cut)
    } else {
        Ok(())
    }
}

/// Reads a call; a large body elsewhere than on the runtime's threads.
async fn prepare(target: Target, bytes: Vec<u8>) -> (Target, Result<Work, Refusal>) {
    if bytes.len() < LARGE_BODY {
        let work = Work::prepare(&target, &bytes);
        return (target, work);
    }
    let spare = target.clone();
    let elsewhere = tokio::task::spawn_blocking(move || {
        let work = Work::prepare(&target, &bytes);
        (target, work)
    });
    // Fails only when the runtime shuts down.
    elsewhere
        .await
        .unwrap_or_else(|error| (spare, Err(Refusal::Json(error.to_string()))))
}
