//! The life of one mapped folder: waited for, watched, listed, and watched again when it was replaced.
//!
//! Each folder is watched and then listed, when it is met first as well as later on, so that nothing falls
//! between. What may not be read is told, asked for at every probe, and hides nothing else.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{self, Sender};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::candidate::{Finding, Ticks};
use super::cookies::Hearing;
use super::folder::{FolderState, Identity, identify, silent_file_system};
use super::native::{Sink, Unsure, Watches};
use super::patience::{Beats, patiently};
use super::scan::{Gaps, Listing, walk};
use crate::config::Backend;
use crate::placement::{RelPath, Route};
use crate::pulse::{waiting, within};

/// How often the folder itself is looked at: removed, replaced, mounted over; and what could not be listed.
const PROBE: Duration = Duration::from_secs(2);
/// New folders that may wait for their listing; beyond it the whole tree is listed.
const ARRIVALS: usize = 1024;
/// A listing that nobody waits for rests so many times as long as it works, so that it and what it has
/// others do stay well below one core.
const REST: u32 = 3;
/// The longest such rest at a time.
const REST_MOST: Duration = Duration::from_secs(1);

/// One folder to watch, and whom to tell.
#[derive(Debug)]
pub struct Watched {
    /// The mapping.
    pub route: Arc<Route>,
    /// Where candidates go.
    pub findings: Sender<Finding>,
    /// Where listings go; may be slow to take them.
    pub listings: Sender<Finding>,
    /// The run's ticks.
    pub ticks: Arc<Ticks>,
    /// Where the folder's state is told.
    pub state: watch::Sender<FolderState>,
    /// Woken to have the whole folder listed now.
    pub rescan: Arc<Notify>,
    /// Told how to know what the kernel has told of it.
    pub hearing: Arc<Hearing>,
    /// For files of this program's own.
    pub state_dir: PathBuf,
}

/// Watches until `stop`.
pub async fn run(watched: Watched, stop: CancellationToken) {
    // It comes round at every probe; a folder that hangs is waited for.
    let live = within(Duration::ZERO, watched.live());
    let _ = stop.run_until_cancelled(live).await;
}

/// Why a folder's watching has to begin anew.
enum Ended {
    /// The folder is another one, or none, or the kernel's watches are to be set again.
    Anew,
    /// Nobody listens any more.
    Unheard,
}

/// What is remembered of a folder when its watching begins anew.
#[derive(Debug, Default)]
struct Memory {
    told_missing: bool,
    /// Why it could not be watched natively, as told.
    fault: Option<String>,
    /// What could not be listed, as told.
    unseen: Option<String>,
    /// The folder that once held a file. Only of that one does emptiness mean that all was deleted; another
    /// may be the place of a disk that is not mounted.
    inhabited: Option<Identity>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// The first since watching began, for which somebody waits.
    First,
    /// Somebody waits for it.
    Fast,
    /// Just to be sure.
    Gentle,
}

impl Watched {
    async fn live(self) {
        let mut memory = Memory::default();
        loop {
            match self.identity().await {
                Ok(identity) => {
                    memory.told_missing = false;
                    if let Ended::Unheard = self.attend(identity, &mut memory).await {
                        return;
                    }
                }
                Err(error) => {
                    let folder = self.route.mapping.folder.display();
                    if !memory.told_missing {
                        warn!(mapping = %self.route.mapping.name,
                            "cannot list {folder}: {error}; waiting for it");
                        memory.told_missing = true;
                        // Whoever waits for the first listing need not wait for a folder to appear.
                        let none = Finding::Listed {
                            route: Arc::clone(&self.route),
                            met: None,
                        };
                        if waiting(self.listings.send(none)).await.is_err() {
                            return;
                        }
                    }
                    self.state.send_replace(FolderState::Missing {
                        why: error.to_string(),
                    });
                    sleep(PROBE).await;
                }
            }
        }
    }

    async fn identity(&self) -> std::io::Result<Identity> {
        let route = Arc::clone(&self.route);
        self.patiently("looking at the folder", move |_| {
            identify(&route.mapping.folder)
        })
        .await
    }

    /// Does what may hang, and tells when it does.
    async fn patiently<T: Send + 'static>(
        &self,
        what: &str,
        work: impl FnOnce(&Beats) -> T + Send + 'static,
    ) -> T {
        let (name, folder) = (
            &self.route.mapping.name,
            self.route.mapping.folder.display(),
        );
        let mut before = None;
        patiently(work, |hangs| {
            if hangs {
                warn!(mapping = %name, "{folder} does not answer: {what} hangs; waiting for it");
                let why = format!("{what} hangs");
                before = Some(self.state.send_replace(FolderState::Stuck { why }));
            } else {
                info!(mapping = %name, "{folder} answers again");
                self.state
                    .send_replace(before.take().unwrap_or(FolderState::Starting));
            }
        })
        .await
    }

    /// Watches the folder that is there now until it is another one.
    async fn attend(&self, identity: Identity, memory: &mut Memory) -> Ended {
        let watch = self.route.mapping.watch;
        let name = &self.route.mapping.name;
        let (arrivals, mut arrived) = mpsc::channel(ARRIVALS);
        let unsure = Arc::new(Unsure::default());
        // Before any event: what the listing finds was there earlier than what the watches tell.
        let tick = self.ticks.next();
        let mut all = Whole {
            identity,
            memory,
            armed: self.arm(arrivals, &unsure).await,
            gaps: Gaps::default(),
        };
        if !self.list_all(tick, Pace::First, &mut all).await {
            return Ended::Unheard;
        }
        let folder = self.route.mapping.folder.display();
        match &all.armed {
            Ok(_) => info!(mapping = %name, "watching {folder} natively"),
            Err(unarmed) if unarmed.news => {
                info!(mapping = %name, "watching {folder} by listing it");
            }
            Err(_) => {}
        }

        let mut last_listing = Instant::now();
        let mut next_probe = Instant::now() + PROBE;
        // What was lacking may be there by then.
        let retry = Instant::now() + watch.rescan_every;
        loop {
            let period = match all.armed {
                Ok(_) => watch.rescan_every,
                Err(_) => watch.poll_interval,
            };
            let heard = tokio::select! {
                Some(path) = arrived.recv() => {
                    let mut paths = BTreeSet::from([path]);
                    while let Ok(path) = arrived.try_recv() {
                        paths.insert(path);
                    }
                    self.list_parts(paths, &mut all).await
                }
                () = unsure.wake.notified() => match unsure.take() {
                    Some(why) => {
                        warn!(mapping = %name, "changes may have been missed: {why}; listing the folder");
                        self.list_all(self.ticks.next(), Pace::Fast, &mut all).await
                    }
                    None => true,
                },
                () = self.rescan.notified() => {
                    info!(mapping = %name, "listing the folder, as asked");
                    self.list_all(self.ticks.next(), Pace::Fast, &mut all).await
                }
                () = sleep_until(last_listing + period) => {
                    debug!(mapping = %name, "listing the folder, as it is time");
                    let heard = self.list_all(self.ticks.next(), Pace::Gentle, &mut all).await;
                    last_listing = Instant::now();
                    heard
                }
                () = sleep_until(next_probe) => {
                    match self.identity().await {
                        Ok(now) if now == identity => {}
                        Err(error) if error.kind() != ErrorKind::NotFound => {
                            warn!(mapping = %name, "{folder} can be listed no longer: {error}");
                            return Ended::Anew;
                        }
                        _ => {
                            warn!(mapping = %name, "{folder} was removed or replaced");
                            return Ended::Anew;
                        }
                    }
                    let heard = self.list_gaps(&mut all).await;
                    next_probe = Instant::now() + PROBE;
                    heard
                }
            };
            if !heard {
                return Ended::Unheard;
            }
            if matches!(&all.armed, Err(unarmed) if unarmed.fault) && Instant::now() >= retry {
                return Ended::Anew;
            }
        }
    }

    /// Gets ready to set the kernel's watches, or says why the folder is listed instead.
    async fn arm(
        &self,
        arrivals: Sender<RelPath>,
        unsure: &Arc<Unsure>,
    ) -> Result<Arc<Watches>, Unarmed> {
        let sink = Sink {
            route: Arc::clone(&self.route),
            findings: self.findings.clone(),
            arrivals,
            ticks: Arc::clone(&self.ticks),
            unsure: Arc::clone(unsure),
        };
        let (state_dir, hearing) = (self.state_dir.clone(), Arc::clone(&self.hearing));
        self.patiently("looking at its file system", move |_| {
            let mapping = &sink.route.mapping;
            let silent = match mapping.watch.backend {
                Backend::Poll => Some("the configuration asks for it".to_owned()),
                Backend::Auto => silent_file_system(&mapping.folder),
                Backend::Native => None,
            };
            match silent {
                Some(why) => Err(Unarmed {
                    why,
                    fault: false,
                    news: true,
                }),
                None => Watches::begin(sink, &state_dir)
                    .map(Arc::new)
                    .inspect(|watches| hearing.set(watches))
                    .map_err(Unarmed::fault),
            }
        })
        .await
    }

    /// Lists what lies below some paths, which may be single files; whether somebody listens.
    async fn list_parts(&self, paths: BTreeSet<RelPath>, all: &mut Whole<'_>) -> bool {
        let watches = all.armed.as_ref().ok().map(Arc::clone);
        let (route, listings, tick) = (
            Arc::clone(&self.route),
            self.listings.clone(),
            self.ticks.next(),
        );
        let listed = self
            .patiently("listing a part of it", move |beats| {
                let mut listed: Vec<(RelPath, Gaps)> = Vec::new();
                for path in paths {
                    let covered = listed
                        .last()
                        .is_some_and(|(above, _)| path.as_path().starts_with(above.as_path()));
                    let whole = route.mapping.folder.join(path.as_path());
                    // A new path is most often a single file, which has had its own event.
                    let single = || whole.symlink_metadata().is_ok_and(|meta| !meta.is_dir());
                    if !covered && !single() {
                        let desk = Desk {
                            route: &route,
                            listings: &listings,
                            beats,
                            tick,
                            pace: Pace::Fast,
                        };
                        let Listing { gaps, .. } = desk.list(Some(&path), watches.as_deref())?;
                        listed.push((path, gaps));
                    }
                    beats.beat();
                }
                Some(listed)
            })
            .await;
        let Some(listed) = listed.filter(|_| !self.listings.is_closed()) else {
            return false;
        };
        for (path, gaps) in listed {
            let part = self.route.mapping.folder.join(path.as_path());
            all.gaps.renew(&part, gaps);
        }
        self.tell_state(all);
        true
    }

    /// Lists what could not be listed before; whether somebody listens.
    async fn list_gaps(&self, all: &mut Whole<'_>) -> bool {
        // Without watches all is listed soon anyway.
        if all.armed.is_err() {
            return true;
        }
        let below = |path: &Path| {
            let path = path.strip_prefix(&self.route.mapping.folder).ok()?;
            RelPath::new(path)
        };
        let gaps: BTreeSet<_> = all.gaps.passing().filter_map(below).collect();
        gaps.is_empty() || self.list_parts(gaps, all).await
    }

    /// Lists the whole folder; whether somebody listens.
    async fn list_all(&self, tick: u64, pace: Pace, all: &mut Whole<'_>) -> bool {
        let watches = all.armed.as_ref().ok().map(Arc::clone);
        let (route, listings) = (Arc::clone(&self.route), self.listings.clone());
        let listing = self
            .patiently("listing it", move |beats| {
                let desk = Desk {
                    route: &route,
                    listings: &listings,
                    beats,
                    tick,
                    pace,
                };
                desk.list(None, watches.as_deref())
            })
            .await;
        let Some(Listing { met, gaps }) = listing.filter(|_| !self.listings.is_closed()) else {
            return false;
        };
        all.gaps = gaps;
        self.tell_state(all);
        if !met.is_empty() {
            all.memory.inhabited = Some(all.identity);
        }
        // It may have become another folder in the middle of the listing.
        let believed = all.memory.inhabited == Some(all.identity)
            && self.identity().await.ok() == Some(all.identity);
        let listed = Finding::Listed {
            route: Arc::clone(&self.route),
            met: believed.then_some(met),
        };
        waiting(self.listings.send(listed)).await.is_ok()
    }

    /// Tells what could not be listed and what watches are lacking, once, and where the folder stands.
    fn tell_state(&self, all: &mut Whole<'_>) {
        let name = &self.route.mapping.name;
        let lacking = all
            .armed
            .as_ref()
            .ok()
            .and_then(|watches| watches.lacking());
        if let Some(why) = lacking {
            all.armed = Err(Unarmed::fault(why));
        }
        match &mut all.armed {
            Ok(_) => all.memory.fault = None,
            Err(Unarmed {
                why,
                fault: true,
                news,
            }) if all.memory.fault.as_ref() != Some(why) => {
                warn!(mapping = %name, "watching by listing instead: {why}");
                all.memory.fault = Some(why.clone());
                *news = true;
            }
            Err(_) => {}
        }
        let unseen = all.gaps.told();
        if unseen != all.memory.unseen {
            if let Some(unseen) = &unseen {
                warn!(mapping = %name, "not all of the folder is seen: {unseen}");
            } else {
                info!(mapping = %name, "all of the folder is seen again");
            }
        }
        all.memory.unseen.clone_from(&unseen);
        self.state.send_replace(match &all.armed {
            Ok(_) => FolderState::Native { unseen },
            Err(Unarmed { why, .. }) => {
                let why = why.clone();
                FolderState::Poll { why, unseen }
            }
        });
    }
}

/// Where one listing is done.
struct Desk<'a> {
    route: &'a Arc<Route>,
    listings: &'a Sender<Finding>,
    beats: &'a Beats,
    tick: u64,
    pace: Pace,
}

impl Desk<'_> {
    /// Lists the folder, or what lies below it at a path, and sets watches on the way. Blocks. `None` when
    /// nobody listens any more.
    fn list(&self, below: Option<&RelPath>, watches: Option<&Watches>) -> Option<Listing> {
        let mut begun = Instant::now();
        let entering = |folder: &Path| {
            if let Some(watches) = watches {
                watches.add(folder);
            }
        };
        walk(self.route, below, entering, |files| {
            let rest = match self.pace {
                Pace::First | Pace::Fast => Duration::ZERO,
                Pace::Gentle => (begun.elapsed() * REST).min(REST_MOST),
            };
            let heard = self.beats.elsewhere(|| {
                if !rest.is_zero() {
                    // Not by the runtime's clock, which is gone when the daemon ends meanwhile.
                    std::thread::park_timeout(rest);
                }
                let found = Finding::Found {
                    route: Arc::clone(self.route),
                    files,
                    tick: self.tick,
                    first: self.pace == Pace::First,
                };
                self.listings.blocking_send(found).is_ok()
            });
            begun = Instant::now();
            heard
        })
    }
}

/// Why the kernel does not watch.
struct Unarmed {
    why: String,
    /// Whether it should have.
    fault: bool,
    /// Not told before.
    news: bool,
}

impl Unarmed {
    fn fault(why: String) -> Self {
        Self {
            why,
            fault: true,
            news: false,
        }
    }
}

/// The folder that is watched now.
struct Whole<'a> {
    identity: Identity,
    memory: &'a mut Memory,
    armed: Result<Arc<Watches>, Unarmed>,
    /// What could not be listed.
    gaps: Gaps,
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::time::timeout;

    use super::*;
    use crate::placement::RuleSet;
    use crate::placement::fixture::{cell, mapping};

    const LIMIT: Duration = Duration::from_mins(1);

    /// A folder that is watched, and what is told of it.
    struct Case {
        folder: PathBuf,
        found: mpsc::Receiver<Finding>,
        listed: mpsc::Receiver<Finding>,
        _home: tempfile::TempDir,
        _stop: tokio_util::sync::DropGuard,
    }

    impl Case {
        /// Watched and listed once; at most `room` candidates wait to be taken.
        async fn watched(room: usize) -> Self {
            let home = tempfile::tempdir().unwrap();
            let folder = home.path().join("in");
            fs::create_dir(&folder).unwrap();
            let mut mapping = mapping(&[], vec![cell("{cell}.png", "{cell}")]);
            mapping.folder.clone_from(&folder);
            let route = Route {
                rules: RuleSet::compile(&mapping).unwrap(),
                mapping: Arc::new(mapping),
            };
            let (findings, found) = mpsc::channel(room);
            let (listings, listed) = mpsc::channel(4);
            let (state, states) = watch::channel(FolderState::Starting);
            let watched = Watched {
                route: Arc::new(route),
                findings,
                listings,
                ticks: Arc::default(),
                state,
                rescan: Arc::default(),
                hearing: Arc::default(),
                state_dir: home.path().to_owned(),
            };
            let stop = CancellationToken::new();
            tokio::spawn(run(watched, stop.clone()));
            let mut case = Self {
                folder,
                found,
                listed,
                _home: home,
                _stop: stop.drop_guard(),
            };
            while !matches!(case.listed.recv().await, Some(Finding::Listed { .. })) {}
            assert_eq!(*states.borrow(), FolderState::Native { unseen: None });
            case
        }

        /// Takes what is told until it names so many files, or for a minute.
        async fn told(&mut self, files: usize) -> BTreeSet<PathBuf> {
            let mut told = BTreeSet::new();
            let all = async {
                while told.len() < files {
                    let finding = tokio::select! {
                        Some(finding) = self.found.recv() => finding,
                        Some(finding) = self.listed.recv() => finding,
                    };
                    let paths = match finding {
                        Finding::Candidate(candidate) => vec![candidate.path],
                        Finding::Found { files, .. } => {
                            files.into_iter().map(|file| file.path).collect()
                        }
                        Finding::Listed { .. } => Vec::new(),
                    };
                    let paths = paths.iter().map(RelPath::as_path);
                    let pictures = paths.filter(|path| path.extension().is_some());
                    told.extend(pictures.map(Path::to_owned));
                }
            };
            let _ = timeout(LIMIT, all).await;
            told
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn more_changes_than_can_be_told_one_by_one_are_told_all_the_same() {
        const FILES: usize = 5000;
        let mut case = Case::watched(1).await;
        for number in 0..FILES {
            fs::write(case.folder.join(format!("{number}.png")), "x").unwrap();
        }
        assert_eq!(case.told(FILES).await.len(), FILES);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_written_into_a_new_folder_at_once_is_told() {
        const FOLDERS: usize = 1000;
        let mut case = Case::watched(4096).await;
        for number in 0..FOLDERS {
            let folder = case.folder.join(format!("{number}/deep/er"));
            fs::create_dir_all(&folder).unwrap();
            for (name, above) in [("a", 0), ("b", 1), ("c", 2)] {
                let folder = folder.ancestors().nth(above).unwrap();
                fs::write(folder.join(format!("{name}.png")), "x").unwrap();
            }
        }
        assert_eq!(case.told(3 * FOLDERS).await.len(), 3 * FOLDERS);
    }
}
