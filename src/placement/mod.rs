//! Where a file goes: patterns with captures, templates over them, slots. Pure: no file is opened,
//! no call is made. The user's reference is `docs/patterns.md`; a test checks it row by row.

pub mod compile;
#[cfg(test)]
pub(crate) mod fixture;
pub mod ignore;
pub mod key;
pub mod load;
pub mod overlap;
pub mod path;
pub mod pattern;
#[cfg(test)]
mod reference;
pub mod route;
pub mod rules;
pub mod slot;
pub mod template;

pub use compile::{RuleProblem, check_ignore, check_rule};
pub use ignore::BUILT_IN_IGNORE;
pub use key::RowKey;
pub use load::{Loaded, load};
pub use overlap::{Overlap, Unreached, overlaps, unreached};
pub use path::RelPath;
pub use pattern::{CaptureKind, CaptureName, Captures, Pattern, PatternError};
pub use route::{Route, Routes};
pub use rules::{Placement, RuleSet};
pub use slot::{Slot, SlotAddress};
pub use template::{RenderError, Template, TemplateError};
