//! Blocking work kept off the async runtime: one way for every room.

/// Runs `work` on a thread where blocking is allowed, and waits for it. A panic in it goes on here; when
/// the runtime is shutting down and no longer runs it, the wait never ends and is dropped with its task.
pub async fn off_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
        Err(_) => std::future::pending().await,
    }
}
