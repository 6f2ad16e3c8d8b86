//! Whether a task goes on: each step that has to end says so for as long as it runs, and somebody else
//! asks whether one is overdue. Says nothing of what a task waits for: an idle one is well.
//!
//! Of the steps of one task only the innermost counts, and one that ends gives the step around it its
//! time anew. A task has one innermost step: steps that run beside each other, as in a `select!`, have
//! to be tasks of their own. Outside of [`Pulses::of`] nothing is watched and nothing is different.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

tokio::task_local! {
    static PULSE: Arc<Pulse>;
}

/// One task.
#[derive(Debug)]
struct Pulse {
    task: String,
    step: Mutex<Option<Step>>,
}

/// A step that has to end.
#[derive(Debug, Clone, Copy)]
struct Step {
    since: Instant,
    limit: Duration,
}

impl Step {
    fn begin(limit: Duration) -> Self {
        let since = Instant::now();
        Self { since, limit }
    }
}

impl Pulse {
    /// Takes the place of the step before and returns it.
    fn set(&self, step: Option<Step>) -> Option<Step> {
        let mut now = self.step.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *now, step)
    }
}

/// Gives the step around this one its time anew, also when this one is given up.
struct Inner {
    pulse: Arc<Pulse>,
    around: Option<Step>,
}

impl Inner {
    /// `None` outside of a watched task.
    fn begin(limit: Option<Duration>) -> Option<Self> {
        let pulse = PULSE.try_with(Arc::clone).ok()?;
        let around = pulse.set(limit.map(Step::begin));
        Some(Self { pulse, around })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.pulse
            .set(self.around.map(|step| Step::begin(step.limit)));
    }
}

/// A step that ends within `limit` by its own doing, and is overdue when it does not.
pub async fn within<F: Future>(limit: Duration, step: F) -> F::Output {
    let _inner = Inner::begin(Some(limit));
    step.await
}

/// A step that may take for ever: a wait for another task, for a person, for a file system that may
/// be dead.
pub async fn waiting<F: Future>(step: F) -> F::Output {
    let _inner = Inner::begin(None);
    step.await
}

/// The watched tasks. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Pulses(Arc<Mutex<Vec<Weak<Pulse>>>>);

/// A step that is overdue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// The task.
    pub task: String,
    /// How long ago the step began.
    pub age: Duration,
}

impl Pulses {
    /// Watches a task from its first poll until it is dropped.
    pub fn of<F: Future>(&self, task: &str, work: F) -> impl Future<Output = F::Output> + use<F> {
        let pulse = Arc::new(Pulse {
            task: task.to_owned(),
            step: Mutex::default(),
        });
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|pulse| pulse.strong_count() > 0);
        all.push(Arc::downgrade(&pulse));
        PULSE.scope(pulse, work)
    }

    /// The steps that have taken longer than their limit and `patience`.
    pub fn stuck(&self, patience: Duration) -> Vec<Stuck> {
        let now = Instant::now();
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stuck = all.iter().filter_map(Weak::upgrade).filter_map(|pulse| {
            let step = *pulse.step.lock().unwrap_or_else(PoisonError::into_inner);
            let (task, age) = (pulse.task.clone(), now.duration_since(step?.since));
            (age > step?.limit.saturating_add(patience)).then_some(Stuck { task, age })
        });
        stuck.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use tokio::time::{advance, sleep};

    const PATIENCE: Duration = Duration::from_secs(10);
    const LIMIT: Duration = Duration::from_mins(1);

    /// For how many seconds a task is stuck after so many of its life.
    async fn stuck_after(
        seconds: u64,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Option<u64> {
        let pulses = Pulses::default();
        let task = tokio::spawn(pulses.of("the lane", work));
        tokio::task::yield_now().await;
        for _ in 0..seconds {
            advance(Duration::from_secs(1)).await;
        }
        let stuck = pulses.stuck(PATIENCE);
        task.abort();
        stuck.first().map(|stuck| stuck.age.as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_is_overdue_after_its_limit_and_patience() {
        assert_eq!(stuck_after(70, within(LIMIT, pending())).await, None);
        assert_eq!(stuck_after(71, within(LIMIT, pending())).await, Some(71));
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_without_a_step_and_one_that_waits_are_well() {
        assert_eq!(stuck_after(1000, pending()).await, None);
        let waits = within(LIMIT, waiting(pending()));
        assert_eq!(stuck_after(1000, waits).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_inner_step_counts_alone_and_gives_the_outer_one_its_time_anew() {
        let work = || {
            within(Duration::ZERO, async {
                within(LIMIT, sleep(LIMIT)).await;
                pending::<()>().await;
            })
        };
        assert_eq!(stuck_after(59, work()).await, None);
        assert_eq!(stuck_after(70, work()).await, None);
        assert_eq!(
            stuck_after(72, work()).await,
            Some(11),
            "seconds since the inner one ended"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_that_is_given_up_is_over() {
        let work = async {
            let given_up = within(LIMIT, pending::<()>());
            let _ = tokio::time::timeout(Duration::from_secs(1), given_up).await;
            pending::<()>().await;
        };
        assert_eq!(stuck_after(1000, work).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_comes_round_is_well() {
        let work = within(Duration::ZERO, async {
            for _ in 0..100 {
                waiting(sleep(Duration::from_secs(5))).await;
            }
            pending::<()>().await;
        });
        let pulses = Pulses::default();
        let task = tokio::spawn(pulses.of("the intake", work));
        for _ in 0..500 {
            sleep(Duration::from_secs(1)).await;
            assert!(pulses.stuck(PATIENCE).is_empty());
        }
        sleep(Duration::from_secs(11)).await;
        assert_eq!(pulses.stuck(PATIENCE).len(), 1);
        task.abort();
        let _ = task.await;
        assert!(pulses.stuck(PATIENCE).is_empty(), "a task that is gone");
    }
}
