//! Every long task in one place, by name: an early end, an error or a panic is a fault of that name,
//! and never vanishes. Only the end of a task that was told to stop is none.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::pulse::Pulses;

/// A task ended that should not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{task} {how}")]
pub struct Fault {
    /// The task's name.
    pub task: String,
    /// How it ended.
    pub how: String,
    /// A mistake of ours, a panic or an end by itself: a new start may well go better.
    pub ours: bool,
}

/// The tasks of one run.
#[derive(Debug, Default)]
pub struct Supervisor {
    tasks: JoinSet<Result<(), String>>,
    names: HashMap<Id, (String, CancellationToken)>,
    pulses: Pulses,
}

impl Supervisor {
    /// A supervisor whose tasks are among these.
    pub fn new(pulses: Pulses) -> Self {
        Self {
            pulses,
            ..Self::default()
        }
    }

    /// Starts a task that ends once `stop` is cancelled. Its errors are told as they are displayed.
    pub fn spawn<E: fmt::Display>(
        &mut self,
        name: impl Into<String>,
        stop: &CancellationToken,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let name = name.into();
        let task = async move { task.await.map_err(|error| error.to_string()) };
        let handle = self.tasks.spawn(self.pulses.of(&name, task));
        self.names.insert(handle.id(), (name, stop.clone()));
    }

    /// Waits for a task to end that was not told to. Never ends while there is none.
    pub async fn fault(&mut self) -> Fault {
        while let Some(ended) = self.tasks.join_next_with_id().await {
            if let Some(fault) = self.judge(ended) {
                return fault;
            }
        }
        std::future::pending().await
    }

    /// Waits until all tasks have ended, at most until the deadline; then ends those that are left. May
    /// be given up and called again.
    pub async fn drain(&mut self, deadline: Instant) {
        loop {
            match timeout_at(deadline, self.tasks.join_next_with_id()).await {
                Ok(None) => return,
                Ok(Some(ended)) => {
                    if let Some(fault) = self.judge(ended) {
                        error!("{fault}");
                    }
                }
                Err(_) => {
                    let late: Vec<&str> =
                        self.names.values().map(|(name, _)| name.as_str()).collect();
                    warn!("not waiting any longer for {}", late.join(", "));
                    self.tasks.shutdown().await;
                    self.names.clear();
                    return;
                }
            }
        }
    }

    /// `None`: it was told to stop, and did.
    fn judge(&mut self, ended: Result<(Id, Result<(), String>), JoinError>) -> Option<Fault> {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let (task, stop) = self.names.remove(&id).unwrap_or_default();
        let (how, ours) = match ended {
            Ok((_, Ok(()))) if stop.is_cancelled() => return None,
            Ok((_, Ok(()))) => ("ended by itself".to_owned(), true),
            Ok((_, Err(error))) => (format!("failed: {error}"), false),
            Err(failed) => (panic_text(failed), true),
        };
        Some(Fault { task, how, ours })
    }
}

/// What runs in no task of its own: a panic of it is a fault all the same.
///
/// # Errors
/// When it panicked.
pub async fn caught<F: Future>(name: &str, work: F) -> Result<F::Output, Fault> {
    let mut work = pin!(work);
    // Not polled again after a panic.
    let poll = poll_fn(|context| {
        catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context)))
            .map_or_else(|panic| Poll::Ready(Err(panic)), |poll| poll.map(Ok))
    });
    poll.await.map_err(|panic| Fault {
        task: name.to_owned(),
        how: said(&*panic),
        ours: true,
    })
}

fn panic_text(failed: JoinError) -> String {
    failed
        .try_into_panic()
        .map_or_else(|_| "was cancelled".into(), |panic| said(&*panic))
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panicked: {}", text.unwrap_or("without a message"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::time::Duration;

    #[tokio::test]
    async fn a_panic_an_error_and_an_early_end_each_carry_the_tasks_name() {
        let (mut tasks, stop) = (Supervisor::default(), CancellationToken::new());
        tasks.spawn::<Infallible>("the lane", &stop, async { panic!("boom") });
        let fault = tasks.fault().await;
        assert_eq!(fault.to_string(), "the lane panicked: boom");
        assert!(fault.ours);
        tasks.spawn("the intake", &stop, async { Err("disk full") });
        let fault = tasks.fault().await;
        assert_eq!(fault.to_string(), "the intake failed: disk full");
        assert!(!fault.ours);
        tasks.spawn::<Infallible>("the watcher", &stop, async { Ok(()) });
        let fault = tasks.fault().await;
        assert_eq!(fault.to_string(), "the watcher ended by itself");
        assert!(fault.ours);
    }

    #[tokio::test]
    async fn a_panic_outside_of_a_task_is_a_fault_as_well() {
        let work = async {
            tokio::task::yield_now().await;
            let number = 7;
            assert_eq!(number, 8, "boom");
        };
        let fault = caught("the daemon itself", work).await.unwrap_err();
        assert!(fault.ours);
        let told = fault.to_string();
        assert!(told.starts_with("the daemon itself panicked: "), "{told}");
        assert!(told.contains("boom"), "{told}");
        assert_eq!(caught("the daemon itself", async { 7 }).await, Ok(7));
    }

    #[tokio::test]
    async fn the_end_of_a_task_that_was_told_to_stop_is_no_fault() {
        let (mut tasks, old, new) = (
            Supervisor::default(),
            CancellationToken::new(),
            CancellationToken::new(),
        );
        let until = |stop: &CancellationToken| {
            let stop = stop.clone();
            async move {
                stop.cancelled().await;
                Ok(())
            }
        };
        tasks.spawn::<Infallible>("the old lane", &old, until(&old));
        tasks.spawn::<Infallible>("the new lane", &new, async { panic!("boom") });
        old.cancel();
        assert_eq!(
            tasks.fault().await.to_string(),
            "the new lane panicked: boom"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_end_is_not_waited_for_beyond_the_deadline() {
        let (mut tasks, stop) = (Supervisor::default(), CancellationToken::new());
        tasks.spawn::<Infallible>("the lane", &stop, std::future::pending());
        let start = Instant::now();
        tasks.drain(start + Duration::from_secs(10)).await;
        assert_eq!(start.elapsed(), Duration::from_secs(10));
    }
}
