//! A folder may come late, go, and come back; what its files have become is remembered meanwhile.

use std::fs;

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
fn a_polled_folder_finds_what_its_times_do_not_tell() {
    let mut rig = Rig::with(|plan| {
        plan.watch = "settle: 100ms, backend: poll, poll_interval: 100ms".into();
    });
    rig.start();
    assert_eq!(rig.status()["mappings"][0]["state"]["state"], "poll");
    let first = padded(1, 4000);
    rig.drop_file("B2.jpg", &first);
    rig.expect("B2", &first);
    // Other content of that length under the old time, by rename: only the inode and the change time differ.
    let second = padded(2, 4000);
    let time = fs::metadata(rig.file("B2.jpg"))
        .unwrap()
        .modified()
        .unwrap();
    let beside = rig.outside("beside.jpg", &second);
    fs::File::options()
        .write(true)
        .open(&beside)
        .unwrap()
        .set_modified(time)
        .unwrap();
    fs::rename(beside, rig.file("B2.jpg")).unwrap();
    rig.expect("B2", &second);
    rig.finish(2);
}
