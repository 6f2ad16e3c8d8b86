//! Folders that files are opened in. A server that is gone blocks the thread that opens, for ever and unkillable:
//! a lane waits for it for a while only, and until the thread is back nobody opens anything in that folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::blocking::off_runtime_for;
use crate::config::Mapping;
use crate::placement::RelPath;

/// Whoever waits longer for a file takes its folder for silent. Longer than a sleeping disk or a busy share takes.
const PATIENCE: Duration = Duration::from_secs(15);
/// A folder that was silent rests as long as it was, and no longer than this: a server that answers everything too
/// late leaves lanes half of their time.
const REST_MOST: Duration = Duration::from_mins(1);

/// The folders, those that a configuration in force no longer names among them: a thread may hang there still.
#[derive(Debug, Clone, Default)]
pub struct Folders(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    silent: Mutex<BTreeMap<PathBuf, Silence>>,
    over: Notify,
}

#[derive(Debug)]
struct Silence {
    /// Lanes may have begun together.
    threads: usize,
    why: String,
}

impl Folders {
    /// Does what may hang with a file; `None` when the folder is silent.
    pub async fn ask<T: Send + 'static>(
        &self,
        mapping: &Mapping,
        path: &RelPath,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        if self.why(&mapping.folder).is_some() {
            return None;
        }
        let since = Instant::now();
        let end = match off_runtime_for(PATIENCE, work).await {
            Ok(done) => return Some(done),
            Err(end) => end,
        };
        self.begin(mapping, path);
        let (folders, name) = (self.clone(), mapping.name.clone());
        let folder = mapping.folder.clone();
        tokio::spawn(async move {
            end.await;
            sleep(since.elapsed().min(REST_MOST)).await;
            if folders.end(&folder) {
                info!(mapping = %name, "{} answers again", folder.display());
            }
        });
        None
    }

    fn begin(&self, mapping: &Mapping, path: &RelPath) {
        let mut silent = self.lock();
        let silence = silent
            .entry(mapping.folder.clone())
            .or_insert_with(|| Silence {
                threads: 0,
                why: format!("opening {path} hangs"),
            });
        silence.threads += 1;
        if silence.threads == 1 {
            warn!(mapping = %mapping.name, "{} does not answer: {}; waiting for it",
                mapping.folder.display(), silence.why);
        }
    }

    /// A thread is back; `true`: it was the last one.
    fn end(&self, folder: &Path) -> bool {
        let mut silent = self.lock();
        let Some(silence) = silent.get_mut(folder) else {
            return false;
        };
        silence.threads -= 1;
        let over = silence.threads == 0;
        if over {
            silent.remove(folder);
            self.0.over.notify_waiters();
        }
        over
    }

    /// Why a folder is silent.
    pub fn why(&self, folder: &Path) -> Option<String> {
        self.lock().get(folder).map(|silence| silence.why.clone())
    }

    /// Those that are silent.
    pub fn silent(&self) -> BTreeSet<PathBuf> {
        self.lock().keys().cloned().collect()
    }

    /// The end of any silence from now on.
    pub fn over(&self) -> Notified<'_> {
        self.0.over.notified()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Silence>> {
        self.0.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::mpsc;

    use super::*;
    use crate::placement::fixture::mapping;

    /// Asks with work that ends when it is let go; time is moved by hand, as it stands while a thread is at work.
    async fn in_vain(folders: &Folders, mapping: &Mapping, path: &RelPath) -> mpsc::Sender<()> {
        let (let_go, held) = mpsc::channel::<()>();
        let hangs = folders.ask(mapping, path, move || held.recv().is_ok());
        let hand = async {
            tokio::task::yield_now().await;
            tokio::time::advance(PATIENCE).await;
        };
        let (done, ()) = tokio::join!(hangs, hand);
        assert_eq!(done, None);
        let_go
    }

    #[tokio::test(start_paused = true)]
    async fn a_folder_that_hangs_is_asked_by_nobody_until_its_threads_are_back_and_it_has_rested() {
        let (folders, mapping) = (Folders::default(), mapping(&[], Vec::new()));
        let path = RelPath::new(Path::new("B2.png")).unwrap();
        assert_eq!(folders.ask(&mapping, &path, || 1).await, Some(1));
        let let_go = in_vain(&folders, &mapping, &path).await;
        assert_eq!(
            folders.why(&mapping.folder).unwrap(),
            "opening B2.png hangs"
        );
        assert!(folders.silent().contains(&mapping.folder));
        let asked = || panic!("another thread would hang as well");
        assert_eq!(folders.ask::<()>(&mapping, &path, asked).await, None);
        let over = folders.over();
        let back = Instant::now();
        let_go.send(()).unwrap();
        over.await;
        assert_eq!(back.elapsed().as_secs(), PATIENCE.as_secs());
        assert_eq!(folders.why(&mapping.folder), None);
        assert_eq!(folders.ask(&mapping, &path, || 2).await, Some(2));
    }
}
