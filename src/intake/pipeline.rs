//! The task between watcher and store: settles candidates, has a few of them read at a time, and
//! records what each means. Nothing here waits for the network.
//!
//! Bounded: [`WAITING_MOST`] paths wait, or twice as many; beyond that findings stay in their channel, listings pause and
//! events mark their folder for another listing. A folder that hangs keeps nobody waiting: what is found in
//! it is not kept, and it is listed when it answers again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, histogram};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::copies::Copies;
use super::readers::{Beat, Change};
use super::settle::{Due, Settle};
use crate::config::MappingName;
use crate::placement::{RelPath, Route, Routes};
use crate::pulse::{waiting, within};
use crate::store::{FileKey, Store, StoreError};
use crate::watch::{Candidate, Finding, Hearing, Hint, Met, Ticks};

mod listing;
mod look;
mod offer;
mod refusal;

use listing::{gone, sift};
use look::look_and_record;

/// Larger files, in bytes, take more than a millisecond or two to read, and leave a reader for smaller ones.
const LARGE_BYTES: u64 = 1 << 20;
/// Paths that may wait for a look.
const WAITING_MOST: usize = 8192;
/// Beyond so many paths what has been told waits in its channel, also when somebody waits for it.
const DRAINED_MOST: usize = 2 * WAITING_MOST;
/// When a file is looked at again whose meaning depends on another one's look.
const ASKED_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// Batches of listings that are compared with the store at a time.
const SIFTING_MOST: u32 = 4;

/// How many listings of each mapping have been taken in, with everything they found.
pub type Digested = BTreeMap<MappingName, u64>;

/// Mappings whose files cannot be read, though their folders may well be listed, and what hangs.
pub type Unread = BTreeMap<MappingName, String>;

/// What the task needs.
#[derive(Debug)]
pub struct Intake {
    /// The store.
    pub store: Store,
    /// The configured mappings.
    pub routes: Routes,
    /// Copies of files that do not rest.
    pub copies: Copies,
    /// The run's ticks.
    pub ticks: Arc<Ticks>,
    /// Candidates from the watchers.
    pub findings: mpsc::Receiver<Finding>,
    /// Listings from the watchers; each message is large, so few may wait.
    pub listings: mpsc::Receiver<Finding>,
    /// Told after each listing, and when nobody should wait for one that hangs.
    pub digested: watch::Sender<Digested>,
    /// Told of folders whose files cannot be read.
    pub unread: watch::Sender<Unread>,
    /// Woken to have a folder listed that hung.
    pub rescan: BTreeMap<MappingName, Arc<Notify>>,
    /// To know what the kernel has told of a folder.
    pub hearing: BTreeMap<MappingName, Arc<Hearing>>,
}

/// Takes findings until `stop`; looks that are under way are finished.
///
/// # Errors
/// When the store fails.
pub async fn run(intake: Intake, stop: CancellationToken) -> Result<(), StoreError> {
    within(Duration::ZERO, attend(intake, stop)).await
}

async fn attend(intake: Intake, stop: CancellationToken) -> Result<(), StoreError> {
    // Two a core, as they wait for disk and store in turn: 3,000 pictures of 200 KB on two cores took 2.1 s with two,
    // 1.7 s with four, 2.3 s with eight.
    let each = std::thread::available_parallelism().map_or(2, |cores| (2 * cores.get()).min(4));
    let Intake {
        store,
        routes,
        copies,
        ticks,
        mut findings,
        mut listings,
        digested,
        unread,
        rescan,
        hearing,
    } = intake;
    let mut task = Task {
        context: Context {
            store,
            routes,
            copies,
            hearing: Arc::new(hearing),
        },
        ticks,
        digested,
        unread,
        rescan,
        settle: Settle::default(),
        work: JoinSet::new(),
        missed: BTreeSet::new(),
        sifting: BTreeMap::new(),
        listings: BTreeMap::new(),
    };
    loop {
        let now = Instant::now();
        for change in task.settle.judge(now) {
            task.take_change(change);
        }
        while let Some((due, beat)) = task.settle.pop(now, each) {
            task.start_look(due, beat);
        }
        task.tell_digested();
        let full = task.settle.held() >= WAITING_MOST;
        let sifting = task.sifting.values().sum::<u32>() >= SIFTING_MOST;
        let wake = task.settle.next_wake(each);
        let woken = waiting(async {
            tokio::select! {
                () = stop.cancelled() => Woken::Stop,
                Some(finding) = findings.recv(), if !full => Woken::Finding(finding),
                Some(finding) = listings.recv(), if !full && !sifting => Woken::Finding(finding),
                Some(done) = task.work.join_next() => Woken::Done(done),
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => Woken::Due,
            }
        });
        match woken.await {
            Woken::Stop => break,
            Woken::Finding(finding) => task.take(finding),
            Woken::Done(done) => {
                // What was told before it ended comes first: who finds a file by listing waits for that. A flood
                // of changes takes no more room for it, and then the listing is believed.
                for _ in 0..findings.len() {
                    if task.settle.held() >= DRAINED_MOST {
                        break;
                    }
                    findings
                        .try_recv()
                        .into_iter()
                        .for_each(|finding| task.take(finding));
                }
                task.finish(done)?;
            }
            Woken::Due => {}
        }
    }
    // Whoever waits to hand over is let go before the last looks are waited for.
    drop((findings, listings));
    while let Some(done) = waiting(task.work.join_next()).await {
        task.finish(done)?;
    }
    Ok(())
}

/// How work on a thread ended.
type Done = Result<Result<Work, StoreError>, tokio::task::JoinError>;

/// What there is to do.
enum Woken {
    Stop,
    Finding(Finding),
    Done(Done),
    Due,
}

/// What looks need.
#[derive(Clone)]
struct Context {
    store: Store,
    routes: Routes,
    copies: Copies,
    hearing: Arc<BTreeMap<MappingName, Arc<Hearing>>>,
}

struct Task {
    context: Context,
    ticks: Arc<Ticks>,
    digested: watch::Sender<Digested>,
    unread: watch::Sender<Unread>,
    rescan: BTreeMap<MappingName, Arc<Notify>>,
    settle: Settle,
    work: JoinSet<Result<Work, StoreError>>,
    /// Mappings of which something was not kept.
    missed: BTreeSet<MappingName>,
    /// Batches of listings being compared with the store, by mapping.
    sifting: BTreeMap<MappingName, u32>,
    /// How far listings are.
    listings: BTreeMap<MappingName, Listings>,
}

/// Listings of one mapping, numbered from 0. What is found belongs to the one that ends next.
struct Listings {
    route: Arc<Route>,
    /// How many have ended.
    ended: u64,
    /// Of how many of those all that was found has been looked at.
    over: u64,
    /// What the last of them met of which that is known.
    met: Option<Met>,
}

/// What a thread did.
enum Work {
    /// Compared a batch of a listing; these differ from what is known.
    Sifted {
        mapping: MappingName,
        differ: Vec<Due>,
    },
    /// Looked at one file.
    Looked { key: FileKey, next: Next },
    /// Found known files that are no longer there.
    Pruned {
        route: Arc<Route>,
        gone: Vec<RelPath>,
    },
}

/// What a look leads to.
enum Next {
    /// Nothing.
    Nothing,
    /// The same file again, after a quiet time.
    Again(Box<Due>),
    /// The same file again at once, unless an event tells of it: what the kernel had to tell is told now.
    Heard(Box<Due>),
    /// It was not read: it is large.
    Large(Box<Due>),
    /// Other files that were for the slot of one that is gone.
    Others(Vec<Due>),
    /// The same file again when these, which its meaning depends on, have been looked at.
    After(Vec<Due>, Box<Due>),
}

impl Task {
    fn take(&mut self, finding: Finding) {
        if let Finding::Candidate(Candidate { route, .. }) | Finding::Found { route, .. } = &finding
        {
            let name = &route.mapping.name;
            if self.settle.is_stuck(name) {
                self.missed.insert(name.clone());
                return;
            }
        }
        match finding {
            Finding::Candidate(candidate) => self.settle.observe(candidate, Instant::now()),
            Finding::Found {
                route,
                files,
                tick,
                first,
            } => {
                let mapping = route.mapping.name.clone();
                let listing = self.listings_of(&route).ended;
                *self.sifting.entry(mapping.clone()).or_default() += 1;
                let context = self.context.clone();
                self.work.spawn_blocking(move || {
                    let differ = sift(&context.store, &route, files, (tick, first), listing)?;
                    if !differ.is_empty() {
                        // When that cannot be known, the listing is believed.
                        let _ = context.catch_up(&mapping);
                    }
                    Ok(Work::Sifted { mapping, differ })
                });
            }
            Finding::Listed { route, met } => {
                let listings = self.listings_of(&route);
                listings.ended += 1;
                listings.met = met.or(listings.met.take());
            }
        }
    }

    fn listings_of(&mut self, route: &Arc<Route>) -> &mut Listings {
        let name = route.mapping.name.clone();
        self.listings.entry(name).or_insert_with(|| Listings {
            route: Arc::clone(route),
            ended: 0,
            over: 0,
            met: None,
        })
    }

    /// A folder hangs, or goes on.
    fn take_change(&mut self, change: Change) {
        match change {
            Change::Stuck(FileKey { mapping, path }) => {
                let folder = self.context.routes.of(&mapping);
                let folder = folder.map(|route| route.mapping.folder.display().to_string());
                warn!(%mapping, "{} does not answer: reading {path} hangs; waiting for it",
                    folder.unwrap_or_default());
                self.unread.send_modify(|unread| {
                    unread.insert(mapping.clone(), format!("reading {path} hangs"));
                });
                self.missed.insert(mapping);
            }
            Change::Moves(mapping) => {
                info!(%mapping, "files can be read again");
                self.unread.send_modify(|unread| {
                    unread.remove(&mapping);
                });
                if self.missed.remove(&mapping)
                    && let Some(rescan) = self.rescan.get(&mapping)
                {
                    rescan.notify_one();
                }
            }
        }
    }

    fn start_look(&mut self, due: Due, beat: Beat) {
        let context = self.context.clone();
        self.work.spawn_blocking(move || {
            let begun = Instant::now();
            let next = look_and_record(&context, &due, &beat)?;
            histogram!("pixcell_stage_seconds", "stage" => "look").record(begun.elapsed());
            Ok(Work::Looked {
                key: due.key(),
                next,
            })
        });
    }

    fn finish(&mut self, done: Done) -> Result<(), StoreError> {
        let now = Instant::now();
        let done = match done {
            Ok(done) => done?,
            Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
            Err(_) => return Ok(()),
        };
        match done {
            Work::Sifted { mapping, differ } => {
                for due in differ {
                    let age = due
                        .origin
                        .found()
                        .map_or(Duration::ZERO, |found| found.age());
                    self.settle.observe_found(due, age, now);
                }
                if let Some(batches) = self.sifting.get_mut(&mapping) {
                    *batches = batches.saturating_sub(1);
                }
            }
            Work::Looked { key, next } => {
                self.settle.done(&key);
                if !matches!(next, Next::Large(_) | Next::Heard(_)) {
                    let mapping = key.mapping.to_string();
                    counter!("pixcell_candidates_total", "mapping" => mapping).increment(1);
                }
                match next {
                    Next::Nothing => {}
                    Next::Again(due) => self.settle.again(*due, now),
                    Next::Heard(due) => self.settle.again_at_once(*due, now),
                    Next::Large(due) => self.settle.again_as_large(*due, now),
                    Next::Others(others) => self.look_at(others, now),
                    Next::After(others, due) => {
                        self.look_at(others, now);
                        self.settle.again_after(*due, ASKED_AGAIN_AFTER, now);
                    }
                }
            }
            Work::Pruned { route, gone } => {
                for path in gone {
                    let (route, tick) = (Arc::clone(&route), self.ticks.next());
                    let candidate = Candidate {
                        route,
                        path,
                        hint: Hint::Gone,
                        tick,
                    };
                    self.settle.observe(candidate, now);
                }
            }
        }
        Ok(())
    }

    fn look_at(&mut self, others: Vec<Due>, now: Instant) {
        for due in others {
            self.settle.observe_found(due, Duration::MAX, now);
        }
    }

    /// Tells of listings whose findings have all been looked at, or cannot be.
    fn tell_digested(&mut self) {
        for (name, listings) in &mut self.listings {
            let sifting = self.sifting.get(name).is_some_and(|batches| *batches > 0);
            if sifting || listings.over == listings.ended {
                continue;
            }
            let awaited = self.settle.awaited(name);
            let awaited = awaited.filter(|_| !self.settle.is_stuck(name));
            let over = awaited.map_or(listings.ended, |listing| listing.min(listings.ended));
            if over == listings.over {
                continue;
            }
            listings.over = over;
            self.digested.send_modify(|digested| {
                digested.insert(name.clone(), over);
            });
            if let Some(met) = listings.met.take() {
                let (store, route) = (self.context.store.clone(), Arc::clone(&listings.route));
                self.work.spawn_blocking(move || {
                    let gone = gone(&store, &route, &met)?;
                    Ok(Work::Pruned { route, gone })
                });
            }
        }
    }
}

#[cfg(test)]
mod tests;
