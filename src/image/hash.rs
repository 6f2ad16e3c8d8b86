//! The hash of a picture's bytes: BLAKE3, 256 bits.
//!
//! Two files with the same hash are the same picture, here and in every record that is kept. It may
//! not look at what the bytes mean, and keeps none of them.

use std::fmt;
use std::io::{self, Read};

use serde::{Deserialize, Serialize};

/// BLAKE3 of a file's bytes. `Display` is its first 8 hex digits, `Debug` all 64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    /// The hash of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(blake3::hash(bytes).into())
    }

    /// The hash of all that a reader gives, and how many bytes that was. Memory is constant.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn of_reader(reader: &mut impl Read) -> io::Result<(Self, u64)> {
        let mut hasher = Hasher::new();
        let length = io::copy(reader, &mut hasher.0)?;
        Ok((hasher.finish(), length))
    }

    /// The hash that [`to_hex`](Self::to_hex) wrote; `None` unless these are 64 hex digits.
    pub fn from_hex(hex: &str) -> Option<Self> {
        blake3::Hash::from_hex(hex)
            .ok()
            .map(|hash| Self(hash.into()))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// All 64 hex digits, in lower case.
    pub fn to_hex(&self) -> String {
        blake3::Hash::from(self.0).to_hex().to_string()
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .take(4)
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

/// Hashes bytes as they pass.
#[derive(Debug, Clone, Default)]
pub struct Hasher(blake3::Hasher);

impl Hasher {
    /// A hasher that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all bytes taken.
    pub fn finish(&self) -> ContentHash {
        ContentHash(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    /// The published test vector for no input (BLAKE3 repository, `test_vectors.json`).
    const EMPTY: &str = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";

    #[test]
    fn it_is_blake3() {
        assert_eq!(ContentHash::of(b"").to_hex(), EMPTY);
    }

    #[test]
    fn people_see_8_digits_and_debuggers_all_64() {
        let hash = ContentHash::of(b"");
        assert_eq!(hash.to_string(), "af1349b9");
        assert_eq!(format!("{hash:?}"), EMPTY);
    }

    #[test]
    fn what_is_no_hash_in_hex_is_refused() {
        for text in ["", "af1349b9", &EMPTY[1..], &EMPTY.replace('a', "g")] {
            assert_eq!(ContentHash::from_hex(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_reader_that_fails_is_no_hash() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("the card was pulled"))
            }
        }
        let error = ContentHash::of_reader(&mut Broken).unwrap_err();
        assert_eq!(error.to_string(), "the card was pulled");
    }

    proptest! {
        #[test]
        fn all_ways_to_hash_agree_however_the_bytes_come(
            bytes in proptest::collection::vec(any::<u8>(), 0..5000),
            piece in 1_usize..1000,
        ) {
            let whole = ContentHash::of(&bytes);
            let mut hasher = Hasher::new();
            bytes.chunks(piece).for_each(|piece| hasher.update(piece));
            prop_assert_eq!(hasher.finish(), whole);
            let read = ContentHash::of_reader(&mut Cursor::new(&bytes)).unwrap();
            prop_assert_eq!(read, (whole, bytes.len() as u64));
        }

        #[test]
        fn hex_is_read_back(bytes in proptest::array::uniform32(any::<u8>())) {
            let hash = ContentHash(bytes);
            prop_assert_eq!(ContentHash::from_hex(&hash.to_hex()), Some(hash));
        }

        #[test]
        fn one_changed_byte_changes_the_hash(
            mut bytes in proptest::collection::vec(any::<u8>(), 1..2000),
            at in any::<prop::sample::Index>(),
            change in 1_u8..,
        ) {
            let before = ContentHash::of(&bytes);
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            prop_assert_ne!(ContentHash::of(&bytes), before);
        }
    }
}
