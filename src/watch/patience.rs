//! Whether blocking work in a folder gets on. A server that is gone blocks the thread that asks it, for
//! ever and unkillable, so that the thread cannot tell: its beats are watched from outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use crate::blocking::off_runtime;

/// Work without a beat for so long hangs. Longer than a sleeping disk or a busy share takes, and well below
/// the time in which the daemon has to be ready.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// Beats of work that goes on.
#[derive(Debug, Default)]
pub(super) struct Beats {
    count: AtomicU64,
    elsewhere: AtomicBool,
}

impl Beats {
    /// Something was done.
    pub fn beat(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Does what may take any time and is no fault of the folder.
    pub fn elsewhere<T>(&self, work: impl FnOnce() -> T) -> T {
        self.elsewhere.store(true, Ordering::Relaxed);
        let done = work();
        self.elsewhere.store(false, Ordering::Relaxed);
        self.beat();
        done
    }
}

/// Runs `work` on a thread where blocking is allowed, and tells when it hangs (`true`) and when it goes on
/// (`false`). Waits for it all the same: another thread would hang as well.
pub(super) async fn patiently<T: Send + 'static>(
    work: impl FnOnce(&Beats) -> T + Send + 'static,
    mut tell: impl FnMut(bool),
) -> T {
    let beats = Arc::new(Beats::default());
    let ours = Arc::clone(&beats);
    let mut done = std::pin::pin!(off_runtime(move || work(&ours)));
    let (mut before, mut hangs) = (0, false);
    loop {
        let over = tokio::select! {
            done = &mut done => Some(done),
            () = sleep(PATIENCE) => None,
        };
        let now = beats.count.load(Ordering::Relaxed);
        let still = over.is_none() && now == before && !beats.elsewhere.load(Ordering::Relaxed);
        if still != hangs {
            hangs = still;
            tell(hangs);
        }
        before = now;
        if let Some(done) = over {
            return done;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Paused time does not move while a blocking task runs, so it is moved by hand.
    async fn pass_patience() {
        for _ in 0..3 {
            tokio::time::advance(PATIENCE).await;
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_hangs_is_told_once_and_so_is_its_end() {
        let (go, wait) = mpsc::channel::<()>();
        let mut told = Vec::new();
        let work = patiently(move |_| wait.recv().is_ok(), |hangs| told.push(hangs));
        let hand = async {
            pass_patience().await;
            go.send(()).unwrap();
        };
        let (done, ()) = tokio::join!(work, hand);
        assert!(done);
        assert_eq!(told, [true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_beats_or_waits_elsewhere_does_not_hang() {
        let (go, wait) = mpsc::channel::<()>();
        let (inside, entered) = tokio::sync::oneshot::channel();
        let work = patiently(
            move |beats| {
                beats.elsewhere(|| {
                    inside.send(()).unwrap();
                    wait.recv().is_ok()
                })
            },
            |hangs| panic!("told {hangs}"),
        );
        let hand = async {
            entered.await.unwrap();
            pass_patience().await;
            go.send(()).unwrap();
        };
        let (done, ()) = tokio::join!(work, hand);
        assert!(done);
    }
}
