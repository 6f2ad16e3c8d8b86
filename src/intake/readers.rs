//! Who may begin a look: a few files at a time, so many of one mapping, fewer large ones. A look that hangs,
//! as on a share whose server is gone, takes nobody's place: its thread is counted apart, and its mapping
//! gets no further ones.
//!
//! Pure: the time is handed in. At most [`HUNG_MOST`] threads hang; those beyond count as readers again.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::MappingName;
use crate::store::FileKey;

/// A look without a beat for so long hangs: a disk that sleeps or a busy share may take as long, and loses
/// nothing but turns.
const HANGS: Duration = Duration::from_secs(2);
/// After so long nobody waits for its mapping any more.
const STUCK: Duration = Duration::from_secs(15);
/// Looks that hang and are not counted as readers.
const HUNG_MOST: usize = 128;

/// Signs of life of one look, given by the thread that does it.
#[derive(Debug, Clone, Default)]
pub struct Beat(Arc<AtomicU64>);

impl Beat {
    /// Something was done.
    pub fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Has whatever is read from `inner` count as such.
    pub fn with<R>(&self, inner: R) -> Beating<'_, R> {
        Beating { inner, beat: self }
    }
}

/// A reader that beats.
#[derive(Debug)]
pub struct Beating<'a, R> {
    inner: R,
    beat: &'a Beat,
}

impl<R: Read> Read for Beating<'_, R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.beat.beat();
        self.inner.read(bytes)
    }
}

impl<R: Seek> Seek for Beating<'_, R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

/// The looks that are under way.
#[derive(Debug, Default)]
pub struct Readers {
    looks: HashMap<FileKey, Look>,
    stuck: BTreeMap<MappingName, FileKey>,
}

#[derive(Debug)]
struct Look {
    counted: Option<u64>,
    large: bool,
    beat: Beat,
    /// Its beats when one was last seen, and when that was.
    beats: u64,
    since: Instant,
    hangs: bool,
}

/// What changed with a mapping.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// A look at this file hangs, and nobody waits for its mapping any more.
    Stuck(FileKey),
    /// It goes on.
    Moves(MappingName),
}

impl Readers {
    /// How many there are, with those that hang.
    pub fn len(&self) -> usize {
        self.looks.len()
    }

    /// Whether this file is being looked at.
    pub fn has(&self, key: &FileKey) -> bool {
        self.looks.contains_key(key)
    }

    /// Whether a look at a file of this mapping, which may be large, may begin now. At most `each` looks are for
    /// one mapping, and one more for all together; of these one less and as many are large, so that a small
    /// file never waits for a large one to be read.
    pub fn has_room(&self, mapping: &MappingName, large: bool, each: usize) -> bool {
        let (mut ours, mut ours_large, mut all, mut all_large, mut hung) = (0, 0, 0, 0, 0);
        for (busy, look) in &self.looks {
            let is_ours = busy.mapping == *mapping;
            if is_ours && look.hangs {
                return false;
            }
            if look.hangs && hung < HUNG_MOST {
                hung += 1;
                continue;
            }
            all += 1;
            ours += usize::from(is_ours);
            all_large += usize::from(look.large);
            ours_large += usize::from(look.large && is_ours);
        }
        let room = ours < each && all <= each;
        room && (!large || (ours_large + 1 < each && all_large < each))
    }

    /// A look begins.
    pub fn begin(&mut self, key: FileKey, counted: Option<u64>, large: bool, now: Instant) -> Beat {
        let beat = Beat::default();
        let look = Look {
            counted,
            large,
            beat: beat.clone(),
            beats: 0,
            since: now,
            hangs: false,
        };
        self.looks.insert(key, look);
        beat
    }

    /// A look is over.
    pub fn done(&mut self, key: &FileKey) {
        self.looks.remove(key);
    }

    /// Looks at the beats. To be called at [`Self::next_beat`] and whenever else it is cheap.
    pub fn judge(&mut self, now: Instant) -> Vec<Change> {
        let mut stuck = BTreeMap::new();
        for (key, look) in &mut self.looks {
            let beats = look.beat.0.load(Ordering::Relaxed);
            if beats != look.beats {
                (look.beats, look.since) = (beats, now);
            }
            let still = now.saturating_duration_since(look.since);
            look.hangs = still >= HANGS;
            if still >= STUCK {
                stuck.insert(key.mapping.clone(), key.clone());
            }
        }
        let is_new = |(mapping, _): &(&MappingName, _)| !self.stuck.contains_key(*mapping);
        let new = stuck.iter().filter(is_new);
        let mut changes: Vec<_> = new.map(|(_, key)| Change::Stuck(key.clone())).collect();
        let over = self
            .stuck
            .keys()
            .filter(|mapping| !stuck.contains_key(*mapping));
        changes.extend(over.cloned().map(Change::Moves));
        self.stuck = stuck;
        changes
    }

    /// When a look may turn out to hang.
    pub fn next_beat(&self) -> Option<Instant> {
        let looks = self.looks.iter();
        let next = looks.filter_map(|(key, look)| match look.hangs {
            false => Some(look.since + HANGS),
            true if self.stuck.contains_key(&key.mapping) => None,
            true => Some(look.since + STUCK),
        });
        next.min()
    }

    /// Whether a look of this mapping hangs for so long that nobody waits for it.
    pub fn is_stuck(&self, mapping: &MappingName) -> bool {
        self.stuck.contains_key(mapping)
    }

    /// The first listing of this mapping that waits for a file that is being looked at.
    pub fn awaited(&self, mapping: &MappingName) -> Option<u64> {
        let looks = self.looks.iter();
        let ours = looks.filter(|(key, _)| key.mapping == *mapping);
        ours.filter_map(|(_, look)| look.counted).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::RelPath;
    use std::path::Path;

    /// Looks at a time for one mapping.
    const EACH: usize = 2;

    struct Case {
        readers: Readers,
        start: Instant,
        beats: HashMap<FileKey, Beat>,
    }

    fn key(mapping: &str, name: &str) -> FileKey {
        FileKey {
            mapping: mapping.to_owned().try_into().unwrap(),
            path: RelPath::new(Path::new(name)).unwrap(),
        }
    }

    impl Case {
        fn new() -> Self {
            Self {
                readers: Readers::default(),
                start: Instant::now(),
                beats: HashMap::new(),
            }
        }

        /// Begins looks at files of a mapping while there is room.
        fn fill(&mut self, mapping: &str, at: Duration) -> usize {
            let names = (0..100).map(|number| key(mapping, &number.to_string()));
            let mut begun = 0;
            for key in names {
                if !self.readers.has(&key) && self.readers.has_room(&key.mapping, false, EACH) {
                    let beat = self
                        .readers
                        .begin(key.clone(), Some(0), false, self.start + at);
                    self.beats.insert(key, beat);
                    begun += 1;
                }
            }
            begun
        }

        fn judge(&mut self, at: Duration) -> Vec<Change> {
            self.readers.judge(self.start + at)
        }
    }

    #[test]
    fn folders_that_hang_take_no_reader_from_one_that_does_not() {
        let mut case = Case::new();
        assert_eq!(case.fill("hung", Duration::ZERO), 2);
        assert_eq!(case.fill("hung-too", Duration::ZERO), 1);
        assert_eq!(case.fill("well", Duration::ZERO), 0);
        assert_eq!(case.readers.next_beat(), Some(case.start + HANGS));
        assert!(case.judge(HANGS).is_empty());
        // All readers for the one, and no further look for those.
        assert_eq!(case.fill("hung", HANGS), 0);
        assert_eq!(case.fill("hung-too", HANGS), 0);
        assert_eq!(case.fill("well", HANGS), 2);
        assert_eq!(case.readers.len(), 5);
        // Those that goes on count again.
        case.beats[&key("hung", "0")].beat();
        case.beats[&key("hung", "1")].beat();
        case.judge(HANGS * 2);
        case.readers.done(&key("hung", "0"));
        case.readers.done(&key("well", "0"));
        case.readers.done(&key("well", "1"));
        assert_eq!(case.fill("hung", HANGS * 2), 1);
    }

    #[test]
    fn threads_that_hang_are_bounded_whatever_hangs() {
        let mut case = Case::new();
        let mut at = Duration::ZERO;
        for number in 0..1000 {
            case.fill(&format!("hung-{number}"), at);
            at += HANGS;
            case.judge(at);
        }
        assert_eq!(case.readers.len(), HUNG_MOST + EACH + 1);
    }

    #[test]
    fn a_look_that_goes_on_never_hangs_however_long_it_takes() {
        let mut case = Case::new();
        case.fill("slow", Duration::ZERO);
        for second in 1..1000 {
            for beat in case.beats.values() {
                beat.beat();
            }
            let at = Duration::from_secs(second);
            assert!(case.judge(at).is_empty());
            assert_eq!(case.fill("slow", at), 0, "as many as may be are under way");
            assert_eq!(case.readers.next_beat(), Some(case.start + at + HANGS));
        }
        case.readers.done(&key("slow", "0"));
        assert_eq!(case.fill("slow", Duration::from_secs(1000)), 1);
    }

    #[test]
    fn a_mapping_is_stuck_after_a_while_and_that_is_told_once_and_so_is_its_end() {
        let mut case = Case::new();
        case.fill("hung", Duration::ZERO);
        let hung = key("hung", "0").mapping;
        case.judge(HANGS);
        assert_eq!(case.readers.next_beat(), Some(case.start + STUCK));
        assert!(!case.readers.is_stuck(&hung));
        let told = case.judge(STUCK);
        assert!(
            matches!(&told[..], [Change::Stuck(key)] if key.mapping == hung),
            "{told:?}"
        );
        assert_eq!(
            (case.judge(STUCK * 2), case.readers.next_beat()),
            (Vec::new(), None)
        );
        case.readers.done(&key("hung", "0"));
        assert!(
            case.judge(STUCK * 3).is_empty(),
            "the other one still hangs"
        );
        case.readers.done(&key("hung", "1"));
        assert_eq!(case.judge(STUCK * 3), [Change::Moves(hung.clone())]);
        assert!(!case.readers.is_stuck(&hung));
    }

    #[test]
    fn what_is_read_counts_as_going_on() {
        let beat = Beat::default();
        let text = io::read_to_string(beat.with(&b"text"[..])).unwrap();
        assert_eq!(text, "text");
        assert!(beat.0.load(Ordering::Relaxed) > 0);
    }
}
