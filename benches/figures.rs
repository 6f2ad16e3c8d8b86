//! Question: what does the daemon need, from outside, for what people notice: one picture, a burst of them,
//! very large ones, a camera that never rests?
//!
//! The release binary, real folders and HTTP over loopback. What is named "beside" is measured in the same
//! run, in turn with ours, so a busy machine falls on both. Prints one table with the goals; run it with
//! `cargo bench --locked --bench figures`, and one figure alone with its name behind `--`.

// What a benchmark cannot set up, it cannot measure.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../tests/support/mod.rs"]
#[expect(unused_imports, reason = "the tests use more of it")]
mod support;

use std::fs;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pixcell::config::ImageEncoding;
use pixcell::feishu::encode_for_bench;
use pixcell::image::ContentHash;
use pixcell::sandbox::{DocumentSpec, Endpoint, Outcome, SheetSpec};

use support::{DOC, LIMIT, Mapping, Plan, Rig, SHEET, with_comments};

/// Pictures of one latency run, and of one burst for so many documents.
const SINGLE: u32 = 300;
const BURST: u32 = 500;
const DOCUMENTS: u32 = 10;
/// Rounds of a burst; the middle one counts.
const ROUNDS: usize = 3;
/// Between two single pictures: the store is done with the last one.
const REST: Duration = Duration::from_millis(15);

/// One line of the table.
struct Line {
    what: &'static str,
    measured: String,
    beside: String,
    goal: &'static str,
}

type Figure = fn() -> Line;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` only wants to know that it runs.
    if !args.iter().any(|arg| arg == "--bench") {
        return;
    }
    let wanted: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let figures: [(&str, Figure); 6] = [
        ("latency", latency),
        ("burst", burst_at_once),
        ("slow", burst_slow),
        ("memory", memory),
        ("camera", camera),
        ("encoding", encoding),
    ];
    let mut lines = Vec::new();
    for (name, figure) in figures {
        if wanted.is_empty() || wanted.iter().any(|wanted| *wanted == name) {
            eprintln!("{name} ...");
            lines.push(figure());
        }
    }
    println!("| what | measured | beside it, in the same run | goal |\n| --- | --- | --- | --- |");
    for Line {
        what,
        measured,
        beside,
        goal,
    } in lines
    {
        println!("| {what} | {measured} | {beside} | {goal} |");
    }
}

/// A JPEG of about so many bytes, different from that of any other number.
fn picture(bytes: usize, number: u32) -> Vec<u8> {
    let small = support::jpeg(number);
    let mut picture = with_comments(&small, bytes.saturating_sub(small.len()).max(0x1_0000));
    // Noise, as in a photograph, up to the picture's own segments.
    let end = picture.len() - small.len();
    let mut state = number | 1;
    for segment in picture[2..2 + end].chunks_mut(0x1_0001) {
        for byte in segment.iter_mut().skip(4) {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            *byte = state.to_le_bytes()[1];
        }
    }
    picture
}

/// Without limits of the configuration's own, and a log as in production.
fn fast(plan: &mut Plan) {
    plan.args.clear();
    plan.feishu.push("requests_per_second: 100000".into());
    plan.sandbox.requests_per_second = 1_000_000;
    plan.sandbox.own_limits = false;
}

fn percent(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

fn ms(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1000.0)
}

fn times(ours: Duration, theirs: Duration) -> f64 {
    ours.as_secs_f64() / theirs.as_secs_f64()
}

// The bare server.

/// A write that has come in whole.
struct Arrived {
    cell: String,
    /// When the last byte of its body was read.
    at: Instant,
}

/// The least that the daemon takes for the API: it reads whole requests and checks nothing.
struct Bare {
    addr: SocketAddr,
    arrived: Receiver<Arrived>,
}

impl Bare {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (tell, arrived) = channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, tell) = (stream.unwrap(), tell.clone());
                // Ends with the connection.
                thread::spawn(move || drop(serve(stream, &tell)));
            }
        });
        Self { addr, arrived }
    }

    fn wait(&self, cell: &str) -> Instant {
        let arrived = self.arrived.recv_timeout(LIMIT).unwrap();
        assert_eq!(arrived.cell, cell);
        arrived.at
    }
}

fn serve(mut stream: TcpStream, tell: &Sender<Arrived>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut buffer, mut filled) = (vec![0; 512 * 1024], 0);
    for revision in 1.. {
        let (head, length) = loop {
            if let Some(end) = buffer[..filled]
                .windows(4)
                .position(|four| four == b"\r\n\r\n")
            {
                let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
                let length = head.lines().find_map(|line| {
                    let (name, value) = line.split_once(':')?;
                    name.eq_ignore_ascii_case("content-length")
                        .then(|| value.trim().parse())?
                        .ok()
                });
                break (end + 4, (head, length.unwrap_or(0_usize)));
            }
            let read = stream.read(&mut buffer[filled..])?;
            if read == 0 {
                return Ok(());
            }
            filled += read;
        };
        let (text, length) = length;
        while filled < head + length {
            let read = stream.read(&mut buffer[filled..])?;
            if read == 0 {
                return Ok(());
            }
            filled += read;
        }
        let at = Instant::now();
        let body = &buffer[head..head + length];
        let data = if text.contains("/values_image ") {
            let start = String::from_utf8_lossy(&body[..64.min(length)]).into_owned();
            let range = start.split('"').nth(3).unwrap_or_default().to_owned();
            let cell = range
                .split(['!', ':'])
                .nth(1)
                .unwrap_or_default()
                .to_owned();
            let _ = tell.send(Arrived { cell, at });
            format!(
                r#","data":{{"spreadsheetToken":"{DOC}","updateRange":"{range}","revision":{revision}}}"#
            )
        } else if text.contains("/sheets/query") {
            format!(
                r#","data":{{"sheets":[{{"sheet_id":"{SHEET}","title":"Lobby","index":0,"hidden":false,"resource_type":"sheet","grid_properties":{{"frozen_row_count":0,"frozen_column_count":0,"row_count":200,"column_count":20}}}}]}}"#
            )
        } else {
            r#","tenant_access_token":"t-bare","expire":7200"#.to_owned()
        };
        filled = 0;
        let body = format!(r#"{{"code":0,"msg":"success"{data}}}"#);
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes())?;
    }
    Ok(())
}

/// A request as the daemon makes it, whole in memory.
fn request(document: &str, cell: &str, token: &str, picture: &[u8]) -> Vec<u8> {
    let image = STANDARD.encode(picture);
    let body =
        format!(r#"{{"range":"{SHEET}!{cell}:{cell}","name":"{cell}.jpg","image":"{image}"}}"#);
    let head = format!(
        "POST /open-apis/sheets/v2/spreadsheets/{document}/values_image HTTP/1.1\r\nhost: localhost\r\n\
         authorization: Bearer {token}\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body.into_bytes()].concat()
}

/// Reads one answer whole and insists on success.
fn answered(stream: &mut TcpStream) {
    let (mut answer, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut chunk).unwrap();
        assert!(read > 0, "the connection ended");
        answer.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&answer);
        if let Some((_, body)) = text.split_once("\r\n\r\n")
            && body.ends_with('}')
        {
            assert!(text.starts_with("HTTP/1.1 200"), "{text}");
            return;
        }
    }
}

// The figures.

fn latency() -> Line {
    let server = Bare::start();
    let mut rig = Rig::with(|plan| {
        fast(plan);
        plan.online = false;
    });
    rig.write_config_text(&rig.plan.yaml(&format!("http://{}", server.addr)));
    rig.start();
    let mut bare = TcpStream::connect(server.addr).unwrap();
    bare.set_nodelay(true).unwrap();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for number in 0..SINGLE + 20 {
        let bytes = picture(200_000, number + 1);
        let cell = format!("B{}", number % 100 + 1);
        let whole = request(DOC, &cell, "t-bare", &bytes);
        thread::park_timeout(REST);
        let begun = Instant::now();
        bare.write_all(&whole).unwrap();
        let took = server.wait(&cell) - begun;
        answered(&mut bare);
        thread::park_timeout(REST);
        rig.drop_file(format!("{cell}.jpg"), &bytes);
        let closed = Instant::now();
        // In the meantime it may have come already.
        let took_ours = server.wait(&cell).saturating_duration_since(closed);
        // The first ones make connections, tables and buffers.
        if number >= 20 {
            theirs.push(took);
            ours.push(took_ours);
        }
    }
    rig.stop();
    ours.sort();
    theirs.sort();
    let (p50, p99) = (percent(&ours, 50), percent(&ours, 99));
    let beside = percent(&theirs, 50);
    Line {
        what: "close() of a JPEG of 200 KB to the last byte of its request, p50 / p99",
        measured: format!("{} / {}; {:.1} times", ms(p50), ms(p99), times(p50, beside)),
        beside: format!(
            "a bare POST of the same body {} / {}",
            ms(beside),
            ms(percent(&theirs, 99))
        ),
        goal: "under 2.5 times / under 5 ms",
    }
}

fn document(number: u32) -> String {
    format!("DocBurst{number}")
}

/// Moves a burst of new pictures in and waits until all are in their cells; the time from the first move
/// to the last cell.
fn burst(rig: &Rig, round: u32) -> Duration {
    let staging = rig.path(format!("staging-{round}"));
    fs::create_dir(&staging).unwrap();
    let files: Vec<_> = (0..BURST)
        .map(|number| {
            let name = format!("B{}.jpg", number / DOCUMENTS + 1);
            let (from, folder) = (
                staging.join(number.to_string()),
                format!("burst-{}", number % DOCUMENTS),
            );
            fs::write(&from, picture(100_000, round * BURST + number + 1)).unwrap();
            (from, rig.path(folder).join(name))
        })
        .collect();
    let before = rig.calls(Endpoint::ValuesImage);
    let begun = Instant::now();
    for (from, to) in &files {
        fs::rename(from, to).unwrap();
    }
    rig.wait("all are written", |state| {
        let calls = state.calls(Endpoint::ValuesImage);
        calls >= before + u64::from(BURST) && state.in_flight.is_empty()
    });
    begun.elapsed()
}

/// The same requests by as many bare connections, each made before the time begins.
fn ceiling(rig: &Rig, round: u32) -> Duration {
    let addr = rig.plan.sandbox.addr;
    let token = support::fetch_token(addr, &rig.plan.sandbox.app_id, support::SECRET);
    let workers: Vec<(TcpStream, Vec<Vec<u8>>)> = (0..DOCUMENTS)
        .map(|document_number| {
            let stream = TcpStream::connect(addr).unwrap();
            stream.set_nodelay(true).unwrap();
            let requests = (0..BURST / DOCUMENTS).map(|number| {
                let seed = (1000 + round) * BURST + document_number * (BURST / DOCUMENTS) + number;
                request(
                    &document(document_number),
                    &format!("D{}", number + 1),
                    &token,
                    &picture(100_000, seed),
                )
            });
            (stream, requests.collect())
        })
        .collect();
    let begun = Instant::now();
    let running: Vec<_> = workers
        .into_iter()
        .map(|(mut stream, requests)| {
            thread::spawn(move || {
                for request in requests {
                    stream.write_all(&request).unwrap();
                    answered(&mut stream);
                }
            })
        })
        .collect();
    for worker in running {
        worker.join().unwrap();
    }
    begun.elapsed()
}

/// Ours and the ceiling, round by round, after one round of each that does not count.
fn bursts(latency: Duration) -> (Vec<Duration>, Vec<Duration>) {
    let mut rig = Rig::with(|plan| {
        fast(plan);
        plan.sandbox.latency = latency;
        plan.sandbox.documents.clear();
        plan.mappings.clear();
        for number in 0..DOCUMENTS {
            let sheet = SheetSpec::new(SHEET, "Lobby");
            plan.sandbox
                .documents
                .push(DocumentSpec::new(document(number)).sheet(sheet));
            let name = format!("burst-{number}");
            plan.mappings
                .push(Mapping::new(&name, &name, &document(number)));
        }
    });
    for number in 0..DOCUMENTS {
        fs::create_dir(rig.path(format!("burst-{number}"))).unwrap();
    }
    rig.start();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..=u32::try_from(ROUNDS).unwrap() {
        theirs.push(ceiling(&rig, round));
        ours.push(burst(&rig, round));
    }
    rig.stop();
    let sorted = |mut times: Vec<Duration>| {
        times.remove(0);
        times.sort();
        times
    };
    (sorted(ours), sorted(theirs))
}

fn burst_at_once() -> Line {
    let (ours, theirs) = bursts(Duration::ZERO);
    let (ours, theirs) = (ours[ROUNDS / 2], theirs[ROUNDS / 2]);
    Line {
        what: "500 pictures of 100 KB for 10 spreadsheets, the server answers at once",
        measured: format!("{}; {:.1} times", ms(ours), times(ours, theirs)),
        beside: format!("the same requests by 10 bare connections {}", ms(theirs)),
        goal: "within 1.5 times",
    }
}

fn burst_slow() -> Line {
    let call = Duration::from_millis(20);
    let (ours, theirs) = bursts(call);
    let (ours, theirs) = (ours[ROUNDS / 2], theirs[ROUNDS / 2]);
    let least = call * (BURST / DOCUMENTS);
    Line {
        what: "the same, the server needs 20 ms a call",
        measured: format!("{}; {:.2} times", ms(ours), times(ours, least)),
        beside: format!(
            "50 calls of 20 ms {}; by bare connections {}",
            ms(least),
            ms(theirs)
        ),
        goal: "within 1.1 times",
    }
}

fn memory() -> Line {
    let mut rig = Rig::with(|plan| {
        fast(plan);
        plan.sandbox.documents.clear();
        plan.mappings.clear();
        for number in 0..8 {
            let sheet = SheetSpec::new(SHEET, "Lobby");
            plan.sandbox
                .documents
                .push(DocumentSpec::new(document(number)).sheet(sheet));
            let name = format!("large-{number}");
            plan.mappings
                .push(Mapping::new(&name, &name, &document(number)));
        }
    });
    for number in 0..8 {
        fs::create_dir(rig.path(format!("large-{number}"))).unwrap();
    }
    rig.start();
    let before = peak(rig.daemon().pid());
    let files: Vec<_> = (0..8)
        .map(|number| {
            (
                rig.path(format!("{number}.jpg")),
                picture(19_000_000, number + 1),
            )
        })
        .collect();
    for (path, bytes) in &files {
        fs::write(path, bytes).unwrap();
    }
    for (number, (path, _)) in files.iter().enumerate() {
        fs::rename(path, rig.path(format!("large-{number}/B2.jpg"))).unwrap();
    }
    for (number, (_, bytes)) in files.iter().enumerate() {
        let hash = ContentHash::of(bytes);
        rig.wait("a large picture", |state| {
            let image = state.image(&document(u32::try_from(number).unwrap()), SHEET, "B2");
            image.is_some_and(|image| image.hash == hash)
        });
    }
    let after = peak(rig.daemon().pid());
    rig.stop();
    Line {
        what: "peak memory, 8 pictures of 19 MB at once for 8 spreadsheets",
        measured: format!("{after:.1} MB"),
        beside: format!("before them {before:.1} MB"),
        goal: "under 40 MB",
    }
}

/// The most memory that was ever resident, in MB.
fn peak(pid: u32) -> f64 {
    let status =
        fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024.0 / 1e6
}

fn camera() -> Line {
    let mut rig = Rig::with(|plan| {
        fast(plan);
        plan.mappings[0].lines.push("min_interval: 1s".into());
    });
    rig.start();
    let begun = Instant::now();
    let mut last = Vec::new();
    for number in 1..=100 {
        last = picture(100_000, number);
        rig.drop_file("B2.jpg", &last);
        let next = Duration::from_millis(50) * number;
        thread::park_timeout(next.saturating_sub(begun.elapsed()));
    }
    // The pause after the last one belongs to it.
    let closed = begun + Duration::from_millis(50) * 99;
    let hash = ContentHash::of(&last);
    rig.wait("the last picture", |state| {
        state
            .image(DOC, SHEET, "B2")
            .is_some_and(|image| image.hash == hash)
    });
    let late = closed.elapsed();
    let calls = rig.write_records();
    let whole = calls
        .iter()
        .filter(|call| call.outcome == Some(Outcome::Answered))
        .count();
    let begun = rig.calls(Endpoint::ValuesImage);
    rig.stop();
    Line {
        what: "a file rewritten 100 times in 5 s, `min_interval: 1s`: calls, and the last picture after its close()",
        measured: format!(
            "{begun} calls, {whole} of them whole; {:.2} s",
            late.as_secs_f64()
        ),
        beside: String::new(),
        goal: "at most 6; within 1.2 s",
    }
}

fn encoding() -> Line {
    let bytes = picture(8 * 1024 * 1024, 1);
    let mut out = Vec::new();
    let mut middle = |work: &mut dyn FnMut(&mut Vec<u8>)| {
        let mut all: Vec<Duration> = (0..60)
            .map(|_| {
                let begun = Instant::now();
                work(&mut out);
                begun.elapsed()
            })
            .collect();
        all.sort();
        all[30]
    };
    let ours = middle(&mut |out| encode_for_bench(ImageEncoding::Base64, black_box(&bytes), out));
    let copying = middle(&mut |out| {
        out.clear();
        out.extend_from_slice(black_box(&bytes));
    });
    Line {
        what: "encoding a picture of 8 MiB as base64, one core",
        measured: format!(
            "{}, {:.1} GB/s",
            ms(ours),
            8.0 * 1024.0 * 1024.0 / ours.as_secs_f64() / 1e9
        ),
        beside: format!("copying it {}", ms(copying)),
        goal: "over 1 GB/s",
    }
}
