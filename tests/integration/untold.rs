//! What no event tells of is found by the next listing, what may not be read is taken up once it may be,
//! and neither costs more than it has to.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, EventKind};
use notify::{RecursiveMode, Watcher};
use pixcell::sandbox::{Endpoint, Fault};

use crate::support::{FOLDER, LIMIT, Rig, Signal, installed, library, padded, pause, png};

/// What the status says of the first mapping's folder.
fn state(rig: &mut Rig) -> serde_json::Value {
    rig.status()["mappings"][0]["state"].clone()
}

fn wait_state(rig: &mut Rig, wanted: &str) {
    rig.wait_status(wanted, |status| {
        status["mappings"][0]["state"]["state"] == wanted
    });
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A rig whose daemon may read only what its user may, though it is root's.
fn bound_by_modes() -> Option<Rig> {
    let rig = Rig::with(|plan| {
        plan.watch += ", poll_interval: 100ms, rescan_every: 10s";
        if rustix::process::geteuid().is_root() {
            plan.through = vec!["setpriv", "--bounding-set=-dac_override,-dac_read_search"];
        }
    });
    (rig.plan.through.is_empty() || installed("setpriv")).then_some(rig)
}

/// In which states the daemon's threads are, as the kernel abbreviates them.
fn threads(rig: &Rig) -> impl Iterator<Item = char> {
    let tasks = fs::read_dir(format!("/proc/{}/task", rig.daemon().pid())).unwrap();
    let stat = |task: std::io::Result<fs::DirEntry>| {
        fs::read_to_string(task.ok()?.path().join("stat")).ok()
    };
    // Behind the name, which may hold anything.
    tasks
        .filter_map(stat)
        .filter_map(|stat| stat.get(stat.rfind(')')? + 2..)?.chars().next())
}

#[test]
fn what_the_kernels_queue_lost_is_found_by_listing_and_told_once() {
    let queue = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let queue: u32 = queue.trim().parse().unwrap();
    if queue > 100_000 {
        println!("skipped: the kernel queues {queue} events");
        return;
    }
    let mut rig = Rig::started();
    rig.drop_file("B1.png", &png(1));
    rig.expect("B1", &png(1));
    let others = ["one.tmp", "two.tmp"].map(|name| rig.file(name));
    for path in &others {
        fs::write(path, b"").unwrap();
    }
    rig.daemon().signal(Signal::STOP);
    // A thread that has not met the signal yet would go on reading events.
    while threads(&rig).any(|state| state != 'T') {
        pause();
    }
    // Reads, of which the daemon makes nothing: its own queues stay empty. In turn, as the kernel merges an
    // event with an equal one before it.
    for path in others.iter().cycle().take(queue as usize + 1) {
        fs::File::open(path).unwrap();
    }
    // These are told by nothing but the listing.
    rig.drop_file("B1.png", &png(2));
    fs::create_dir_all(rig.file("new/deep")).unwrap();
    rig.drop_file("new/deep/B2.png", &png(3));
    rig.daemon().signal(Signal::CONT);
    rig.warned(&["mapping=lobby", "the kernel's queue of events overflowed"]);
    rig.expect("B1", &png(2));
    rig.expect("B2", &png(3));
    // And events go on, also in the folder that no event told of.
    rig.drop_file("B3.png", &png(4));
    rig.expect("B3", &png(4));
    rig.finish(4);
    let told = rig.printed_by_daemons().matches("overflowed").count();
    assert_eq!(told, 1);
}

#[test]
fn what_is_written_while_the_daemon_starts_is_all_found() {
    const FILES: u32 = 190;
    // Setting watches and listing take a while, so that some files fall between them.
    const FOLDERS: u32 = 3000;
    let mut rig = Rig::new();
    for folder in 0..FOLDERS {
        fs::create_dir(rig.file(folder.to_string())).unwrap();
    }
    let ready = Arc::new(AtomicBool::new(false));
    let writer = {
        let (top, ready) = (rig.path(FOLDER), Arc::clone(&ready));
        thread::spawn(move || {
            let mut row = 0;
            // Some before, most during the start, and each is new.
            while row < FILES && !ready.load(Ordering::Relaxed) {
                row += 1;
                let folder = row * (FOLDERS / FILES);
                fs::write(top.join(format!("{folder}/B{row}.png")), png(row)).unwrap();
                thread::park_timeout(Duration::from_millis(2));
            }
            row
        })
    };
    rig.start();
    ready.store(true, Ordering::Relaxed);
    let written = writer.join().unwrap();
    for row in 1..=written {
        rig.expect(&format!("B{row}"), &png(row));
    }
    rig.finish(u64::from(written));
}

/// Of a camera that makes a new file before the last one has had its quiet time.
#[test]
fn pictures_that_keep_coming_do_not_keep_the_first_comparison_from_its_end() {
    let mut rig = Rig::with(|plan| {
        plan.watch = "backend: poll, poll_interval: 100ms, settle: 2s".into();
    });
    rig.drop_file("B1.png", &png(1));
    rig.start_unready();
    let end = Instant::now() + LIMIT;
    let mut row = 1;
    while rig.writes() == 0 {
        row += 1;
        rig.drop_file(format!("C{row}.png"), &png(row));
        rig.meanwhile(1, Duration::from_millis(200));
        assert!(Instant::now() < end, "{row} pictures and no write");
    }
    rig.expect("B1", &png(1));
    rig.stop();
}

#[test]
fn a_folder_that_may_not_be_read_any_more_is_named_and_taken_up_when_it_may() {
    let Some(mut rig) = bound_by_modes() else {
        return;
    };
    rig.plan.watch = "rescan_every: 1h".into();
    rig.write_config();
    rig.start();
    rig.drop_file("B1.png", &png(1));
    rig.expect("B1", &png(1));
    // Names alone, without a way to what they name; and not even those.
    for (row, mode) in [(2, 0o400), (3, 0o000)] {
        let name = format!("B{row}");
        set_mode(&rig.path(FOLDER), mode);
        wait_state(&mut rig, "missing");
        assert_eq!(state(&mut rig)["why"], "Permission denied (os error 13)");
        set_mode(&rig.path(FOLDER), 0o700);
        rig.drop_file(format!("{name}.png"), &png(row));
        rig.expect(&name, &png(row));
        wait_state(&mut rig, "native");
    }
    rig.warned(&["can be listed no longer: Permission denied"]);
    assert!(!rig.daemon().stderr().contains("removed or replaced"));
    rig.finish(3);
}

#[test]
fn a_close_is_heard_and_nothing_waits_for_a_quiet_time_then() {
    let mut rig = Rig::with(|plan| plan.watch = "settle: 10m".into());
    rig.start();
    rig.drop_file("B1.png", &png(1));
    rig.expect("B1", &png(1));
    rig.stop();
}

/// Without closes a picture would wait for its quiet time, and one whose end cannot be told for a writer that
/// is long gone.
#[test]
fn a_kernel_that_tells_of_no_close_is_found_out_and_every_file_by_listing() {
    let mut rig = Rig::with(|plan| {
        plan.watch += ", poll_interval: 100ms";
        plan.env = vec![("LD_PRELOAD", library("closeless").display().to_string())];
    });
    rig.drop_file("B1.png", &png(1));
    rig.start();
    rig.warned(&[
        "watching by listing instead",
        "the kernel did not tell that a file",
    ]);
    let told = state(&mut rig);
    assert_eq!(told["state"], "poll", "{told}");
    rig.expect("B1", &png(1));
    rig.drop_file("B2.png", &png(2));
    rig.expect("B2", &png(2));
    rig.finish(2);
}

/// Its picture waited already: a pass ends, and the file is named.
#[test]
fn a_pass_does_not_wait_for_a_file_that_may_not_be_read() {
    let Some(mut rig) = bound_by_modes() else {
        return;
    };
    rig.start();
    rig.fault(Fault::on(Endpoint::ValuesImage).throttle(429, 600));
    rig.drop_file("B1.png", &png(1));
    rig.warned(&["B1.png", "all calls wait"]);
    rig.stop();
    set_mode(&rig.file("B1.png"), 0o000);
    let told = rig.command(&["sync"]).end().with_code(3).stdout;
    assert!(told.contains("1 waiting"), "{told}");
    assert!(told.contains("give pixcell's user permission"), "{told}");
    set_mode(&rig.file("B1.png"), 0o600);
    rig.command(&["sync"]).end().with_code(0);
    rig.expect("B1", &png(1));
}

/// The daemon's own reads are told as well: reacting to them would be a loop.
#[test]
fn reading_a_file_is_no_reason_to_look_at_it() {
    let mut rig = Rig::with(|plan| plan.top.push("status: {listen: \"127.0.0.1:0\"}".into()));
    rig.start();
    rig.drop_file("B1.png", &png(1));
    rig.expect("B1", &png(1));
    rig.fence();
    let before = rig.looks();
    rig.fence();
    let of_a_fence = rig.looks() - before;
    assert!(of_a_fence > 0, "what counts looks sees none");
    let before = rig.looks();
    for _ in 0..100 {
        assert_eq!(fs::read(rig.file("B1.png")).unwrap(), png(1));
        fs::read_dir(rig.path(FOLDER)).unwrap().for_each(drop);
    }
    rig.fence();
    let after = rig.looks() - before;
    assert!(
        after <= of_a_fence,
        "{after} looks, {of_a_fence} of them at the sentinel"
    );
    rig.finish(1);
}

/// Writes by stores to memory that is shared with the file; whether that could be done.
fn write_by_memory(path: &Path, whole: &[u8]) -> bool {
    let script = "import mmap, sys\n\
        with open(sys.argv[1], 'r+b') as file: pages = mmap.mmap(file.fileno(), 0)\n\
        pages[:] = sys.stdin.buffer.read()";
    let child = Command::new("/usr/bin/python3")
        .args(["-c", script])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        println!("skipped in part: no /usr/bin/python3");
        return false;
    };
    child.stdin.take().unwrap().write_all(whole).unwrap();
    assert!(child.wait().unwrap().success());
    true
}

#[test]
fn what_is_written_without_an_event_is_found_when_it_is_time_to_list() {
    let mut rig = Rig::with(|plan| plan.watch += ", rescan_every: 10s");
    // Other names outside of the folder: the kernel tells whoever watches the folder nothing of them.
    let [one, two] = [1, 2].map(|number| {
        let outside = rig.outside(&format!("outside-{number}"), &padded(number, 9000));
        fs::hard_link(&outside, rig.file(format!("B{number}.jpg"))).unwrap();
        outside
    });
    rig.start();
    rig.expect("B1", &padded(1, 9000));
    rig.expect("B2", &padded(2, 9000));
    assert_eq!(state(&mut rig)["state"], "native");
    fs::write(one, padded(3, 9000)).unwrap();
    let both = write_by_memory(&two, &padded(4, 9000));
    rig.expect("B1", &padded(3, 9000));
    if both {
        rig.expect("B2", &padded(4, 9000));
    }
    rig.finish(3 + u64::from(both));
}

#[test]
fn listing_unchanged_files_opens_none_of_them() {
    const FILES: u32 = 500;
    let mut rig = Rig::with(|plan| {
        plan.watch = "settle: 100ms, backend: poll, poll_interval: 100ms".into();
    });
    let cell = |file: u32| format!("{}{}", ["B", "C", "D"][file as usize / 190], file % 190 + 1);
    for file in 0..FILES {
        rig.drop_file(format!("{}.png", cell(file)), &png(file));
    }
    rig.drop_file("no-picture.txt", b"text");
    rig.drop_file("half.png", &png(1)[..50]);
    rig.start();
    for file in 0..FILES {
        rig.expect(&cell(file), &png(file));
    }
    rig.fence();
    let opened = Arc::new(AtomicUsize::new(0));
    let (tell, told) = mpsc::channel();
    let mut beside = {
        let opened = Arc::clone(&opened);
        notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let event = event.unwrap();
            let file = event.paths.first().and_then(|path| path.extension());
            if matches!(event.kind, EventKind::Access(AccessKind::Open(_))) && file.is_some() {
                opened.fetch_add(1, Ordering::Relaxed);
                let _ = tell.send(());
            }
        })
        .unwrap()
    };
    beside
        .watch(&rig.path(FOLDER), RecursiveMode::NonRecursive)
        .unwrap();
    let listings = || rig.daemon().stderr().matches("as it is time").count();
    rig.daemon().wait_count("as it is time", listings() + 5);
    assert_eq!(opened.load(Ordering::Relaxed), 0, "files opened");
    // Were one opened, it would be seen.
    rig.drop_file("E1.png", &png(9));
    told.recv_timeout(LIMIT).unwrap();
    rig.stop();
}

/// How many watches the daemon has set.
fn watches(rig: &Rig) -> usize {
    let infos = fs::read_dir(format!("/proc/{}/fdinfo", rig.daemon().pid())).unwrap();
    let text = |entry: std::io::Result<fs::DirEntry>| fs::read_to_string(entry.ok()?.path()).ok();
    infos
        .filter_map(text)
        .map(|text| text.matches("inotify wd:").count())
        .sum()
}

#[test]
fn links_to_other_folders_are_not_watched() {
    let mut rig = Rig::new();
    for folder in 0..50 {
        fs::create_dir_all(rig.path(format!("elsewhere/{folder}"))).unwrap();
    }
    fs::create_dir(rig.file("real")).unwrap();
    symlink(rig.path("elsewhere"), rig.file("at-start")).unwrap();
    rig.start();
    // With the one for the daemon's own files.
    assert_eq!(watches(&rig), 3);
    symlink(rig.path("elsewhere"), rig.file("real/later")).unwrap();
    fs::create_dir(rig.path("moved")).unwrap();
    symlink(rig.path("elsewhere"), rig.path("moved/link")).unwrap();
    fs::rename(rig.path("moved"), rig.file("moved")).unwrap();
    fs::write(rig.path("elsewhere/7/B1.png"), png(1)).unwrap();
    // All of it has been looked at by then.
    rig.fence();
    fs::write(rig.file("moved/B2.png"), png(2)).unwrap();
    rig.expect("B2", &png(2));
    rig.fence();
    assert_eq!(watches(&rig), 4);
    rig.finish(1);
}

#[test]
fn a_file_that_may_not_be_read_is_told_and_written_once_it_may_be() {
    // The change of its mode is told.
    let Some(mut rig) = unlisted_and_bound_by_modes() else {
        return;
    };
    rig.start();
    let theirs = rig.outside("theirs", &png(1));
    set_mode(&theirs, 0o000);
    fs::rename(theirs, rig.file("B1.png")).unwrap();
    let told = rig
        .daemon()
        .wait_line(&["B1.png", "give pixcell's user permission"]);
    assert!(told.contains("mapping=lobby"), "{told}");
    // Nothing else waits for it.
    rig.drop_file("B2.png", &png(2));
    rig.expect("B2", &png(2));
    rig.wait_status("it is told", |status| {
        let refused = status["refused"].to_string();
        refused.contains("B1.png") && refused.contains("may not be read")
    });
    set_mode(&rig.file("B1.png"), 0o600);
    rig.expect("B1", &png(1));
    rig.wait_status("nothing is refused", |status| {
        status["refused"].as_array().is_some_and(Vec::is_empty)
    });
    rig.finish(2);
}

#[test]
fn a_folder_whose_permission_is_taken_is_waited_for() {
    let Some(mut rig) = bound_by_modes() else {
        return;
    };
    rig.start();
    rig.drop_file("B1.png", &png(1));
    rig.expect("B1", &png(1));
    set_mode(&rig.path(FOLDER), 0o000);
    wait_state(&mut rig, "missing");
    let told = state(&mut rig)["why"].to_string();
    assert!(told.contains("Permission denied"), "{told}");
    // Nothing of it counts as deleted.
    assert_eq!(rig.status()["mappings"][0]["images"], 1);
    set_mode(&rig.path(FOLDER), 0o700);
    wait_state(&mut rig, "native");
    rig.drop_file("B2.png", &png(2));
    rig.expect("B2", &png(2));
    rig.finish(2);
}

/// What the status says is not seen of the first mapping's folder.
fn unseen(rig: &mut Rig) -> String {
    state(rig)["unseen"].as_str().unwrap_or("").to_owned()
}

fn wait_all_seen(rig: &mut Rig) {
    rig.wait_status("all is seen", |status| {
        status["mappings"][0]["state"]["unseen"].is_null()
    });
}

/// A rig whose daemon is not root to the files, and without a listing that would find anything.
fn unlisted_and_bound_by_modes() -> Option<Rig> {
    let mut rig = bound_by_modes()?;
    rig.plan.watch = "settle: 150ms, rescan_every: 1h".into();
    rig.write_config();
    Some(rig)
}

#[test]
fn a_sub_folder_that_may_not_be_read_hides_nothing_else_and_is_taken_up_later() {
    let Some(mut rig) = unlisted_and_bound_by_modes() else {
        return;
    };
    for folder in ["a-open", "shut/deep", "z-open"] {
        fs::create_dir_all(rig.file(folder)).unwrap();
    }
    rig.drop_file("a-open/B1.png", &png(1));
    rig.drop_file("shut/deep/B2.png", &png(2));
    set_mode(&rig.file("shut"), 0o000);
    rig.start();
    rig.expect("B1", &png(1));
    rig.warned(&["not all of the folder is seen", "shut: Permission denied"]);
    let told = state(&mut rig);
    assert_eq!(told["state"], "native", "{told}");
    assert!(unseen(&mut rig).contains("shut: Permission denied"));
    // Whatever the order in which folders are met.
    for (row, folder) in [(3, "a-open"), (4, "z-open")] {
        rig.drop_file(format!("{folder}/B{row}.png"), &png(row));
        rig.expect(&format!("B{row}"), &png(row));
    }
    set_mode(&rig.file("shut"), 0o700);
    rig.expect("B2", &png(2));
    wait_all_seen(&mut rig);
    // Watched, and not only listed.
    rig.drop_file("shut/deep/B5.png", &png(5));
    rig.expect("B5", &png(5));
    assert_eq!(rig.status()["mappings"][0]["images"], 5);
    rig.finish(5);
    let told = rig.printed_by_daemons();
    assert_eq!(told.matches("not all of the folder is seen").count(), 1);
    assert_eq!(told.matches("by listing").count(), 0, "{told}");
}

#[test]
fn a_sub_folder_that_may_be_listed_and_not_entered_is_told_and_taken_up_later() {
    let Some(mut rig) = unlisted_and_bound_by_modes() else {
        return;
    };
    fs::create_dir_all(rig.file("shut/in/deep")).unwrap();
    rig.drop_file("shut/in/deep/B1.png", &png(1));
    set_mode(&rig.file("shut"), 0o600);
    rig.start();
    rig.warned(&["not all of the folder is seen", "shut"]);
    assert_eq!(state(&mut rig)["state"], "native");
    set_mode(&rig.file("shut"), 0o700);
    rig.expect("B1", &png(1));
    wait_all_seen(&mut rig);
    rig.finish(1);
}

#[test]
fn a_sub_folder_whose_permission_is_taken_is_told_and_what_came_meanwhile_is_found() {
    let Some(mut rig) = unlisted_and_bound_by_modes() else {
        return;
    };
    fs::create_dir(rig.file("sub")).unwrap();
    rig.drop_file("sub/B1.png", &png(1));
    rig.start();
    rig.expect("B1", &png(1));
    set_mode(&rig.file("sub"), 0o000);
    rig.warned(&["not all of the folder is seen", "sub: Permission denied"]);
    // The tests' root may write there; the daemon hears of it and may not look.
    rig.drop_file("sub/B2.png", &png(2));
    rig.drop_file("B3.png", &png(3));
    rig.expect("B3", &png(3));
    rig.fence();
    assert_eq!(
        (rig.writes(), rig.status()["mappings"][0]["images"].as_u64()),
        (2, Some(3))
    );
    set_mode(&rig.file("sub"), 0o700);
    rig.expect("B2", &png(2));
    wait_all_seen(&mut rig);
    rig.finish(3);
}

#[test]
fn a_tree_with_a_folder_that_may_not_be_read_is_moved_in_and_the_rest_of_it_watched() {
    let Some(mut rig) = unlisted_and_bound_by_modes() else {
        return;
    };
    rig.start();
    for folder in ["a", "m", "z"] {
        fs::create_dir_all(rig.path(format!("moved/{folder}"))).unwrap();
    }
    set_mode(&rig.path("moved/m"), 0o000);
    fs::rename(rig.path("moved"), rig.file("moved")).unwrap();
    rig.warned(&["not all of the folder is seen", "moved/m"]);
    for (row, folder) in [(1, "a"), (2, "z")] {
        rig.drop_file(format!("moved/{folder}/B{row}.png"), &png(row));
        rig.expect(&format!("B{row}"), &png(row));
    }
    // Gone with its folder, it is no gap any more.
    fs::remove_dir(rig.file("moved/m")).unwrap();
    wait_all_seen(&mut rig);
    rig.finish(2);
}

/// Whether a user namespace of its own can have its own limit; otherwise that is printed.
fn can_limit(name: &str) -> bool {
    let allowed = Command::new("unshare")
        .args(["--user", "--map-root-user", "sh", "-c"])
        .arg(format!("echo 20 >/proc/sys/user/{name}"))
        .output();
    let can = allowed.is_ok_and(|output| output.status.success());
    if !can {
        println!("skipped: no user namespaces here");
    }
    can
}

#[test]
fn without_an_instance_of_inotify_every_file_is_found_by_listing() {
    if !can_limit("max_inotify_instances") {
        return;
    }
    let mut rig = Rig::with(|plan| {
        plan.watch += ", poll_interval: 100ms";
        plan.through = vec![
            "unshare",
            "--user",
            "--map-root-user",
            "sh",
            "-c",
            "echo 0 >/proc/sys/user/max_inotify_instances && exec \"$0\" \"$@\"",
        ];
    });
    rig.start();
    rig.warned(&[
        "watching by listing instead",
        "fs.inotify.max_user_instances",
    ]);
    assert_eq!(state(&mut rig)["state"], "poll");
    rig.drop_file("B1.png", &png(1));
    rig.expect("B1", &png(1));
    rig.finish(1);
}

#[test]
fn watching_is_tried_again_and_works_once_there_are_enough_watches() {
    let mut rig = Rig::with(|plan| {
        plan.watch += ", poll_interval: 100ms, rescan_every: 10s";
        plan.through = vec![
            "unshare",
            "--user",
            "--map-root-user",
            "sh",
            "-c",
            // The limit is this namespace's own and can be raised from inside alone.
            "limit=/proc/sys/user/max_inotify_watches; echo 20 >$limit || exit 1; \
             (for i in $(seq 600); do [ ! -e raised ] || break; sleep 0.1; done; echo 100 >$limit) & \
             exec \"$0\" \"$@\"",
        ];
    });
    if !can_limit("max_inotify_watches") {
        return;
    }
    for folder in 0..30 {
        fs::create_dir(rig.file(folder.to_string())).unwrap();
    }
    rig.start();
    rig.warned(&["watching by listing instead", "user.max_inotify_watches"]);
    assert_eq!(state(&mut rig)["state"], "poll");
    fs::write(rig.path("raised"), "").unwrap();
    wait_state(&mut rig, "native");
    while watches(&rig) < 31 {
        pause();
    }
    rig.drop_file("29/B1.png", &png(1));
    rig.expect("B1", &png(1));
    rig.finish(1);
}
