//! Looks at real files, in an order that the watchers seldom make.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use image::{ImageFormat, RgbImage};

use super::look::look_and_record;
use super::{Beat, Context, Copies, Due, Next};
use crate::image::ContentHash;
use crate::intake::read::Rest;
use crate::intake::settle::Origin;
use crate::placement::fixture::{cell, mapping};
use crate::placement::{RelPath, Route, Routes, RuleSet, SlotAddress};
use crate::store::{FileKey, Fingerprint, JobState, Seen, SlotRecord, open};

/// Two mappings, each with a folder, all of whose pictures are for one cell.
struct Case {
    home: tempfile::TempDir,
    context: Context,
    address: SlotAddress,
}

/// How a look came about.
#[derive(Clone, Copy)]
enum By {
    /// That it was touched.
    Event,
    /// That a writer closed it.
    Close,
    Listing,
    FirstListing,
}

fn png(seed: u8) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let picture = RgbImage::from_pixel(1, 1, image::Rgb([seed; 3]));
    picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

impl Case {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let routes = ["lobby", "hall"].map(|name| {
            let mut mapping = mapping(&[], vec![cell("*.png", "B2")]);
            mapping.name = name.to_owned().try_into().unwrap();
            mapping.folder = home.path().join(name);
            fs::create_dir(&mapping.folder).unwrap();
            Route {
                rules: RuleSet::compile(&mapping).unwrap(),
                mapping: Arc::new(mapping),
            }
        });
        let address = routes[0].address(&path("a.png")).unwrap();
        Self {
            context: Context {
                store: open(&home.path().join("state")).unwrap().store,
                routes: Routes::new(routes),
                copies: Copies::new(home.path()),
                hearing: Arc::new(BTreeMap::new()),
            },
            home,
            address,
        }
    }

    /// Puts this picture there, changed at this second.
    fn put(&self, file: &str, seed: u8, second: u64) {
        let path = self.home.path().join(file);
        fs::write(&path, png(seed)).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(time).unwrap();
    }

    fn due(&self, file: &str, by: By, tick: u64) -> Due {
        let (mapping, name) = file.split_once('/').unwrap();
        let mapping = mapping.to_owned().try_into().unwrap();
        let seen = self.home.path().join(file).symlink_metadata();
        let seen = seen.map_or(Fingerprint::UNKNOWN, |meta| Fingerprint::of(&meta));
        Due {
            route: Arc::clone(self.context.routes.of(&mapping).unwrap()),
            path: path(name),
            tick,
            origin: match by {
                By::Event => Origin::Touched,
                By::Close => Origin::Written,
                By::Listing => Origin::Found(seen),
                By::FirstListing => Origin::FoundFirst(seen),
            },
            rest: Rest::Unknown,
            counted: Some(0),
            large: false,
            asked: 0,
        }
    }

    /// Has it looked at, and whatever that leads to.
    fn look(&self, file: &str, by: By, tick: u64) {
        self.look_at(&self.due(file, by, tick));
    }

    fn look_at(&self, due: &Due) {
        match look_and_record(&self.context, due, &Beat::default()).unwrap() {
            Next::Nothing => {}
            Next::Again(due) | Next::Heard(due) | Next::Large(due) => self.look_at(&due),
            Next::Others(others) => {
                for due in &others {
                    self.look_at(due);
                }
            }
            Next::After(first, due) => {
                for due in &first {
                    self.look_at(due);
                }
                self.look_at(&due);
            }
        }
    }

    /// The slot's job is done.
    fn write(&self) {
        let job = self.slot().job.expect("a job");
        let (store, now) = (&self.context.store, crate::store::Timestamp::now());
        store.begin(&self.address, &job, now).unwrap();
        let target = crate::store::fixture::target();
        let written = store.written(&self.address, &job, &target, None, now, now);
        crate::store::fixture::settle(store, written.unwrap());
    }

    fn slot(&self) -> SlotRecord {
        self.context.store.slot(&self.address).unwrap()
    }

    /// What waits: the picture's number.
    fn waits(&self) -> Option<u8> {
        let job = self.slot().job?;
        assert!(matches!(job.state, JobState::Queued { .. }), "{job:?}");
        (0..=u8::MAX).find(|seed| ContentHash::of(&png(*seed)) == job.hash)
    }
}

fn path(name: &str) -> RelPath {
    RelPath::new(Path::new(name)).unwrap()
}

fn key(file: &str) -> FileKey {
    let (mapping, name) = file.split_once('/').unwrap();
    FileKey {
        mapping: mapping.to_owned().try_into().unwrap(),
        path: path(name),
    }
}

#[test]
fn a_version_is_never_older_than_an_earlier_look_at_its_file() {
    let case = Case::new();
    case.put("lobby/a.png", 1, 1);
    case.look("lobby/a.png", By::Listing, 57);
    case.put("lobby/a.png", 2, 2);
    // By a listing that was begun before.
    case.look("lobby/a.png", By::Listing, 56);
    assert_eq!(case.waits(), Some(2));
    case.write();
    case.put("lobby/a.png", 3, 3);
    case.look("lobby/a.png", By::Listing, 55);
    assert_eq!(case.waits(), Some(3));
}

#[test]
fn what_only_has_another_mode_or_device_is_there_still() {
    use std::os::unix::fs::PermissionsExt;
    let case = Case::new();
    case.put("lobby/b.png", 1, 2);
    case.look("lobby/b.png", By::Event, 1);
    case.write();
    case.put("lobby/a.png", 2, 1);
    let mode = fs::Permissions::from_mode(0o640);
    fs::set_permissions(case.home.path().join("lobby/b.png"), mode).unwrap();
    case.look("lobby/a.png", By::FirstListing, 2);
    case.look("lobby/b.png", By::FirstListing, 2);
    assert_eq!(case.waits(), None);
}

#[test]
fn what_was_changed_as_well_is_looked_at_first() {
    for (second, newest) in [(3, 3), (0, 2)] {
        let case = Case::new();
        case.put("lobby/b.png", 1, 2);
        case.look("lobby/b.png", By::Event, 1);
        case.write();
        case.put("lobby/a.png", 2, 1);
        case.put("lobby/b.png", 3, second);
        case.look("lobby/a.png", By::FirstListing, 2);
        case.look("lobby/b.png", By::FirstListing, 2);
        assert_eq!(case.waits(), Some(newest), "{second}");
    }
}

#[test]
fn a_picture_of_another_mapping_is_asked_for_and_one_of_none_is_not() {
    let mut case = Case::new();
    case.put("hall/b.png", 1, 2);
    case.look("hall/b.png", By::Event, 1);
    case.write();
    case.put("lobby/a.png", 2, 1);
    case.look("lobby/a.png", By::FirstListing, 2);
    assert_eq!(case.waits(), None);
    let lobby = Arc::clone(case.context.routes.of(&key("lobby/a.png").mapping).unwrap());
    case.put("lobby/c.png", 3, 1);
    let due = case.due("lobby/c.png", By::FirstListing, 3);
    case.context.routes = Routes::new([Route {
        rules: RuleSet::compile(&lobby.mapping).unwrap(),
        mapping: Arc::clone(&lobby.mapping),
    }]);
    let next = look_and_record(&case.context, &due, &Beat::default()).unwrap();
    assert!(matches!(next, Next::Nothing));
    assert_eq!(case.waits(), Some(3));
}

#[test]
fn a_file_that_is_looked_at_again_for_another_one_keeps_its_arrival_whatever_ends_meanwhile() {
    let case = Case::new();
    // Their times say the opposite.
    case.put("lobby/a.png", 1, 9);
    case.look("lobby/a.png", By::Event, 1);
    case.write();
    for (file, seed, second, tick) in [("lobby/b.png", 2, 2, 2), ("lobby/c.png", 3, 1, 3)] {
        case.put(file, seed, second);
        case.look(file, By::Event, tick);
    }
    fs::remove_file(case.home.path().join("lobby/c.png")).unwrap();
    let gone = case.due("lobby/c.png", By::Event, 4);
    // The run ends before what this asks for.
    look_and_record(&case.context, &gone, &Beat::default()).unwrap();
    for name in ["lobby/a.png", "lobby/b.png"] {
        case.look(name, By::FirstListing, 5);
    }
    assert_eq!(case.waits(), Some(2));
}

#[test]
fn a_picture_that_is_brought_again_arrives_again_though_its_time_is_the_same() {
    let case = Case::new();
    for (file, seed) in [("lobby/a.png", 1), ("lobby/b.png", 2)] {
        case.put(file, seed, 1);
        case.look(file, By::Close, seed.into());
        case.write();
    }
    // With another time of its attributes.
    case.put("lobby/a.png", 1, 1);
    case.look("lobby/a.png", By::Event, 3);
    assert_eq!(case.waits(), None);
    case.put("lobby/a.png", 1, 1);
    case.look("lobby/a.png", By::Close, 4);
    assert_eq!(case.waits(), Some(1));
}

#[test]
fn of_the_files_that_are_left_one_after_the_other_is_asked_for_until_one_is_there() {
    let case = Case::new();
    let names = ["lobby/a.png", "lobby/b.png", "hall/c.png", "lobby/d.png"];
    for (name, seed) in names.into_iter().zip(1..) {
        case.put(name, seed, 1);
        case.look(name, By::Close, seed.into());
    }
    assert_eq!(case.waits(), Some(4));
    // The one before it went as well, and nobody has heard of that.
    fs::remove_file(case.home.path().join("hall/c.png")).unwrap();
    fs::write(case.home.path().join("lobby/b.png"), "no picture").unwrap();
    fs::remove_file(case.home.path().join("lobby/d.png")).unwrap();
    let before = case.context.store.file(&key("lobby/a.png")).unwrap();
    let gone = case.due("lobby/d.png", By::Event, 5);
    let next = look_and_record(&case.context, &gone, &Beat::default()).unwrap();
    let Next::Others(others) = next else {
        panic!("nothing is asked for");
    };
    assert_eq!(others.len(), 1, "one at a time");
    let after = case.context.store.file(&key("lobby/a.png")).unwrap();
    assert_eq!(after, before, "nor is another one read");
    case.look_at(&others[0]);
    assert_eq!(case.waits(), Some(1));
}

#[test]
fn what_waits_in_a_folder_that_is_away_waits_on_and_keeps_its_arrival() {
    let case = Case::new();
    let (there, away) = ["lobby", "away"]
        .map(|name| case.home.path().join(name))
        .into();
    // Their times say the opposite.
    for (file, seed, second) in [("lobby/a.png", 1, 9), ("lobby/b.png", 2, 1)] {
        case.put(file, seed, second);
        case.look(file, By::Close, seed.into());
    }
    fs::rename(&there, &away).unwrap();
    case.look("lobby/b.png", By::Event, 3);
    assert_eq!(case.waits(), Some(2));
    fs::rename(&away, &there).unwrap();
    for file in ["lobby/a.png", "lobby/b.png"] {
        case.look(file, By::FirstListing, 4);
    }
    assert_eq!(case.waits(), Some(2));
    fs::remove_file(there.join("b.png")).unwrap();
    case.look("lobby/b.png", By::Event, 5);
    assert_eq!(case.waits(), Some(1));
}

#[test]
fn what_waits_on_a_file_system_that_is_not_mounted_waits_until_a_listing_says_that_it_is_gone() {
    let case = Case::new();
    case.put("lobby/a.png", 1, 1);
    case.look("lobby/a.png", By::Close, 1);
    // What lies where it was is on this one.
    let (store, file) = (&case.context.store, key("lobby/a.png"));
    let mut record = store.file(&file).unwrap().unwrap();
    record.fingerprint.device += 1;
    let hash = case.slot().job.unwrap().hash;
    store
        .same_content(&file, &record, &case.address, hash)
        .unwrap();
    fs::remove_file(case.home.path().join("lobby/a.png")).unwrap();
    // As a lane does that finds nothing.
    for tick in 2..4 {
        let job = case.slot().job.unwrap();
        store.set_stale(&case.address, &job, false).unwrap();
        case.look("lobby/a.png", By::Listing, tick);
        let slot = case.slot();
        assert_eq!(slot.job.unwrap().state, JobState::Stale);
        let seen = store.file(&file).unwrap().unwrap().seen;
        assert!(matches!(seen, Seen::Refused { .. }), "shown: {seen:?}");
        assert_eq!(store.to_be_looked_at(|_| true).unwrap(), 0);
    }
    case.look("lobby/a.png", By::Event, 4);
    assert_eq!(case.waits(), None);
}

#[test]
fn of_what_an_earlier_schema_recorded_nothing_comes_before_what_has_an_arrival() {
    let case = Case::new();
    for (name, seed) in [("lobby/a.png", 1), ("lobby/b.png", 2), ("lobby/c.png", 3)] {
        case.put(name, seed, 9 - u64::from(seed));
        case.look(name, By::Close, seed.into());
        if seed == 1 {
            case.write();
            let (store, file) = (&case.context.store, key(name));
            let mut record = store.file(&file).unwrap().unwrap();
            if let Seen::Image { arrival, .. } = &mut record.seen {
                *arrival = None;
            }
            let hash = ContentHash::of(&png(1));
            store
                .same_content(&file, &record, &case.address, hash)
                .unwrap();
        }
    }
    fs::remove_file(case.home.path().join("lobby/c.png")).unwrap();
    case.look("lobby/c.png", By::Event, 5);
    assert_eq!(case.waits(), Some(2));
    fs::remove_file(case.home.path().join("lobby/b.png")).unwrap();
    case.look("lobby/b.png", By::Event, 6);
    assert_eq!(case.waits(), None, "the cell holds the one that is left");
}

#[test]
fn what_a_listing_found_is_in_order_whichever_was_looked_at_first() {
    let case = Case::new();
    for (file, seed, second) in [
        ("lobby/b.png", 1, 1),
        ("lobby/c.png", 3, 5),
        ("lobby/a.png", 2, 3),
    ] {
        case.put(file, seed, second);
        case.look(file, By::FirstListing, 1);
    }
    for (file, left) in [("lobby/c.png", 2), ("lobby/a.png", 1)] {
        fs::remove_file(case.home.path().join(file)).unwrap();
        case.look(file, By::Event, 2);
        assert_eq!(case.waits(), Some(left));
    }
}
