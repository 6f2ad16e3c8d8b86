//! Jobs turned into receipts: one serial lane a spreadsheet, gates that close while sending makes no
//! sense, and what each failure leads to. Reads jobs from the store and writes receipts there; knows
//! nothing of watching.

mod append;
mod gate;
mod keys;
mod lane;
mod react;
mod resolve;

pub use gate::{Closed, Gate, Pass, SharedGate};
pub use lane::{Documents, Lane, LaneEvent, LaneState, Shared, run};
pub use react::{Reaction, react};
pub use resolve::{fits, holds_column};
