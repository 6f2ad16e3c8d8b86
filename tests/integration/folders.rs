//! A folder may come late, go, and come back; what its files have become is remembered meanwhile.

use std::fs::{self, FileTimes};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rstest::rstest;

use crate::support::{FOLDER, Mapping, Rig, document, padded, png};

#[test]
fn a_folder_that_is_missing_at_the_start_is_waited_for() {
    let mut rig = Rig::with(|plan| {
        plan.sandbox.documents.push(document("DocLate"));
        plan.mappings
            .push(Mapping::new("late", "late/deep", "DocLate"));
    });
    // Ready all the same, and the other folder works.
    rig.start();
    rig.warned(&["mapping=late", "late/deep", "waiting for it"]);
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    let state = rig.status()["mappings"][1]["state"].clone();
    assert_eq!(state["state"], "missing", "{state}");

    fs::create_dir_all(rig.path("late/deep")).unwrap();
    fs::write(rig.path("late/deep/B3.png"), png(2)).unwrap();
    rig.expect_in("DocLate", "B3", &png(2));
    rig.wait_status("watched", |status| {
        status["mappings"][1]["state"]["state"] == "native"
    });
    fs::write(rig.path("late/deep/B4.png"), png(3)).unwrap();
    rig.expect_in("DocLate", "B4", &png(3));
    rig.finish(3);
}

#[test]
fn a_folder_that_is_removed_and_made_again_is_watched_again() {
    let mut rig = Rig::started();
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    // Somebody still has it open, so that the kernel does not even tell of the removal.
    let _open = fs::File::open(rig.path(FOLDER)).unwrap();
    fs::remove_dir_all(rig.path(FOLDER)).unwrap();
    fs::create_dir(rig.path(FOLDER)).unwrap();
    rig.drop_file("B2.png", &png(1));
    rig.drop_file("B3.png", &png(2));
    rig.expect("B3", &png(2));
    rig.finish(2);
}

#[test]
fn a_folder_that_is_replaced_by_another_is_watched_and_the_old_one_is_not() {
    let mut rig = Rig::started();
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    fs::create_dir(rig.path("next")).unwrap();
    fs::write(rig.path("next/B3.png"), png(2)).unwrap();
    fs::rename(rig.path(FOLDER), rig.path("old")).unwrap();
    fs::rename(rig.path("next"), rig.path(FOLDER)).unwrap();
    rig.expect("B3", &png(2));
    fs::write(rig.path("old/B4.png"), png(3)).unwrap();
    rig.finish(2);
}

#[test]
fn a_folder_that_vanishes_for_a_while_brings_no_second_upload() {
    let mut rig = Rig::started();
    for row in 1..=5 {
        rig.drop_file(format!("B{row}.png"), &png(row));
        rig.expect(&format!("B{row}"), &png(row));
    }
    // As a disk that is unplugged and plugged in again.
    fs::rename(rig.path(FOLDER), rig.path("unplugged")).unwrap();
    rig.warned(&["removed or replaced"]);
    rig.warned(&["waiting for it"]);
    fs::rename(rig.path("unplugged"), rig.path(FOLDER)).unwrap();
    rig.wait_status("watched again", |status| {
        status["mappings"][0]["state"]["state"] == "native"
    });
    rig.finish(5);
}

#[test]
fn a_picture_that_waits_in_a_folder_that_goes_for_a_while_is_sent_when_it_is_back() {
    let mut rig = Rig::started();
    rig.hold_writes();
    rig.drop_file("C3.png", &png(1));
    rig.wait_held();
    rig.drop_file("B2.png", &png(2));
    rig.wait_queued("B2.png", &png(2));
    let away = rig.path("away");
    fs::rename(rig.file(""), &away).unwrap();
    rig.sandbox().release();
    rig.expect("C3", &png(1));
    rig.daemon()
        .wait_line(&["B2.png", "neither is the disk that it was on"]);
    rig.stop();
    // Nor does a pass wait for it, or take it for gone.
    let told = rig.pixcell(&["sync"]).with_code(1).stdout;
    assert!(
        told.contains("1 waiting") && told.contains("not written now"),
        "{told}"
    );
    fs::rename(&away, rig.file("")).unwrap();
    rig.start();
    rig.expect("B2", &png(2));
    rig.finish(2);
    let history = rig.pixcell(&["history"]).with_code(0).stdout;
    assert!(!history.contains("gone"), "{history}");
}

#[test]
fn a_folder_that_is_a_link_is_watched_where_it_points_to_now() {
    let mut rig = Rig::new();
    fs::rename(rig.path(FOLDER), rig.path("first")).unwrap();
    fs::create_dir(rig.path("second")).unwrap();
    symlink(rig.path("first"), rig.path(FOLDER)).unwrap();
    rig.start();
    rig.drop_file("B1.png", &png(1));
    rig.expect("B1", &png(1));
    // Replaced in one step, as by `ln -sfn`.
    fs::write(rig.path("second/B2.png"), png(2)).unwrap();
    symlink(rig.path("second"), rig.path("link")).unwrap();
    fs::rename(rig.path("link"), rig.path(FOLDER)).unwrap();
    rig.expect("B2", &png(2));
    fs::write(rig.path("first/B3.png"), png(3)).unwrap();
    rig.drop_file("B4.png", &png(4));
    rig.expect("B4", &png(4));
    rig.finish(3);
}

#[test]
fn a_folder_whose_parent_is_replaced_is_watched_in_its_new_place() {
    let mut rig = Rig::with(|plan| plan.mappings[0].folder = "above/in".into());
    fs::create_dir_all(rig.path("above/in")).unwrap();
    rig.start();
    fs::write(rig.path("above/in/B1.png"), png(1)).unwrap();
    rig.expect("B1", &png(1));
    fs::create_dir_all(rig.path("next/in")).unwrap();
    fs::write(rig.path("next/in/B2.png"), png(2)).unwrap();
    fs::rename(rig.path("above"), rig.path("old")).unwrap();
    fs::rename(rig.path("next"), rig.path("above")).unwrap();
    rig.expect("B2", &png(2));
    fs::write(rig.path("old/in/B3.png"), png(3)).unwrap();
    fs::write(rig.path("above/in/B4.png"), png(4)).unwrap();
    rig.expect("B4", &png(4));
    rig.daemon().wait_count("watching ", 2);
    assert_eq!(rig.writes(), 3);
    rig.stop();
}

fn set_time(path: &Path, time: SystemTime) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_times(FileTimes::new().set_modified(time)).unwrap();
}

/// Ways to give a file another content of the same length with a time that is not later.
#[rstest]
#[case::in_place_at_the_same_time(|path: &Path, _: &Path, bytes: &[u8], time| {
    fs::write(path, bytes).unwrap();
    set_time(path, time);
})]
#[case::in_place_at_an_earlier_time(|path: &Path, _: &Path, bytes: &[u8], time: SystemTime| {
    fs::write(path, bytes).unwrap();
    set_time(path, time - Duration::from_hours(1));
})]
#[case::by_rename_at_the_same_time(|path: &Path, beside: &Path, bytes: &[u8], time| {
    fs::write(beside, bytes).unwrap();
    set_time(beside, time);
    fs::rename(beside, path).unwrap();
})]
#[case::by_rename_at_an_earlier_time(|path: &Path, beside: &Path, bytes: &[u8], time: SystemTime| {
    fs::write(beside, bytes).unwrap();
    set_time(beside, time - Duration::from_hours(1));
    fs::rename(beside, path).unwrap();
})]
#[case::removed_and_made_again_at_the_same_time(|path: &Path, _: &Path, bytes: &[u8], time| {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
    set_time(path, time);
})]
fn a_polled_folder_finds_what_its_times_do_not_tell(
    #[case] change: fn(&Path, &Path, &[u8], SystemTime),
) {
    let mut rig = Rig::with(|plan| {
        plan.watch = "settle: 100ms, backend: poll, poll_interval: 100ms".into();
    });
    rig.start();
    assert_eq!(rig.status()["mappings"][0]["state"]["state"], "poll");
    let first = padded(1, 4000);
    rig.drop_file("B2.jpg", &first);
    rig.expect("B2", &first);
    let second = padded(2, 4000);
    let path = rig.file("B2.jpg");
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    change(&path, &rig.path("beside"), &second, time);
    rig.expect("B2", &second);
    rig.finish(2);
}
