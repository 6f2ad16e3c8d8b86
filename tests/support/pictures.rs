//! Pictures for the tests: small, whole, and each seed another content.

use std::io::Cursor;

use image::{ImageFormat, Rgb, RgbImage};

/// A PNG of a few hundred bytes.
pub fn png(seed: u32) -> Vec<u8> {
    encode(16, seed, ImageFormat::Png)
}

/// A JPEG of about a kilobyte.
pub fn jpeg(seed: u32) -> Vec<u8> {
    encode(16, seed, ImageFormat::Jpeg)
}

/// A JPEG of some 20 kB.
pub fn large_jpeg(seed: u32) -> Vec<u8> {
    encode(128, seed, ImageFormat::Jpeg)
}

/// A JPEG of some 300 kB: more than a pipe or a socket takes at once.
pub fn photo(seed: u32) -> Vec<u8> {
    encode(512, seed, ImageFormat::Jpeg)
}

/// The same picture with about so many bytes of comments, as a JPEG may hold.
pub fn with_comments(jpeg: &[u8], bytes: usize) -> Vec<u8> {
    let comment = [vec![0xff, 0xfe, 0xff, 0xff], vec![b'.'; 0xfffd]].concat();
    let (start, rest) = jpeg.split_at(2);
    [start, &comment.repeat(bytes / comment.len()), rest].concat()
}

fn encode(side: u32, seed: u32, format: ImageFormat) -> Vec<u8> {
    let mut random = Random::new(u64::from(seed));
    let picture = RgbImage::from_fn(side, side, |x, y| {
        // The first four pixels spell the seed, so that no two are alike even after JPEG's rounding.
        if y < 8 && x < 16 {
            let bit = (seed >> (x / 8 + y / 4 * 2)) & 1;
            return Rgb([if bit == 1 { 255 } else { 0 }; 3]);
        }
        let noise = random.next();
        Rgb([
            (noise & 255) as u8,
            (noise >> 8 & 255) as u8,
            (noise >> 16 & 255) as u8,
        ])
    });
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// `PIXCELL_TEST_SEED`, or another seed every time; printed either way.
pub fn seed() -> u64 {
    let given = std::env::var("PIXCELL_TEST_SEED").ok();
    let seed = given.map_or_else(Random::any_seed, |text| text.parse().unwrap());
    println!("seed: run again with PIXCELL_TEST_SEED={seed}");
    seed
}

/// A picture of this many bytes: what follows a JPEG's end is no part of it, and is sent all the same.
pub fn padded(seed: u32, length: usize) -> Vec<u8> {
    let mut bytes = jpeg(seed);
    bytes.resize(length, b'x');
    bytes
}

/// Numbers that look random and come again with the same seed (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Another one every time.
    pub fn any_seed() -> u64 {
        use std::hash::{BuildHasher, RandomState};
        RandomState::new().hash_one(0)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// One of 0 to `below` - 1.
    pub fn below(&mut self, below: u64) -> u64 {
        self.next() % below
    }
}
