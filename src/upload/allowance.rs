//! How the month's calls are made to last: pure, with the time as an argument.
//!
//! A token bucket. It fills at the rest of the month's calls over the rest of the month, and holds one
//! day's share: as long as calls come no faster than that on the average, nothing waits, and a busy hour
//! is drawn from the bucket. Once it is empty the recent pace would not last, and calls are spread evenly
//! over what is left of the month. What was not used makes the rest of the month faster.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::store::{Count, Month, Timestamp};

/// What the bucket holds at most: the share of this time.
const SHARE: Duration = Duration::from_hours(24);
/// The part of the month's calls at which a person is warned, in hundredths.
pub const WARN_AT: u64 = 80;

/// How fast calls may be made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Pace {
    /// No budget is configured.
    Unlimited,
    /// Nothing waits.
    Free {
        /// Calls a day that would last until the month ends.
        a_day: u64,
    },
    /// Writes are spread over what is left of the month.
    Spread {
        /// Between two calls, in seconds.
        every_seconds: f64,
    },
    /// Nothing is sent in this month.
    UsedUp {
        /// When the next one begins.
        until: Timestamp,
    },
}

/// Calls of this month that are left.
pub fn left(count: &Count, limit: u64) -> u64 {
    limit.saturating_sub(count.used)
}

/// Whether a person has to be warned now.
pub fn is_scarce(count: &Count, limit: u64) -> bool {
    u128::from(count.used) * 100 >= u128::from(limit) * u128::from(WARN_AT)
}

/// Calls a millisecond that would last until the month ends.
#[allow(clippy::cast_precision_loss)] // Counts and milliseconds below 2^53.
fn rate(count: &Count, limit: u64, now: Timestamp) -> f64 {
    let month = count.left_of_month(now).as_millis().max(1);
    left(count, limit) as f64 / month as f64
}

/// What the bucket holds at most.
#[allow(clippy::cast_precision_loss)] // As above.
fn most(count: &Count, limit: u64, now: Timestamp) -> f64 {
    // A bucket of less than one call would never give one.
    let share = (rate(count, limit, now) * SHARE.as_millis() as f64).max(1.0);
    share.min(left(count, limit) as f64)
}

/// Fills the bucket for the time since it was filled last.
#[allow(clippy::cast_precision_loss)] // As above.
pub fn refill(count: &mut Count, limit: u64, now: Timestamp) {
    // A clock that is set for the first time has not run that long; one set back starts anew.
    let jumped = Month::of(count.at).is_none() && Month::of(now).is_some();
    let since = if jumped {
        0
    } else {
        now.since(count.at).as_millis()
    };
    count.at = now;
    let filled = count.level + rate(count, limit, now) * since as f64;
    count.level = filled.min(most(count, limit, now));
}

/// How long until one more call may be made beside `granted` others that are about to be. The bucket was
/// filled at `now`.
#[allow(clippy::cast_precision_loss)] // As above.
pub fn wait(count: &Count, limit: u64, granted: u64, now: Timestamp) -> Duration {
    if left(count, limit) <= granted {
        return count.left_of_month(now).max(Duration::from_millis(1));
    }
    let missing = granted as f64 + 1.0 - count.level;
    if missing <= 0.0 {
        return Duration::ZERO;
    }
    // A rate above zero: something is left. Rounded up, so that it is enough then.
    let wait = Duration::try_from_secs_f64(missing / rate(count, limit, now) / 1000.0);
    let whole = count.left_of_month(now);
    wait.unwrap_or(whole).min(whole) + Duration::from_millis(1)
}

/// Whether the bucket is half full: what emptied it is over.
pub fn is_relaxed(count: &Count, limit: u64, now: Timestamp) -> bool {
    count.level * 2.0 >= most(count, limit, now)
}

/// The pace beside `granted` calls that are about to be made, for people. The bucket was filled at `now`.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss
)] // As above.
pub fn pace(count: &Count, limit: u64, granted: u64, now: Timestamp) -> Pace {
    let rate = rate(count, limit, now);
    if left(count, limit) == 0 {
        let until = now.after(count.left_of_month(now));
        Pace::UsedUp { until }
    } else if count.level < 1.0 + granted as f64 {
        let every_seconds = two_digits(1.0 / rate / 1000.0);
        Pace::Spread { every_seconds }
    } else {
        let a_day = (rate * SHARE.as_millis() as f64).min(left(count, limit) as f64);
        Pace::Free {
            a_day: two_digits(a_day) as u64,
        }
    }
}

/// The number in two digits: it changes all the time, and what is shown should not.
fn two_digits(number: f64) -> f64 {
    format!("{number:.1e}").parse().unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2026-11-01T00:00:00Z: a month of 30 days.
    const NOVEMBER: u64 = 1_793_491_200_000;
    const DAY: u64 = 86_400_000;

    fn counted(used: u64, level: f64, now: u64) -> Count {
        let mut count = Count::default();
        count.turn(Timestamp(now));
        Count {
            used,
            level,
            at: Timestamp(now),
            ..count
        }
    }

    fn spend(count: &mut Count) {
        count.used += 1;
        count.level -= 1.0;
    }

    /// Makes a call whenever one may be made, from `from` to `to`; returns when each was made.
    fn saturate(count: &mut Count, limit: u64, from: u64, to: u64) -> Vec<u64> {
        let (mut now, mut made) = (from, Vec::new());
        while now < to {
            count.turn(Timestamp(now));
            refill(count, limit, Timestamp(now));
            let wait = wait(count, limit, 0, Timestamp(now));
            if wait.is_zero() {
                spend(count);
                made.push(now);
            } else {
                now += u64::try_from(wait.as_millis()).unwrap();
            }
        }
        made
    }

    #[test]
    fn whoever_always_wants_more_gets_a_days_share_at_once_and_the_rest_evenly() {
        let mut count = counted(0, f64::INFINITY, NOVEMBER);
        let made = saturate(&mut count, 3000, NOVEMBER, NOVEMBER + 30 * DAY);
        let at_once = made.iter().filter(|at| **at == NOVEMBER).count();
        assert_eq!(at_once, 100);
        // Every day of the month has its share, and all of it is used in the end.
        for day in 1..30 {
            let from = NOVEMBER + day * DAY;
            let made = made.iter().filter(|at| (from..from + DAY).contains(*at));
            let made = made.count();
            assert!((90..=101).contains(&made), "{made} on day {day}");
        }
        assert!((2990..=3000).contains(&made.len()), "{}", made.len());
    }

    #[test]
    fn ordinary_use_never_waits() {
        // 90 calls in one hour of every day, of 100 a day.
        let mut count = counted(0, f64::INFINITY, NOVEMBER);
        for day in 0..30 {
            for call in 0..90 {
                let now = Timestamp(NOVEMBER + day * DAY + 10 * 3_600_000 + call * 40_000);
                refill(&mut count, 3000, now);
                assert_eq!(wait(&count, 3000, 0, now), Duration::ZERO, "{day} {call}");
                spend(&mut count);
            }
        }
    }

    #[test]
    fn what_was_not_used_makes_the_rest_of_the_month_faster() {
        let (early, late) = (NOVEMBER, NOVEMBER + 20 * DAY);
        let every = |now| match pace(&counted(0, 0.0, now), 3000, 0, Timestamp(now)) {
            Pace::Spread { every_seconds } => every_seconds,
            pace => panic!("{pace:?}"),
        };
        assert!((every(early) - 860.0).abs() < 1e-9, "{}", every(early));
        assert!((every(late) - 290.0).abs() < 1e-9, "{}", every(late));
    }

    #[test]
    fn the_last_day_may_use_all_that_is_left() {
        let now = NOVEMBER + 29 * DAY + DAY / 2;
        let mut count = counted(2900, f64::INFINITY, now);
        let made = saturate(&mut count, 3000, now, now + 1);
        assert_eq!(made.len(), 100);
        let spent = pace(&count, 3000, 0, Timestamp(now));
        let until = Timestamp(NOVEMBER + 30 * DAY);
        assert_eq!(spent, Pace::UsedUp { until });
    }

    #[test]
    fn a_new_month_begins_with_its_share() {
        let mut count = counted(3000, 0.0, NOVEMBER + 29 * DAY);
        let december = NOVEMBER + 30 * DAY;
        let made = saturate(&mut count, 3000, NOVEMBER + 29 * DAY, december + 1000);
        assert!(made.iter().all(|at| *at >= december), "{made:?}");
        assert_eq!(made.len(), 96, "a 31st of 3000");
    }

    #[test]
    fn a_clock_that_is_set_for_the_first_time_fills_nothing() {
        let mut count = Count {
            level: 0.0,
            at: Timestamp(60_000),
            ..Count::default()
        };
        count.turn(Timestamp(NOVEMBER));
        refill(&mut count, 3000, Timestamp(NOVEMBER));
        assert!(count.level < 0.01, "{}", count.level);
        // And one that was never set fills as time passes.
        let mut unset = Count {
            level: 0.0,
            at: Timestamp(60_000),
            ..Count::default()
        };
        refill(&mut unset, 3100, Timestamp(60_000 + DAY));
        assert!((unset.level - 100.0).abs() < 0.1, "{}", unset.level);
    }

    proptest! {
        /// Whatever the clock does, no month has more calls than its budget, and whoever waits as told may
        /// call then.
        #[test]
        fn no_month_has_more_calls_than_its_budget(
            limit in 1_u64..5_000,
            steps in prop::collection::vec((-3_i64..40_000, 0_u32..400, 0_u64..3), 1..300),
        ) {
            let mut count = Count::default();
            let mut now = NOVEMBER + 25 * DAY;
            let mut spent = std::collections::BTreeMap::new();
            for (seconds, wanted, granted) in steps {
                now = now.saturating_add_signed(seconds * 1000);
                let at = Timestamp(now);
                count.turn(at);
                for _ in 0..wanted {
                    refill(&mut count, limit, at);
                    if !wait(&count, limit, granted, at).is_zero() {
                        break;
                    }
                    spend(&mut count);
                    *spent.entry(count.month).or_insert(0) += 1;
                }
                let wait = wait(&count, limit, 0, at);
                let then = Timestamp(now + u64::try_from(wait.as_millis()).unwrap());
                let mut later = count;
                later.turn(then);
                refill(&mut later, limit, then);
                if later.month == count.month && left(&later, limit) > 0 {
                    let still = super::wait(&later, limit, 0, then);
                    prop_assert!(still.as_millis() <= 1, "{wait:?}, then {still:?}: {later:?}");
                }
            }
            prop_assert!(spent.values().all(|spent| *spent <= limit), "{spent:?} of {limit}");
        }
    }
}
