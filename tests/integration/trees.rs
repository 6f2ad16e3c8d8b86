//! Everything below a folder is found, however it got there, and what cannot be seen is told.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{
    DOC, FOLDER, Fuse, LIMIT, Manner, Mapping, Rig, document, mount, pause, png, unmount,
};

/// What the status says of the first mapping's folder.
fn folder(status: &serde_json::Value) -> &serde_json::Value {
    &status["mappings"][0]["state"]
}

#[test]
fn files_written_into_new_folders_at_once_are_all_found() {
    let mut rig = Rig::started();
    for row in 1..=100 {
        let folder = rig.file(format!("{row}/deep/er"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("B{row}.png")), png(row)).unwrap();
    }
    for row in 1..=100 {
        rig.expect(&format!("B{row}"), &png(row));
    }
    rig.finish(100);
}

#[test]
fn a_tree_that_is_moved_in_is_taken_whole_and_watched() {
    let mut rig = Rig::started();
    let outside = rig.path("outside");
    for row in 1..=50 {
        // Each level holds some.
        let levels = [row % 3, row % 2, row % 5].map(|part| part.to_string());
        let folder = outside.join(levels[..row as usize % 4].join("/"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("B{row}.png")), png(row)).unwrap();
    }
    fs::rename(outside, rig.file("moved")).unwrap();
    for row in 1..=50 {
        rig.expect(&format!("B{row}"), &png(row));
    }
    fs::write(rig.file("moved/1/1/1/C1.png"), png(99)).unwrap();
    rig.expect("C1", &png(99));
    // Renamed in place, it brings nothing new but is watched under its new name.
    fs::rename(rig.file("moved"), rig.file("again")).unwrap();
    fs::write(rig.file("again/1/1/1/C2.png"), png(98)).unwrap();
    rig.expect("C2", &png(98));
    rig.finish(52);
}

#[test]
fn each_way_of_arriving_without_a_close_is_one_write() {
    let mut rig = Rig::started();
    let whole = |rig: &Rig, number| rig.outside(&format!("whole-{number}"), &png(number));
    fs::rename(whole(&rig, 1), rig.file("B1.png")).unwrap();
    fs::hard_link(whole(&rig, 2), rig.file("B2.png")).unwrap();
    rig.expect("B1", &png(1));
    rig.expect("B2", &png(2));
    // Over one that is there, and from one name to another.
    fs::rename(whole(&rig, 3), rig.file("B1.png")).unwrap();
    rig.expect("B1", &png(3));
    fs::rename(rig.file("B2.png"), rig.file("B3.png")).unwrap();
    rig.expect("B3", &png(2));
    rig.finish(4);
}

#[test]
fn a_burst_into_new_folders_is_found_whole_and_none_of_it_twice() {
    const FILES: u32 = 1500;
    let mut rig = Rig::with(|plan| plan.online = false);
    rig.start();
    for row in 1..=FILES {
        let folder = rig.file(format!("{}/{}", row % 6, row % 30));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("B{row}.png")), png(row)).unwrap();
    }
    let status = rig.wait_status("all queued", |status| {
        status["totals"]["queued"] == FILES && status["mappings"][0]["images"] == FILES
    });
    assert_eq!(folder(&status)["state"], "native");
    rig.stop();
}

#[test]
fn a_folder_that_takes_the_name_of_one_that_somebody_still_has_open_is_watched() {
    let mut rig = Rig::started();
    fs::create_dir(rig.file("a")).unwrap();
    rig.drop_file("a/B1.png", &png(1));
    rig.expect("B1", &png(1));
    fs::remove_file(rig.file("a/B1.png")).unwrap();
    let open = fs::File::open(rig.file("a")).unwrap();
    fs::create_dir(rig.path("next")).unwrap();
    fs::rename(rig.path("next"), rig.file("a")).unwrap();
    rig.drop_file("a/B2.png", &png(2));
    rig.expect("B2", &png(2));
    // Only now is the old one gone for the kernel, and its watch taken off by the name of both.
    drop(open);
    rig.fence();
    rig.drop_file("a/B3.png", &png(3));
    rig.expect("B3", &png(3));
    rig.finish(3);
}

#[test]
fn a_folder_that_is_too_deep_is_told_and_does_not_hide_deletions() {
    let mut rig = Rig::with(|plan| {
        plan.online = false;
        plan.watch = "settle: 100ms, backend: poll, poll_interval: 100ms".into();
    });
    let deep = rig.file("d/".repeat(70));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("B9.png"), png(9)).unwrap();
    rig.drop_file("B1.png", &png(1));
    rig.drop_file("B2.png", &png(2));
    rig.start();
    rig.warned(&["mapping=lobby", "d/d/d", "more than 64 levels deep"]);
    let status = rig.wait_status("both queued", |status| status["totals"]["queued"] == 2);
    let unseen = folder(&status)["unseen"].to_string();
    assert!(unseen.contains("more than 64 levels deep"), "{unseen}");
    fs::remove_file(rig.file("B1.png")).unwrap();
    rig.wait_status("one is gone", |status| {
        status["totals"]["queued"] == 1 && status["mappings"][0]["images"] == 1
    });
    fs::remove_dir_all(rig.file("d")).unwrap();
    rig.wait_status("all is seen", |status| folder(status)["unseen"].is_null());
    let ended = rig.stop();
    let told = ended
        .stderr
        .matches("not all of the folder is seen")
        .count();
    assert_eq!(told, 1, "told once, however often it is listed");
}

#[test]
fn an_empty_folder_in_its_place_deletes_nothing_and_emptying_it_does() {
    let mut rig = Rig::with(|plan| {
        plan.watch = "settle: 100ms, backend: poll, poll_interval: 100ms".into();
    });
    rig.start();
    for row in 1..=2 {
        rig.drop_file(format!("B{row}.png"), &png(row));
        rig.expect(&format!("B{row}"), &png(row));
    }
    let images = |status: &serde_json::Value| status["mappings"][0]["images"].clone();
    rig.wait_status("both known", |status| images(status) == 2);
    // The place of a disk that is not mounted, on the same device as a bind mount's would be.
    fs::rename(rig.path(FOLDER), rig.path("unmounted")).unwrap();
    fs::create_dir(rig.path(FOLDER)).unwrap();
    rig.daemon().wait_count("watching ", 2);
    let listings = rig.daemon().stderr().matches("as it is time").count();
    rig.daemon().wait_count("as it is time", listings + 3);
    assert_eq!(images(&rig.status()), 2);
    fs::remove_dir(rig.path(FOLDER)).unwrap();
    fs::rename(rig.path("unmounted"), rig.path(FOLDER)).unwrap();
    rig.daemon().wait_count("watching ", 3);
    fs::remove_file(rig.file("B1.png")).unwrap();
    fs::remove_file(rig.file("B2.png")).unwrap();
    rig.wait_status("both gone", |status| images(status) == 0);
    rig.finish(2);
}

#[test]
fn the_job_of_a_deleted_file_goes_and_history_says_so_and_the_cell_stays_known() {
    let mut rig = Rig::started();
    rig.drop_file("B1.png", &png(1));
    rig.expect("B1", &png(1));
    rig.hold_writes();
    rig.drop_file("C1.png", &png(9));
    rig.wait_held();
    rig.drop_file("B1.png", &png(2));
    rig.drop_file("B2.png", &png(3));
    rig.wait_queued("B1.png", &png(2));
    rig.wait_queued("B2.png", &png(3));
    fs::remove_file(rig.file("B1.png")).unwrap();
    fs::remove_file(rig.file("B2.png")).unwrap();
    rig.wait_status("no job but the one in flight", |status| {
        status["totals"]["queued"] == 1 && status["mappings"][0]["images"] == 1
    });
    let history = rig.pixcell(&["history", "--json", "--config", "pixcell.yaml"]);
    let text = history.with_code(0).stdout;
    assert_eq!(text.matches("source_gone").count(), 2, "{text}");
    rig.sandbox().release();
    rig.expect("C1", &png(9));
    // What the cell held is still known.
    rig.drop_file("B1.png", &png(1));
    rig.finish(2);
}

#[test]
fn with_too_few_watches_every_file_is_found_by_listing() {
    let rig = Rig::new();
    for folder in 0..30 {
        fs::create_dir(rig.file(folder.to_string())).unwrap();
    }
    // Of both limits this one is the user namespace's own; the other is the machine's.
    let log = fs::File::create(rig.path("log")).unwrap();
    let child = Command::new("unshare")
        .args(["--user", "--map-root-user", "sh", "-c"])
        .arg("echo 20 >/proc/sys/user/max_inotify_watches && exec \"$0\" run --config pixcell.yaml")
        .arg(env!("CARGO_BIN_EXE_pixcell"))
        .current_dir(rig.path(""))
        .stderr(log)
        .stdout(Stdio::null())
        .spawn();
    let Ok(child) = child else {
        println!("skipped: `unshare` is not installed");
        return;
    };
    let mut child = Killed(child);
    let log = rig.path("log");
    let told = |what: &str| fs::read_to_string(&log).unwrap().contains(what);
    let end = Instant::now() + crate::support::LIMIT;
    while !told("watching by listing instead") {
        if told("unshare failed") || told("Permission denied") || told("Operation not permitted") {
            println!("skipped: no user namespaces here");
            return;
        }
        let running = child.0.try_wait().unwrap().is_none();
        let log = fs::read_to_string(&log).unwrap();
        assert!(running && Instant::now() < end, "{log}");
        pause();
    }
    let line = fs::read_to_string(&log).unwrap();
    assert!(
        line.contains("this mapping needs 31; raise it, e.g. `sysctl user.max_inotify_watches=64`"),
        "{line}"
    );
    fs::write(rig.file("29/B2.png"), png(2)).unwrap();
    rig.expect("B2", &png(2));
    fs::write(rig.file("3/B3.png"), png(3)).unwrap();
    rig.expect("B3", &png(3));
}

struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A FUSE file system whose server never answers, until it is dropped.
struct Dead {
    folder: PathBuf,
    server: Option<fs::File>,
}

impl Dead {
    fn mount(folder: PathBuf) -> Self {
        let server = mount(&folder);
        Self {
            folder,
            server: Some(server),
        }
    }
}

impl Drop for Dead {
    fn drop(&mut self) {
        // Everybody who waits for an answer gets an error.
        self.server = None;
        unmount(&self.folder);
    }
}

/// Asks for a plan, which names the two folders that hang and has the files of the other.
#[track_caller]
fn planned_without_the_dead(rig: &mut Rig) {
    let plan = rig.command(&["plan", "--json", "--config", "pixcell.yaml"]);
    let plan = plan.end_within(4 * LIMIT).with_code(0);
    let mappings = plan.json()["mappings"].clone();
    assert_eq!(mappings[0]["files"][0]["file"], "B1.png", "{mappings:#}");
    assert!(mappings[0]["unlisted"].is_null(), "{mappings:#}");
    for dead in [&mappings[1], &mappings[2]] {
        let why = dead["unlisted"].as_str().unwrap();
        assert!(why.contains("does not answer"), "{mappings:#}");
    }
}

/// `cargo test --test integration trees:: -- --ignored`
#[test]
#[ignore = "needs root and /dev/fuse to mount a file system that hangs"]
fn a_folder_that_hangs_stops_no_other_and_is_taken_up_when_it_answers() {
    let mut rig = Rig::with(|plan| {
        plan.sandbox.documents.push(document("DocDead"));
        plan.mappings.push(Mapping::new("dead", "dead", "DocDead"));
        // Of the same spreadsheet as a folder that works.
        plan.mappings
            .push(Mapping::new("dead-too", "dead/too", DOC));
    });
    fs::create_dir(rig.path("dead")).unwrap();
    let dead = Dead::mount(rig.path("dead"));
    rig.drop_file("B1.png", &png(1));
    // Without a daemon it waits for half a minute for each such folder.
    planned_without_the_dead(&mut rig);
    rig.start();
    rig.warned(&["/dead does not answer"]);
    rig.expect("B1", &png(1));
    let status = rig.status();
    assert_eq!(status["mappings"][1]["state"]["state"], "stuck", "{status}");
    assert_eq!(status["mappings"][0]["state"]["state"], "native");
    let threads = fs::read_dir(format!("/proc/{}/task", rig.daemon().pid()))
        .unwrap()
        .count();
    rig.meanwhile(1000, Duration::from_secs(5));
    let later = fs::read_dir(format!("/proc/{}/task", rig.daemon().pid()))
        .unwrap()
        .count();
    assert!(later <= threads + 2, "{threads} threads became {later}");
    let asked = Instant::now();
    planned_without_the_dead(&mut rig);
    assert!(asked.elapsed() < Duration::from_secs(20));
    drop(dead);
    fs::write(rig.path("dead/B2.png"), png(2)).unwrap();
    rig.expect_in("DocDead", "B2", &png(2));
    rig.wait_status("watched", |status| {
        status["mappings"][1]["state"]["state"] == "native"
    });
    rig.finish(2);
}

/// `cargo test --test integration trees:: -- --ignored`
#[test]
#[ignore = "needs root to mount a tmpfs"]
fn a_disk_that_is_mounted_over_the_folder_is_watched_and_so_is_what_was_below() {
    let mut rig = Rig::started();
    rig.drop_file("B1.png", &png(1));
    rig.expect("B1", &png(1));
    let status = Command::new("mount")
        .args(["-t", "tmpfs", "none"])
        .arg(rig.path(FOLDER))
        .status();
    assert!(status.unwrap().success(), "mount");
    rig.warned(&["removed or replaced"]);
    rig.daemon().wait_count("watching ", 2);
    rig.drop_file("B2.png", &png(2));
    rig.expect("B2", &png(2));
    // As a disk that is unplugged, with the daemon's descriptors on it.
    unmount(&rig.path(FOLDER));
    rig.daemon().wait_count("watching ", 3);
    rig.drop_file("B3.png", &png(3));
    rig.expect("B3", &png(3));
    rig.finish(3);
}

/// Files that are named after cells of column B.
fn pictures(rows: std::ops::RangeInclusive<u32>) -> Vec<(String, Vec<u8>)> {
    rows.map(|row| (format!("B{row}.png"), png(row))).collect()
}

fn threads(rig: &Rig) -> usize {
    let tasks = fs::read_dir(format!("/proc/{}/task", rig.daemon().pid()));
    tasks.unwrap().count()
}

/// `cargo test --test integration trees:: -- --ignored`
#[test]
#[ignore = "needs root and /dev/fuse to mount file systems that hang"]
fn folders_whose_files_cannot_be_read_stop_no_other() {
    let mut rig = Rig::with(|plan| {
        for name in ["DocMany", "DocFew"] {
            plan.sandbox.documents.push(document(name));
        }
        plan.mappings.push(Mapping::new("many", "many", "DocMany"));
        plan.mappings.push(Mapping::new("few", "few", "DocFew"));
        // Of the same spreadsheet as the folder that works.
        plan.mappings.push(Mapping::new("beside", "beside", DOC));
    });
    let hang = |folder: &str, files| {
        fs::create_dir(rig.path(folder)).unwrap();
        Fuse::mount(rig.path(folder), Manner::Unread, files)
    };
    // Of more files than may wait in all.
    let many = hang("many", pictures(1000..=10_000));
    let few = hang("few", pictures(1..=10));
    let beside = hang("beside", Vec::from([("C1.png".to_owned(), png(1))]));
    let begun = Instant::now();
    rig.start();
    let ready = begun.elapsed();
    println!("ready after {ready:.1?}");
    assert!(ready < Duration::from_secs(50), "ready after {ready:?}");
    for name in ["many", "few", "beside"] {
        rig.warned(&[&format!("mapping={name}"), "does not answer: reading"]);
    }
    let status = rig.status();
    assert_eq!(folder(&status)["state"], "native");
    for mapping in 1..=3 {
        let state = &status["mappings"][mapping]["state"];
        assert_eq!(state["state"], "stuck", "{state}");
        let why = state["why"].as_str().unwrap();
        assert!(
            why.starts_with("reading ") && why.ends_with(" hangs"),
            "{why}"
        );
    }
    let before = threads(&rig);
    for row in 1..=20 {
        rig.drop_file(format!("B{row}.png"), &png(row));
        rig.expect(&format!("B{row}"), &png(row));
    }
    rig.meanwhile(1000, Duration::from_secs(5));
    let after = threads(&rig);
    assert!(after <= before + 2, "{before} threads became {after}");
    few.answer(Manner::Prompt);
    beside.answer(Manner::Prompt);
    for row in 1..=10 {
        rig.expect_in("DocFew", &format!("B{row}"), &png(row));
    }
    rig.expect("C1", &png(1));
    let state = rig.status()["mappings"][2]["state"].clone();
    assert_eq!(state["state"], "poll", "{state}");
    assert_eq!(state["why"], "FUSE does not tell of all changes");
    drop((many, few, beside));
}

/// `cargo test --test integration trees:: -- --ignored`
#[test]
#[ignore = "needs root and /dev/fuse to mount a file system that hangs"]
fn a_folder_that_hangs_once_its_pictures_wait_holds_up_no_other_of_its_document() {
    let mut rig = Rig::with(|plan| {
        plan.watch += ", poll_interval: 100ms";
        plan.mappings.push(Mapping::new("share", "share", DOC));
    });
    fs::create_dir(rig.path("share")).unwrap();
    let share = Fuse::mount(
        rig.path("share"),
        Manner::Prompt,
        Vec::from([
            ("C1.png".to_owned(), png(11)),
            ("C2.png".to_owned(), png(12)),
        ]),
    );
    rig.hold_writes();
    rig.start();
    rig.wait_held();
    rig.wait_status("both known", |status| status["totals"]["queued"] == 2);
    rig.kill();
    share.answer(Manner::Unopened);
    rig.sandbox().release();
    // A pass over everything ends, and says what it leaves; the process goes with its last thread.
    let pass = rig.command(&["sync", "--config", "pixcell.yaml"]);
    let told = format!("{}: opening C", rig.path("share").display());
    let begun = Instant::now();
    while !pass.stdout().contains(&told) {
        assert!(begun.elapsed() < LIMIT, "{}", pass.stderr());
        pause();
    }
    share.answer(Manner::Prompt);
    pass.end().with_code(1);
    let written = rig.writes();
    rig.hold_writes();
    rig.start();
    rig.drop_file("B1.png", &png(1));
    rig.wait_queued("B1.png", &png(1));
    rig.wait_held();
    share.answer(Manner::Unopened);
    rig.sandbox().release();
    rig.expect("B1", &png(1));
    rig.warned(&["mapping=share", "/share does not answer: opening C"]);
    let state = rig.status()["mappings"][1]["state"].clone();
    assert_eq!(state["state"], "stuck", "{state}");
    let before = threads(&rig);
    for row in 2..=10 {
        rig.drop_file(format!("B{row}.png"), &png(row));
        rig.expect(&format!("B{row}"), &png(row));
    }
    assert!(threads(&rig) <= before + 1, "each try takes a thread");
    share.answer(Manner::Prompt);
    rig.expect("C1", &png(11));
    rig.expect("C2", &png(12));
    rig.finish(written + 12);
}

/// `cargo test --test integration trees:: -- --ignored`
#[test]
#[ignore = "needs root and /dev/fuse to mount a file system that is slow"]
fn it_is_ready_after_a_minute_while_a_folder_is_still_compared() {
    let mut rig = Rig::with(|plan| {
        plan.sandbox.documents.push(document("DocSlow"));
        plan.mappings.push(Mapping::new("slow", "slow", "DocSlow"));
    });
    fs::create_dir(rig.path("slow")).unwrap();
    let manner = Manner::Slow(Duration::from_secs(1));
    let slow = Fuse::mount(rig.path("slow"), manner, pictures(1..=400));
    rig.drop_file("B1.png", &png(1));
    let begun = Instant::now();
    rig.start_unready();
    rig.expect("B1", &png(1));
    assert!(
        !rig.daemon().was_told("READY=1"),
        "nothing was to be compared"
    );
    while !rig.daemon().was_told("READY=1") {
        assert!(begun.elapsed() < Duration::from_secs(75), "not ready");
        pause();
    }
    println!("ready after {:.1?}", begun.elapsed());
    rig.daemon().wait_line(&["still comparing folders"]);
    assert!(
        !rig.daemon().stderr().contains("does not answer"),
        "it is slow and goes on"
    );
    drop(slow);
    rig.kill();
}

/// `cargo test --test integration trees:: -- --ignored`
#[test]
#[ignore = "needs root and /dev/fuse to mount a file system that gives no events"]
fn a_sub_folder_that_may_be_read_without_an_event_is_taken_up_at_a_probe() {
    let mut rig = Rig::with(|plan| plan.watch += ", rescan_every: 1h");
    fs::create_dir(rig.file("sub")).unwrap();
    let sub = Fuse::mount(rig.file("sub"), Manner::Shut, pictures(1..=3));
    rig.start();
    rig.warned(&["not all of the folder is seen", "sub: Permission denied"]);
    assert_eq!(folder(&rig.status())["state"], "native");
    sub.answer(Manner::Prompt);
    for row in 1..=3 {
        rig.expect(&format!("B{row}"), &png(row));
    }
    rig.wait_status("all is seen", |status| folder(status)["unseen"].is_null());
    rig.finish(3);
}
