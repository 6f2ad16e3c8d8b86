//! When to look at a path: at once after a close or a rename, otherwise after a quiet time that every
//! further change starts anew, up to a limit. A hundred events for one path cost one look.
//!
//! Pure: the time is handed in. Holds paths, never contents; its size is bounded by its caller, who
//! stops observing new findings while it is full. Nothing that is done for each look goes through all that
//! wait.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use metrics::histogram;
use tokio::time::Instant;

use super::read::Rest;
use super::readers::{Beat, Change, Readers};
use crate::config::MappingName;
use crate::placement::{RelPath, Route};
use crate::store::{FileKey, Fingerprint};
use crate::watch::{Candidate, Hint};

/// A writer that never pauses is looked at after so many quiet times all the same.
const LONGEST_FACTOR: u32 = 10;

/// A path that is due for a look.
#[derive(Debug, Clone)]
pub struct Due {
    /// Its mapping.
    pub route: Arc<Route>,
    /// Its path below the mapping's folder.
    pub path: RelPath,
    /// When it arrived.
    pub tick: u64,
    /// How it came to be known.
    pub origin: Origin,
    /// What is known of its writer.
    pub rest: Rest,
    /// The listing of its mapping that waits for it, and with that all later ones; by its number.
    pub counted: Option<u64>,
    /// Known to take a while to read.
    pub large: bool,
    /// How often it was put off for a look at another file.
    pub asked: u8,
}

/// How it came to be known that a path may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// An event told that it was touched or is gone.
    Touched,
    /// An event told that a writer closed it or that it was renamed in.
    Written,
    /// A listing found it like this, or a lane found that it has changed.
    Found(Fingerprint),
    /// The listing with which watching began found it like this: when it arrived, nobody saw.
    FoundFirst(Fingerprint),
}

impl Origin {
    /// As what it was found; `None` for an event.
    pub fn found(self) -> Option<Fingerprint> {
        match self {
            Self::Touched | Self::Written => None,
            Self::Found(seen) | Self::FoundFirst(seen) => Some(seen),
        }
    }

    /// The same of a file that is found like this by now.
    #[must_use]
    pub fn now(self, seen: Fingerprint) -> Self {
        match self {
            Self::Touched | Self::Written => self,
            Self::Found(_) => Self::Found(seen),
            Self::FoundFirst(_) => Self::FoundFirst(seen),
        }
    }
}

impl Due {
    /// The file's key in the store.
    pub fn key(&self) -> FileKey {
        FileKey {
            mapping: self.route.mapping.name.clone(),
            path: self.path.clone(),
        }
    }
}

/// The paths that wait for a look.
#[derive(Debug, Default)]
pub struct Settle {
    waiting: HashMap<FileKey, Entry>,
    /// The same in the order in which they are due. Whether there is a reader is one question for a line.
    lines: BTreeMap<(MappingName, Size), BTreeSet<(Instant, FileKey)>>,
    /// Of those that wait, how many which listing waits for.
    counted: HashMap<MappingName, BTreeMap<u64, usize>>,
    /// Of those being looked at; a change meanwhile waits until that is done.
    readers: Readers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Size {
    Small,
    Large,
}

#[derive(Debug)]
struct Entry {
    due: Due,
    at: Instant,
    /// Not put off beyond this.
    latest: Instant,
}

impl Entry {
    fn line(&self) -> (MappingName, Size) {
        let size = if self.due.large {
            Size::Large
        } else {
            Size::Small
        };
        (self.due.route.mapping.name.clone(), size)
    }
}

impl Settle {
    /// How many paths wait or are being looked at.
    pub fn held(&self) -> usize {
        self.waiting.len() + self.readers.len()
    }

    /// Takes an event.
    pub fn observe(&mut self, candidate: Candidate, now: Instant) {
        let wait = match candidate.hint {
            Hint::Closed | Hint::Gone => Duration::ZERO,
            Hint::Touched | Hint::Changed => candidate.route.mapping.watch.settle,
        };
        let Candidate {
            route,
            path,
            tick,
            hint,
        } = candidate;
        let due = Due {
            route,
            path,
            tick,
            origin: match hint {
                Hint::Closed => Origin::Written,
                Hint::Touched | Hint::Gone => Origin::Touched,
                Hint::Changed => Origin::Found(Fingerprint::UNKNOWN),
            },
            rest: Rest::Unknown,
            counted: None,
            large: false,
            asked: 0,
        };
        self.insert(due, wait, now);
    }

    /// Takes a file of a listing that differs from what is known. `age` is the time since its last
    /// change: what changed just now may still be written.
    pub fn observe_found(&mut self, due: Due, age: Duration, now: Instant) {
        let wait = due.route.mapping.watch.settle.saturating_sub(age);
        self.insert(due, wait, now);
    }

    /// Has a path looked at again after a quiet time.
    pub fn again(&mut self, due: Due, now: Instant) {
        let wait = due.route.mapping.watch.settle;
        self.insert_unless_newer(due, wait, now);
    }

    /// Has a path looked at again, by what is known of it now.
    pub fn again_at_once(&mut self, due: Due, now: Instant) {
        self.again_after(due, Duration::ZERO, now);
    }

    /// The same after a while.
    pub fn again_after(&mut self, due: Due, wait: Duration, now: Instant) {
        self.insert_unless_newer(due, wait, now);
    }

    /// Has a path that turned out to be large looked at when it is the turn of such.
    pub fn again_as_large(&mut self, due: Due, now: Instant) {
        self.again_at_once(Due { large: true, ..due }, now);
    }

    /// What came while the path was looked at leads to a look anyway, and when it is due.
    fn insert_unless_newer(&mut self, due: Due, wait: Duration, now: Instant) {
        let key = due.key();
        match self.remove(&key) {
            Some(newer) => {
                let at = if is_no_news(&due, &newer.due) {
                    now + wait
                } else {
                    newer.at
                };
                let due = merge(due, newer.due);
                self.put(key, Entry { due, at, ..newer });
            }
            None => self.insert(due, wait, now),
        }
    }

    fn put(&mut self, key: FileKey, entry: Entry) {
        if let Some(listing) = entry.due.counted {
            let counted = self.counted.entry(key.mapping.clone()).or_default();
            *counted.entry(listing).or_default() += 1;
        }
        let line = self.lines.entry(entry.line()).or_default();
        line.insert((entry.at, key.clone()));
        self.waiting.insert(key, entry);
    }

    fn remove(&mut self, key: &FileKey) -> Option<Entry> {
        let entry = self.waiting.remove(key)?;
        if let Some(listing) = entry.due.counted
            && let Some(counted) = self.counted.get_mut(&key.mapping)
            && let Some(files) = counted.get_mut(&listing)
        {
            *files -= 1;
            if *files == 0 {
                counted.remove(&listing);
            }
        }
        let line = entry.line();
        if let Some(paths) = self.lines.get_mut(&line) {
            paths.remove(&(entry.at, key.clone()));
            if paths.is_empty() {
                self.lines.remove(&line);
            }
        }
        Some(entry)
    }

    fn insert(&mut self, due: Due, wait: Duration, now: Instant) {
        let key = due.key();
        let longest = due.route.mapping.watch.settle * LONGEST_FACTOR;
        let (due, at, latest) = match self.remove(&key) {
            Some(old) => {
                let at = if is_no_news(&old.due, &due) {
                    old.at
                } else {
                    now + wait
                };
                // Of a file that another one took the place of nothing says that its writer goes on.
                let restless = at > old.latest && wait > Duration::ZERO;
                let restless = restless && !is_another_file(&old.due, &due);
                let mut due = merge(old.due, due);
                if restless {
                    due.rest = Rest::Restless;
                }
                (due, at, old.latest)
            }
            None => (due, now + wait, now + longest),
        };
        let at = at.min(latest);
        self.put(key, Entry { due, at, latest });
    }

    /// The next path whose time has come and for which there is a reader; it counts as being looked at until
    /// [`Self::done`]. At most `each` paths of one mapping are looked at together. Whoever looks beats.
    pub fn pop(&mut self, now: Instant, each: usize) -> Option<(Due, Beat)> {
        let (at, key) = self.first(each)?;
        if *at > now {
            return None;
        }
        let key = key.clone();
        let entry = self.remove(&key)?;
        let longest = entry.due.route.mapping.watch.settle * LONGEST_FACTOR;
        let noticed = entry.latest.checked_sub(longest).unwrap_or(now);
        histogram!("pixcell_stage_seconds", "stage" => "settle").record(now - noticed);
        let Due { counted, large, .. } = entry.due;
        let beat = self.readers.begin(key, counted, large, now);
        Some((entry.due, beat))
    }

    /// The look at a path is over.
    pub fn done(&mut self, key: &FileKey) {
        self.readers.done(key);
    }

    /// Which mappings have become stuck, or go on. What waits for a look of one that is stuck is forgotten:
    /// it would take the room of others. All of its folder has to be listed when it goes on.
    pub fn judge(&mut self, now: Instant) -> Vec<Change> {
        let changes = self.readers.judge(now);
        for change in &changes {
            if let Change::Stuck(stuck) = change {
                let ours = |mapping: &MappingName| *mapping == stuck.mapping;
                self.waiting.retain(|key, _| !ours(&key.mapping));
                self.lines.retain(|(mapping, _), _| !ours(mapping));
                self.counted.retain(|mapping, _| !ours(mapping));
            }
        }
        changes
    }

    /// Whether looks of this mapping hang for so long that nobody waits for them.
    pub fn is_stuck(&self, mapping: &MappingName) -> bool {
        self.readers.is_stuck(mapping)
    }

    /// When the next path is due, or [`Self::judge`] is to be asked. A path that has to wait for a reader is
    /// due when one is done.
    pub fn next_wake(&self, each: usize) -> Option<Instant> {
        let due = self.first(each).map(|(at, _)| *at);
        due.into_iter().chain(self.readers.next_beat()).min()
    }

    /// What is due first of all for which there is a reader.
    fn first(&self, each: usize) -> Option<&(Instant, FileKey)> {
        let has_room = |mapping, size| self.readers.has_room(mapping, size == Size::Large, each);
        let lines = self.lines.iter();
        let open = lines.filter(|((mapping, size), _)| has_room(mapping, *size));
        // No more are passed over than are being looked at.
        let first =
            open.filter_map(|(_, paths)| paths.iter().find(|(_, key)| !self.readers.has(key)));
        first.min()
    }

    /// The first listing of this mapping of which a path still waits or is being looked at.
    pub fn awaited(&self, mapping: &MappingName) -> Option<u64> {
        let counted = self.counted.get(mapping);
        let waiting = counted.and_then(|counted| counted.keys().next().copied());
        waiting
            .into_iter()
            .chain(self.readers.awaited(mapping))
            .min()
    }
}

/// Whether a listing saw a path as it is known to be already: by one before it, or to be settling as that.
fn is_no_news(old: &Due, new: &Due) -> bool {
    new.origin.found().is_some_and(|found| {
        let seen = old.origin.found() == Some(found) && found != Fingerprint::UNKNOWN;
        seen || old.rest == Rest::QuietAs(found)
    })
}

/// Whether listings saw one file and then another one of the same name.
fn is_another_file(old: &Due, new: &Due) -> bool {
    match (old.origin.found(), new.origin.found()) {
        (Some(old), Some(new)) => {
            let inode = |seen: &Fingerprint| (seen.device, seen.inode);
            ![old, new].contains(&Fingerprint::UNKNOWN) && inode(&old) != inode(&new)
        }
        _ => false,
    }
}

/// Two findings for one path: the latest event is its arrival. A listing says nothing of the time, so
/// it leaves an event's standing, and of several that see the same the first came nearest.
fn merge(old: Due, new: Due) -> Due {
    // No other listing waits for what one has ceased to wait for.
    let counted = match old.origin.found() {
        Some(_) => old.counted,
        None => old.counted.or(new.counted),
    };
    let large = old.large || new.large;
    let due = match (old.origin, new.origin) {
        _ if is_no_news(&old, &new) => old,
        // Nor does a lane that found the file changed, which has not even seen its times.
        (Origin::Touched | Origin::Written, Origin::Found(_) | Origin::FoundFirst(_))
        | (_, Origin::Found(Fingerprint::UNKNOWN)) => Due {
            rest: Rest::Unknown,
            ..old
        },
        (Origin::Written, Origin::Touched) => Due {
            origin: Origin::Written,
            ..new
        },
        _ => new,
    };
    Due {
        counted,
        large,
        ..due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::fixture::route;
    use rstest::rstest;
    use std::path::Path;

    /// The fixture's quiet time.
    const SETTLE: Duration = Duration::from_millis(500);

    /// Looks at a time for one mapping.
    const EACH: usize = 2;

    struct Case {
        settle: Settle,
        route: Arc<Route>,
        start: Instant,
        tick: u64,
    }

    impl Case {
        fn new() -> Self {
            let route = route("*.png", "B2");
            assert_eq!(route.mapping.watch.settle, SETTLE);
            Self {
                settle: Settle::default(),
                route,
                start: Instant::now(),
                tick: 0,
            }
        }

        fn at(&self, ms: u64) -> Instant {
            self.start + Duration::from_millis(ms)
        }

        fn event(&mut self, name: &str, hint: Hint, ms: u64) {
            self.tick += 1;
            let path = RelPath::new(Path::new(name)).unwrap();
            let candidate = Candidate {
                route: self.route.clone(),
                path,
                hint,
                tick: self.tick,
            };
            self.settle.observe(candidate, self.at(ms));
        }

        fn found(&mut self, name: &str, age_ms: u64, ms: u64) {
            let due = self.due(name);
            self.found_as(due, age_ms, ms);
        }

        fn found_as(&mut self, due: Due, age_ms: u64, ms: u64) {
            self.settle
                .observe_found(due, Duration::from_millis(age_ms), self.at(ms));
        }

        fn due(&mut self, name: &str) -> Due {
            self.tick += 1;
            Due {
                route: self.route.clone(),
                path: RelPath::new(Path::new(name)).unwrap(),
                tick: self.tick,
                origin: Origin::Found(Fingerprint::UNKNOWN),
                rest: Rest::Unknown,
                counted: Some(1),
                large: false,
                asked: 0,
            }
        }

        fn large(&mut self, name: &str) {
            let due = self.due(name);
            self.settle.again_as_large(due, self.start);
        }

        fn pop(&mut self, ms: u64) -> Option<(String, u64)> {
            let (due, _) = self.settle.pop(self.at(ms), EACH)?;
            Some((due.path.to_string(), due.tick))
        }

        fn done(&mut self, name: &str) {
            let path = RelPath::new(Path::new(name)).unwrap();
            self.settle.done(&FileKey {
                mapping: self.route.mapping.name.clone(),
                path,
            });
        }
    }

    #[test]
    fn a_closed_file_is_due_at_once_and_a_touched_one_when_it_is_quiet() {
        let mut case = Case::new();
        case.event("a", Hint::Touched, 0);
        case.event("b", Hint::Closed, 0);
        assert_eq!(case.pop(0), Some(("b".to_owned(), 2)));
        assert_eq!(case.pop(499), None);
        assert_eq!(case.settle.next_wake(EACH), Some(case.at(500)));
        assert_eq!(case.pop(500), Some(("a".to_owned(), 1)));
    }

    #[test]
    fn a_hundred_events_cost_one_look_at_the_latest() {
        let mut case = Case::new();
        for ms in 0..100 {
            case.event("a", Hint::Touched, ms);
        }
        case.event("a", Hint::Closed, 100);
        assert_eq!(case.pop(100), Some(("a".to_owned(), 101)));
        case.done("a");
        assert_eq!(case.settle.held(), 0);
    }

    #[test]
    fn a_change_after_a_close_starts_the_quiet_time_anew() {
        let mut case = Case::new();
        case.event("a", Hint::Closed, 0);
        case.event("a", Hint::Touched, 30);
        assert_eq!(case.pop(400), None);
        case.event("a", Hint::Closed, 410);
        assert_eq!(case.pop(410), Some(("a".to_owned(), 3)));
    }

    #[test]
    fn a_file_that_was_closed_stays_so_when_it_is_touched() {
        let mut case = Case::new();
        case.event("a", Hint::Closed, 0);
        case.event("a", Hint::Touched, 1);
        let (due, _) = case.settle.pop(case.at(501), EACH).unwrap();
        assert_eq!((due.tick, due.origin), (2, Origin::Written));
    }

    #[test]
    fn a_writer_that_never_pauses_is_looked_at_all_the_same_and_known_as_such() {
        let mut case = Case::new();
        let looked = (0..10_000).step_by(100).find_map(|ms| {
            case.event("a", Hint::Touched, ms);
            Some((ms, case.settle.pop(case.at(ms), EACH)?.0.rest))
        });
        assert_eq!(looked, Some((5000, Rest::Restless)));
    }

    #[rstest]
    #[case::closes_after_all(Hint::Closed, 4990, 4990)]
    #[case::closes_later_than_it_may_be_put_off(Hint::Closed, 5100, 5100)]
    #[case::pauses_just_in_time(Hint::Touched, 4500, 5000)]
    fn a_writer_that_is_done_is_not_restless(
        #[case] hint: Hint,
        #[case] ms: u64,
        #[case] due: u64,
    ) {
        let mut case = Case::new();
        for ms in (0..4500).step_by(100) {
            case.event("a", Hint::Touched, ms);
        }
        case.event("a", hint, ms);
        assert_eq!(
            case.settle.pop(case.at(due), EACH).unwrap().0.rest,
            Rest::Unknown
        );
    }

    #[test]
    fn what_came_during_a_look_is_not_put_off_by_it() {
        let mut case = Case::new();
        case.event("a", Hint::Closed, 0);
        let (first, _) = case.settle.pop(case.at(0), EACH).unwrap();
        case.event("a", Hint::Closed, 1);
        case.done("a");
        case.settle.again(first, case.at(2));
        assert_eq!(case.pop(2), Some(("a".to_owned(), 2)));
    }

    #[test]
    fn a_path_is_looked_at_by_one_reader_at_a_time() {
        let mut case = Case::new();
        case.event("a", Hint::Closed, 0);
        assert_eq!(case.pop(0), Some(("a".to_owned(), 1)));
        case.event("a", Hint::Closed, 1);
        assert_eq!(case.pop(1), None);
        let beat = case.settle.readers.next_beat();
        assert_eq!(
            case.settle.next_wake(EACH),
            beat,
            "no earlier than it may hang"
        );
        case.done("a");
        assert_eq!(case.pop(1), Some(("a".to_owned(), 2)));
    }

    #[test]
    fn one_mapping_does_not_take_all_readers() {
        let mut case = Case::new();
        for name in ["a", "b", "c"] {
            case.event(name, Hint::Closed, 0);
        }
        assert!(case.pop(0).is_some() && case.pop(0).is_some());
        assert_eq!(case.pop(0), None);
        assert_eq!(case.settle.next_wake(EACH), case.settle.readers.next_beat());
        case.done("a");
        assert_eq!(case.pop(0), Some(("c".to_owned(), 3)));
    }

    #[rstest]
    #[case(2, 1)]
    #[case(4, 3)]
    fn large_files_of_a_mapping_leave_a_reader_for_a_small_one(
        #[case] each: usize,
        #[case] together: usize,
    ) {
        let mut case = Case::new();
        let names = ["a", "b", "c", "d", "e"];
        for name in names {
            case.large(name);
        }
        let large = std::iter::from_fn(|| case.settle.pop(case.at(1), each)).count();
        assert_eq!(large, together);
        case.event("small", Hint::Closed, 2);
        assert_eq!(case.settle.next_wake(each), Some(case.at(2)));
        let (due, _) = case.settle.pop(case.at(2), each).unwrap();
        assert_eq!(due.path.to_string(), "small");
        // The next large one when one is done, and not before.
        case.done("small");
        assert_eq!(case.settle.next_wake(each), case.settle.readers.next_beat());
        case.done("a");
        assert!(case.settle.pop(case.at(3), each).unwrap().0.large);
    }

    #[test]
    fn large_files_of_many_mappings_leave_a_reader_for_a_small_one() {
        let mut case = Case::new();
        let routes = ["one", "two", "three"].map(|name| {
            let mut route = Arc::into_inner(route("*.png", "B2")).unwrap();
            Arc::make_mut(&mut route.mapping).name = name.to_owned().try_into().unwrap();
            Arc::new(route)
        });
        for route in routes {
            case.route = route;
            case.large("a");
        }
        let large = std::iter::from_fn(|| case.settle.pop(case.at(1), EACH)).count();
        assert_eq!(large, 2);
    }

    #[test]
    fn a_listing_does_not_make_an_arrival_later_than_its_event() {
        let mut case = Case::new();
        case.event("a", Hint::Touched, 0);
        case.found("a", 60_000, 1);
        assert_eq!(case.pop(1), Some(("a".to_owned(), 1)));
        // It is counted for the listing all the same, until the look is over.
        let name = case.route.mapping.name.clone();
        assert_eq!(case.settle.awaited(&name), Some(1));
        case.done("a");
        assert_eq!(case.settle.awaited(&name), None);
    }

    fn seen(inode: u64, mtime: i64) -> Fingerprint {
        Fingerprint {
            inode,
            mtime,
            ..Fingerprint::UNKNOWN
        }
    }

    #[rstest]
    #[case::that_is_written_in_place(false, Rest::Restless)]
    #[case::that_another_takes_the_place_of(true, Rest::Unknown)]
    fn a_file_without_events_is_looked_at_after_ten_quiet_times(
        #[case] replaced: bool,
        #[case] rest: Rest,
    ) {
        let mut case = Case::new();
        let looked = (0..10_000).step_by(100).find_map(|ms| {
            let inode = if replaced { ms } else { 7 };
            let due = Due {
                origin: Origin::Found(seen(inode, ms.cast_signed())),
                ..case.due("a")
            };
            case.found_as(due, 0, ms);
            Some((ms, case.settle.pop(case.at(ms), EACH)?.0.rest))
        });
        assert_eq!(looked, Some((5000, rest)));
    }

    #[test]
    fn a_listing_waits_for_what_it_found_and_not_for_what_came_later() {
        let mut case = Case::new();
        let name = case.route.mapping.name.clone();
        for listing in 1..=3 {
            let due = Due {
                counted: Some(listing),
                ..case.due(&listing.to_string())
            };
            case.found_as(due, 0, listing * 100);
            assert_eq!(case.settle.awaited(&name), Some(1));
        }
        for listing in 1..=3 {
            let (due, _) = case.settle.pop(case.at(listing * 100 + 500), EACH).unwrap();
            assert_eq!(case.settle.awaited(&name), Some(listing), "it is looked at");
            case.done(&due.path.to_string());
        }
        assert_eq!(case.settle.awaited(&name), None);
    }

    #[test]
    fn no_listing_waits_for_what_another_has_ceased_to_wait_for() {
        let mut case = Case::new();
        let name = case.route.mapping.name.clone();
        case.found("a", 60_000, 0);
        assert_eq!(case.settle.awaited(&name), Some(1));
        let (due, _) = case.settle.pop(case.at(0), EACH).unwrap();
        case.done("a");
        let unsettled = Due {
            counted: None,
            ..due
        };
        case.settle.again(unsettled, case.at(0));
        case.found("a", 0, 100);
        assert_eq!(case.settle.awaited(&name), None);
    }

    #[test]
    fn a_file_that_two_listings_see_alike_arrived_with_the_first() {
        let mut case = Case::new();
        let first = Due {
            origin: Origin::FoundFirst(seen(1, 1)),
            ..case.due("a")
        };
        case.found_as(first.clone(), 0, 0);
        let again = Due {
            origin: Origin::Found(seen(1, 1)),
            ..case.due("a")
        };
        case.found_as(again, 300, 300);
        assert_eq!(case.pop(499), None);
        let (due, _) = case.settle.pop(case.at(500), EACH).unwrap();
        assert_eq!((due.tick, due.origin), (1, Origin::FoundFirst(seen(1, 1))));
        // One that has changed since came later.
        case.done("a");
        case.found_as(first, 0, 600);
        let changed = Due {
            origin: Origin::Found(seen(1, 2)),
            ..case.due("a")
        };
        case.found_as(changed, 0, 700);
        let (due, _) = case.settle.pop(case.at(1_200), EACH).unwrap();
        assert_eq!((due.tick, due.origin), (3, Origin::Found(seen(1, 2))));
    }

    #[test]
    fn a_listing_during_a_look_does_not_make_an_arrival_earlier_than_its_event() {
        let mut case = Case::new();
        let listed = Due {
            origin: Origin::Found(seen(1, 1)),
            ..case.due("a")
        };
        case.event("a", Hint::Closed, 0);
        let (looked, _) = case.settle.pop(case.at(0), EACH).unwrap();
        case.found_as(listed, 60_000, 1);
        case.done("a");
        let unsettled = Due {
            rest: Rest::QuietAs(seen(1, 1)),
            ..looked
        };
        case.settle.again(unsettled, case.at(2));
        assert_eq!(case.pop(501), None);
        assert_eq!(case.pop(502), Some(("a".to_owned(), 2)));
    }

    #[test]
    fn a_lane_that_finds_a_file_changed_does_not_make_its_arrival_later() {
        let mut case = Case::new();
        case.event("older", Hint::Closed, 0);
        case.found("listed", 60_000, 0);
        // By now something newer may have come for the same slot.
        case.event("newer", Hint::Closed, 0);
        case.event("older", Hint::Changed, 1);
        case.event("listed", Hint::Changed, 1);
        let mut order = Vec::new();
        while let Some((name, tick)) = case.pop(1_000) {
            case.done(&name);
            order.push((name, tick));
        }
        order.sort_by_key(|(_, tick)| *tick);
        let ticks = [("older", 1), ("listed", 2), ("newer", 3)];
        assert_eq!(order, ticks.map(|(name, tick)| (name.to_owned(), tick)));
    }

    #[test]
    fn a_listing_does_not_disturb_a_file_that_settles() {
        let mut case = Case::new();
        case.found("a", 60_000, 0);
        let (due, _) = case.settle.pop(case.at(0), EACH).unwrap();
        case.settle.done(&due.key());
        case.settle.again(
            Due {
                rest: Rest::QuietAs(Fingerprint::UNKNOWN),
                ..due
            },
            case.at(0),
        );
        case.found("a", 60_000, 200);
        assert_eq!(case.pop(499), None);
        let (looked, _) = case.settle.pop(case.at(500), EACH).unwrap();
        assert_eq!(looked.rest, Rest::QuietAs(Fingerprint::UNKNOWN));
    }

    #[test]
    fn a_found_file_that_changed_just_now_is_left_to_settle() {
        let mut case = Case::new();
        case.found("old", 60_000, 0);
        case.found("new", 100, 0);
        assert_eq!(case.pop(0), Some(("old".to_owned(), 1)));
        assert_eq!(case.pop(399), None);
        assert_eq!(case.pop(400), Some(("new".to_owned(), 2)));
    }

    #[test]
    fn what_waits_for_a_mapping_that_is_stuck_takes_no_room() {
        let mut case = Case::new();
        for number in 0..100 {
            case.found(&number.to_string(), 60_000, 0);
        }
        while case.pop(0).is_some() {}
        let name = case.route.mapping.name.clone();
        assert!(case.settle.judge(case.at(14_000)).is_empty());
        assert_eq!(
            (case.settle.held(), case.settle.is_stuck(&name)),
            (100, false)
        );
        let changes = case.settle.judge(case.at(15_000));
        assert!(matches!(changes[..], [Change::Stuck(_)]), "{changes:?}");
        assert_eq!(
            (case.settle.held(), case.settle.is_stuck(&name)),
            (EACH, true)
        );
        for number in 0..EACH {
            case.done(&number.to_string());
        }
        assert_eq!(case.settle.judge(case.at(16_000)), [Change::Moves(name)]);
    }
}
