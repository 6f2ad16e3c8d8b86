//! The file system turned into candidates: paths that may have changed, without a word about their
//! content. Events are hints; listings are the truth.
//!
//! Knows nothing of stores or spreadsheets, opens no file but its own, and is the only room that names notify.

mod candidate;
mod cookies;
mod folder;
mod native;
mod patience;
mod scan;
mod task;

pub use candidate::{Candidate, Finding, Found, Hint, Met, Ticks};
pub use cookies::Hearing;
pub use folder::FolderState;
pub use scan::{Gaps, Listing, survey, walk};
pub use task::{Watched, run};
