//! What the tests stand on: a rig of folder, configuration, sandbox and the real daemon; pictures; and
//! ways of touching files.

// Each module of tests uses its own part.
#![allow(dead_code)]

pub mod any_bytes;
mod browser;
mod fuse;
mod http;
mod judge;
mod library;
mod pictures;
mod plan;
mod process;
mod rig;
mod source;

use std::time::Duration;

pub use browser::Browser;
pub use fuse::{Fuse, Manner, mount, unmount};
pub use http::{Answer, exchange, fetch_token, get};
pub use judge::{Judge, Known};
pub use library::library;
pub use pictures::{Random, jpeg, large_jpeg, padded, photo, png, seed, with_comments};
pub use plan::{DOC, FOLDER, Mapping, Plan, SECRET, SHEET, document};
pub use process::Ended;
pub use rig::{Rig, raw};
pub use rustix::process::Signal;
pub use source::code;

/// How long anything is waited for: generous, as the machine may be busy; reached only on failure.
pub const LIMIT: Duration = Duration::from_mins(1);

/// Between two looks at something that cannot be waited for.
pub fn pause() {
    std::thread::park_timeout(Duration::from_millis(20));
}

/// Whether the program is there; otherwise that is printed.
pub fn installed(program: &str) -> bool {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|folder| folder.join(program).is_file());
    if !found {
        println!("skipped: `{program}` is not installed");
    }
    found
}
