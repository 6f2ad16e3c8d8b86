//! A file of any bytes gets a verdict after a bounded read.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/support/any_bytes.rs"]
// Each target uses one of its functions.
#[allow(dead_code)]
mod any_bytes;

fuzz_target!(|bytes: &[u8]| any_bytes::container(bytes));
