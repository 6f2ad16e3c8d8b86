//! Tells systemd that all is well, as long as it is: while no step of any task is overdue. One for the
//! whole life of the daemon: another configuration does not change its rhythm.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info};

use super::ready;
use super::supervisor::{Fault, Supervisor};
use crate::blocking::off_runtime;
use crate::pulse::{Pulses, Stuck};

/// Without a watchdog of systemd's, overdue steps are told all the same.
const USUAL: Duration = Duration::from_mins(3);

/// Least time that a step has beyond its own limit; watchers come round every two seconds.
const PATIENCE_LEAST: Duration = Duration::from_secs(5);

/// Begins; ends when what is returned is dropped.
pub(super) fn start(pulses: Pulses) -> AbortOnDropHandle<()> {
    let period = ready::watchdog().unwrap_or(USUAL);
    AbortOnDropHandle::new(tokio::spawn(go_on(pulses, period)))
}

/// Without it systemd would end the daemon for no reason that anybody could name.
async fn go_on(pulses: Pulses, period: Duration) {
    let (mut task, never) = (Supervisor::default(), CancellationToken::new());
    loop {
        let attending = attend(pulses.clone(), period);
        task.spawn::<Fault>("the watchdog", &never, async move {
            attending.await;
            Ok(())
        });
        error!("{}", task.fault().await);
        sleep(period / PINGS).await;
    }
}

/// In a period: twice as often as systemd advises, as one may be late on a busy machine.
const PINGS: u32 = 4;

async fn attend(pulses: Pulses, period: Duration) {
    let mut tick = interval(period / PINGS);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let patience = (period / 2).max(PATIENCE_LEAST);
    let mut told = false;
    loop {
        tick.tick().await;
        let stuck = pulses.stuck(patience);
        if stuck.is_empty() {
            if std::mem::take(&mut told) {
                info!("everything moves again");
            }
            // systemd may be slow to take it, as while it reloads.
            off_runtime(ready::alive).await;
        } else if !std::mem::replace(&mut told, true) {
            error!("{}", line(&stuck));
        }
    }
}

fn line(stuck: &[Stuck]) -> String {
    let stuck: Vec<String> = stuck
        .iter()
        .map(|Stuck { task, age }| format!("{task} for {} s", age.as_secs()))
        .collect();
    format!(
        "does not move: {}; systemd restarts the service when that lasts",
        stuck.join(", ")
    )
}
