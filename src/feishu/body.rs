//! The request body of one image: streamed from its file in constant memory, encoded on the way,
//! hashed while it is read.
//!
//! The length is known before the first byte. The last bytes go out only when the bytes read hash to
//! what was expected, and the caller has let them go; otherwise the body breaks off and the server never
//! gets a whole request. At most
//! [`CHUNKS_AHEAD`] + 2 chunks of a picture are in memory at a time.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::limit::Progress;
use crate::blocking::off_runtime;
use crate::config::ImageEncoding;
use crate::image::{ContentHash, Hasher};

/// Bytes read at a time: a multiple of 3, so that every chunk but the last encodes without padding.
const CHUNK: usize = 96 * 1024;
/// Chunks that may wait for the network.
const CHUNKS_AHEAD: usize = 2;

/// An image to send: an open file and what it must hold.
#[derive(Debug, Clone)]
pub struct Picture {
    /// Read by position from 0; a repeat reads it again.
    pub file: Arc<File>,
    /// Its length in bytes.
    pub length: u64,
    /// Of its bytes.
    pub hash: ContentHash,
}

/// The file is not what it was when it was hashed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceFault {
    /// Other bytes, fewer or more.
    #[error("the file changed while it was read; its newest content follows")]
    Changed,
    /// It cannot be read.
    #[error("the file cannot be read: {0}")]
    Unreadable(String),
    /// The caller did not let the last bytes go.
    #[error("the call was given up before the request was whole")]
    HeldBack,
}

/// A request may begin and not become whole before the other end says so. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Hold(watch::Receiver<bool>);

/// Lets the last bytes go; dropped before, it breaks the request off.
#[derive(Debug)]
pub struct LetGo(watch::Sender<bool>);

/// A hold on a request, and what ends it.
pub fn hold() -> (LetGo, Hold) {
    let (let_go, hold) = watch::channel(false);
    (LetGo(let_go), Hold(hold))
}

impl LetGo {
    /// The request may become whole.
    pub fn let_go(self) {
        self.0.send_replace(true);
    }
}

impl Hold {
    /// Whether the request may become whole, as soon as that is known. Blocks.
    fn ended(mut self, runtime: &Handle) -> bool {
        runtime.block_on(self.0.wait_for(|gone| *gone)).is_ok()
    }
}

/// The body.
pub(super) struct ImageBody {
    parts: mpsc::Receiver<Result<Bytes, SourceFault>>,
    left: u64,
    sending: Arc<Sending>,
}

/// What a body tells while it is sent.
pub(super) struct Sending {
    /// Set when it broke off.
    pub fault: OnceLock<SourceFault>,
    /// Its length in bytes.
    pub length: u64,
    /// What was handed over.
    pub progress: Progress,
}

/// A body that is not read yet: it holds no thread and no part of the picture.
pub(super) struct Prepared {
    picture: Picture,
    encoding: ImageEncoding,
    head: Vec<u8>,
    tail: Vec<u8>,
    length: u64,
    hold: Hold,
}

/// Prepares the body of a request that writes `picture` to `range` under `name`, and is not whole before
/// `hold` ends.
///
/// # Errors
/// When the file had to be read for its length and is not what it was.
pub(super) async fn prepare(
    picture: &Picture,
    encoding: ImageEncoding,
    range: &str,
    name: &str,
    hold: &Hold,
) -> Result<Prepared, SourceFault> {
    let (head, tail) = frame(encoding, range, name);
    let picture = picture.clone();
    let image = match encoding {
        ImageEncoding::Base64 => encoded_length(picture.length),
        ImageEncoding::Array => {
            let picture = picture.clone();
            off_runtime(move || array_length(&picture)).await?
        }
    };
    Ok(Prepared {
        length: head.len() as u64 + image + tail.len() as u64,
        hold: hold.clone(),
        picture,
        encoding,
        head,
        tail,
    })
}

impl Prepared {
    /// Starts reading on a thread of its own, and hands out the body.
    pub(super) fn start(self) -> (ImageBody, Arc<Sending>) {
        let Self {
            picture,
            encoding,
            head,
            tail,
            length,
            hold,
        } = self;
        let (parts, received) = mpsc::channel(CHUNKS_AHEAD);
        let sending = Arc::new(Sending {
            fault: OnceLock::new(),
            length,
            progress: Progress::new(length),
        });
        let (told, runtime) = (Arc::clone(&sending), Handle::current());
        tokio::task::spawn_blocking(move || {
            // A failed hand-over means that nobody wants the body any more.
            let hand_over = |part: Vec<u8>| parts.blocking_send(Ok(part.into())).is_ok();
            let whole = || hold.ended(&runtime);
            if let Err(broken) = produce(&picture, encoding, head, &tail, hand_over, whole) {
                let _ = told.fault.set(broken.clone());
                let _ = parts.blocking_send(Err(broken));
            }
        });
        let body = ImageBody {
            parts: received,
            left: length,
            sending: Arc::clone(&sending),
        };
        (body, sending)
    }
}

/// Length of the base64 form of so many bytes, padding included.
pub fn encoded_length(bytes: u64) -> u64 {
    bytes.div_ceil(3) * 4
}

/// What stands before and after the image. The image comes last, so that nothing is whole without it.
fn frame(encoding: ImageEncoding, range: &str, name: &str) -> (Vec<u8>, Vec<u8>) {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let (open, close) = match encoding {
        ImageEncoding::Base64 => ('"', "\"}"),
        ImageEncoding::Array => ('[', "]}"),
    };
    let head = format!(
        r#"{{"range":{},"name":{},"image":{open}"#,
        quoted(range),
        quoted(name)
    );
    (head.into_bytes(), close.as_bytes().to_vec())
}

/// Reads, hashes, encodes and hands over, holding each part back until the next is known to be good, and
/// the last one until `may_be_whole` says that it may go.
fn produce(
    picture: &Picture,
    encoding: ImageEncoding,
    head: Vec<u8>,
    tail: &[u8],
    mut hand_over: impl FnMut(Vec<u8>) -> bool,
    may_be_whole: impl FnOnce() -> bool,
) -> Result<(), SourceFault> {
    let mut next = head;
    let mut first = true;
    let intact = for_each_chunk(picture, |chunk| {
        let part = std::mem::take(&mut next);
        next = Vec::with_capacity(chunk.len() * 4 / 3 + 16);
        // The head is short: it travels with the first chunk.
        if first {
            next = part;
        } else if !hand_over(part) {
            return false;
        }
        encode(encoding, chunk, first, &mut next);
        first = false;
        true
    })?;
    if intact {
        next.extend_from_slice(tail);
        if !may_be_whole() {
            return Err(SourceFault::HeldBack);
        }
        hand_over(next);
    }
    Ok(())
}

/// Reads the picture in chunks. `Ok(true)`: all of it was read and is what was expected; `Ok(false)`:
/// `take` wanted no more.
fn for_each_chunk(
    picture: &Picture,
    mut take: impl FnMut(&[u8]) -> bool,
) -> Result<bool, SourceFault> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![
        0;
        CHUNK
            .min(usize::try_from(picture.length).unwrap_or(CHUNK))
            .max(1)
    ];
    let mut offset = 0;
    while offset < picture.length {
        let want = buffer
            .len()
            .min(usize::try_from(picture.length - offset).unwrap_or(CHUNK));
        let chunk = &mut buffer[..want];
        picture
            .file
            .read_exact_at(chunk, offset)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => SourceFault::Changed,
                _ => SourceFault::Unreadable(error.to_string()),
            })?;
        hasher.update(chunk);
        offset += want as u64;
        if !take(chunk) {
            return Ok(false);
        }
    }
    if hasher.finish() == picture.hash {
        Ok(true)
    } else {
        Err(SourceFault::Changed)
    }
}

fn encode(encoding: ImageEncoding, chunk: &[u8], first: bool, out: &mut Vec<u8>) {
    match encoding {
        ImageEncoding::Base64 => {
            let start = out.len();
            out.resize(start + chunk.len().div_ceil(3) * 4, 0);
            // The space was measured for exactly this chunk, so it cannot run out.
            let written = STANDARD.encode_slice(chunk, &mut out[start..]).unwrap_or(0);
            out.truncate(start + written);
        }
        ImageEncoding::Array => {
            let mut bytes = chunk.iter().map(|byte| &NUMBERS[usize::from(*byte)]);
            // No comma before the first number of all.
            if first && let Some((number, length)) = bytes.next() {
                out.extend_from_slice(&number[1..*length]);
            }
            bytes.for_each(|(number, length)| out.extend_from_slice(&number[..*length]));
        }
    }
}

/// Every byte as it stands in the array form, after a comma, and how long that is.
const NUMBERS: [([u8; 4], usize); 256] = {
    let mut numbers = [([b','; 4], 0); 256];
    let mut byte = 0;
    while byte < numbers.len() {
        let digits = 1 + (byte > 9) as usize + (byte > 99) as usize;
        let (mut rest, mut place) = (byte, digits);
        while place > 0 {
            numbers[byte].0[place] = b"0123456789"[rest % 10];
            rest /= 10;
            place -= 1;
        }
        numbers[byte].1 = digits + 1;
        byte += 1;
    }
    numbers
};

/// Length of the array form: its digits and commas depend on the bytes, so they are read once before.
fn array_length(picture: &Picture) -> Result<u64, SourceFault> {
    let mut length = 0;
    for_each_chunk(picture, |chunk| {
        length += chunk
            .iter()
            .map(|byte| NUMBERS[usize::from(*byte)].1 as u64)
            .sum::<u64>();
        true
    })?;
    Ok(length.saturating_sub(1))
}

/// Runs the encoder alone over `bytes`; for the benchmark of its speed.
pub fn encode_for_bench(encoding: ImageEncoding, bytes: &[u8], out: &mut Vec<u8>) {
    for (place, chunk) in bytes.chunks(CHUNK).enumerate() {
        out.clear();
        encode(encoding, chunk, place == 0, out);
    }
}

impl Body for ImageBody {
    type Data = Bytes;
    type Error = SourceFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SourceFault>>> {
        self.parts.poll_recv(context).map(|part| {
            part.map(|part| {
                part.map(|bytes| {
                    let moved = bytes.len() as u64;
                    self.left = self.left.saturating_sub(moved);
                    self.sending.progress.moved(moved);
                    Frame::data(bytes)
                })
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::Value;
    use std::io::Write;

    fn picture(bytes: &[u8]) -> Picture {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Picture {
            file: Arc::new(file),
            length: bytes.len() as u64,
            hash: ContentHash::of(bytes),
        }
    }

    const RANGE: &str = "Q7PlXT!H7:H7";
    const NAME: &str = "a \"b\"\n.png";

    fn promised(picture: &Picture, encoding: ImageEncoding) -> u64 {
        let (head, tail) = frame(encoding, RANGE, NAME);
        let image = match encoding {
            ImageEncoding::Base64 => encoded_length(picture.length),
            ImageEncoding::Array => array_length(picture).unwrap(),
        };
        (head.len() + tail.len()) as u64 + image
    }

    fn collect(picture: &Picture, encoding: ImageEncoding) -> (Vec<u8>, Result<(), SourceFault>) {
        let (head, tail) = frame(encoding, RANGE, NAME);
        let mut body = Vec::new();
        let take = |part: Vec<u8>| {
            body.extend(part);
            true
        };
        let done = produce(picture, encoding, head, &tail, take, || true);
        (body, done)
    }

    fn decode(body: &[u8]) -> (Value, Vec<u8>) {
        let json: Value = serde_json::from_slice(body).unwrap();
        let bytes = match &json["image"] {
            Value::String(text) => STANDARD.decode(text).unwrap(),
            Value::Array(bytes) => bytes
                .iter()
                .map(|byte| u8::try_from(byte.as_u64().unwrap()).unwrap())
                .collect(),
            other => panic!("{other}"),
        };
        (json, bytes)
    }

    #[rstest]
    fn the_body_decodes_to_exactly_the_files_bytes_and_has_the_promised_length(
        #[values(ImageEncoding::Base64, ImageEncoding::Array)] encoding: ImageEncoding,
        #[values(1, 2, 3, 4, 255, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 2)] length: usize,
    ) {
        let bytes: Vec<u8> = (0..length)
            .map(|n| (n * 7 + n / 256).to_le_bytes()[0])
            .collect();
        let picture = picture(&bytes);
        let (body, done) = collect(&picture, encoding);
        assert_eq!(done, Ok(()));
        assert_eq!(body.len() as u64, promised(&picture, encoding));
        let (json, decoded) = decode(&body);
        assert_eq!(decoded, bytes);
        assert_eq!(
            (json["range"].as_str(), json["name"].as_str()),
            (Some(RANGE), Some(NAME))
        );
    }

    #[rstest]
    fn a_body_is_never_whole_when_the_bytes_are_not_those_expected(
        #[values(ImageEncoding::Base64, ImageEncoding::Array)] encoding: ImageEncoding,
        #[values(10, CHUNK, 2 * CHUNK + 5)] length: usize,
        #[values(0, 1)] at_the_end: usize,
    ) {
        let bytes = vec![7u8; length];
        let picture = picture(&bytes);
        let promised = promised(&picture, encoding);
        picture
            .file
            .write_all_at(&[8], ((length - 1) * at_the_end) as u64)
            .unwrap();
        let (body, done) = collect(&picture, encoding);
        assert_eq!(done, Err(SourceFault::Changed));
        assert!((body.len() as u64) < promised);
        assert!(serde_json::from_slice::<Value>(&body).is_err());
    }

    #[test]
    fn a_file_that_shrank_breaks_the_body_off() {
        let picture = picture(&[7; 1000]);
        picture.file.set_len(999).unwrap();
        assert_eq!(
            collect(&picture, ImageEncoding::Base64).1,
            Err(SourceFault::Changed)
        );
    }

    #[tokio::test]
    async fn a_body_nobody_reads_any_more_ends_its_reader() {
        let picture = picture(&vec![7; 10 * CHUNK]);
        let file = Arc::downgrade(&picture.file);
        let (let_go, hold) = hold();
        let_go.let_go();
        let (body, _sending) = prepare(&picture, ImageEncoding::Base64, "a!A1:A1", "a.png", &hold)
            .await
            .unwrap()
            .start();
        drop((body, picture));
        while file.upgrade().is_some() {
            tokio::task::yield_now().await;
        }
    }

    #[rstest]
    #[tokio::test]
    async fn a_body_is_not_whole_before_it_is_let_go_and_never_when_it_is_not(
        #[values(10, CHUNK, 2 * CHUNK + 5)] length: usize,
        #[values(true, false)] goes: bool,
    ) {
        let picture = picture(&vec![7; length]);
        let (let_go, hold) = hold();
        let (mut body, sending) = prepare(&picture, ImageEncoding::Base64, RANGE, NAME, &hold)
            .await
            .unwrap()
            .start();
        let mut got = 0;
        let mut held = Some(let_go);
        let ended = loop {
            // All that comes by itself is less than the whole.
            let part = body.parts.try_recv();
            let part = match part {
                Ok(part) => Some(part),
                Err(mpsc::error::TryRecvError::Disconnected) => break Ok(()),
                Err(mpsc::error::TryRecvError::Empty) => None,
            };
            match part {
                Some(Ok(part)) => got += part.len() as u64,
                Some(Err(broken)) => break Err(broken),
                // The reader has come to the last bytes when it holds only them.
                None if held.is_some() && sending.length - got <= last_part(length) => {
                    assert!(got < sending.length);
                    let let_go = held.take();
                    if goes && let Some(let_go) = let_go {
                        let_go.let_go();
                    }
                }
                None => tokio::task::yield_now().await,
            }
        };
        let whole = if goes {
            Ok(())
        } else {
            Err(SourceFault::HeldBack)
        };
        assert_eq!(ended, whole);
        assert_eq!(got == sending.length, goes);
    }

    /// The longest that the last part of a body can be, head and tail included.
    fn last_part(length: usize) -> u64 {
        let last = if length.is_multiple_of(CHUNK) {
            CHUNK
        } else {
            length % CHUNK
        };
        encoded_length(last as u64) + 100
    }

    proptest! {
        #[test]
        fn any_bytes_survive_both_encodings(bytes in prop::collection::vec(any::<u8>(), 1..600)) {
            for encoding in [ImageEncoding::Base64, ImageEncoding::Array] {
                let picture = picture(&bytes);
                let (body, done) = collect(&picture, encoding);
                prop_assert_eq!(done, Ok(()));
                prop_assert_eq!(body.len() as u64, promised(&picture, encoding));
                prop_assert_eq!(decode(&body).1, bytes.clone());
            }
        }
    }
}
