//! The demo's sample pictures: drawn here, so that nothing has to be brought along. Real files in four
//! formats, with names that show off the rules.

use std::fs;
use std::io::{self, Cursor};
use std::path::Path;

use image::{ImageFormat, Rgb, RgbImage};

/// Names, formats, widths, heights and seeds of the pictures.
const PICTURES: [(&str, ImageFormat, u32, u32, u32); 7] = [
    ("poster.png", ImageFormat::Png, 480, 640, 1),
    ("camera-1.jpg", ImageFormat::Jpeg, 640, 360, 2),
    ("camera-2.jpg", ImageFormat::Jpeg, 640, 360, 3),
    ("camera-3.jpg", ImageFormat::Jpeg, 640, 360, 4),
    ("F2.gif", ImageFormat::Gif, 240, 240, 5),
    ("F3.bmp", ImageFormat::Bmp, 160, 160, 6),
    ("门口 sunset.png", ImageFormat::Png, 400, 300, 7),
];

/// Draws the pictures into `folder`, each written beside and renamed in. Tells how many.
///
/// # Errors
/// When the folder cannot be written.
pub fn draw_all(folder: &Path) -> io::Result<usize> {
    for (name, format, width, height, seed) in PICTURES {
        let mut bytes = Cursor::new(Vec::new());
        draw(width, height, seed)
            .write_to(&mut bytes, format)
            .map_err(io::Error::other)?;
        let (part, whole) = (folder.join(format!(".{name}.part")), folder.join(name));
        fs::write(&part, bytes.into_inner())?;
        fs::rename(part, whole)?;
    }
    Ok(PICTURES.len())
}

/// A sky, a sun and hills; the seed moves and colours them.
fn draw(width: u32, height: u32, seed: u32) -> RgbImage {
    let mix = |from: [f32; 3], to: [f32; 3], part: f32| {
        let channel = |n: usize| (from[n] + (to[n] - from[n]) * part.clamp(0.0, 1.0)) * 255.0;
        // Within 0 to 255 by the clamp above.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Rgb([channel(0) as u8, channel(1) as u8, channel(2) as u8])
    };
    #[allow(clippy::cast_precision_loss)] // Sizes and seeds are small.
    let (wide, high, seed) = (width as f32, height as f32, seed as f32);
    let hue = |shift: f32| {
        let turn = |phase: f32| 0.55 + 0.4 * (seed * 1.3 + shift + phase).sin();
        [turn(0.0), turn(2.1), turn(4.2)]
    };
    let (top, horizon, sun, near) = (hue(0.0), hue(1.2), hue(2.6), hue(4.0));
    let centre = (wide * (0.25 + 0.5 * (seed * 0.37).fract()), high * 0.38);
    RgbImage::from_fn(width, height, |x, y| {
        #[allow(clippy::cast_precision_loss)]
        let (x, y) = (x as f32, y as f32);
        let distance = (x - centre.0).hypot(y - centre.1) / wide.min(high);
        let hill = |level: f32, waves: f32| {
            high * (level
                + 0.07 * (x / wide * waves + seed).sin()
                + 0.03 * (x / wide * waves * 2.7).cos())
        };
        if y > hill(0.80, 5.0) {
            mix(near, [0.05, 0.07, 0.1], 0.45 + 0.4 * y / high)
        } else if y > hill(0.66, 8.0) {
            mix(near, horizon, 0.35)
        } else if distance < 0.16 {
            mix(sun, [1.0, 1.0, 0.9], 0.6)
        } else {
            mix(
                mix_f(top, horizon, y / high),
                sun,
                (0.42 - distance).max(0.0),
            )
        }
    })
}

fn mix_f(from: [f32; 3], to: [f32; 3], part: f32) -> [f32; 3] {
    std::array::from_fn(|n| from[n] + (to[n] - from[n]) * part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Completeness, Recognised, completeness, recognise};

    #[test]
    fn every_sample_is_a_whole_image_of_an_accepted_format() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(draw_all(folder.path()).unwrap(), PICTURES.len());
        let mut seen = 0;
        for entry in fs::read_dir(folder.path()).unwrap() {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            let Recognised::Accepted(format) = recognise(&bytes) else {
                panic!("not accepted")
            };
            let whole = completeness(format, &mut Cursor::new(&bytes), bytes.len() as u64);
            assert_eq!(whole.unwrap(), Completeness::Complete);
            seen += 1;
        }
        assert_eq!(seen, PICTURES.len());
    }
}
