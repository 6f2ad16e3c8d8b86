//! Question: what does it cost to judge 10,000 paths by 100 rules? Goal: under 50 ms.
//!
//! Beside it: compiling those rules, which a start and a reload wait for.

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot be set up has to stop"
)]

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use pixcell::config::{Backend, Mapping, Place, Rule, SheetRef, SpreadsheetRef, Watch};
use pixcell::placement::{Placement, RelPath, RuleSet};

const RULES: usize = 100;
const PATHS: usize = 10_000;

/// A hundred rules of every kind, none of which takes the files of another.
fn mapping() -> Mapping {
    let rule = |index: usize| {
        let (files, cell) = match index % 5 {
            0 => (
                format!("poster-{index}.{{png,jpg}}"),
                format!("B{}", index + 1),
            ),
            1 => (
                format!("camera-{index}-{{n:int}}.{{jpg,jpeg}}"),
                "C{n+1}".into(),
            ),
            2 => (format!("area{index}/{{cell}}.{{png,jpg}}"), "{cell}".into()),
            3 => (
                format!("inspection{index}/**/{{n:int}}*.jpg"),
                "D{n}".into(),
            ),
            _ => (
                format!("[a-f]{index}/{{k}}-{{n:[0-9]{{3}}}}.jpg"),
                "E{n}".into(),
            ),
        };
        Rule {
            files,
            place: Place::Cell { cell },
        }
    };
    Mapping {
        name: "bench".to_owned().try_into().expect("a name"),
        folder: PathBuf::from("/srv/bench"),
        recursive: true,
        spreadsheet: SpreadsheetRef::Token("bench".parse().expect("a token")),
        sheet: SheetRef::First,
        ignore: vec!["drafts/**".into()],
        min_interval: Duration::ZERO,
        max_bytes: 20 << 20,
        watch: Watch {
            backend: Backend::Auto,
            poll_interval: Duration::from_secs(2),
            settle: Duration::from_millis(500),
            rescan_every: Duration::from_mins(15),
        },
        rules: (0..RULES).map(rule).collect(),
    }
}

/// For every rule its share of files, and as many again that no rule takes.
fn paths() -> Vec<RelPath> {
    (0..PATHS)
        .map(|index| {
            let rule = index / 2 % RULES;
            let taken = index % 2 == 0;
            let text = match rule % 5 {
                _ if !taken => format!("archive/2024/照片 {index}.webp"),
                0 => format!("lobby/poster-{rule}.jpg"),
                1 => format!("kiosk/camera-{rule}-{index}.jpeg"),
                2 => format!("Area{rule}/H{}.png", index + 1),
                3 => format!("inspection{rule}/2024/05/{}-front.jpg", index + 1),
                _ => format!("c{rule}/IMG-{:03}.jpg", index % 999 + 1),
            };
            RelPath::new(text.as_ref()).expect("a path below the folder")
        })
        .collect()
}

fn matching(criterion: &mut Criterion) {
    let mapping = mapping();
    let rules = RuleSet::compile(&mapping).expect("rules that compile");
    let paths = paths();
    let placed = |path: &RelPath| matches!(rules.place(path), Placement::Slot { .. });
    let taken = paths.iter().filter(|path| placed(path)).count();
    assert_eq!(taken, PATHS / 2, "half of the paths have a place");

    criterion.bench_function("10,000 paths by 100 rules", |bench| {
        bench.iter(|| black_box(&paths).iter().filter(|path| placed(path)).count());
    });
    criterion.bench_function("compiling 100 rules", |bench| {
        bench.iter_batched(
            || mapping.clone(),
            |mapping| RuleSet::compile(&mapping).is_ok(),
            BatchSize::SmallInput,
        );
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = matching
}
criterion_main!(benches);
