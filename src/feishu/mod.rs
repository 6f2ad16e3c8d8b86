//! The Feishu / Lark API: tokens, pace, calls, the streaming image body, and what each answer means.
//!
//! Knows documents, sheets and cells; nothing of folders, slots or the store. The only room that names
//! reqwest. Facts are from the vendor's pages at open.feishu.cn (server-docs, sheets-v3).

mod answer;
mod body;
mod class;
mod client;
mod error;
mod limit;
mod meter;
mod name;
mod pace;
mod token;
mod user;
mod wire;

pub use body::{Hold, LetGo, Picture, SourceFault, encoded_length, hold};
pub use class::{Class, Scope, advice, classify};
pub use client::{Client, ClientError, Receipt};
pub use error::{CallError, Outcome, Refusal};
pub use meter::{Kind, Leave, Meter};
pub use name::image_name;
pub use pace::Pace;
pub use wire::{CellValue, Merge, Protection, Sheet, find_sheet};

#[doc(hidden)]
pub use body::encode_for_bench;
