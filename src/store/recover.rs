//! Opening the store whatever state it is in: damage is moved aside, said, and rebuilt by a scan.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use super::Store;
use super::db::{SCHEMA, UNMARKED, rewrite};
use super::error::StoreError;
use super::generation::{self, Found, Generation, Mark};
use super::record::Timestamp;
use crate::image::ContentHash;

/// How many damaged databases are kept for a look.
const KEEP: usize = 3;
/// Beside the database: it was found damaged while in use.
const MARKER: &str = "damaged";
/// A database of this size opens in seconds; one that takes longer goes round in circles.
const OPEN_MOST: Duration = Duration::from_mins(2);

/// An open store, and what had to be done to open it.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: Store,
    /// What a person has to know of it, when it is not as the last run left it.
    pub said: Option<String>,
    /// The database took far more of the disk than it need; what came of writing it anew.
    pub rewritten: Option<Rewritten>,
}

/// What came of writing a database anew.
#[derive(Debug)]
pub struct Rewritten {
    /// Its bytes before.
    pub before: u64,
    /// Its bytes now; when it failed, all is as it was, and the next start tries again.
    pub now: Result<u64, StoreError>,
}

/// Opens the store of `state_dir`, whose lock the caller holds.
///
/// # Errors
/// When the disk refuses, sled hangs or a newer version wrote the state; damage is no error.
pub fn open(state_dir: &Path) -> Result<Opened, StoreError> {
    open_on(state_dir, generation::machine(), rewrite::LEAST_BYTES)
}

/// Opens a copy of the store of `state_dir`, for a look while no daemon runs. The state directory stays
/// as it is, whoever looks; what is changed in the copy is gone with it.
///
/// # Errors
/// When the copy cannot be made, or its original is damaged or of another version.
pub fn look(state_dir: &Path) -> Result<(Store, tempfile::TempDir), StoreError> {
    let dir = state_dir.join("db");
    let failed = |source| StoreError::Sync {
        dir: dir.clone(),
        source,
    };
    if let Found::Newer(found) = generation::read(state_dir, SCHEMA).map_err(failed)? {
        return Err(StoreError::Newer { dir, found });
    }
    let copy = tempfile::Builder::new()
        .prefix("pixcell-look-")
        .tempdir()
        .map_err(failed)?;
    let db = copy.path().join("db");
    copy_files(&dir, &db).map_err(failed)?;
    remove_half_written_snapshots(&db);
    match try_open(&db, 0) {
        Ok(store) => Ok((store, copy)),
        Err(OpenError::Store(error)) => Err(error),
        Err(OpenError::Panic) => Err(StoreError::WentBack { dir }),
    }
}

/// A database of up to `least` bytes is not written anew.
pub(super) fn open_on(
    state_dir: &Path,
    machine: Option<ContentHash>,
    least: u64,
) -> Result<Opened, StoreError> {
    let dir = state_dir.join("db");
    let failed = |source| StoreError::Sync {
        dir: dir.clone(),
        source,
    };
    let mark = match generation::read(state_dir, SCHEMA).map_err(failed)? {
        Found::Newer(found) => return Err(StoreError::Newer { dir, found }),
        Found::Mark(mark) => Ok(mark),
        Found::Nothing => Err(false),
        Found::Damaged => Err(true),
    };
    rewrite::clear(state_dir).map_err(failed)?;
    let there = dir.join("db").exists();
    remove_half_written_snapshots(&dir);
    // A database without a mark is of the time before marks, unless its mark was deleted.
    let unmarked = there && mark == Err(false);
    let schema = mark.as_ref().map_or(UNMARKED, |mark| mark.schema);
    let before = state_dir.join(format!("db.schema-{schema}"));
    let earlier = unmarked || mark.is_ok() && schema < SCHEMA;
    if earlier && there && !before.exists() {
        copy_files(&dir, &before).map_err(failed)?;
    }
    let epoch = mark.as_ref().map_or(0, |mark| mark.epoch);
    let mut rewritten = None;
    let proved = match prove(state_dir, &dir, mark.as_ref().ok(), epoch) {
        Ok(store) if mark.is_ok() && store.is_wasteful(least) => {
            let before = store.bytes();
            let done = store.rewrite(state_dir, |_| true);
            let proved = prove(state_dir, &dir, mark.as_ref().ok(), epoch);
            let bytes = proved.as_ref().map_or(before, Store::bytes);
            let now = done.map(|()| bytes);
            rewritten = Some(Rewritten { before, now });
            proved
        }
        proved => proved,
    };
    let why = match proved {
        Ok(store) => {
            store.take_up(state_dir)?;
            let unproven = match &mark {
                Ok(mark) if machines_differ(mark.machine, machine) => {
                    Some("the state was written on another machine")
                }
                Err(damaged) if there && (*damaged || store.was() > UNMARKED) => {
                    Some("the mark beside the store is missing or damaged")
                }
                _ => None,
            };
            let said = match unproven {
                None if earlier => Some(format!(
                    "the state was brought from schema {schema} to {SCHEMA}; what it was before is in {}",
                    before.display()
                )),
                None => None,
                Some(why) => {
                    if unmarked {
                        fs::remove_dir_all(&before).map_err(failed)?;
                    }
                    store.doubt(Timestamp::now())?;
                    Some(format!(
                        "{why}, so no cell is known for sure to hold what is recorded; every folder is \
                         compared afresh and each picture is sent once more, at the usual pace"
                    ))
                }
            };
            mark_it(state_dir, &store, machine).map_err(failed)?;
            return Ok(Opened {
                store,
                said,
                rewritten,
            });
        }
        Err(Refusal::Final(error)) => return Err(error),
        Err(Refusal::Damage(why)) => why,
    };
    let aside = state_dir.join(format!("db.damaged-{}", Timestamp::now().0));
    let place = match fs::rename(&dir, &aside) {
        Ok(()) => format!("it was moved to {}", aside.display()),
        Err(error) if error.kind() == ErrorKind::NotFound => "nothing of it is left".to_owned(),
        Err(error) => return Err(failed(error)),
    };
    remove_old(state_dir);
    let store = Store::open(&dir, epoch)?;
    mark_it(state_dir, &store, machine).map_err(failed)?;
    // Last, so that a crash before this point repeats the move instead of trusting the damage.
    if let Err(error) = fs::remove_file(state_dir.join(MARKER))
        && error.kind() != ErrorKind::NotFound
    {
        return Err(failed(error));
    }
    Ok(Opened {
        store,
        said: Some(format!(
            "the store was lost or damaged ({why}); {place}; every folder is compared afresh and each \
             picture is sent once more, at the usual pace"
        )),
        rewritten: None,
    })
}

enum Refusal {
    Final(StoreError),
    Damage(String),
}

/// Opens the database and has it show what `mark` asks for.
fn prove(state_dir: &Path, dir: &Path, mark: Option<&Mark>, epoch: u64) -> Result<Store, Refusal> {
    if state_dir.join(MARKER).exists() {
        return Err(Refusal::Damage("a damaged record was found in it".into()));
    }
    let sort = |error: StoreError| match error {
        StoreError::Newer { .. } | StoreError::Stuck { .. } => Refusal::Final(error),
        error if error.is_the_disks() => Refusal::Final(error),
        error => Refusal::Damage(error.to_string()),
    };
    let store = open_in_time(dir, epoch, OPEN_MOST).map_err(|error| match error {
        OpenError::Store(error) => sort(error),
        OpenError::Panic => Refusal::Damage("sled panicked while opening it".into()),
    })?;
    // Before the first receipt there is nothing to lose.
    if let Some(mark) = mark.filter(|mark| mark.received > 0) {
        if store.id() != mark.store {
            return Err(Refusal::Damage("it is empty, or another one".into()));
        }
        if store.sequence().map_err(sort)? < mark.received {
            return Err(Refusal::Damage(
                "it holds old values: receipts that were recorded are missing".into(),
            ));
        }
    }
    Ok(store)
}

/// Writes what the next start asks of this store.
fn mark_it(state_dir: &Path, store: &Store, machine: Option<ContentHash>) -> io::Result<()> {
    let mark = Mark {
        schema: SCHEMA,
        store: store.id(),
        epoch: store.epoch(),
        machine,
        // On disk: opening ends with a sync.
        received: store.sequence().map_err(io::Error::other)?,
    };
    store.keep(Generation::create(state_dir, mark)?);
    Ok(())
}

/// A machine without an id is not told from another.
fn machines_differ(one: Option<ContentHash>, other: Option<ContentHash>) -> bool {
    matches!((one, other), (Some(one), Some(other)) if one != other)
}

/// Leaves word for the next start. A failure changes nothing: the damage will be met again.
pub(super) fn mark_damaged(dir: &Path) {
    if let Some(state_dir) = dir.parent() {
        let _ = fs::write(state_dir.join(MARKER), b"");
    }
}

enum OpenError {
    Store(StoreError),
    Panic,
}

/// A thread inside sled cannot be ended: after `most` the process has to go, and the next start does not
/// open this database again.
fn open_in_time(dir: &Path, epoch: u64, most: Duration) -> Result<Store, OpenError> {
    let (tell, told) = sync_channel(1);
    let folder = dir.to_path_buf();
    thread::spawn(move || tell.send(try_open(&folder, epoch)));
    match told.recv_timeout(most) {
        Ok(opened) => opened,
        Err(RecvTimeoutError::Disconnected) => Err(OpenError::Panic),
        Err(RecvTimeoutError::Timeout) => {
            mark_damaged(dir);
            Err(OpenError::Store(StoreError::Stuck {
                dir: dir.into(),
                limit: most,
            }))
        }
    }
}

fn try_open(dir: &Path, epoch: u64) -> Result<Store, OpenError> {
    // sled 0.34 panics on some damage (spacejam/sled#1387); nothing of it is used after that.
    catch_unwind(AssertUnwindSafe(|| Store::open(dir, epoch)))
        .map_err(|_| OpenError::Panic)?
        .map_err(OpenError::Store)
}

/// Copies the files of a database that nobody has open; sled has no deeper folders than one.
fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_files(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
            File::open(&target)?.sync_all()?;
        }
    }
    Ok(())
}

/// A snapshot cut short by a kill makes every open fail; sled writes it anew (spacejam/sled#1527).
fn remove_half_written_snapshots(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().ends_with(".generating") {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn remove_old(state_dir: &Path) {
    for old in asides(state_dir).iter().rev().skip(KEEP) {
        let _ = fs::remove_dir_all(old);
    }
}

/// Databases moved aside, the eldest first.
fn asides(state_dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(state_dir).into_iter().flatten().flatten();
    let mut kept: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("db.damaged-"))
        })
        .collect();
    kept.sort();
    kept
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use rstest::rstest;

    use super::super::fixture::{address, file, job, settle, target};
    use super::super::record::{FileRecord, Fingerprint, Job, Seen, SlotRecord};
    use super::*;

    fn state_with_a_job() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).unwrap().store;
        let (place, job) = (address("B2"), job(1, "a"));
        let record = FileRecord {
            fingerprint: job.fingerprint,
            slot: Some(place.clone()),
            seen: Seen::Image {
                hash: job.hash,
                format: job.format,
                arrival: None,
            },
            at: Timestamp(1),
        };
        let offered = job.clone();
        let put = move |slot: &mut SlotRecord| slot.job = Some(offered.clone());
        store
            .take_image(&file("a.png"), &record, &place, put)
            .unwrap();
        store.sync().unwrap();
        dir
    }

    #[test]
    fn a_healthy_store_is_opened_as_it_is() {
        let dir = state_with_a_job();
        let opened = open(dir.path()).unwrap();
        assert_eq!(opened.said, None);
        assert_eq!(opened.store.queued(), 1);
    }

    #[test]
    fn a_half_written_snapshot_does_not_hinder_the_opening() {
        let dir = state_with_a_job();
        fs::write(dir.path().join("db/snap.0000000000000010.generating"), b"x").unwrap();
        let opened = open(dir.path()).unwrap();
        assert_eq!(opened.said, None);
        assert_eq!(opened.store.queued(), 1);
    }

    #[test]
    fn a_store_that_cannot_be_opened_is_moved_aside_and_begun_anew() {
        let dir = state_with_a_job();
        fs::write(dir.path().join("db/conf"), [0x5a; 64]).unwrap();
        let opened = open(dir.path()).unwrap();
        assert!(opened.said.unwrap().contains("moved to"));
        assert!(asides(dir.path())[0].join("conf").exists());
        assert_eq!(opened.store.queued(), 0);
    }

    #[test]
    fn damage_found_in_use_leads_to_a_new_store_at_the_next_start() {
        let dir = state_with_a_job();
        mark_damaged(&dir.path().join("db"));
        assert!(open(dir.path()).unwrap().said.is_some());
        assert_eq!(open(dir.path()).unwrap().said, None);
    }

    #[test]
    fn only_the_latest_damaged_stores_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        for n in 1..=5 {
            fs::create_dir(dir.path().join(format!("db.damaged-{n}"))).unwrap();
        }
        remove_old(dir.path());
        let mut left: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["db.damaged-3", "db.damaged-4", "db.damaged-5"]);
    }

    /// Its one slot holds "a", by a receipt.
    fn state_with_a_receipt() -> tempfile::TempDir {
        let dir = state_with_a_job();
        let store = open(dir.path()).unwrap().store;
        receive(&store, "a");
        dir
    }

    fn receive(store: &Store, content: &str) {
        put(store, "B2", content);
    }

    fn held(store: &Store) -> Option<ContentHash> {
        store.slot(&address("B2")).unwrap().held()
    }

    /// All files below `dir` with their content.
    fn files_below(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut all = BTreeMap::new();
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                all.extend(files_below(&path));
            } else {
                all.insert(path.clone(), fs::read(&path).unwrap());
            }
        }
        all
    }

    #[test]
    fn a_database_taken_back_in_time_is_not_believed() {
        let dir = state_with_a_receipt();
        let old = tempfile::tempdir().unwrap();
        copy_files(&dir.path().join("db"), &old.path().join("db")).unwrap();
        receive(&open(dir.path()).unwrap().store, "b");
        fs::remove_dir_all(dir.path().join("db")).unwrap();
        copy_files(&old.path().join("db"), &dir.path().join("db")).unwrap();
        let opened = open(dir.path()).unwrap();
        assert!(opened.said.unwrap().contains("old values"));
        assert_eq!(held(&opened.store), None);
    }

    #[rstest]
    #[case::emptied(&|db: &Path| fs::write(db.join("db"), []).unwrap())]
    #[case::deleted(&|db: &Path| fs::remove_file(db.join("db")).unwrap())]
    #[case::gone(&|db: &Path| fs::remove_dir_all(db).unwrap())]
    fn a_database_that_lost_everything_is_not_taken_for_a_new_one(#[case] harm: &dyn Fn(&Path)) {
        let dir = state_with_a_receipt();
        let epoch = open(dir.path()).unwrap().store.epoch();
        harm(&dir.path().join("db"));
        let opened = open(dir.path()).unwrap();
        assert!(opened.said.unwrap().contains("lost or damaged"));
        assert!(opened.store.epoch() > epoch);
        drop(opened.store);
        assert_eq!(open(dir.path()).unwrap().said, None);
    }

    #[test]
    fn one_slots_old_value_is_noticed_though_it_proves_itself() {
        let dir = state_with_a_receipt();
        let store = open(dir.path()).unwrap().store;
        let before = store.raw_slots();
        receive(&store, "b");
        store.put_raw_slots(&before);
        drop(store);
        let opened = open(dir.path()).unwrap();
        assert!(opened.said.unwrap().contains("old values"));
        assert_eq!(held(&opened.store), None);
    }

    #[test]
    fn a_new_state_killed_before_its_first_receipt_raises_no_alarm() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()).unwrap());
        fs::remove_file(dir.path().join("generation")).unwrap();
        fs::remove_dir_all(dir.path().join("db")).unwrap();
        assert_eq!(open(dir.path()).unwrap().said, None);
    }

    #[test]
    fn on_another_machine_no_cell_is_known_for_sure_and_files_are_read_again() {
        let dir = state_with_a_receipt();
        let (here, there) = (ContentHash::of(b"here"), ContentHash::of(b"there"));
        let open = |machine| open_on(dir.path(), Some(machine), rewrite::LEAST_BYTES).unwrap();
        // The fixture's state is that of whatever machine runs the test.
        receive(&open(here).store, "a");
        let opened = open(here);
        assert_eq!(opened.said, None);
        assert_eq!(held(&opened.store), Some(ContentHash::of(b"a")));
        drop(opened);
        let opened = open(there);
        assert!(opened.said.unwrap().contains("another machine"));
        assert_eq!(held(&opened.store), None);
        let file = opened.store.file(&file("B2")).unwrap().unwrap();
        assert_eq!(file.fingerprint, Fingerprint::UNKNOWN);
        drop(opened.store);
        assert_eq!(open(there).said, None);
    }

    #[test]
    fn a_state_of_a_newer_version_is_refused_and_stays_as_it_is() {
        let dir = state_with_a_receipt();
        let later = Mark {
            schema: SCHEMA + 1,
            store: 1,
            epoch: 9,
            machine: None,
            received: 9,
        };
        drop(Generation::create(dir.path(), later).unwrap());
        let before = files_below(dir.path());
        let refused = open(dir.path()).unwrap_err();
        assert!(matches!(refused, StoreError::Newer { found, .. } if found == SCHEMA + 1));
        assert!(look(dir.path()).is_err());
        assert!(files_below(dir.path()) == before);
    }

    #[test]
    fn a_look_leaves_the_state_as_it_is() {
        let dir = state_with_a_receipt();
        let before = files_below(dir.path());
        let (store, copy) = look(dir.path()).unwrap();
        assert_eq!(held(&store), Some(ContentHash::of(b"a")));
        receive(&store, "b");
        drop((store, copy));
        assert!(files_below(dir.path()) == before);
    }

    #[test]
    fn a_state_of_schema_1_is_brought_up_to_date_after_a_copy() {
        let dir = state_with_a_receipt();
        let store = open(dir.path()).unwrap().store;
        // What schema 1 did not have.
        store.make_schema_1();
        drop(store);
        fs::remove_file(dir.path().join("generation")).unwrap();
        let opened = open(dir.path()).unwrap();
        assert!(opened.said.unwrap().contains("from schema 1"));
        assert_eq!(held(&opened.store), Some(ContentHash::of(b"a")));
        receive(&opened.store, "b");
        drop(opened.store);
        let opened = open(dir.path()).unwrap();
        assert_eq!(opened.said, None);
        assert_eq!(held(&opened.store), Some(ContentHash::of(b"b")));
        let copy = Store::open(&dir.path().join("db.schema-1"), 0).unwrap();
        assert_eq!(held(&copy), Some(ContentHash::of(b"a")));
    }

    #[test]
    fn a_state_of_schema_2_is_brought_up_to_date_after_a_copy() {
        let dir = state_with_a_receipt();
        let mark = match generation::read(dir.path(), SCHEMA).unwrap() {
            Found::Mark(mark) => Mark { schema: 2, ..mark },
            found => panic!("{found:?}"),
        };
        drop(Generation::create(dir.path(), mark).unwrap());
        let opened = open(dir.path()).unwrap();
        assert!(opened.said.unwrap().contains("from schema 2"));
        assert_eq!(held(&opened.store), Some(ContentHash::of(b"a")));
        receive(&opened.store, "b");
        drop(opened.store);
        let opened = open(dir.path()).unwrap();
        assert_eq!(opened.said, None);
        assert_eq!(held(&opened.store), Some(ContentHash::of(b"b")));
        let copy = Store::open(&dir.path().join("db.schema-2"), 0).unwrap();
        assert_eq!(held(&copy), Some(ContentHash::of(b"a")));
    }

    #[test]
    fn a_lost_mark_leaves_nothing_sure() {
        let dir = state_with_a_receipt();
        fs::write(dir.path().join("generation"), [7; 9000]).unwrap();
        let opened = open(dir.path()).unwrap();
        assert!(opened.said.unwrap().contains("missing or damaged"));
        assert_eq!(held(&opened.store), None);
    }

    /// A state of 300 slots, each written three times, as a daemon that was killed leaves it.
    fn worn_state() -> (tempfile::TempDir, BTreeMap<String, ContentHash>) {
        let dir = tempfile::tempdir().unwrap();
        let mut cells = BTreeMap::new();
        let store = open(dir.path()).unwrap().store;
        for turn in 0..3 {
            for row in 1..=300 {
                let cell = format!("B{row}");
                let content = format!("{cell} {turn}");
                put(&store, &cell, &content);
                cells.insert(cell, ContentHash::of(content.as_bytes()));
            }
        }
        (dir, cells)
    }

    fn put(store: &Store, cell: &str, content: &str) {
        let place = address(cell);
        let job = Job {
            source: file(cell),
            ..job(store.next_id().unwrap(), content)
        };
        let record = FileRecord {
            fingerprint: job.fingerprint,
            slot: Some(place.clone()),
            seen: Seen::Image {
                hash: job.hash,
                format: job.format,
                arrival: None,
            },
            at: Timestamp(1),
        };
        let offered = job.clone();
        let put = move |slot: &mut SlotRecord| slot.job = Some(offered.clone());
        store.take_image(&job.source, &record, &place, put).unwrap();
        let intent = store.begin(&place, &job, Timestamp(2)).unwrap().unwrap();
        settle(store, intent);
        let at = Timestamp(3);
        let receipt = store
            .written(&place, &job, &target(), None, at, at)
            .unwrap();
        settle(store, receipt);
    }

    #[derive(Debug, Clone)]
    enum Harm {
        Cut,
        Zero(usize),
        Noise(Vec<u8>),
    }

    fn harm() -> impl Strategy<Value = Harm> {
        prop_oneof![
            Just(Harm::Cut),
            (1_usize..5_000).prop_map(Harm::Zero),
            prop::collection::vec(any::<u8>(), 1..600).prop_map(Harm::Noise),
        ]
    }

    fn do_harm(path: &Path, harm: &Harm, at: prop::sample::Index) {
        let mut bytes = fs::read(path).unwrap();
        if bytes.is_empty() {
            return;
        }
        let at = at.index(bytes.len());
        match harm {
            Harm::Cut => bytes.truncate(at),
            Harm::Zero(length) => {
                let end = bytes.len().min(at + length);
                bytes[at..end].fill(0);
            }
            Harm::Noise(noise) => {
                let end = bytes.len().min(at + noise.len());
                bytes[at..end].copy_from_slice(&noise[..end - at]);
            }
        }
        fs::write(path, bytes).unwrap();
    }

    #[test]
    fn whatever_is_harmed_no_slot_claims_what_it_does_not_hold_and_the_store_works_on() {
        let (worn, cells) = worn_state();
        let files: Vec<PathBuf> = files_below(worn.path()).into_keys().collect();
        let config = ProptestConfig {
            cases: std::env::var("PIXCELL_TEST_HARMS").map_or(20, |text| text.parse().unwrap()),
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        let which = any::<prop::sample::Index>();
        let told = std::cell::Cell::new((0, 0));
        let mut runner = proptest::test_runner::TestRunner::new(config);
        runner
            .run(
                &(which, harm(), any::<prop::sample::Index>()),
                |(which, harm, at)| {
                    let dir = tempfile::tempdir().unwrap();
                    copy_files(worn.path(), dir.path()).unwrap();
                    let path = which.get(&files).strip_prefix(worn.path()).unwrap();
                    do_harm(&dir.path().join(path), &harm, at);
                    let begun = std::time::Instant::now();
                    let opened = open(dir.path()).unwrap();
                    prop_assert!(begun.elapsed() < Duration::from_secs(20));
                    let (all, said) = told.get();
                    told.set((all + 1, said + u32::from(opened.said.is_some())));
                    let mut sure = 0;
                    for (cell, hash) in &cells {
                        if let Some(held) = opened.store.slot(&address(cell)).unwrap().held() {
                            prop_assert_eq!(held, *hash, "{}", cell);
                            sure += 1;
                        }
                    }
                    // Either it is what it was, or nothing of it is believed.
                    prop_assert_eq!(opened.said.is_none(), sure == cells.len());
                    prop_assert!(opened.store.files().all(|file| file.is_ok()));
                    prop_assert!(opened.store.history().all(|event| event.is_ok()));
                    put(&opened.store, "C1", "new");
                    drop(opened);
                    let again = open(dir.path()).unwrap();
                    prop_assert_eq!(again.said, None);
                    let held = again.store.slot(&address("C1")).unwrap().held();
                    prop_assert_eq!(held, Some(ContentHash::of(b"new")));
                    Ok(())
                },
            )
            .unwrap();
        let (all, said) = told.get();
        println!("{all} harmed, {said} noticed");
        assert!(said > 0);
    }
}
