//! TIFF and BigTIFF: every directory, and that all it points at lies within the file (Adobe,
//! "TIFF 6.0"; "The BigTIFF File Format", libtiff).
//!
//! Raw files of cameras are TIFF by structure, DNG as well as NEF, ARW and their like: a picture
//! that shows something only when a program has developed it. They are told by what they say of
//! themselves (`DNGVersion`) or of their pixels (`PhotometricInterpretation`; TIFF/EP, DNG 1.7.1).
//!
//! Directories may be anywhere, so this is the one container that is not read from front to back.
//! What keeps the walk short: at most [`MAX_DIRECTORIES`] of them, and not many more bytes of
//! directories and offsets than the file has. Beyond either bound the verdict is `Unknowable`.

use std::io::{Read, Seek};

use super::Completeness;
use super::source::{Source, Stop, Walk};

/// More pages, sub-images and notes than this are not looked at.
const MAX_DIRECTORIES: usize = 4096;
/// How many sub-directories may wait for their turn.
const MAX_WAITING: usize = 64;
/// In a sound file no two structures overlap; this much overlap is still walked.
const MAX_OVERLAP: u64 = 4;
/// Offsets and lengths are compared in blocks of so many, so that memory stays constant.
const BLOCK: usize = 256;

/// `PhotometricInterpretation`: one colour a pixel, as the sensor has them (TIFF/EP, DNG 1.7.1).
const COLOUR_FILTER_ARRAY: u64 = 32803;
/// The same after the colours were put together, still without tones (DNG 1.7.1).
const LINEAR_RAW: u64 = 34892;

/// Cameras' makers by the start of their `Make`, and what they call their raw files.
const RAWS: [(&[u8], &str); 9] = [
    (b"NIKON", "Nikon NEF, a camera's raw file"),
    (b"SONY", "Sony ARW, a camera's raw file"),
    (b"PENTAX", "Pentax PEF, a camera's raw file"),
    (b"RICOH", "Pentax PEF, a camera's raw file"),
    (b"SAMSUNG", "Samsung SRW, a camera's raw file"),
    (b"Hasselbl", "Hasselblad 3FR, a camera's raw file"),
    (b"EASTMAN", "Kodak DCR, a camera's raw file"),
    (b"Kodak", "Kodak DCR, a camera's raw file"),
    (b"SEIKO EP", "Epson ERF, a camera's raw file"),
];

pub(super) fn walk<R: Read + Seek>(source: &mut Source<'_, R>) -> Walk {
    let mut file = Tiff::read_header(source)?;
    let mut next = file.offset("its header")?;
    if next == 0 {
        // libtiff writes the offset last.
        return Err(file.source.cut("before its first directory"));
    }
    // Brent's way of finding a circle in a chain, with one offset remembered.
    let (mut remembered, mut steps, mut until) = (next, 0_usize, 2);
    while next != 0 {
        next = file.directory(next)?;
        while let Some(offset) = file.waiting.pop() {
            file.directory(offset)?;
        }
        if next == remembered {
            return Err(file.source.damaged(next, "its directories form a circle"));
        }
        steps += 1;
        if steps == until {
            (remembered, steps, until) = (next, 0, until.saturating_mul(2));
        }
    }
    match file.data {
        Some(verdict) => Ok(verdict),
        None => Err(file.source.cut("without any image data")),
    }
}

struct Tiff<'s, 'r, R> {
    source: &'s mut Source<'r, R>,
    big_endian: bool,
    /// `BigTIFF`: offsets and counts have 8 bytes.
    big: bool,
    directories: usize,
    /// Offsets of directories that others point at.
    waiting: Vec<u64>,
    /// How many more bytes of structure may be read.
    budget: u64,
    /// The verdict on the image data so far; `None` while none was met.
    data: Option<Completeness>,
    /// The first `Make`.
    make: Option<Values>,
}

/// The values of an entry: `count` numbers of `size` bytes each, from the offset `at`.
#[derive(Clone, Copy)]
struct Values {
    at: u64,
    size: u64,
    count: u64,
}

/// Where a directory's image data is: by one entry the offsets, by another the lengths.
#[derive(Default)]
struct Extents {
    offsets: Option<Values>,
    lengths: Option<Values>,
}

impl<'s, 'r, R: Read + Seek> Tiff<'s, 'r, R> {
    /// The header up to the first directory's offset.
    fn read_header(source: &'s mut Source<'r, R>) -> Walk<Self> {
        const PART: &str = "its header";

        let budget = source.end().saturating_mul(MAX_OVERLAP);
        let (big_endian, big) = match &source.array(PART)? {
            b"II\x2a\0" => (false, false),
            b"II\x2b\0" => (false, true),
            b"MM\0\x2a" => (true, false),
            b"MM\0\x2b" => (true, true),
            _ => return Err(source.damaged(0, "its signature is none of the four")),
        };
        let mut tiff = Self {
            source,
            big_endian,
            big,
            directories: 0,
            waiting: Vec::new(),
            budget,
            data: None,
            make: None,
        };
        if big && (tiff.number(2, PART)?, tiff.number(2, PART)?) != (8, 0) {
            return Err(tiff.source.damaged(4, "its offsets should have 8 bytes"));
        }
        Ok(tiff)
    }

    /// A number of 1, 2, 4 or 8 bytes.
    fn number(&mut self, size: u64, part: &str) -> Walk<u64> {
        let big_endian = self.big_endian;
        let source = &mut *self.source;
        Ok(match size {
            1 => source.byte(part)?.into(),
            2 => {
                let bytes = source.array(part)?;
                if big_endian {
                    u16::from_be_bytes(bytes)
                } else {
                    u16::from_le_bytes(bytes)
                }
                .into()
            }
            4 => {
                let bytes = source.array(part)?;
                if big_endian {
                    u32::from_be_bytes(bytes)
                } else {
                    u32::from_le_bytes(bytes)
                }
                .into()
            }
            _ => {
                let bytes = source.array(part)?;
                if big_endian {
                    u64::from_be_bytes(bytes)
                } else {
                    u64::from_le_bytes(bytes)
                }
            }
        })
    }

    /// A number as wide as this file's offsets.
    fn offset(&mut self, part: &str) -> Walk<u64> {
        self.number(if self.big { 8 } else { 4 }, part)
    }

    /// Takes so many bytes of structure from the budget.
    fn spend(&mut self, bytes: u64) -> Walk<()> {
        match self.budget.checked_sub(bytes) {
            Some(left) => {
                self.budget = left;
                Ok(())
            }
            None => Err(Stop::Verdict(Completeness::Unknowable)),
        }
    }

    /// Looks at one directory and its image data; the offset of the next, 0 when there is none.
    fn directory(&mut self, at: u64) -> Walk<u64> {
        const PART: &str = "a directory";

        self.directories += 1;
        if self.directories > MAX_DIRECTORIES {
            return Err(Stop::Verdict(Completeness::Unknowable));
        }
        self.source.require(at, "what lies before a directory")?;
        self.source.go_to(at)?;
        let count = self.number(if self.big { 8 } else { 2 }, PART)?;
        if count == 0 {
            return Err(self.source.damaged(at, "a directory should start here"));
        }
        let bytes = count.saturating_mul(if self.big { 20 } else { 12 });
        let end = self.source.position().saturating_add(bytes);
        self.source.require(end, PART)?;
        self.spend(bytes)?;

        let (mut strips, mut tiles, mut jpeg) =
            (Extents::default(), Extents::default(), Extents::default());
        let mut raw = false;
        for _ in 0..count {
            let tag = self.number(2, PART)?;
            let Some(values) = self.entry()? else {
                continue;
            };
            match tag {
                // One short number, so it stands in the entry itself and costs no jump.
                262 if values.count == 1 && values.size <= 4 => raw |= self.is_raw(values)?,
                271 => self.make = self.make.or(Some(values)),
                // DNGVersion.
                50706 => {
                    return Err(Stop::Verdict(Completeness::Other(
                        "DNG, a camera's raw file",
                    )));
                }
                273 => strips.offsets = Some(values),
                279 => strips.lengths = Some(values),
                324 => tiles.offsets = Some(values),
                325 => tiles.lengths = Some(values),
                513 => jpeg.offsets = Some(values),
                514 => jpeg.lengths = Some(values),
                // Sub-images, EXIF, GPS.
                330 | 34665 | 34853 => self.note_directories(values)?,
                _ => {}
            }
        }
        if raw {
            return Err(self.raw()?);
        }
        let next = self.offset(PART)?;
        for extents in [strips, tiles, jpeg] {
            self.check_extents(&extents)?;
        }
        Ok(next)
    }

    /// The rest of an entry, behind its tag. `None` for types that do not exist (yet): readers are
    /// told to pass over those.
    fn entry(&mut self) -> Walk<Option<Values>> {
        const PART: &str = "an entry of a directory";

        let kind = self.number(2, PART)?;
        let count = self.offset(PART)?;
        let value_at = self.source.position();
        let inline_bytes = if self.big { 8 } else { 4 };
        let value = self.offset(PART)?;
        let size = match kind {
            1 | 2 | 6 | 7 => 1,
            3 | 8 => 2,
            4 | 9 | 11 | 13 => 4,
            5 | 10 | 12 | 16 | 17 | 18 => 8,
            _ => return Ok(None),
        };
        let bytes = count.saturating_mul(size);
        let at = if bytes <= inline_bytes {
            value_at
        } else {
            self.source
                .require(value.saturating_add(bytes), "the values of an entry")?;
            value
        };
        Ok(Some(Values { at, size, count }))
    }

    /// Whether pixels of this kind are what a sensor saw and no picture yet; the position stays.
    fn is_raw(&mut self, kind: Values) -> Walk<bool> {
        let position = self.source.position();
        self.source.go_to(kind.at)?;
        let kind = self.number(kind.size, "the values of an entry")?;
        self.source.go_to(position)?;
        Ok(matches!(kind, COLOUR_FILTER_ARRAY | LINEAR_RAW))
    }

    /// The verdict on a camera's raw file, by the camera's maker.
    fn raw(&mut self) -> Walk<Stop> {
        let mut name = "a camera's raw file";
        if let Some(make) = self.make.filter(|make| make.count >= 8) {
            self.source.go_to(make.at)?;
            let make = self.source.array::<8>("the values of an entry")?;
            let known = RAWS.iter().find(|(start, _)| make.starts_with(start));
            name = known.map_or(name, |(_, name)| name);
        }
        Ok(Stop::Verdict(Completeness::Other(name)))
    }

    /// Remembers directories to look at; the position stays.
    fn note_directories(&mut self, values: Values) -> Walk<()> {
        if values.count > (MAX_WAITING.saturating_sub(self.waiting.len())) as u64 {
            return Err(Stop::Verdict(Completeness::Unknowable));
        }
        let position = self.source.position();
        self.source.go_to(values.at)?;
        for _ in 0..values.count {
            let offset = self.number(values.size, "the values of an entry")?;
            if offset != 0 {
                self.waiting.push(offset);
            }
        }
        self.source.go_to(position)
    }

    /// That all image data that a pair of entries points at is there.
    fn check_extents(&mut self, extents: &Extents) -> Walk<()> {
        let Some(offsets) = extents.offsets else {
            return Ok(());
        };
        // Plain pixels may do without lengths; how long they are is then anybody's guess.
        let verdict = match (extents.lengths, &self.data) {
            (Some(_), None | Some(Completeness::Complete)) => Completeness::Complete,
            _ => Completeness::Unknowable,
        };
        let count = extents
            .lengths
            .map_or(offsets.count, |lengths| offsets.count.min(lengths.count));
        let mut from = 0;
        while from < count {
            let here = (BLOCK as u64).min(count - from);
            let starts = self.block(offsets, from, here)?;
            let sizes = match extents.lengths {
                Some(lengths) => self.block(lengths, from, here)?,
                None => [1; BLOCK],
            };
            for (_, (start, size)) in (0..here).zip(starts.into_iter().zip(sizes)) {
                // Left out on purpose: a sparse image.
                if size == 0 {
                    continue;
                }
                if start == 0 {
                    return Err(self.source.damaged(0, "image data cannot start here"));
                }
                self.source
                    .require(start.saturating_add(size), "its image data")?;
                self.data = Some(verdict.clone());
            }
            from += here;
        }
        Ok(())
    }

    /// The values from number `from` on, `count` of them, then zeros.
    fn block(&mut self, values: Values, from: u64, count: u64) -> Walk<[u64; BLOCK]> {
        self.spend(count.saturating_mul(values.size))?;
        let at = values.at.saturating_add(from.saturating_mul(values.size));
        self.source.go_to(at)?;
        let mut block = [0; BLOCK];
        for (_, number) in (0..count).zip(&mut block) {
            *number = self.number(values.size, "the values of an entry")?;
        }
        Ok(block)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::samples::{missing, tiff, verdict};
    use super::*;
    use crate::image::Format;

    const LONG: u16 = 4;

    /// An entry of a little-endian TIFF: tag, type, count, value or its offset.
    type Entry = (u16, u16, u32, u32);

    fn directory(entries: &[Entry], next: u32) -> Vec<u8> {
        let mut bytes = u16::try_from(entries.len()).unwrap().to_le_bytes().to_vec();
        for (tag, kind, count, value) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            bytes.extend(count.to_le_bytes());
            bytes.extend(value.to_le_bytes());
        }
        bytes.extend(next.to_le_bytes());
        bytes
    }

    /// A file of these directories, the first of which is at 8, and 20 bytes behind them.
    fn of_directories(directories: &[Vec<u8>]) -> Vec<u8> {
        let head = b"II\x2a\0\x08\0\0\0";
        [head.as_slice(), &directories.concat(), &[0x55; 20]].concat()
    }

    /// One strip that ends with the file when one directory of `entries` is all there is.
    fn strip(entries: usize) -> [Entry; 2] {
        let at = u32::try_from(8 + 2 + 12 * entries + 4).unwrap();
        [(273, LONG, 1, at), (279, LONG, 1, 20)]
    }

    fn with(more: &[Entry]) -> Vec<u8> {
        let entries = [&strip(2 + more.len()), more].concat();
        of_directories(&[directory(&entries, 0)])
    }

    /// A big-endian `BigTIFF` of one strip.
    fn big() -> Vec<u8> {
        let mut file = b"MM\0\x2b\0\x08\0\0".to_vec();
        file.extend(16_u64.to_be_bytes());
        file.extend(2_u64.to_be_bytes());
        for (tag, value) in [(273_u16, 72_u64), (279, 20)] {
            file.extend(tag.to_be_bytes());
            file.extend(16_u16.to_be_bytes());
            file.extend(1_u64.to_be_bytes());
            file.extend(value.to_be_bytes());
        }
        file.extend(0_u64.to_be_bytes());
        file.extend([0x55; 20]);
        file
    }

    #[rstest]
    #[case::values_in_the_entries(with(&[]))]
    #[case::big(big())]
    #[case::tiles(of_directories(&[directory(&[(324, LONG, 1, 38), (325, 3, 1, 20)], 0)]))]
    #[case::embedded_jpeg(of_directories(&[directory(&[(513, LONG, 1, 38), (514, LONG, 1, 20)], 0)]))]
    #[case::sub_image(of_directories(&[
        directory(&[(330, LONG, 1, 26)], 0),
        directory(&[(273, LONG, 1, 56), (279, LONG, 1, 20)], 0),
    ]))]
    #[case::text_of_the_last_bytes(with(&[(270, 2, 20, 50)]))]
    #[case::unknown_type(with(&[(65000, 99, u32::MAX, u32::MAX)]))]
    fn a_file_is_complete_and_each_of_its_cuts_is_not(#[case] file: Vec<u8>) {
        assert_eq!(verdict(Format::Tiff, &file), Completeness::Complete);
        for length in 0..file.len() {
            missing(Format::Tiff, &file[..length]);
        }
    }

    const RAW: Entry = (262, 3, 1, 32803);

    #[rstest]
    #[case::dng(with(&[(50706, 1, 4, 0x0000_0401)]), "DNG")]
    #[case::dng_that_is_cut(
        with(&[(50706, 1, 4, 0x0000_0401)])[..60].to_vec(),
        "DNG"
    )]
    #[case::sensor_without_a_maker(with(&[RAW]), "a camera's raw file")]
    #[case::linear(with(&[(262, 3, 1, 34892)]), "a camera's raw file")]
    #[case::sensor_below_a_preview(of_directories(&[
        directory(&[(271, 2, 18, 62), (330, LONG, 1, 38)], 0),
        directory(&[RAW], 0),
        b"\0\0\0\0\0\0NIKON CORPORATION\0".to_vec(),
    ]), "Nikon NEF")]
    #[case::sensor_of_an_unknown_maker(of_directories(&[
        directory(&[RAW, (271, 2, 12, 38)], 0),
        b"Unheard of\0\0".to_vec(),
    ]), "a camera's raw file")]
    #[case::make_of_two_bytes(with(&[RAW, (271, 2, 2, 0x41)]), "a camera's raw file")]
    #[case::sensor_and_maker_in_one_directory(of_directories(&[
        directory(&[RAW, (271, 2, 8, 38)], 0),
        b"PENTAX \0".to_vec(),
    ]), "Pentax PEF")]
    fn what_a_camera_calls_raw_is_no_picture(#[case] file: Vec<u8>, #[case] name: &str) {
        let verdict = verdict(Format::Tiff, &file);
        let Completeness::Other(told) = verdict else {
            panic!("{verdict:?}")
        };
        assert!(told.starts_with(name), "{told}");
    }

    #[rstest]
    fn every_picture_that_tells_its_colours_is_one(
        #[values(0, 1, 2, 3, 4, 5, 6, 8)] photometric: u32,
    ) {
        // With the maker's name, as cameras that write TIFF put it there.
        let file = with(&[(262, 3, 1, photometric), (271, 2, 18, 62)]);
        assert_eq!(verdict(Format::Tiff, &file), Completeness::Complete);
    }

    #[rstest]
    #[case::not_yet_a_directory(b"II\x2a\0\0\0\0\0data".to_vec(), "before its first directory")]
    #[case::directory_of_nothing(of_directories(&[vec![0; 6]]), "a directory should start here")]
    #[case::directory_beyond_the_end(
        b"II\x2a\0\xff\xff\xff\xff".to_vec(),
        "should reach byte 4294967295"
    )]
    #[case::next_beyond_the_end(
        of_directories(&[directory(&strip(2), 9999)]),
        "should reach byte 9999"
    )]
    #[case::circle_of_one(of_directories(&[directory(&strip(2), 8)]), "form a circle")]
    #[case::circle_of_two(
        of_directories(&[directory(&strip(2), 38), directory(&strip(2), 8)]),
        "form a circle"
    )]
    #[case::circle_behind_a_stem(
        of_directories(&[
            directory(&strip(2), 38), directory(&strip(2), 68), directory(&strip(2), 38)
        ]),
        "form a circle"
    )]
    #[case::no_image_data(
        of_directories(&[directory(&[(270, 2, 20, 26)], 0)]),
        "without any image data"
    )]
    #[case::strips_of_no_bytes(
        of_directories(&[directory(&[(273, LONG, 1, 38), (279, LONG, 1, 0)], 0)]),
        "without any image data"
    )]
    #[case::strip_in_the_header(
        of_directories(&[directory(&[(273, LONG, 1, 0), (279, LONG, 1, 20)], 0)]),
        "image data cannot start here"
    )]
    #[case::values_beyond_the_end(with(&[(270, 2, 21, 50)]), "the values of an entry")]
    #[case::values_beyond_all_ends(with(&[(270, 5, u32::MAX, u32::MAX)]), "the values of an entry")]
    #[case::notes_beyond_the_end(with(&[(34665, LONG, 1, 9999)]), "should reach byte 9999")]
    #[case::offsets_of_4_bytes_in_a_big_file(
        b"II\x2b\0\x04\0\0\0\x10\0\0\0\0\0\0\0".to_vec(),
        "8 bytes"
    )]
    #[case::most_entries_of_a_big_file(
        [b"II\x2b\0\x08\0\0\0\x10\0\0\0\0\0\0\0".as_slice(), &[0xff; 99]].concat(),
        "inside a directory"
    )]
    fn what_cannot_be_is_not_complete(#[case] file: Vec<u8>, #[case] words: &str) {
        let missing = missing(Format::Tiff, &file);
        assert!(missing.contains(words), "{missing}");
    }

    #[rstest]
    #[case::strip_without_a_length(of_directories(&[directory(&[(273, LONG, 1, 26)], 0)]))]
    #[case::first_of_two_pages_without_a_length(of_directories(&[
        directory(&[(273, LONG, 1, 56)], 26),
        directory(&[(273, LONG, 1, 56), (279, LONG, 1, 20)], 0),
    ]))]
    #[case::notes_that_are_their_own_notes(with(&[(34665, LONG, 1, 8)]))]
    #[case::more_sub_images_than_anyone_has(with(&[(330, 1, 1000, 0)]).into_iter().chain([0; 1000]).collect())]
    fn what_is_not_told_is_not_guessed(#[case] file: Vec<u8>) {
        assert_eq!(verdict(Format::Tiff, &file), Completeness::Unknowable);
    }

    #[test]
    fn a_strip_without_a_length_begins_inside_the_file() {
        let file = of_directories(&[directory(&[(273, LONG, 1, 46)], 0)]);
        assert_eq!(file.len(), 46);
        missing(Format::Tiff, &file);
    }

    #[test]
    fn more_pages_than_are_looked_at_are_not_told() {
        let pages = |count: u32| {
            let page = |number| {
                let next = if number == count { 0 } else { 8 + 30 * number };
                let data_at = 8 + 30 * count;
                directory(&[(273, LONG, 1, data_at), (279, LONG, 1, 20)], next)
            };
            of_directories(&(1..=count).map(page).collect::<Vec<_>>())
        };
        assert_eq!(verdict(Format::Tiff, &pages(4096)), Completeness::Complete);
        assert_eq!(
            verdict(Format::Tiff, &pages(4097)),
            Completeness::Unknowable
        );
    }

    #[rstest]
    fn every_one_of_many_strips_is_looked_at(#[values(0, 255, 256, 299)] wrong: usize) {
        const STRIPS: usize = 300;
        let count = u32::try_from(STRIPS).unwrap();
        let (offsets_at, lengths_at) = (38, 38 + 4 * count);
        let data_at = lengths_at + 4 * count;
        let entries = [
            (273, LONG, count, offsets_at),
            (279, LONG, count, lengths_at),
        ];
        let mut lengths = vec![20_u32; STRIPS];
        let file = |lengths: &[u32]| {
            let offsets = data_at.to_le_bytes().repeat(STRIPS);
            let lengths: Vec<_> = lengths
                .iter()
                .flat_map(|length| length.to_le_bytes())
                .collect();
            of_directories(&[directory(&entries, 0), offsets, lengths])
        };
        assert_eq!(
            verdict(Format::Tiff, &file(&lengths)),
            Completeness::Complete
        );
        lengths[wrong] = 21;
        missing(Format::Tiff, &file(&lengths));
    }

    #[test]
    fn the_verdict_says_where_it_ends() {
        let file = tiff();
        let end = file.len();
        assert_eq!(
            missing(Format::Tiff, &file[..end - 1]),
            format!(
                "the TIFF ends at byte {} inside its image data, which should reach byte {end}",
                end - 1
            )
        );
    }
}
