//! Has what was recorded survive a power cut, in one go for all who ask at the same time.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;

use super::{Result, Store};
use crate::blocking::beside;
use crate::store::error::StoreError;
use crate::store::through::{Answer, Failure, Go};

/// Recorded, and not on disk before [`Store::settle`].
#[derive(Debug)]
#[must_use = "a power cut, or the end of the process, takes what is not settled"]
pub struct Unsettled {
    /// The sequence of a receipt.
    pub(super) receipt: Option<u64>,
    /// See [`Self::may_be_lost`].
    pub(super) may_be_lost: bool,
}

impl Unsettled {
    /// Whether nothing wrong follows when it is lost: the intent of a call for a slot that nothing is known of.
    pub fn may_be_lost(&self) -> bool {
        self.may_be_lost
    }
}

impl Store {
    /// Writes everything through to the disk. sled's own `flush` leaves the last step to a background
    /// thread on Linux (spacejam/sled#1351), so a power cut could take what it acknowledged.
    ///
    /// # Errors
    /// When sled or the disk fails.
    pub fn sync(&self) -> Result<()> {
        self.0.flusher.clean();
        self.0.db.flush().map_err(|source| self.failed(source))?;
        self.0
            .log
            .sync_data()
            .map_err(|source| self.unsynced(source))
    }

    /// Has what was recorded on disk when it returns, and everything that was recorded before it; in one
    /// go for all who ask at the same time.
    ///
    /// # Errors
    /// When sled or the disk fails; after that always.
    pub async fn settle(&self, unsettled: Unsettled) -> Result<()> {
        let answer = self.0.through.join(unsettled.receipt);
        self.go(answer).await
    }

    /// The same, but waits until `alone` for somebody else to ask, and then costs no sync of its own.
    ///
    /// # Errors
    /// As [`Self::settle`].
    pub async fn settle_in_company(
        &self,
        unsettled: Unsettled,
        alone: impl Future<Output = ()>,
    ) -> Result<()> {
        let mut answer = self.0.through.join(unsettled.receipt);
        tokio::select! {
            // Whoever it was hears of a failure as well.
            _ = answer.ended() => {}
            () = alone => {}
        }
        self.go(answer).await
    }

    async fn go(&self, mut answer: Answer) -> Result<()> {
        if self.0.through.begin(&answer) {
            let store = self.clone();
            beside(move || store.0.through.work(|go| store.write_through(go)));
        }
        let failed = |(kind, text)| self.unsynced(io::Error::new(kind, text));
        answer.ended().await.map_err(failed)
    }

    fn write_through(&self, go: &Go) -> std::result::Result<(), Failure> {
        let done = catch_unwind(AssertUnwindSafe(|| {
            self.0.flusher.clean();
            self.0.db.flush().map_err(io::Error::from)?;
            self.0.log.sync_data()?;
            // Never before it is on disk: the mark would accuse a healthy database.
            match self.0.generation.get() {
                Some(generation) if go.receipt > 0 => generation
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .raise(go.receipt),
                _ => Ok(()),
            }
        }));
        // Those who wait must hear of it.
        let done = done.unwrap_or_else(|_| Err(io::Error::other("it failed inside pixcell")));
        done.map_err(|error| (error.kind(), error.to_string()))
    }

    /// Whether the files that are written to are still those in the state directory. sled goes on into
    /// files that were deleted without an error.
    ///
    /// # Errors
    /// When they are not, or it cannot be told.
    pub fn still_there(&self) -> Result<()> {
        let ours = self.0.log.metadata();
        let named = std::fs::metadata(self.0.dir.join("db"));
        match (ours, named) {
            (Ok(ours), Ok(named)) if (ours.dev(), ours.ino()) == (named.dev(), named.ino()) => {
                Ok(())
            }
            _ => Err(StoreError::Gone {
                dir: self.0.dir.clone(),
            }),
        }
    }
}
