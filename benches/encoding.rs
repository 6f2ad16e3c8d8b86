//! Question: how fast does the request body encode a picture, on one core? Goal: base64 over 1 GB/s.
//!
//! Beside it: the array form, copying the same bytes (the ceiling of memory), and the BLAKE3 hash that
//! every body computes on the way.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pixcell::config::ImageEncoding;
use pixcell::feishu::encode_for_bench;
use pixcell::image::ContentHash;

/// A large picture.
const BYTES: usize = 8 * 1024 * 1024;

/// Bytes of all values without a pattern, the same in every run.
fn noise() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .take(BYTES / 8)
    .flatten()
    .collect()
}

fn encoding(criterion: &mut Criterion) {
    let picture = noise();
    let mut out = Vec::new();
    encode_for_bench(ImageEncoding::Base64, &picture[..3], &mut out);
    assert_eq!(out.len(), 4, "three bytes are four letters");

    let mut group = criterion.benchmark_group("encoding 8 MiB");
    group.throughput(Throughput::Bytes(BYTES as u64));
    for (name, form) in [
        ("base64", ImageEncoding::Base64),
        ("array", ImageEncoding::Array),
    ] {
        group.bench_function(name, |bench| {
            bench.iter(|| encode_for_bench(form, black_box(&picture), &mut out));
        });
    }
    group.bench_function("copying, for comparison", |bench| {
        bench.iter(|| {
            out.clear();
            out.extend_from_slice(black_box(&picture));
        });
    });
    group.bench_function("hashing, for comparison", |bench| {
        bench.iter(|| ContentHash::of(black_box(&picture)));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = encoding
}
criterion_main!(benches);
