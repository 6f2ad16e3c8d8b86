//! JPEG: marker after marker to the end marker of the main image (ITU-T T.81, annex B).
//!
//! A thumbnail's end marker lies inside an application segment and is passed over with it. What
//! follows the main image's end marker is allowed: cameras and phones put further pictures, a
//! movie or their own notes there. Bytes that belong to no segment are passed over too, as libjpeg
//! does.

use std::io::{Read, Seek};

use super::Completeness;
use super::source::{Source, Walk};

const STUFFED: u8 = 0x00;
const TEM: u8 = 0x01;
const RST0: u8 = 0xd0;
const RST7: u8 = 0xd7;
const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;

pub(super) fn walk<R: Read + Seek>(source: &mut Source<'_, R>) -> Walk {
    if source.array("its start marker")? != [0xff, SOI] {
        return Err(source.damaged(0, "its start marker should be here"));
    }
    let mut has_frame = false;
    let mut has_data = false;
    // Where the entropy-coded data of the scan at hand starts.
    let mut scan: Option<u64> = None;
    loop {
        let place = if scan.is_some() {
            "its image data, before its end marker"
        } else {
            "its headers, before its image data"
        };
        if !source.skip_past(0xff)? {
            return Err(source.cut(format_args!("inside {place}")));
        }
        let at = source.position().saturating_sub(1);
        let mut code = source.byte(place)?;
        while code == 0xff {
            // Any number of fill bytes may come before a marker's code.
            code = source.byte(place)?;
        }
        if matches!(code, STUFFED | TEM | RST0..=RST7) {
            continue;
        }
        has_data |= scan.is_some_and(|start| at > start);
        match code {
            EOI if has_data => return Ok(Completeness::Complete),
            EOI => return Err(source.damaged(at, "its end marker comes before any image data")),
            SOI => return Err(source.damaged(at, "another image starts before the end of this")),
            _ => {}
        }
        let length = u16::from_be_bytes(source.array("the head of a segment")?);
        let Some(body) = length.checked_sub(2) else {
            return Err(source.damaged(at, "a segment says that it is shorter than its own length"));
        };
        source.skip(u64::from(body), format_args!("a segment (FF {code:02X})"))?;
        match code {
            // SOF0 to SOF15; DHT, JPG and DAC lie among them.
            0xc0..=0xcf if !matches!(code, 0xc4 | 0xc8 | 0xcc) => has_frame = true,
            SOS if has_frame => scan = Some(source.position()),
            SOS => return Err(source.damaged(at, "image data starts before any frame header")),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::samples::{insert_segment, jpeg, missing, verdict};
    use super::*;
    use crate::image::Format;

    const START: &[u8] = &[0xff, 0xd8];
    const FRAME: &[u8] = &[0xff, 0xc0, 0, 3, 8];
    const SCAN: &[u8] = &[0xff, 0xda, 0, 3, 1];
    const END: &[u8] = &[0xff, 0xd9];

    #[rstest]
    #[case::least(&[START, FRAME, SCAN, b"data", END])]
    #[case::many_scans(&[START,
        FRAME, SCAN, b"one", b"\xff\xc4\0\x03t", SCAN, b"two", SCAN, b"three", END
    ])]
    #[case::stuffed_bytes(&[START, FRAME, SCAN, b"a\xff\x00\xd9\xff\x00", END])]
    #[case::restart_markers(&[START, FRAME, SCAN, b"a\xff\xd0b\xff\xd1c\xff\xd7d", END])]
    #[case::restart_markers_behind_fill_bytes(&[START, FRAME, SCAN, b"a\xff\xff\xd0b", END])]
    #[case::fill_bytes(&[START, b"\xff\xff", FRAME, b"\xff", SCAN, b"data\xff\xff\xff", END])]
    #[case::number_of_lines_behind_the_scan(&[START, FRAME, SCAN, b"data\xff\xdc\0\x04\0\x11", END])]
    #[case::bytes_between_segments(&[START, b"\0\0\0", FRAME, b"??", SCAN, b"data", END])]
    #[case::end_marker_inside_a_segment(&[START, b"\xff\xe1\0\x04\xff\xd9", FRAME, SCAN, b"data", END])]
    #[case::image_inside_a_comment(&[START,
        b"\xff\xfe\0\x11\xff\xd8\xff\xc0\0\x03\x08\xff\xda\0\x03\x01d\xff\xd9",
        FRAME, SCAN, b"data", END
    ])]
    fn an_image_ends_at_its_own_end_marker_and_not_before(#[case] parts: &[&[u8]]) {
        let file = parts.concat();
        assert_eq!(verdict(Format::Jpeg, &file), Completeness::Complete);
        for length in 0..file.len() {
            missing(Format::Jpeg, &file[..length]);
        }
    }

    #[rstest]
    #[case::no_scan(&[START, FRAME, END], "end marker comes before any image data")]
    #[case::empty_scan(&[START, FRAME, SCAN, END], "end marker comes before any image data")]
    #[case::no_frame(&[START, SCAN, b"data", END], "before any frame header")]
    #[case::tables_for_a_frame(&[START, b"\xff\xc4\0\x03t", SCAN, b"data", END], "before any frame header")]
    #[case::overwritten_by_another(
        &[START, FRAME, SCAN, b"da", b"\xff\xd8", FRAME, SCAN, b"data", END],
        "another image starts"
    )]
    #[case::segment_of_no_size(&[START, b"\xff\xe0\0\x01", FRAME, SCAN, b"data", END], "shorter than")]
    fn what_cannot_be_is_not_complete(#[case] parts: &[&[u8]], #[case] words: &str) {
        let missing = missing(Format::Jpeg, &parts.concat());
        assert!(missing.contains(words), "{missing}");
    }

    #[test]
    fn the_verdict_says_where_it_ends() {
        let file = jpeg();
        let cut = &file[..file.len() - 10];
        assert_eq!(
            missing(Format::Jpeg, cut),
            format!(
                "the JPEG ends at byte {} inside its image data, before its end marker",
                cut.len()
            )
        );
        assert_eq!(
            missing(Format::Jpeg, &insert_segment(0xe1, &[0; 300])[..200]),
            "the JPEG ends at byte 200 inside a segment (FF E1), which should reach byte 306"
        );
        assert_eq!(
            missing(Format::Jpeg, b"\xff\xd8\xff\xe0\0\x02"),
            "the JPEG ends at byte 6 inside its headers, before its image data"
        );
    }

    #[test]
    fn a_cut_file_whose_thumbnail_is_whole_is_not_complete() {
        let thumbnail = jpeg();
        let file = insert_segment(0xe1, &thumbnail);
        let behind_thumbnail = 6 + thumbnail.len();
        assert_eq!(file[behind_thumbnail - 2..behind_thumbnail], *END);
        missing(Format::Jpeg, &file[..behind_thumbnail]);
    }
}
