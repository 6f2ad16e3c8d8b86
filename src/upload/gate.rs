//! A gate: open, or closed with a reason and the time of the next probe. Decisions take the time as an
//! argument; [`SharedGate`] adds the waiting.
//!
//! One probe counts at a time, and whoever makes it holds a [`Probe`]. It ends when that is dropped at the
//! latest, and after [`LOST_AFTER`] it is taken for lost: nothing that befalls one lane holds up the others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::react::Probes;
use crate::config::SpreadsheetRef;
use crate::store::Timestamp;

/// A probe that is under way for longer than this counts no more, and another may be made. Longer than a
/// picture of 20 MiB takes at 1 Mbit/s; whoever takes longer all the same costs one call more.
const LOST_AFTER: Duration = Duration::from_mins(10);

/// Why a gate is closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// What happened and what to do, for people.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// When it is tried next.
    pub until: Timestamp,
    /// Whether it opens without a person: a wait, or a host that cannot be reached.
    pub passing: bool,
    /// Probes that failed in a row.
    #[serde(default)]
    pub failed: u32,
}

impl Closed {
    /// One line for people.
    pub fn line(&self) -> String {
        format!(
            "{} (since {}, next try {})",
            self.reason, self.since, self.until
        )
    }
}

/// A wait that ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// How long.
    pub wait: Duration,
    /// Whether the server named it. Then nothing shortens it.
    pub asked: bool,
}

/// Whether a call may go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// It may.
    Open,
    /// This one may, to find out; all others wait for its outcome.
    Probe(Ticket),
    /// Not before this.
    Wait(Instant),
}

/// Tells a probe from those before it: what comes of one that no longer counts changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

/// Open or closed.
#[derive(Debug, Default)]
pub struct Gate {
    shut: Option<Shut>,
    /// The wait that the server asked for: whatever closes or opens the gate, it is not open before its end.
    asked: Option<Asked>,
    /// Tickets given out.
    tickets: u64,
    /// How often a call got through what probes were waiting for.
    opened: u64,
}

#[derive(Debug)]
struct Shut {
    told: Closed,
    opens: Opens,
    at: Instant,
}

#[derive(Debug, Clone)]
struct Asked {
    told: Closed,
    until: Instant,
}

#[derive(Debug, PartialEq, Eq)]
enum Opens {
    ByTime,
    ByProbe {
        probes: Probes,
        failed: u32,
        probing: Option<Probing>,
    },
}

/// The probe that counts.
#[derive(Debug, PartialEq, Eq)]
struct Probing {
    ticket: Ticket,
    lost: Instant,
}

impl Gate {
    /// Closes for a time; `asked` when the server named it. A longer wait or one for a probe stays.
    pub fn pause(&mut self, reason: &str, wait: Pause, now: Instant, clock: Timestamp) {
        let Pause { wait, asked } = wait;
        let until = now + wait;
        let told = Closed {
            reason: reason.to_owned(),
            since: self.shut.as_ref().map_or(clock, |shut| shut.told.since),
            until: clock.after(wait),
            passing: true,
            failed: 0,
        };
        match &mut self.shut {
            // A probe that is told to wait is over; the next one keeps to that wait.
            Some(Shut {
                opens: Opens::ByProbe { probing, .. },
                told: closed,
                at,
            }) => {
                *probing = None;
                if *at < until {
                    (*at, closed.until) = (until, told.until);
                }
            }
            Some(shut) if shut.at >= until => {}
            shut => {
                *shut = Some(Shut {
                    told: told.clone(),
                    opens: Opens::ByTime,
                    at: until,
                });
            }
        }
        let is_longest = |before: &Asked| before.until < until;
        if asked && self.asked.as_ref().is_none_or(is_longest) {
            self.asked = Some(Asked { told, until });
        }
    }

    /// What is left of the wait that the server asked for.
    fn asked(&self, now: Instant) -> Option<&Asked> {
        self.asked.as_ref().filter(|asked| now < asked.until)
    }

    /// No less than what is left of the wait that the server asked for.
    fn as_asked(&self, wait: Duration, now: Instant) -> Duration {
        self.asked(now)
            .map_or(wait, |asked| wait.max(asked.until - now))
    }

    /// Opens, once the server's wait is over.
    fn open_as_asked(&mut self, now: Instant) {
        self.shut = self.asked(now).cloned().map(|asked| Shut {
            told: asked.told,
            opens: Opens::ByTime,
            at: asked.until,
        });
    }

    /// Closes until a probe gets through, and tells the wait for the next one. `probe`: the call that failed
    /// was this probe. `None` when it is closed already and a call begun before brings no news.
    pub fn close(
        &mut self,
        reason: &str,
        probes: Probes,
        probe: Option<Ticket>,
        now: Instant,
        clock: Timestamp,
    ) -> Option<Duration> {
        let failed = match &self.shut {
            Some(Shut {
                opens:
                    Opens::ByProbe {
                        probes: before,
                        failed,
                        probing,
                    },
                ..
            }) => match (*before == probes, counts(probing.as_ref(), probe)) {
                (true, true) => failed + 1,
                (false, true) => 0,
                // Whoever is heard of is reached, and says what is wrong.
                (false, false) if *before == Probes::Host => 0,
                (_, false) => return None,
            },
            _ => 0,
        };
        // A wait that the server asked for is kept by probes as well.
        let wait = self.as_asked(probes.wait(failed), now);
        self.shut = Some(Shut {
            told: Closed {
                reason: reason.to_owned(),
                since: self.shut.as_ref().map_or(clock, |shut| shut.told.since),
                until: clock.after(wait),
                passing: probes == Probes::Host,
                failed,
            },
            opens: Opens::ByProbe {
                probes,
                failed,
                probing: None,
            },
            at: now + wait,
        });
        Some(wait)
    }

    /// A call got through: what probes were waiting for is so. `true` when that was the case. A wait goes
    /// on: a call begun before it says nothing of it.
    pub fn open(&mut self, now: Instant) -> bool {
        let by_probe = |shut: &Shut| matches!(shut.opens, Opens::ByProbe { .. });
        let opens = self.shut.as_ref().is_some_and(by_probe);
        if opens {
            self.opened += 1;
            self.open_as_asked(now);
        }
        opens
    }

    /// A probe ended without telling anything of the gate; another may try, later.
    pub fn inconclusive(&mut self, ticket: Ticket, now: Instant, clock: Timestamp) {
        let asked = self.as_asked(Duration::ZERO, now);
        if let Some((shut, wait)) = self.end_probe(ticket) {
            let wait = wait.max(asked);
            shut.at = now + wait;
            shut.told.until = clock.after(wait);
        }
    }

    /// A call of a probe was answered, and not with what closed the gate, nor by a success: `true` when that opens
    /// it, as whoever answers is reached and counts. What a person has to mend may be missing for writes alone, so
    /// that only the answer to one (`wrote`) says that it is not; otherwise another may try at once.
    pub fn answered(&mut self, ticket: Ticket, wrote: bool, now: Instant) -> bool {
        let Some(Shut {
            opens: Opens::ByProbe {
                probes, probing, ..
            },
            ..
        }) = &mut self.shut
        else {
            return false;
        };
        let ours = probing.take_if(|probing| probing.ticket == ticket);
        let opens = ours.is_some() && (wrote || *probes != Probes::Person);
        opens && self.open(now)
    }

    /// A probe was given back, or its lane is gone; another may try at once.
    pub fn unused(&mut self, ticket: Ticket) {
        let _ = self.end_probe(ticket);
    }

    /// Makes room for another probe, and tells the usual wait before it; `None` when this one counts no more.
    fn end_probe(&mut self, ticket: Ticket) -> Option<(&mut Shut, Duration)> {
        let shut = self.shut.as_mut()?;
        let Opens::ByProbe {
            probes,
            failed,
            probing,
        } = &mut shut.opens
        else {
            return None;
        };
        let wait = probes.wait(*failed);
        probing.take_if(|probing| probing.ticket == ticket)?;
        Some((shut, wait))
    }

    /// A person may have mended it: tried at the next call. A wait that the server asked for goes on. Tells
    /// why it was closed until now; `None`: nothing changes.
    pub fn try_now(&mut self, now: Instant, clock: Timestamp) -> Option<String> {
        let why = self.closed(now)?.reason.clone();
        let asked = self.asked(now).cloned();
        match (&mut self.shut, asked) {
            // It is not open before the end of that wait as it is.
            (Some(shut), Some(asked)) if shut.at <= asked.until => return None,
            (
                Some(Shut {
                    opens: Opens::ByProbe { probing, .. },
                    told,
                    at,
                }),
                asked,
            ) => {
                *probing = None;
                *at = asked.as_ref().map_or(now, |asked| asked.until);
                told.until = asked.map_or(clock, |asked| asked.told.until);
            }
            _ => self.open_as_asked(now),
        }
        Some(why)
    }

    /// Whether a call may go through now. [`Pass::Probe`] is given to one caller at a time.
    pub fn pass(&mut self, now: Instant) -> Pass {
        match &mut self.shut {
            None => Pass::Open,
            Some(shut) if now < shut.at => Pass::Wait(shut.at),
            Some(Shut {
                opens: Opens::ByTime,
                ..
            }) => {
                self.shut = None;
                Pass::Open
            }
            Some(Shut {
                opens: Opens::ByProbe { probing, .. },
                ..
            }) => match probing {
                // Its end wakes whoever waits.
                Some(Probing { lost, .. }) if now < *lost => Pass::Wait(*lost),
                _ => {
                    self.tickets += 1;
                    let ticket = Ticket(self.tickets);
                    let lost = now + LOST_AFTER;
                    *probing = Some(Probing { ticket, lost });
                    Pass::Probe(ticket)
                }
            },
        }
    }

    /// Whether a call that got through may still go: no wait was asked for since, and a gate that a person or the
    /// month has to open is closed to whatever is not the `probe` that counts. A host that one call did not
    /// reach may be there for another, which then opens the gate.
    pub fn may_go(&self, probe: Option<Ticket>, now: Instant) -> bool {
        self.shut.as_ref().is_none_or(|shut| match &shut.opens {
            Opens::ByProbe {
                probes: Probes::Host,
                ..
            } => self.asked(now).is_none(),
            Opens::ByProbe { probing, .. } => counts(probing.as_ref(), probe),
            Opens::ByTime => shut.at <= now,
        })
    }

    /// Why it is closed. A pause that is over needs nobody to open it.
    pub fn closed(&self, now: Instant) -> Option<&Closed> {
        let shut = self.shut.as_ref()?;
        let by_probe = matches!(shut.opens, Opens::ByProbe { .. });
        (by_probe || now < shut.at).then_some(&shut.told)
    }
}

/// Whether `probe` is the probe that counts.
fn counts(probing: Option<&Probing>, probe: Option<Ticket>) -> bool {
    probing.is_some_and(|probing| Some(probing.ticket) == probe)
}

/// A gate that several tasks pass.
#[derive(Debug, Default)]
pub struct SharedGate {
    gate: Mutex<Gate>,
    changed: Notify,
}

/// A probe, for as long as somebody is at it. Dropped, it is given back unused.
#[derive(Debug)]
pub struct Probe {
    gate: Arc<SharedGate>,
    ticket: Ticket,
}

impl Probe {
    /// Which one it is.
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// A call was made, and told nothing of the gate unless it has changed it already.
    pub fn inconclusive(self, now: Instant, clock: Timestamp) {
        self.gate
            .change(|gate| gate.inconclusive(self.ticket, now, clock));
    }

    /// [`Gate::answered`]; when it opened the gate, since when that was closed.
    pub fn answered(self, wrote: bool, now: Instant) -> Option<Timestamp> {
        self.gate.change(|gate| {
            let since = gate.closed(now)?.since;
            gate.answered(self.ticket, wrote, now).then_some(since)
        })
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.gate.change(|gate| gate.unused(self.ticket));
    }
}

impl SharedGate {
    /// Waits until a call may go through; it is a probe when one is told.
    pub async fn pass(self: &Arc<Self>) -> Option<Probe> {
        loop {
            let changed = self.changed.notified();
            match self.with(|gate| gate.pass(Instant::now())) {
                Pass::Wait(until) => {
                    tokio::select! {
                        () = changed => {}
                        () = sleep_until(until) => {}
                    }
                }
                Pass::Open => return None,
                Pass::Probe(ticket) => {
                    let gate = Arc::clone(self);
                    return Some(Probe { gate, ticket });
                }
            }
        }
    }

    /// Changes the gate and wakes whoever waits.
    pub fn change<R>(&self, change: impl FnOnce(&mut Gate) -> R) -> R {
        let answer = self.with(change);
        self.changed.notify_waiters();
        answer
    }

    /// Why the server asked for a wait, and what is left of it.
    pub fn asked(&self) -> Option<(String, Duration)> {
        let now = Instant::now();
        self.with(|gate| {
            let asked = gate.asked(now)?;
            Some((asked.told.reason.clone(), asked.until - now))
        })
    }

    /// How often a call got through what probes were waiting for.
    pub fn opened(&self) -> u64 {
        self.with(|gate| gate.opened)
    }

    /// [`Gate::may_go`] now.
    pub fn may_go(&self, probe: Option<Ticket>) -> bool {
        self.with(|gate| gate.may_go(probe, Instant::now()))
    }

    /// Why it is closed.
    pub fn closed(&self) -> Option<Closed> {
        self.with(|gate| gate.closed(Instant::now()).cloned())
    }

    fn with<R>(&self, look: impl FnOnce(&mut Gate) -> R) -> R {
        // Held for the length of a comparison, never over an await.
        look(&mut self.gate.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The gates of the spreadsheets. They outlive a change of the configuration: a wait that the server asked
/// for holds all the same.
#[derive(Debug, Default)]
pub struct LaneGates(Mutex<BTreeMap<SpreadsheetRef, Arc<SharedGate>>>);

impl LaneGates {
    /// The gate of one, as the configuration names it.
    pub fn of(&self, spreadsheet: &SpreadsheetRef) -> Arc<SharedGate> {
        let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(gates.entry(spreadsheet.clone()).or_default())
    }

    /// [`Gate::try_now`] for each.
    pub fn try_now(&self, now: Instant, clock: Timestamp) {
        let gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for gate in gates.values() {
            gate.change(|gate| gate.try_now(now, clock));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: Timestamp = Timestamp(1_000_000);

    fn asked(seconds: u64) -> Pause {
        Pause {
            wait: secs(seconds),
            asked: true,
        }
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// The probe that the gate gives out now.
    #[track_caller]
    fn probe(gate: &mut Gate, now: Instant) -> Ticket {
        match gate.pass(now) {
            Pass::Probe(ticket) => ticket,
            pass => panic!("{pass:?}"),
        }
    }

    #[test]
    fn a_pause_ends_by_itself_and_the_longest_counts() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        gate.pause("throttled", asked(3), now, CLOCK);
        gate.pause("throttled", asked(1), now, CLOCK);
        assert_eq!(gate.pass(now + secs(2)), Pass::Wait(now + secs(3)));
        assert_eq!(gate.pass(now + secs(3)), Pass::Open);
        assert_eq!(gate.closed(now), None);
    }

    #[test]
    fn a_call_that_got_through_goes_only_while_nothing_has_closed() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        assert!(gate.may_go(None, now));
        gate.pause("throttled", asked(3), now, CLOCK);
        assert!(!gate.may_go(None, now + secs(2)));
        assert!(gate.may_go(None, now + secs(3)));
        gate.close("unreachable", Probes::Host, None, now + secs(3), CLOCK);
        assert!(gate.may_go(None, now + secs(3)), "it may be reached now");
        gate.close("wrong secret", Probes::Person, None, now + secs(3), CLOCK);
        let later = now + secs(33);
        assert!(!gate.may_go(None, later), "another one is to probe");
        let first = probe(&mut gate, later);
        assert!(gate.may_go(Some(first), later));
        assert!(!gate.may_go(None, later));
        gate.pause("throttled", asked(3), later, CLOCK);
        assert!(
            !gate.may_go(Some(first), later),
            "the probe has to wait as well"
        );
    }

    #[test]
    fn a_closed_gate_lets_one_probe_through_at_a_time_and_waits_longer_after_each() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        gate.close("wrong secret", Probes::Person, None, now, CLOCK);
        // Another lane's failure of the same moment does not count as a failed probe.
        let late = gate.close("wrong secret", Probes::Person, None, now, CLOCK);
        assert_eq!(late, None);
        assert_eq!(gate.pass(now), Pass::Wait(now + secs(30)));
        let later = now + secs(30);
        let first = probe(&mut gate, later);
        assert!(matches!(gate.pass(later), Pass::Wait(_)));
        gate.close("wrong secret", Probes::Person, Some(first), later, CLOCK);
        assert_eq!(gate.pass(later), Pass::Wait(later + secs(60)));
        gate.try_now(later, CLOCK);
        probe(&mut gate, later);
        assert!(gate.open(later));
        assert_eq!(gate.pass(later), Pass::Open);
    }

    #[test]
    fn a_probe_that_tells_nothing_makes_room_for_another() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        gate.close("no permission", Probes::Person, None, now, CLOCK);
        let first = probe(&mut gate, now + secs(30));
        gate.inconclusive(first, now + secs(31), CLOCK);
        assert_eq!(gate.pass(now + secs(31)), Pass::Wait(now + secs(61)));
        let second = probe(&mut gate, now + secs(61));
        // One that was given back tells less still: no call was made.
        gate.unused(second);
        probe(&mut gate, now + secs(61));
    }

    #[test]
    fn a_probe_that_is_lost_holds_up_nobody_for_ever_and_counts_no_more() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        gate.close("wrong secret", Probes::Person, None, now, CLOCK);
        let begun = now + secs(30);
        let lost = probe(&mut gate, begun);
        let over = begun + LOST_AFTER;
        assert_eq!(gate.pass(over - secs(1)), Pass::Wait(over));
        let second = probe(&mut gate, over);
        // Whatever comes of the first one after all, the second one is still under way.
        gate.inconclusive(lost, over, CLOCK);
        gate.unused(lost);
        assert_eq!(
            gate.close("no", Probes::Person, Some(lost), over, CLOCK),
            None
        );
        assert!(matches!(gate.pass(over), Pass::Wait(_)));
        let wait = gate.close("no", Probes::Person, Some(second), over, CLOCK);
        assert_eq!(wait, Some(secs(60)));
    }

    #[test]
    fn a_probe_from_before_a_person_mended_it_delays_no_try_after_it() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        gate.close("wrong secret", Probes::Person, None, now, CLOCK);
        let before = probe(&mut gate, now + secs(30));
        gate.try_now(now + secs(31), CLOCK);
        gate.inconclusive(before, now + secs(32), CLOCK);
        probe(&mut gate, now + secs(32));
    }

    #[test]
    fn a_throttling_does_not_open_what_a_person_has_to() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        gate.close("wrong secret", Probes::Person, None, now, CLOCK);
        gate.pause("throttled", asked(1), now, CLOCK);
        assert_eq!(gate.pass(now + secs(2)), Pass::Wait(now + secs(30)));
    }

    #[test]
    fn a_throttled_probe_keeps_to_the_wait_it_was_told() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        gate.close("wrong secret", Probes::Person, None, now, CLOCK);
        let later = now + secs(30);
        probe(&mut gate, later);
        gate.pause("throttled", asked(52), later, CLOCK);
        assert_eq!(gate.pass(later), Pass::Wait(later + secs(52)));
        probe(&mut gate, later + secs(52));
    }

    #[test]
    fn a_success_does_not_shorten_a_wait_that_the_server_asked_for() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        gate.pause("throttled", asked(52), now, CLOCK);
        assert!(!gate.open(now));
        gate.try_now(now, CLOCK);
        assert_eq!(gate.pass(now), Pass::Wait(now + secs(52)));
        assert_eq!(gate.closed(now + secs(52)), None);
    }

    #[test]
    fn a_person_shortens_our_own_wait_but_not_the_servers() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        let own = Pause {
            asked: false,
            ..asked(300)
        };
        gate.pause("broken", own, now, CLOCK);
        assert_eq!(gate.try_now(now, CLOCK).as_deref(), Some("broken"));
        assert_eq!(gate.pass(now), Pass::Open);
        assert_eq!(gate.try_now(now, CLOCK), None);
        // Nor what is left of a shorter one that the server named meanwhile.
        gate.pause("broken", own, now, CLOCK);
        gate.pause("throttled", asked(1), now, CLOCK);
        assert_eq!(gate.pass(now), Pass::Wait(now + secs(300)));
        assert_eq!(gate.try_now(now, CLOCK).as_deref(), Some("broken"));
        assert_eq!(gate.pass(now), Pass::Wait(now + secs(1)));
        assert_eq!(gate.try_now(now, CLOCK), None);
    }

    #[test]
    fn a_host_that_cannot_be_reached_is_probed_by_one_and_gives_way_to_what_the_api_says() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        let first = gate.close("unreachable", Probes::Host, None, now, CLOCK);
        assert!(first.is_some_and(|wait| wait <= secs(2)));
        let later = now + secs(2);
        let first = probe(&mut gate, later);
        // A call that was begun before the gate closed fails while the probe is under way.
        let late = gate.close("unreachable", Probes::Host, None, later, CLOCK);
        assert_eq!(late, None);
        assert!(matches!(gate.pass(later), Pass::Wait(_)));
        gate.close("unreachable", Probes::Host, Some(first), later, CLOCK);
        assert_eq!(gate.closed(later).map(|closed| closed.failed), Some(1));
        // Another one gets an answer: the host is there, and the secret is wrong.
        let told = gate.close("wrong secret", Probes::Person, None, later, CLOCK);
        assert_eq!(told, Some(secs(30)));
        let closed = gate.closed(later).unwrap();
        assert_eq!((closed.passing, closed.failed), (false, 0));
    }

    #[test]
    fn a_gate_that_is_tried_now_says_so() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        gate.close("broken", Probes::Person, None, now, CLOCK);
        let clock = CLOCK.after(secs(5));
        gate.try_now(now + secs(5), clock);
        assert_eq!(gate.closed(now + secs(5)).unwrap().until, clock);
    }

    #[test]
    fn an_answer_about_something_else_opens_what_it_shows_to_be_over() {
        let now = Instant::now();
        let closed = |probes| {
            let mut gate = Gate::default();
            let wait = gate.close("closed", probes, None, now, CLOCK).unwrap();
            let first = probe(&mut gate, now + wait);
            (gate, first, now + wait)
        };
        for (probes, wrote, opens) in [
            (Probes::Host, false, true),
            (Probes::Quota, false, true),
            (Probes::Person, true, true),
            (Probes::Person, false, false),
        ] {
            let (mut gate, first, later) = closed(probes);
            assert_eq!(gate.answered(first, wrote, later), opens, "{probes:?}");
            assert!(!gate.answered(first, true, later), "it is over");
            match gate.pass(later) {
                Pass::Open => assert!(opens),
                // Another one, at once.
                pass => assert!(!opens && matches!(pass, Pass::Probe(_)), "{pass:?}"),
            }
        }
        // One that was lost meanwhile tells nothing any more.
        let (mut gate, lost, later) = closed(Probes::Host);
        probe(&mut gate, later + LOST_AFTER);
        assert!(!gate.answered(lost, true, later + LOST_AFTER));
        assert!(matches!(gate.pass(later + LOST_AFTER), Pass::Wait(_)));
    }

    #[test]
    fn a_gate_that_closes_for_a_person_keeps_the_wait_that_the_server_asked_for() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        gate.pause("throttled", asked(52), now, CLOCK);
        gate.close("wrong secret", Probes::Person, None, now, CLOCK);
        assert_eq!(gate.pass(now), Pass::Wait(now + secs(52)));
    }

    #[test]
    fn a_wait_that_the_server_asked_for_outlives_all_that_opens_a_closed_gate() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        gate.pause("throttled", asked(52), now, CLOCK);
        gate.close("wrong secret", Probes::Person, None, now, CLOCK);
        assert_eq!(gate.try_now(now, CLOCK), None);
        assert_eq!(gate.pass(now), Pass::Wait(now + secs(52)));
        // A call that was under way gets through.
        assert!(gate.open(now));
        assert_eq!(gate.pass(now), Pass::Wait(now + secs(52)));
        let closed = gate.closed(now).unwrap();
        assert_eq!(
            (closed.reason.as_str(), closed.passing),
            ("throttled", true)
        );
        assert_eq!(gate.pass(now + secs(52)), Pass::Open);
    }

    #[test]
    fn a_wait_that_the_server_asked_for_outlives_one_reason_after_the_other() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        gate.pause("throttled", asked(52), now, CLOCK);
        gate.close("unreachable", Probes::Host, None, now, CLOCK);
        let told = gate.close("wrong secret", Probes::Person, None, now, CLOCK);
        assert_eq!(told, Some(secs(52)));
        assert_eq!(gate.pass(now), Pass::Wait(now + secs(52)));
        // Of a longer wait a person cuts off what nobody asked for.
        let later = now + secs(52);
        let first = probe(&mut gate, later);
        gate.close("wrong secret", Probes::Person, Some(first), later, CLOCK);
        gate.pause("throttled", asked(10), later, CLOCK);
        assert_eq!(gate.pass(later), Pass::Wait(later + secs(60)));
        assert!(gate.try_now(later, CLOCK).is_some());
        assert_eq!(gate.pass(later), Pass::Wait(later + secs(10)));
    }

    #[test]
    fn a_longer_wait_of_our_own_keeps_what_the_server_asked_for() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        let own = Pause {
            asked: false,
            ..asked(300)
        };
        gate.pause("throttled", asked(10), now, CLOCK);
        gate.pause("broken", own, now, CLOCK);
        assert_eq!(gate.try_now(now, CLOCK).as_deref(), Some("broken"));
        assert_eq!(gate.pass(now), Pass::Wait(now + secs(10)));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_is_woken_when_the_gate_opens() {
        let gate = Arc::new(SharedGate::default());
        gate.change(|gate| gate.close("x", Probes::Quota, None, Instant::now(), CLOCK));
        let start = Instant::now();
        let waiter = {
            let gate = gate.clone();
            tokio::spawn(async move { gate.pass().await })
        };
        tokio::task::yield_now().await;
        gate.change(|gate| gate.open(Instant::now()));
        assert!(waiter.await.unwrap().is_none());
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_is_over_with_whoever_made_it() {
        let gate = Arc::new(SharedGate::default());
        gate.change(|gate| gate.close("x", Probes::Person, None, Instant::now(), CLOCK));
        let prober = {
            let gate = gate.clone();
            tokio::spawn(async move {
                let _probe = gate.pass().await;
                std::future::pending::<()>().await;
            })
        };
        tokio::time::sleep(secs(31)).await;
        let start = Instant::now();
        let next = {
            let gate = gate.clone();
            tokio::spawn(async move { gate.pass().await.is_some() })
        };
        tokio::task::yield_now().await;
        prober.abort();
        assert!(next.await.unwrap());
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_prober_that_never_ends_is_followed_by_another() {
        let gate = Arc::new(SharedGate::default());
        gate.change(|gate| gate.close("x", Probes::Person, None, Instant::now(), CLOCK));
        let hangs = gate.pass().await.unwrap();
        let start = Instant::now();
        let next = gate.pass().await.unwrap();
        assert_eq!(start.elapsed().as_secs(), LOST_AFTER.as_secs());
        assert_ne!(hangs.ticket(), next.ticket());
    }
}
