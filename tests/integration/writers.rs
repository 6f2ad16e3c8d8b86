//! Programs that really write into such folders. Where one is not installed, its test says so and
//! passes.

use std::path::Path;
use std::process::{Command, Stdio};

use rstest::rstest;

use crate::support::{DOC, Rig, SHEET, large_jpeg, png};

/// Whether the program is there; otherwise that is printed.
fn installed(program: &str) -> bool {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|folder| folder.join(program).is_file());
    if !found {
        println!("skipped: `{program}` is not installed");
    }
    found
}

/// Runs a program to its end and insists on success.
#[track_caller]
fn run(program: &str, args: &[&str]) {
    let mut command = Command::new(program);
    let output = command.args(args).stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[rstest]
#[case::renaming(&[])]
#[case::in_place(&["--inplace"])]
#[case::delayed(&["--delay-updates"])]
#[case::with_times(&["-a", "--no-whole-file"])]
fn rsync_brings_each_picture_once(#[case] how: &[&str]) {
    if !installed("rsync") {
        return;
    }
    let mut rig = Rig::started();
    let source = rig.path("source");
    std::fs::create_dir(&source).unwrap();
    let from = format!("{}/", source.display());
    let to = format!("{}/", rig.file("").display());
    // `-r --checksum`: times need not differ for it to notice the second round.
    let args = [&["-r", "--checksum"], how, &[from.as_str(), to.as_str()]].concat();
    for round in 0..2 {
        for row in 1..=5 {
            std::fs::write(
                source.join(format!("B{row}.jpg")),
                large_jpeg(10 * round + row),
            )
            .unwrap();
        }
        run("rsync", &args);
        for row in 1..=5 {
            rig.expect(&format!("B{row}"), &large_jpeg(10 * round + row));
        }
        // Nothing changed: nothing is sent.
        run("rsync", &args);
    }
    rig.finish(10);
}

#[test]
fn imagemagick_brings_its_picture() {
    let convert = if installed("magick") {
        "magick"
    } else {
        "convert"
    };
    if !installed(convert) {
        return;
    }
    let mut rig = Rig::started();
    for (row, suffix) in [(2, "png"), (3, "jpg")] {
        let file = rig.file(format!("B{row}.{suffix}"));
        run(convert, &["-size", "640x480", "plasma:", text(&file)]);
        let bytes = std::fs::read(&file).unwrap();
        rig.expect(&format!("B{row}"), &bytes);
    }
    rig.fence();
    // It may write in several steps; whatever was sent was a whole picture, and the last one is there.
    assert!((2..=4).contains(&rig.writes()), "{} writes", rig.writes());
    let writes = rig.writes();
    rig.finish(writes);
}

#[rstest]
#[case::atomic("1")]
#[case::in_place("0")]
fn a_camera_by_ffmpeg_ends_with_its_last_frame_and_no_torn_one(#[case] atomic: &str) {
    if !installed("ffmpeg") {
        return;
    }
    let mut rig = Rig::started();
    let file = rig.file("B2.jpg");
    // 25 frames a second as a camera would, for two seconds, each over the one before.
    let args = [
        "-loglevel",
        "error",
        "-re",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=320x240:rate=25",
        "-frames:v",
        "50",
        "-update",
        "1",
        "-atomic_writing",
        atomic,
        "-y",
    ];
    run("ffmpeg", &[&args[..], &[text(&file)]].concat());
    let last = std::fs::read(&file).unwrap();
    rig.expect("B2", &last);
    let writes = rig.writes();
    assert!((1..=50).contains(&writes), "{writes} writes");
    // The sandbox decodes the structure of what it gets and refuses what is torn.
    assert_eq!(rig.state().answers_by_code.keys().collect::<Vec<_>>(), [&0]);
    rig.finish(writes);
    assert_eq!(
        rig.sandbox().image_bytes(DOC, SHEET, "B2").as_deref(),
        Some(&last[..])
    );
}

#[test]
fn a_shell_that_redirects_brings_its_picture() {
    let mut rig = Rig::started();
    let source = rig.outside("source.png", &png(1));
    let script = format!("cat '{}' > '{}'", text(&source), text(&rig.file("B2.png")));
    run("sh", &["-c", &script]);
    rig.expect("B2", &png(1));
    // In two parts, with a pause of the writer between them that no settling covers.
    let script = format!(
        "exec 3> '{1}'; head -c 100 '{0}' >&3; tail -c +101 '{0}' >&3",
        text(&source),
        text(&rig.file("B3.png"))
    );
    run("sh", &["-c", &script]);
    rig.expect("B3", &png(1));
    rig.finish(2);
}
