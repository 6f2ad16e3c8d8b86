//! Any text is a configuration, or has problems with places in it.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/support/any_bytes.rs"]
// Each target uses one of its functions.
#[allow(dead_code)]
mod any_bytes;

fuzz_target!(|bytes: &[u8]| any_bytes::config(bytes));
