//! What a whole image means for its slot. [`decide`] is pure: the slot's record goes in and comes out changed.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use crate::image::{ContentHash, Format};
use crate::store::{
    Arrival, FileKey, Fingerprint, Job, JobState, Parked, Release, Seen, SlotRecord, Store,
    StoreError, Timestamp,
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
    let known = [
        slot.job.as_ref().map(|job| &job.source),
        slot.ledger.as_ref().map(|ledger| &ledger.source),
    ];
    slot.contested |= known
        .into_iter()
        .flatten()
        .any(|source| *source != offer.source);
    if slot
        .newest()
        .is_some_and(|newest| offer.arrival < *newest.arrival)
    {
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
    // Newer content for a slot that waits: it has waited all the time.
    let waits = slot
        .job
        .as_ref()
        .filter(|job| !matches!(job.state, JobState::Parked(_)));
    let since = waits.map_or(offer.now, |job| job.since);
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
        since,
        attempts: 0,
        state: parked_place.map_or(JobState::Queued { due }, JobState::Parked),
    });
    decision
}

/// A version that a slot knows, of another file than the one at hand, which was changed later than that, or at the
/// same time and has the greater name. If it is still there, it is the newer one of two that were found when
/// watching began: their times decide, whenever either was met.
#[derive(Debug, Clone)]
pub struct Rival {
    /// Its file.
    pub source: FileKey,
    /// When it arrived.
    pub arrival: Arrival,
    /// The file as it was when it was hashed.
    fingerprint: Fingerprint,
}

/// The rival that `slot` knows of `source`, which was found like this.
///
/// # Errors
/// When the store fails.
pub fn rival(
    store: &Store,
    slot: &SlotRecord,
    source: &FileKey,
    found: &Fingerprint,
) -> Result<Option<Rival>, StoreError> {
    let Some(newest) = slot.newest().filter(|newest| newest.source != source) else {
        return Ok(None);
    };
    let rival = store.file(newest.source)?.and_then(|known| {
        let is_it = matches!(known.seen, Seen::Image { hash: seen, .. } if seen == newest.hash);
        is_it.then(|| Rival {
            source: newest.source.clone(),
            arrival: newest.arrival.clone(),
            fingerprint: known.fingerprint,
        })
    });
    let later = |rival: &Rival| {
        let of_rival = (rival.fingerprint.mtime, &rival.source.path);
        of_rival > (found.mtime, &source.path) || rival.fingerprint == Fingerprint::UNKNOWN
    };
    Ok(rival.filter(later))
}

/// What has become of a rival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stand {
    /// It is there, written when it is known to be.
    There,
    /// A look has to tell.
    Unsure,
    /// It is gone.
    Gone,
}

impl Rival {
    /// How it stands in its mapping's `folder`. Blocks, and may hang with the folder.
    pub fn stand(&self, folder: &Path) -> Stand {
        let written = |fingerprint: &Fingerprint| (fingerprint.size, fingerprint.mtime);
        match folder.join(self.source.path.as_path()).symlink_metadata() {
            // Device, inode and ctime are others after a restart, on some file systems.
            Ok(meta) if written(&Fingerprint::of(&meta)) == written(&self.fingerprint) => {
                Stand::There
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Stand::Gone,
            _ => Stand::Unsure,
        }
    }

    /// How it stands as far as its record says, once it has been looked at again.
    pub fn stand_as_recorded(&self) -> Stand {
        if self.fingerprint == Fingerprint::UNKNOWN {
            Stand::Unsure
        } else {
            Stand::There
        }
    }
}

/// The earliest time of the slot's next write. A job that is put off stays put off: newer content is
/// no reason to hurry.
fn earliest(slot: &SlotRecord, offer: &Offer) -> Timestamp {
    let interval_over = match &slot.ledger {
        // A receipt may be later than the look that this offer comes from. One that is much later is a
        // clock that was set back; it must not hold the slot for years.
        Some(ledger) if ledger.at.since(offer.now) <= offer.min_interval => {
            ledger.at.after(offer.min_interval)
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::{arrival, file, job, target};
    use rstest::rstest;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn offer(id: u64, content: &str) -> Offer {
        Offer {
            id,
            hash: ContentHash::of(content.as_bytes()),
            format: Format::Png,
            fingerprint: Fingerprint {
                device: 1,
                inode: id,
                size: 3,
                mtime: 4,
                ctime: 5,
            },
            source: file("a.png"),
            arrival: arrival(id),
            now: NOW,
            min_interval: Duration::ZERO,
        }
    }

    /// A slot whose cell holds `content`, which arrived as number 1.
    fn holding(content: &str) -> SlotRecord {
        let mut slot = SlotRecord {
            job: Some(job(1, content)),
            ..SlotRecord::default()
        };
        slot.begin(&job(1, content), Timestamp(1));
        slot.written(&job(1, content), target(), None, Timestamp(2));
        slot
    }

    fn parked(until: Release) -> JobState {
        JobState::Parked(Parked {
            reason: "refused".into(),
            code: None,
            log_id: None,
            at: NOW,
            until,
        })
    }

    #[test]
    fn new_content_is_queued_and_held_content_is_not() {
        let mut slot = holding("a");
        assert_eq!(decide(&mut slot, &offer(2, "b")), Decision::Queued);
        assert_eq!(slot.job.as_ref().map(|job| job.id), Some(2));
        assert_eq!(decide(&mut slot, &offer(3, "b")), Decision::AlreadyWaits);
        assert_eq!(
            slot.job.as_ref().map(|job| (job.id, job.arrival.tick)),
            Some((2, 3))
        );
        assert_eq!(decide(&mut slot, &offer(4, "a")), Decision::AlreadyHeld);
        assert_eq!(slot.job, None);
    }

    #[test]
    fn a_slot_waits_since_its_first_content_that_was_not_sent() {
        let mut slot = SlotRecord::default();
        decide(&mut slot, &offer(1, "a"));
        let later = Offer {
            now: NOW.after(Duration::from_mins(9)),
            ..offer(2, "b")
        };
        decide(&mut slot, &later);
        assert_eq!(slot.job.map(|job| (job.id, job.since)), Some((2, NOW)));
    }

    #[test]
    fn an_older_version_never_replaces_a_newer_one() {
        let mut slot = SlotRecord::default();
        decide(&mut slot, &offer(5, "new"));
        assert_eq!(decide(&mut slot, &offer(4, "old")), Decision::Superseded);
        assert_eq!(slot.job.as_ref().map(|job| job.id), Some(5));
        // Nor after the newer one was written, nor after it was found to be there already.
        let mut slot = holding("a");
        decide(&mut slot, &offer(7, "a"));
        assert_eq!(decide(&mut slot, &offer(6, "old")), Decision::Superseded);
    }

    #[test]
    fn a_slot_remembers_that_several_files_were_for_it() {
        let mut slot = holding("a");
        decide(&mut slot, &offer(2, "b"));
        assert!(!slot.contested);
        decide(
            &mut slot,
            &Offer {
                source: file("b.png"),
                ..offer(3, "c")
            },
        );
        assert!(slot.contested);
    }

    #[test]
    fn what_the_cell_held_is_sent_again_while_a_call_may_have_changed_it() {
        let mut slot = holding("a");
        decide(&mut slot, &offer(2, "b"));
        let b = slot.job.clone().unwrap();
        slot.begin(&b, NOW);
        assert_eq!(decide(&mut slot, &offer(3, "a")), Decision::Queued);
    }

    #[rstest]
    #[case(Release::Person, Decision::StaysParked)]
    #[case(Release::NewImage, Decision::Queued)]
    fn new_content_releases_what_was_parked_for_its_image(
        #[case] until: Release,
        #[case] decision: Decision,
    ) {
        let state = parked(until);
        let job = Job {
            state: state.clone(),
            ..job(1, "a")
        };
        let mut slot = SlotRecord {
            job: Some(job),
            ..SlotRecord::default()
        };
        assert_eq!(decide(&mut slot, &offer(2, "a")), Decision::AlreadyWaits);
        assert_eq!(slot.job.as_ref().map(|job| &job.state), Some(&state));
        assert_eq!(decide(&mut slot, &offer(3, "b")), decision);
        let stays = slot.job.map(|job| job.state == state);
        assert_eq!(stays, Some(decision == Decision::StaysParked));
    }

    #[test]
    fn a_stale_job_is_queued_again_when_its_file_turns_out_the_same() {
        let job = Job {
            state: JobState::Stale,
            ..job(1, "a")
        };
        let mut slot = SlotRecord {
            job: Some(job),
            ..SlotRecord::default()
        };
        assert_eq!(decide(&mut slot, &offer(2, "a")), Decision::AlreadyWaits);
        let job = slot.job.unwrap();
        assert_eq!(job.state, JobState::Queued { due: NOW });
        assert_eq!(job.fingerprint, offer(2, "a").fingerprint);
    }

    #[rstest]
    // Written just now: the interval counts from then.
    #[case(999_500, 1_009_500)]
    // Written long ago: at once.
    #[case(1, 1_000_000)]
    // Written while the file was being looked at: the interval counts all the same.
    #[case(1_000_500, 1_010_500)]
    // "Written in the future": the clock was set back, and the slot is not held for that.
    #[case(9_000_000, 1_000_000)]
    fn the_interval_counts_from_the_last_write(#[case] written: u64, #[case] due: u64) {
        let mut slot = holding("a");
        slot.ledger.as_mut().unwrap().at = Timestamp(written);
        let offer = Offer {
            min_interval: Duration::from_secs(10),
            ..offer(2, "b")
        };
        decide(&mut slot, &offer);
        assert_eq!(
            slot.job.unwrap().state,
            JobState::Queued {
                due: Timestamp(due)
            }
        );
    }

    #[test]
    fn newer_content_does_not_hurry_a_job_that_was_put_off() {
        let later = NOW.after(Duration::from_secs(7));
        let put_off = Job {
            state: JobState::Queued { due: later },
            ..job(1, "a")
        };
        let mut slot = SlotRecord {
            job: Some(put_off),
            ..SlotRecord::default()
        };
        decide(&mut slot, &offer(2, "b"));
        assert_eq!(slot.job.unwrap().state, JobState::Queued { due: later });
    }
}
