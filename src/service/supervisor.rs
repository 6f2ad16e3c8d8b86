//! Every long task in one place, by name: an early end, an error or a panic is a fault of that name,
//! and never vanishes.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};
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
}

/// The tasks of one run.
#[derive(Debug, Default)]
pub struct Supervisor {
    tasks: JoinSet<Result<(), String>>,
    names: HashMap<Id, String>,
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

    /// Starts a task. Its errors are told as they are displayed.
    pub fn spawn<E: fmt::Display>(
        &mut self,
        name: impl Into<String>,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let name = name.into();
        let task = async move { task.await.map_err(|error| error.to_string()) };
        let handle = self.tasks.spawn(self.pulses.of(&name, task));
        self.names.insert(handle.id(), name);
    }

    /// Waits for a task to end, which none should before it is told to. Never ends while there is none.
    pub async fn fault(&mut self) -> Fault {
        match self.tasks.join_next_with_id().await {
            Some(ended) => self.judge(ended, "ended by itself"),
            None => std::future::pending().await,
        }
    }

    /// Waits until all tasks have ended, at most until the deadline; then ends those that are left. May
    /// be given up and called again.
    pub async fn drain(&mut self, deadline: Instant) {
        loop {
            match timeout_at(deadline, self.tasks.join_next_with_id()).await {
                Ok(None) => return,
                Ok(Some(Ok((id, Ok(()))))) => {
                    self.names.remove(&id);
                }
                Ok(Some(ended)) => error!("{}", self.judge(ended, "")),
                Err(_) => {
                    let late: Vec<&str> = self.names.values().map(String::as_str).collect();
                    warn!("not waiting any longer for {}", late.join(", "));
                    self.tasks.shutdown().await;
                    return;
                }
            }
        }
    }

    fn judge(&mut self, ended: Result<(Id, Result<(), String>), JoinError>, clean: &str) -> Fault {
        let (id, how) = match ended {
            Ok((id, Ok(()))) => (id, clean.to_owned()),
            Ok((id, Err(error))) => (id, format!("failed: {error}")),
            Err(failed) => (failed.id(), panic_text(failed)),
        };
        let task = self.names.remove(&id).unwrap_or_else(|| "a task".into());
        Fault { task, how }
    }
}

fn panic_text(failed: JoinError) -> String {
    match failed.try_into_panic() {
        Ok(panic) => {
            let text = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned());
            format!(
                "panicked: {}",
                text.unwrap_or_else(|| "without a message".into())
            )
        }
        Err(_) => "was cancelled".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::time::Duration;

    #[tokio::test]
    async fn a_panic_an_error_and_an_early_end_each_carry_the_tasks_name() {
        let mut tasks = Supervisor::default();
        tasks.spawn::<Infallible>("the lane", async { panic!("boom") });
        assert_eq!(tasks.fault().await.to_string(), "the lane panicked: boom");
        tasks.spawn("the intake", async { Err("disk full") });
        assert_eq!(
            tasks.fault().await.to_string(),
            "the intake failed: disk full"
        );
        tasks.spawn::<Infallible>("the watcher", async { Ok(()) });
        assert_eq!(
            tasks.fault().await.to_string(),
            "the watcher ended by itself"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_end_is_not_waited_for_beyond_the_deadline() {
        let mut tasks = Supervisor::default();
        tasks.spawn::<Infallible>("the lane", std::future::pending());
        let start = Instant::now();
        tasks.drain(start + Duration::from_secs(10)).await;
        assert_eq!(start.elapsed(), Duration::from_secs(10));
    }
}
