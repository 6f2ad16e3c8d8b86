//! A slot never gets content that it already holds, and gets all other.

use std::fs::{self, File};
use std::time::SystemTime;

use crate::support::{Mapping, Plan, Rig, document, jpeg, png};

#[test]
fn the_same_content_again_makes_no_call() {
    let mut rig = Rig::started();
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));

    rig.drop_file("B2.png", &png(1));
    rig.fence();
    let touched = File::options()
        .write(true)
        .open(rig.file("B2.png"))
        .unwrap();
    touched.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    drop(touched);
    rig.fence();
    let twin = rig.outside("twin.png", &png(1));
    fs::copy(&twin, rig.file("B2.png")).unwrap();
    rig.fence();
    fs::rename(twin, rig.file("B2.png")).unwrap();
    rig.fence();
    rig.finish(1);
}

#[test]
fn the_same_content_in_another_file_for_the_same_cell_makes_no_call() {
    let mut rig = Rig::started();
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    fs::create_dir(rig.file("again")).unwrap();
    fs::write(rig.file("again/b2.PNG"), png(1)).unwrap();
    rig.finish(1);
}

#[test]
fn the_same_content_for_another_cell_is_one_call() {
    let mut rig = Rig::started();
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    rig.drop_file("B3.png", &png(1));
    rig.expect("B3", &png(1));
    rig.finish(2);
}

#[test]
fn one_file_in_two_mappings_is_written_for_each() {
    let mut rig = Rig::with(|plan: &mut Plan| {
        plan.sandbox.documents.push(document("DocHall"));
        plan.mappings.push(Mapping::new("hall", "in", "DocHall"));
    });
    rig.start();
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    rig.expect_in("DocHall", "B2", &png(1));
    // The sentinel is for both, too.
    rig.fence();
    rig.wait("the second sentinel", |state| {
        state
            .sheet("DocHall", "Q7PlXT")
            .is_some_and(|sheet| sheet.cells.len() == 2)
    });
    assert_eq!(rig.writes(), 3);
}

#[test]
fn content_that_comes_back_is_written_again() {
    let mut rig = Rig::started();
    for bytes in [png(1), png(2), png(1)] {
        rig.drop_file("B2.png", &bytes);
        rig.expect("B2", &bytes);
    }
    rig.finish(3);
}

#[test]
fn a_removed_file_leaves_its_cell_and_comes_back_without_a_call() {
    let mut rig = Rig::started();
    rig.drop_file("B2.jpg", &jpeg(1));
    rig.expect("B2", &jpeg(1));
    fs::remove_file(rig.file("B2.jpg")).unwrap();
    rig.fence();
    rig.expect("B2", &jpeg(1));
    rig.drop_file("B2.jpg", &jpeg(1));
    rig.finish(1);
}
