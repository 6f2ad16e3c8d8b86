//! How long a write may take: as long as it moves, and no slower than any link that works.
//!
//! Two limits, both in time that the call itself takes, its wait for a turn left out. Idle: nothing was
//! taken from the body, or no answer came, for `request_timeout`. Overall: `request_timeout`, and a
//! second for every [`SLOWEST_UPLINK`] bytes of body for every write in flight, since they share the link.
//! Knows nothing of HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// A link slower than this in bytes a second is taken as broken: 20 MiB get through at 1 Mbit/s.
const SLOWEST_UPLINK: u64 = 100_000;
/// What the kernel may still hold of a body that was handed over, in bytes: the default bound of a
/// socket's send buffer (tcp(7), `tcp_wmem`).
const KERNEL_HOLDS: u64 = 4 * 1024 * 1024;
/// How often a call is looked at.
const TICK: Duration = Duration::from_secs(1);

/// The writes in flight. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Crowd(Arc<()>);

impl Crowd {
    /// One more, until it is dropped.
    pub fn join(&self) -> Self {
        self.clone()
    }

    /// How many there are, at least 1. The client itself holds one that is not in flight.
    fn size(&self) -> u32 {
        let held = Arc::strong_count(&self.0).saturating_sub(1);
        u32::try_from(held).unwrap_or(u32::MAX).max(1)
    }
}

/// What a body has handed over.
#[derive(Debug)]
pub(super) struct Progress {
    begun: Instant,
    /// Milliseconds from `begun` to the last bytes.
    moved: AtomicU64,
    left: AtomicU64,
}

impl Progress {
    /// Of a body of so many bytes.
    pub fn new(length: u64) -> Self {
        Self {
            begun: Instant::now(),
            moved: AtomicU64::new(0),
            left: AtomicU64::new(length),
        }
    }

    /// So many bytes went out.
    pub fn moved(&self, bytes: u64) {
        let at = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(at, Ordering::Relaxed);
        let _ = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                Some(left.saturating_sub(bytes))
            });
    }

    /// Bytes that have not gone out yet.
    pub fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    fn last(&self) -> Instant {
        self.begun + Duration::from_millis(self.moved.load(Ordering::Relaxed))
    }
}

/// Which limit was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Late {
    /// Nothing moved for so long.
    Idle(Duration),
    /// It takes longer than a link that works would need.
    Slow(Duration),
}

/// Ends when a call that begins now, for a body of `length` bytes, has passed a limit.
pub(super) async fn late(
    timeout: Duration,
    length: u64,
    progress: &Progress,
    crowd: &Crowd,
) -> Late {
    let (start, mut most) = (Instant::now(), 1);
    let at_slowest = |bytes: u64| Duration::from_millis(bytes * 1_000 / SLOWEST_UPLINK);
    loop {
        most = crowd.size().max(most);
        let draining = match progress.left() {
            0 => at_slowest(length.min(KERNEL_HOLDS)).saturating_mul(most),
            _ => Duration::ZERO,
        };
        let idle = (timeout + draining).saturating_sub(progress.last().max(start).elapsed());
        let slow =
            (timeout + at_slowest(length).saturating_mul(most)).saturating_sub(start.elapsed());
        if idle.is_zero() {
            return Late::Idle(progress.last().max(start).elapsed());
        }
        if slow.is_zero() {
            return Late::Slow(start.elapsed());
        }
        sleep(idle.min(slow).min(TICK)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const TIMEOUT: Duration = Duration::from_mins(2);
    /// A picture of 20 MiB as base64.
    const LARGE: u64 = 27_962_028;
    /// 1 Mbit/s.
    const UPLINK: u64 = 125_000;

    /// Moves `length` bytes at `rate` bytes a second, and then nothing.
    async fn transfer(length: u64, rate: u64, progress: &Progress) {
        let mut left = length;
        while left > 0 {
            let part = left.min(128 * 1024);
            sleep(Duration::from_millis(part * 1_000 / rate)).await;
            progress.moved(part);
            left -= part;
        }
    }

    /// When a call is given up whose body moves like this and is never answered, in seconds.
    async fn given_up(length: u64, rate: u64, writes: usize) -> (Late, u64) {
        let crowd = Crowd::default();
        let _joined: Vec<_> = (0..writes).map(|_| crowd.join()).collect();
        let (progress, start) = (Progress::new(length), Instant::now());
        let moving = async {
            transfer(length, rate, &progress).await;
            std::future::pending::<()>().await;
        };
        let limit = late(TIMEOUT, length, &progress, &crowd);
        let late = tokio::select! { late = limit => late, () = moving => unreachable!() };
        (late, start.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_is_given_up_after_the_timeout() {
        // 300 KB are in the kernel at once, whether anybody reads them or not.
        let (late, after) = given_up(300_000, u64::MAX / 1_000_000, 1).await;
        assert!(matches!(late, Late::Idle(_)), "{late:?}");
        assert!((120..=125).contains(&after), "{after}");
    }

    #[rstest]
    #[case::alone(UPLINK, 1)]
    #[case::with_seven_others(UPLINK / 8, 8)]
    #[tokio::test(start_paused = true)]
    async fn a_slow_uplink_gets_a_large_picture_through(#[case] rate: u64, #[case] writes: usize) {
        let needed = LARGE / rate;
        let (late, after) = given_up(LARGE, rate, writes).await;
        // The whole body, what the kernel holds of it, and an answer that takes a minute.
        let draining = KERNEL_HOLDS / rate;
        assert!(
            after > needed + draining.min(60) + 60,
            "{late:?} after {after}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_takes_a_byte_now_and_then_is_given_up() {
        let (late, after) = given_up(LARGE, 10_000, 1).await;
        assert!(matches!(late, Late::Slow(_)), "{late:?}");
        assert!((390..=410).contains(&after), "{after}");
    }
}
