//! Candidates turned into jobs: settled, complete, recognised, hashed, and compared with what their
//! slot holds. Sends nothing; what leaves this room is written in the store.

mod copies;
mod decide;
mod pipeline;
mod read;
mod readers;
mod settle;

pub use copies::Copies;
pub use decide::{Decision, Offer, Rival, Stand, decide, rival};
pub use pipeline::{Digested, Intake, Unread, run};
pub use read::{Looked, Rest, look, open_beneath};
pub use settle::Settle;
