//! Libraries that are preloaded into a daemon, so that the system fails it in a way of the test's choice.

use std::path::PathBuf;
use std::process::Command;

/// A library to be preloaded: `hang` makes a daemon's disk hang while the file `$HANG` exists, `deaf` has it
/// hear nothing of the kernel's events while `$DEAF` exists, `threads` gives it no further thread while
/// `$REFUSE` exists, with `slow` each piece of a file beside `$SLOW` takes half a second while that exists,
/// with `closeless` the kernel tells it of no close, with `full` there is no room for a folder named `$FULL`, and
/// with `mute` the folder of the file `$MUTE` hangs while that exists.
pub fn library(name: &str) -> PathBuf {
    let source = format!("{}/tests/fixtures/{name}.c", env!("CARGO_MANIFEST_DIR"));
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    // Several tests, and several test processes, may do this at once.
    let made = tempfile::NamedTempFile::new_in(&folder)
        .unwrap()
        .into_temp_path();
    let library = folder.join(format!("{name}.so"));
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([made.as_os_str(), source.as_ref()])
        .arg("-ldl")
        .status();
    assert!(compiled.expect("a C compiler").success());
    made.persist(&library).unwrap();
    library
}
