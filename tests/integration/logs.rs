//! The log says what happened and does not fill the disk.

use pixcell::sandbox::{Endpoint, Fault};
use serde_json::{Value, json};

use crate::support::{DOC, Rig, SHEET, png};

#[test]
fn thousands_of_files_that_fail_are_less_than_a_hundred_lines() {
    const FILES: u32 = 2_000;
    let mut rig = Rig::with(|plan| plan.args = Vec::new());
    for row in 1..=FILES {
        rig.drop_file(
            format!("B{row}.png"),
            b"no picture at all, whatever its name says",
        );
    }
    rig.start();
    rig.wait_status("all are rejected", |status| {
        status["mappings"][0]["rejected"] == FILES
    });
    let ended = rig.stop();
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert!(lines.len() < 100, "{} lines: {ended}", lines.len());
    let rejected = lines.iter().filter(|line| line.contains("rejected: "));
    assert!(rejected.count() > 1, "{ended}");
    // None is left out without a word.
    let more: u32 = lines
        .iter()
        .filter_map(|line| {
            line.split_once("… ")?
                .1
                .split_once(" more in the last minute")
        })
        .map(|(more, _)| more.parse::<u32>().unwrap())
        .sum();
    let told = lines.iter().filter(|line| line.contains("file=B"));
    assert_eq!(
        more + u32::try_from(told.count()).unwrap(),
        FILES,
        "{ended}"
    );
}

#[test]
fn a_program_finds_each_field_of_an_event_and_numbers_as_numbers() {
    let mut rig = Rig::with(|plan| plan.args = vec!["--log-format", "json"]);
    let throttled = Fault::on(Endpoint::ValuesImage).answer(429, 99_991_400, "too many");
    rig.fault(throttled.times(1));
    rig.start();
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    let revision = rig.state().image(DOC, SHEET, "B2").unwrap().revision;
    let events: Vec<Value> = rig
        .stop()
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let one = |level: &str, begins: &str| {
        let is_it = |event: &&Value| {
            event["level"] == level && event["message"].as_str().unwrap().starts_with(begins)
        };
        let found: Vec<&Value> = events.iter().filter(is_it).collect();
        assert_eq!(found.len(), 1, "{begins}: {events:#?}");
        found[0].clone()
    };
    let written = one("INFO", "written");
    let refused = one("WARN", "the API answered");
    for event in [&written, &refused] {
        let place = (&event["mapping"], &event["file"], &event["slot"]);
        assert_eq!(place, (&json!("lobby"), &json!("B2.png"), &json!("B2")));
    }
    assert_eq!(written["cell"], format!("{SHEET}!B2"));
    assert_eq!(written["revision"], json!(revision));
    assert_eq!(written["bytes"], png(1).len());
    assert_eq!(refused["code"], 99_991_400);
    assert!(
        refused["logid"].as_str().is_some_and(|id| id.len() > 8),
        "{refused}"
    );
}
