//! A gate: open, or closed with a reason and the time of the next probe. Decisions take the time as an
//! argument; [`SharedGate`] adds the waiting.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::react::Probes;
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
    /// Whether it opens by itself: a wait that the server asked for.
    pub passing: bool,
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
    ByTime,
    ByProbe {
        probes: Probes,
        failed: u32,
        probing: bool,
    },
}

impl Gate {
    /// Closes for a time that the server asked for. A longer wait or a person's gate stays.
    pub fn pause(&mut self, reason: &str, wait: Duration, now: Instant, clock: Timestamp) {
        let until = now + wait;
        if let Some(shut) = self
            .0
            .as_mut()
            .filter(|shut| shut.opens != Opens::ByTime || shut.at >= until)
        {
            // A probe that is told to wait is over; the next one keeps to that wait.
            if let Opens::ByProbe { probing, .. } = &mut shut.opens {
                *probing = false;
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
            },
            opens: Opens::ByTime,
            at: until,
        });
    }

    /// Closes until a probe gets through. Closed already: the next probe comes later.
    pub fn close(&mut self, reason: &str, probes: Probes, now: Instant, clock: Timestamp) {
        let failed = match &self.0 {
            Some(Shut {
                opens:
                    Opens::ByProbe {
                        failed,
                        probing: true,
                        ..
                    },
                ..
            }) => failed + 1,
            // Lanes that were under way when another closed the gate bring no news.
            Some(Shut {
                opens: Opens::ByProbe { .. },
                ..
            }) => return,
            _ => 0,
        };
        let wait = probes.wait(failed);
        self.0 = Some(Shut {
            told: Closed {
                reason: reason.to_owned(),
                since: self.0.as_ref().map_or(clock, |shut| shut.told.since),
                until: clock.after(wait),
                passing: false,
            },
            opens: Opens::ByProbe {
                probes,
                failed,
                probing: false,
            },
            at: now + wait,
        });
    }

    /// A call got through: what a person had to mend is mended. `true` when that was so. A wait that the
    /// server asked for goes on: a call begun before it says nothing of it.
    pub fn open(&mut self) -> bool {
        self.0.take_if(|shut| shut.opens != Opens::ByTime).is_some()
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
            *probing = false;
            *at = now + probes.wait(*failed);
            told.until = clock.after(probes.wait(*failed));
        }
    }

    /// A person may have mended it: tried at the next call. A wait that the server asked for goes on.
    pub fn try_now(&mut self, now: Instant) {
        if let Some(Shut {
            opens: Opens::ByProbe { probing, .. },
            at,
            ..
        }) = &mut self.0
        {
            (*probing, *at) = (false, now);
        }
    }

    /// Whether a call may go through now. [`Pass::Probe`] is given to one caller at a time.
    pub fn pass(&mut self, now: Instant) -> Pass {
        match &mut self.0 {
            None => Pass::Open,
            Some(shut) if now < shut.at => Pass::Wait(shut.at),
            Some(Shut {
                opens: Opens::ByTime,
                ..
            }) => {
                self.0 = None;
                Pass::Open
            }
            // The prober's end wakes whoever waits; the time is a bound in case it never ends.
            Some(Shut {
                opens: Opens::ByProbe { probing: true, .. },
                ..
            }) => Pass::Wait(now + Probes::PERSON.wait(0)),
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
        (shut.opens != Opens::ByTime || now < shut.at).then_some(&shut.told)
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

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: Timestamp = Timestamp(1_000_000);

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_pause_ends_by_itself_and_the_longest_counts() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        gate.pause("throttled", secs(3), now, CLOCK);
        gate.pause("throttled", secs(1), now, CLOCK);
        assert_eq!(gate.pass(now + secs(2)), Pass::Wait(now + secs(3)));
        assert_eq!(gate.pass(now + secs(3)), Pass::Open);
        assert_eq!(gate.closed(now), None);
    }

    #[test]
    fn a_closed_gate_lets_one_probe_through_at_a_time_and_waits_longer_after_each() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        gate.close("wrong secret", Probes::PERSON, now, CLOCK);
        // Another lane's failure of the same moment does not count as a failed probe.
        gate.close("wrong secret", Probes::PERSON, now, CLOCK);
        assert_eq!(gate.pass(now), Pass::Wait(now + secs(30)));
        let later = now + secs(30);
        assert_eq!(gate.pass(later), Pass::Probe);
        assert!(matches!(gate.pass(later), Pass::Wait(_)));
        gate.close("wrong secret", Probes::PERSON, later, CLOCK);
        assert_eq!(gate.pass(later), Pass::Wait(later + secs(60)));
        gate.try_now(later);
        assert_eq!(gate.pass(later), Pass::Probe);
        assert!(gate.open());
        assert_eq!(gate.pass(later), Pass::Open);
    }

    #[test]
    fn a_probe_that_tells_nothing_makes_room_for_another() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        gate.close("no permission", Probes::PERSON, now, CLOCK);
        assert_eq!(gate.pass(now + secs(30)), Pass::Probe);
        gate.inconclusive(now + secs(31), CLOCK);
        assert_eq!(gate.pass(now + secs(61)), Pass::Probe);
    }

    #[test]
    fn a_throttling_does_not_open_what_a_person_has_to() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        gate.close("wrong secret", Probes::PERSON, now, CLOCK);
        gate.pause("throttled", secs(1), now, CLOCK);
        assert_eq!(gate.pass(now + secs(2)), Pass::Wait(now + secs(30)));
    }

    #[test]
    fn a_throttled_probe_keeps_to_the_wait_it_was_told() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        gate.close("wrong secret", Probes::PERSON, now, CLOCK);
        let later = now + secs(30);
        assert_eq!(gate.pass(later), Pass::Probe);
        gate.pause("throttled", secs(52), later, CLOCK);
        assert_eq!(gate.pass(later), Pass::Wait(later + secs(52)));
        assert_eq!(gate.pass(later + secs(52)), Pass::Probe);
    }

    #[test]
    fn a_success_does_not_shorten_a_wait_that_the_server_asked_for() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        gate.pause("throttled", secs(52), now, CLOCK);
        assert!(!gate.open());
        gate.try_now(now);
        assert_eq!(gate.pass(now), Pass::Wait(now + secs(52)));
        assert_eq!(gate.closed(now + secs(52)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_is_woken_when_the_gate_opens() {
        let gate = std::sync::Arc::new(SharedGate::default());
        gate.change(|gate| gate.close("x", Probes::QUOTA, Instant::now(), CLOCK));
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
