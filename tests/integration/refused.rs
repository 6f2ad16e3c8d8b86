//! What cannot be sent is told with its file, its cell, the reason and what to do, is visible in the
//! status of the daemon and of the store, and holds up nothing else.

use std::fs::{self, File};
use std::io::Write;

use rstest::rstest;
use serde_json::Value;

use crate::support::{Mapping, Rig, jpeg, large_jpeg, png};

/// The one refused file of this name, as the daemon tells it and then as the store tells it.
#[track_caller]
fn refused(rig: &mut Rig, file: &str) -> [Value; 2] {
    let named = |entry: &Value| entry["file"] == file;
    let running = rig.wait_status("refused", |status| {
        status["refused"].as_array().unwrap().iter().any(named)
    });
    rig.stop();
    [running, rig.status()].map(|status| one(&status["refused"], file))
}

/// The same for a parked job.
#[track_caller]
fn parked(rig: &mut Rig, file: &str) -> [Value; 2] {
    let running = rig.wait_status("parked", |status| status["totals"]["parked"] == 1);
    rig.stop();
    [running, rig.status()].map(|status| one(&status["parked"], file))
}

#[track_caller]
fn one(list: &Value, file: &str) -> Value {
    let found: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["file"] == file)
        .collect();
    assert_eq!(found.len(), 1, "{file} in {list:#}");
    found[0].clone()
}

#[track_caller]
fn has_all(text: &Value, parts: &[&str]) {
    let text = text.as_str().unwrap();
    assert!(
        parts.iter().all(|part| text.contains(part)),
        "{text:?} has not all of {parts:?}"
    );
}

/// Drops a picture and insists that it is written: nothing is held up.
#[track_caller]
fn others_go_on(rig: &mut Rig) {
    rig.drop_file("C9.png", &png(99));
    rig.expect("C9", &png(99));
}

/// A TIFF of one directory, with nothing in it but what makes it a DNG.
fn camera_raw() -> Vec<u8> {
    let mut file = b"II\x2a\0\x08\0\0\0\x01\0".to_vec();
    file.extend(50706_u16.to_le_bytes());
    file.extend(b"\x01\0\x04\0\0\0\x01\x04\0\0\0\0\0\0");
    file
}

#[rstest]
#[case::text("B2.png", b"Dear diary, this is no picture.\n".to_vec(), &["rejected", "not an image"])]
#[case::a_page("B2.jpg", b"<!DOCTYPE html><html><body>Sign in</body></html>".to_vec(), &["rejected", "not an image"])]
#[case::webp("B2.png", b"RIFF\x24\0\0\0WEBPVP8 ".to_vec(), &["rejected", "WebP, not an image"])]
#[case::camera_raw("B2.jpg", camera_raw(), &["rejected", "DNG, a camera's raw file, not an image"])]
fn a_file_that_is_no_picture_is_rejected(
    #[case] name: &str,
    #[case] bytes: Vec<u8>,
    #[case] told: &[&str],
) {
    let mut rig = Rig::started();
    rig.drop_file(name, &bytes);
    let line = rig.warned(&["mapping=lobby", name, "B2", told[0]]);
    assert!(told.iter().all(|part| line.contains(part)), "{line}");
    others_go_on(&mut rig);
    rig.fence();
    for entry in refused(&mut rig, name) {
        assert_eq!(
            (&entry["verdict"], &entry["slot"]),
            (&"rejected".into(), &"B2".into())
        );
        has_all(&entry["reason"], &["its content is", "not an image"]);
    }
    // Told once for each content, also across a restart, and sent once it is a picture.
    rig.start();
    rig.fence();
    assert!(!rig.daemon().has_line(&["rejected"]), "told again");
    rig.drop_file(name, &png(1));
    rig.expect("B2", &png(1));
    assert_eq!(rig.status()["refused"], Value::Array(vec![]));
    rig.finish(2);
}

#[test]
fn an_empty_file_is_held_until_it_is_a_picture() {
    let mut rig = Rig::started();
    rig.drop_file("B2.png", b"");
    let line = rig.daemon().wait_line(&["held", "B2.png", "B2"]);
    assert!(line.contains("empty"), "{line}");
    others_go_on(&mut rig);
    for entry in refused(&mut rig, "B2.png") {
        assert_eq!(
            (&entry["verdict"], &entry["slot"]),
            (&"held".into(), &"B2".into())
        );
        has_all(&entry["reason"], &["empty"]);
    }
    rig.start();
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    rig.finish(2);
}

/// What a power cut leaves of a file that its writer did not sync.
#[rstest]
#[case::nothing(|_: &[u8]| Vec::new())]
#[case::zeros(|whole: &[u8]| vec![0; whole.len()])]
#[case::zeros_from_the_middle_on(|whole: &[u8]| {
    let mut bytes = whole.to_vec();
    bytes[whole.len() / 2..].fill(0);
    bytes
})]
fn what_a_power_cut_leaves_of_a_file_does_not_touch_its_cell(#[case] left: fn(&[u8]) -> Vec<u8>) {
    let mut rig = Rig::started();
    rig.drop_file("B2.jpg", &large_jpeg(1));
    rig.expect("B2", &large_jpeg(1));
    rig.stop();
    rig.drop_file("B2.jpg", &left(&large_jpeg(2)));
    rig.start();
    others_go_on(&mut rig);
    rig.fence();
    assert_eq!(rig.writes(), 2);
    rig.expect("B2", &large_jpeg(1));
    for entry in refused(&mut rig, "B2.jpg") {
        assert_eq!(entry["verdict"], "held");
    }
}

#[test]
fn files_that_are_gone_when_they_are_looked_at_are_no_trouble() {
    let mut rig = Rig::started();
    for round in 0..100 {
        rig.drop_file("B2.png", &png(round));
        fs::remove_file(rig.file("B2.png")).unwrap();
    }
    rig.fence();
    let printed = rig.daemon().stderr();
    let troubles =
        |line: &&str| line.contains("B2") && !line.contains(" DEBUG ") && !line.contains(" INFO ");
    assert_eq!(printed.lines().find(troubles), None);
    let status = rig.status();
    assert_eq!(status["refused"], Value::Array(vec![]));
    assert_eq!(status["totals"]["queued"], 0);
}

#[test]
fn a_truncated_jpeg_is_held_and_written_once_when_it_is_completed() {
    let mut rig = Rig::started();
    let whole = large_jpeg(1);
    let (first, rest) = whole.split_at(whole.len() / 2);
    // Closed halfway, as by a server whose client died.
    rig.drop_file("B2.jpg", first);
    rig.daemon().wait_line(&["held", "B2.jpg", "B2"]);
    others_go_on(&mut rig);
    rig.fence();
    assert_eq!(rig.writes(), 1);
    for entry in refused(&mut rig, "B2.jpg") {
        assert_eq!(entry["verdict"], "held");
    }
    rig.start();
    rig.fence();
    let mut file = File::options()
        .append(true)
        .open(rig.file("B2.jpg"))
        .unwrap();
    file.write_all(rest).unwrap();
    drop(file);
    rig.expect("B2", &whole);
    rig.finish(2);
}

#[test]
fn a_truncated_jpeg_is_not_sent_by_any_way_of_arriving() {
    let mut rig = Rig::started();
    let whole = large_jpeg(1);
    let half = rig.outside("half.jpg", &whole[..whole.len() - 2]);
    fs::hard_link(&half, rig.file("B2.jpg")).unwrap();
    fs::copy(&half, rig.file("B3.jpg")).unwrap();
    fs::create_dir(rig.file("sub")).unwrap();
    fs::rename(&half, rig.file("sub/B4.jpg")).unwrap();
    rig.finish(0);
    // Nor by a listing.
    rig.start();
    rig.finish(0);
    assert_eq!(rig.status()["mappings"][0]["held"], 3);
}

#[test]
fn a_file_that_is_too_large_is_rejected_unread() {
    let mut rig = Rig::started();
    // The head of a picture, then nothing: 21 MB that need no room on the disk.
    let outside = rig.outside("large", &png(1));
    let file = File::options().write(true).open(&outside).unwrap();
    file.set_len(21 * 1024 * 1024).unwrap();
    drop(file);
    fs::rename(outside, rig.file("B2.png")).unwrap();
    rig.warned(&["rejected", "B2.png", "B2", "21", "max_bytes"]);
    others_go_on(&mut rig);
    for entry in refused(&mut rig, "B2.png") {
        assert_eq!(entry["verdict"], "rejected");
        has_all(&entry["reason"], &["21", "20", "max_bytes"]);
    }
    rig.start();
    rig.finish(1);
}

#[test]
fn a_mappings_own_limit_counts() {
    let mut rig = Rig::with(|plan| plan.mappings[0].lines.push("max_bytes: 2KiB".into()));
    rig.start();
    rig.drop_file("B2.jpg", &large_jpeg(1));
    rig.warned(&["rejected", "B2.jpg", "max_bytes"]);
    others_go_on(&mut rig);
    rig.finish(1);
}

#[test]
fn a_name_that_no_rule_takes_is_left_alone() {
    let mut rig = Rig::started();
    rig.drop_file("holiday.png", &png(1));
    rig.drop_file("notes.txt", b"x");
    rig.finish(0);
    assert_eq!(rig.status()["refused"], Value::Array(vec![]));
}

#[test]
fn a_name_whose_rule_gives_no_cell_is_rejected_with_the_rule() {
    let mut rig = Rig::with(|plan| {
        let mapping = plan.mappings[0].clone();
        plan.mappings[0] = mapping.rule("wall-{place}.png", "{place}");
    });
    rig.start();
    rig.drop_file("wall-north.png", &png(1));
    rig.warned(&["rejected", "wall-north.png", "north"]);
    others_go_on(&mut rig);
    for entry in refused(&mut rig, "wall-north.png") {
        assert_eq!(
            (&entry["verdict"], &entry["slot"]),
            (&"rejected".into(), &Value::Null)
        );
        has_all(&entry["reason"], &["north", "cell"]);
    }
}

#[test]
fn a_cell_outside_the_grid_is_parked_without_a_write() {
    let mut rig = Rig::started();
    rig.drop_file("B5000.png", &png(1));
    rig.warned(&[
        "parked",
        "B5000.png",
        "B5000",
        "outside the grid",
        "add rows",
    ]);
    others_go_on(&mut rig);
    for entry in parked(&mut rig, "B5000.png") {
        assert_eq!(entry["slot"], "B5000");
        has_all(
            &entry["reason"],
            &["outside the grid", "200 rows", "add rows"],
        );
    }
    rig.start();
    rig.finish(1);
    assert_eq!(rig.status()["totals"]["parked"], 1);
}

#[test]
fn an_unknown_sheet_parks_its_pictures_and_names_the_sheets_there_are() {
    let mut rig = Rig::with(|plan| {
        let mut cellar = Mapping::new("cellar", "cellar", &plan.mappings[0].spreadsheet);
        cellar.sheet = "Cellar".into();
        plan.mappings.push(cellar);
    });
    fs::create_dir(rig.path("cellar")).unwrap();
    rig.start();
    fs::write(rig.path("cellar/B3.png"), png(1)).unwrap();
    rig.warned(&[
        "parked",
        "mapping=cellar",
        "B3.png",
        "B3",
        "Cellar",
        "Lobby",
        "change `sheet`",
    ]);
    // The same document's other sheet goes on.
    others_go_on(&mut rig);
    for entry in parked(&mut rig, "B3.png") {
        assert_eq!(
            (&entry["mapping"], &entry["slot"]),
            (&"cellar".into(), &"B3".into())
        );
        has_all(&entry["reason"], &["Cellar", "Lobby", "change `sheet`"]);
    }
}

#[test]
fn a_refused_image_is_parked_and_a_new_version_tries_again() {
    use pixcell::sandbox::{Endpoint, Fault};
    let mut rig = Rig::started();
    let refusal = Fault::on(Endpoint::ValuesImage).cell("B2");
    rig.fault(refusal.answer(400, 90_227, "the request is too large"));
    rig.drop_file("B2.jpg", &jpeg(1));
    rig.warned(&["parked", "B2.jpg", "B2", "90227", "too large"]);
    others_go_on(&mut rig);
    for entry in parked(&mut rig, "B2.jpg") {
        assert_eq!(
            (&entry["code"], &entry["until"]),
            (&90_227.into(), &"NewImage".into())
        );
        assert_eq!(entry["attempts"], 1);
    }
    rig.start();
    rig.drop_file("B2.jpg", &jpeg(2));
    rig.expect("B2", &jpeg(2));
    rig.finish(3);
}

#[test]
fn a_file_that_is_being_written_costs_no_line_and_one_that_was_left_behind_does() {
    let whole = png(2);
    let mut rig = Rig::with(|plan| plan.args = Vec::new());
    rig.drop_file("B2.png", &whole[..40]);
    rig.start();
    let line = rig
        .daemon()
        .wait_line(&["held until it changes", "file=B2.png"]);
    assert!(line.contains(" INFO "), "{line}");
    rig.drop_file("B3.png", &whole[..40]);
    rig.wait_status("held", |status| status["mappings"][0]["held"] == 2);
    rig.drop_file("B3.png", &whole);
    rig.expect("B3", &whole);
    rig.daemon().wait_line(&["written", "file=B3.png"]);
    assert!(!rig.daemon().has_line(&["held", "B3.png"]));
}

#[test]
fn the_list_of_rejected_files_is_bounded_and_each_goes_with_its_file() {
    const FILES: u64 = 1_010;
    const LISTED: usize = 1_000;
    let mut rig = Rig::new();
    for number in 0..FILES {
        rig.drop_file(format!("A{number}.png"), b"no picture");
    }
    rig.drop_file("B2.png", &png(1));
    rig.start();
    let listed = |status: &Value| status["refused"].as_array().unwrap().len();
    let rejected = |status: &Value| status["mappings"][0]["rejected"].as_u64();
    let status = rig.status();
    assert_eq!((listed(&status), rejected(&status)), (LISTED, Some(FILES)));
    rig.expect("B2", &png(1));
    rig.stop();
    for number in 0..FILES {
        fs::remove_file(rig.file(format!("A{number}.png"))).unwrap();
    }
    // A listing finds that they are gone, and nothing is kept of them.
    rig.start();
    let status = rig.wait_status("forgotten", |status| rejected(status) == Some(0));
    assert_eq!(listed(&status), 0);
    rig.finish(1);
}
