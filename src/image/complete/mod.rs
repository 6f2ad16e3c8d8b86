//! Whether a container is whole, told from its structure alone.
//!
//! One file a format. A walk takes time linear in the length at worst, keeps one buffer, and ends
//! in a verdict whatever the bytes are. It decodes no pixel, so "complete" means "nothing is
//! missing", not "every decoder will like it".

mod bmp;
mod bpg;
mod gif;
mod heif;
mod jpeg;
mod png;
mod source;
mod tiff;

use std::io::{self, Read, Seek};

use self::source::{Source, Stop};
use super::Format;

/// The buffer of containers that are read from front to back.
const BUFFER_BYTES: usize = 64 * 1024;
/// The buffer of TIFF, which jumps about and would fill a large one in vain.
const TIFF_BUFFER_BYTES: usize = 4 * 1024;

/// The verdict on a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completeness {
    /// Everything the format promises is there.
    Complete,
    /// Something is missing: what, for people, as "the PNG ends at byte 512 inside its IDAT chunk,
    /// which should reach byte 8245".
    ///
    /// Also for content that cannot be right, because blocks not yet written look like that.
    Incomplete(String),
    /// The format does not tell.
    Unknowable,
    /// No image of this format, though it begins like one: the name of what it is, for people. Told
    /// as soon as it is met, whole or not.
    Other(&'static str),
}

/// Looks at a container from its start to its end.
///
/// `length` is the file's length in bytes; of a longer reader the rest is not looked at, and a
/// shorter one is judged by what it has. Bytes behind the end of a PNG, JPEG, GIF, BMP or BPG image
/// are allowed. The reader is left anywhere.
///
/// # Errors
/// Only those of the reader.
pub fn completeness<R: Read + Seek>(
    format: Format,
    reader: &mut R,
    length: u64,
) -> io::Result<Completeness> {
    let buffer_bytes = match format {
        Format::Tiff => TIFF_BUFFER_BYTES,
        _ => BUFFER_BYTES,
    };
    let mut source = Source::new(format, reader, length, buffer_bytes)?;
    let verdict = match format {
        Format::Png => png::walk(&mut source),
        Format::Jpeg => jpeg::walk(&mut source),
        Format::Gif => gif::walk(&mut source),
        Format::Bmp => bmp::walk(&mut source),
        Format::Tiff => tiff::walk(&mut source),
        Format::Heic => heif::walk(&mut source),
        Format::Bpg => bpg::walk(&mut source),
    };
    match verdict {
        Ok(verdict) | Err(Stop::Verdict(verdict)) => Ok(verdict),
        Err(Stop::Reader(error)) => Err(error),
    }
}

#[cfg(test)]
mod samples;

#[cfg(test)]
mod tests {
    use std::io::{Cursor, SeekFrom};
    use std::path::PathBuf;

    use proptest::prelude::*;
    use rstest::rstest;

    use super::samples::{self, verdict};
    use super::*;
    use crate::image::{HEAD_BYTES, Recognised, recognise};

    fn format_of(bytes: &[u8]) -> Format {
        let head = &bytes[..bytes.len().min(HEAD_BYTES)];
        match recognise(head) {
            Recognised::Accepted(format) => format,
            other => panic!("this is {other:?}"),
        }
    }

    fn assert_no_cut_is_complete(format: Format, bytes: &[u8]) {
        assert_eq!(verdict(format, bytes), Completeness::Complete);
        for length in 0..bytes.len() {
            let verdict = verdict(format, &bytes[..length]);
            let Completeness::Incomplete(missing) = verdict else {
                panic!("{verdict:?} at {length} of {} bytes", bytes.len());
            };
            let opening = format!("the {format} ends at byte {length} ");
            assert!(missing.starts_with(&opening), "{missing} at {length}");
        }
    }

    #[rstest]
    #[case::png(Format::Png, samples::png())]
    #[case::jpeg(Format::Jpeg, samples::jpeg())]
    #[case::jpeg_with_thumbnail(Format::Jpeg, samples::jpeg_with_thumbnail())]
    #[case::gif(Format::Gif, samples::gif())]
    #[case::bmp(Format::Bmp, samples::bmp())]
    #[case::tiff(Format::Tiff, samples::tiff())]
    #[case::heif(Format::Heic, samples::heif())]
    #[case::bpg(Format::Bpg, samples::bpg(true))]
    fn an_image_is_complete_and_each_of_its_cuts_is_not(
        #[case] format: Format,
        #[case] bytes: Vec<u8>,
    ) {
        assert_eq!(format_of(&bytes), format);
        assert_no_cut_is_complete(format, &bytes);
    }

    #[rstest]
    fn images_of_other_programs_are_complete_and_each_of_their_cuts_is_not(
        #[files("tests/fixtures/images/*")]
        #[exclude("README.md")]
        path: PathBuf,
    ) {
        let bytes = std::fs::read(&path).unwrap();
        assert_no_cut_is_complete(format_of(&bytes), &bytes);
    }

    #[rstest]
    #[case::png(Format::Png, samples::png())]
    #[case::jpeg(Format::Jpeg, samples::jpeg())]
    #[case::jpeg_with_thumbnail(Format::Jpeg, samples::jpeg_with_thumbnail())]
    #[case::gif(Format::Gif, samples::gif())]
    fn space_that_was_allocated_but_not_written_is_never_an_end(
        #[case] format: Format,
        #[case] bytes: Vec<u8>,
    ) {
        for written in 0..bytes.len() {
            let mut file = bytes.clone();
            file[written..].fill(0);
            if file == bytes {
                continue;
            }
            let verdict = verdict(format, &file);
            assert!(
                matches!(verdict, Completeness::Incomplete(_)),
                "{verdict:?} with {written} of {} bytes written",
                file.len()
            );
        }
    }

    #[rstest]
    #[case::png(samples::png())]
    #[case::jpeg(samples::jpeg())]
    #[case::gif(samples::gif())]
    #[case::bmp(samples::bmp())]
    #[case::bpg(samples::bpg(true))]
    fn bytes_behind_the_end_are_allowed(#[case] image: Vec<u8>) {
        // Among them starts and ends of images, as multi-picture files and motion photos have them.
        let behind = [b"\xff\xd8\xff\xe1\0\0 ftyp".as_slice(), &image, &[0; 99]].concat();
        let file = [image.as_slice(), &behind].concat();
        let format = format_of(&image);
        for length in image.len()..=file.len() {
            assert_eq!(verdict(format, &file[..length]), Completeness::Complete);
        }
        assert_ne!(
            verdict(format, &file[..image.len() - 1]),
            Completeness::Complete
        );
    }

    #[rstest]
    fn a_verdict_does_not_depend_on_what_lies_beyond_the_length(
        #[values(
            samples::png(),
            samples::jpeg(),
            samples::gif(),
            samples::tiff(),
            samples::heif()
        )]
        bytes: Vec<u8>,
    ) {
        let format = format_of(&bytes);
        for length in 0..bytes.len() {
            let of_longer = completeness(format, &mut Cursor::new(&bytes), length as u64).unwrap();
            assert_eq!(of_longer, verdict(format, &bytes[..length]));
        }
    }

    #[rstest]
    fn a_file_shorter_than_it_was_said_to_be_is_judged_by_what_it_has(
        #[values(samples::png(), samples::bmp(), samples::heif())] bytes: Vec<u8>,
    ) {
        let format = format_of(&bytes);
        let cut = &bytes[..bytes.len() - 1];
        let said = bytes.len() as u64;
        let verdict = completeness(format, &mut Cursor::new(cut), said).unwrap();
        assert!(
            matches!(verdict, Completeness::Incomplete(_)),
            "{verdict:?}"
        );
    }

    /// A reader that gives few bytes at a time and counts them; it fails at `fails_at`.
    struct Probe<'b> {
        inner: Cursor<&'b [u8]>,
        piece: usize,
        fails_at: u64,
        given: u64,
    }

    impl<'b> Probe<'b> {
        fn new(bytes: &'b [u8], piece: usize) -> Self {
            Self {
                inner: Cursor::new(bytes),
                piece,
                fails_at: u64::MAX,
                given: 0,
            }
        }
    }

    impl Read for Probe<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.inner.position() >= self.fails_at {
                return Err(io::Error::other("the card was pulled"));
            }
            let piece = self.piece.min(buffer.len());
            let read = self.inner.read(&mut buffer[..piece])?;
            self.given += read as u64;
            Ok(read)
        }
    }

    impl Seek for Probe<'_> {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.inner.seek(to)
        }
    }

    #[rstest]
    fn the_size_of_a_read_changes_nothing(
        #[values(
            samples::png(),
            samples::jpeg_with_thumbnail(),
            samples::gif(),
            samples::tiff(),
            samples::heif()
        )]
        bytes: Vec<u8>,
        #[values(1, 2, 7)] piece: usize,
    ) {
        let format = format_of(&bytes);
        for length in [bytes.len() / 2, bytes.len() - 1, bytes.len()] {
            let bytes = &bytes[..length];
            let piecemeal =
                completeness(format, &mut Probe::new(bytes, piece), length as u64).unwrap();
            assert_eq!(piecemeal, verdict(format, bytes));
        }
    }

    #[rstest]
    fn a_failing_reader_is_an_error_and_no_verdict(
        #[values(
            samples::png(),
            samples::jpeg(),
            samples::gif(),
            samples::bmp(),
            samples::tiff(),
            samples::heif(),
            samples::bpg(true)
        )]
        bytes: Vec<u8>,
    ) {
        let mut reader = Probe::new(&bytes, 1);
        reader.fails_at = 11;
        let error = completeness(format_of(&bytes), &mut reader, bytes.len() as u64).unwrap_err();
        assert_eq!(error.to_string(), "the card was pulled");
    }

    /// How many bytes a walk reads of a file.
    fn bytes_read(format: Format, bytes: &[u8]) -> u64 {
        let mut reader = Probe::new(bytes, usize::MAX);
        completeness(format, &mut reader, bytes.len() as u64).unwrap();
        reader.given
    }

    #[rstest]
    #[case::png(Format::Png, b"\x89PNG\r\n\x1a\n\0\0\0\0IHDR\0\0\0\0".repeat(1 << 17))]
    #[case::png_of_empty_chunks(Format::Png, {
        let mut file = samples::png();
        file.truncate(33);
        file.extend(b"\0\0\0\0teSt\0\0\0\0".repeat(1 << 17));
        file
    })]
    #[case::jpeg_of_fill_bytes(Format::Jpeg, [vec![0xff, 0xd8], vec![0xff; 1 << 20]].concat())]
    #[case::jpeg_of_empty_segments(
        Format::Jpeg,
        [vec![0xff, 0xd8], b"\xff\xe0\0\x02".repeat(1 << 18)].concat()
    )]
    #[case::gif_of_empty_extensions(
        Format::Gif,
        [b"GIF89a\x01\0\x01\0\0\0\0".to_vec(), b"\x21\x01\0".repeat(1 << 18)].concat()
    )]
    #[case::heif_of_empty_boxes(
        Format::Heic,
        [samples::file_type(), samples::media_box("free", b"").repeat(1 << 17)].concat()
    )]
    #[case::heif_of_endless_extents(Format::Heic, {
        // Extents of no bytes, 65535 to an item.
        let items = [0, 1, 0, 0, 0xff, 0xff].repeat(1 << 15);
        let body = [&[0, 0, 0, 0, 0, 0, 0x80, 0], items.as_slice()].concat();
        [samples::file_type(), samples::meta(&[samples::media_box("iloc", &body)])].concat()
    })]
    #[case::heif_of_lying_locations(Format::Heic, {
        // Each says that it has one item of 65535 extents and has none.
        let lie = samples::media_box("iloc", b"\0\0\0\0\x44\0\0\x01\0\x01\0\0\xff\xff");
        let boxes = vec![lie; 1 << 15];
        [samples::file_type(), samples::meta(&boxes)].concat()
    })]
    fn no_file_is_read_more_than_about_once(#[case] format: Format, #[case] bytes: Vec<u8>) {
        let read = bytes_read(format, &bytes);
        let length = bytes.len() as u64;
        assert!(
            read <= length + 2 * BUFFER_BYTES as u64,
            "{read} of {length}"
        );
    }

    #[test]
    fn tiff_directories_that_overlap_are_not_read_for_ever() {
        // One directory of a strip and 64 sub-images, which are all the same huge directory.
        let mut file = b"II\x2a\0\x08\0\0\0\x03\0".to_vec();
        for (tag, count, value) in [(273_u16, 1, 50_u32), (279, 1, 9), (330, 64_u32, 50)] {
            file.extend([tag.to_le_bytes(), [4, 0]].concat());
            file.extend([count.to_le_bytes(), value.to_le_bytes()].concat());
        }
        file.extend([0; 4]);
        file.extend(306_u32.to_le_bytes().repeat(64));
        file.extend(60_000_u16.to_le_bytes());
        file.extend(vec![0xee; 12 * 60_000 + 4]);
        let read = bytes_read(Format::Tiff, &file);
        let length = file.len() as u64;
        assert!(read <= 6 * length, "{read} of {length}");
        assert_eq!(verdict(Format::Tiff, &file), Completeness::Unknowable);
    }

    #[rstest]
    #[case::png(Format::Png, { let mut file = samples::png(); file[16..24].fill(0xff); file })]
    #[case::jpeg(Format::Jpeg, {
        let mut file = samples::jpeg();
        let frame = file.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        file[frame + 5..frame + 9].fill(0xff);
        file
    })]
    #[case::gif(Format::Gif, { let mut file = samples::gif(); file[6..10].fill(0xff); file })]
    #[case::bmp(Format::Bmp, {
        let mut file = samples::bmp();
        file[18..26].copy_from_slice(&[0xff, 0xff, 0, 0, 0xff, 0xff, 0, 0]);
        file
    })]
    fn a_header_of_65535_pixels_a_side_costs_nothing(
        #[case] format: Format,
        #[case] bytes: Vec<u8>,
    ) {
        assert!(bytes_read(format, &bytes) <= bytes.len() as u64);
    }

    fn any_sample() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            Just(samples::png()),
            Just(samples::jpeg()),
            Just(samples::jpeg_with_thumbnail()),
            Just(samples::gif()),
            Just(samples::bmp()),
            Just(samples::tiff()),
            Just(samples::heif()),
            Just(samples::bpg(true)),
            Just(samples::bpg(false)),
        ]
    }

    fn any_format() -> impl Strategy<Value = Format> {
        prop_oneof![
            Just(Format::Png),
            Just(Format::Jpeg),
            Just(Format::Gif),
            Just(Format::Bmp),
            Just(Format::Tiff),
            Just(Format::Heic),
            Just(Format::Bpg),
        ]
    }

    proptest! {
        #[test]
        fn flipped_bytes_end_in_a_verdict_on_a_bounded_read(
            mut bytes in any_sample(),
            flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
            // Most of what steers a walk is near the start.
            near_start in any::<bool>(),
        ) {
            let format = format_of(&bytes);
            for (at, value) in flips {
                let reach = if near_start { bytes.len().min(200) } else { bytes.len() };
                bytes[at.index(reach)] = value;
            }
            let read = bytes_read(format, &bytes);
            prop_assert!(read <= 1 << 20, "{} bytes of {}", read, bytes.len());
        }

        #[test]
        fn noise_is_never_complete(
            format in any_format(),
            bytes in proptest::collection::vec(any::<u8>(), 0..2000),
        ) {
            prop_assert_ne!(verdict(format, &bytes), Completeness::Complete);
        }

        #[test]
        fn a_lie_about_the_length_ends_in_a_verdict(
            bytes in any_sample(),
            length in any::<u64>(),
        ) {
            let mut reader = Cursor::new(&bytes);
            let verdict = completeness(format_of(&bytes), &mut reader, length);
            prop_assert!(verdict.is_ok());
        }
    }
}
