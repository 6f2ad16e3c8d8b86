//! Names are bytes: whatever a file is called, it is written or reported, the log stays one line an
//! event, and a restart knows it again.

use rstest::rstest;

use crate::support::{DOC, Rig, SHEET, png, raw};

const NAMES: [(&str, &[u8]); 10] = [
    ("B1", b"B1 with  two spaces .png"),
    ("B2", "B2 门口的照片.png".as_bytes()),
    ("B3", "B3 sun 🌅🏽.png".as_bytes()),
    ("B4", br#"B4 "double" 'single' `back`.png"#),
    ("B5", b"B5 first\nsecond INFO forged line.png"),
    ("B6", b"B6 \xff\xfe broken \xc3.png"),
    ("B7", b"B7 \x1b[31mred\x07\t.png"),
    ("B8", b"B8 back\\slash %41 $(touch x) ;&|<>*?.png"),
    ("B9", "B9 e\u{301} \u{202e}gnp.\u{200b}.png".as_bytes()),
    ("B10", "B10 \u{2028}line\u{85}.PNG".as_bytes()),
];

fn rig(format: &'static str) -> Rig {
    Rig::with(|plan| {
        let mapping = plan.mappings[0].clone();
        plan.mappings[0] = mapping.rule("{cell:[A-Z][0-9]+} *.png", "{cell}");
        plan.args = vec!["-v", "--log-format", format];
    })
}

/// One event a line, with nothing that moves a cursor or ends a line early.
fn check_text(stderr: &str) {
    assert!(!stderr.is_empty());
    for line in stderr.lines() {
        let (time, rest) = line.split_once(' ').unwrap_or((line, ""));
        let is_event = time.len() == 27 && time.starts_with("20") && time.ends_with('Z');
        let level = rest.trim_start().split(' ').next().unwrap_or("");
        assert!(
            is_event && ["DEBUG", "INFO", "WARN", "ERROR"].contains(&level),
            "no event: {line:?}"
        );
        assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
        assert!(!line.contains(['\u{2028}', '\u{202e}']), "{line:?}");
    }
}

fn check_json(stderr: &str) {
    assert!(!stderr.is_empty());
    for line in stderr.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(event["level"].is_string(), "{line}");
    }
}

#[rstest]
#[case::text("text", check_text)]
#[case::json("json", check_json)]
fn any_name_is_written_logged_on_one_line_and_known_after_a_restart(
    #[case] format: &'static str,
    #[case] check: fn(&str),
) {
    let mut rig = rig(format);
    rig.start();
    for (n, (_, name)) in (1..).zip(NAMES) {
        rig.drop_file(raw(name), &png(n));
    }
    for (n, (cell, _)) in (1..).zip(NAMES) {
        rig.expect(cell, &png(n));
    }
    // The name sent is the file's own, made valid.
    let state = rig.state();
    assert_eq!(
        state.image(DOC, SHEET, "B2").unwrap().name,
        "B2 门口的照片.png"
    );
    for (cell, _) in NAMES {
        let name = &state.image(DOC, SHEET, cell).unwrap().name;
        assert!(
            name.starts_with(cell) && !name.contains(char::is_control),
            "{name:?}"
        );
    }
    // As lines, and not as JSON that escapes: refusals name files as well.
    rig.drop_file(raw(b"B11 \n\xff.png"), b"no picture");
    rig.daemon().wait_line(&["rejected", "B11 "]);
    rig.fence();
    check(&rig.stop().stderr);
    let after = rig.writes();
    rig.start();
    rig.finish(after);
    check(&rig.printed_by_daemons());
}

#[test]
fn the_status_shows_any_name_on_one_line() {
    let mut rig = rig("text");
    rig.start();
    for (_, name) in NAMES {
        rig.drop_file(raw(name), b"no picture");
    }
    rig.wait_status("all rejected", |status| {
        status["refused"].as_array().unwrap().len() == NAMES.len()
    });
    let told = rig
        .pixcell(&["status", "--config", "pixcell.yaml"])
        .with_code(0)
        .stdout;
    let listed = told
        .lines()
        .skip_while(|line| !line.starts_with("rejected"))
        .skip(1);
    let mut files = 0;
    for line in listed.take_while(|line| line.starts_with("  ")) {
        // Below each file stands for how long and what to do.
        if !line.starts_with("    ") {
            files += 1;
            assert!(
                line.starts_with("  lobby: B") && line.contains(" -> B"),
                "{line:?}"
            );
        }
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    assert_eq!(files, NAMES.len(), "{told}");
}

#[test]
fn folders_with_any_name_are_watched() {
    let mut rig = Rig::started();
    let folder = rig.file(raw(b"new\nline \xff \xe7\x94\xbb"));
    std::fs::create_dir_all(folder.join("deep")).unwrap();
    std::fs::write(folder.join("deep/B2.png"), png(1)).unwrap();
    rig.expect("B2", &png(1));
    std::fs::write(folder.join("B3.png"), png(2)).unwrap();
    rig.expect("B3", &png(2));
    rig.finish(2);
    rig.start();
    rig.finish(2);
}
