//! Rows that are found by a key and rows that files are given: the configurations of `examples/`, run
//! end to end, with people who sort, insert and fill rows in between.

use std::fs;
use std::time::{Duration, SystemTime};

use pixcell::a1::CellRef;
use pixcell::sandbox::{Cell, DocumentSpec, Endpoint, Fault, Sheet, SheetSpec};

use crate::support::{FOLDER, Rig, SHEET, jpeg, png};

/// The document that the examples name.
const DOC: &str = "Iow7sNNEphp3WbtnbCscPqabcef";

/// A rig that runs an example: its folder, the sandbox and the rig's secret in place of the named ones.
pub(super) fn example(name: &str, title: &str) -> Rig {
    let rig = Rig::with(|plan| {
        let sheet = SheetSpec::new(SHEET, title).grid(20, 6);
        plan.sandbox.documents = vec![DocumentSpec::new(DOC).sheet(sheet)];
    });
    let text = fs::read_to_string(format!("{}/examples/{name}", env!("CARGO_MANIFEST_DIR")));
    let mut text = text.unwrap();
    let secret = rig.outside("app_secret", rig.plan.secret.as_bytes());
    fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    for line in text.clone().lines() {
        let (key, _) = line.trim().split_once(':').unwrap_or_default();
        let indent = &line[..line.len() - line.trim_start().len()];
        let new = match key {
            "app_id" => format!(
                "{indent}app_id: {}\n{indent}endpoint: {}",
                rig.plan.sandbox.app_id,
                rig.sandbox().url()
            ),
            "app_secret_file" => format!("{indent}app_secret_file: app_secret"),
            "folder" => format!("{indent}folder: {FOLDER}"),
            _ => continue,
        };
        text = text.replace(line, &new);
    }
    rig.write_config_text(&format!(
        "state_dir: state\nwatch: {{ settle: 150ms }}\n{text}"
    ));
    rig
}

fn edit<R>(rig: &Rig, edit: impl FnOnce(&mut Sheet) -> R) -> R {
    rig.sandbox().edit_sheet(DOC, SHEET, edit).unwrap()
}

fn say(rig: &Rig, cell: &str, text: &str) {
    let (at, value): (CellRef, _) = (cell.parse().unwrap(), text.into());
    edit(rig, |sheet| sheet.cells.insert(at, Cell::Value { value }));
}

pub(super) fn articles(rig: &Rig) {
    fs::create_dir(rig.file("articles")).unwrap();
    for (row, key) in [(2, "C-3"), (3, "007"), (4, "Ａ－1 "), (5, "7")] {
        say(rig, &format!("A{row}"), key);
    }
}

/// Moves pictures into the folder at once, each with its time of capture in seconds.
fn arrive(rig: &Rig, files: &[(&str, u64, &[u8])]) {
    let batch = rig.path("batch");
    fs::create_dir_all(&batch).unwrap();
    for (name, captured, bytes) in files {
        let path = batch.join(name);
        fs::write(&path, bytes).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(*captured);
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(time).unwrap();
    }
    for (name, ..) in files {
        fs::rename(batch.join(name), rig.file(name)).unwrap();
    }
}

#[test]
fn a_catalogue_finds_its_rows_whatever_people_do_with_them() {
    let mut rig = example("catalogue.yaml", "Articles");
    articles(&rig);
    rig.start();
    rig.drop_file("articles/A-1.png", &png(1));
    rig.drop_file("articles/007.png", &png(2));
    rig.drop_file("articles/7.png", &png(3));
    rig.expect_in(DOC, "D4", &png(1));
    rig.expect_in(DOC, "D3", &png(2));
    rig.expect_in(DOC, "D5", &png(3));
    // The column was read once; two rows were confirmed by their cell.
    assert_eq!(rig.calls(Endpoint::ReadValues), 3);
    assert_eq!(rig.writes(), 3);

    // Sorted and extended: pictures travel with their rows, nothing is sent again.
    edit(&rig, |sheet| {
        sheet.sort_rows(2, "A".parse().unwrap());
        sheet.insert_rows(2, 2).unwrap();
    });
    let rows: Vec<_> = ["A4", "A5", "A6", "A7"]
        .into_iter()
        .map(|at| {
            let at: CellRef = at.parse().unwrap();
            edit(&rig, |sheet| match &sheet.cells[&at] {
                Cell::Value { value } => value.as_str().unwrap().to_owned(),
                Cell::Image(_) => panic!("a picture in {at}"),
            })
        })
        .collect();
    assert_eq!(rows, ["007", "7", "C-3", "Ａ－1 "]);
    rig.expect_in(DOC, "D4", &png(2));
    rig.drop_file("articles/A-1.png", &png(4));
    rig.expect_in(DOC, "D7", &png(4));
    rig.drop_file("articles/C-3.png", &png(5));
    rig.expect_in(DOC, "D6", &png(5));
    rig.expect_in(DOC, "D4", &png(2));
    rig.expect_in(DOC, "D5", &png(3));
    assert_eq!(rig.writes(), 5);
    // One row had moved: its old cell, the column; the other was confirmed.
    assert_eq!(rig.calls(Endpoint::ReadValues), 6);
    rig.stop();
}

#[test]
fn many_missing_keys_cost_one_read_and_are_written_when_the_column_is_read_again() {
    let mut rig = example("catalogue.yaml", "Articles");
    articles(&rig);
    for number in 1..=30 {
        rig.drop_file(format!("articles/NEW-{number}.png"), &png(number));
    }
    rig.start();
    let status = rig.wait_status("all parked", |status| status["totals"]["parked"] == 30);
    assert_eq!(rig.calls(Endpoint::ReadValues), 1);
    assert_eq!(rig.writes(), 0);
    let reason = status["parked"][0]["reason"].as_str().unwrap().to_owned();
    assert!(
        reason.contains("says \"NEW-1\" in column A from row 2 on"),
        "{reason}"
    );
    say(&rig, "A9", "NEW-4");
    say(&rig, "A10", "NEW-5");
    // A key that has moved makes the column be read again, and that finds the others.
    say(&rig, "A2", "");
    say(&rig, "A11", "C-3");
    rig.drop_file("articles/C-3.png", &png(99));
    rig.expect_in(DOC, "D11", &png(99));
    rig.expect_in(DOC, "D9", &png(4));
    rig.expect_in(DOC, "D10", &png(5));
    assert_eq!(rig.writes(), 3);
    rig.stop();
    assert_eq!(rig.status()["totals"]["parked"], 28);
}

#[test]
fn of_two_rows_with_one_key_the_first_is_written_and_both_are_named() {
    let mut rig = example("catalogue.yaml", "Articles");
    articles(&rig);
    say(&rig, "A8", "007");
    rig.start();
    rig.drop_file("articles/007.png", &png(1));
    rig.expect_in(DOC, "D3", &png(1));
    rig.warned(&["rows 3 and 8 both say \"007\" in column A"]);
    rig.stop();
}

#[test]
fn an_inspection_line_appends_in_the_order_of_capture_and_files_keep_their_rows() {
    let mut rig = example("inspection.yaml", "Line 1");
    say(&rig, "B2", "first");
    say(&rig, "B4", "a note");
    rig.start();
    let shots = [jpeg(1), jpeg(2), jpeg(3), jpeg(4)];
    arrive(
        &rig,
        &[
            ("z.jpg", 3_000, &shots[0]),
            ("y.jpg", 1_000, &shots[1]),
            ("a.jpg", 2_000, &shots[2]),
            ("b.jpg", 1_000, &shots[3]),
        ],
    );
    for (row, shot) in [(5, 3), (6, 1), (7, 2), (8, 0)] {
        rig.expect_in(DOC, &format!("B{row}"), &shots[shot]);
    }
    assert_eq!(rig.calls(Endpoint::ReadValues), 1);
    rig.drop_file("a.jpg", &jpeg(5));
    rig.expect_in(DOC, "B7", &jpeg(5));
    assert_eq!((rig.calls(Endpoint::ReadValues), rig.writes()), (1, 5));

    // What people write below is left alone, and a full sheet grows.
    say(&rig, "B20", "the end");
    rig.drop_file("c.jpg", &jpeg(6));
    rig.expect_in(DOC, "B21", &jpeg(6));
    assert_eq!(rig.calls(Endpoint::AddDimension), 1);
    rig.drop_file("d.jpg", &jpeg(7));
    rig.expect_in(DOC, "B22", &jpeg(7));
    assert_eq!(rig.calls(Endpoint::AddDimension), 1);

    // Somebody removes the empty rows: the next file finds the sheet full once more.
    let shorter = SheetSpec::new(SHEET, "Line 1").grid(22, 6);
    let shorter = DocumentSpec::new(DOC).sheet(shorter);
    rig.sandbox().set_document(&shorter).unwrap();
    rig.drop_file("e.jpg", &jpeg(8));
    rig.expect_in(DOC, "B23", &jpeg(8));
    assert_eq!(rig.calls(Endpoint::AddDimension), 2);
    rig.stop();
}

#[test]
fn after_kills_no_file_has_two_rows_and_no_row_two_files() {
    let mut rig = example("inspection.yaml", "Line 1");
    let shots: Vec<_> = (0..12).map(jpeg).collect();
    for (round, three) in shots.chunks(3).enumerate() {
        rig.start_unready();
        // A picture is in its row, and the daemon does not live to hear of it.
        rig.fault(Fault {
            delay_answer_ms: 500,
            ..Fault::on(Endpoint::ValuesImage)
        });
        for (place, shot) in three.iter().enumerate() {
            rig.drop_file(format!("{round}-{place}.jpg"), shot);
        }
        let begun = rig.writes();
        rig.wait("a write begins", |state| {
            state.calls(Endpoint::ValuesImage) > begun
        });
        rig.kill();
    }
    rig.start();
    let written = |sheet: &Sheet| {
        let cells = sheet.cells.iter();
        let images = cells.filter_map(|(at, cell)| match cell {
            Cell::Image(image) => Some((at.to_string(), image.hash)),
            Cell::Value { .. } => None,
        });
        images.collect::<Vec<_>>()
    };
    rig.wait_status("all are written", |status| {
        status["totals"]["written"] == 12
    });
    let found = edit(&rig, |sheet| written(sheet));
    assert_eq!(found.len(), 12, "a row each: {found:?}");
    let mut hashes: Vec<_> = found.iter().map(|(_, hash)| hash.to_hex()).collect();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 12, "a file each");
    // From the rule's first row on, and no row was lost to a kill.
    let rows: Vec<_> = found.iter().map(|(cell, _)| cell.as_str()).collect();
    for row in 2..14 {
        assert!(
            rows.contains(&format!("B{row}").as_str()),
            "B{row} in {rows:?}"
        );
    }
    rig.stop();
}

#[test]
fn a_wall_of_cameras_shows_each_in_its_cell() {
    let mut rig = example("cameras.yaml", "Wall");
    for side in ["north", "south"] {
        fs::create_dir(rig.file(side)).unwrap();
    }
    rig.start();
    rig.drop_file("north/camera-3.jpg", &jpeg(1));
    rig.drop_file("south/camera-3.jpg", &jpeg(2));
    rig.expect_in(DOC, "B4", &jpeg(1));
    rig.expect_in(DOC, "C4", &jpeg(2));
    // Within the minute nothing is sent for the same cell.
    rig.drop_file("north/camera-3.jpg", &jpeg(3));
    rig.drop_file("north/camera-4.jpg", &jpeg(4));
    rig.expect_in(DOC, "B5", &jpeg(4));
    assert_eq!(rig.writes(), 3);
    rig.stop();
}
