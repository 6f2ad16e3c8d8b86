//! The form a record has on disk: format version, sequence, checksum, then the record in postcard.
//!
//! sled's damage is mostly silent, so every value proves itself: the checksum covers its key as well,
//! and a value that fails is reported, never used.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Grows when a record's encoding changes; the reader of an older one is its migration.
pub(super) const FORMAT: u8 = 1;
/// Format (1), sequence (8), CRC-32 (4).
const HEADER: usize = 13;

/// Why bytes are no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Shorter than the header.
    #[error("it is cut short")]
    Short,
    /// Written by another version.
    #[error("it has record format {0}, this version reads {FORMAT}")]
    Format(u8),
    /// The checksum does not fit.
    #[error("its checksum does not fit")]
    Checksum,
    /// The checksum fits, the content does not.
    #[error("it does not decode")]
    Content,
}

/// Wraps `record` for storing under `key`.
pub fn seal<T: Serialize>(
    key: &[u8],
    sequence: u64,
    record: &T,
) -> Result<Vec<u8>, postcard::Error> {
    let mut sealed = vec![0; HEADER];
    sealed[0] = FORMAT;
    sealed[1..9].copy_from_slice(&sequence.to_le_bytes());
    let mut sealed = postcard::to_extend(record, sealed)?;
    let sum = checksum(key, &sealed);
    sealed[9..HEADER].copy_from_slice(&sum.to_le_bytes());
    Ok(sealed)
}

/// Unwraps what was stored under `key`.
pub fn unseal<T: DeserializeOwned>(key: &[u8], sealed: &[u8]) -> Result<T, Damage> {
    open(key, sealed).map(|(_, record)| record)
}

/// The same with the sequence it was stored with.
pub fn open<T: DeserializeOwned>(key: &[u8], sealed: &[u8]) -> Result<(u64, T), Damage> {
    let sum = sealed.get(9..HEADER).ok_or(Damage::Short)?;
    if sum != checksum(key, sealed).to_le_bytes() {
        return Err(Damage::Checksum);
    }
    // Only now: noise is no later version.
    if sealed[0] != FORMAT {
        return Err(Damage::Format(sealed[0]));
    }
    let mut sequence = [0; 8];
    sequence.copy_from_slice(&sealed[1..9]);
    let record = postcard::from_bytes(&sealed[HEADER..]).map_err(|_| Damage::Content)?;
    Ok((u64::from_le_bytes(sequence), record))
}

fn checksum(key: &[u8], sealed: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(key);
    sum.update(&sealed[..9]);
    sum.update(&sealed[HEADER..]);
    sum.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_record_is_read_back_only_under_its_own_key() {
        let sealed = seal(b"k", 7, &(1u32, "text".to_owned())).unwrap();
        assert_eq!(
            unseal::<(u32, String)>(b"k", &sealed),
            Ok((1, "text".to_owned()))
        );
        assert_eq!(
            unseal::<(u32, String)>(b"l", &sealed),
            Err(Damage::Checksum)
        );
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let sealed = seal(b"k", 7, &"some text".to_owned()).unwrap();
        for at in 0..sealed.len() {
            assert!(
                unseal::<String>(b"k", &sealed[..at]).is_err(),
                "cut at {at}"
            );
            for bit in 0..8 {
                let mut flipped = sealed.clone();
                flipped[at] ^= 1 << bit;
                assert!(
                    unseal::<String>(b"k", &flipped).is_err(),
                    "bit {bit} of byte {at}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn noise_is_never_a_record(noise in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(unseal::<String>(b"k", &noise).is_err());
        }
    }
}
