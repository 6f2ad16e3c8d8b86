//! BPG: the lengths in its header against the file's (F. Bellard, "BPG Specification" 0.9.5).

use std::io::{Read, Seek};

use super::Completeness;
use super::source::{Source, Walk};

const PART: &str = "its header";

pub(super) fn walk<R: Read + Seek>(source: &mut Source<'_, R>) -> Walk {
    if source.array(PART)? != *b"BPG\xfb" {
        return Err(source.damaged(0, "its signature should be BPG and FB"));
    }
    let [_, flags] = source.array(PART)?;
    let has_extension = flags & 0x08 != 0;
    for size in ["width", "height"] {
        if number(source)? == 0 {
            return Err(source.damaged(6, format_args!("its {size} is 0")));
        }
    }
    let picture_bytes = number(source)?;
    if has_extension {
        let extension_bytes = number(source)?;
        source.skip(extension_bytes, "its extension data")?;
    }
    if picture_bytes > 0 {
        source.skip(picture_bytes, "its picture data")?;
        return Ok(Completeness::Complete);
    }
    // A length of 0 means that the picture goes on to the end of the file, wherever that is.
    if source.is_at_end() {
        return Err(source.cut("before its picture data"));
    }
    Ok(Completeness::Unknowable)
}

/// A `ue7(32)`: 7 bits a byte, the highest first, the top bit says that another follows.
fn number<R: Read + Seek>(source: &mut Source<'_, R>) -> Walk<u64> {
    let at = source.position();
    let mut value = 0;
    // 32 bits take 5 bytes at most.
    for _ in 0..5 {
        let byte = source.byte(PART)?;
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(source.damaged(at, "a number is longer than 32 bits"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::samples::{bpg, missing, verdict};
    use super::*;
    use crate::image::Format;

    #[test]
    fn a_picture_of_undeclared_length_is_not_told_once_it_has_begun() {
        let file = bpg(false);
        let header_bytes = file.len() - 150;
        for length in 0..=header_bytes {
            missing(Format::Bpg, &file[..length]);
        }
        for length in header_bytes + 1..=file.len() {
            assert_eq!(
                verdict(Format::Bpg, &file[..length]),
                Completeness::Unknowable
            );
        }
    }

    #[rstest]
    #[case::no_width(b"BPG\xfb\x20\0\0\x10\x01d", "width is 0")]
    #[case::no_height(b"BPG\xfb\x20\0\x10\0\x01d", "height is 0")]
    #[case::endless_number(b"BPG\xfb\x20\0\xff\xff\xff\xff\xff\x01\x10\x01d", "32 bits")]
    #[case::largest_picture(
        b"BPG\xfb\x20\0\x10\x10\x8f\xff\xff\xff\x7fd",
        "inside its picture data, which should reach byte 4294967308"
    )]
    #[case::largest_extension(
        b"BPG\xfb\x20\x08\x10\x10\x01\x8f\xff\xff\xff\x7fd",
        "inside its extension data"
    )]
    #[case::another_signature(b"BPG\xfc\x20\0\x10\x10\x01d", "signature")]
    fn what_cannot_be_is_not_complete(#[case] file: &[u8], #[case] words: &str) {
        let missing = missing(Format::Bpg, file);
        assert!(missing.contains(words), "{missing}");
    }

    #[test]
    fn the_verdict_says_where_it_ends() {
        assert_eq!(
            missing(Format::Bpg, &bpg(true)[..40]),
            "the BPG ends at byte 40 inside its picture data, which should reach byte 166"
        );
    }
}
