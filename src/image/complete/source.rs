//! Reading a container from any reader: buffered, never beyond the file's length, with the words
//! for what is missing.
//!
//! All arithmetic on offsets that a file declares goes through here or saturates. It knows no
//! format; it may not keep more than its one buffer.

use std::fmt;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};

use super::Completeness;
use crate::image::Format;

/// Why a walk ended before its end.
pub(super) enum Stop {
    /// Enough was seen.
    Verdict(Completeness),
    /// The reader failed.
    Reader(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Reader(error)
    }
}

/// What a walk over a container ends in.
pub(super) type Walk<T = Completeness> = Result<T, Stop>;

/// The bytes of one container.
pub(super) struct Source<'r, R> {
    reader: BufReader<&'r mut R>,
    format: Format,
    position: u64,
    end: u64,
}

impl<'r, R: Read + Seek> Source<'r, R> {
    /// The first `length` bytes of a reader, or all when it has fewer.
    pub(super) fn new(
        format: Format,
        reader: &'r mut R,
        length: u64,
        buffer_bytes: usize,
    ) -> io::Result<Self> {
        let held = reader.seek(SeekFrom::End(0))?;
        reader.seek(SeekFrom::Start(0))?;
        Ok(Self {
            reader: BufReader::with_capacity(buffer_bytes, reader),
            format,
            position: 0,
            // No file is longer than a signed offset can say, so differences of offsets fit.
            end: length.min(held).min(i64::MAX.cast_unsigned()),
        })
    }

    /// The offset of the next byte.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// How many bytes there are.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Whether all bytes were taken.
    pub(super) fn is_at_end(&self) -> bool {
        self.position >= self.end
    }

    /// The next bytes that are at hand; empty only at the end.
    fn unread(&mut self) -> io::Result<&[u8]> {
        let left = self.end.saturating_sub(self.position);
        if left == 0 {
            return Ok(&[]);
        }
        while let Err(error) = self.reader.fill_buf() {
            if error.kind() != ErrorKind::Interrupted {
                return Err(error);
            }
        }
        let unread = self.reader.fill_buf()?;
        if unread.is_empty() {
            // The file shrank while it was read.
            self.end = self.position;
        }
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        Ok(unread.get(..left).unwrap_or(unread))
    }

    fn consume(&mut self, bytes: usize) {
        self.reader.consume(bytes);
        self.position = self.position.saturating_add(bytes as u64);
    }

    /// The next `N` bytes, which belong to `part`.
    pub(super) fn array<const N: usize>(&mut self, part: impl fmt::Display) -> Walk<[u8; N]> {
        let mut bytes = [0; N];
        let mut wanted = bytes.as_mut_slice();
        while !wanted.is_empty() {
            let taken = self.unread()?.read(wanted)?;
            if taken == 0 {
                return Err(self.cut(format_args!("inside {part}")));
            }
            self.consume(taken);
            wanted = wanted.get_mut(taken..).unwrap_or_default();
        }
        Ok(bytes)
    }

    /// The next byte, which belongs to `part`.
    pub(super) fn byte(&mut self, part: impl fmt::Display) -> Walk<u8> {
        self.array::<1>(part).map(|[byte]| byte)
    }

    /// Passes over the next `bytes` bytes, which belong to `part`.
    pub(super) fn skip(&mut self, bytes: u64, part: impl fmt::Display) -> Walk<()> {
        let target = self.position.saturating_add(bytes);
        self.require(target, part)?;
        self.go_to(target)
    }

    /// Gives the next `bytes` bytes, which belong to `part`, piece by piece.
    pub(super) fn each(
        &mut self,
        bytes: u64,
        part: impl fmt::Display,
        mut use_piece: impl FnMut(&[u8]),
    ) -> Walk<()> {
        let mut left = bytes;
        while left > 0 {
            let unread = self.unread()?;
            let taken = unread
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            use_piece(unread.get(..taken).unwrap_or(unread));
            if taken == 0 {
                return Err(self.cut(format_args!("inside {part}")));
            }
            self.consume(taken);
            left = left.saturating_sub(taken as u64);
        }
        Ok(())
    }

    /// That the file reaches the offset `target`, where `part` ends.
    pub(super) fn require(&self, target: u64, part: impl fmt::Display) -> Walk<()> {
        if target <= self.end {
            return Ok(());
        }
        Err(self.cut(format_args!(
            "inside {part}, which should reach byte {target}"
        )))
    }

    /// Moves to an offset, at most to the end.
    pub(super) fn go_to(&mut self, offset: u64) -> Walk<()> {
        let offset = offset.min(self.end);
        let distance = offset
            .cast_signed()
            .saturating_sub(self.position.cast_signed());
        self.reader.seek_relative(distance)?;
        self.position = offset;
        Ok(())
    }

    /// Moves behind the next byte of this value; false, and at the end, when there is none.
    pub(super) fn skip_past(&mut self, value: u8) -> io::Result<bool> {
        loop {
            let unread = self.unread()?;
            let (taken, found) = match memchr::memchr(value, unread) {
                Some(at) => (at.saturating_add(1), true),
                None => (unread.len(), false),
            };
            if taken == 0 {
                return Ok(false);
            }
            self.consume(taken);
            if found {
                return Ok(true);
            }
        }
    }

    /// The verdict on a file that ends too early: `place` says where, as "inside its header".
    pub(super) fn cut(&self, place: impl fmt::Display) -> Stop {
        Stop::Verdict(Completeness::Incomplete(format!(
            "the {} ends at byte {} {place}",
            self.format, self.end
        )))
    }

    /// The verdict on a file that holds at `offset` what cannot be there. Unwritten or lost blocks
    /// look like that, so it is held for its next change like one that is cut.
    pub(super) fn damaged(&self, offset: u64, what: impl fmt::Display) -> Stop {
        Stop::Verdict(Completeness::Incomplete(format!(
            "the {} is broken or unfinished at byte {offset}: {what}",
            self.format
        )))
    }
}
