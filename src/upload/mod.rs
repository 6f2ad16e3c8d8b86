//! Jobs turned into receipts: one serial lane a spreadsheet, gates that close while sending makes no
//! sense, and what each failure leads to. Reads jobs from the store and writes receipts there; knows
//! nothing of watching.

mod allowance;
mod append;
mod budget;
mod calls;
mod folders;
mod gate;
mod keys;
mod lane;
mod names;
mod react;
mod resolve;
#[cfg(test)]
mod tests;

pub use allowance::Pace;
pub use budget::{Budget, Permit};
pub use calls::Calls;
pub use folders::Folders;
pub use gate::{Closed, Gate, LaneGates, Pass, Pause, Probe, SharedGate, Ticket};
pub use lane::{Documents, Lane, LaneEvent, LaneState, Shared, answers, run};
pub use names::SheetNames;
pub use react::{Reaction, react};
pub use resolve::{fits, holds_column};
