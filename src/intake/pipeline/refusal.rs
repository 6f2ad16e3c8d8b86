//! Files that are not sent as they are: what is recorded of them, and what the log says, once per cause.

use metrics::counter;
use tracing::{debug, info, warn};

use super::look::Place;
use crate::store::{FileKey, FileRecord, Fingerprint, Seen, Timestamp, Verdict};

/// A file that is not sent as it is.
pub(super) struct Refusal<'a> {
    pub key: &'a FileKey,
    pub known: Option<&'a FileRecord>,
    pub place: &'a Place,
    pub fingerprint: Fingerprint,
    pub verdict: Verdict,
    pub max_bytes: u64,
    /// Found by a listing, not by an event.
    pub listed: bool,
    pub now: Timestamp,
}

impl Refusal<'_> {
    pub fn record(&self, reason: String) -> FileRecord {
        FileRecord {
            fingerprint: self.fingerprint,
            slot: self.place.slot().cloned(),
            seen: Seen::Refused {
                verdict: self.verdict,
                reason,
            },
            at: self.now,
        }
    }

    /// The reason in one word, for counting.
    fn class(&self) -> &'static str {
        match (self.verdict, self.place) {
            (Verdict::Held, _) if self.fingerprint == Fingerprint::UNKNOWN => "unreadable",
            (Verdict::Held, _) => "incomplete",
            (Verdict::Rejected, _) if self.fingerprint.size > self.max_bytes => "too_large",
            (Verdict::Rejected, Place::Unplaceable(_)) => "no_place",
            (Verdict::Rejected, _) => "not_an_image",
        }
    }

    /// Once per cause: a file that grows slowly is looked at often.
    pub fn tell(&self, reason: &str) {
        let before = self.known.map(|known| &known.seen);
        let told = match (before, self.verdict) {
            (Some(Seen::Refused { verdict, .. }), Verdict::Held) => *verdict == Verdict::Held,
            (Some(Seen::Refused { reason: before, .. }), Verdict::Rejected) => before == reason,
            _ => false,
        };
        if told {
            return;
        }
        let FileKey { mapping, path } = self.key;
        counter!("pixcell_refusals_total", "mapping" => mapping.to_string(), "reason" => self.class())
            .increment(1);
        let slot = self
            .place
            .slot()
            .map(|address| address.slot.to_string())
            .unwrap_or_default();
        match self.verdict {
            Verdict::Rejected => warn!(%mapping, file = %path, %slot, "rejected: {reason}"),
            // A listing meets a file that nobody writes any more; an event comes from a writer that
            // mostly goes on.
            Verdict::Held if self.listed => {
                info!(%mapping, file = %path, %slot, "held until it changes: {reason}");
            }
            Verdict::Held => {
                debug!(%mapping, file = %path, %slot, "held until it changes: {reason}");
            }
        }
    }
}
