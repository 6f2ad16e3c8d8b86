//! Newest wins: of versions that wait only the last is sent, and an older one never comes after it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant, SystemTime};

use pixcell::image::ContentHash;
use pixcell::sandbox::{Endpoint, Fault, Outcome};
use rstest::rstest;

use crate::support::{DOC, LIMIT, Mapping, Rig, SHEET, large_jpeg, library, padded, pause, png};

#[test]
fn twenty_versions_during_a_call_cost_one_more_call() {
    let mut rig = Rig::started();
    rig.hold_writes();
    rig.drop_file("B2.png", &png(0));
    rig.wait_held();
    for version in 1..=20 {
        rig.drop_file("B2.png", &png(version));
    }
    rig.wait_queued("B2.png", &png(20));
    rig.sandbox().release();
    rig.expect("B2", &png(20));
    rig.finish(2);
    rig.expect("B2", &png(20));
}

#[test]
fn a_version_that_failed_is_not_repeated_once_a_newer_one_is_there() {
    let mut rig = Rig::started();
    rig.fault(Fault::on(Endpoint::ValuesImage).throttle(429, 1));
    rig.drop_file("B2.png", &png(1));
    rig.warned(&["B2.png", "all calls wait"]);
    rig.drop_file("B2.png", &png(2));
    rig.expect("B2", &png(2));
    rig.finish(2);
    // Never the first one: the sheet was changed once.
    assert_eq!(
        rig.state().sheet(DOC, SHEET).unwrap().revision,
        2,
        "with the sentinel"
    );
}

/// Of two files, since one that has changed could not be sent as it was.
#[test]
fn a_call_that_fails_after_a_newer_version_came_is_not_repeated() {
    let mut rig = Rig::with(|plan| {
        let mapping = plan.mappings[0].clone();
        plan.mappings[0] = mapping.rule("poster*.png", "B2");
    });
    rig.start();
    rig.fault(Fault::on(Endpoint::ValuesImage).answer(503, 1500, "busy"));
    rig.hold_writes();
    rig.drop_file("poster-2.png", &png(1));
    rig.wait_held();
    rig.drop_file("poster-1.png", &png(2));
    rig.wait_queued("poster-1.png", &png(2));
    rig.sandbox().release();
    rig.expect("B2", &png(2));
    rig.finish(2);
    // The first one was never in the cell, neither before nor after.
    let revision = rig.state().sheet(DOC, SHEET).unwrap().revision;
    assert_eq!(revision, 2, "with the sentinel");
}

#[test]
fn a_file_that_is_rewritten_without_a_pause_is_sent_all_the_same() {
    let mut rig = Rig::with(|plan| plan.watch = "settle: 10m".into());
    rig.start();
    let end = Instant::now() + LIMIT;
    let mut last = Vec::new();
    for seed in 1.. {
        last = large_jpeg(seed);
        rig.drop_file("B2.jpg", &last);
        if rig.writes() > 0 {
            break;
        }
        assert!(Instant::now() < end, "{seed} pictures and no write");
    }
    rig.expect("B2", &last);
    assert_eq!(rig.state().answers_by_code.keys().collect::<Vec<_>>(), [&0]);
}

/// A whole file comes in at once, with this time.
fn bring(rig: &Rig, name: &str, bytes: &[u8], time: SystemTime) {
    let outside = rig.outside("dated.png", bytes);
    let file = fs::File::options().write(true).open(&outside).unwrap();
    file.set_modified(time).unwrap();
    fs::rename(outside, rig.file(name)).unwrap();
}

#[test]
fn the_last_to_arrive_wins_whatever_its_time_says() {
    let mut rig = Rig::with(|plan| {
        let mapping = plan.mappings[0].clone();
        plan.mappings[0] = mapping.rule("poster*.png", "B2");
    });
    rig.start();
    let bring = |rig: &Rig, name, bytes: &[u8], time| {
        bring(rig, name, bytes, time);
        rig.expect("B2", bytes);
    };
    // From a clock that runs ahead by decades; then from a camera without a clock, and with a name before
    // the other.
    let ahead = SystemTime::UNIX_EPOCH + Duration::from_hours(1_130_808);
    bring(&rig, "poster-z.png", &png(1), ahead);
    bring(&rig, "poster-a.png", &png(2), SystemTime::UNIX_EPOCH);
    rig.finish(2);
    // And it still is the newest after a restart, and after a comparison of everything.
    rig.start();
    rig.finish(2);
    rig.expect("B2", &png(2));
}

/// A lane finds a picture changed before the kernel's event of it is heard: late, on a busy machine. The
/// picture written before it, of which is heard later still, is not taken for the newer one.
#[test]
fn what_is_found_before_it_is_heard_of_arrived_when_it_did() {
    let mut rig = Rig::new();
    let deaf = rig.path("deaf");
    rig.plan.env = vec![
        ("LD_PRELOAD", library("deaf").display().to_string()),
        ("DEAF", deaf.display().to_string()),
    ];
    let mapping = rig.plan.mappings[0].clone();
    rig.plan.mappings[0] = mapping.rule("poster*.png", "B2");
    rig.write_config();
    rig.start();
    rig.drop_file("poster-1.png", &png(1));
    rig.expect("B2", &png(1));
    rig.hold_writes();
    rig.drop_file("B3.png", &png(2));
    rig.wait_held();
    rig.drop_file("poster-2.png", &png(3));
    rig.wait_queued("poster-2.png", &png(3));
    fs::write(&deaf, "").unwrap();
    rig.drop_file("poster-1.png", &png(4));
    rig.drop_file("poster-2.png", &png(5));
    rig.sandbox().release();
    // It has been read and waits for what is to be heard of it; or did not wait, and is in the cell.
    let cookies = rig.path("state/cookies/of-lobby");
    let hash = ContentHash::of(&png(5));
    let held = |rig: &Rig| {
        let state = rig.state();
        let image = state.image(DOC, SHEET, "B2");
        image.is_some_and(|image| image.hash == hash)
    };
    let end = Instant::now() + LIMIT;
    while fs::read_dir(&cookies).unwrap().count() == 0 && !held(&rig) {
        assert!(Instant::now() < end, "neither waits nor is sent");
        pause();
    }
    fs::remove_file(&deaf).unwrap();
    rig.expect("B2", &png(5));
    rig.fence();
    rig.stop();
    rig.expect("B2", &png(5));
}

/// A picture that nobody saw arrive, before the daemon ended or was told to read its configuration, beside one
/// that was written meanwhile.
#[rstest]
#[case::older_than_what_is_there(-1, true, false)]
#[case::as_old_with_a_lesser_name(0, true, false)]
#[case::newer(1, true, true)]
#[case::older_than_what_is_gone(-1, false, true)]
fn what_was_there_when_watching_began_is_compared_by_its_time(
    #[case] seconds: i64,
    #[case] other_stays: bool,
    #[case] wins: bool,
) {
    let mut rig = Rig::with(|plan| {
        let mapping = plan.mappings[0].clone();
        plan.mappings[0] = mapping.rule("poster*.png", "B2");
    });
    rig.start();
    rig.drop_file("poster-2.png", &png(1));
    rig.expect("B2", &png(1));
    rig.stop();
    let there = fs::metadata(rig.file("poster-2.png")).unwrap();
    let time = there.modified().unwrap();
    if !other_stays {
        fs::remove_file(rig.file("poster-2.png")).unwrap();
    }
    bring(&rig, "poster-1.png", &png(2), moved(time, seconds));
    let plan = rig.pixcell(&["plan", "--json"]).with_code(0).json();
    assert_eq!(
        plan["totals"]["writes"].as_u64(),
        Some(u64::from(wins)),
        "{plan}"
    );
    rig.start();
    rig.finish(1 + u64::from(wins));
    rig.expect("B2", &png(1 + u32::from(wins)));
}

/// The same of two mappings that feed one cell, each with a folder of its own.
#[rstest]
#[case::older_than_what_is_there(-1, Other::Stays, false)]
#[case::newer(1, Other::Stays, true)]
#[case::older_than_what_is_gone(-1, Other::Goes, true)]
#[case::older_than_what_was_in_a_folder_that_is_gone(-1, Other::GoesWithItsFolder, true)]
fn what_was_there_in_two_folders_when_watching_began_is_compared_by_its_time(
    #[case] seconds: i64,
    #[case] other: Other,
    #[case] wins: bool,
) {
    let mut rig = Rig::with(|plan| {
        plan.mappings.push(Mapping::new("hall", "hall", DOC));
    });
    fs::create_dir(rig.path("hall")).unwrap();
    rig.start();
    let there = rig.path("hall/B2.png");
    fs::rename(rig.outside("B2.png", &png(1)), &there).unwrap();
    rig.expect("B2", &png(1));
    rig.stop();
    let time = fs::metadata(&there).unwrap().modified().unwrap();
    match other {
        Other::Stays => {}
        Other::Goes => fs::remove_file(&there).unwrap(),
        Other::GoesWithItsFolder => fs::rename(rig.path("hall"), rig.path("hall-before")).unwrap(),
    }
    bring(&rig, "B2.png", &png(2), moved(time, seconds));
    let plan = rig.pixcell(&["plan", "--json"]).with_code(0).json();
    assert_eq!(
        plan["totals"]["writes"].as_u64(),
        Some(u64::from(wins)),
        "{plan}"
    );
    rig.start();
    rig.finish(1 + u64::from(wins));
    rig.expect("B2", &png(1 + u32::from(wins)));
}

/// What becomes of the other file while nobody watches.
#[derive(Debug, Clone, Copy)]
enum Other {
    Stays,
    Goes,
    GoesWithItsFolder,
}

fn moved(time: SystemTime, seconds: i64) -> SystemTime {
    let difference = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 {
        time - difference
    } else {
        time + difference
    }
}

#[test]
fn a_rescan_during_a_call_does_not_bring_an_older_file_back() {
    let mut rig = Rig::with(|plan| {
        let mapping = plan.mappings[0].clone();
        plan.mappings[0] = mapping.rule("poster*.png", "B2");
    });
    rig.start();
    rig.drop_file("poster-1.png", &png(1));
    rig.expect("B2", &png(1));
    rig.drop_file("poster-2.png", &png(2));
    rig.expect("B2", &png(2));
    rig.daemon().signal(crate::support::Signal::USR1);
    rig.daemon().wait_line(&["listing the folder, as asked"]);
    rig.finish(2);
    rig.expect("B2", &png(2));
}

#[test]
fn what_is_sent_is_what_was_hashed_though_no_event_told_of_a_change() {
    let mut rig = Rig::started();
    // Waits between being hashed and being sent.
    rig.fault(Fault::on(Endpoint::ValuesImage).throttle(429, 1));
    // The file has another name, through which it can be changed unheard; its length stays.
    let (old, new) = (padded(1, 4_000), padded(2, 4_000));
    let other_name = rig.outside("other-name", &old);
    fs::hard_link(&other_name, rig.file("B2.jpg")).unwrap();
    rig.warned(&["B2.jpg", "all calls wait"]);
    fs::write(other_name, &new).unwrap();
    rig.expect("B2", &new);
    // The ledger says what the cell holds, and the old content was never there.
    let hash = ContentHash::of(&new).to_string();
    rig.daemon().wait_line(&["written", "B2.jpg", &hash]);
    assert_eq!(rig.state().sheet(DOC, SHEET).unwrap().revision, 1);
    rig.finish(2);
}

#[test]
fn a_picture_that_changes_while_it_is_read_is_not_sent_torn() {
    const LENGTH: usize = 12 * 1024 * 1024;
    // Looked at again only when the sandbox has read its buffers and noticed the end of the call.
    let mut rig = Rig::with(|plan| plan.watch = "settle: 4s".into());
    rig.start();
    // Slow enough that neither side's buffers hold the rest of the body.
    rig.fault(Fault::on(Endpoint::ValuesImage).slow_read(5_000_000));
    let (old, mut new) = (padded(1, LENGTH), padded(1, LENGTH));
    rig.drop_file("B2.jpg", &old);
    let other_name = rig.path("other-name");
    fs::hard_link(rig.file("B2.jpg"), &other_name).unwrap();
    rig.wait("the call has begun", |state| {
        !state.in_flight.is_empty() && state.calls(Endpoint::ValuesImage) == 1
    });
    let file = fs::File::options().write(true).open(&other_name).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"new", LENGTH as u64 - 3).unwrap();
    drop(file);
    new.truncate(LENGTH - 3);
    new.extend(b"new");
    rig.expect("B2", &new);
    // Given up before its last byte, so that the sheet changed once only.
    let calls = rig.write_records();
    assert_eq!(
        (calls[0].outcome, calls.len()),
        (Some(Outcome::Abandoned), 2)
    );
    assert_eq!(rig.state().sheet(DOC, SHEET).unwrap().revision, 1);
    rig.finish(2);
}

/// A rig whose `poster*.png` all go to B2.
fn contested() -> Rig {
    Rig::with(|plan| {
        let mapping = plan.mappings[0].clone();
        plan.mappings[0] = mapping.rule("poster*.png", "B2");
    })
}

#[test]
fn changed_attributes_of_an_older_file_do_not_bring_it_back() {
    let mut rig = contested();
    rig.start();
    rig.drop_file("poster-1.png", &png(1));
    rig.expect("B2", &png(1));
    rig.drop_file("poster-2.png", &png(2));
    rig.expect("B2", &png(2));
    let older = rig.file("poster-1.png");
    fs::set_permissions(&older, fs::Permissions::from_mode(0o640)).unwrap();
    fs::hard_link(&older, rig.path("backup.png")).unwrap();
    rig.finish(2);
    rig.expect("B2", &png(2));
}

/// As by a copy that keeps the time.
#[test]
fn a_picture_that_is_brought_again_is_the_newest_again() {
    let mut rig = contested();
    rig.start();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    for (name, seed) in [
        ("poster-1.png", 1),
        ("poster-2.png", 2),
        ("poster-1.png", 1),
    ] {
        bring(&rig, name, &png(seed), time);
        rig.expect("B2", &png(seed));
    }
    rig.finish(3);
}

#[test]
fn when_the_newest_file_goes_unsent_the_one_before_it_is_sent() {
    let mut rig = contested();
    rig.start();
    // The lane is busy with another cell while both arrive.
    rig.hold_writes();
    rig.drop_file("C3.png", &png(9));
    rig.wait_held();
    rig.drop_file("poster-1.png", &png(1));
    rig.wait_queued("poster-1.png", &png(1));
    rig.drop_file("poster-2.png", &png(2));
    rig.wait_queued("poster-2.png", &png(2));
    fs::remove_file(rig.file("poster-2.png")).unwrap();
    rig.wait_status("the older one waits again", |status| {
        status["totals"]["queued"] == 2
    });
    rig.daemon().wait_line(&["poster-2.png", "gone"]);
    rig.sandbox().release();
    rig.expect("B2", &png(1));
    rig.finish(2);
}

/// Of the files that are left the last to arrive is the newest, whatever their times say: the one in the cell, or
/// one that was not sent, as another came after it.
#[rstest]
#[case::it_is_in_the_cell(true, false)]
#[case::it_waited(false, false)]
#[case::it_is_in_the_cell_and_the_newest_went_unseen(true, true)]
#[case::it_waited_and_the_newest_went_unseen(false, true)]
fn when_the_newest_file_goes_unsent_the_others_arrived_when_they_did(
    #[case] sent: bool,
    #[case] unseen: bool,
) {
    let mut rig = contested();
    rig.start();
    let time = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - seconds);
    bring(&rig, "poster-z.png", &png(1), time(0));
    rig.expect("B2", &png(1));
    if sent {
        bring(&rig, "poster-a.png", &png(2), time(1));
        rig.expect("B2", &png(2));
    }
    // Nothing is sent in this run any more.
    rig.fault(Fault::on(Endpoint::ValuesImage).throttle(429, 600));
    rig.drop_file("C3.png", &png(9));
    rig.warned(&["C3.png", "all calls wait"]);
    if !sent {
        bring(&rig, "poster-a.png", &png(2), time(1));
        rig.wait_queued("poster-a.png", &png(2));
    }
    bring(&rig, "poster-y.png", &png(3), time(2));
    rig.wait_queued("poster-y.png", &png(3));
    let newest = rig.file("poster-y.png");
    if unseen {
        rig.stop();
        fs::remove_file(newest).unwrap();
    } else {
        fs::remove_file(newest).unwrap();
        rig.daemon().wait_line(&["poster-y.png", "gone"]);
        rig.fence_unwritten();
        rig.stop();
    }
    rig.start();
    rig.expect("C3", &png(9));
    rig.expect("B2", &png(2));
    // That of C3 twice.
    rig.finish(4);
    rig.expect("B2", &png(2));
}

/// Bytes a second at which the sandbox reads these bodies, and the pictures' length: neither side's buffers
/// hold the rest of one.
const SLOW: u32 = 3_000_000;
const LONG: usize = 16 * 1024 * 1024;

/// A long picture that differs from others in its last bytes only, which are read last.
fn long(version: u8) -> Vec<u8> {
    let mut bytes = padded(1, LONG);
    bytes[LONG - 1] = version;
    bytes
}

/// The last bytes of a long picture, in which another differs.
const TAIL: usize = 1_000;

/// Makes the file of a long picture this one, which has the same bytes up to the [`TAIL`] of the long one.
fn rewrite(path: &std::path::Path, new: &[u8]) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(new.len() as u64).unwrap();
    let same = (LONG - TAIL).min(new.len());
    std::os::unix::fs::FileExt::write_all_at(&file, &new[same..], same as u64).unwrap();
}

/// A rig whose picture is being sent slowly, and another name of its file, through which it is changed
/// unheard: it is looked at again when the sandbox has read its buffers and noticed the end of the call.
fn sending(picture: &[u8], calls: u32) -> (Rig, std::path::PathBuf) {
    let mut rig = Rig::with(|plan| plan.watch = "settle: 4s".into());
    rig.start();
    let slow = Fault::on(Endpoint::ValuesImage).slow_read(SLOW);
    rig.fault(slow.times(calls));
    rig.drop_file("B2.jpg", picture);
    let other_name = rig.path("other-name");
    fs::hard_link(rig.file("B2.jpg"), &other_name).unwrap();
    under_way(&rig, 1);
    (rig, other_name)
}

#[track_caller]
fn under_way(rig: &Rig, calls: u64) {
    rig.wait("the call is under way", |state| {
        state.calls(Endpoint::ValuesImage) == calls && !state.in_flight.is_empty()
    });
}

#[test]
fn a_file_that_is_rewritten_faster_than_it_can_be_sent_is_sent_all_the_same() {
    let [first, second, third] = [1, 2, 3].map(long);
    let (mut rig, other_name) = sending(&first, 2);
    rewrite(&other_name, &second);
    // The first call is given up; the second goes on although its file is another by now.
    under_way(&rig, 2);
    rewrite(&other_name, &third);
    rig.expect("B2", &second);
    let outcomes: Vec<_> = rig
        .write_records()
        .iter()
        .map(|call| call.outcome)
        .collect();
    assert_eq!(outcomes, [Outcome::Abandoned, Outcome::Answered].map(Some));
    rig.daemon().signal(crate::support::Signal::USR1);
    rig.expect("B2", &third);
    rig.finish(3);
}

#[test]
fn a_call_that_is_given_up_counts_for_the_interval() {
    let mut rig = Rig::with(|plan| plan.mappings[0].lines.push("min_interval: 10s".into()));
    rig.start();
    rig.fault(Fault::on(Endpoint::ValuesImage).slow_read(SLOW));
    let [first, second] = [1, 2].map(long);
    rig.drop_file("B2.jpg", &first);
    under_way(&rig, 1);
    rewrite(&rig.file("B2.jpg"), &second);
    rig.expect("B2", &second);
    let calls = rig.write_records();
    assert_eq!(calls[0].outcome, Some(Outcome::Abandoned));
    let between = calls[1].started_ms - calls[0].started_ms;
    // It began a moment before its head came.
    assert!(between + 500 >= 10_000, "{between} ms");
    rig.finish(2);
}

/// What becomes of a file while its picture is sent.
#[derive(Debug, Clone, Copy)]
enum Becomes {
    Shorter,
    Longer,
    Replaced,
    Gone,
}

#[rstest]
fn whatever_becomes_of_a_file_while_it_is_sent_its_newest_content_is_in_the_cell(
    #[values(Becomes::Shorter, Becomes::Longer, Becomes::Replaced, Becomes::Gone)] becomes: Becomes,
) {
    let old = long(1);
    let (new, calls, writes) = match becomes {
        Becomes::Shorter => (padded(1, LONG - TAIL), 2, 1),
        Becomes::Longer => (padded(1, LONG + TAIL), 2, 1),
        // The file that is read is nobody's any more, and whole.
        Becomes::Replaced => (padded(2, 50_000), 2, 2),
        Becomes::Gone => (old.clone(), 1, 1),
    };
    let (mut rig, other_name) = sending(&old, 1);
    let path = rig.file("B2.jpg");
    match becomes {
        Becomes::Shorter | Becomes::Longer => rewrite(&other_name, &new),
        Becomes::Replaced => fs::rename(rig.outside("new.jpg", &new), &path).unwrap(),
        Becomes::Gone => fs::remove_file(&path).unwrap(),
    }
    rig.expect("B2", &new);
    rig.finish(calls);
    let revision = rig.state().sheet(DOC, SHEET).unwrap().revision;
    assert_eq!(revision, writes + 1, "with the sentinel");
}

#[test]
fn a_camera_that_never_rests_goes_forward_only_whatever_kills_the_daemon() {
    let mut rig = Rig::with(|plan| plan.mappings[0].lines.push("min_interval: 200ms".into()));
    let number =
        |hash: &ContentHash| (1..=400).find(|version| ContentHash::of(&png(*version)) == *hash);
    let (mut version, mut seen) = (0, Vec::new());
    for _ in 0..3 {
        rig.start();
        let writes = rig.writes();
        // Three pictures each time, and none of them waited for.
        while rig.writes() < writes + 3 && version < 399 {
            version += 1;
            rig.drop_file("B2.png", &png(version));
            rig.meanwhile(1, std::time::Duration::from_millis(50));
            let state = rig.state();
            if let Some(image) = state.image(DOC, SHEET, "B2") {
                seen.push(number(&image.hash).expect("one of ours"));
            }
        }
        rig.kill();
    }
    assert!(seen.is_sorted() && seen.first() < seen.last(), "{seen:?}");
    version += 1;
    rig.drop_file("B2.png", &png(version));
    rig.start();
    rig.expect("B2", &png(version));
    let writes = rig.writes();
    rig.finish(writes);
    rig.expect("B2", &png(version));
}
