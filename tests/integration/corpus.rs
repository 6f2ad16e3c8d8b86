//! Ten whole files of every format, by the programs that people make them with, and cut ones, and what is
//! none of these formats: no verdict may be wrong, not of the walk and not of the whole program.

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::process::Command;

use pixcell::image::{Completeness, Format, HEAD_BYTES, Recognised, completeness, recognise};

use crate::support::{DOC, Rig, SHEET, installed};

const PROGRAMS: [&str; 9] = [
    "convert", "ffmpeg", "heif-enc", "exiftool", "jpegtran", "cjpeg", "tiffcp", "tiff2pdf", "cwebp",
];
/// By the names of the files, with the column that they go to.
const FORMATS: [(&str, Format, &str); 6] = [
    ("jpeg", Format::Jpeg, "B"),
    ("png", Format::Png, "C"),
    ("gif", Format::Gif, "D"),
    ("bmp", Format::Bmp, "E"),
    ("tiff", Format::Tiff, "F"),
    ("heic", Format::Heic, "G"),
];

/// All files of a folder, by name.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

fn judge(format: Format, bytes: &[u8]) -> Completeness {
    completeness(format, &mut Cursor::new(bytes), bytes.len() as u64).unwrap()
}

#[test]
fn files_of_real_encoders_are_all_judged_right() {
    if !PROGRAMS.iter().all(|program| installed(program)) {
        return;
    }
    let made = tempfile::tempdir().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/corpus.sh");
    let output = Command::new(script).arg(made.path()).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );

    let mut rig = Rig::with(|plan| {
        let mapping = plan.mappings[0].clone();
        plan.mappings[0] = mapping.rule("{cell:[B-I][0-9]+}.*", "{cell}");
    });
    let (mut whole, mut cut) = (Vec::new(), Vec::new());
    for (name, bytes) in files(&made.path().join("good")) {
        let (stem, suffix) = name.split_once('.').unwrap();
        let (kind, number) = stem.split_once('-').unwrap();
        let (_, format, column) = FORMATS.iter().find(|(known, ..)| *known == kind).unwrap();
        let head = &bytes[..bytes.len().min(HEAD_BYTES)];
        assert_eq!(recognise(head), Recognised::Accepted(*format), "{name}");
        assert_eq!(judge(*format, &bytes), Completeness::Complete, "{name}");
        for length in (16..bytes.len())
            .step_by(bytes.len() / 40)
            .chain([bytes.len() - 1])
        {
            let verdict = judge(*format, &bytes[..length]);
            let is_cut = matches!(verdict, Completeness::Incomplete(_));
            assert!(
                is_cut,
                "{verdict:?} of {name} at {length} of {}",
                bytes.len()
            );
        }
        // One at each tenth, in rows of their own.
        let number: usize = number.parse().unwrap();
        rig.drop_file(format!("{column}{number}.{suffix}"), &bytes);
        let name = format!("{column}{}.{suffix}", number + 20);
        rig.drop_file(&name, &bytes[..bytes.len() * number / 11]);
        cut.push(name);
        whole.push((format!("{column}{number}"), bytes));
    }
    assert_eq!(whole.len(), 10 * FORMATS.len());
    let others = files(&made.path().join("other"));
    for (row, (name, bytes)) in (1..).zip(&others) {
        let (_, suffix) = name.split_once('.').unwrap();
        rig.drop_file(format!("I{row}.{suffix}"), bytes);
    }

    rig.pixcell(&["sync", "--config", "pixcell.yaml"])
        .with_code(3);
    for (cell, bytes) in &whole {
        let there = rig.sandbox().image_bytes(DOC, SHEET, cell);
        assert!(there.as_deref() == Some(bytes), "{cell}");
    }
    assert_eq!(rig.writes(), whole.len() as u64);
    let status = rig.status();
    let refused = status["refused"].as_array().unwrap();
    let told = |file: &str| {
        let entry = refused.iter().find(|entry| entry["file"] == file);
        entry.unwrap_or_else(|| panic!("{file} is not among the refused: {status:#}"))
    };
    for name in &cut {
        assert_eq!(told(name)["verdict"], "held", "{name}");
    }
    for (row, (name, _)) in (1..).zip(&others) {
        let (kind, suffix) = name.split_once('.').unwrap();
        let entry = told(&format!("I{row}.{suffix}"));
        assert_eq!(entry["verdict"], "rejected", "{name}");
        let reason = entry["reason"].as_str().unwrap();
        assert!(reason.contains(kind), "{name} is told as: {reason}");
    }
    assert!(others.len() > 12, "{} files", others.len());
}
