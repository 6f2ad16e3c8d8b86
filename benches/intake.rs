//! Question: what does one look at a picture cost, from its path to its hash, and which part of it?
//!
//! The files lie in the page cache, as they do when their writer has just closed them.

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot be set up has to stop"
)]

mod noise;

use std::fs;
use std::hint::black_box;
use std::io::Cursor;
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pixcell::image::{Completeness, ContentHash, Format, HEAD_BYTES, completeness, recognise};
use pixcell::intake::{Looked, Rest, look};
use pixcell::placement::RelPath;

/// Width and height of noise that becomes a JPEG of about that many bytes.
const SIZES: [(&str, u32, u32); 2] = [("200 KB", 384, 278), ("5 MB", 2000, 1340)];

fn intake(criterion: &mut Criterion) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    for (name, width, height) in SIZES {
        let bytes = noise::jpeg(width, height);
        let length = bytes.len() as u64;
        let file = format!("{name}.jpg");
        fs::write(folder.path().join(&file), &bytes).expect("a written file");
        let path = RelPath::new(Path::new(&file)).expect("a path below the folder");
        let whole = |bytes: &[u8]| {
            completeness(Format::Jpeg, &mut Cursor::new(bytes), length).expect("a readable slice")
        };
        assert_eq!(whole(&bytes), Completeness::Complete);
        let looked = || look(folder.path(), &path, 20 << 20, Rest::Unknown);
        assert!(matches!(looked(), Looked::Image { .. }), "{:?}", looked());

        let mut group = criterion.benchmark_group(format!("a JPEG of {name} ({length} bytes)"));
        group.throughput(Throughput::Bytes(length));
        group.bench_function("the whole look", |bench| bench.iter(looked));
        group.bench_function("reading the file, for comparison", |bench| {
            bench.iter(|| fs::read(folder.path().join(&file)));
        });
        group.bench_function("recognising", |bench| {
            let head = &bytes[..HEAD_BYTES];
            bench.iter(|| recognise(black_box(head)));
        });
        group.bench_function("finding its end", |bench| {
            bench.iter(|| whole(black_box(&bytes)));
        });
        group.bench_function("hashing", |bench| {
            bench.iter(|| ContentHash::of(black_box(&bytes)));
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30);
    targets = intake
}
criterion_main!(benches);
