//! PNG: chunk after chunk to IEND (W3C, "Portable Network Graphics", section 5).
//!
//! The checksums of critical chunks, those that decoders need, are looked at: they alone tell a file that
//! was rewritten in place, or in pieces, and is half old and half new. Those of other chunks are not,
//! as decoders get along without these chunks. What follows IEND is nobody's: decoders ignore it.

use std::io::{Read, Seek};

use crc32fast::Hasher;

use super::Completeness;
use super::source::{Source, Walk};

const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";
/// A chunk's length field, by the standard.
const MAX_CHUNK_BYTES: u32 = 0x7fff_ffff;
const IEND_CRC: [u8; 4] = [0xae, 0x42, 0x60, 0x82];

pub(super) fn walk<R: Read + Seek>(source: &mut Source<'_, R>) -> Walk {
    if source.array("its signature")? != SIGNATURE {
        return Err(source.damaged(0, "its signature was changed, as by a transfer as text"));
    }
    let mut has_header = false;
    let mut has_data = false;
    loop {
        let at = source.position();
        if source.is_at_end() {
            return Err(source.cut("before its end chunk (IEND)"));
        }
        let length = u32::from_be_bytes(source.array("the head of a chunk")?);
        let kind = source.array::<4>("the head of a chunk")?;
        if length > MAX_CHUNK_BYTES || !kind.iter().all(u8::is_ascii_alphabetic) {
            return Err(source.damaged(at, "a chunk should start here"));
        }
        match &kind {
            b"IHDR" if !has_header && length == 13 => has_header = true,
            _ if !has_header => {
                return Err(source.damaged(at, "its header chunk (IHDR) should be here"));
            }
            b"IDAT" => has_data |= length > 0,
            b"IEND" => {
                let crc = source.array::<4>("its end chunk (IEND)")?;
                return if length != 0 || crc != IEND_CRC {
                    Err(source.damaged(at, "its end chunk (IEND) is not what it must be"))
                } else if !has_data {
                    Err(source.damaged(at, "its end chunk (IEND) comes before any image data"))
                } else {
                    Ok(Completeness::Complete)
                };
            }
            _ => {}
        }
        let name = kind.escape_ascii();
        let part = format_args!("its {name} chunk");
        // By the case of the first letter (section 5.4).
        if !kind[0].is_ascii_uppercase() {
            source.skip(u64::from(length) + 4, part)?;
            continue;
        }
        let end = source.position().saturating_add(u64::from(length) + 4);
        source.require(end, part)?;
        let mut sum = Hasher::new();
        sum.update(&kind);
        source.each(u64::from(length), part, |bytes| sum.update(bytes))?;
        if u32::from_be_bytes(source.array(part)?) != sum.finalize() {
            return Err(source.damaged(
                at,
                format_args!("the checksum of its {name} chunk does not fit, as when part of it is of another version"),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::samples::{missing, png, verdict};
    use super::*;
    use crate::image::Format;

    fn chunk(kind: [u8; 4], data: &[u8]) -> Vec<u8> {
        let length = u32::try_from(data.len()).unwrap().to_be_bytes();
        let sum = crc32fast::hash(&[kind.as_slice(), data].concat()).to_be_bytes();
        [&length, kind.as_slice(), data, &sum].concat()
    }

    /// The same with another checksum.
    fn spoilt(kind: [u8; 4], data: &[u8]) -> Vec<u8> {
        let mut bytes = chunk(kind, data);
        *bytes.last_mut().unwrap() ^= 1;
        bytes
    }

    fn header() -> Vec<u8> {
        chunk(*b"IHDR", &[0; 13])
    }

    fn data() -> Vec<u8> {
        chunk(*b"IDAT", &[1])
    }

    fn end() -> Vec<u8> {
        chunk(*b"IEND", &[])
    }

    fn of_chunks(chunks: &[Vec<u8>]) -> Vec<u8> {
        [SIGNATURE.as_slice(), &chunks.concat()].concat()
    }

    #[test]
    fn the_verdict_names_the_chunk_that_is_cut() {
        let file = of_chunks(&[header(), chunk(*b"IDAT", &[0; 100])]);
        assert_eq!(
            missing(Format::Png, &file[..60]),
            "the PNG ends at byte 60 inside its IDAT chunk, which should reach byte 145"
        );
        assert_eq!(
            missing(Format::Png, &file),
            "the PNG ends at byte 145 before its end chunk (IEND)"
        );
    }

    #[rstest]
    #[case::image_data_before_the_header(&[data(), header(), end()])]
    #[case::header_of_another_size(&[chunk(*b"IHDR", &[0; 12]), data(), end()])]
    #[case::no_image_data(&[header(), end()])]
    #[case::empty_image_data(&[header(), chunk(*b"IDAT", &[]), end()])]
    #[case::end_with_content(&[header(), data(), chunk(*b"IEND", &[1])])]
    #[case::chunk_without_a_name(&[header(), data(), chunk([0; 4], &[]), end()])]
    fn chunks_that_cannot_be_are_not_complete(#[case] chunks: &[Vec<u8>]) {
        assert!(missing(Format::Png, &of_chunks(chunks)).contains("broken or unfinished"));
    }

    #[rstest]
    #[case::sound(&[header(), chunk(*b"gAMA", &[0; 4]), data(), end()])]
    #[case::with_a_wrong_checksum_that_nobody_needs(
        &[header(), spoilt(*b"gAMA", &[0; 4]), data(), end()]
    )]
    fn the_same_chunks_in_order_are_complete(#[case] chunks: &[Vec<u8>]) {
        assert_eq!(
            verdict(Format::Png, &of_chunks(chunks)),
            Completeness::Complete
        );
    }

    #[rstest]
    #[case::header(&[spoilt(*b"IHDR", &[0; 13]), data(), end()], "IHDR")]
    #[case::palette(&[header(), spoilt(*b"PLTE", &[0; 3]), data(), end()], "PLTE")]
    #[case::image_data(&[header(), data(), spoilt(*b"IDAT", &[2]), end()], "IDAT")]
    fn a_checksum_that_does_not_fit_is_no_whole_image(
        #[case] chunks: &[Vec<u8>],
        #[case] name: &str,
    ) {
        let missing = missing(Format::Png, &of_chunks(chunks));
        assert!(
            missing.contains(&format!("the checksum of its {name} chunk")),
            "{missing}"
        );
    }

    #[test]
    fn half_of_one_picture_and_half_of_another_is_no_whole_image() {
        // As many bytes of other data.
        let [old, new] =
            [1, 2].map(|pixel| of_chunks(&[header(), chunk(*b"IDAT", &[pixel; 500]), end()]));
        let data_at = header().len() + SIGNATURE.len() + 8;
        for at in data_at + 1..data_at + 500 {
            missing(Format::Png, &[&new[..at], &old[at..]].concat());
        }
        assert_eq!(verdict(Format::Png, &new), Completeness::Complete);
    }

    #[rstest]
    fn an_end_chunk_with_a_wrong_checksum_is_no_end(#[values(1, 2, 3, 4)] from_end: usize) {
        let mut file = png();
        let at = file.len() - from_end;
        file[at] ^= 1;
        assert!(missing(Format::Png, &file).contains("its end chunk (IEND) is not what"));
    }

    #[test]
    fn a_length_beyond_the_standard_is_no_chunk() {
        let mut file = of_chunks(&[header()]);
        file.extend(b"\x80\0\0\0IDAT");
        assert_eq!(
            missing(Format::Png, &file),
            "the PNG is broken or unfinished at byte 33: a chunk should start here"
        );
    }

    #[test]
    fn a_transfer_as_text_is_noticed() {
        let file = String::from_utf8_lossy(&png()).replace("\r\n", "\n");
        let file = [b"\x89".as_slice(), &file.as_bytes()[3..]].concat();
        assert!(missing(Format::Png, &file).contains("transfer as text"));
    }
}
