//! Rows that were missing: key columns are read again, and the jobs whose keys they say now are released.

use tracing::{debug, info, warn};

use super::outcome::pause;
use super::{Turn, Worker};
use crate::feishu::Class;
use crate::pulse::waiting;
use crate::store::{Release, Store, Timestamp};
use crate::upload::keys::KeyColumn;
use crate::upload::react::{Reaction, react};
use crate::upload::resolve::NoTarget;

impl Worker {
    /// Reads the key column that is due and releases the jobs whose keys it says now.
    pub(super) async fn look_for_rows(&mut self) -> Turn {
        let Some((column, _)) = self.document.keys().next_look() else {
            return Ok(());
        };
        let column = column.clone();
        // While a gate is closed, its probes are the only calls; and writes come first once they may have to be spread.
        if self.is_open()
            && self.shared().budget.is_relaxed()
            && let Err(why) = self.read_again(&column).await
        {
            self.wait_as_asked(&why);
            debug!(spreadsheet = %self.lane.spreadsheet, ?why, "no look at a key column");
        }
        self.document.keys().looked(&column);
        self.release_found().await
    }

    /// Releases the jobs whose keys are in columns that were read since the last time.
    pub(super) async fn release_found(&mut self) -> Turn {
        while let Some((column, keys)) = self.document.keys().take_fresh() {
            let lane = self.lane.spreadsheet.clone();
            let released = move |store: &Store| {
                let missing = std::cell::Cell::new(false);
                let wanted = column.clone();
                let released =
                    store.release_of(&lane, Timestamp::now(), |address, _, parked| {
                        let theirs = parked.until == Release::Row;
                        let key = wanted.key_of(address).filter(|_| theirs);
                        let found = key.is_some_and(|key| keys.has(key));
                        missing.set(missing.get() || (key.is_some() && !found));
                        found
                    })?;
                Ok((column, missing.get(), released))
            };
            let (column, missing, released) = self.shared().store.call(released).await?;
            if released > 0 {
                info!(spreadsheet = %self.lane.spreadsheet, pictures = released, "rows were found for parked pictures");
            }
            if !missing {
                self.document.keys().found_all(&column);
            }
        }
        Ok(())
    }

    /// A wait that the server asked for is kept whichever call it answered. Whatever else was wrong, the next
    /// write learns.
    fn wait_as_asked(&self, why: &NoTarget) {
        let NoTarget::Call(error) = why else { return };
        let (asked, class) = (error.wait(), error.class().unwrap_or(Class::Busy));
        let (spreadsheet, reason) = (&self.lane.spreadsheet, error.to_string());
        match react(class, 0, self.failures, asked) {
            Reaction::PauseApp(wait) => {
                pause(&self.shared().gate, &reason, wait, asked.is_some());
                warn!(%spreadsheet, "{reason}; all calls wait for {wait:.1?}");
            }
            Reaction::PauseLane(wait) => {
                self.pause_lane(&reason, wait, asked.is_some());
                warn!(%spreadsheet, "{reason}; next try in {wait:.1?}");
            }
            _ => {}
        }
    }

    async fn read_again(&mut self, column: &KeyColumn) -> Result<(), NoTarget> {
        let client = self.client();
        let token = self.document.token(&client, &self.lane.spreadsheet).await?;
        let document = self.shared().documents.of(&token);
        let serial = document.serial.lock();
        let Some(_serial) = waiting(self.stop.run_until_cancelled(serial)).await else {
            return Ok(());
        };
        if self.has_to_wait(&document) {
            return Ok(());
        }
        let client = self.client();
        let sheet = self
            .document
            .sheet(&client, &token, &column.sheet, |_| Ok(()))
            .await?;
        self.document
            .keys()
            .refresh(&client, &token, &sheet, column)
            .await?;
        Ok(())
    }
}
