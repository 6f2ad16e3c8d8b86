//! Pictures for the benchmarks that read files.

use image::codecs::jpeg::JpegEncoder;
use image::{Rgb, RgbImage};

/// A photograph's worst case: noise, which hardly compresses.
pub fn jpeg(width: u32, height: u32) -> Vec<u8> {
    let mut state = 1_u32;
    let picture = RgbImage::from_fn(width, height, |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [_, red, green, blue] = state.to_le_bytes();
        Rgb([red, green, blue])
    });
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 90)
        .encode_image(&picture)
        .expect("an encoder that works");
    bytes
}
