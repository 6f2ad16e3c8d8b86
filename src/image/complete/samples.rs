//! Real images and hand-made skeletons for the tests of this room. Only for tests.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, RgbImage};

use super::{Completeness, completeness};
use crate::image::Format;

pub(super) fn verdict(format: Format, bytes: &[u8]) -> Completeness {
    completeness(format, &mut Cursor::new(bytes), bytes.len() as u64).unwrap()
}

/// What a verdict of "incomplete" says.
#[track_caller]
pub(super) fn missing(format: Format, bytes: &[u8]) -> String {
    match verdict(format, bytes) {
        Completeness::Incomplete(missing) => missing,
        verdict => panic!("{verdict:?}"),
    }
}

/// A picture whose pixels look like noise, so that its data holds every byte.
pub(super) fn noise(width: u32, height: u32) -> DynamicImage {
    let mut state = 1_u32;
    let pixels = RgbImage::from_fn(width, height, |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [a, b, c, _] = state.to_be_bytes();
        image::Rgb([a, b, c])
    });
    pixels.into()
}

fn encoded(format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    noise(23, 17).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

pub(super) fn png() -> Vec<u8> {
    encoded(ImageFormat::Png)
}

pub(super) fn jpeg() -> Vec<u8> {
    encoded(ImageFormat::Jpeg)
}

pub(super) fn gif() -> Vec<u8> {
    encoded(ImageFormat::Gif)
}

pub(super) fn bmp() -> Vec<u8> {
    encoded(ImageFormat::Bmp)
}

/// A JPEG whose EXIF segment holds a whole JPEG, end marker and all.
pub(super) fn jpeg_with_thumbnail() -> Vec<u8> {
    let exif = [b"Exif\0\0".as_slice(), &jpeg(), b"after the thumbnail"].concat();
    insert_segment(0xe1, &exif)
}

/// The plain JPEG with another segment behind its start marker.
pub(super) fn insert_segment(code: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 2).unwrap().to_be_bytes();
    let plain = jpeg();
    [&plain[..2], &[0xff, code], &length, body, &plain[2..]].concat()
}

/// A little-endian TIFF of two strips: its one directory, the offsets and lengths of the strips,
/// the strips.
pub(super) fn tiff() -> Vec<u8> {
    let mut file = b"II\x2a\0\x08\0\0\0".to_vec();
    file.extend(2_u16.to_le_bytes());
    let values_at = 8 + 2 + 2 * 12 + 4;
    for (tag, at) in [(273_u16, values_at), (279, values_at + 8)] {
        file.extend(tag.to_le_bytes());
        file.extend(4_u16.to_le_bytes());
        file.extend(2_u32.to_le_bytes());
        file.extend(u32::to_le_bytes(at));
    }
    file.extend(0_u32.to_le_bytes());
    let data_at = values_at + 16;
    for value in [data_at, data_at + 50, 50, 30] {
        file.extend(value.to_le_bytes());
    }
    file.extend([0x55; 80]);
    file
}

/// A box of an ISO base media file.
pub(super) fn media_box(kind: &str, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(8 + body.len()).unwrap().to_be_bytes();
    [&size, kind.as_bytes(), body].concat()
}

/// An `iloc` box, version 1, of one item: how it is located, where, how long.
pub(super) fn location(method: u8, offset: u32, length: u32) -> Vec<u8> {
    let head = [1, 0, 0, 0, 0x44, 0, 0, 1];
    let item = [0, 1, 0, method, 0, 0, 0, 1];
    let extent = [offset.to_be_bytes(), length.to_be_bytes()].concat();
    media_box("iloc", &[head.as_slice(), &item, &extent].concat())
}

pub(super) fn file_type() -> Vec<u8> {
    media_box("ftyp", b"heic\0\0\0\0mif1heic")
}

/// A `meta` box around others.
pub(super) fn meta(boxes: &[Vec<u8>]) -> Vec<u8> {
    media_box("meta", &[vec![0; 4], boxes.concat()].concat())
}

/// A HEIF file as phones write it: a description, an item in `idat`, the tiles' data in `mdat`.
pub(super) fn heif() -> Vec<u8> {
    let item_data = media_box("idat", &[0, 0, 0, 1, 0, 2, 0, 2]);
    let start = |at| [file_type(), meta(&[location(0, at, 60), item_data.clone()])].concat();
    let data_at = u32::try_from(start(0).len() + 8).unwrap();
    [start(data_at), media_box("mdat", &[0x55; 60])].concat()
}

/// A BPG file with extension data; `declared` says whether it gives its picture's length.
pub(super) fn bpg(declared: bool) -> Vec<u8> {
    let picture_bytes: &[u8] = if declared { &[0x81, 0x16] } else { &[0] };
    let head = b"BPG\xfb\x20\x08\x82\x00\x81\x40";
    [head, picture_bytes, &[3, 1, 1, 9], &[0x55; 150]].concat()
}
