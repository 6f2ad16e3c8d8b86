//! Whatever bytes a file holds, it gets a verdict after a bounded read: tried on real files of
//! every format, whole, cut and changed at every offset.

use std::fs;

use proptest::prelude::*;
use rstest::rstest;

use crate::support::any_bytes;

/// The files of other programs, with their names.
fn files() -> Vec<(String, Vec<u8>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/images");
    let files = fs::read_dir(folder).unwrap().map(|entry| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read(entry.path()).unwrap())
    });
    let files: Vec<_> = files.filter(|(name, _)| name != "README.md").collect();
    assert!(files.len() > 10, "{} files", files.len());
    files
}

#[test]
fn real_files_cut_at_every_offset_end_in_a_verdict() {
    for (_, bytes) in files() {
        for length in 0..=bytes.len() {
            any_bytes::container(&bytes[..length]);
        }
    }
}

#[rstest]
#[case::zero(|_| 0)]
#[case::all_ones(|_| 0xff)]
#[case::turned(|byte: u8| !byte)]
#[case::one_more(|byte: u8| byte.wrapping_add(1))]
fn real_files_changed_at_every_offset_end_in_a_verdict(#[case] change: fn(u8) -> u8) {
    for (_, mut bytes) in files() {
        for at in 0..bytes.len() {
            let before = bytes[at];
            bytes[at] = change(before);
            any_bytes::container(&bytes);
            bytes[at] = before;
        }
    }
}

proptest! {
    #[test]
    fn real_files_spliced_into_each_other_end_in_a_verdict(
        first in any::<prop::sample::Index>(),
        second in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
        from in any::<prop::sample::Index>(),
    ) {
        let files = files();
        let (first, second) = (&first.get(&files).1, &second.get(&files).1);
        let spliced = [&first[..cut.index(first.len())], &second[from.index(second.len())..]];
        any_bytes::container(&spliced.concat());
    }

    #[test]
    fn any_pattern_and_path_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        any_bytes::pattern(&bytes);
    }

    #[test]
    fn what_looks_like_a_pattern_is_answered(text in r"[a-c{}\[\]*?/:!,.+\\n-]{0,40}") {
        any_bytes::pattern(text.as_bytes());
    }

    #[test]
    fn what_looks_like_a_configuration_is_answered(
        lines in proptest::collection::vec(
            prop_oneof![
                Just("feishu:".to_owned()), Just("mappings:".to_owned()), Just("  - name: a".to_owned()),
                Just("    rules: [{files: \"*.png\", cell: A1}]".to_owned()),
                r"[ ]{0,6}(- )?[a-z_]{1,12}: [ -~]{0,12}", r"[\[\]{}:,&*!|>'%@`# -]{0,12}",
            ],
            0..12,
        ),
    ) {
        any_bytes::config(lines.join("\n").as_bytes());
    }
}
