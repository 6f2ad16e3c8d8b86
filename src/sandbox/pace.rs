//! The limits on calls per time: a sliding window for the app, and the windows of the calls that
//! are documented with a limit of their own. Pure: time is an argument.
//!
//! Source of the limits: the pages of the calls on open.feishu.cn.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::endpoint::Endpoint;
use super::rules::Refusal;

/// Arrivals remembered to tell the highest rate seen; beyond it the figure stops growing.
const ARRIVALS: usize = 20_000;
const SECOND: Duration = Duration::from_secs(1);

/// A sliding window: at most `limit` calls in any stretch of `span`.
#[derive(Debug, Clone)]
struct Window {
    limit: u32,
    span: Duration,
    taken: VecDeque<Duration>,
}

impl Window {
    fn new(limit: u32, span: Duration) -> Self {
        Self {
            limit,
            span,
            taken: VecDeque::new(),
        }
    }

    /// Time until a call fits; `None` when one fits now.
    fn wait(&mut self, now: Duration) -> Option<Duration> {
        while self.taken.front().is_some_and(|at| *at + self.span <= now) {
            self.taken.pop_front();
        }
        if u64::from(self.limit) > self.taken.len() as u64 {
            return None;
        }
        let free = self
            .taken
            .front()
            .map_or(self.span, |at| (*at + self.span).saturating_sub(now));
        Some(free)
    }
}

/// All windows of one app.
#[derive(Debug)]
pub struct Pace {
    app: Window,
    own: BTreeMap<Endpoint, Window>,
    arrivals: VecDeque<Duration>,
    most: usize,
}

impl Pace {
    /// `per_second` calls for the app; with `own_limits` also those documented for single calls.
    pub fn new(per_second: u32, own_limits: bool) -> Self {
        let minute = 60 * SECOND;
        let own = [
            (Endpoint::SheetsQuery, 100, minute),
            (Endpoint::WikiNode, 100, minute),
            (Endpoint::MemberAuth, 100, minute),
            (Endpoint::MediaDownload, 5, SECOND),
        ];
        Self {
            app: Window::new(per_second, SECOND),
            own: own
                .into_iter()
                .filter(|_| own_limits)
                .map(|(endpoint, limit, span)| (endpoint, Window::new(limit, span)))
                .collect(),
            arrivals: VecDeque::new(),
            most: 0,
        }
    }

    /// Takes one call in. A refused call takes no place in the windows, so a caller that keeps
    /// knocking still gets its share.
    ///
    /// # Errors
    /// [`Refusal::Throttled`] with the limit and the whole seconds until a call fits.
    pub fn admit(&mut self, endpoint: Endpoint, now: Duration) -> Result<(), Refusal> {
        while self.arrivals.front().is_some_and(|at| *at + SECOND <= now) {
            self.arrivals.pop_front();
        }
        if self.arrivals.len() < ARRIVALS {
            self.arrivals.push_back(now);
        }
        self.most = self.most.max(self.arrivals.len());

        let mut windows = vec![&mut self.app];
        windows.extend(self.own.get_mut(&endpoint));
        for window in &mut windows {
            if let Some(wait) = window.wait(now) {
                return Err(Refusal::Throttled {
                    limit: window.limit,
                    reset_secs: wait.as_secs() + u64::from(wait.subsec_nanos() > 0),
                });
            }
        }
        for window in windows {
            window.taken.push_back(now);
        }
        Ok(())
    }

    /// The most calls that arrived within one second, refused ones included.
    pub fn most_in_a_second(&self) -> usize {
        self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_window_slides_and_says_when_it_is_free() {
        let mut pace = Pace::new(3, true);
        for at in [0, 400, 800] {
            assert_eq!(pace.admit(Endpoint::ValuesImage, ms(at)), Ok(()));
        }
        let refused = Err(Refusal::Throttled {
            limit: 3,
            reset_secs: 1,
        });
        assert_eq!(pace.admit(Endpoint::ValuesImage, ms(999)), refused);
        assert_eq!(pace.admit(Endpoint::ReadValues, ms(1_000)), Ok(()));
        assert_eq!(pace.admit(Endpoint::ValuesImage, ms(1_001)), refused);
        assert_eq!(pace.admit(Endpoint::ValuesImage, ms(1_400)), Ok(()));
    }

    #[test]
    fn a_call_with_its_own_limit_is_held_to_it() {
        let mut pace = Pace::new(1_000, true);
        for _ in 0..100 {
            assert_eq!(pace.admit(Endpoint::SheetsQuery, ms(0)), Ok(()));
        }
        assert_eq!(
            pace.admit(Endpoint::SheetsQuery, ms(2_500)),
            Err(Refusal::Throttled {
                limit: 100,
                reset_secs: 58
            })
        );
        assert_eq!(pace.admit(Endpoint::ValuesImage, ms(2_500)), Ok(()));
        assert_eq!(pace.admit(Endpoint::SheetsQuery, ms(60_000)), Ok(()));
    }

    #[test]
    fn without_own_limits_only_the_app_counts() {
        let mut pace = Pace::new(1_000, false);
        for _ in 0..500 {
            assert_eq!(pace.admit(Endpoint::SheetsQuery, ms(0)), Ok(()));
        }
    }

    #[test]
    fn the_highest_rate_counts_refused_calls_too() {
        let mut pace = Pace::new(2, true);
        for at in [0, 10, 20, 30, 2_000] {
            let _ = pace.admit(Endpoint::ValuesImage, ms(at));
        }
        assert_eq!(pace.most_in_a_second(), 4);
    }
}
