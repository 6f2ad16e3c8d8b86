//! Everything at once and for long: twenty spreadsheets, a file that changes every 10 ms, faults, kills
//! and reloads at random. Every write that the sandbox saw is judged, not only what is there at the end.
//!
//! Times are when something is done to the daemon; nothing that is judged depends on the machine's speed.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use pixcell::a1::CellRef;
use pixcell::image::ContentHash;
use pixcell::sandbox::{AnswerWhen, Cell, Cut, DocumentSpec, Endpoint, Fault, SheetSpec};

use crate::support::{
    Judge, Known, Mapping, Random, Rig, SHEET, Signal, jpeg, seed, with_comments,
};

/// Seconds of load; `PIXCELL_TEST_SOAK` says otherwise. The long form has 1800.
const SECONDS: u64 = 25;
const DOCUMENTS: usize = 20;
const EVERY: Duration = Duration::from_millis(10);
/// Faults that wait at most. More would meet every call on a slow machine, and leave no writes to judge.
const MOST_FAULTS: usize = DOCUMENTS;
/// Calls in any second: what the daemon may make and what the sandbox admits.
const RATE: u32 = 100;
/// How long all that waits may take once the faults are over.
const SETTLE: Duration = Duration::from_mins(6);
/// What the daemon may have filled of its memory, in KiB; without optimisation.
const MOST_KIB: u64 = 160 * 1024;

/// A slot, and what its newest picture is.
struct Slot {
    document: usize,
    /// One file, or two that take turns.
    files: Vec<PathBuf>,
    /// Where it is to be found, unless the daemon chose the row.
    cell: Option<&'static str>,
    version: u32,
    newest: Option<(ContentHash, PathBuf)>,
}

fn document(number: usize) -> String {
    format!("DocSoak{number:02}")
}

fn mapping(number: usize) -> Mapping {
    let mut mapping = Mapping::new(
        &format!("soak-{number:02}"),
        &format!("soak-{number:02}"),
        &document(number),
    )
    .place(r#"{ files: "row-*.jpg", append: { column: K, first_row: 2 } }"#)
    .place(r#"{ files: "key-{key}.jpg", find_row: { column: A, equals: "{key}", first_row: 2 }, column: L }"#)
    .rule("poster-*.jpg", "J2");
    if number.is_multiple_of(5) {
        mapping = mapping.line("min_interval: 500ms");
    }
    mapping
}

fn slots(rig: &Rig) -> Vec<Slot> {
    let mut slots = Vec::new();
    for document in 0..DOCUMENTS {
        let file = |name: &str| rig.path(format!("soak-{document:02}/{name}"));
        let mut add = |files: &[&str], cell| {
            slots.push(Slot {
                document,
                files: files.iter().map(|name| file(name)).collect(),
                cell,
                version: 0,
                newest: None,
            });
        };
        for cell in ["B2", "B3", "B4", "C2", "C3", "C4"] {
            add(&[&format!("{cell}.jpg")], Some(cell));
        }
        add(&["poster-a.jpg", "poster-b.jpg"], Some("J2"));
        add(&["key-one.jpg"], Some("L7"));
        add(&["row-one.jpg"], None);
        add(&["row-two.jpg"], None);
    }
    slots
}

/// What was done so far.
#[derive(Default)]
struct Done {
    changes: u64,
    kills: u64,
    reloads: u64,
    faults: u64,
    throttled: u64,
    /// Calls that a kill met between their effect and their receipt.
    unrecorded: u64,
}

/// Puts a new version into a slot's file, in one of the ways in which programs write.
fn change(slot: &mut Slot, number: usize, random: &mut Random, known: &mut Known) {
    slot.version += 1;
    let seed = u32::try_from(number).unwrap() * 1_000_000 + slot.version;
    let mut bytes = jpeg(seed);
    if random.below(20) == 0 {
        bytes = with_comments(&bytes, usize::try_from(random.below(400_000)).unwrap());
    }
    let hash = ContentHash::of(&bytes);
    known.insert(hash, (number, slot.version));
    let path = &slot.files[usize::try_from(random.below(slot.files.len() as u64)).unwrap()];
    let beside = path.with_file_name(format!(".{number}.tmp"));
    // Of several files for a slot the last to be whole is the newest; others are whole at once.
    let way = if slot.files.len() > 1 {
        0
    } else {
        random.below(6)
    };
    match way {
        0 => {
            fs::write(&beside, &bytes).unwrap();
            fs::rename(&beside, path).unwrap();
        }
        1 => {
            use std::io::Write;
            let mut file = fs::File::create(path).unwrap();
            let (first, second) = bytes.split_at(bytes.len() / 2);
            file.write_all(first).unwrap();
            thread::park_timeout(Duration::from_millis(random.below(4)));
            file.write_all(second).unwrap();
        }
        2 => {
            let _ = fs::remove_file(path);
            fs::write(path, &bytes).unwrap();
        }
        3 => {
            fs::write(&beside, &bytes).unwrap();
            let _ = fs::remove_file(path);
            fs::hard_link(&beside, path).unwrap();
            fs::remove_file(&beside).unwrap();
        }
        4 => {
            // Written, written over itself, and touched: one version.
            fs::write(path, &bytes).unwrap();
            fs::write(path, &bytes).unwrap();
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_modified(SystemTime::now()).unwrap();
        }
        _ => fs::write(path, &bytes).unwrap(),
    }
    slot.newest = Some((hash, path.clone()));
}

/// One fault of a random kind for a random document, once.
fn fault(random: &mut Random, done: &mut Done) -> Fault {
    let endpoint = if random.below(8) == 0 {
        Endpoint::ReadValues
    } else {
        Endpoint::ValuesImage
    };
    let number = usize::try_from(random.below(DOCUMENTS as u64)).unwrap();
    let fault = Fault::on(endpoint).spreadsheet(document(number));
    done.faults += 1;
    match random.below(13) {
        0 => {
            done.throttled += 1;
            fault.throttle(429, 1)
        }
        1 => fault.answer(429, 90_217, "too many requests"),
        2 => fault.answer(500, 90_203, "internal"),
        3 => fault.html(503).when(AnswerWhen::BeforeBody),
        4 => fault.html(502).when(AnswerWhen::AfterWrite),
        5 => fault.answer(400, 90_235, "busy"),
        6 => fault.cut(Cut::InBody {
            bytes: random.below(2_000),
        }),
        7 => fault.cut(Cut::BeforeWrite),
        8 => fault.cut(Cut::AfterWrite),
        9 => fault.delay_write(Duration::from_secs(4)),
        10 => fault.delay_answer(Duration::from_secs(4)),
        // Short enough for its time-out: the sandbox notices late that a slow body's caller has gone.
        11 => fault.slow_read(400_000),
        _ => fault.answer(401, 99_991_663, "invalid access token"),
    }
}

/// KiB that the daemon that runs has filled; what is mapped of the program's file depends on the machine.
fn filled(rig: &Rig) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", rig.daemon().pid())).ok()?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn middle(samples: &[u64]) -> u64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

#[test]
fn under_load_and_faults_every_slot_ends_with_its_newest_and_nothing_is_sent_out_of_turn() {
    let seconds = std::env::var("PIXCELL_TEST_SOAK").map_or(SECONDS, |text| text.parse().unwrap());
    let mut random = Random::new(seed());
    let mut rig = Rig::with(|plan| {
        plan.args.clear();
        plan.sandbox.requests_per_second = RATE;
        plan.sandbox.latency = Duration::from_millis(5);
        // Twenty documents and a start every few seconds: more lists of sheets than 100 a minute.
        plan.sandbox.own_limits = false;
        plan.feishu.push(format!("requests_per_second: {RATE}"));
        plan.feishu.push("request_timeout: 3s".into());
        for number in 0..DOCUMENTS {
            let sheet = SheetSpec::new(SHEET, "Lobby");
            plan.sandbox
                .documents
                .push(DocumentSpec::new(document(number)).sheet(sheet));
            plan.mappings.push(mapping(number));
        }
    });
    for number in 0..DOCUMENTS {
        fs::create_dir(rig.path(format!("soak-{number:02}"))).unwrap();
        let (at, value): (CellRef, _) = ("A7".parse().unwrap(), "one".into());
        let key =
            |sheet: &mut pixcell::sandbox::Sheet| sheet.cells.insert(at, Cell::Value { value });
        rig.sandbox()
            .edit_sheet(&document(number), SHEET, key)
            .unwrap();
    }
    let mut slots = slots(&rig);
    let (mut known, mut judge, mut done) = (Known::new(), Judge::default(), Done::default());
    let (load, begun) = (Duration::from_secs(seconds), Instant::now());
    // In the last third nothing kills it, so that its memory can be watched for long.
    let undisturbed = load * 2 / 3;
    let (mut samples, mut tokens, mut alive) = (Vec::new(), 0, true);
    let between = |random: &mut Random, least: u64, most: u64| {
        Duration::from_millis(least + random.below(most - least))
    };
    let (kill_least, kill_most) = if seconds < 120 {
        (2_000, 8_000)
    } else {
        (5_000, 40_000)
    };
    let mut next_kill = between(&mut random, kill_least, kill_most);
    let mut next_reload = between(&mut random, 2_000, 10_000);
    let mut next_fault = Duration::from_secs(1);
    let mut next_expiry = Duration::from_secs(5);
    let mut next_look = Duration::from_secs(1);
    rig.start();
    loop {
        let now = begun.elapsed();
        if now >= load {
            break;
        }
        let number = usize::try_from(random.below(slots.len() as u64)).unwrap();
        change(&mut slots[number], number, &mut random, &mut known);
        done.changes += 1;
        if now >= next_fault {
            next_fault = now + between(&mut random, 100, 600);
            if rig.state().faults.iter().count() < MOST_FAULTS {
                rig.fault(fault(&mut random, &mut done));
            }
        }
        if now >= next_expiry {
            next_expiry = now + between(&mut random, 4_000, 12_000);
            rig.sandbox().expire_tokens();
            tokens += 1;
        }
        if now >= next_kill && now < undisturbed {
            if alive {
                rig.kill();
                let met = judge.killed(&rig);
                done.unrecorded += met.before_receipt;
                done.kills += 1;
                samples.clear();
                next_kill = now + between(&mut random, 10, 500);
            } else {
                rig.start_unready();
                next_kill = now + between(&mut random, kill_least, kill_most);
            }
            alive = !alive;
        } else if !alive && now >= undisturbed {
            rig.start_unready();
            alive = true;
        }
        // Before it is ready, SIGHUP would be a kill.
        if now >= next_reload && alive && rig.daemon().was_told("READY=1") {
            rig.daemon().signal(Signal::HUP);
            done.reloads += 1;
            next_reload = now + between(&mut random, 3_000, 20_000);
        }
        if now >= next_look {
            next_look = now + Duration::from_secs(1);
            judge.look(&rig.state(), &known);
            if alive {
                samples.extend(filled(&rig));
            }
        }
        let next = EVERY * u32::try_from(done.changes).unwrap();
        thread::park_timeout(next.saturating_sub(begun.elapsed()));
    }

    rig.sandbox().clear_faults();
    let settling = Instant::now();
    let missing = |rig: &Rig| {
        let state = rig.state();
        let mut missing = Vec::new();
        for (number, slot) in slots.iter().enumerate() {
            let Some((hash, path)) = &slot.newest else {
                continue;
            };
            let sheet = state.sheet(&document(slot.document), SHEET).unwrap();
            let mut cells = sheet.cells.iter().filter(|(at, cell)| {
                let here = slot.cell.is_none_or(|cell| cell == at.to_string());
                here && matches!(cell, Cell::Image(image) if image.hash == *hash)
            });
            if cells.next().is_none() {
                missing.push(format!(
                    "slot {number}, version {} of {}",
                    slot.version,
                    path.display()
                ));
            }
        }
        missing
    };
    while !missing(&rig).is_empty() {
        assert!(
            settling.elapsed() < SETTLE,
            "not in their cells: {:#?}",
            missing(&rig)
        );
        judge.look(&rig.state(), &known);
        thread::park_timeout(Duration::from_millis(200));
    }
    let settled = settling.elapsed();
    rig.fence();
    rig.stop();
    assert_eq!(missing(&rig), Vec::<String>::new(), "gone again");
    judge.look(&rig.state(), &known);

    let totals = rig.status()["totals"].clone();
    for what in ["queued", "stale", "parked"] {
        assert_eq!(totals[what], 0, "{what}: {totals}");
    }
    let state = rig.state();
    // A file of `append` has one row, however often it was killed between the row and the receipt.
    for number in 0..DOCUMENTS {
        let sheet = state.sheet(&document(number), SHEET).unwrap();
        let column = sheet
            .cells
            .keys()
            .filter(|at| at.to_string().starts_with('K'));
        assert!(
            column.count() <= 2,
            "rows given twice in {}",
            document(number)
        );
    }
    println!(
        "{seconds} s: {} changes, {} writes, {} repeated, {} kills that met {} receipts, {} reloads, {} faults, {tokens} times all tokens \
         expired, settled in {settled:.1?}; most calls in a second {}, overlaps {}",
        done.changes,
        judge.writes,
        judge.repeats,
        done.kills,
        done.unrecorded,
        done.reloads,
        done.faults,
        state.most_in_a_second,
        state.overlaps,
    );
    println!("KiB filled since the last kill, every second: {samples:?}");
    assert!(done.kills > 0 && done.reloads > 0 && judge.writes > 0);
    assert!(
        state.most_in_a_second <= RATE as usize,
        "{} calls in a second",
        state.most_in_a_second
    );
    assert!(
        state.answers(99_991_400) <= done.throttled,
        "throttled by its own doing"
    );
    let printed = rig.printed_by_daemons();
    for part in ["the store was lost or damaged", " ERROR "] {
        assert!(
            !printed.contains(part),
            "{part}: {:?}",
            printed.lines().find(|line| line.contains(part))
        );
    }
    let most = samples.iter().max().copied().unwrap_or_default();
    assert!(most > 0 && most < MOST_KIB, "{most} KiB filled");
    if samples.len() >= 120 {
        let third = samples.len() / 3;
        let (early, late) = (
            middle(&samples[third..2 * third]),
            middle(&samples[2 * third..]),
        );
        assert!(
            late < early + early / 10,
            "memory grows: {early} KiB, then {late} KiB"
        );
    }
}
