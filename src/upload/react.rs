//! What a failed call leads to: one pure table from its class to a reaction.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

use crate::feishu::{Class, Scope};
use crate::store::Release;

/// Answers with an unknown code before a version is parked.
pub const UNKNOWN_TRIES: u32 = 6;
/// First and longest wait of a back-off.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(5);
/// First and longest wait of a probe through a gate that a person has to open.
const FIRST_PROBE: Duration = Duration::from_secs(30);
const LONGEST_PROBE: Duration = Duration::from_mins(10);
/// Between two probes of a spent monthly quota.
const QUOTA_PROBE: Duration = Duration::from_hours(1);

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// The job and its lane wait, then the same again.
    BackOff,
    /// The lane waits this long, then the same again.
    PauseLane(Duration),
    /// All lanes wait this long, then the same again.
    PauseApp(Duration),
    /// All lanes stop; one call at a time probes.
    CloseApp(Probes),
    /// This lane stops; one call at a time probes.
    CloseLane(Probes),
    /// The job waits for what releases it.
    Park(Release),
}

/// The rhythm of the calls that try a closed gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probes {
    /// A host that cannot be reached: as any back-off, from a second to 5 min.
    Host,
    /// A document or credentials that a person mends: after 30 s, then doubling up to 10 min.
    Person,
    /// The month's quota: hourly.
    Quota,
}

impl Probes {
    /// The wait before the next probe, after so many that failed.
    pub fn wait(self, failed: u32) -> Duration {
        match self {
            Self::Host => back_off(failed),
            Self::Person => FIRST_PROBE
                .saturating_mul(1 << failed.min(10))
                .min(LONGEST_PROBE),
            Self::Quota => QUOTA_PROBE,
        }
    }
}

/// What a failure of this class leads to, when `unknown` answers in a row for the job had a code that nobody
/// knows, `failures` calls of the lane failed in a row, and the server asked for `wait`.
pub fn react(class: Class, unknown: u32, failures: u32, wait: Option<Duration>) -> Reaction {
    match class {
        Class::Throttled(Scope::App) => {
            Reaction::PauseApp(wait.unwrap_or_else(|| back_off(failures)))
        }
        Class::Throttled(Scope::Document) => {
            Reaction::PauseLane(wait.unwrap_or_else(|| back_off(failures)))
        }
        Class::Busy => wait.map_or(Reaction::BackOff, Reaction::PauseLane),
        Class::Unreached => wait.map_or(Reaction::CloseApp(Probes::Host), Reaction::PauseApp),
        Class::Unknown if unknown < UNKNOWN_TRIES => Reaction::BackOff,
        Class::Token | Class::Credentials => Reaction::CloseApp(Probes::Person),
        Class::Quota => Reaction::CloseApp(Probes::Quota),
        Class::Document => Reaction::CloseLane(Probes::Person),
        Class::Cell | Class::Full => Reaction::Park(Release::Person),
        Class::Image | Class::Unknown => Reaction::Park(Release::NewImage),
    }
}

/// The wait after so many failures in a row: doubling, with jitter of up to as much again, capped. At the
/// cap the jitter of the waits before has set whoever began together apart.
pub fn back_off(failures: u32) -> Duration {
    let waits = ExponentialBuilder::default()
        .with_min_delay(FIRST)
        .with_max_delay(LONGEST)
        .with_factor(2.0)
        .without_max_times()
        .with_jitter();
    // Beyond ten doublings the cap holds anyway.
    waits
        .build()
        .nth(failures.min(10) as usize)
        .map_or(LONGEST, |wait| wait.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const ASKED: Option<Duration> = Some(Duration::from_secs(3));

    #[rstest]
    #[case(
        Class::Throttled(Scope::App),
        1,
        ASKED,
        Reaction::PauseApp(Duration::from_secs(3))
    )]
    #[case(
        Class::Throttled(Scope::Document),
        1,
        ASKED,
        Reaction::PauseLane(Duration::from_secs(3))
    )]
    #[case(Class::Busy, 99, None, Reaction::BackOff)]
    #[case(Class::Busy, 1, ASKED, Reaction::PauseLane(Duration::from_secs(3)))]
    #[case(Class::Unreached, 99, None, Reaction::CloseApp(Probes::Host))]
    #[case(Class::Unreached, 1, ASKED, Reaction::PauseApp(Duration::from_secs(3)))]
    #[case(Class::Credentials, 1, None, Reaction::CloseApp(Probes::Person))]
    #[case(Class::Quota, 1, None, Reaction::CloseApp(Probes::Quota))]
    #[case(Class::Document, 1, None, Reaction::CloseLane(Probes::Person))]
    #[case(Class::Cell, 1, None, Reaction::Park(Release::Person))]
    #[case(Class::Full, 1, None, Reaction::Park(Release::Person))]
    #[case(Class::Image, 1, None, Reaction::Park(Release::NewImage))]
    #[case(Class::Unknown, UNKNOWN_TRIES - 1, None, Reaction::BackOff)]
    #[case(Class::Unknown, UNKNOWN_TRIES, None, Reaction::Park(Release::NewImage))]
    fn each_class_has_its_reaction(
        #[case] class: Class,
        #[case] attempts: u32,
        #[case] wait: Option<Duration>,
        #[case] reaction: Reaction,
    ) {
        assert_eq!(react(class, attempts, 0, wait), reaction);
    }

    #[test]
    fn waits_double_up_to_their_cap() {
        let person: Vec<u64> = (0..7).map(|n| Probes::Person.wait(n).as_secs()).collect();
        assert_eq!(person, [30, 60, 120, 240, 480, 600, 600]);
        assert_eq!(Probes::Quota.wait(40), QUOTA_PROBE);
        for failures in 0..40 {
            let least = FIRST.saturating_mul(1 << failures.min(10)).min(LONGEST);
            let wait = back_off(failures);
            assert!(
                wait >= least && wait <= (least * 2).min(LONGEST),
                "{failures}: {wait:?}"
            );
        }
    }
}
