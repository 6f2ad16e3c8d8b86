//! Writes through what was recorded and not waited for, has space in sled's file given back, and sleeps while
//! there is nothing.
//!
//! sled's own thread for this wakes twice a second for ever and has the disk write through each time, also
//! when nothing was recorded: it is off.

use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sled::Db;

use super::sweep::Sweep;

/// The longest that what was recorded stays in memory alone.
const AFTER: Duration = Duration::from_millis(500);

/// The thread; ends when dropped, with nothing left to write.
#[derive(Debug)]
pub(super) struct Flusher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Recorded since space was given back last.
    steps: AtomicUsize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Clean,
    Dirty,
    Ended,
}

impl Flusher {
    /// Starts the thread for this database and its file.
    pub fn start(db: Db, log: File, mut sweep: Sweep) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let ours = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("store flusher".into())
            .spawn(move || {
                while let Some(due) = ours.wait() {
                    // Whoever records next is told what is wrong with the disk.
                    if due && db.flush().is_ok() {
                        let _ = log.sync_data();
                    }
                    let steps = ours.steps.swap(0, Ordering::Relaxed);
                    sweep.pay(&log, steps, || *ours.state() != State::Ended);
                }
            })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Something was recorded, in so many steps.
    pub fn dirty(&self, steps: usize) {
        self.shared.steps.fetch_add(steps, Ordering::Relaxed);
        self.shared.change(State::Clean, State::Dirty);
    }

    /// All that was recorded so far is about to be written through by another.
    pub fn clean(&self) {
        self.shared.change(State::Dirty, State::Clean);
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        *self.shared.state() = State::Ended;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // One that panicked has flushed what it could; sled flushes once more when it is closed.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, from: State, to: State) {
        let mut state = self.state();
        if *state == from {
            *state = to;
            if to == State::Dirty {
                self.changed.notify_one();
            }
        }
    }

    /// Waits until something was recorded, and then the time that it may stay in memory. Whether it is still
    /// to be written; `None` at the end.
    fn wait(&self) -> Option<bool> {
        let state = self.state();
        let clean = |state: &mut State| *state == State::Clean;
        let state = self.changed.wait_while(state, clean);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        let not_ended = |state: &mut State| *state != State::Ended;
        let waited = self.changed.wait_timeout_while(state, AFTER, not_ended);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match *state {
            State::Ended => None,
            State::Clean => Some(false),
            State::Dirty => {
                // Before it is written: what is recorded meanwhile asks for another turn.
                *state = State::Clean;
                Some(true)
            }
        }
    }
}
