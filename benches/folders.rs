//! Question: what do folders with many files cost: a restart that has nothing to do, a minute without any
//! change, polling, and a burst into new sub-folders?
//!
//! The release binary, real folders and HTTP over loopback. `find` walks the same tree in the same run, in
//! turn with ours. Prints one table with the goals; run it with `cargo bench --locked --bench folders`, and
//! one figure alone with its name behind `--`. `FILES` in the environment makes the large tree another
//! size than 100,000; below `TMPDIR` must be room for it.

// What a benchmark cannot set up, it cannot measure.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../tests/support/mod.rs"]
#[expect(unused_imports, reason = "the tests use more of it")]
mod support;

use std::cell::Cell;
use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use pixcell::image::ContentHash;
use pixcell::sandbox::{DocumentSpec, Endpoint, SheetSpec};

use support::{DOC, FOLDER, Mapping, Plan, Rig, SHEET, png};

/// Spreadsheets of the large tree, each with a folder of its own.
const DOCUMENTS: u32 = 10;
/// Files of one folder.
const FOLDER_OF: u32 = 100;
/// Rounds of a restart; the middle one counts.
const ROUNDS: usize = 5;
/// How long all of a large tree may take to be written for the first time.
const FILLING: Duration = Duration::from_mins(20);
/// How long CPU time is counted.
const WATCHED: Duration = Duration::from_mins(1);
/// The burst.
const PICTURES: u32 = 20_000;
const NEW_FOLDERS: u32 = 200;

/// One line of the table.
struct Line {
    what: String,
    measured: String,
    beside: String,
    goal: &'static str,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` only wants to know that it runs.
    if !args.iter().any(|arg| arg == "--bench") {
        return;
    }
    let wanted = |name: &str| {
        let mut names = args.iter().filter(|arg| !arg.starts_with('-')).peekable();
        names.peek().is_none() || names.any(|wanted| wanted == name)
    };
    println!("| what | measured | beside it, in the same run | goal |\n| --- | --- | --- | --- |");
    if wanted("burst") {
        print(&burst());
    }
    if wanted("idle") {
        print(&idle());
    }
    if wanted("restart") || wanted("poll") {
        let files = std::env::var("FILES").map_or(100_000, |text| text.parse().unwrap());
        let (mut rig, line) = filled(files);
        print(&line);
        if wanted("restart") {
            print(&restart(&mut rig, files));
        }
        if wanted("poll") {
            print(&poll(&mut rig, files));
        }
    }
}

/// Each as it comes: what follows takes minutes.
fn print(line: &Line) {
    let Line {
        what,
        measured,
        beside,
        goal,
    } = line;
    println!("| {what} | {measured} | {beside} | {goal} |");
}

fn document(number: u32) -> String {
    // The rig's sentinels go to the first.
    match number {
        0 => DOC.into(),
        _ => format!("DocTree{number}"),
    }
}

/// Without limits of the configuration's own, and a log as in production.
fn fast(plan: &mut Plan, documents: u32, rows: u32) {
    plan.args.clear();
    plan.feishu.push("requests_per_second: 100000".into());
    plan.sandbox.requests_per_second = 1_000_000;
    plan.sandbox.own_limits = false;
    plan.sandbox.documents.clear();
    plan.mappings.clear();
    for number in 0..documents {
        let sheet = SheetSpec::new(SHEET, "Lobby").grid(rows, 20);
        plan.sandbox.documents.push(
            DocumentSpec::new(document(number))
                .sheet(sheet)
                .image_limit(u32::MAX),
        );
        let folder = format!("{FOLDER}/{number}");
        plan.mappings.push(Mapping::new(
            &format!("tree-{number}"),
            &folder,
            &document(number),
        ));
    }
}

/// A daemon, ended again, that has written so many files, and how long it took; their folders hold a hundred each.
fn filled(files: u32) -> (Rig, Line) {
    let each = files / DOCUMENTS;
    let mut rig = Rig::with(|plan| fast(plan, DOCUMENTS, each + 1000));
    for number in 0..files {
        let (of, row) = (number % DOCUMENTS, number / DOCUMENTS + 1);
        let folder = rig.file(format!("{of}/{}", row / FOLDER_OF));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("B{row}.png")), png(number + 1)).unwrap();
    }
    let begun = Instant::now();
    // Ready or not: the first comparison of so many takes longer than tests wait for.
    rig.start_unready();
    let state = written(&rig, u64::from(each * DOCUMENTS), FILLING);
    let time = begun.elapsed().as_secs_f64();
    rig.stop();
    let line = Line {
        what: format!("{files} files found at a start, until the last one is written"),
        measured: format!(
            "{time:.1} s, {:.0} a second; the state's file at most {} MB",
            f64::from(files) / time,
            state.div_ceil(1_000_000)
        ),
        beside: String::new(),
        goal: "150 MB",
    };
    (rig, line)
}

/// Waits until so many writes have been made in all, and no more are under way; the most bytes that the state's
/// file had meanwhile.
fn written(rig: &Rig, writes: u64, limit: Duration) -> u64 {
    let end = Instant::now() + limit;
    let mut most = 0;
    loop {
        let file = fs::metadata(rig.path("state/db/db"));
        most = most.max(file.map_or(0, |file| file.len()));
        let state = rig.state();
        if state.calls(Endpoint::ValuesImage) >= writes && state.in_flight.is_empty() {
            return most;
        }
        assert!(
            Instant::now() < end,
            "{} writes",
            state.calls(Endpoint::ValuesImage)
        );
        drop(state);
        thread::park_timeout(Duration::from_millis(200));
    }
}

/// CPU time of children that were waited for, in clock ticks of 10 ms.
fn children() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    fields[13].parse::<u64>().unwrap() + fields[14].parse::<u64>().unwrap()
}

/// `find` over the tree: one look at every file, as ours. How long it took, and its CPU time in ticks.
fn find(rig: &Rig) -> (Duration, u64) {
    let before = children();
    let begun = Instant::now();
    let status = Command::new("find")
        .arg(rig.path(FOLDER))
        .args(["-type", "f", "-printf", "%s %T@ %i\n"])
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success(), "find");
    (begun.elapsed(), children() - before)
}

fn middle<T: Ord + Copy>(mut times: Vec<T>) -> T {
    times.sort();
    times[times.len() / 2]
}

fn restart(rig: &mut Rig, files: u32) -> Line {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let (mut our_ticks, mut their_ticks) = (Vec::new(), Vec::new());
    let mut others = 0;
    for round in 0..ROUNDS {
        let (time, ticks) = find(rig);
        theirs.push(time);
        their_ticks.push(ticks);
        let row = files / DOCUMENTS + 2 + u32::try_from(round).unwrap();
        let cell = format!("B{row}");
        let bytes = png(files + row);
        fs::write(rig.file(format!("9/{cell}.png")), &bytes).unwrap();
        let before = rig.calls(Endpoint::ValuesImage);
        let begun = Instant::now();
        rig.start_unready();
        let pid = rig.daemon().pid();
        let (hash, there) = (ContentHash::of(&bytes), Cell::new(None));
        rig.wait("the new one is in its cell", |state| {
            let image = state.image(&document(9), SHEET, &cell);
            let is_there = image.is_some_and(|image| image.hash == hash);
            // The wait itself takes long to hand over all that the sandbox holds.
            let now = || there.set(Some((begun.elapsed(), spent(pid).ticks)));
            is_there.then(now).is_some()
        });
        let (time, ticks) = there.get().unwrap();
        ours.push(time);
        our_ticks.push(ticks);
        rig.daemon_mut().wait_told("READY=1");
        rig.stop();
        others += rig.calls(Endpoint::ValuesImage) - before - 1;
    }
    eprintln!("restarts {ours:.0?}, find {theirs:.0?}; in ticks {our_ticks:?}, {their_ticks:?}");
    let (ours, theirs) = (middle(ours), middle(theirs));
    let (our_ticks, their_ticks) = (middle(our_ticks), middle(their_ticks));
    Line {
        what: format!("a start over {files} unchanged files, until a new one is in its cell"),
        measured: format!(
            "{:.0} ms, {:.1} times, {} ms of CPU; {others} other writes",
            ours.as_secs_f64() * 1000.0,
            ours.as_secs_f64() / theirs.as_secs_f64(),
            our_ticks * 10
        ),
        beside: format!(
            "`find` {:.0} ms, {} ms of CPU",
            theirs.as_secs_f64() * 1000.0,
            their_ticks * 10
        ),
        goal: "under 2 times; none",
    }
}

/// What the kernel tells of a process.
struct Spent {
    /// Of one core, in clock ticks of 10 ms.
    ticks: u64,
    /// What was read by calls, in bytes; of files, pipes and sockets.
    read: u64,
    /// How many calls read it.
    reads: u64,
    /// Resident, in MB.
    resident: f64,
}

fn spent(pid: u32) -> Spent {
    let of = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap();
    let stat = of("stat");
    // The name, the second one, may hold anything.
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    let number = |text: &str, name: &str| -> u64 {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let (io, status) = (of("io"), of("status"));
    let kib = u32::try_from(number(&status, "VmRSS:")).unwrap();
    Spent {
        ticks: fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap(),
        read: number(&io, "rchar:"),
        reads: number(&io, "syscr:"),
        resident: f64::from(kib) * 1024.0 / 1e6,
    }
}

fn share(ticks: u64, time: Duration) -> f64 {
    f64::from(u32::try_from(ticks).unwrap()) / time.as_secs_f64()
}

fn idle() -> Line {
    const FILES: u32 = 10_000;
    let (mut rig, _) = filled(FILES);
    rig.start();
    rig.wait_status("watched", |status| {
        let mappings = status["mappings"].as_array().unwrap();
        mappings
            .iter()
            .all(|mapping| mapping["state"]["state"] == "native")
    });
    let fresh = spent(rig.daemon().pid());
    thread::park_timeout(Duration::from_secs(2));
    let before = spent(rig.daemon().pid());
    let begun = Instant::now();
    while begun.elapsed() < WATCHED {
        thread::park_timeout(WATCHED.saturating_sub(begun.elapsed()));
    }
    let after = spent(rig.daemon().pid());
    rig.stop();
    Line {
        what: format!(
            "a minute without any change, {FILES} known files, {DOCUMENTS} folders, watched natively"
        ),
        measured: format!(
            "{} ms of CPU, {} reads; {:.1} MB resident",
            (after.ticks - before.ticks) * 10,
            after.reads - before.reads,
            after.resident
        ),
        beside: format!("once it was ready {:.1} MB", fresh.resident),
        goal: "none that counts; under 30 MB",
    }
}

fn poll(rig: &mut Rig, files: u32) -> Line {
    rig.plan.watch = "settle: 150ms, backend: poll, poll_interval: 10s".into();
    rig.write_config();
    rig.start();
    // Past the comparison at the start.
    thread::park_timeout(Duration::from_secs(2));
    let before = spent(rig.daemon().pid());
    let writes = rig.calls(Endpoint::ValuesImage);
    let begun = Instant::now();
    while begun.elapsed() < WATCHED {
        thread::park_timeout(WATCHED.saturating_sub(begun.elapsed()));
    }
    let after = spent(rig.daemon().pid());
    let time = begun.elapsed();
    assert_eq!(rig.calls(Endpoint::ValuesImage), writes, "nothing was sent");
    rig.stop();
    let (walk, _) = find(rig);
    Line {
        what: format!("polling {files} unchanged files every 10 s, over a minute"),
        measured: format!(
            "{:.1} % of a core; {} bytes read by {} calls; {:.1} MB resident",
            share(after.ticks - before.ticks, time),
            after.read - before.read,
            after.reads - before.reads,
            after.resident
        ),
        beside: format!("one `find` {:.0} ms", walk.as_secs_f64() * 1000.0),
        goal: "well below a core; no content",
    }
}

fn burst() -> Line {
    let queue = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let mut rig = Rig::with(|plan| {
        fast(plan, 1, PICTURES);
        plan.mappings[0].folder = FOLDER.into();
    });
    rig.start();
    let pictures: Vec<_> = (1..=PICTURES).map(png).collect();
    let begun = Instant::now();
    for (row, bytes) in (1..=PICTURES).zip(&pictures) {
        let folder = rig.file(format!("{}/{}", row % 10, row % NEW_FOLDERS));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("B{row}.png")), bytes).unwrap();
    }
    let writing = begun.elapsed();
    written(&rig, u64::from(PICTURES), FILLING);
    let sent = begun.elapsed();
    // Whatever is found a second time would be sent by then.
    rig.fence();
    let state = rig.state();
    let sheet = state.sheet(&document(0), SHEET).unwrap();
    let there = (1..=PICTURES).filter(|row| sheet.image(&format!("B{row}")).is_some());
    let (there, writes) = (there.count(), rig.writes());
    let overflows = rig
        .daemon()
        .stderr()
        .matches("queue of events overflowed")
        .count();
    let unsure = rig
        .daemon()
        .stderr()
        .matches("changes may have been missed")
        .count();
    rig.stop();
    Line {
        what: format!(
            "{PICTURES} pictures in {NEW_FOLDERS} new folders, {} events in the kernel's queue at most",
            queue.trim()
        ),
        measured: format!(
            "{there} in their cells after {:.1} s by {writes} writes; listed as a whole {unsure} times, {overflows} of them as the queue overflowed",
            sent.as_secs_f64()
        ),
        beside: format!("writing the files {:.1} s", writing.as_secs_f64()),
        goal: "all, and each once",
    }
}
