//! Question: do 200 requests a second on the status server change the order or the latency of uploads?
//!
//! The real binary, a folder, the stand-in for the API. Rounds with and without requests take turns, so
//! that what the machine does besides falls on both. In each round pictures are dropped one after the
//! other, and the time from the file's close to its picture in the cell is taken; then many at once, and
//! the order of the calls is compared with the order of the files. Goal: the difference is smaller than
//! the one between two rounds of a kind. `ROUNDS` in the environment says how many rounds of each kind.

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot be set up has to stop"
)]

use std::fs;
use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use image::{ImageFormat, Rgb, RgbImage};
use pixcell::image::ContentHash;
use pixcell::sandbox::{DocumentSpec, Endpoint, Options, Sandbox, SheetSpec};

const SINGLE: u32 = 150;
const TOGETHER: u32 = 40;
/// Callers, each with a connection that it keeps, and requests a second of each.
const CALLERS: u32 = 4;
const EACH: u32 = 50;
const LIMIT: Duration = Duration::from_secs(30);

/// A JPEG of some 25 kB.
fn jpeg(seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let picture = RgbImage::from_fn(128, 128, |_, _| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let [a, b, c, _] = state.to_le_bytes();
        Rgb([a, b, c])
    });
    let mut bytes = Cursor::new(Vec::new());
    picture
        .write_to(&mut bytes, ImageFormat::Jpeg)
        .expect("a picture can be encoded");
    bytes.into_inner()
}

/// Ended when it is dropped.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(home: &Path, sandbox: &Sandbox) -> (Daemon, SocketAddr) {
    fs::create_dir(home.join("in")).expect("a folder can be made");
    let config = home.join("pixcell.yaml");
    let text = format!(
        "state_dir: state\nstatus: {{listen: '127.0.0.1:0'}}\n\
         feishu: {{endpoint: {}, app_id: cli_sandbox, app_secret: sandbox-secret, requests_per_second: 10000}}\n\
         mappings:\n  - name: lobby\n    folder: in\n    spreadsheet: Doc\n    rules: [{{files: '{{cell}}.jpg', cell: '{{cell}}'}}]\n",
        sandbox.url()
    );
    fs::write(&config, text).expect("a file can be written");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).expect("its mode can be set");
    let mut child = Command::new(env!("CARGO_BIN_EXE_pixcell"))
        .args(["run", "--config", "pixcell.yaml"])
        .current_dir(home)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the daemon starts");
    let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let daemon = Daemon(child);
    let mut page = None;
    for line in lines.by_ref() {
        let line = line.expect("it is text");
        if let Some((_, rest)) = line.split_once("served at http://") {
            page = rest.split('/').next().and_then(|text| text.parse().ok());
        }
        if line.contains(" ready") {
            break;
        }
    }
    // Its pipe must not fill up.
    thread::spawn(move || lines.for_each(drop));
    (daemon, page.expect("it serves the page"))
}

/// Asks at its pace until it is told to stop; counts answers.
fn ask(page: SocketAddr, stop: &AtomicBool, answers: &AtomicU64) {
    let stream = TcpStream::connect(page).expect("the page is there");
    let mut writer = stream.try_clone().expect("a socket can be cloned");
    let mut reader = BufReader::new(stream);
    let begun = Instant::now();
    for turn in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let path = ["/api/view", "/", "/metrics", "/api/status"][turn as usize % 4];
        // In one piece: the second of two would wait for the first to be acknowledged.
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        writer.write_all(request.as_bytes()).expect("it listens");
        let (mut line, mut length) = (String::new(), 0);
        while reader.read_line(&mut line).expect("it answers") > 2 {
            let lower = line.to_ascii_lowercase();
            if let Some(text) = lower.strip_prefix("content-length:") {
                length = text.trim().parse().expect("a number");
            }
            assert!(
                turn > 0 || !lower.starts_with("http") || lower.contains(" 200 "),
                "{lower}"
            );
            line.clear();
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("the whole body");
        answers.fetch_add(1, Ordering::Relaxed);
        thread::park_timeout(
            (begun + (turn + 1) * Duration::from_secs(1) / EACH)
                .saturating_duration_since(Instant::now()),
        );
    }
}

struct Bench<'a> {
    runtime: tokio::runtime::Runtime,
    sandbox: &'a Sandbox,
    folder: &'a Path,
    pictures: u32,
}

impl Bench<'_> {
    fn next(&mut self) -> Vec<u8> {
        self.pictures += 1;
        jpeg(self.pictures)
    }

    fn wait(&self, cell: &str, bytes: &[u8]) {
        let hash = ContentHash::of(bytes);
        let there = |state: &pixcell::sandbox::State| {
            state
                .image("Doc", "Q7PlXT", cell)
                .is_some_and(|image| image.hash == hash)
        };
        self.runtime
            .block_on(self.sandbox.wait_for(there, LIMIT))
            .expect("the picture comes");
    }

    /// Times from close to cell, sorted, and how often a call came before the one of an earlier file.
    fn round(&mut self) -> (Vec<Duration>, usize) {
        let mut times = Vec::new();
        for turn in 0..SINGLE {
            let (cell, bytes) = (format!("B{}", turn % 100 + 1), self.next());
            fs::write(self.folder.join(format!("{cell}.jpg")), &bytes)
                .expect("a file can be written");
            let closed = Instant::now();
            self.wait(&cell, &bytes);
            times.push(closed.elapsed());
        }
        times.sort();
        let files: Vec<_> = (1..=TOGETHER)
            .map(|row| (format!("C{row}"), self.next()))
            .collect();
        let before = self.sandbox.state().calls.back().map_or(0, |call| call.id);
        for (cell, bytes) in &files {
            fs::write(self.folder.join(format!("{cell}.jpg")), bytes)
                .expect("a file can be written");
        }
        for (cell, bytes) in &files {
            self.wait(cell, bytes);
        }
        let state = self.sandbox.state();
        let cells: Vec<String> = state
            .calls
            .iter()
            .chain(state.in_flight.values())
            .filter(|call| call.id > before && call.endpoint == Endpoint::ValuesImage)
            .filter_map(|call| Some(call.range.as_ref()?.split(['!', ':']).nth(1)?.to_owned()))
            .collect();
        let place = |cell: &String| files.iter().position(|(file, _)| file == cell);
        let places: Vec<_> = cells.iter().map(place).collect();
        let swapped = places.windows(2).filter(|pair| pair[0] > pair[1]).count();
        (times, swapped)
    }
}

fn main() {
    // `cargo test --benches` only wants to know that it runs.
    let rounds = match std::env::var("ROUNDS") {
        Ok(rounds) => rounds.parse().expect("ROUNDS is a number"),
        Err(_) if std::env::args().any(|arg| arg == "--bench") => 4,
        Err(_) => return,
    };
    let home = tempfile::tempdir().expect("a folder can be made");
    let runtime = tokio::runtime::Runtime::new().expect("threads can be had");
    let options = Options {
        requests_per_second: 1_000_000,
        documents: vec![DocumentSpec::new("Doc").sheet(SheetSpec::new("Q7PlXT", "Sheet1"))],
        ..Options::default()
    };
    let sandbox = runtime
        .block_on(Sandbox::start(options))
        .expect("the sandbox starts");
    let (_daemon, page) = start(home.path(), &sandbox);
    let folder = home.path().join("in");
    let mut bench = Bench {
        runtime,
        sandbox: &sandbox,
        folder: &folder,
        pictures: 0,
    };
    bench.round();
    for round in 1..=rounds {
        for loaded in [false, true] {
            let (stop, answers) = (
                Arc::new(AtomicBool::new(false)),
                Arc::new(AtomicU64::new(0)),
            );
            let begun = Instant::now();
            let callers: Vec<_> = (0..if loaded { CALLERS } else { 0 })
                .map(|_| {
                    let (stop, answers) = (Arc::clone(&stop), Arc::clone(&answers));
                    thread::spawn(move || ask(page, &stop, &answers))
                })
                .collect();
            let (times, swapped) = bench.round();
            let asked =
                u128::from(answers.load(Ordering::Relaxed)) * 1000 / begun.elapsed().as_millis();
            stop.store(true, Ordering::Relaxed);
            for caller in callers {
                caller.join().expect("it asked to the end");
            }
            let at = |percent: usize| times[(times.len() - 1) * percent / 100];
            println!(
                "round {round}: {asked:3} requests/s  p50 {:8.2?}  p90 {:8.2?}  p99 {:8.2?}  calls before an earlier file: {swapped} of {TOGETHER}",
                at(50),
                at(90),
                at(99)
            );
        }
    }
}
