//! The app's calls a second: every call to the API passes here, whoever makes it.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::Mutex;

/// Spreads calls evenly: no burst, so that no window of a second ever holds more than the rate.
#[derive(Debug)]
pub struct Pace {
    // First come, first served: a lane with many jobs cannot overtake one with a single job.
    limiter: Mutex<DefaultDirectRateLimiter>,
}

impl Pace {
    /// A pace of at most `per_second` calls in any second.
    pub fn new(per_second: NonZeroU32) -> Self {
        // The server counts arrivals: calls that a busy machine or network delays unevenly, by up to a
        // tenth of a second, still are no more than allowed in any second.
        let gap = Duration::from_millis(1100) / per_second.get();
        let quota = Quota::with_period(gap).unwrap_or(Quota::per_second(per_second));
        Self {
            limiter: Mutex::new(RateLimiter::direct(quota)),
        }
    }

    /// Waits for the turn of one call.
    pub async fn turn(&self) {
        self.limiter.lock().await.until_ready().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[tokio::test]
    async fn calls_are_spread_and_never_bunched() {
        let pace = Pace::new(NonZeroU32::new(200).unwrap());
        let start = Instant::now();
        for _ in 0..41 {
            pace.turn().await;
        }
        // 41 calls are 40 gaps of 5.5 ms; a burst would have taken less.
        assert!(
            start.elapsed() >= Duration::from_millis(200),
            "{:?}",
            start.elapsed()
        );
    }
}
