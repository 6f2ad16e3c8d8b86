//! What a pass would send and why: told before it is sent, without a call, and true.

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::rows::{articles, example};
use crate::support::{Rig, jpeg, png};

/// Calls that have begun, whatever became of them.
fn begun(rig: &Rig) -> u64 {
    rig.state().calls_by_endpoint.values().sum()
}

#[track_caller]
fn plan(rig: &mut Rig) -> Value {
    let before = begun(rig);
    let ended = rig.pixcell(&["plan", "--json", "--config", "pixcell.yaml"]);
    assert_eq!(begun(rig), before, "a plan makes no call");
    ended.with_code(0).json()
}

/// Verdict, place and reason of a file.
#[track_caller]
fn told<'a>(plan: &'a Value, file: &str) -> (&'a str, &'a str, &'a str) {
    let files = plan["mappings"].as_array().unwrap().iter();
    let found = files
        .flat_map(|mapping| mapping["files"].as_array().unwrap())
        .find(|planned| planned["file"] == file)
        .unwrap_or_else(|| panic!("{file} is not in {plan:#}"));
    let text = |key: &str| found[key].as_str().unwrap_or("-");
    let place = if found["cell"].is_null() {
        "slot"
    } else {
        "cell"
    };
    (text("verdict"), text(place), text("why"))
}

/// A folder with a file of every kind.
fn mixed() -> Rig {
    let rig = Rig::with(|plan| {
        plan.mappings[0] = plan.mappings[0].clone().rule("poster.png", "B9");
        plan.mappings[0]
            .lines
            .push("ignore: [\"drafts/**\"]".into());
    });
    rig.drop_file("B2.png", &png(1));
    rig.drop_file("C3.png", &png(2));
    rig.drop_file("C3.jpg", &jpeg(3));
    rig.drop_file("poster.png", &png(4));
    rig.drop_file("D4.png", b"not a picture at all");
    rig.drop_file("E5.png", &png(5)[..40]);
    rig.drop_file("notes.txt", b"words");
    rig.drop_file("F6.png.part", &png(6));
    fs::create_dir(rig.file("drafts")).unwrap();
    rig.drop_file("drafts/G7.png", &png(7));
    // The newer of two for one cell, whatever the order in which they were made.
    let touch = |name: &str, time: &str| {
        let touched = Command::new("touch")
            .args(["-d", time])
            .arg(rig.file(name))
            .status();
        assert!(touched.unwrap().success());
    };
    touch("C3.png", "2024-01-01");
    touch("C3.jpg", "2024-01-02");
    rig
}

#[test]
fn a_pass_does_what_the_plan_says_and_the_plan_knows_what_was_done() {
    let mut rig = mixed();
    assert!(!rig.path("state").exists());
    let before = plan(&mut rig);
    assert!(!rig.path("state").exists(), "a plan leaves nothing behind");
    let verdict = |file: &str| told(&before, file).0.to_owned();
    for (file, expected) in [
        ("B2.png", "write"),
        ("C3.jpg", "write"),
        ("C3.png", "older"),
        ("poster.png", "write"),
        ("D4.png", "rejected"),
        ("E5.png", "waiting"),
        ("notes.txt", "ignored"),
        ("F6.png.part", "ignored"),
        ("drafts/", "ignored"),
    ] {
        assert_eq!(verdict(file), expected, "{file} in {before:#}");
    }
    assert_eq!(told(&before, "poster.png").1, "B9");
    assert!(told(&before, "C3.png").2.contains("C3.jpg is newer"));
    assert!(told(&before, "D4.png").2.contains("text"), "{before:#}");
    assert_eq!(told(&before, "notes.txt").2, "no rule takes it");
    assert_eq!(told(&before, "F6.png.part").2, "by `*.part`");
    assert_eq!(told(&before, "drafts/").2, "by `drafts/**`");
    let totals = &before["totals"];
    assert_eq!(
        (&totals["writes"], &totals["reads"], &totals["tokens"]),
        (&3.into(), &1.into(), &1.into())
    );
    let bytes = png(1).len() + jpeg(3).len() + png(4).len();
    assert_eq!(totals["picture_bytes"], bytes);

    let made = begun(&rig);
    rig.pixcell(&["sync", "--config", "pixcell.yaml"])
        .with_code(3);
    assert_eq!(begun(&rig) - made, 5, "as planned");

    let after = plan(&mut rig);
    for file in ["B2.png", "C3.jpg", "poster.png"] {
        let (verdict, cell, why) = told(&after, file);
        assert_eq!(verdict, "same", "{after:#}");
        assert!(cell.starts_with("Q7PlXT!"), "{after:#}");
        assert!(why.contains("revision"), "{after:#}");
    }
    assert_eq!(told(&after, "C3.png").0, "older");
    assert_eq!(told(&after, "D4.png").0, "rejected");
    assert_eq!(after["totals"]["writes"], 0);
    assert_eq!(after["totals"]["tokens"], 0);
}

#[test]
fn the_running_daemon_tells_the_same_plan_as_its_store() {
    let mut rig = mixed();
    rig.start();
    rig.wait_status("all written", |status| status["totals"]["written"] == 3);
    // What waits for its turn is told as well.
    rig.hold_writes();
    rig.drop_file("B2.png", &png(8));
    rig.wait_held();
    let running = plan(&mut rig);
    assert_eq!(
        told(&running, "B2.png"),
        ("write", "Q7PlXT!B2", "the cell holds another picture")
    );
    assert_eq!(running["totals"]["writes"], 1);
    rig.kill();
    assert_eq!(plan(&mut rig)["totals"]["writes"], 1);
    rig.sandbox().release();
}

#[test]
fn parked_pictures_are_not_counted_and_say_why() {
    let mut rig = Rig::started();
    rig.drop_file("ZZ9999.png", &png(1));
    rig.wait_status("parked", |status| status["totals"]["parked"] == 1);
    let plan = plan(&mut rig);
    let (verdict, place, why) = told(&plan, "ZZ9999.png");
    assert_eq!((verdict, place), ("parked", "ZZ9999"));
    assert!(why.contains("outside the grid"), "{why}");
    assert_eq!(plan["totals"]["writes"], 0);
}

#[test]
fn a_folder_that_is_not_there_is_told() {
    let mut rig = Rig::new();
    fs::remove_dir(rig.file("")).unwrap();
    let planned = plan(&mut rig);
    let why = &planned["mappings"][0]["unlisted"];
    assert!(why.as_str().unwrap().contains("No such file"), "{why}");
    let text = rig.pixcell(&["plan", "--config", "pixcell.yaml"]);
    let text = text.with_code(0).stdout;
    assert!(text.contains("not all of it is listed here"), "{text}");
    assert!(text.contains("no files\nsync would make 0 calls"), "{text}");
}

#[test]
fn calls_for_rows_are_counted_as_a_pass_makes_them() {
    for (name, title, files) in [
        (
            "catalogue.yaml",
            "Articles",
            ["articles/C-3.jpg", "articles/007.jpg", "articles/7.jpg"],
        ),
        (
            "inspection.yaml",
            "Line 1",
            ["one.jpg", "two.jpg", "three.jpg"],
        ),
    ] {
        let mut rig = example(name, title);
        articles(&rig);
        for (number, file) in (1..).zip(files) {
            rig.drop_file(file, &jpeg(number));
        }
        let planned = plan(&mut rig);
        let totals = &planned["totals"];
        assert_eq!(totals["writes"], 3, "{planned:#}");
        let expected = ["writes", "reads", "tokens"].map(|key| totals[key].as_u64().unwrap());
        let made = begun(&rig);
        rig.pixcell(&["sync", "--config", "pixcell.yaml"])
            .with_code(0);
        let made = begun(&rig) - made;
        assert_eq!(made, expected.iter().sum::<u64>(), "{name}: {planned:#}");
    }
}
