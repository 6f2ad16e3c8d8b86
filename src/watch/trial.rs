//! Whether a watcher hears that a file is closed after writing, by a file of its own in a folder of its own:
//! kernels and libraries that tell less exist, and nothing else would show that they do. Blocks.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{Event, RecursiveMode, Watcher};
use tempfile::TempDir;

/// A close is heard within a millisecond; a busy machine may take longer, and nothing else waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// A trial that is being prepared.
pub(super) struct Trial {
    folder: TempDir,
    heard: Receiver<()>,
}

/// Hears for a trial.
pub(super) struct Ear {
    folder: PathBuf,
    tell: Sender<()>,
}

impl Trial {
    /// A trial in a new folder below `home`; `None` when there can be none, as on a full disk.
    pub fn below(home: &Path) -> Option<(Self, Ear)> {
        let folder = tempfile::Builder::new().prefix("trial-").tempdir_in(home);
        let folder = folder.ok()?;
        let (tell, heard) = channel();
        let ear = Ear {
            folder: folder.path().to_owned(),
            tell,
        };
        Some((Self { folder, heard }, ear))
    }

    /// Whether `watcher`, whose handler has the ear, hears a file being closed; `true` also when there can be
    /// no such file.
    pub fn passes(self, watcher: &mut impl Watcher) -> bool {
        self.passes_within(watcher, PATIENCE)
    }

    fn passes_within(self, watcher: &mut impl Watcher, patience: Duration) -> bool {
        let folder = self.folder.path();
        let watched = watcher.watch(folder, RecursiveMode::NonRecursive);
        let written = watched.is_ok()
            && tempfile::NamedTempFile::new_in(folder)
                .and_then(|mut file| {
                    file.write_all(b"trial")?;
                    file.into_temp_path().close()
                })
                .is_ok();
        let passed = !written || self.heard.recv_timeout(patience).is_ok();
        // It goes with its folder otherwise.
        let _ = watcher.unwatch(folder);
        passed
    }
}

impl Ear {
    /// Whether the event is of the trial.
    pub fn hears(&self, event: &Event) -> bool {
        let ours = event
            .paths
            .iter()
            .any(|path| path.starts_with(&self.folder));
        if ours && event.kind == EventKind::Access(AccessKind::Close(AccessMode::Write)) {
            // Too late is nobody's loss.
            let _ = self.tell.send(());
        }
        ours
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::{NullWatcher, RecommendedWatcher};

    #[test]
    fn a_watcher_that_hears_closes_passes_and_leaves_nothing_behind() {
        let home = tempfile::tempdir().unwrap();
        let (trial, ear) = Trial::below(home.path()).unwrap();
        let handler = move |event: notify::Result<Event>| assert!(ear.hears(&event.unwrap()));
        let mut watcher = RecommendedWatcher::new(handler, notify::Config::default()).unwrap();
        assert!(trial.passes(&mut watcher));
        assert_eq!(home.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn a_watcher_that_hears_anything_but_closes_does_not_pass() {
        let home = tempfile::tempdir().unwrap();
        let patience = Duration::from_millis(100);
        let (trial, _ear) = Trial::below(home.path()).unwrap();
        assert!(!trial.passes_within(&mut NullWatcher, patience));
        let (trial, ear) = Trial::below(home.path()).unwrap();
        let handler = move |event: notify::Result<Event>| {
            let event = event.unwrap();
            if !matches!(event.kind, EventKind::Access(AccessKind::Close(_))) {
                ear.hears(&event);
            }
        };
        let mut watcher = RecommendedWatcher::new(handler, notify::Config::default()).unwrap();
        assert!(!trial.passes_within(&mut watcher, patience));
    }

    #[test]
    fn where_no_trial_can_be_made_none_is() {
        assert!(Trial::below(Path::new("/proc/none")).is_none());
    }
}
