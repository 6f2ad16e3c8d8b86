//! One transaction for all who record something at the same time. Each transaction costs sled two writes to
//! its file and a wake-up of all its threads, however little is in it, so that ten lanes and the readers of
//! intake spent more on waking threads than on pictures. Knows nothing of what is recorded.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use super::txn::{Abort, Steps};

/// Goes into one transaction at most.
const MOST: usize = 64;

/// Where all who record meet.
#[derive(Default)]
pub(super) struct Together(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    members: Vec<Box<dyn Member>>,
    /// Somebody is at it, or has been told to be.
    led: bool,
}

/// What one has to record.
pub(super) trait Member: Send {
    /// Records it as a step of a transaction; what is returned is to be called when that took place.
    fn step(&self, steps: &Steps<'_>) -> Result<Told, Abort>;
    /// Whoever waits for it is to see to the next transaction.
    fn lead(&self);
}

/// Tells one who waits that it is recorded.
pub(super) type Told = Box<dyn FnOnce() + Send>;

/// One who waits.
struct One<F, R> {
    body: Arc<F>,
    tell: SyncSender<News<R>>,
}

enum News<R> {
    /// The sequence, and what the body answered.
    Recorded(u64, R),
    /// The one who was at it is done with its own.
    Lead,
}

impl<F, R> Member for One<F, R>
where
    F: Fn(&super::txn::Txn<'_>) -> Result<R, Abort> + Send + Sync + 'static,
    R: Send + 'static,
{
    fn step(&self, steps: &Steps<'_>) -> Result<Told, Abort> {
        let (sequence, answer) = steps.step(&*self.body)?;
        let tell = self.tell.clone();
        // Nobody waits any more when its thread has panicked.
        Ok(Box::new(move || {
            let _ = tell.send(News::Recorded(sequence, answer));
        }))
    }

    fn lead(&self) {
        let _ = self.tell.send(News::Lead);
    }
}

impl Together {
    /// Has `body` recorded with those of others, by `transaction` here or on the thread of one of them.
    /// `None`: it was not, because something in its company failed, maybe itself. It is to be tried alone.
    pub fn record<F, R>(
        &self,
        body: &Arc<F>,
        transaction: impl Fn(&[Box<dyn Member>]) -> Option<Vec<Told>>,
    ) -> Option<(u64, R)>
    where
        F: Fn(&super::txn::Txn<'_>) -> Result<R, Abort> + Send + Sync + 'static,
        R: Send + 'static,
    {
        // Room for all that one is ever told.
        let (tell, news) = sync_channel(2);
        let body = Arc::clone(body);
        if self.join(Box::new(One { body, tell })) {
            self.lead(&transaction);
        }
        loop {
            match news.recv() {
                Ok(News::Recorded(sequence, answer)) => return Some((sequence, answer)),
                Ok(News::Lead) => self.lead(&transaction),
                Err(_) => return None,
            }
        }
    }

    /// `true`: nobody is at it.
    fn join(&self, member: Box<dyn Member>) -> bool {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.members.push(member);
        !std::mem::replace(&mut waiting.led, true)
    }

    fn lead(&self, transaction: impl Fn(&[Box<dyn Member>]) -> Option<Vec<Told>>) {
        let _baton = Baton(self);
        let members: Vec<_> = {
            let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let most = waiting.members.len().min(MOST);
            waiting.members.drain(..most).collect()
        };
        // Those of one that failed hear of it when they are dropped.
        for told in transaction(&members).into_iter().flatten() {
            told();
        }
    }
}

/// Passes the lead on, whatever happens: to the one who has waited longest.
struct Baton<'a>(&'a Together);

impl Drop for Baton<'_> {
    fn drop(&mut self) {
        let mut waiting = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.members.first() {
            Some(next) => next.lead(),
            None => waiting.led = false,
        }
    }
}
