//! The configuration: YAML in, a validated and typed [`Config`] out, or every problem with its file,
//! line, column and key path. Opens nothing but the configuration file and those that it names for
//! secrets and certificates; asks the process for nothing (see [`Environment`]).
//!
//! The way of a text: `source` (a file) → `raw` (a tree) → `section` (typed values, problems noted)
//! → `resolve` (defaults, ranges, what one key means for another) → `model`. `locate` finds the line
//! of a problem afterwards. `raw` and `locate` alone know that there is `serde_yaml`.

mod check;
pub mod defaults;
mod environment;
mod excerpt;
mod keypath;
mod keys;
mod locate;
pub mod model;
mod problem;
mod raw;
mod resolve;
mod secret;
mod section;
mod source;
mod starter;
mod syntax;
pub mod target;
pub mod units;

#[cfg(test)]
mod tests;

pub use check::{RuleCheck, RuleComplaint};
pub use environment::Environment;
pub use keypath::{KeyPath, Segment};
pub use model::{
    Backend, Config, Control, Feishu, Identity, ImageEncoding, Mapping, MappingName, Place, Rule,
    Status, Watch,
};
pub use problem::{ConfigError, Place as ProblemPlace, Problem};
pub use resolve::{LEAST_POLL_INTERVAL, LEAST_RESCAN_EVERY, MOST_SETTLE, Parsed, parse};
pub use secret::ProxyUrl;
pub use source::{LARGEST_FILE, LOCAL_FILE, SYSTEM_FILE, Source};
pub use starter::{Starter, endpoint_for};
pub use target::{SheetId, SheetRef, SpreadsheetLink, SpreadsheetRef, SpreadsheetToken, WikiToken};
