//! What the calls, the control plane and the Rust API share: one lock around everything, and a
//! watch channel that says when something changed. Decides nothing about the API.
//!
//! The lock is held for map operations only, never over an await.

use std::collections::{BTreeMap, hash_map::RandomState};
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::Options;
use super::endpoint::Endpoint;
use super::faults::Fault;
use super::pace::Pace;
use super::rules::Refusal;
use super::shelf::Shelf;
use super::state::{CallRecord, Outcome, State};
use super::tokens::Tokens;

/// Bytes of bodies in memory at once, in KiB: eight images of the largest size as base64,
/// three as an array. Further calls wait for room.
pub const BODY_BUDGET_KIB: u32 = 256 * 1024;
/// Within this time a call's end is noticed when its caller has gone away. A caller that gave up
/// and calls again at once is not taken for one with two calls in flight.
const GONE_WITHIN: Duration = Duration::from_millis(25);

/// Everything behind the lock.
#[derive(Debug)]
pub struct Inner {
    /// What can be seen.
    pub state: State,
    /// Access tokens.
    pub tokens: Tokens,
    /// Rate windows.
    pub pace: Pace,
    /// Bytes of pictures.
    pub shelf: Shelf,
    /// The write call in flight for each spreadsheet.
    flights: BTreeMap<String, u64>,
    next_call: u64,
}

/// The stand-in's heart.
#[derive(Debug)]
pub struct Shared {
    /// As asked for at the start.
    pub options: Options,
    inner: Mutex<Inner>,
    version: watch::Sender<u64>,
    /// The calls that block; `None`: none do. An empty list means all.
    hold: watch::Sender<Option<Arc<[Endpoint]>>>,
    /// Room for bodies, see [`BODY_BUDGET_KIB`].
    pub body_budget: Arc<Semaphore>,
    started: Instant,
    started_unix: Duration,
    salt: u64,
}

impl Shared {
    /// A heart with the documents that the options name.
    ///
    /// # Errors
    /// With a sentence for people when a document is impossible.
    pub fn new(options: Options) -> Result<Self, String> {
        let salt = RandomState::new().build_hasher().finish();
        let mut state = State {
            hint: options.hint.clone(),
            ..State::default()
        };
        for document in &options.documents {
            state.documents.apply(document)?;
        }
        let mut tokens = Tokens::new(options.token_lifetime, salt);
        if let Some(refresh) = &options.user_refresh_token {
            tokens.admit_user(refresh);
        }
        Ok(Self {
            inner: Mutex::new(Inner {
                state,
                tokens,
                pace: Pace::new(options.requests_per_second, options.own_limits),
                shelf: Shelf::new(options.keep_bytes),
                flights: BTreeMap::new(),
                next_call: 1,
            }),
            version: watch::Sender::new(0),
            hold: watch::Sender::new(None),
            body_budget: Arc::new(Semaphore::new(BODY_BUDGET_KIB as usize)),
            started: Instant::now(),
            started_unix: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
            salt,
            options,
        })
    }

    /// Time since the start.
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Wall-clock time in milliseconds since 1970.
    pub fn unix_ms(&self) -> u64 {
        ms(self.started_unix + self.now())
    }

    /// Looks without changing anything.
    pub fn look<R>(&self, look: impl FnOnce(&Inner) -> R) -> R {
        look(&self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes something, and says so to everyone who watches.
    pub fn change<R>(&self, change: impl FnOnce(&mut Inner) -> R) -> R {
        let (result, version) = {
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            let result = change(&mut inner);
            inner.state.version += 1;
            (result, inner.state.version)
        };
        // Two changes may report in either order; the version must not seem to go back.
        self.version.send_modify(|seen| *seen = version.max(*seen));
        result
    }

    /// Wakes with every change.
    pub fn versions(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Blocks these calls from now on, all with an empty list; `None` lets all go.
    pub fn set_hold(&self, hold: Option<&[Endpoint]>) {
        self.hold.send_replace(hold.map(Into::into));
    }

    /// Begins a call.
    pub fn begin(self: &Arc<Self>, mut record: CallRecord) -> OpenCall {
        record.started_ms = ms(self.now());
        let unix_ms = self.unix_ms();
        let spreadsheet = record.spreadsheet.clone();
        let endpoint = record.endpoint;
        let (id, log_id) = self.change(|inner| {
            let id = inner.next_call;
            inner.next_call += 1;
            record.id = id;
            record.log_id = format!("{unix_ms:014}{:016X}{id:08X}", self.salt);
            let log_id = record.log_id.clone();
            inner.state.begin(record);
            (id, log_id)
        });
        OpenCall {
            shared: Arc::clone(self),
            id,
            log_id,
            endpoint,
            spreadsheet,
            ended: false,
        }
    }
}

/// Whole milliseconds; saturates after half a billion years.
pub fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A call in flight. Dropping it before its end means that its caller went away.
#[derive(Debug)]
pub struct OpenCall {
    shared: Arc<Shared>,
    id: u64,
    /// The answer's header `x-tt-logid`.
    pub log_id: String,
    endpoint: Endpoint,
    spreadsheet: Option<String>,
    ended: bool,
}

impl OpenCall {
    /// Makes this the write call in flight for its spreadsheet.
    ///
    /// # Errors
    /// [`Refusal::Overlap`] when there is one already: a violation once this call is whole, for what its
    /// caller broke off writes nothing.
    pub async fn take_flight(&self) -> Result<(), Refusal> {
        let Some(spreadsheet) = self.spreadsheet.clone().filter(|_| self.endpoint.writes()) else {
            return Ok(());
        };
        loop {
            let holder = self.shared.change(|inner| {
                let holder = inner.flights.entry(spreadsheet.clone()).or_insert(self.id);
                *holder
            });
            if holder == self.id {
                return Ok(());
            }
            tokio::time::sleep(GONE_WITHIN).await;
            let gone = self.shared.look(|inner| {
                let mut ended = inner.state.calls.iter().rev();
                ended.any(|call| call.id == holder && call.outcome == Some(Outcome::Abandoned))
            });
            if !gone {
                return Err(Refusal::Overlap(spreadsheet));
            }
        }
    }

    /// Counts a call as made while another was in flight for its spreadsheet.
    pub fn count_overlap(&self) {
        self.shared.change(|inner| inner.state.overlaps += 1);
    }

    /// Counts the call in the rate windows. Token calls are not paced.
    ///
    /// # Errors
    /// [`Refusal::Throttled`].
    pub fn pace(&self) -> Result<(), Refusal> {
        if self.endpoint.gives_token() {
            return Ok(());
        }
        let now = self.shared.now();
        self.shared.change(|inner| {
            let admitted = inner.pace.admit(self.endpoint, now);
            inner.state.most_in_a_second = inner.pace.most_in_a_second();
            admitted
        })
    }

    /// The fault for this call, now that its head has come.
    pub fn take_fault(&self) -> Option<Fault> {
        let spreadsheet = self.spreadsheet.as_deref();
        self.shared.change(|inner| {
            let fault = inner.state.faults.take(self.endpoint, spreadsheet)?;
            self.note_fault(inner);
            Some(fault)
        })
    }

    /// The fault for this call, now that its cell is known.
    pub fn take_fault_for_cell(&self, cell: &str) -> Option<Fault> {
        let spreadsheet = self.spreadsheet.as_deref();
        self.shared.change(|inner| {
            let fault = inner.state.faults.take_for_cell(spreadsheet, cell)?;
            self.note_fault(inner);
            Some(fault)
        })
    }

    fn note_fault(&self, inner: &mut Inner) {
        if let Some(call) = inner.state.in_flight.get_mut(&self.id) {
            call.fault = true;
        }
    }

    /// Adds to the record of the call.
    pub fn note(&self, note: impl FnOnce(&mut CallRecord)) {
        self.shared.change(|inner| {
            inner.state.in_flight.get_mut(&self.id).map(note);
        });
    }

    /// Waits while a hold blocks this call.
    pub async fn wait_while_held(&self) {
        let mut hold = self.shared.hold.subscribe();
        let blocks = |hold: &Option<Arc<[Endpoint]>>| {
            hold.as_ref()
                .is_some_and(|list| list.is_empty() || list.contains(&self.endpoint))
        };
        if !blocks(&hold.borrow_and_update()) {
            return;
        }
        self.note(|call| call.held = true);
        // An error means that the sender is gone, which `self.shared` rules out.
        let _ = hold.wait_for(|hold| !blocks(hold)).await;
        self.note(|call| call.held = false);
    }

    /// Ends the call; what follows it may begin from now on.
    pub fn end(mut self, end: impl FnOnce(&mut CallRecord)) {
        self.close(end);
    }

    fn close(&mut self, end: impl FnOnce(&mut CallRecord)) {
        self.ended = true;
        let now = ms(self.shared.now());
        self.shared.change(|inner| {
            if let Some(spreadsheet) = &self.spreadsheet
                && inner.flights.get(spreadsheet) == Some(&self.id)
            {
                inner.flights.remove(spreadsheet);
            }
            inner.state.end(self.id, |call| {
                call.ended_ms = Some(now);
                end(call);
            });
        });
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        if !self.ended {
            self.close(|call| call.outcome = Some(Outcome::Abandoned));
        }
    }
}
