//! Question: how long after a writer's `close()` is its picture ready to be sent? From the close to the
//! queued job, with watcher, look, hash and store as in the daemon; beside it, from the moment at
//! which the kernel has told another watcher of the same folder.
//!
//! Goal: 99 of 100 under 2 ms beyond the kernel, for a whole JPEG of 200 KB. Prints percentiles; the files
//! come one at a time, each with new content.

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot be set up has to stop"
)]

mod noise;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecursiveMode, Watcher};
use pixcell::config::{Environment, Source};
use pixcell::intake::{self, Digested, Intake, Unread};
use pixcell::placement::load;
use pixcell::store;
use pixcell::watch::{self, FolderState, Ticks, Watched};
use tokio::runtime::Runtime;
use tokio::sync::{Notify, watch as told};
use tokio_util::sync::CancellationToken;

const PICTURES: usize = 1000;
/// Not counted: caches warm up.
const WARMING: usize = 50;
/// Between two pictures.
const PAUSE: Duration = Duration::from_millis(10);

fn main() {
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let folder = home.path().join("in");
    fs::create_dir(&folder).expect("a folder");
    let text = format!(
        "feishu: {{app_id: cli_bench, app_secret: bench}}\nmappings:\n  - name: lobby\n    folder: {}\n    \
         spreadsheet: Iow7sNNEphp3WbtnbCscPqabcef\n    sheet: lobby\n    rules: [{{files: \"{{n:int}}.jpg\", \
         cell: \"B{{n+1}}\"}}]\n",
        folder.display()
    );
    let source = Source::from_text(&home.path().join("pixcell.yaml"), text);
    let env = Environment {
        home: Some(home.path().into()),
        ..Environment::default()
    };
    let routes = load(&source, &env).expect("a configuration").routes;
    let route = Arc::clone(routes.iter().next().expect("a mapping"));
    let state = home.path().join("state");
    fs::create_dir(&state).expect("a folder");
    let store = store::open(&state).expect("a store").store;
    let waker = store.waker(&route.mapping.spreadsheet);

    let runtime = Runtime::new().expect("a runtime");
    let (stop, ticks) = (CancellationToken::new(), Arc::new(Ticks::default()));
    let (findings, candidates) = tokio::sync::mpsc::channel(1024);
    let (listings, listed) = tokio::sync::mpsc::channel(4);
    let (digested, mut digests) = told::channel(Digested::new());
    let hearing = Arc::default();
    let hearings = [(route.mapping.name.clone(), Arc::clone(&hearing))];
    runtime.spawn(intake::run(
        Intake {
            store,
            routes,
            copies: intake::Copies::new(&state),
            ticks: Arc::clone(&ticks),
            findings: candidates,
            listings: listed,
            digested,
            unread: told::channel(Unread::new()).0,
            rescan: std::collections::BTreeMap::new(),
            hearing: hearings.into(),
        },
        stop.clone(),
    ));
    let watched = Watched {
        route,
        findings,
        listings,
        ticks,
        state: told::channel(FolderState::Starting).0,
        rescan: Arc::new(Notify::new()),
        hearing,
        state_dir: state,
    };
    runtime.spawn(watch::run(watched, stop.clone()));
    let (ready, readies) = mpsc::channel();
    runtime.spawn(async move {
        loop {
            waker.notified().await;
            if ready.send(Instant::now()).is_err() {
                return;
            }
        }
    });
    let first = digests.wait_for(|digested| !digested.is_empty());
    runtime.block_on(first).expect("a listing");

    let (close, closes) = mpsc::channel();
    let mut beside = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
        if event.is_ok_and(|event| event.kind == closed) {
            let _ = close.send(Instant::now());
        }
    })
    .expect("a watcher");
    beside
        .watch(&folder, RecursiveMode::NonRecursive)
        .expect("a watch");

    let (mut from_close, mut from_kernel) = (Vec::new(), Vec::new());
    let bytes = noise::jpeg(384, 278);
    for number in 0..WARMING + PICTURES {
        while readies.try_recv().is_ok() {}
        let (closed, kernel, ready) = arrive(&folder, number, &bytes, &closes, &readies);
        if number >= WARMING {
            from_close.push(ready.saturating_duration_since(closed));
            from_kernel.push(ready.saturating_duration_since(kernel));
        }
        std::thread::park_timeout(PAUSE);
    }
    println!("{PICTURES} JPEGs of {} bytes, one at a time", bytes.len());
    tell("close() to the queued job", from_close);
    tell("the kernel's event to the queued job", from_kernel);
    stop.cancel();
}

/// Writes a picture; when it was closed, when the kernel told of it, and when its job was there.
fn arrive(
    folder: &Path,
    number: usize,
    bytes: &[u8],
    closes: &mpsc::Receiver<Instant>,
    readies: &mpsc::Receiver<Instant>,
) -> (Instant, Instant, Instant) {
    const LIMIT: Duration = Duration::from_secs(10);

    let mut file = File::create(folder.join(format!("{number}.jpg"))).expect("a file");
    file.write_all(bytes).expect("a written file");
    // Behind the end of a JPEG anything may stand: it makes each content new.
    file.write_all(&number.to_le_bytes())
        .expect("a written file");
    drop(file);
    let closed = Instant::now();
    let kernel = closes.recv_timeout(LIMIT).expect("an event");
    let ready = readies.recv_timeout(LIMIT).expect("a job");
    (closed, kernel, ready)
}

fn tell(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    let (half, most, worst) = (at(50), at(99), at(100));
    println!("{what}: p50 {half:.2?}, p99 {most:.2?}, worst {worst:.2?}");
}
