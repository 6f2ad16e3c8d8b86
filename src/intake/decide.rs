//! What a whole image means for its slot. Pure: the slot's record goes in and comes out changed.

use std::time::Duration;

use crate::image::{ContentHash, Format};
use crate::store::{
    Arrival, FileKey, Fingerprint, Job, JobState, Parked, Release, SlotRecord, Timestamp,
};

/// A whole image for a slot.
#[derive(Debug, Clone)]
pub struct Offer {
    /// Number of the job it may become.
    pub id: u64,
    /// Of its bytes.
    pub hash: ContentHash,
    /// Its format.
    pub format: Format,
    /// The file as it was when it was hashed.
    pub fingerprint: Fingerprint,
    /// The file.
    pub source: FileKey,
    /// When it arrived.
    pub arrival: Arrival,
    /// Now.
    pub now: Timestamp,
    /// Least time between two writes of the slot.
    pub min_interval: Duration,
}

/// What became of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is the slot's job now, and waits for its turn.
    Queued,
    /// It is the slot's job now, and stays parked: the place was refused, whatever the content.
    StaysParked,
    /// The job that waits has the same content.
    AlreadyWaits,
    /// The cell holds it.
    AlreadyHeld,
    /// A newer version of the slot is known.
    Superseded,
}

/// Decides about `offer` and changes `slot` accordingly.
pub fn decide(slot: &mut SlotRecord, offer: &Offer) -> Decision {
    if slot.newest().is_some_and(|newest| offer.arrival < *newest) {
        return Decision::Superseded;
    }
    if slot.held() == Some(offer.hash) {
        slot.job = None;
        if let Some(ledger) = &mut slot.ledger {
            ledger.arrival = offer.arrival.clone();
            ledger.source = offer.source.clone();
        }
        return Decision::AlreadyHeld;
    }
    let due = earliest(slot, offer);
    if let Some(job) = slot.job.as_mut().filter(|job| job.hash == offer.hash) {
        job.source = offer.source.clone();
        job.fingerprint = offer.fingerprint;
        job.arrival = offer.arrival.clone();
        if job.state == JobState::Stale {
            job.state = JobState::Queued { due };
        }
        return Decision::AlreadyWaits;
    }
    let parked_place = slot.job.take().and_then(|job| match job.state {
        JobState::Parked(
            parked @ Parked {
                until: Release::Person,
                ..
            },
        ) => Some(parked),
        _ => None,
    });
    let decision = match parked_place {
        Some(_) => Decision::StaysParked,
        None => Decision::Queued,
    };
    slot.job = Some(Job {
        id: offer.id,
        hash: offer.hash,
        format: offer.format,
        fingerprint: offer.fingerprint,
        source: offer.source.clone(),
        arrival: offer.arrival.clone(),
        since: offer.now,
        attempts: 0,
        state: parked_place.map_or(JobState::Queued { due }, JobState::Parked),
    });
    decision
}

/// The earliest time of the slot's next write. A job that is put off stays put off: newer content is
/// no reason to hurry.
fn earliest(slot: &SlotRecord, offer: &Offer) -> Timestamp {
    let interval_over = match &slot.ledger {
        // A last write in the future is a clock that was set back; it must not hold the slot for years.
        Some(ledger) if ledger.at <= offer.now => ledger.at.after(offer.min_interval),
        _ => offer.now,
    };
    let waiting = match slot.job.as_ref().map(|job| &job.state) {
        Some(JobState::Queued { due }) => *due,
        _ => offer.now,
    };
    interval_over
        .max(waiting.min(offer.now.after(LONGEST_WAIT)))
        .max(Timestamp(0))
}

/// No job is put off longer than this by another's due time.
const LONGEST_WAIT: Duration = Duration::from_mins(10);
