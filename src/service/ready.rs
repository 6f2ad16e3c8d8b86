//! What systemd is told, over `NOTIFY_SOCKET`; without one nothing happens.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::debug;

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
