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
use super::native::{Sink, Unsure, Watches, arm};
use super::patience::{Beats, patiently};
use super::scan::{Listing, walk};
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
        let armed = self.arm(arrivals, &unsure).await;
        let mut news = true;
        let (mode, state) = match &armed {
            Ok(_) => {
                memory.fault = None;
                ("natively", FolderState::Native { unseen: None })
            }
            Err(unarmed) => {
                let why = unarmed.why.clone();
                if unarmed.fault {
                    news = memory.fault.as_ref() != Some(&why);
                    if news {
                        warn!(mapping = %name, "watching by listing instead: {why}");
                    }
                    memory.fault = Some(why.clone());
                }
                ("by listing it", FolderState::Poll { why, unseen: None })
            }
        };
        // What was lacking may be there by then.
        let retry = Instant::now() + watch.rescan_every;
        let retries = matches!(&armed, Err(unarmed) if unarmed.fault);
        let mut all = Whole {
            identity,
            memory,
            state,
        };
        if !self.list_all(tick, Pace::Fast, &mut all).await {
            return Ended::Unheard;
        }
        if news {
            info!(mapping = %name, "watching {} {mode}", self.route.mapping.folder.display());
        }

        let mut again: VecDeque<(Instant, RelPath)> = VecDeque::new();
        let mut last_listing = Instant::now();
        let mut next_probe = Instant::now() + PROBE;
        loop {
            // What could not be listed is not watched either.
            let gap = all.memory.unseen.is_some();
            let period = if armed.is_ok() && !gap {
                watch.rescan_every
            } else {
                watch.poll_interval
            };
            let next_again = again.front().map_or(next_probe, |(at, _)| *at);
            let heard = tokio::select! {
                Some(path) = arrived.recv() => {
                    self.list_below(path, &mut arrived, &mut again, &mut all).await
                }
                () = sleep_until(next_again), if !again.is_empty() => match again.pop_front() {
                    Some((_, path)) => self.list_part(path, &mut all).await,
                    None => true,
                },
                () = unsure.wake.notified() => match unsure.take() {
                    Some(why) if unsure.blind() => {
                        info!(mapping = %name, "setting all watches again: {why}");
                        return Ended::Anew;
                    }
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
                    if self.identity().await.ok() != Some(identity) {
                        warn!(mapping = %name, "{} was removed or replaced",
                            self.route.mapping.folder.display());
                        return Ended::Anew;
                    }
                    next_probe = Instant::now() + PROBE;
                    true
                }
            };
            if !heard {
                return Ended::Unheard;
            }
            let closed = gap && all.memory.unseen.is_none();
            if (retries && Instant::now() >= retry) || (closed && armed.is_ok()) {
                return Ended::Anew;
            }
        }
    }

    /// Sets the kernel's watches, or says why the folder is listed instead.
    async fn arm(
        &self,
        arrivals: Sender<RelPath>,
        unsure: &Arc<Unsure>,
    ) -> Result<Watches, Unarmed> {
        let sink = Sink {
            route: Arc::clone(&self.route),
            findings: self.findings.clone(),
            arrivals,
            ticks: Arc::clone(&self.ticks),
            unsure: Arc::clone(unsure),
        };
        self.patiently("setting watches", move |_| {
            let mapping = &sink.route.mapping;
            let silent = match mapping.watch.backend {
                Backend::Poll => Some("the configuration asks for it".to_owned()),
                Backend::Auto => silent_file_system(&mapping.folder),
                Backend::Native => None,
            };
            match silent {
                Some(why) => Err(Unarmed { why, fault: false }),
                None => arm(sink).map_err(|why| Unarmed { why, fault: true }),
            }
        })
        .await
    }

    /// Lists new folders that arrived together, and has them listed again.
    async fn list_below(
        &self,
        first: RelPath,
        arrived: &mut Receiver<RelPath>,
        again: &mut VecDeque<(Instant, RelPath)>,
        all: &mut Whole<'_>,
    ) -> bool {
        let mut path = first;
        loop {
            let heard = self.list_part(path.clone(), all).await;
            again.push_back((Instant::now() + LIST_AGAIN, path));
            match arrived.try_recv() {
                Ok(next) if heard => path = next,
                _ => return heard,
            }
        }
    }

    /// Lists what lies below a path; whether somebody listens.
    async fn list_part(&self, path: RelPath, all: &mut Whole<'_>) -> bool {
        match self.list(Some(path), self.ticks.next(), Pace::Fast).await {
            // Met or not, the rest of the folder is as it was.
            Some(listing) if listing.unseen.is_some() && all.memory.unseen.is_none() => {
                self.tell_unseen(listing.unseen, all);
                true
            }
            listing => listing.is_some(),
        }
    }

    /// Lists the whole folder; whether somebody listens.
    async fn list_all(&self, tick: u64, pace: Pace, all: &mut Whole<'_>) -> bool {
        let Some(Listing { met, unseen }) = self.list(None, tick, pace).await else {
            return false;
        };
        self.tell_unseen(unseen, all);
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

    /// Tells what could not be listed, once, and where the folder stands.
    fn tell_unseen(&self, now: Option<String>, all: &mut Whole<'_>) {
        let name = &self.route.mapping.name;
        if now != all.memory.unseen {
            if let Some(unseen) = &now {
                warn!(mapping = %name, "not all of the folder is seen: {unseen}");
            } else {
                info!(mapping = %name, "all of the folder is seen again");
            }
        }
        all.memory.unseen.clone_from(&now);
        let mut state = all.state.clone();
        if let FolderState::Native { unseen } | FolderState::Poll { unseen, .. } = &mut state {
            *unseen = now;
        }
        self.state.send_replace(state);
    }

    /// Lists the folder, or what lies below it at a path. `None` when nobody listens any more.
    async fn list(&self, below: Option<RelPath>, tick: u64, pace: Pace) -> Option<Listing> {
        let (route, listings) = (Arc::clone(&self.route), self.listings.clone());
        let listing = self
            .patiently("listing it", move |beats| {
                // A new path is most often a single file, which has had its own event.
                let single = below.as_ref().is_some_and(|below| {
                    let path = route.mapping.folder.join(below.as_path());
                    path.symlink_metadata().is_ok_and(|meta| !meta.is_dir())
                });
                if single {
                    return Some(Listing::default());
                }
                let mut begun = Instant::now();
                walk(&route, below.as_ref(), |files| {
                    let rest = match pace {
                        Pace::Fast => Duration::ZERO,
                        Pace::Gentle => (begun.elapsed() * REST).min(REST_MOST),
                    };
                    let heard = beats.elsewhere(|| {
                        if !rest.is_zero() {
                            // Not by the runtime's clock, which is gone when the daemon ends meanwhile.
                            std::thread::park_timeout(rest);
                        }
                        let found = Finding::Found {
                            route: Arc::clone(&route),
                            files,
                            tick,
                        };
                        listings.blocking_send(found).is_ok()
                    });
                    begun = Instant::now();
                    heard
                })
            })
            .await;
        listing.filter(|_| !self.listings.is_closed())
    }
}

/// Why the kernel does not watch.
struct Unarmed {
    why: String,
    /// Whether it should have.
    fault: bool,
}

/// What listings of the whole folder change.
struct Whole<'a> {
    identity: Identity,
    memory: &'a mut Memory,
    /// But for what is not seen.
    state: FolderState,
}
