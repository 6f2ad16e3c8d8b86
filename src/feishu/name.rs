//! The `name` that travels with an image: the file's own name, made valid.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::image::{Format, suffix_is_accepted};

/// Longest name sent, in characters; a file name is at most 255 bytes on Linux anyway.
const LONGEST: usize = 200;

/// The file's name as UTF-8 without control characters, ending in a suffix that the API accepts:
/// where its own is none of those, the format's is appended.
pub fn image_name(file_name: &OsStr, format: Format) -> String {
    let text = String::from_utf8_lossy(file_name.as_bytes());
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() { '_' } else { c })
        .collect();
    let suffix = clean.rsplit_once('.').map(|(_, suffix)| suffix.to_owned());
    match suffix {
        Some(suffix) if suffix_is_accepted(&suffix) => shorten(&clean, suffix.len() + 1, &suffix),
        _ => shorten(
            &format!("{clean}.{}", format.suffix()),
            format.suffix().len() + 1,
            format.suffix(),
        ),
    }
}

fn shorten(name: &str, tail: usize, suffix: &str) -> String {
    if name.chars().count() <= LONGEST {
        return name.to_owned();
    }
    let stem: String = name.chars().take(LONGEST - tail).collect();
    format!("{stem}.{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(b"poster.png", "poster.png")]
    #[case(b"POSTER.JPeG", "POSTER.JPeG")]
    #[case("门口 的 相机📷.jpg".as_bytes(), "门口 的 相机📷.jpg")]
    #[case(b"shot", "shot.png")]
    #[case(b"shot.webp", "shot.webp.png")]
    #[case(b"a\nb\"c.png", "a_b\"c.png")]
    #[case(b"\xff\xfe.gif", "\u{fffd}\u{fffd}.gif")]
    fn a_name_is_the_files_own_made_valid(#[case] file: &[u8], #[case] sent: &str) {
        assert_eq!(image_name(OsStr::from_bytes(file), Format::Png), sent);
    }

    #[test]
    fn a_long_name_keeps_its_suffix() {
        let name = image_name(OsStr::from_bytes(&[b'x'; 255]), Format::Jpeg);
        assert_eq!(name.chars().count(), LONGEST);
        assert_eq!(name.rsplit_once('.').map(|(_, suffix)| suffix), Some("jpg"));
    }
}
