//! BMP: what its headers declare against the length ("Bitmap Storage", learn.microsoft.com, and
//! the OS/2 headers).
//!
//! The size in the file header is 0 or wrong in many files, so the pixels' own size is computed
//! from the second header. Pixels are never read: zeros are as good as any.

use std::io::{Read, Seek};

use super::Completeness;
use super::source::{Source, Walk};

const FILE_HEADER_BYTES: u64 = 14;

pub(super) fn walk<R: Read + Seek>(source: &mut Source<'_, R>) -> Walk {
    if source.array("its file header")? != *b"BM" {
        return Err(source.damaged(0, "its signature should be BM"));
    }
    let declared = u64::from(u32::from_le_bytes(source.array("its file header")?));
    source.skip(4, "its file header")?;
    let pixels_at = u64::from(u32::from_le_bytes(source.array("its file header")?));
    let header = Header::read(source)?;
    // The cheapest statement first, and the one people can check.
    source.require(declared, "its declared size")?;

    let headers_end = FILE_HEADER_BYTES + u64::from(header.bytes);
    let pixels_at = if pixels_at < headers_end {
        headers_end.saturating_add(header.palette_bytes())
    } else {
        pixels_at
    };
    match header.pixel_bytes() {
        Some(bytes) => {
            source.require(pixels_at.saturating_add(bytes), "its pixels")?;
            Ok(Completeness::Complete)
        }
        // Compressed, and the header does not say to how much.
        None if declared > pixels_at => Ok(Completeness::Complete),
        None => Ok(Completeness::Unknowable),
    }
}

/// The second header, of which there are eight kinds, told apart by their size.
struct Header {
    bytes: u32,
    width: u32,
    height: u32,
    bits_per_pixel: u16,
    compression: u32,
    /// The pixels' size as the header says it; 0 when it does not.
    image_bytes: u32,
    colours: u32,
}

impl Header {
    fn read<R: Read + Seek>(source: &mut Source<'_, R>) -> Walk<Self> {
        const PART: &str = "its second header";

        let bytes = u32::from_le_bytes(source.array(PART)?);
        let mut header = Self {
            bytes,
            width: 0,
            height: 0,
            bits_per_pixel: 0,
            compression: 0,
            image_bytes: 0,
            colours: 0,
        };
        match bytes {
            12 => {
                header.width = u16::from_le_bytes(source.array(PART)?).into();
                header.height = u16::from_le_bytes(source.array(PART)?).into();
            }
            16 | 40 | 52 | 56 | 64 | 108 | 124 => {
                // A negative width is no width; a negative height only turns the rows around.
                let width = i32::from_le_bytes(source.array(PART)?);
                header.width = u32::try_from(width).unwrap_or(0);
                header.height = i32::from_le_bytes(source.array(PART)?).unsigned_abs();
            }
            _ => {
                return Err(
                    source.damaged(FILE_HEADER_BYTES, "its second header has no known size")
                );
            }
        }
        source.skip(2, PART)?; // The planes.
        header.bits_per_pixel = u16::from_le_bytes(source.array(PART)?);
        if bytes >= 40 {
            header.compression = u32::from_le_bytes(source.array(PART)?);
            header.image_bytes = u32::from_le_bytes(source.array(PART)?);
            source.skip(8, PART)?; // The resolution.
            header.colours = u32::from_le_bytes(source.array(PART)?);
        }
        source.require(FILE_HEADER_BYTES + u64::from(bytes), PART)?;
        // Only an embedded JPEG or PNG may leave the depth open.
        let no_depth = header.bits_per_pixel == 0 && header.is_uncompressed();
        if header.width == 0 || header.height == 0 || no_depth {
            return Err(source.damaged(FILE_HEADER_BYTES, "its second header declares no pixels"));
        }
        Ok(header)
    }

    /// Plain pixels, or plain pixels with their own bit masks.
    fn is_uncompressed(&self) -> bool {
        // In the OS/2 header of 64 bytes the numbers from 3 on are other compressions.
        matches!(self.compression, 0) || (matches!(self.compression, 3 | 6) && self.bytes != 64)
    }

    /// The size of the pixels; `None` when they are compressed and their size is not declared.
    fn pixel_bytes(&self) -> Option<u64> {
        if self.is_uncompressed() {
            // Each row is padded to 4 bytes.
            let row_bits = u64::from(self.width).saturating_mul(self.bits_per_pixel.into());
            let row_bytes = row_bits.div_ceil(32).saturating_mul(4);
            Some(row_bytes.saturating_mul(self.height.into()))
        } else {
            (self.image_bytes > 0).then_some(self.image_bytes.into())
        }
    }

    fn palette_bytes(&self) -> u64 {
        let colours = match (self.colours, self.bits_per_pixel) {
            (0, 1..=8) => 1 << self.bits_per_pixel,
            (colours, _) => u64::from(colours),
        };
        let entry_bytes = if self.bytes == 12 { 3 } else { 4 };
        colours * entry_bytes
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::samples::{bmp, missing, verdict};
    use super::*;
    use crate::image::Format;

    /// A bitmap of the 40-byte header with this many bytes behind its headers.
    struct Bitmap {
        declared: u32,
        pixels_at: u32,
        width: i32,
        height: i32,
        bits_per_pixel: u16,
        compression: u32,
        image_bytes: u32,
        colours: u32,
        behind: usize,
    }

    const PLAIN: Bitmap = Bitmap {
        declared: 0,
        pixels_at: 54,
        width: 5,
        height: 3,
        bits_per_pixel: 24,
        compression: 0,
        image_bytes: 0,
        colours: 0,
        behind: 48,
    };

    impl Bitmap {
        fn bytes(&self) -> Vec<u8> {
            let mut file = b"BM".to_vec();
            for number in [self.declared, 0, self.pixels_at, 40] {
                file.extend(number.to_le_bytes());
            }
            file.extend(self.width.to_le_bytes());
            file.extend(self.height.to_le_bytes());
            file.extend(1_u16.to_le_bytes());
            file.extend(self.bits_per_pixel.to_le_bytes());
            for number in [self.compression, self.image_bytes, 0, 0, self.colours, 0] {
                file.extend(number.to_le_bytes());
            }
            file.extend(vec![0; self.behind]);
            file
        }
    }

    #[rstest]
    #[case::size_left_open(PLAIN)]
    #[case::size_declared(Bitmap { declared: 102, ..PLAIN })]
    #[case::size_declared_too_small(Bitmap { declared: 54, ..PLAIN })]
    #[case::rows_from_the_top(Bitmap { height: -3, ..PLAIN })]
    #[case::one_bit_a_pixel(Bitmap { width: 33, bits_per_pixel: 1, pixels_at: 62, behind: 32, ..PLAIN })]
    #[case::bit_masks(Bitmap { compression: 3, bits_per_pixel: 32, pixels_at: 66, behind: 72, ..PLAIN })]
    #[case::no_place_for_the_pixels(Bitmap { pixels_at: 0, ..PLAIN })]
    #[case::no_place_but_a_palette(Bitmap { pixels_at: 0, bits_per_pixel: 8, behind: 1024 + 24, ..PLAIN })]
    #[case::no_place_but_a_short_palette(
        Bitmap { pixels_at: 0, bits_per_pixel: 8, colours: 7, behind: 28 + 24, ..PLAIN }
    )]
    #[case::run_lengths(Bitmap { compression: 1, image_bytes: 48, bits_per_pixel: 8, ..PLAIN })]
    #[case::embedded_jpeg(Bitmap { compression: 4, image_bytes: 48, bits_per_pixel: 0, ..PLAIN })]
    fn a_bitmap_ends_where_its_headers_say_though_its_pixels_are_zeros(#[case] bitmap: Bitmap) {
        let file = bitmap.bytes();
        assert_eq!(verdict(Format::Bmp, &file), Completeness::Complete);
        for length in 0..file.len() {
            missing(Format::Bmp, &file[..length]);
        }
    }

    #[rstest]
    #[case::declared_beyond_the_end(Bitmap { declared: 103, ..PLAIN }, "should reach byte 103")]
    #[case::pixels_beyond_the_end(Bitmap { pixels_at: 55, ..PLAIN }, "should reach byte 103")]
    #[case::more_rows_than_bytes(Bitmap { height: i32::MIN, ..PLAIN }, "inside its pixels")]
    #[case::as_large_as_can_be_said(
        Bitmap {
            width: i32::MAX, height: i32::MIN, bits_per_pixel: u16::MAX, pixels_at: u32::MAX, ..PLAIN
        },
        "inside its pixels"
    )]
    #[case::as_many_colours_as_can_be_said(
        Bitmap { colours: u32::MAX, pixels_at: 0, ..PLAIN },
        "inside its pixels"
    )]
    #[case::no_width(Bitmap { width: 0, ..PLAIN }, "no pixels")]
    #[case::negative_width(Bitmap { width: -5, ..PLAIN }, "no pixels")]
    #[case::no_height(Bitmap { height: 0, ..PLAIN }, "no pixels")]
    #[case::no_depth(Bitmap { bits_per_pixel: 0, ..PLAIN }, "no pixels")]
    fn what_cannot_be_is_not_complete(#[case] bitmap: Bitmap, #[case] words: &str) {
        let missing = missing(Format::Bmp, &bitmap.bytes());
        assert!(missing.contains(words), "{missing}");
    }

    #[test]
    fn compressed_pixels_of_undeclared_size_are_told_by_the_file_size_or_not_at_all() {
        let open = Bitmap {
            compression: 1,
            bits_per_pixel: 8,
            ..PLAIN
        };
        assert_eq!(
            verdict(Format::Bmp, &open.bytes()),
            Completeness::Unknowable
        );
        let told = Bitmap {
            declared: 102,
            ..open
        };
        assert_eq!(verdict(Format::Bmp, &told.bytes()), Completeness::Complete);
    }

    #[test]
    fn the_verdict_says_where_it_ends() {
        let file = bmp();
        assert_eq!(
            missing(Format::Bmp, &file[..100]),
            format!(
                "the BMP ends at byte 100 inside its declared size, which should reach byte {}",
                file.len()
            )
        );
    }
}
