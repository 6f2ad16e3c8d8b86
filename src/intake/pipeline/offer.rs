//! A whole image that a look found: when it arrived, and its offer to its slot. Opens no file.

use tracing::{debug, info};

use super::{Context, Next};
use crate::image::{ContentHash, Format};
use crate::intake::decide::{Decision, Offer, Rival, Stand, decide, rival};
use crate::intake::settle::{Due, Origin};
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
    let written = due.origin == Origin::Written;
    let same = |known: &&FileRecord| !written && only_attributes_differ(known, image, address);
    if let Some(known) = known.filter(same) {
        let same = FileRecord {
            seen: known.seen.clone(),
            ..record(None)
        };
        store.same_content(&key, &same, address, hash)?;
        return Ok(Next::Nothing);
    }
    let again = known
        .filter(|_| due.origin.found().is_some())
        .and_then(|known| known.arrival_again(hash, address));
    let slot = store.slot(address)?;
    let arrived = arrived(store, due, fingerprint);
    let arrival = match (again, rival_of(context, due, &slot, &fingerprint)?) {
        (Some(arrival), _) => arrival.clone(),
        (None, Some((rival, Stand::There))) => rival
            .arrival
            .just_before(fingerprint.mtime, due.path.as_bytes()),
        (None, _) => arrived,
    };
    // Of one file the latest look is the newest, whoever led to it.
    let newest = slot.newest().filter(|newest| *newest.source == key);
    let arrival = newest.map_or(arrival.clone(), |newest| {
        arrival.max(newest.arrival.clone())
    });
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

/// The file that has to be looked at first, before it can be said when one arrived that was found when watching
/// began: the newest of its slot. Opens nothing, as that may be repeated.
pub(super) fn to_look_at_first(
    context: &Context,
    due: &Due,
    address: &SlotAddress,
    found: &Fingerprint,
) -> Result<Option<FileKey>, StoreError> {
    if !matches!(due.origin, Origin::FoundFirst(_)) || due.asked >= ASKED_MOST {
        return Ok(None);
    }
    let slot = context.store.slot(address)?;
    let rival = rival_of(context, due, &slot, found)?;
    let rival = rival.filter(|(_, stand)| *stand == Stand::Unsure);
    Ok(rival.map(|(rival, _)| rival.source))
}

/// The rival of a file that was found when watching began, and how it stands.
fn rival_of(
    context: &Context,
    due: &Due,
    slot: &SlotRecord,
    found: &Fingerprint,
) -> Result<Option<(Rival, Stand)>, StoreError> {
    let Origin::FoundFirst(_) = due.origin else {
        return Ok(None);
    };
    // What one listing found is in order by itself.
    let arrived = arrived(&context.store, due, *found);
    if slot.newest().is_none_or(|newest| arrived < *newest.arrival) {
        return Ok(None);
    }
    let Some(rival) = rival(&context.store, slot, &due.key(), found)? else {
        return Ok(None);
    };
    // Nobody can say what has become of a file whose mapping is none any more.
    let Some(route) = context.routes.of(&rival.source.mapping) else {
        return Ok(None);
    };
    let ours = route.mapping.name == due.route.mapping.name;
    let stand = match rival.stand_as_recorded() {
        Stand::There if ours => rival.stand(&route.mapping.folder),
        // Another's folder may hang. Once its file was looked at, the record tells.
        Stand::There if due.asked == 0 => Stand::Unsure,
        stand => stand,
    };
    Ok(Some((rival, stand)))
}

fn arrived(store: &Store, due: &Due, seen: Fingerprint) -> Arrival {
    let listed = due.origin.found().is_some();
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
