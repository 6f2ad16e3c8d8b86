//! Looks at one file and records what it means. Blocks, and knows nothing of other looks.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tracing::debug;

use super::offer::{Image, offer, to_look_at_first};
use super::refusal::Refusal;
use super::{Context, LARGE_BYTES, Next};
use crate::config::MappingName;
use crate::intake::read::{Looked, Rest, look_and_copy};
use crate::intake::readers::Beat;
use crate::intake::settle::{Due, Origin};
use crate::placement::{Placement, RelPath, Route, SlotAddress};
use crate::store::{FileKey, FileRecord, Fingerprint, Placed, StoreError, Timestamp, Verdict};

/// Where the rules send a file.
pub(super) enum Place {
    Slot(SlotAddress),
    Unplaceable(String),
    None,
}

impl Place {
    pub fn placed(&self) -> Placed<'_> {
        match self {
            Self::Slot(address) => Placed::In(address),
            Self::Unplaceable(_) => Placed::Without,
            Self::None => Placed::Nowhere,
        }
    }

    pub fn slot(&self) -> Option<&SlotAddress> {
        match self {
            Self::Slot(address) => Some(address),
            _ => None,
        }
    }
}

pub(super) fn place(route: &Route, path: &RelPath) -> Place {
    match route.rules.place(path) {
        Placement::Slot { slot, .. } => Place::Slot(slot),
        Placement::Unplaceable { reason, .. } => Place::Unplaceable(reason),
        Placement::Ignored { .. } | Placement::NoRule => Place::None,
    }
}

/// Looks at one file and records what it means.
pub(super) fn look_and_record(
    context: &Context,
    due: &Due,
    beat: &Beat,
) -> Result<Next, StoreError> {
    let (store, key, now) = (&context.store, due.key(), Timestamp::now());
    let mapping = &due.route.mapping;
    let place = place(&due.route, &due.path);
    let known = store.file(&key)?;
    if let Place::None = place {
        return match known {
            Some(_) => {
                let others = store.forget(&key, None, now)?;
                Ok(Next::Others(context.others(due, others)))
            }
            None => Ok(Next::Nothing),
        };
    }
    let on_disk = mapping.folder.join(due.path.as_path()).symlink_metadata();
    let unchanged = |known: &FileRecord| {
        let same = on_disk
            .as_ref()
            .is_ok_and(|meta| Fingerprint::of(meta) == known.fingerprint);
        // An event says that something happened, and two changes can have one time.
        let sure = due.origin.found().is_some() || !is_racy(known);
        same && sure && known.slot.as_ref() == place.slot()
    };
    if known.as_ref().is_some_and(unchanged) {
        return Ok(Next::Nothing);
    }
    let large = |meta: &Metadata| meta.len() > LARGE_BYTES;
    if !due.large && on_disk.as_ref().is_ok_and(large) {
        return Ok(Next::Large(Box::new(due.clone())));
    }
    if let (Ok(meta), Some(address)) = (&on_disk, place.slot())
        && let Some(first) = to_look_at_first(context, due, address, &Fingerprint::of(meta))?
    {
        return context.after(first, due);
    }
    let length = on_disk.as_ref().map_or(0, Metadata::len);
    let within = length <= mapping.max_bytes;
    let mut copying = context.copies.begin(&key, length).filter(|_| within);
    // A malformed file that a recogniser trips over concerns that file alone.
    let looked = catch_unwind(AssertUnwindSafe(|| {
        let copy = copying.as_mut();
        look_and_copy(
            &mapping.folder,
            &due.path,
            mapping.max_bytes,
            due.rest,
            copy,
            beat,
        )
    }))
    .unwrap_or_else(|_| {
        Looked::Unreadable("looking at it failed inside pixcell; please report it".into())
    });
    if let Looked::Gone | Looked::NoFile | Looked::Rejected { .. } = looked {
        context.copies.forget(&key);
    }
    let listed = due.origin.found().is_some();
    let refusal = |fingerprint, verdict| Refusal {
        key: &key,
        known: known.as_ref(),
        place: &place,
        fingerprint,
        verdict,
        max_bytes: mapping.max_bytes,
        listed,
        now,
    };
    let refuse = |fingerprint, verdict, reason: String| {
        let refusal = refusal(fingerprint, verdict);
        refusal.tell(&reason);
        let others = store.refuse(&key, &refusal.record(reason))?;
        Ok(Next::Others(context.others(due, others)))
    };
    match (looked, &place) {
        (
            Looked::Image {
                fingerprint,
                hash,
                format,
            },
            Place::Slot(address),
        ) => {
            // The bytes are later than what was heard when it was found, and so may be their event, which
            // alone says when they arrived.
            if due.origin.now(fingerprint) != due.origin && context.catch_up(&mapping.name) {
                let origin = due.origin.now(fingerprint);
                return Ok(Next::Heard(Box::new(Due {
                    origin,
                    ..due.clone()
                })));
            }
            if let Some(copying) = copying {
                context.copies.keep(&key, hash, copying);
            }
            let image = Image {
                fingerprint,
                hash,
                format,
            };
            offer(context, due, known.as_ref(), image, address)
        }
        (Looked::Image { fingerprint, .. }, Place::Unplaceable(reason)) => {
            refuse(fingerprint, Verdict::Rejected, reason.clone())
        }
        (
            Looked::Rejected {
                fingerprint,
                reason,
            },
            _,
        ) => refuse(fingerprint, Verdict::Rejected, reason),
        (
            Looked::Held {
                fingerprint,
                reason,
            },
            _,
        ) => refuse(fingerprint, Verdict::Held, reason),
        (Looked::Unreadable(reason), _) => {
            let refusal = refusal(Fingerprint::UNKNOWN, Verdict::Held);
            refusal.tell(&reason);
            store.set_unreadable(&key, &refusal.record(reason))?;
            Ok(Next::Nothing)
        }
        (Looked::Unsettled(fingerprint), _) => {
            // A listing waits for one quiet time and not for a file that never rests.
            let counted = due.counted.filter(|_| due.rest == Rest::Unknown);
            let due = Due {
                rest: Rest::QuietAs(fingerprint),
                counted,
                ..due.clone()
            };
            Ok(Next::Again(Box::new(due)))
        }
        (Looked::Changed, _) => {
            let due = Due {
                rest: Rest::Unknown,
                counted: None,
                ..due.clone()
            };
            Ok(Next::Again(Box::new(due)))
        }
        (Looked::Gone, _) if is_away(context, due, known.as_ref(), &place)? => {
            let reason =
                "it is not there, and neither is the disk that it was on; it is waited for";
            let refusal = refusal(Fingerprint::UNKNOWN, Verdict::Held);
            refusal.tell(reason);
            store.set_unreadable(&key, &refusal.record(reason.to_owned()))?;
            Ok(Next::Nothing)
        }
        (Looked::Gone | Looked::NoFile, _) => {
            // Its job can be there without its record: a changed configuration forgets refused files.
            let waits = |address| {
                Ok(store
                    .slot(address)?
                    .job
                    .is_some_and(|job| job.source == key))
            };
            if known.is_none() && !place.slot().map_or(Ok(false), waits)? {
                return Ok(Next::Nothing);
            }
            debug!(mapping = %mapping.name, file = %due.path, "gone");
            let others = store.forget(&key, place.slot(), now)?;
            Ok(Next::Others(context.others(due, others)))
        }
        (Looked::Image { .. }, Place::None) => Ok(Next::Nothing),
    }
}

impl Context {
    /// Waits for what the kernel has to tell of a folder; whether that is known to be told. Blocks.
    pub fn catch_up(&self, mapping: &MappingName) -> bool {
        let hearing = self.hearing.get(mapping);
        hearing.is_some_and(|hearing| hearing.catch_up())
    }

    /// Has `first` looked at, and then the file at hand.
    fn after(&self, first: FileKey, due: &Due) -> Result<Next, StoreError> {
        let asks = due.asked == 0;
        if asks {
            self.store.look_again(&first)?;
        }
        let first = self.others(due, asks.then_some(first).into_iter().collect());
        let again = Due {
            asked: due.asked.saturating_add(1),
            ..due.clone()
        };
        Ok(Next::After(first, Box::new(again)))
    }

    /// Files that a look at another one asks for: each arrived when it is known to have.
    pub fn others(&self, due: &Due, keys: Vec<FileKey>) -> Vec<Due> {
        let others = keys.into_iter().filter_map(|FileKey { mapping, path }| {
            Some(Due {
                route: Arc::clone(self.routes.of(&mapping)?),
                path,
                tick: due.tick,
                // As by a listing. Not looked at here: it may be another's folder, which may hang.
                origin: Origin::Found(Fingerprint::UNKNOWN),
                rest: Rest::Unknown,
                counted: due.counted,
                large: false,
                asked: 0,
            })
        });
        others.collect()
    }
}

/// Whether the folder of a file that waits is not there either, or is on another file system than the file was: a
/// disk was taken out, and comes back. What an event tells of, or a listing that believes what it sees, is gone.
fn is_away(
    context: &Context,
    due: &Due,
    known: Option<&FileRecord>,
    place: &Place,
) -> Result<bool, StoreError> {
    let folder = &due.route.mapping.folder;
    let whole = folder.join(due.path.as_path());
    let above = whole.ancestors().skip(1);
    let mut above = above.take_while(|above| above.starts_with(folder));
    let Some(above) = above.find_map(|above| above.metadata().ok()) else {
        return Ok(known.is_some());
    };
    if due.origin.found().is_none() {
        return Ok(false);
    }
    let Some(address) = place.slot() else {
        return Ok(false);
    };
    // The record may say that it is to be looked at again, and no more.
    let job = context.store.slot(address)?.job;
    let job = job.filter(|job| job.source == due.key());
    Ok(job.is_some_and(|job| job.fingerprint.device != above.dev()))
}

/// Clocks of file systems are coarse (FAT: 2 s): a file that was looked at so soon after its last change
/// may have changed again without its times telling.
const COARSEST_CLOCK: Duration = Duration::from_secs(2);

fn is_racy(known: &FileRecord) -> bool {
    let changed = u64::try_from(known.fingerprint.ctime / 1_000_000).unwrap_or(0);
    known.at.since(Timestamp(changed)) < COARSEST_CLOCK
}
