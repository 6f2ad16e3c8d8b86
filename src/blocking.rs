//! Blocking work kept off the async runtime: one way for every room.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::timeout;

use crate::pulse::{waiting, within};

/// Runs `work` on a thread where blocking is allowed, and waits for it. A panic in it goes on here; when
/// the runtime is shutting down and no longer runs it, the wait never ends and is dropped with its task.
///
/// It may take for ever, as on a dead file system, without its task being taken for stuck.
pub async fn off_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    waiting(threaded(work)).await
}

/// The same for work that has to end, or the task is stuck.
pub async fn off_runtime_in_time<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    within(Duration::ZERO, threaded(work)).await
}

/// The end of work that was waited for in vain.
pub type End = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The same for work that may take for ever and is not waited for that long.
///
/// # Errors
/// Its end, when it takes longer than `patience`; what it comes to is dropped.
pub async fn off_runtime_for<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, End> {
    let mut work = Box::pin(threaded(work));
    let done = waiting(timeout(patience, &mut work)).await;
    done.map_err(|_| -> End { Box::pin(async move { drop(work.await) }) })
}

/// Begins `work` on a thread where blocking is allowed, and goes on; whoever waits for what comes of it
/// hears of it from the work.
pub fn beside(work: impl FnOnce() + Send + 'static) {
    drop(tokio::task::spawn_blocking(work));
}

async fn threaded<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
        Err(_) => std::future::pending().await,
    }
}
