//! The running daemon: it wires the rooms, says when it is ready, and ends them in order. The only room
//! that names signal-hook and sd-notify.

mod control;
mod daemon;
mod plan;
mod ready;
mod restart;
mod run;
mod select;
mod signals;
mod status;
mod supervisor;
mod watchdog;
mod web;

pub use control::{Ask, AskError, Standing, ask};
pub use daemon::{DaemonError, Ended, Mode, Outcome, Parts, Setup, run};
pub use plan::{MappingPlan, Plan, PlanTotals, PlannedFile, Silent, Verdict, plan};
pub use select::{HistoryLine, Opened, Retried, What, history, retry};
pub use signals::{Intent, intents};
pub use status::{
    LaneStatus, MappingStatus, ParkedJob, RefusedFile, Running, Snapshot, WaitingJob, gather,
};

pub use crate::upload::LaneEvent;
