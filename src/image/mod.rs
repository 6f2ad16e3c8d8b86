//! What a picture is: its format, whether its container is whole, the hash of its bytes.
//! Pure: reads from any reader, opens no file, decodes no pixel.

pub mod complete;
pub mod format;
pub mod hash;

pub use complete::{Completeness, completeness};
pub use format::{Format, HEAD_BYTES, Recognised, recognise, suffix_is_accepted};
pub use hash::{ContentHash, Hasher};
