//! Slots, queue, files and history stay in step, and survive a reopening.

use super::super::fixture::{address, file, job, settle, target};
use super::super::record::{FileKey, FileRecord, Fingerprint, Parked, Release, Seen, Verdict};
use super::super::txn::slot_key;
use super::*;
use crate::config::SpreadsheetRef;
use crate::image::ContentHash;
use std::time::Duration;

/// Harm for the tests of recovery.
impl Store {
    pub(in crate::store) fn raw_slots(&self) -> Vec<(sled::IVec, sled::IVec)> {
        self.0.slots.iter().map(|entry| entry.unwrap()).collect()
    }

    pub(in crate::store) fn put_raw_slots(&self, slots: &[(sled::IVec, sled::IVec)]) {
        for (key, sealed) in slots {
            self.0.slots.insert(key, sealed).unwrap();
        }
        self.sync().unwrap();
    }

    pub(in crate::store) fn make_schema_1(&self) {
        self.put_meta("schema", &1_u32).unwrap();
        self.0.meta.remove(TALLY).unwrap();
        self.sync().unwrap();
    }
}

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("db"), 0).unwrap();
    (dir, store)
}

fn image(job: &Job, address: &SlotAddress) -> FileRecord {
    FileRecord {
        fingerprint: job.fingerprint,
        slot: Some(address.clone()),
        seen: Seen::Image {
            hash: job.hash,
            format: job.format,
            arrival: None,
        },
        at: Timestamp(1),
    }
}

fn offer(store: &Store, address: &SlotAddress, job: &Job) {
    let offered = job.clone();
    let put = move |slot: &mut SlotRecord| slot.job = Some(offered.clone());
    store
        .take_image(&job.source, &image(job, address), address, put)
        .unwrap();
}

fn begin(store: &Store, address: &SlotAddress, job: &Job, at: u64) {
    let intent = store.begin(address, job, Timestamp(at)).unwrap();
    settle(store, intent.expect("no newer version"));
}

fn lane() -> SpreadsheetRef {
    address("A1").spreadsheet
}

#[test]
fn a_slot_has_one_place_in_the_queue_however_often_its_job_is_replaced() {
    let (_dir, store) = store();
    for id in 1..=3 {
        offer(&store, &address("B2"), &job(id, &id.to_string()));
    }
    assert_eq!(store.queued(), 1);
    assert_eq!(store.next(&lane()).unwrap().unwrap().job.id, 3);
}

#[test]
fn the_queue_gives_the_earliest_due_then_the_eldest() {
    let (_dir, store) = store();
    let due = |id: u64, due| Job {
        state: JobState::Queued {
            due: Timestamp(due),
        },
        source: file(&id.to_string()),
        ..job(id, "x")
    };
    offer(&store, &address("A1"), &due(1, 50));
    offer(&store, &address("A2"), &due(2, 20));
    offer(&store, &address("A3"), &due(3, 20));
    let mut order = Vec::new();
    while let Some(next) = store.next(&lane()).unwrap() {
        order.push(next.job.id);
        store
            .withdraw(&next.address, &next.job, Timestamp(1))
            .unwrap();
    }
    assert_eq!(order, [2, 3, 1]);
}

#[test]
fn the_first_of_some_is_found_behind_others_that_are_due_before() {
    let (_dir, store) = store();
    for id in 1..=3 {
        let from = Job {
            source: file(&id.to_string()),
            ..job(id, "x")
        };
        offer(&store, &address(&format!("A{id}")), &from);
    }
    let next = |path: &str| {
        let wanted = file(path);
        let next = store.next_of(&lane(), |job| job.source == wanted);
        next.unwrap().map(|waiting| waiting.job.id)
    };
    assert_eq!(next("3"), Some(3));
    assert_eq!(next("4"), None);
}

#[test]
fn a_receipt_leaves_ledger_and_history_and_an_empty_queue() {
    let (_dir, store) = store();
    let (place, job) = (address("B2"), job(1, "a"));
    offer(&store, &place, &job);
    begin(&store, &place, &job, 2);
    let receipt = store
        .written(
            &place,
            &job,
            &target(),
            Some(80),
            Timestamp(3),
            Timestamp(3),
        )
        .unwrap();
    settle(&store, receipt);
    assert_eq!(store.queued(), 0);
    assert_eq!(store.slot(&place).unwrap().held(), Some(job.hash));
    let told: Vec<_> = store.history().map(|event| event.unwrap().done).collect();
    assert_eq!(
        told,
        [Done::Written {
            target: target(),
            revision: Some(80),
            attempts: 1
        }]
    );
}

#[test]
fn a_call_that_was_not_made_leaves_the_slot_as_it_was() {
    let (_dir, store) = store();
    let (place, job) = (address("B2"), job(1, "a"));
    offer(&store, &place, &job);
    let before = store.slot(&place).unwrap();
    begin(&store, &place, &job, 2);
    store.not_made(&place, &job).unwrap();
    assert_eq!(store.slot(&place).unwrap(), before);
    assert_eq!(store.next(&lane()).unwrap().unwrap().job.attempts, 0);
}

#[test]
fn a_receipt_delays_the_version_that_waits_behind_it() {
    let (_dir, store) = store();
    let place = address("B2");
    offer(&store, &place, &job(1, "a"));
    begin(&store, &place, &job(1, "a"), 2);
    offer(&store, &place, &job(2, "b"));
    let next = Timestamp(3).after(Duration::from_secs(1));
    let receipt = store
        .written(&place, &job(1, "a"), &target(), None, Timestamp(3), next)
        .unwrap();
    settle(&store, receipt);
    assert_eq!(store.next(&lane()).unwrap().unwrap().due, next);
}

#[test]
fn a_refused_or_vanished_file_takes_its_job_along_but_not_another_files() {
    let (_dir, store) = store();
    let (place, other) = (address("B2"), address("C3"));
    offer(&store, &place, &job(1, "a"));
    offer(
        &store,
        &other,
        &Job {
            source: file("c.png"),
            ..job(2, "c")
        },
    );
    let refused = FileRecord {
        seen: Seen::Refused {
            verdict: Verdict::Held,
            reason: "cut".into(),
        },
        ..image(&job(1, "a"), &place)
    };
    store.refuse(&file("a.png"), &refused).unwrap();
    assert_eq!(store.slot(&place).unwrap().job, None);
    assert_eq!(store.queued(), 1);
    store.forget(&file("c.png"), None, Timestamp(9)).unwrap();
    assert_eq!(store.queued(), 0);
    assert_eq!(
        store.history().next().unwrap().unwrap().done,
        Done::SourceGone
    );
    assert_eq!(store.file(&file("c.png")).unwrap(), None);
}

#[test]
fn the_history_is_cut_back_to_its_bound_and_the_newest_stay() {
    let most = HISTORY_MOST + HISTORY_MOST / 10;
    let added = (HISTORY_MOST / 10 + 10) as u64;
    let (dir, store) = store();
    // What earlier runs left: nearly as much as there may be, older than all that follows.
    for old in 0..most - 3 {
        let key = [0_u64.to_be_bytes(), (old as u64).to_be_bytes()].concat();
        store.0.history.insert(key, b"old").unwrap();
    }
    drop(store);
    let store = Store::open(&dir.path().join("db"), 0).unwrap();
    let (place, job) = (address("B2"), job(1, "a"));
    offer(&store, &place, &job);
    let mut lengths = Vec::new();
    for at in 1..=added {
        let parked = Parked {
            reason: String::new(),
            code: None,
            log_id: None,
            at: Timestamp(at),
            until: Release::Person,
        };
        assert!(store.park(&place, &job, &parked, false).unwrap());
        lengths.push(store.0.history.len());
    }
    assert_eq!(lengths[0], HISTORY_MOST, "counted once in a run");
    let cut = lengths[1..]
        .iter()
        .filter(|length| **length == HISTORY_MOST);
    assert_eq!(cut.count(), 1, "and cut back when it has grown by a tenth");
    assert!(lengths.iter().all(|length| *length <= most));
    let told = store.history().take(8).map(|event| event.unwrap().at.0);
    assert!(told.eq((added - 7..=added).rev()));
}

/// `cargo test --lib a_million_updates -- --ignored --nocapture`: some minutes.
#[test]
#[ignore = "takes minutes"]
fn a_million_updates_of_500_slots_stay_small_on_disk() {
    const KEYS: u64 = 500;
    const MOST: u64 = 50 * 1024 * 1024;
    let (_dir, store) = store();
    let mut largest = 0;
    for update in 0..1_000_000 {
        let place = address(&format!("B{}", 1 + update % KEYS));
        let version = Job {
            source: file(&format!("{}.png", update % KEYS)),
            ..job(update, &update.to_string())
        };
        offer(&store, &place, &version);
        if update % 1_000 == 0 {
            store.sync().unwrap();
            largest = store.size_on_disk().unwrap().max(largest);
        }
    }
    println!("{largest} bytes on disk at most");
    assert!(largest < MOST, "{largest}");
}

#[test]
fn a_file_that_moves_to_another_slot_leaves_no_job_behind() {
    let (_dir, store) = store();
    offer(&store, &address("B2"), &job(1, "a"));
    offer(&store, &address("C3"), &job(2, "a"));
    assert_eq!(store.slot(&address("B2")).unwrap().job, None);
    assert_eq!(store.queued(), 1);
}

#[test]
fn parked_jobs_leave_the_queue_and_a_changed_configuration_brings_them_back() {
    let (_dir, store) = store();
    let (place, job) = (address("B2"), job(1, "a"));
    offer(&store, &place, &job);
    let config = ContentHash::of(b"config");
    let sent = |_: &FileKey, _: &SlotAddress| true;
    store.note_config(config, Timestamp(1), sent).unwrap();
    let parked = Parked {
        reason: "outside the grid".into(),
        code: Some(90_212),
        log_id: None,
        at: Timestamp(4),
        until: Release::Person,
    };
    assert!(store.park(&place, &job, &parked, true).unwrap());
    assert_eq!(
        store.totals().unwrap(),
        Totals {
            parked: 1,
            ..Totals::default()
        }
    );
    let noted = |config, sent| {
        store
            .note_config(config, Timestamp(5), |_, _| sent)
            .unwrap()
    };
    assert_eq!(noted(config, false), Reconfigured::default());
    assert_eq!(noted(ContentHash::of(b"other"), true).released, 1);
    assert_eq!(store.queued(), 1);
}

#[test]
fn what_was_written_survives_a_reopening_and_the_epoch_grows() {
    let (dir, store) = store();
    let (place, job) = (address("B2"), job(1, "a"));
    offer(&store, &place, &job);
    begin(&store, &place, &job, 2);
    let receipt = store
        .written(
            &place,
            &job,
            &target(),
            Some(80),
            Timestamp(3),
            Timestamp(3),
        )
        .unwrap();
    settle(&store, receipt);
    let epoch = store.epoch();
    drop(store);
    let store = Store::open(&dir.path().join("db"), 0).unwrap();
    assert_eq!(store.slot(&place).unwrap().held(), Some(job.hash));
    assert_eq!(store.epoch(), epoch + 1);
    let keys: Vec<_> = store.files().map(|file| file.unwrap().0).collect();
    assert_eq!(keys, [file("a.png")]);
}

#[test]
fn a_turn_without_a_call_settles_nothing_of_an_earlier_one() {
    let (_dir, store) = store();
    let (place, first, second) = (address("B2"), job(1, "a"), job(2, "b"));
    offer(&store, &place, &first);
    begin(&store, &place, &first, 1);
    let receipt = store
        .written(&place, &first, &target(), None, Timestamp(2), Timestamp(2))
        .unwrap();
    settle(&store, receipt);
    offer(&store, &place, &second);
    // Its answer is lost; the next turn finds the file changed before it calls.
    begin(&store, &place, &second, 3);
    store
        .postpone(&place, &second, Timestamp(4), false)
        .unwrap();
    store.set_stale(&place, &second, false).unwrap();
    assert_eq!(store.slot(&place).unwrap().held(), None);
}

#[test]
fn a_job_that_waits_for_a_look_is_due_when_only_attributes_of_its_file_changed() {
    let (_dir, store) = store();
    let (place, job) = (address("B2"), job(1, "a"));
    offer(&store, &place, &job);
    store.set_stale(&place, &job, false).unwrap();
    assert_eq!(store.queued(), 0);
    let record = FileRecord {
        at: Timestamp(7),
        ..image(&job, &place)
    };
    store
        .same_content(&job.source, &record, &place, job.hash)
        .unwrap();
    assert_eq!(store.queued(), 1);
    let state = store.slot(&place).unwrap().job.unwrap().state;
    assert_eq!(state, JobState::Queued { due: Timestamp(7) });
}

#[test]
fn a_job_that_has_become_another_files_is_not_set_aside_for_the_one_that_it_was() {
    let (_dir, store) = store();
    let (place, taken) = (address("B2"), job(1, "a"));
    offer(&store, &place, &taken);
    // The same bytes come under another name while a lane has the job in hand.
    let others = Job {
        source: file("b.png"),
        ..taken.clone()
    };
    offer(&store, &place, &others);
    store.set_stale(&place, &taken, false).unwrap();
    assert_eq!(store.slot(&place).unwrap().job, Some(others.clone()));
    assert_eq!(store.queued(), 1);
    let known = store.file(&taken.source).unwrap().unwrap();
    assert_eq!(known.fingerprint, taken.fingerprint);
    store.set_stale(&place, &others, false).unwrap();
    assert_eq!(store.queued(), 0);
}

#[test]
fn a_job_that_waited_for_a_look_is_due_at_the_next_start() {
    let (dir, store) = store();
    let (place, job) = (address("B2"), job(1, "a"));
    offer(&store, &place, &job);
    store.set_stale(&place, &job, false).unwrap();
    drop(store);
    let store = Store::open(&dir.path().join("db"), 0).unwrap();
    assert_eq!(store.next(&lane()).unwrap().unwrap().job.id, job.id);
    drop(store);
    // That fits the tally.
    assert_eq!(Store::open(&dir.path().join("db"), 0).unwrap().queued(), 1);
}

#[test]
fn a_job_goes_with_its_file_when_a_changed_configuration_had_forgotten_what_was_known_of_it() {
    let (_dir, store) = store();
    let (place, job) = (address("B2"), job(1, "a"));
    offer(&store, &place, &job);
    let unreadable = FileRecord {
        seen: Seen::Refused {
            verdict: Verdict::Held,
            reason: "no permission".into(),
        },
        ..image(&job, &place)
    };
    store.set_unreadable(&job.source, &unreadable).unwrap();
    let sent = |_: &FileKey, _: &SlotAddress| true;
    store
        .note_config(ContentHash::of(b"config"), Timestamp(1), sent)
        .unwrap();
    assert_eq!(store.file(&job.source).unwrap(), None);
    assert!(store.slot(&place).unwrap().job.is_some());
    store
        .forget(&job.source, Some(&place), Timestamp(2))
        .unwrap();
    assert_eq!(store.slot(&place).unwrap().job, None);
}

#[test]
fn when_the_newest_of_several_files_goes_the_others_are_looked_at_again() {
    let (_dir, store) = store();
    let place = address("B2");
    offer(&store, &place, &job(1, "a"));
    let newer = Job {
        source: file("b.png"),
        ..job(2, "b")
    };
    let offered = newer.clone();
    let put = move |slot: &mut SlotRecord| {
        slot.job = Some(offered.clone());
        slot.contested = true;
    };
    store
        .take_image(&newer.source, &image(&newer, &place), &place, put)
        .unwrap();
    let others = store.forget(&newer.source, None, Timestamp(5)).unwrap();
    assert_eq!(others, [file("a.png")]);
    let again = store.file(&file("a.png")).unwrap().unwrap();
    assert_eq!(again.fingerprint, Fingerprint::UNKNOWN);
}

#[test]
fn a_queue_out_of_step_is_mended_when_the_store_is_opened() {
    let (dir, store) = store();
    offer(&store, &address("B2"), &job(1, "a"));
    store.0.queue.clear().unwrap();
    store.0.queue.insert(b"Tok1\0nonsense", b"nothing").unwrap();
    store.sync().unwrap();
    drop(store);
    let store = Store::open(&dir.path().join("db"), 0).unwrap();
    assert_eq!(store.queued(), 1);
    assert_eq!(store.next(&lane()).unwrap().unwrap().job.id, 1);
}

#[test]
fn a_state_of_a_newer_schema_is_refused() {
    let (dir, store) = store();
    store.put_meta("schema", &(SCHEMA + 1)).unwrap();
    store.sync().unwrap();
    drop(store);
    let refused = Store::open(&dir.path().join("db"), 0).unwrap_err();
    assert!(matches!(refused, StoreError::Newer { found, .. } if found == SCHEMA + 1));
}

#[test]
fn the_slots_of_a_spreadsheet_are_its_own_and_all_of_them() {
    let (_dir, store) = store();
    let of = |named: &str, cell: &str| SlotAddress {
        spreadsheet: SpreadsheetRef::Token(named.parse().unwrap()),
        ..address(cell)
    };
    let (short, long) = ("Tok1", "Tok1a");
    for (id, named, cell) in [(1, short, "A1"), (2, long, "A1"), (3, short, "B2")] {
        offer(&store, &of(named, cell), &job(id, "x"));
    }
    for (named, cells) in [(short, vec!["A1", "B2"]), (long, vec!["A1"])] {
        let found = store.slots_of(&of(named, "A1").spreadsheet);
        let mut found: Vec<_> = found.map(|entry| entry.unwrap().0).collect();
        found.sort();
        let wanted: Vec<_> = cells.iter().map(|cell| of(named, cell)).collect();
        assert_eq!(found, wanted);
    }
}

#[test]
fn what_nobody_waits_for_is_written_through_all_the_same() {
    let (dir, store) = store();
    offer(&store, &address("B2"), &job(1, "a"));
    let end = std::time::Instant::now() + Duration::from_mins(1);
    // As a kill at this moment would leave it.
    let is_there = || {
        let copy = tempfile::tempdir().unwrap();
        for name in ["db", "conf"] {
            std::fs::copy(dir.path().join("db").join(name), copy.path().join(name)).unwrap();
        }
        let copy = Store::open(copy.path(), 0);
        copy.is_ok_and(|copy| copy.queued() == 1)
    };
    while !is_there() {
        assert!(std::time::Instant::now() < end, "it stays in memory");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

#[test]
fn the_history_keeps_the_newest_lines_also_when_each_run_adds_only_one() {
    let (dir, store) = store();
    let mut lines = sled::Batch::default();
    for number in 0..HISTORY_MOST + 5 {
        lines.insert(&u64::try_from(number).unwrap().to_be_bytes(), b"old");
    }
    store.0.history.apply_batch(lines).unwrap();
    drop(store);
    let store = Store::open(&dir.path().join("db"), 0).unwrap();
    let (place, job) = (address("B2"), job(1, "a"));
    offer(&store, &place, &job);
    let withdrawn = store.withdraw(&place, &job, Timestamp(2)).unwrap();
    assert_eq!(withdrawn, []);
    assert_eq!(store.0.history.len(), HISTORY_MOST);
}

fn job_of_its_own(id: u64) -> Job {
    Job {
        source: file(&format!("{id}.png")),
        ..job(id, "a")
    }
}

#[test]
fn what_is_recorded_at_once_is_recorded_in_turn() {
    const EACH: u64 = 40;
    let (_dir, store) = store();
    std::thread::scope(|scope| {
        for thread in 0..8_u64 {
            let store = &store;
            scope.spawn(move || {
                for number in 0..EACH {
                    let id = thread * EACH + number + 1;
                    offer(store, &address(&format!("A{id}")), &job_of_its_own(id));
                }
            });
        }
    });
    assert_eq!(store.queued() as u64, 8 * EACH);
    // Every step has a number of its own, and the tally knows them all.
    let mut sequences: Vec<u64> = store
        .0
        .slots
        .iter()
        .map(|entry| {
            let (key, sealed) = entry.unwrap();
            envelope::open::<SlotRecord>(&key, &sealed).unwrap().0
        })
        .collect();
    sequences.sort_unstable();
    sequences.dedup();
    assert_eq!(sequences.len() as u64, 8 * EACH);
    assert_eq!(store.sequence().unwrap(), *sequences.last().unwrap());
    assert_eq!(
        store.mend_queue().unwrap().0,
        store
            .read::<Tally>("meta", &store.0.meta, TALLY)
            .unwrap()
            .unwrap()
            .slots
    );
}

#[test]
fn one_that_fails_takes_nobody_with_it() {
    let (_dir, store) = store();
    let (good, bad) = (address("A1"), address("B2"));
    offer(&store, &bad, &job(1, "a"));
    let key = slot_key(&bad).unwrap();
    store.0.slots.insert(key, b"noise".as_slice()).unwrap();
    // Whoever comes while the first is at it goes into one transaction with the next.
    std::thread::scope(|scope| {
        for id in 2..20 {
            let (store, good, bad) = (&store, &good, &bad);
            scope.spawn(move || {
                if id % 2 == 0 {
                    offer(store, &address(&format!("C{id}")), &job_of_its_own(id));
                } else {
                    let begun = store.begin(bad, &job(1, "a"), Timestamp(1));
                    assert!(matches!(begun, Err(StoreError::Damaged { .. })));
                    assert!(store.slot(good).is_ok());
                }
            });
        }
    });
    assert_eq!(store.queued(), 1 + 9);
}
