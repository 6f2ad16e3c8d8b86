//! What systemd is told, over `NOTIFY_SOCKET`; without one nothing happens.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::Instant;
use tracing::debug;

/// The daemon is ready after so long at most: a folder of a million new pictures, or one that hangs,
/// is compared on while others are served.
const READY_MOST: Duration = Duration::from_mins(1);

/// When it is told that the daemon is ready.
#[derive(Debug)]
pub struct Readiness {
    late: Instant,
    told: bool,
    compared: bool,
}

/// What is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// All folders have been compared.
    Compared,
    /// Some have not yet, and nobody should wait for them.
    Late,
}

impl Readiness {
    /// The tasks start now.
    pub fn begin(now: Instant) -> Self {
        Self {
            late: now + READY_MOST,
            told: false,
            compared: false,
        }
    }

    /// Whether something is to be told now; each news once. `compared`: whether all folders are.
    pub fn judge(&mut self, compared: bool, now: Instant) -> Option<News> {
        if compared && !self.compared {
            (self.compared, self.told) = (true, true);
            return Some(News::Compared);
        }
        let late = !self.told && now >= self.late;
        self.told |= late;
        late.then_some(News::Late)
    }

    /// Whether all folders have been compared.
    pub fn is_compared(&self) -> bool {
        self.compared
    }

    /// Whether readiness was told, for whatever reason.
    pub fn is_told(&self) -> bool {
        self.told
    }
}

/// Watching, and the first comparison is done.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// A new configuration is being taken up; [`ready`] follows.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// Nothing is stuck.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How often [`alive`] has to be told at least; `None`: nobody listens.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|period| !period.is_zero())
}

/// Ending in order, unless only the configuration changes.
pub fn stopping_unless(reloading: bool) {
    if !reloading {
        tell(&[NotifyState::Stopping]);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        debug!("NOTIFY_SOCKET: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{advance, interval};

    /// After how many seconds each news comes when folders are compared after so many, as the daemon asks.
    async fn told(compared_after: u64) -> Vec<(News, u64)> {
        let begun = Instant::now();
        let (mut readiness, mut told) = (Readiness::begin(begun), Vec::new());
        let mut tick = interval(Duration::from_secs(1));
        for _ in 0..200 {
            tick.tick().await;
            let seconds = begun.elapsed().as_secs();
            let news = readiness.judge(seconds >= compared_after, Instant::now());
            told.extend(news.map(|news| (news, seconds)));
            advance(Duration::from_millis(500)).await;
        }
        told
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_told_when_all_is_compared_and_after_a_minute_at_the_latest() {
        assert_eq!(told(0).await, [(News::Compared, 0)]);
        assert_eq!(told(59).await, [(News::Compared, 59)]);
        assert_eq!(told(90).await, [(News::Late, 60), (News::Compared, 90)]);
        assert_eq!(told(u64::MAX).await, [(News::Late, 60)]);
    }
}
