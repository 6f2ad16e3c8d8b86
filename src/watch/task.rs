//! The life of one mapped folder: waited for, watched, listed, and watched again when it was replaced.
//!
//! Order at every arming: set watches, then list, so that nothing falls between.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::candidate::{Finding, Ticks};
use super::folder::{FolderState, Identity, identify, silent_file_system};
use super::native::{Sink, Unsure, arm};
use super::scan::walk;
use crate::blocking::off_runtime;
use crate::config::Backend;
use crate::placement::{RelPath, Route};
use crate::pulse::{waiting, within};

/// How often the folder itself is looked at: removed, replaced, mounted over.
const PROBE: Duration = Duration::from_secs(2);
/// A new folder is listed at once and again after this: files written while its watch was being set
/// fire no event (notify-rs/notify#124).
const LIST_AGAIN: Duration = Duration::from_millis(500);
/// New folders that may wait for their listing; beyond it the whole tree is listed.
const ARRIVALS: usize = 1024;

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
}

/// Watches until `stop`.
pub async fn run(watched: Watched, stop: CancellationToken) {
    // It comes round at every probe; a folder that hangs is waited for.
    let live = within(Duration::ZERO, watched.live());
    let _ = stop.run_until_cancelled(live).await;
}

/// Why a folder's watching has to begin anew.
enum Ended {
    /// The folder is another one, or none, or new parts of it cannot be watched.
    Replaced,
    /// Nobody listens any more.
    Unheard,
}

impl Watched {
    async fn live(self) {
        let mut told_missing = false;
        loop {
            match self.identity().await {
                Ok(identity) => {
                    told_missing = false;
                    if let Ended::Unheard = self.attend(identity).await {
                        return;
                    }
                }
                Err(error) => {
                    let folder = self.route.mapping.folder.display();
                    if !told_missing {
                        warn!(mapping = %self.route.mapping.name,
                            "cannot list {folder}: {error}; waiting for it");
                        told_missing = true;
                        // Whoever waits for the first listing need not wait for a folder to appear.
                        let none = Finding::Listed {
                            route: Arc::clone(&self.route),
                            whole: false,
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
        off_runtime(move || identify(&route.mapping.folder)).await
    }

    /// Watches the folder that is there now until it is another one.
    async fn attend(&self, identity: Identity) -> Ended {
        let watch = self.route.mapping.watch;
        let name = &self.route.mapping.name;
        let (arrivals, mut arrived) = mpsc::channel(ARRIVALS);
        let unsure = Arc::new(Unsure::default());
        // Before any event: what the listing finds was there earlier than what the watches tell.
        let tick = self.ticks.next();
        let armed = self.arm(arrivals, &unsure).await;
        let (mode, state) = match &armed {
            Ok(_) => ("natively", FolderState::Native),
            Err(why) => ("by listing it", FolderState::Poll { why: why.clone() }),
        };
        let period = if armed.is_ok() {
            watch.rescan_every
        } else {
            watch.poll_interval
        };
        if !self.list_all(tick).await {
            return Ended::Unheard;
        }
        info!(mapping = %name, "watching {} {mode}", self.route.mapping.folder.display());
        self.state.send_replace(state);

        let mut again: VecDeque<(Instant, RelPath)> = VecDeque::new();
        let mut next_listing = Instant::now() + period;
        let mut next_probe = Instant::now() + PROBE;
        loop {
            let next_again = again.front().map_or(next_probe, |(at, _)| *at);
            let heard = tokio::select! {
                Some(path) = arrived.recv() => {
                    let heard = self.list_below(path.clone(), &mut arrived, &mut again).await;
                    again.push_back((Instant::now() + LIST_AGAIN, path));
                    heard
                }
                () = sleep_until(next_again), if !again.is_empty() => match again.pop_front() {
                    Some((_, path)) => self.list(Some(path), self.ticks.next()).await.is_some(),
                    None => true,
                },
                () = unsure.wake.notified() => match unsure.take() {
                    Some(why) if unsure.blind() => {
                        warn!(mapping = %name, "{why}");
                        return Ended::Replaced;
                    }
                    Some(why) => {
                        warn!(mapping = %name, "changes may have been missed: {why}; listing the folder");
                        self.list_all(self.ticks.next()).await
                    }
                    None => true,
                },
                () = self.rescan.notified() => {
                    info!(mapping = %name, "listing the folder, as asked");
                    self.list_all(self.ticks.next()).await
                }
                () = sleep_until(next_listing) => {
                    debug!(mapping = %name, "listing the folder, as it is time");
                    let heard = self.list_all(self.ticks.next()).await;
                    next_listing = Instant::now() + period;
                    heard
                }
                () = sleep_until(next_probe) => {
                    if self.identity().await.ok() != Some(identity) {
                        warn!(mapping = %name, "{} was removed or replaced",
                            self.route.mapping.folder.display());
                        return Ended::Replaced;
                    }
                    next_probe = Instant::now() + PROBE;
                    true
                }
            };
            if !heard {
                return Ended::Unheard;
            }
        }
    }

    /// Sets the kernel's watches, or says why the folder is listed instead.
    async fn arm(
        &self,
        arrivals: Sender<RelPath>,
        unsure: &Arc<Unsure>,
    ) -> Result<notify::RecommendedWatcher, String> {
        let sink = Sink {
            route: Arc::clone(&self.route),
            findings: self.findings.clone(),
            arrivals,
            ticks: Arc::clone(&self.ticks),
            unsure: Arc::clone(unsure),
        };
        let armed = off_runtime(move || {
            let mapping = &sink.route.mapping;
            match (mapping.watch.backend, silent_file_system(&mapping.folder)) {
                (Backend::Poll, _) => Err((false, "the configuration asks for it".to_owned())),
                (Backend::Auto, Some(kind)) => {
                    Err((false, format!("{kind} does not tell of all changes")))
                }
                (Backend::Native, _) | (Backend::Auto, None) => {
                    arm(sink).map_err(|why| (true, why))
                }
            }
        })
        .await;
        armed.map_err(|(fault, why)| {
            if fault {
                warn!(mapping = %self.route.mapping.name, "watching by listing instead: {why}");
            }
            why
        })
    }

    /// Lists new folders that arrived together.
    async fn list_below(
        &self,
        first: RelPath,
        arrived: &mut Receiver<RelPath>,
        again: &mut VecDeque<(Instant, RelPath)>,
    ) -> bool {
        let mut path = first;
        loop {
            if self.list(Some(path), self.ticks.next()).await.is_none() {
                return false;
            }
            match arrived.try_recv() {
                Ok(next) => {
                    again.push_back((Instant::now() + LIST_AGAIN, next.clone()));
                    path = next;
                }
                Err(_) => return true,
            }
        }
    }

    async fn list_all(&self, tick: u64) -> bool {
        let Some(whole) = self.list(None, tick).await else {
            return false;
        };
        let listed = Finding::Listed {
            route: Arc::clone(&self.route),
            whole,
        };
        waiting(self.listings.send(listed)).await.is_ok()
    }

    /// Lists the folder, or what lies below it at a path. `None` when nobody listens any more.
    async fn list(&self, below: Option<RelPath>, tick: u64) -> Option<bool> {
        let (route, listings) = (Arc::clone(&self.route), self.listings.clone());
        let whole = off_runtime(move || {
            // A new path is most often a single file, which has had its own event.
            let single = below.as_ref().is_some_and(|below| {
                let path = route.mapping.folder.join(below.as_path());
                path.symlink_metadata().is_ok_and(|meta| !meta.is_dir())
            });
            single
                || walk(&route, below.as_ref(), |files| {
                    let found = Finding::Found {
                        route: Arc::clone(&route),
                        files,
                        tick,
                    };
                    listings.blocking_send(found).is_ok()
                })
        })
        .await;
        (!self.listings.is_closed()).then_some(whole)
    }
}
