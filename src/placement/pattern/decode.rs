//! A name as text without loss, so that one Unicode expression matches every name.
//!
//! A regular expression over raw bytes would have to let `?` match any single byte to reach names
//! that are not UTF-8, and then `???` would match the one letter `中`, and a capture could end in
//! the middle of a letter. So each broken byte stands in as one private letter instead, and spans
//! found in the text are led back to the bytes. A name in valid UTF-8 is borrowed as it is.

use std::borrow::Cow;
use std::ops::Range;

use crate::placement::RelPath;

/// The byte 0x80 stands in as U+10FF80, and so on: the end of the last private-use plane. A name
/// that truly holds such a letter still matches and captures as itself.
const STAND_IN: u32 = 0x0010_FF00;
/// A stand-in takes four bytes where the name has one.
const GROWTH: usize = 3;

/// A path as text, and the way back.
pub struct Decoded<'p> {
    /// What expressions are matched against.
    text: Cow<'p, str>,
    /// Where in the text stand-ins begin, ascending.
    stand_ins: Vec<usize>,
}

impl<'p> Decoded<'p> {
    /// Reads the path.
    pub fn new(path: &'p RelPath) -> Self {
        let bytes = path.as_bytes();
        if let Ok(text) = str::from_utf8(bytes) {
            return Self {
                text: Cow::Borrowed(text),
                stand_ins: Vec::new(),
            };
        }
        let mut text = String::with_capacity(bytes.len() * 2);
        let mut stand_ins = Vec::new();
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            for byte in chunk.invalid() {
                stand_ins.push(text.len());
                text.push(char::from_u32(STAND_IN + u32::from(*byte)).unwrap_or(char::MAX));
            }
        }
        Self {
            text: Cow::Owned(text),
            stand_ins,
        }
    }

    /// What expressions are matched against.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The bytes of the path that a span of the text stands for.
    pub fn span(&self, found: &Range<usize>) -> Range<usize> {
        self.byte(found.start)..self.byte(found.end)
    }

    fn byte(&self, at: usize) -> usize {
        at - GROWTH * self.stand_ins.partition_point(|stand_in| *stand_in < at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_letter_leads_back_to_its_bytes(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0x7Eu8..0xFF], 1..40)
        ) {
            let Ok(path) = RelPath::try_from(bytes) else { return Ok(()) };
            let decoded = Decoded::new(&path);
            let mut back = Vec::new();
            for (at, letter) in decoded.text().char_indices() {
                let span = decoded.span(&(at..at + letter.len_utf8()));
                back.extend_from_slice(&path.as_bytes()[span]);
            }
            prop_assert_eq!(back, path.as_bytes());
        }
    }

    #[test]
    fn a_broken_byte_is_one_letter() {
        let path = RelPath::try_from(b"\xe4\xb8\xad\xe4\xb8.\xff".to_vec()).unwrap();
        assert_eq!(Decoded::new(&path).text().chars().count(), 5);
    }
}
