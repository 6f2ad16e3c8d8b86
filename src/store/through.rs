//! Writing through to the disk, one for all who ask while another is under way: ten lanes that record
//! something at once cost the disk one or two syncs and not ten, and one thread. Knows nothing of what
//! is written.

use std::io;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

/// Where all ask.
#[derive(Debug, Default)]
pub(super) struct Through {
    asked: Mutex<Asked>,
    ended: watch::Sender<Ended>,
}

#[derive(Debug, Default)]
struct Asked {
    /// Goes that have begun.
    begun: u64,
    /// The latest go that is to begin.
    wanted: u64,
    /// The latest receipt that the next go covers.
    receipt: u64,
    /// Somebody is at it.
    busy: bool,
}

#[derive(Debug, Default)]
struct Ended {
    /// Goes that have ended.
    goes: u64,
    /// Why nobody gets a success any more: the system tells a failure once, and what it concerned may be
    /// lost.
    failed: Option<Failure>,
}

/// Its kind, and what the system said.
pub(super) type Failure = (io::ErrorKind, String);

/// What one go has to do.
pub(super) struct Go {
    number: u64,
    /// The latest receipt among those who wait; 0 when there is none.
    pub receipt: u64,
}

/// Where one who asked hears of it.
pub(super) struct Answer {
    number: u64,
    ended: watch::Receiver<Ended>,
}

impl Through {
    /// Joins whichever go begins next; none begins for this alone.
    pub fn join(&self, receipt: Option<u64>) -> Answer {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.receipt = asked.receipt.max(receipt.unwrap_or(0));
        Answer {
            number: asked.begun + 1,
            ended: self.ended.subscribe(),
        }
    }

    /// Has the go of `answer` begin. `true`: nobody is at it, and the caller has [`Self::work`] done.
    pub fn begin(&self, answer: &Answer) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.wanted = asked.wanted.max(answer.number);
        asked.wanted > asked.begun && !std::mem::replace(&mut asked.busy, true)
    }

    /// Goes on until every go that is to begin has. Blocks as long as `sync` does.
    pub fn work(&self, sync: impl Fn(&Go) -> Result<(), Failure>) {
        while let Some(go) = self.next() {
            let failed = sync(&go).err();
            self.ended.send_modify(|ended| {
                ended.goes = go.number;
                if ended.failed.is_none() {
                    ended.failed = failed;
                }
            });
        }
    }

    fn next(&self) -> Option<Go> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.busy = asked.wanted > asked.begun;
        asked.busy.then(|| {
            asked.begun += 1;
            Go {
                number: asked.begun,
                receipt: std::mem::take(&mut asked.receipt),
            }
        })
    }
}

impl Answer {
    /// Waits for the end of the go that was asked for.
    ///
    /// # Errors
    /// When it failed, or any before it.
    pub async fn ended(&mut self) -> Result<(), Failure> {
        let ours = |ended: &Ended| ended.goes >= self.number || ended.failed.is_some();
        match self.ended.wait_for(ours).await {
            Ok(ended) => ended.failed.clone().map_or(Ok(()), Err),
            // The store is gone, and with it whoever was at it.
            Err(_) => Err((io::ErrorKind::BrokenPipe, "the store was closed".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[tokio::test]
    async fn those_who_ask_while_one_is_under_way_share_the_next() {
        let (through, later) = (Through::default(), RefCell::new(Vec::new()));
        let mut first = through.join(Some(1));
        assert!(through.begin(&first));
        let goes = RefCell::new(Vec::new());
        through.work(|go| {
            if goes.borrow().is_empty() {
                for receipt in [7, 9, 8] {
                    let answer = through.join(Some(receipt));
                    assert!(!through.begin(&answer), "somebody is at it");
                    later.borrow_mut().push(answer);
                }
            }
            goes.borrow_mut().push((go.number, go.receipt));
            Ok(())
        });
        assert_eq!(goes.into_inner(), [(1, 1), (2, 9)]);
        assert_eq!(first.ended().await, Ok(()));
        for mut answer in later.into_inner() {
            assert_eq!(answer.number, 2, "not served by one that began before");
            assert_eq!(answer.ended().await, Ok(()));
        }
        let last = through.join(None);
        assert!(through.begin(&last), "nobody is at it any more");
    }

    #[tokio::test]
    async fn who_joins_begins_nothing_and_goes_with_the_next() {
        let through = Through::default();
        let mut receipt = through.join(Some(5));
        through.work(|_| panic!("nobody wants one yet"));
        let mut intent = through.join(None);
        assert!(through.begin(&intent));
        let goes = RefCell::new(Vec::new());
        through.work(|go| {
            goes.borrow_mut().push((go.number, go.receipt));
            Ok(())
        });
        assert_eq!(goes.into_inner(), [(1, 5)]);
        assert_eq!(
            (receipt.ended().await, intent.ended().await),
            (Ok(()), Ok(()))
        );
        assert!(!through.begin(&receipt), "its go is over");
    }

    #[tokio::test]
    async fn after_a_failure_nobody_gets_a_success() {
        let through = Through::default();
        let full: Failure = (io::ErrorKind::StorageFull, "full".into());
        let mut first = through.join(None);
        assert!(through.begin(&first));
        through.work(|_| Err(full.clone()));
        assert_eq!(first.ended().await, Err(full.clone()));
        let mut second = through.join(None);
        assert!(through.begin(&second));
        through.work(|_| Ok(()));
        assert_eq!(second.ended().await, Err(full));
    }
}
