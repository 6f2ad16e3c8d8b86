//! The kernel's events turned into candidates. Each folder has a watch of its own, set before it is listed:
//! notify's watching of whole trees sets those of new folders too late, is ended by a folder that may not be
//! read, and looks at every file on its way.
//!
//! The callback runs on notify's reading thread, so it
//! only sorts and hands over: it never blocks, never looks at a file, and never drops a change
//! silently: what does not fit marks the folder as unsure, and an unsure folder is listed anew.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{
    AccessKind, AccessMode, CreateKind, EventKind, ModifyKind, RemoveKind, RenameMode,
};
use notify::{Config, Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::sync::mpsc::Sender;
use walkdir::WalkDir;

use super::candidate::{Candidate, Finding, Hint, Ticks};
use super::cookies::{Jar, Tasted};
use crate::placement::{RelPath, Route};

/// Where the callback hands over.
pub(super) struct Sink {
    pub route: Arc<Route>,
    pub findings: Sender<Finding>,
    /// Paths that may be new folders, with everything already in them.
    pub arrivals: Sender<RelPath>,
    pub ticks: Arc<Ticks>,
    /// Told when the folder has to be listed.
    pub unsure: Arc<Unsure>,
}

/// That events were lost, and why.
#[derive(Debug, Default)]
pub(super) struct Unsure {
    pub wake: Notify,
    why: Mutex<Option<String>>,
}

impl Unsure {
    /// Events were lost; the first reason is kept until it is taken.
    pub fn set(&self, why: impl Into<String>) {
        let mut slot = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        slot.get_or_insert_with(|| why.into());
        self.wake.notify_one();
    }

    /// Takes the reason.
    pub fn take(&self) -> Option<String> {
        self.why
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

/// The watches of one mapped folder; they live as long as this. notify does not say when the system gives it
/// no thread, and panics then at every use and once more when it is dropped, which would end the process:
/// here it is an error, and nothing.
pub(super) struct Watches {
    folder: PathBuf,
    /// There until this is dropped.
    watcher: Mutex<Option<RecommendedWatcher>>,
    /// Why no more can be set.
    lacking: Mutex<Option<String>>,
    /// To know what they have told; none on a full disk.
    jar: Option<Jar>,
}

impl std::fmt::Debug for Watches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watches")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl Watches {
    /// None yet. Tries, by a cookie in `state_dir`, whether they would tell what they have to. Blocks.
    ///
    /// # Errors
    /// With a sentence for people that says what to do.
    pub fn begin(sink: Sink, state_dir: &Path) -> Result<Self, String> {
        let folder = sink.route.mapping.folder.clone();
        let (jar, ear) = Jar::of(&sink.route.mapping.name, state_dir).unzip();
        let of_cookies = move |event: &Event| ear.as_ref().is_some_and(|ear| ear.hears(event));
        let handler = move |result: notify::Result<Event>| {
            survive(&sink.unsure, || match result {
                Ok(event) if of_cookies(&event) => {}
                result => sink.take(result),
            });
        };
        let watcher =
            RecommendedWatcher::new(handler, Config::default().with_follow_symlinks(false))
                .map_err(|error| explain(&error))?;
        let mut watches = Self {
            folder,
            watcher: Mutex::new(Some(watcher)),
            lacking: Mutex::default(),
            jar: None,
        };
        // A watch that cannot be set is told of when the folder's cannot.
        watches.jar = jar.filter(|jar| watches.set(jar.folder()).is_ok());
        match watches.taste() {
            Tasted::Heard | Tasted::None => Ok(watches),
            Tasted::Silence => Err(format!(
                "the kernel did not tell that a file in {} was written and closed; please report it with \
                 the system's name and version",
                state_dir.display()
            )),
        }
    }

    fn taste(&self) -> Tasted {
        self.jar.as_ref().map_or(Tasted::None, Jar::taste)
    }

    /// Waits until all that the kernel has to tell up to now has been handed over; whether it was. Blocks.
    pub fn catch_up(&self) -> bool {
        self.taste() == Tasted::Heard
    }

    /// Watches a folder and not what lies below it; one that is watched is watched for certain then. Blocks.
    pub fn add(&self, folder: &Path) {
        let mut lacking = self.lacking.lock().unwrap_or_else(PoisonError::into_inner);
        if lacking.is_some() {
            return;
        }
        let Err(error) = self.set(folder) else {
            return;
        };
        *lacking = match &error.kind {
            notify::ErrorKind::MaxFilesWatch => Some(short_of_watches(&self.folder)),
            // It went, or may not be read, which the listing meets as well.
            notify::ErrorKind::PathNotFound => None,
            notify::ErrorKind::Io(io)
                if matches!(
                    io.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
                ) =>
            {
                None
            }
            _ => Some(explain(&error)),
        };
    }

    fn set(&self, folder: &Path) -> notify::Result<()> {
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        let set = || {
            let watcher = watcher.as_mut();
            watcher.map_or(Ok(()), |watcher| {
                watcher.watch(folder, RecursiveMode::NonRecursive)
            })
        };
        let told = catch_unwind(AssertUnwindSafe(set));
        told.unwrap_or_else(|_| Err(notify::Error::generic(NO_THREAD)))
    }

    /// Why not every folder that was to be watched is; a sentence for people that says what to do.
    pub fn lacking(&self) -> Option<String> {
        let lacking = self.lacking.lock().unwrap_or_else(PoisonError::into_inner);
        lacking.clone()
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        let watcher = self
            .watcher
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // All that could be told: there was no thread, or it is gone.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(watcher)));
    }
}

const NO_THREAD: &str = "the system gives no thread to hear the kernel's events; raise the limit of tasks \
                         (`TasksMax=` of the unit, `ulimit -u`)";

/// Folders that are counted at most when watches are short.
const COUNTED_MOST: u64 = 1 << 20;

/// That there are not enough watches, and how many would do.
fn short_of_watches(folder: &Path) -> String {
    let folders = WalkDir::new(folder)
        .into_iter()
        .filter(|entry| entry.as_ref().is_ok_and(|entry| entry.file_type().is_dir()))
        .map(|_| 1)
        .take(usize::try_from(COUNTED_MOST).unwrap_or(usize::MAX))
        .sum();
    let limits = LIMITS.map(|(path, name)| {
        let text = fs::read_to_string(path).ok()?;
        Some((text.trim().parse().ok()?, name))
    });
    say_short_of_watches(folders, limits.into_iter().flatten().min())
}

/// The limits of watches, the second that of a container: the lower one counts.
const LIMITS: [(&str, &str); 2] = [
    (
        "/proc/sys/fs/inotify/max_user_watches",
        "fs.inotify.max_user_watches",
    ),
    (
        "/proc/sys/user/max_inotify_watches",
        "user.max_inotify_watches",
    ),
];

fn say_short_of_watches(folders: u64, limit: Option<(u64, &str)>) -> String {
    // Others of the same user have theirs.
    let (limit, name) = limit.unwrap_or((folders, LIMITS[0].1));
    let enough = limit + folders;
    format!(
        "the kernel's limit of watched folders is reached: it is {limit} for all programs of a user, and \
         this mapping needs {folders}; raise it, e.g. `sysctl {name}={}`",
        enough.next_power_of_two()
    )
}

/// A panic would end notify's thread without a word, and nothing would be heard from then on.
fn survive(unsure: &Unsure, work: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        unsure.set("handling an event failed inside pixcell; please report it");
    }
}

/// What a watcher's error means for the machine's owner.
fn explain(error: &notify::Error) -> String {
    match &error.kind {
        notify::ErrorKind::MaxFilesWatch => {
            "the kernel's limit of watched folders is reached; raise it, \
             by `sysctl fs.inotify.max_user_watches`"
                .into()
        }
        // EMFILE: the limit of inotify instances, or of open files.
        notify::ErrorKind::Io(io) if io.raw_os_error() == Some(24) => {
            "no further inotify instance or file can be opened; raise the limit, e.g. `sysctl \
             fs.inotify.max_user_instances=512`"
                .into()
        }
        _ => error.to_string(),
    }
}

/// What one event means.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    /// A candidate.
    Path(PathBuf, Hint),
    /// A path that may be a folder with files in it, and is a candidate when it is a file.
    Arrival(PathBuf),
    /// A path that may be a folder whose files may be read now, or not any more, or which took the name of
    /// one that is gone, and whose watch notify then takes off.
    Folder(PathBuf),
    /// Events were lost.
    Lost,
}

fn meanings(event: Event) -> Vec<Meaning> {
    // First: an overflow comes without any path.
    if event.need_rescan() {
        return vec![Meaning::Lost];
    }
    let mut paths = event.paths.into_iter();
    let all = |hint| move |path| Meaning::Path(path, hint);
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
            paths.map(all(Hint::Closed)).collect()
        }
        EventKind::Create(CreateKind::Folder)
        | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => {
            paths.map(Meaning::Arrival).collect()
        }
        EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => {
            let from = paths.next().map(all(Hint::Gone));
            from.into_iter()
                .chain(paths.map(Meaning::Arrival))
                .collect()
        }
        EventKind::Modify(ModifyKind::Name(RenameMode::From))
        | EventKind::Remove(RemoveKind::File | RemoveKind::Any | RemoveKind::Other) => {
            paths.map(all(Hint::Gone)).collect()
        }
        EventKind::Modify(ModifyKind::Metadata(_)) => paths
            .flat_map(|path| [Meaning::Folder(path.clone()), all(Hint::Touched)(path)])
            .collect(),
        EventKind::Create(_) | EventKind::Modify(_) | EventKind::Any => {
            paths.map(all(Hint::Touched)).collect()
        }
        EventKind::Remove(RemoveKind::Folder) => paths.map(Meaning::Folder).collect(),
        // Reading makes events of its own: reacting to them would be a loop.
        EventKind::Access(_) | EventKind::Other => Vec::new(),
    }
}

impl Sink {
    fn take(&self, result: notify::Result<Event>) {
        match result {
            Ok(event) => meanings(event)
                .into_iter()
                .for_each(|meaning| self.hand_over(meaning)),
            Err(error) => self.unsure.set(explain(&error)),
        }
    }

    fn hand_over(&self, meaning: Meaning) {
        let (path, hint, arrival) = match meaning {
            Meaning::Lost => return self.unsure.set("the kernel's queue of events overflowed"),
            Meaning::Folder(path) => {
                if let Some(path) = self.below(&path) {
                    // Where so many are listed already, one more or less is not worth listing all.
                    let _ = self.arrivals.try_send(path);
                }
                return;
            }
            Meaning::Path(path, hint) => (path, hint, false),
            Meaning::Arrival(path) => (path, Hint::Closed, true),
        };
        let Some(path) = self.below(&path) else {
            return;
        };
        if arrival && self.arrivals.try_send(path.clone()).is_err() {
            self.unsure
                .set("more folders arrived at once than could be listed one by one");
        }
        let candidate = Candidate {
            route: Arc::clone(&self.route),
            path,
            hint,
            tick: self.ticks.next(),
        };
        if self
            .findings
            .try_send(Finding::Candidate(candidate))
            .is_err()
        {
            self.unsure
                .set("more files changed at once than could be looked at one by one");
        }
    }

    fn below(&self, path: &Path) -> Option<RelPath> {
        RelPath::new(path.strip_prefix(&self.route.mapping.folder).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{DataChange, Flag, MetadataKind};
    use rstest::rstest;

    fn path(name: &str) -> PathBuf {
        PathBuf::from(name)
    }

    #[rstest]
    #[case(
        EventKind::Access(AccessKind::Close(AccessMode::Write)),
        Some(Hint::Closed)
    )]
    #[case(EventKind::Create(CreateKind::File), Some(Hint::Touched))]
    #[case(
        EventKind::Modify(ModifyKind::Data(DataChange::Any)),
        Some(Hint::Touched)
    )]
    #[case(EventKind::Remove(RemoveKind::File), Some(Hint::Gone))]
    #[case(
        EventKind::Modify(ModifyKind::Name(RenameMode::From)),
        Some(Hint::Gone)
    )]
    #[case(EventKind::Access(AccessKind::Open(AccessMode::Any)), None)]
    #[case(EventKind::Access(AccessKind::Close(AccessMode::Read)), None)]
    #[case(EventKind::Access(AccessKind::Read), None)]
    fn an_event_on_a_file_means(#[case] kind: EventKind, #[case] hint: Option<Hint>) {
        let event = Event::new(kind).add_path(path("a"));
        let expected: Vec<_> = hint
            .map(|hint| Meaning::Path(path("a"), hint))
            .into_iter()
            .collect();
        assert_eq!(meanings(event), expected);
    }

    #[test]
    fn what_may_be_another_folder_by_now_is_looked_at_as_one() {
        let removed = Event::new(EventKind::Remove(RemoveKind::Folder)).add_path(path("a"));
        assert_eq!(meanings(removed), [Meaning::Folder(path("a"))]);
        let kind = EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any));
        let changed = Event::new(kind).add_path(path("a"));
        let touched = Meaning::Path(path("a"), Hint::Touched);
        assert_eq!(meanings(changed), [Meaning::Folder(path("a")), touched]);
    }

    #[test]
    fn a_rename_is_one_path_gone_and_one_arrived() {
        let kind = EventKind::Modify(ModifyKind::Name(RenameMode::Both));
        let event = Event::new(kind).add_path(path("a")).add_path(path("b"));
        assert_eq!(
            meanings(event),
            [
                Meaning::Path(path("a"), Hint::Gone),
                Meaning::Arrival(path("b"))
            ]
        );
    }

    #[test]
    fn what_does_not_fit_has_the_folder_listed_and_nobody_waits() {
        let (findings, mut found) = tokio::sync::mpsc::channel(1);
        let (arrivals, mut arrived) = tokio::sync::mpsc::channel(1);
        let route = crate::placement::fixture::route("*.png", "B2");
        let sink = Sink {
            route: Arc::clone(&route),
            findings,
            arrivals,
            ticks: Arc::default(),
            unsure: Arc::default(),
        };
        let happens = |kind, name| {
            let path = route.mapping.folder.join(name);
            sink.take(Ok(Event::new(kind).add_path(path)));
            sink.unsure.take()
        };
        let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
        assert_eq!(happens(written, "a.png"), None);
        assert!(
            happens(written, "b.png")
                .unwrap()
                .contains("more files changed at once")
        );
        found.try_recv().unwrap();
        let made = EventKind::Create(CreateKind::Folder);
        assert_eq!(happens(made, "a"), None);
        found.try_recv().unwrap();
        assert!(
            happens(made, "b")
                .unwrap()
                .contains("more folders arrived at once")
        );
        // What is only to be sure is left out.
        assert_eq!(happens(EventKind::Remove(RemoveKind::Folder), "c"), None);
        arrived.try_recv().unwrap();
        assert!(arrived.try_recv().is_err());
    }

    #[test]
    fn a_panic_has_the_folder_listed_and_the_next_event_is_taken() {
        let unsure = Unsure::default();
        survive(&unsure, || panic!("an event that nobody thought of"));
        assert!(unsure.take().unwrap().contains("please report it"));
        let mut taken = false;
        survive(&unsure, || taken = true);
        assert!(taken && unsure.take().is_none());
    }

    #[test]
    fn an_overflow_is_seen_though_it_names_no_path() {
        let event = Event::new(EventKind::Other).set_flag(Flag::Rescan);
        assert_eq!(meanings(event), [Meaning::Lost]);
    }

    #[test]
    fn the_watch_limit_is_explained_with_the_setting_to_change() {
        assert_eq!(
            say_short_of_watches(12_345, Some((8_192, "fs.inotify.max_user_watches"))),
            "the kernel's limit of watched folders is reached: it is 8192 for all programs of a user, and \
             this mapping needs 12345; raise it, e.g. `sysctl fs.inotify.max_user_watches=32768`"
        );
        let told = explain(&notify::Error::new(notify::ErrorKind::MaxFilesWatch));
        assert!(told.contains("fs.inotify.max_user_watches"), "{told}");
        let here = short_of_watches(tempfile::tempdir().unwrap().path());
        assert!(here.contains("needs 1;"), "{here}");
    }
}
