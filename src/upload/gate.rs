//! A gate: open, or closed with a reason and the time of the next probe. Decisions take the time as an
//! argument; [`SharedGate`] adds the waiting.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::react::Probes;
use crate::config::SpreadsheetRef;
use crate::store::Timestamp;

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
    Probe,
    /// Not before this.
    Wait(Instant),
}

/// Open or closed.
#[derive(Debug, Default)]
pub struct Gate(Option<Shut>);

#[derive(Debug)]
struct Shut {
    told: Closed,
    opens: Opens,
    at: Instant,
}

#[derive(Debug, PartialEq, Eq)]
enum Opens {
    /// A wait that the server asked for.
    AsAsked,
    /// A wait of our own.
    ByTime,
    ByProbe {
        probes: Probes,
        failed: u32,
        probing: bool,
    },
}

impl Gate {
    /// Closes for a time; `asked` when the server named it. A longer wait or one for a probe stays.
    pub fn pause(&mut self, reason: &str, wait: Pause, now: Instant, clock: Timestamp) {
        let Pause { wait, asked } = wait;
        let until = now + wait;
        if let Some(shut) = self
            .0
            .as_mut()
            .filter(|shut| matches!(shut.opens, Opens::ByProbe { .. }) || shut.at >= until)
        {
            match &mut shut.opens {
                // A probe that is told to wait is over; the next one keeps to that wait.
                Opens::ByProbe { probing, .. } => *probing = false,
                opens if asked => *opens = Opens::AsAsked,
                _ => {}
            }
            if shut.at < until {
                shut.at = until;
                shut.told.until = clock.after(wait);
            }
            return;
        }
        self.0 = Some(Shut {
            told: Closed {
                reason: reason.to_owned(),
                since: self.0.as_ref().map_or(clock, |shut| shut.told.since),
                until: clock.after(wait),
                passing: true,
                failed: 0,
            },
            opens: if asked { Opens::AsAsked } else { Opens::ByTime },
            at: until,
        });
    }

    /// Closes until a probe gets through, and tells the wait for the next one. `probe`: the call that failed
    /// was this gate's probe. `None` when it is closed already and a call begun before brings no news.
    pub fn close(
        &mut self,
        reason: &str,
        probes: Probes,
        probe: bool,
        now: Instant,
        clock: Timestamp,
    ) -> Option<Duration> {
        let failed = match &self.0 {
            Some(Shut {
                opens:
                    Opens::ByProbe {
                        probes: before,
                        failed,
                        ..
                    },
                ..
            }) => match (*before == probes, probe) {
                (true, true) => failed + 1,
                (false, true) => 0,
                // Whoever is heard of is reached, and says what is wrong.
                (false, false) if *before == Probes::Host => 0,
                (_, false) => return None,
            },
            _ => 0,
        };
        let wait = probes.wait(failed);
        let wait = match &self.0 {
            // A wait that the server asked for is kept by probes as well.
            Some(shut) if shut.opens == Opens::AsAsked => wait.max(shut.at - now),
            _ => wait,
        };
        self.0 = Some(Shut {
            told: Closed {
                reason: reason.to_owned(),
                since: self.0.as_ref().map_or(clock, |shut| shut.told.since),
                until: clock.after(wait),
                passing: probes == Probes::Host,
                failed,
            },
            opens: Opens::ByProbe {
                probes,
                failed,
                probing: false,
            },
            at: now + wait,
        });
        Some(wait)
    }

    /// A call got through: what probes were waiting for is so. `true` when that was the case. A wait goes
    /// on: a call begun before it says nothing of it.
    pub fn open(&mut self) -> bool {
        self.0
            .take_if(|shut| matches!(shut.opens, Opens::ByProbe { .. }))
            .is_some()
    }

    /// A probe ended without telling anything of the gate; another may try, later.
    pub fn inconclusive(&mut self, now: Instant, clock: Timestamp) {
        if let Some(Shut {
            told,
            opens:
                Opens::ByProbe {
                    probes,
                    failed,
                    probing,
                },
            at,
        }) = &mut self.0
            && *probing
        {
            let wait = probes.wait(*failed);
            (*probing, *at) = (false, now + wait);
            told.until = clock.after(wait);
        }
    }

    /// A person may have mended it: tried at the next call. A wait that the server asked for goes on. Tells
    /// why it was closed until now; `None`: nothing changes.
    pub fn try_now(&mut self, now: Instant) -> Option<String> {
        let why = self.closed(now)?.reason.clone();
        match &mut self.0 {
            Some(Shut {
                opens: Opens::ByProbe { probing, .. },
                at,
                ..
            }) => (*probing, *at) = (false, now),
            Some(shut) if shut.opens == Opens::ByTime => self.0 = None,
            _ => return None,
        }
        Some(why)
    }

    /// Whether a call may go through now. [`Pass::Probe`] is given to one caller at a time.
    pub fn pass(&mut self, now: Instant) -> Pass {
        match &mut self.0 {
            None => Pass::Open,
            Some(shut) if now < shut.at => Pass::Wait(shut.at),
            Some(Shut {
                opens: Opens::AsAsked | Opens::ByTime,
                ..
            }) => {
                self.0 = None;
                Pass::Open
            }
            // The prober's end wakes whoever waits; the time is a bound in case it never ends.
            Some(Shut {
                opens: Opens::ByProbe { probing: true, .. },
                ..
            }) => Pass::Wait(now + Probes::Person.wait(0)),
            Some(Shut {
                opens: Opens::ByProbe { probing, .. },
                ..
            }) => {
                *probing = true;
                Pass::Probe
            }
        }
    }

    /// Why it is closed. A pause that is over needs nobody to open it.
    pub fn closed(&self, now: Instant) -> Option<&Closed> {
        let shut = self.0.as_ref()?;
        let by_probe = matches!(shut.opens, Opens::ByProbe { .. });
        (by_probe || now < shut.at).then_some(&shut.told)
    }
}

/// A gate that several tasks pass.
#[derive(Debug, Default)]
pub struct SharedGate {
    gate: Mutex<Gate>,
    changed: Notify,
}

impl SharedGate {
    /// Waits until a call may go through.
    pub async fn pass(&self) -> Pass {
        loop {
            let changed = self.changed.notified();
            match self.with(|gate| gate.pass(Instant::now())) {
                Pass::Wait(until) => {
                    tokio::select! {
                        () = changed => {}
                        () = sleep_until(until) => {}
                    }
                }
                pass => return pass,
            }
        }
    }

    /// Changes the gate and wakes whoever waits.
    pub fn change<R>(&self, change: impl FnOnce(&mut Gate) -> R) -> R {
        let answer = self.with(change);
        self.changed.notify_waiters();
        answer
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
    pub fn try_now(&self, now: Instant) {
        let gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for gate in gates.values() {
            gate.change(|gate| gate.try_now(now));
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
    fn a_closed_gate_lets_one_probe_through_at_a_time_and_waits_longer_after_each() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        gate.close("wrong secret", Probes::Person, false, now, CLOCK);
        // Another lane's failure of the same moment does not count as a failed probe.
        let late = gate.close("wrong secret", Probes::Person, false, now, CLOCK);
        assert_eq!(late, None);
        assert_eq!(gate.pass(now), Pass::Wait(now + secs(30)));
        let later = now + secs(30);
        assert_eq!(gate.pass(later), Pass::Probe);
        assert!(matches!(gate.pass(later), Pass::Wait(_)));
        gate.close("wrong secret", Probes::Person, true, later, CLOCK);
        assert_eq!(gate.pass(later), Pass::Wait(later + secs(60)));
        gate.try_now(later);
        assert_eq!(gate.pass(later), Pass::Probe);
        assert!(gate.open());
        assert_eq!(gate.pass(later), Pass::Open);
    }

    #[test]
    fn a_probe_that_tells_nothing_makes_room_for_another() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        gate.close("no permission", Probes::Person, false, now, CLOCK);
        assert_eq!(gate.pass(now + secs(30)), Pass::Probe);
        gate.inconclusive(now + secs(31), CLOCK);
        assert_eq!(gate.pass(now + secs(61)), Pass::Probe);
    }

    #[test]
    fn a_throttling_does_not_open_what_a_person_has_to() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        gate.close("wrong secret", Probes::Person, false, now, CLOCK);
        gate.pause("throttled", asked(1), now, CLOCK);
        assert_eq!(gate.pass(now + secs(2)), Pass::Wait(now + secs(30)));
    }

    #[test]
    fn a_throttled_probe_keeps_to_the_wait_it_was_told() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        gate.close("wrong secret", Probes::Person, false, now, CLOCK);
        let later = now + secs(30);
        assert_eq!(gate.pass(later), Pass::Probe);
        gate.pause("throttled", asked(52), later, CLOCK);
        assert_eq!(gate.pass(later), Pass::Wait(later + secs(52)));
        assert_eq!(gate.pass(later + secs(52)), Pass::Probe);
    }

    #[test]
    fn a_success_does_not_shorten_a_wait_that_the_server_asked_for() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        gate.pause("throttled", asked(52), now, CLOCK);
        assert!(!gate.open());
        gate.try_now(now);
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
        assert_eq!(gate.try_now(now).as_deref(), Some("broken"));
        assert_eq!(gate.pass(now), Pass::Open);
        assert_eq!(gate.try_now(now), None);
        // A shorter wait that the server names makes the longer one its own.
        gate.pause("broken", own, now, CLOCK);
        gate.pause("throttled", asked(1), now, CLOCK);
        assert_eq!(gate.try_now(now), None);
        assert_eq!(gate.pass(now), Pass::Wait(now + secs(300)));
    }

    #[test]
    fn a_host_that_cannot_be_reached_is_probed_by_one_and_gives_way_to_what_the_api_says() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        let first = gate.close("unreachable", Probes::Host, false, now, CLOCK);
        assert!(first.is_some_and(|wait| wait <= secs(2)));
        let later = now + secs(2);
        assert_eq!(gate.pass(later), Pass::Probe);
        // A call that was begun before the gate closed fails while the probe is under way.
        let late = gate.close("unreachable", Probes::Host, false, later, CLOCK);
        assert_eq!(late, None);
        assert!(matches!(gate.pass(later), Pass::Wait(_)));
        gate.close("unreachable", Probes::Host, true, later, CLOCK);
        assert_eq!(gate.closed(later).map(|closed| closed.failed), Some(1));
        // Another one gets an answer: the host is there, and the secret is wrong.
        let told = gate.close("wrong secret", Probes::Person, false, later, CLOCK);
        assert_eq!(told, Some(secs(30)));
        let closed = gate.closed(later).unwrap();
        assert_eq!((closed.passing, closed.failed), (false, 0));
    }

    #[test]
    fn a_gate_that_closes_for_a_person_keeps_the_wait_that_the_server_asked_for() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        gate.pause("throttled", asked(52), now, CLOCK);
        gate.close("wrong secret", Probes::Person, false, now, CLOCK);
        assert_eq!(gate.pass(now), Pass::Wait(now + secs(52)));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_is_woken_when_the_gate_opens() {
        let gate = std::sync::Arc::new(SharedGate::default());
        gate.change(|gate| gate.close("x", Probes::Quota, false, Instant::now(), CLOCK));
        let start = Instant::now();
        let waiter = {
            let gate = gate.clone();
            tokio::spawn(async move { gate.pass().await })
        };
        tokio::task::yield_now().await;
        gate.change(Gate::open);
        assert_eq!(waiter.await.unwrap(), Pass::Open);
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
