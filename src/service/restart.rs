//! How often the tasks start anew after a mistake of ours, and when that is given up. Takes the time as an
//! argument.

use std::collections::VecDeque;
use std::time::Duration;

use metrics::counter;
use tokio::time::Instant;

/// So many faults within this time end the process; the service manager starts it again.
const FAULTS_MOST: usize = 5;
const WITHIN: Duration = Duration::from_mins(1);
/// The wait after the first of them; doubled with each.
const FIRST: Duration = Duration::from_millis(500);

/// The latest faults.
#[derive(Debug, Default)]
pub(super) struct Restarts(VecDeque<Instant>);

impl Restarts {
    /// How long to wait before a new start; `None`: it does no good.
    pub fn after_fault(&mut self, now: Instant) -> Option<Duration> {
        counter!("pixcell_faults_total").increment(1);
        while self
            .0
            .front()
            .is_some_and(|at| now.duration_since(*at) >= WITHIN)
        {
            self.0.pop_front();
        }
        self.0.push_back(now);
        let earlier = u32::try_from(self.0.len() - 1).unwrap_or(u32::MAX);
        (self.0.len() < FAULTS_MOST).then(|| FIRST * 2_u32.saturating_pow(earlier))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_the_fifth_fault_of_a_minute_is_the_last() {
        let (mut restarts, now) = (Restarts::default(), Instant::now());
        let waits: Vec<_> = (0..5)
            .map(|second| restarts.after_fault(now + Duration::from_secs(second)))
            .collect();
        let expected = [Some(500), Some(1000), Some(2000), Some(4000), None];
        assert_eq!(waits, expected.map(|wait| wait.map(Duration::from_millis)));
    }

    #[test]
    fn faults_that_are_a_minute_apart_go_on_for_ever() {
        let (mut restarts, now) = (Restarts::default(), Instant::now());
        for minute in 0..100 {
            let wait = restarts.after_fault(now + WITHIN * minute);
            assert_eq!(wait, Some(FIRST), "minute {minute}");
        }
    }
}
