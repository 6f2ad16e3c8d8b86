//! What the kernel has told so far, by files of this program's own, as Watchman's cookies: what it tells of
//! one watcher comes in order, so what it tells of a cookie comes after all that happened before the cookie
//! was made. Blocks.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use notify::Event;
use notify::event::{AccessKind, AccessMode, EventKind};

use super::native::Watches;
use crate::config::MappingName;

/// A close is heard within a millisecond; a busy machine may take longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where cookies are, in the state directory, with a folder for each mapping.
const FOLDER: &str = "cookies";

/// Of all jars, so that none is taken for another's. What a process that was killed has left is made anew by
/// a later one, and removed.
static MADE: AtomicU64 = AtomicU64::new(0);

/// What became of a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tasted {
    /// It was heard.
    Heard,
    /// It was made and not heard.
    Silence,
    /// There can be none, as on a full disk.
    None,
}

/// Makes cookies for one watcher.
#[derive(Debug)]
pub(super) struct Jar {
    folder: PathBuf,
    awaited: Arc<Awaited>,
}

/// Hears of them.
pub(super) struct Ear {
    folder: PathBuf,
    awaited: Arc<Awaited>,
}

/// Those that are waited for.
#[derive(Debug, Default)]
struct Awaited(Mutex<HashMap<PathBuf, Sender<()>>>);

impl Awaited {
    fn add(&self, path: PathBuf) -> Receiver<()> {
        let (tell, heard) = channel();
        self.with(|awaited| awaited.insert(path, tell));
        heard
    }

    fn take(&self, path: &Path) -> Option<Sender<()>> {
        self.with(|awaited| awaited.remove(path))
    }

    fn with<R>(&self, work: impl FnOnce(&mut HashMap<PathBuf, Sender<()>>) -> R) -> R {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Jar {
    /// An empty one in `state_dir`; `None` when there can be none, as on a full disk.
    pub fn of(mapping: &MappingName, state_dir: &Path) -> Option<(Self, Ear)> {
        let folder = state_dir.join(FOLDER).join(format!("of-{mapping}"));
        fs::create_dir_all(&folder).ok()?;
        let awaited = Arc::default();
        let ear = Ear {
            folder: folder.clone(),
            awaited: Arc::clone(&awaited),
        };
        Some((Self { folder, awaited }, ear))
    }

    /// The folder to watch.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes one and waits until the kernel has told that it was closed, for at most 5 seconds.
    pub fn taste(&self) -> Tasted {
        self.taste_within(PATIENCE)
    }

    fn taste_within(&self, patience: Duration) -> Tasted {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(number.to_string());
        let heard = self.awaited.add(path.clone());
        let tasted = match File::create(&path) {
            Err(_) => Tasted::None,
            Ok(closed) => {
                drop(closed);
                match heard.recv_timeout(patience) {
                    Ok(()) => Tasted::Heard,
                    Err(_) => Tasted::Silence,
                }
            }
        };
        self.awaited.take(&path);
        // One that stays does no harm.
        let _ = fs::remove_file(&path);
        tasted
    }
}

impl Ear {
    /// Whether the event is of a cookie, or of the folder of cookies.
    pub fn hears(&self, event: &Event) -> bool {
        let closed = event.kind == EventKind::Access(AccessKind::Close(AccessMode::Write));
        let mut ours = event
            .paths
            .iter()
            .filter(|path| path.starts_with(&self.folder))
            .peekable();
        let any = ours.peek().is_some();
        for path in ours.filter(|_| closed) {
            if let Some(tell) = self.awaited.take(path) {
                // Too late is nobody's loss.
                let _ = tell.send(());
            }
        }
        any
    }
}

/// The way to a folder's watches, if the kernel watches it, for whoever finds something there by itself and
/// has to know what the kernel has told of it.
#[derive(Debug, Default)]
pub struct Hearing(Mutex<Weak<Watches>>);

impl Hearing {
    pub(super) fn set(&self, watches: &Arc<Watches>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(watches);
    }

    /// Waits until all that the kernel has to tell of the folder up to now has been handed over, as
    /// candidates or as the need to list it; `false` when that cannot be known: it is not watched, there is
    /// no room for a cookie, or 5 seconds were not enough. Blocks.
    #[must_use]
    pub fn catch_up(&self) -> bool {
        // Let go at once: others wait beside this, and each has a cookie of its own.
        let watches = {
            let watches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            watches.upgrade()
        };
        watches.is_some_and(|watches| watches.catch_up())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::{RecommendedWatcher, RecursiveMode, Watcher};
    use rstest::rstest;

    const SOON: Duration = Duration::from_millis(100);

    fn name(name: &str) -> MappingName {
        MappingName::try_from(name.to_owned()).unwrap()
    }

    fn is_close(event: &Event) -> bool {
        matches!(event.kind, EventKind::Access(AccessKind::Close(_)))
    }

    #[rstest]
    #[case::all(|_: &Event| true, PATIENCE, Tasted::Heard)]
    #[case::nothing(|_: &Event| false, SOON, Tasted::Silence)]
    #[case::all_but_closes(|event: &Event| !is_close(event), SOON, Tasted::Silence)]
    fn a_cookie_is_tasted_by_whoever_hears_closes(
        #[case] told: fn(&Event) -> bool,
        #[case] patience: Duration,
        #[case] expected: Tasted,
    ) {
        let home = tempfile::tempdir().unwrap();
        let (jar, ear) = Jar::of(&name(".."), home.path()).unwrap();
        let handler = move |event: notify::Result<Event>| {
            let event = event.unwrap();
            assert!(!told(&event) || ear.hears(&event));
        };
        let mut watcher = RecommendedWatcher::new(handler, notify::Config::default()).unwrap();
        watcher
            .watch(jar.folder(), RecursiveMode::NonRecursive)
            .unwrap();
        for _ in 0..2 {
            assert_eq!(jar.taste_within(patience), expected);
        }
        assert_eq!(jar.folder().read_dir().unwrap().count(), 0);
        assert!(jar.awaited.with(|awaited| awaited.is_empty()));
    }

    #[test]
    fn another_cookie_is_not_taken_for_it() {
        let home = tempfile::tempdir().unwrap();
        let (jar, ear) = Jar::of(&name("a"), home.path()).unwrap();
        let [first, second] = ["1", "2"].map(|name| jar.folder().join(name));
        let heard = [&first, &second].map(|path| jar.awaited.add(path.clone()));
        let kind = EventKind::Access(AccessKind::Close(AccessMode::Write));
        assert!(ear.hears(&Event::new(kind).add_path(first)));
        heard[0].try_recv().unwrap();
        heard[1].try_recv().unwrap_err();
    }

    #[test]
    fn where_no_cookie_can_be_made_none_is() {
        assert!(Jar::of(&name("a"), Path::new("/proc/none")).is_none());
        let home = tempfile::tempdir().unwrap();
        let (jar, _ear) = Jar::of(&name("a"), home.path()).unwrap();
        fs::remove_dir(jar.folder()).unwrap();
        assert_eq!(jar.taste(), Tasted::None);
    }
}
