//! GIF: block after block to the trailer ("Graphics Interchange Format", version 89a).
//!
//! What follows the trailer is nobody's: decoders ignore it. Between blocks nothing but a block is
//! taken, so zeros in a file whose space was allocated before its data came are never an end.

use std::io::{Read, Seek};

use super::Completeness;
use super::source::{Source, Walk};

const IMAGE: u8 = 0x2c;
const EXTENSION: u8 = 0x21;
const TRAILER: u8 = 0x3b;

pub(super) fn walk<R: Read + Seek>(source: &mut Source<'_, R>) -> Walk {
    let signature = source.array::<6>("its signature")?;
    if !matches!(&signature, b"GIF87a" | b"GIF89a") {
        return Err(source.damaged(0, "its signature should be GIF87a or GIF89a"));
    }
    let [_, _, _, _, flags, _, _] = source.array("its screen descriptor")?;
    source.skip(colour_table_bytes(flags), "its colour table")?;
    let mut has_image = false;
    loop {
        let at = source.position();
        if source.is_at_end() {
            return Err(source.cut("before its trailer"));
        }
        match source.byte("a block")? {
            TRAILER if has_image => return Ok(Completeness::Complete),
            TRAILER => return Err(source.damaged(at, "its trailer comes before any image")),
            IMAGE => {
                let [_, _, _, _, _, _, _, _, flags] = source.array("an image descriptor")?;
                source.skip(colour_table_bytes(flags), "a colour table")?;
                source.skip(1, "an image")?; // The least LZW code size.
                has_image |= sub_blocks(source, "an image")?;
            }
            EXTENSION => {
                source.skip(1, "an extension")?; // Its label.
                sub_blocks(source, "an extension")?;
            }
            _ => return Err(source.damaged(at, "a block should start here")),
        }
    }
}

/// Passes over sub-blocks and the empty one that ends them; says whether they hold anything.
fn sub_blocks<R: Read + Seek>(source: &mut Source<'_, R>, part: &str) -> Walk<bool> {
    let mut has_data = false;
    loop {
        let size = source.byte(part)?;
        if size == 0 {
            return Ok(has_data);
        }
        has_data = true;
        source.skip(u64::from(size), part)?;
    }
}

/// The bytes of the colour table that a descriptor's flags announce: none, or 6 to 768.
fn colour_table_bytes(flags: u8) -> u64 {
    if flags & 0x80 == 0 {
        return 0;
    }
    3 << ((flags & 7) + 1)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::samples::{gif, missing, verdict};
    use super::*;
    use crate::image::Format;

    const HEAD: &[u8] = b"GIF89a\x01\0\x01\0\0\0\0";
    const PICTURE: &[u8] = b"\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0";
    const COMMENT: &[u8] = b"\x21\xfe\x03a;b\0";

    #[rstest]
    #[case::least(&[HEAD, PICTURE, b";"])]
    #[case::of_1987(&[b"GIF87a\x01\0\x01\0\0\0\0".as_slice(), PICTURE, b";"])]
    #[case::animation(&[HEAD, b"\x21\xf9\x04\0\x0a\0\0\0", PICTURE, PICTURE, COMMENT, b";"])]
    #[case::colour_table(&[b"GIF89a\x01\0\x01\0\x81\0\0".as_slice(), &[b';'; 12], PICTURE, b";"])]
    #[case::local_colour_table(&[
        HEAD, b"\x2c\0\0\0\0\x01\0\x01\0\x80", &[b';'; 6], b"\x02\x01;\0", b";"
    ])]
    fn an_image_ends_at_its_trailer_and_not_before(#[case] parts: &[&[u8]]) {
        let file = parts.concat();
        assert_eq!(verdict(Format::Gif, &file), Completeness::Complete);
        for length in 0..file.len() {
            missing(Format::Gif, &file[..length]);
        }
    }

    #[rstest]
    #[case::no_image(&[HEAD, COMMENT, b";"], "trailer comes before any image")]
    #[case::image_of_no_data(
        &[HEAD, b"\x2c\0\0\0\0\x01\0\x01\0\0\x02\0", b";"],
        "trailer comes before any image"
    )]
    #[case::zeros_between_blocks(&[HEAD, PICTURE, b"\0\0", PICTURE, b";"], "a block should start")]
    #[case::another_version(&[b"GIF88a\x01\0\x01\0\0\0\0".as_slice(), PICTURE, b";"], "signature")]
    fn what_cannot_be_is_not_complete(#[case] parts: &[&[u8]], #[case] words: &str) {
        let missing = missing(Format::Gif, &parts.concat());
        assert!(missing.contains(words), "{missing}");
    }

    #[test]
    fn the_verdict_says_where_it_ends() {
        let file = gif();
        assert_eq!(
            missing(Format::Gif, &file[..file.len() - 1]),
            format!("the GIF ends at byte {} before its trailer", file.len() - 1)
        );
        assert_eq!(
            missing(Format::Gif, &file[..100]),
            "the GIF ends at byte 100 inside a colour table, which should reach byte 805"
        );
    }
}
