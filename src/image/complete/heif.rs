//! HEIF: top-level boxes to the end, and that every item's data lies within the file (ISO/IEC
//! 14496-12 and 23008-12).
//!
//! Sizes that add up are not enough: a file that is cut between two boxes is a row of whole boxes.
//! So the locations of the items (`iloc`) are held against the length as well. No item is read.

use std::io::{Read, Seek};

use super::Completeness;
use super::source::{Source, Walk};

pub(super) fn walk<R: Read + Seek>(source: &mut Source<'_, R>) -> Walk {
    let mut seen = Seen::default();
    let mut first = true;
    while !source.is_at_end() {
        let at = source.position();
        // Less than the head of a box, behind all items: what a gateway added, or a box that is being written.
        if source.end().saturating_sub(at) < 8 && seen.is_whole() && seen.items_end > 0 {
            source.require(seen.items_end, "its image data")?;
            return Ok(Completeness::Unknowable);
        }
        let header = BoxHeader::read(source)?;
        if first && &header.kind != b"ftyp" {
            return Err(source.damaged(at, "its file type box (ftyp) should be here"));
        }
        first = false;
        if !header.has_name() {
            // Decoders never come here once they have all items.
            if seen.is_whole() && seen.items_end > 0 {
                break;
            }
            return Err(source.damaged(at, "a box should start here"));
        }
        let end = match header.end {
            Some(end) => end,
            None => source.end(),
        };
        source.require(end, format_args!("its {} box", header.kind.escape_ascii()))?;
        match &header.kind {
            b"meta" => meta(source, end, &mut seen)?,
            b"moov" => seen.movie = true,
            b"mdat" => {
                seen.data = Some(match header.end {
                    Some(_) => Completeness::Complete,
                    // Goes on to the end of the file, wherever that is.
                    None => Completeness::Unknowable,
                });
            }
            _ => {}
        }
        source.go_to(end)?;
    }
    if !seen.meta && !seen.movie {
        return Err(source.cut("before its description (a meta box)"));
    }
    source.require(seen.items_end, "its image data")?;
    if seen.item_data_end > seen.item_data_bytes {
        return Err(source.cut("without all of its item data (the idat box)"));
    }
    if !seen.is_whole() {
        return Err(source.cut("before its image data (an mdat box)"));
    }
    match seen.data {
        // The items told where the box ends, or rather where it may not end.
        Some(Completeness::Unknowable) if seen.items_end == 0 => Ok(Completeness::Unknowable),
        _ => Ok(Completeness::Complete),
    }
}

/// What the boxes so far hold.
#[derive(Default)]
struct Seen {
    meta: bool,
    movie: bool,
    /// What the last `mdat` box says of its end; `None` while there is none.
    data: Option<Completeness>,
    /// The end of the last item in the file itself; 0 when there is none.
    items_end: u64,
    /// The end of the last item in `idat`, relative to its start.
    item_data_end: u64,
    item_data_bytes: u64,
}

impl Seen {
    /// Whether there is a description and a place for the data that it describes.
    fn is_whole(&self) -> bool {
        let in_item_data = self.item_data_bytes > 0 && self.items_end == 0 && !self.movie;
        (self.meta || self.movie) && (self.data.is_some() || in_item_data)
    }
}

struct BoxHeader {
    kind: [u8; 4],
    /// Where the box ends; `None` when it goes on to the end of the file.
    end: Option<u64>,
}

impl BoxHeader {
    fn read<R: Read + Seek>(source: &mut Source<'_, R>) -> Walk<Self> {
        const PART: &str = "the head of a box";

        let at = source.position();
        let size = u32::from_be_bytes(source.array(PART)?);
        let kind = source.array(PART)?;
        let size = match size {
            0 => return Ok(Self { kind, end: None }),
            1 => u64::from_be_bytes(source.array(PART)?),
            size => size.into(),
        };
        let end = at.saturating_add(size);
        if end < source.position() {
            return Err(source.damaged(at, "a box says that it is shorter than its own head"));
        }
        Ok(Self {
            kind,
            end: Some(end),
        })
    }

    /// Whether this reads as a box and not as, say, zeros.
    fn has_name(&self) -> bool {
        self.kind.iter().all(|byte| matches!(byte, b' '..=b'~'))
    }
}

/// The boxes inside `meta`, up to the offset `end`.
fn meta<R: Read + Seek>(source: &mut Source<'_, R>, end: u64, seen: &mut Seen) -> Walk<()> {
    seen.meta = true;
    source.skip(4, "its meta box")?; // Version and flags.
    while source.position() < end {
        let at = source.position();
        let header = BoxHeader::read(source)?;
        let body = source.position();
        let inner_end = header.end.unwrap_or(end);
        if !header.has_name() || inner_end > end {
            return Err(source.damaged(at, "a box inside its meta box should start here"));
        }
        match &header.kind {
            b"iloc" => locations(source, inner_end, seen)?,
            b"idat" => seen.item_data_bytes = inner_end.saturating_sub(body),
            _ => {}
        }
        source.go_to(inner_end)?;
    }
    Ok(())
}

/// The item location box, up to the offset `end` (ISO/IEC 14496-12, section 8.11.3).
fn locations<R: Read + Seek>(source: &mut Source<'_, R>, end: u64, seen: &mut Seen) -> Walk<()> {
    const PART: &str = "its item locations";

    let [version, _, _, _] = source.array(PART)?;
    let [sizes, more_sizes] = source.array(PART)?;
    let (offset_size, length_size) = (sizes >> 4, sizes & 0x0f);
    let base_size = more_sizes >> 4;
    let index_size = if version == 0 { 0 } else { more_sizes & 0x0f };
    let id_size = if version < 2 { 2 } else { 4 };
    let extent_bytes = index_size + offset_size + length_size;
    for _ in 0..number(source, id_size)? {
        within(source, end)?;
        number(source, id_size)?; // The item's id.
        // 0 is the file itself, 1 the item data box, 2 another item.
        let method = if version == 0 {
            0
        } else {
            number(source, 2)? & 0x0f
        };
        let elsewhere = number(source, 2)? != 0;
        let base = number(source, base_size)?;
        let extents = number(source, 2)?;
        // Extents that take no bytes are all alike; one look is enough.
        let extents = if extent_bytes == 0 {
            extents.min(1)
        } else {
            extents
        };
        for _ in 0..extents {
            within(source, end)?;
            number(source, index_size)?;
            let offset = number(source, offset_size)?;
            let length = number(source, length_size)?;
            let extent_end = base.saturating_add(offset).saturating_add(length);
            if elsewhere || length == 0 {
                continue;
            }
            match method {
                0 => seen.items_end = seen.items_end.max(extent_end),
                1 => seen.item_data_end = seen.item_data_end.max(extent_end),
                _ => {}
            }
        }
    }
    Ok(())
}

/// That a box which ends at `end` goes on: without this, lies about counts cost time.
fn within<R: Read + Seek>(source: &Source<'_, R>, end: u64) -> Walk<()> {
    let at = source.position();
    if at < end {
        return Ok(());
    }
    Err(source.damaged(at, "its item locations are longer than their box"))
}

/// A number of 0, 2, 4 or 8 bytes; of 0 bytes it is 0.
fn number<R: Read + Seek>(source: &mut Source<'_, R>, size: u8) -> Walk<u64> {
    const PART: &str = "its item locations";

    Ok(match size {
        0 => 0,
        2 => u16::from_be_bytes(source.array(PART)?).into(),
        4 => u32::from_be_bytes(source.array(PART)?).into(),
        8 => u64::from_be_bytes(source.array(PART)?),
        _ => {
            let at = source.position();
            return Err(source.damaged(at, "its item locations have numbers of an odd size"));
        }
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::samples::{file_type, heif, location, media_box, meta, missing, verdict};
    use super::*;
    use crate::image::Format;

    fn idat() -> Vec<u8> {
        media_box("idat", &[0; 8])
    }

    fn mdat() -> Vec<u8> {
        media_box("mdat", &[0x55; 60])
    }

    /// A data box whose size is left open.
    fn open_mdat() -> Vec<u8> {
        let mut mdat = mdat();
        mdat[..4].fill(0);
        mdat
    }

    /// A data box whose size has 8 bytes.
    fn large_mdat() -> Vec<u8> {
        [b"\0\0\0\x01mdat\0\0\0\0\0\0\0\x4c".as_slice(), &[0x55; 60]].concat()
    }

    /// A description whose one item lies at the end of the file that it begins, with these boxes.
    fn described(boxes: &[Vec<u8>]) -> Vec<u8> {
        let start = |at| [file_type(), meta(&[location(0, at, 60)])].concat();
        let end = start(0).len() + boxes.concat().len();
        [start(u32::try_from(end - 60).unwrap()), boxes.concat()].concat()
    }

    #[rstest]
    #[case::data_of_open_size(described(&[open_mdat()]))]
    #[case::data_of_large_size(described(&[large_mdat()]))]
    #[case::data_behind_other_boxes(described(&[media_box("free", b"zzz"), mdat()]))]
    #[case::all_in_the_description(
        [file_type(), meta(&[location(1, 0, 8), idat()])].concat()
    )]
    #[case::movie([file_type(), media_box("moov", b"tracks"), mdat()].concat())]
    #[case::movie_behind_its_data([file_type(), mdat(), media_box("moov", b"tracks")].concat())]
    #[case::movie_with_a_cover(
        [
            file_type(), meta(&[location(1, 0, 8), idat()]), media_box("moov", b"tracks"), mdat()
        ].concat()
    )]
    fn a_file_is_complete_once_all_it_describes_is_there(#[case] file: Vec<u8>) {
        assert_eq!(verdict(Format::Heic, &file), Completeness::Complete);
    }

    #[rstest]
    #[case::plain(heif())]
    #[case::data_of_open_size(described(&[open_mdat()]))]
    #[case::data_of_large_size(described(&[large_mdat()]))]
    #[case::all_in_the_description(
        [file_type(), meta(&[location(1, 0, 8), idat()])].concat()
    )]
    #[case::movie([file_type(), media_box("moov", b"tracks"), mdat()].concat())]
    fn each_cut_is_incomplete_those_between_boxes_too(#[case] file: Vec<u8>) {
        for length in 0..file.len() {
            missing(Format::Heic, &file[..length]);
        }
    }

    #[rstest]
    #[case::another_first_box([mdat(), file_type(), meta(&[])].concat(), "ftyp")]
    #[case::no_description([file_type(), mdat()].concat(), "before its description")]
    #[case::no_data([file_type(), meta(&[])].concat(), "before its image data (an mdat box)")]
    #[case::data_not_yet_written(
        [file_type(), meta(&[location(0, 90, 60), idat()]), vec![0; 99]].concat(),
        "a box should start here"
    )]
    #[case::item_beyond_the_end(
        [file_type(), meta(&[location(0, 5000, 60)]), mdat()].concat(),
        "inside its image data, which should reach byte 5060"
    )]
    #[case::item_beyond_all_ends(
        [file_type(), meta(&[location(0, u32::MAX, u32::MAX)]), mdat()].concat(),
        "inside its image data"
    )]
    #[case::item_data_too_short(
        [file_type(), meta(&[location(1, 0, 9), idat()]), mdat()].concat(),
        "without all of its item data"
    )]
    #[case::no_item_data(
        [file_type(), meta(&[location(1, 0, 8)]), mdat()].concat(),
        "without all of its item data"
    )]
    #[case::inner_box_beyond_its_parent(
        [file_type(), meta(&[b"\0\0\0\x20hdlr".to_vec()]), mdat()].concat(),
        "a box inside its meta box"
    )]
    #[case::box_shorter_than_its_head(
        [file_type(), b"\0\0\0\x07free".to_vec(), mdat()].concat(),
        "shorter than its own head"
    )]
    #[case::largest_box(
        [file_type(), b"\0\0\0\x01free\xff\xff\xff\xff\xff\xff\xff\xff".to_vec()].concat(),
        "inside its free box"
    )]
    #[case::locations_in_numbers_of_3_bytes(
        [
            file_type(),
            meta(&[media_box("iloc", b"\0\0\0\0\x34\0\0\x01\0\x01\0\0\0\x01\0\0\0\0\0\0\0")]),
            mdat(),
        ].concat(),
        "odd size"
    )]
    fn what_cannot_be_is_not_complete(#[case] file: Vec<u8>, #[case] words: &str) {
        let missing = missing(Format::Heic, &file);
        assert!(missing.contains(words), "{missing}");
    }

    #[test]
    fn a_movie_whose_data_goes_on_to_the_end_does_not_tell() {
        let file = [file_type(), media_box("moov", b"tracks"), open_mdat()].concat();
        assert_eq!(verdict(Format::Heic, &file), Completeness::Unknowable);
    }

    #[test]
    fn zeros_behind_all_items_do_no_harm() {
        let file = [heif(), vec![0; 50]].concat();
        assert_eq!(verdict(Format::Heic, &file), Completeness::Complete);
    }

    #[test]
    fn a_few_bytes_behind_all_items_have_to_settle() {
        for tail in [b"\r\n".as_slice(), b"1234567", b"\0\0\0\x08fre"] {
            let file = [heif(), tail.to_vec()].concat();
            assert_eq!(verdict(Format::Heic, &file), Completeness::Unknowable);
        }
        let cut = [described(&[mdat()]), b"\r\n".to_vec()].concat();
        let before = [
            file_type(),
            meta(&[location(0, 5000, 60)]),
            mdat(),
            b"\r\n".to_vec(),
        ];
        assert_eq!(verdict(Format::Heic, &cut), Completeness::Unknowable);
        missing(Format::Heic, &before.concat());
    }

    #[test]
    fn an_item_in_another_file_is_not_looked_for() {
        let mut elsewhere = location(0, 5000, 60);
        let reference = elsewhere.len() - 11;
        elsewhere[reference] = 1;
        let file = [file_type(), meta(&[elsewhere]), mdat()].concat();
        assert_eq!(verdict(Format::Heic, &file), Completeness::Complete);
    }

    #[test]
    fn the_verdict_says_where_it_ends() {
        let file = heif();
        assert_eq!(
            missing(Format::Heic, &file[..file.len() - 9]),
            format!(
                "the HEIC ends at byte {} inside its mdat box, which should reach byte {}",
                file.len() - 9,
                file.len()
            )
        );
    }
}
