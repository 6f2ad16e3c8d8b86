//! A whole image that a look found: when it arrived, and its offer to its slot. Opens no file.

use tracing::{debug, info};

use super::{Context, Next};
use crate::image::{ContentHash, Format};
use crate::intake::decide::{Decision, Offer, decide, rival};
use crate::intake::settle::Due;
use crate::placement::SlotAddress;
use crate::store::{
    Arrival, FileKey, FileRecord, Fingerprint, Seen, SlotRecord, Store, StoreError, Timestamp,
};

/// How often a file of another mapping is waited for, at [`super::ASKED_AGAIN_AFTER`] each: its folder may hang,
/// and the picture at hand is not held up for that.
const ASKED_MOST: u8 = 50;

/// A whole image and the file that it was read from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Image {
    pub fingerprint: Fingerprint,
    pub hash: ContentHash,
    pub format: Format,
}

/// Records the image and lets its slot decide. `known` is what was recorded of the file before.
pub(super) fn offer(
    context: &Context,
    due: &Due,
    known: Option<&FileRecord>,
    image: Image,
    address: &SlotAddress,
) -> Result<Next, StoreError> {
    let (store, key, now) = (&context.store, due.key(), Timestamp::now());
    let Image {
        fingerprint,
        hash,
        format,
    } = image;
    let record = |arrival| FileRecord {
        fingerprint,
        slot: Some(address.clone()),
        seen: Seen::Image {
            hash,
            format,
            arrival,
        },
        at: now,
    };
    if let Some(known) = known.filter(|known| only_attributes_differ(known, image, address)) {
        let same = FileRecord {
            seen: known.seen.clone(),
            ..record(None)
        };
        store.same_content(&key, &same, address, hash)?;
        return Ok(Next::Nothing);
    }
    let again = known
        .filter(|_| due.found.is_some())
        .and_then(|known| known.arrival_again(hash, address));
    let arrival = match again {
        Some(arrival) => arrival.clone(),
        // Nobody saw it arrive.
        None if due.first => match newer(store, due, address, fingerprint)? {
            Newer::None => arrived(store, due, fingerprint),
            Newer::Of(before) => before,
            Newer::Unknown(rival) => {
                if due.asked == 0 {
                    store.look_again(&rival)?;
                }
                let asked = Due {
                    asked: due.asked.saturating_add(1),
                    ..due.clone()
                };
                let others = (due.asked == 0).then_some(rival).into_iter().collect();
                return Ok(Next::After(context.others(due, others), Box::new(asked)));
            }
        },
        None => arrived(store, due, fingerprint),
    };
    let offer = Offer {
        id: store.next_id()?,
        hash,
        format,
        fingerprint,
        source: key.clone(),
        arrival: arrival.clone(),
        now,
        min_interval: due.route.mapping.min_interval,
    };
    let offered = offer.clone();
    let decide = move |slot: &mut SlotRecord| decide(slot, &offered);
    let decision = store.take_image(&key, &record(Some(arrival)), address, decide)?;
    tell(&key, address, &offer, decision);
    Ok(Next::Nothing)
}

/// The same bytes for the same slot, written at the same time, with another owner, mode or inode: no new arrival.
fn only_attributes_differ(known: &FileRecord, image: Image, address: &SlotAddress) -> bool {
    let Seen::Image { hash, format, .. } = known.seen else {
        return false;
    };
    let written = |of: &Fingerprint| (of.size, of.mtime);
    (hash, format) == (image.hash, image.format)
        && known.slot.as_ref() == Some(address)
        && written(&known.fingerprint) == written(&image.fingerprint)
}

/// What another file of the slot says of one that was found when watching began.
enum Newer {
    None,
    /// It is newer; the one at hand arrived before it, then.
    Of(Arrival),
    /// It may be, if it is still there: it lies in a folder that this look must not ask.
    Unknown(FileKey),
}

fn newer(
    store: &Store,
    due: &Due,
    address: &SlotAddress,
    found: Fingerprint,
) -> Result<Newer, StoreError> {
    let key = due.key();
    let Some(rival) = rival(store, &store.slot(address)?, &key, &found)? else {
        return Ok(Newer::None);
    };
    let mapping = &due.route.mapping;
    let is_there = if !rival.is_known() {
        None
    } else if rival.source.mapping == mapping.name {
        Some(rival.is_there(&mapping.folder))
    } else {
        // The look that was asked for has found it, or its record would be gone.
        (due.asked > 0).then_some(true)
    };
    Ok(match is_there {
        Some(true) => Newer::Of(rival.arrival.just_before(found.mtime, due.path.as_bytes())),
        None if due.asked < ASKED_MOST => Newer::Unknown(rival.source),
        Some(false) | None => Newer::None,
    })
}

fn arrived(store: &Store, due: &Due, seen: Fingerprint) -> Arrival {
    let listed = due.found.is_some();
    Arrival {
        epoch: store.epoch(),
        tick: due.tick,
        mtime: if listed { seen.mtime } else { 0 },
        name: if listed {
            due.path.as_bytes().to_vec()
        } else {
            Vec::new()
        },
    }
}

fn tell(key: &FileKey, address: &SlotAddress, offer: &Offer, decision: Decision) {
    let FileKey { mapping, path } = key;
    let (slot, hash) = (&address.slot, offer.hash);
    match decision {
        Decision::StaysParked => {
            info!(%mapping, file = %path, %slot, %hash, "new image for a slot that is parked; see `pixcell status`");
        }
        decision => debug!(%mapping, file = %path, %slot, %hash, ?decision, "image"),
    }
}
