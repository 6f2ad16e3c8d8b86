//! What becomes of a job once its call has ended or could not begin: recorded, repeated later, parked or given
//! up; and which gates that opens and closes. Makes no call.

use std::sync::atomic::Ordering;
use std::time::Duration;

use metrics::{counter, histogram};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::{COMPANY, LaneEvent, LaneState, Turn, Worker};
use crate::feishu::{CallError, Class, Outcome, Receipt};
use crate::placement::{Slot, SlotAddress};
use crate::store::{FileKey, Job, Parked, Release, Store, Target, Timestamp};
use crate::upload::gate::{Pause, Probe, SharedGate, Ticket};
use crate::upload::react::{Probes, Reaction, back_off, react};

/// Jobs whose failures are counted; those of any of them are forgotten for one more.
pub(super) const TRIES_MOST: usize = 1024;

/// How a job failed for itself, since it was queued or released.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tries {
    /// Calls.
    failed: u32,
    /// Answers in a row with a code that nobody knows.
    unknown: u32,
}

impl Worker {
    pub(super) async fn written(
        &mut self,
        address: SlotAddress,
        job: Job,
        target: Target,
        receipt: Receipt,
        took: Duration,
        min_interval: Duration,
    ) -> Turn {
        let (now, revision) = (Timestamp::now(), receipt.revision);
        histogram!("pixcell_stage_seconds", "stage" => "call").record(took);
        let recording = Instant::now();
        let (due, lane) = (now.after(min_interval), self.lane.spreadsheet.clone());
        let answers = self.shared().answers();
        let written = move |store: &Store| {
            let receipt = store.written(&address, &job, &target, revision, now, due)?;
            let ahead = store.next_of(&lane, answers)?;
            Ok((receipt, ahead, (address, job, target)))
        };
        let (receipt, ahead, (address, job, target)) = self.shared().store.call(written).await?;
        self.ahead = ahead;
        self.tries.remove(&job.id);
        self.got_through();
        let shared = self.shared().clone();
        let (waits, over) = oneshot::channel::<()>();
        // The next call need not wait for the disk: its request is whole only when its intent is on it, and
        // this with it.
        let settled = tokio::spawn(async move {
            let alone = async { drop(tokio::time::timeout(COMPANY, over).await) };
            shared.store.settle_in_company(receipt, alone).await?;
            histogram!("pixcell_stage_seconds", "stage" => "record").record(recording.elapsed());
            count_written(&job);
            shared.written.fetch_add(1, Ordering::Relaxed);
            let FileKey { mapping, path } = &job.source;
            info!(%mapping, file = %path, slot = %address.slot, cell = %target,
                revision, hash = %job.hash,
                bytes = job.fingerprint.size, took = %format_args!("{took:.1?}"), "written");
            // Nobody listening is fine.
            let _ = shared.events.send(LaneEvent::Written {
                bytes: job.fingerprint.size,
                source: job.source,
                address,
                target,
                revision,
                took,
            });
            Ok(())
        });
        self.receipt = Some((settled, Some(waits)));
        Ok(())
    }

    /// Both gates are open, and the next failure is a first one.
    fn got_through(&mut self) {
        // Of a gate that was closed: since when.
        let open = |gate: &SharedGate| {
            let since = gate.closed().map(|closed| closed.since);
            gate.change(|gate| gate.open(Instant::now()))
                .then_some(since)
        };
        let gates = [open(&self.lane.gate), open(&self.shared().gate)];
        (self.refused, self.apart) = (None, false);
        let failures = std::mem::take(&mut self.failures);
        if failures > 0 || gates.iter().any(Option::is_some) {
            let since = gates.into_iter().flatten().flatten().min();
            let closed = since.map(|since| Timestamp::now().since(since));
            let closed = closed.map(tracing::field::debug);
            let failures = (failures > 0).then_some(failures);
            info!(spreadsheet = %self.lane.spreadsheet, closed, failures, "calls succeed again");
        }
    }

    /// `resolving`: the call asked where to write, and none was begun for the job.
    pub(super) async fn failed(
        &mut self,
        address: SlotAddress,
        job: Job,
        error: CallError,
        resolving: bool,
    ) -> Turn {
        let class = error.class().unwrap_or(Class::Busy);
        let untouched = !resolving && error.outcome() == Outcome::Untouched;
        let tries = self.tries(&job, class);
        let reaction = react(class, tries.unknown, self.failures, error.wait());
        let reaction = match reaction {
            // It concerns whatever the document would get, not this picture.
            Reaction::Park(_) if resolving => Reaction::CloseLane(Probes::Person),
            // What others need is not missing.
            Reaction::CloseApp(Probes::Person) if error.refusal().is_some() && self.is_apart() => {
                Reaction::CloseLane(Probes::Person)
            }
            reaction => reaction,
        };
        // A host that is not reached says nothing of this lane: its own waits do not grow meanwhile. What a
        // gateway answers while others get through concerns this document alone.
        let unreached = class == Class::Unreached;
        let gateway = unreached && error.refusal().is_some();
        if !unreached || (gateway && self.is_alone()) {
            self.failures = self.failures.saturating_add(1);
        }
        if matches!(class, Class::Document | Class::Cell) {
            self.document.forget();
        }
        let (clock, reason) = (Timestamp::now(), error.to_string());
        let FileKey { mapping, path } = &job.source;
        let slot = &address.slot;
        let (code, logid) = told(&error);
        let asked = error.wait().is_some();
        let own_wait = back_off(self.failures.saturating_sub(1));
        let due = match reaction {
            Reaction::Park(until) => {
                self.failures = 0;
                // Released, it gets as many tries again.
                self.tries.remove(&job.id);
                return self
                    .park(address, job, parked(reason, Some(&error), until), untouched)
                    .await;
            }
            Reaction::CloseApp(probes) => {
                let probe = self.probing.app.as_ref().map(Probe::ticket);
                let gate = &self.shared().gate;
                let closed = self.close(gate, "the app", &job, slot, &error, (probes, probe));
                // Others may get through and open it again, for ever: this lane then waits all the same. After a
                // gateway's answer another one is to probe, if there is any.
                let wait = match probes {
                    Probes::Host if gateway => Some(own_wait + closed.unwrap_or_default()),
                    Probes::Host => None,
                    _ => Some(own_wait),
                };
                if let Some(wait) = wait {
                    pause(&self.lane.gate, &reason, wait, false);
                }
                clock
            }
            Reaction::CloseLane(probes) => {
                let probe = self.probing.own.as_ref().map(Probe::ticket);
                let gate = &self.lane.gate;
                self.close(
                    gate,
                    "this spreadsheet",
                    &job,
                    slot,
                    &error,
                    (probes, probe),
                );
                clock
            }
            Reaction::PauseApp(wait) => {
                pause(&self.shared().gate, &reason, wait, asked);
                if gateway {
                    pause(&self.lane.gate, &reason, wait + own_wait, false);
                }
                // Only now: nobody gets through while it is told.
                warn!(%mapping, file = %path, %slot, code, logid, "{reason}; all calls wait for {wait:.1?}");
                clock
            }
            Reaction::PauseLane(_) | Reaction::BackOff => {
                let wait = match reaction {
                    Reaction::PauseLane(wait) => wait,
                    _ => own_wait,
                };
                warn!(%mapping, file = %path, %slot, failures = self.failures, code, logid, "{reason}; next try in {wait:.1?}");
                self.pause_lane(&reason, wait, asked);
                self.lane.state.send_replace(LaneState::Waiting {
                    why: reason.clone(),
                    failures: self.failures,
                    until: clock.after(wait),
                });
                // Behind the others, so that one job that always fails does not hold them up. When it fails for
                // itself its waits grow, though others succeed in between.
                let own = back_off(tries.failed.saturating_sub(1));
                clock.after(match reaction {
                    Reaction::BackOff => own,
                    _ => own.min(wait),
                })
            }
        };
        self.tell(LaneEvent::Failed {
            spreadsheet: self.lane.spreadsheet.clone(),
            reason,
            failures: self.failures,
        });
        self.store(move |store| store.postpone(&address, &job, due, untouched))
            .await
    }

    /// How this job has failed for itself, this failure included.
    fn tries(&mut self, job: &Job, class: Class) -> Tries {
        // What everybody meets says nothing of the job.
        if !matches!(class, Class::Busy | Class::Unknown) {
            return self.tries.get(&job.id).copied().unwrap_or_default();
        }
        if self.tries.len() >= TRIES_MOST
            && !self.tries.contains_key(&job.id)
            && let Some(any) = self.tries.keys().next().copied()
        {
            self.tries.remove(&any);
        }
        let tries = self.tries.entry(job.id).or_default();
        tries.failed = tries.failed.saturating_add(1);
        tries.unknown = match class {
            Class::Unknown => tries.unknown.saturating_add(1),
            _ => 0,
        };
        *tries
    }

    /// Whether others got through to the host since a gateway answered this lane last.
    fn is_alone(&mut self) -> bool {
        let opened = self.shared().gate.opened();
        let before = self.opened.replace(opened);
        before.is_some_and(|before| before != opened)
    }

    /// Whether this lane's calls are refused for want of credentials while others' get through, as when a scope is
    /// missing that only a wiki's documents need. It would close the app's gate again and again.
    fn is_apart(&mut self) -> bool {
        let opened = self.shared().gate.opened();
        let before = self.refused.replace(opened);
        self.apart |= before.is_some_and(|before| before != opened);
        self.apart
    }

    /// Closes a gate; the wait before its next probe, if that changes.
    fn close(
        &self,
        gate: &SharedGate,
        whose: &str,
        job: &Job,
        slot: &Slot,
        error: &CallError,
        (probes, probe): (Probes, Option<Ticket>),
    ) -> Option<Duration> {
        let (now, clock, reason) = (Instant::now(), Timestamp::now(), error.to_string());
        let before = gate.closed();
        let wait = gate.change(|gate| gate.close(&reason, probes, probe, now, clock));
        let FileKey { mapping, path } = &job.source;
        // Told when it closes and when the reason changes, not at every probe.
        if let Some(wait) = wait
            && before.is_none_or(|before| before.reason != reason)
        {
            let (code, logid) = told(error);
            warn!(%mapping, file = %path, %slot, code, logid, "nothing is sent for {whose}: {reason}; next try in {wait:.1?}");
        }
        self.tell(LaneEvent::GateClosed { reason });
        wait
    }

    pub(super) async fn park(
        &self,
        address: SlotAddress,
        job: Job,
        parked: Parked,
        untouched: bool,
    ) -> Turn {
        let current = {
            let (address, job, parked) = (address.clone(), job.clone(), parked.clone());
            let park = move |store: &Store| store.park(&address, &job, &parked, untouched);
            self.shared().store.call(park).await?
        };
        if current {
            let (FileKey { mapping, path }, reason) = (&job.source, parked.reason);
            counter!("pixcell_parked_total", "mapping" => mapping.to_string()).increment(1);
            let (code, logid) = (parked.code, parked.log_id.as_deref());
            warn!(%mapping, file = %path, slot = %address.slot, code, logid, "parked: {reason}");
            self.tell(LaneEvent::Parked {
                source: job.source,
                address,
                reason,
            });
        }
        Ok(())
    }

    pub(super) async fn stale(&self, address: SlotAddress, job: Job, untouched: bool) -> Turn {
        debug!(mapping = %job.source.mapping, file = %job.source.path, slot = %address.slot,
            "changed since it was hashed; looking again");
        let key = job.source.clone();
        self.store(move |store| store.set_stale(&address, &job, untouched))
            .await?;
        // Full: the next listing finds it.
        let _ = self.shared().stale.try_send(key);
        Ok(())
    }

    pub(super) async fn withdraw(&self, address: SlotAddress, job: Job) -> Turn {
        info!(mapping = %job.source.mapping, file = %job.source.path, slot = %address.slot,
            "withdrawn: the configuration no longer sends this file there");
        let withdraw = move |store: &Store| store.withdraw(&address, &job, Timestamp::now());
        let others = self.shared().store.call(withdraw).await?;
        for other in others {
            // Full: the next listing finds it.
            let _ = self.shared().stale.try_send(other);
        }
        Ok(())
    }
}

/// Closes a gate for a time; `asked` when the server named it.
pub(super) fn pause(gate: &SharedGate, reason: &str, wait: Duration, asked: bool) {
    let (pause, now, clock) = (Pause { wait, asked }, Instant::now(), Timestamp::now());
    gate.change(|gate| gate.pause(reason, pause, now, clock));
}

/// Counts a receipt that was recorded just now.
fn count_written(job: &Job) {
    let mapping = job.source.mapping.to_string();
    counter!("pixcell_written_total", "mapping" => mapping.clone()).increment(1);
    counter!("pixcell_written_bytes_total", "mapping" => mapping).increment(job.fingerprint.size);
    // Only an event carries no name; how old a file is that a listing found says nothing of us.
    if job.arrival.name.is_empty() {
        let changed = u64::try_from(job.fingerprint.ctime / 1_000_000).unwrap_or(0);
        histogram!("pixcell_close_to_receipt_seconds")
            .record(Timestamp::now().since(Timestamp(changed)));
    }
}

/// Code and log id of an answer, for logs.
fn told(error: &CallError) -> (Option<i64>, Option<&str>) {
    let refusal = error.refusal();
    (
        refusal.and_then(|refusal| refusal.code),
        refusal.and_then(|refusal| refusal.log_id.as_deref()),
    )
}

/// A job's reason to wait for a person or a change.
pub(super) fn parked(reason: String, error: Option<&CallError>, until: Release) -> Parked {
    let refusal = error.and_then(CallError::refusal);
    Parked {
        reason,
        code: refusal.and_then(|refusal| refusal.code),
        log_id: refusal.and_then(|refusal| refusal.log_id.clone()),
        at: Timestamp::now(),
        until,
    }
}
