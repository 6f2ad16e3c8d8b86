//! The configuration: YAML in, a validated and typed [`Config`] out, or every problem with its file,
//! line, column and key path. Touches nothing but the configuration file and the secret's source.

pub mod model;
pub mod target;

pub use model::{
    Backend, Config, Feishu, Identity, ImageEncoding, Mapping, MappingName, Place, Rule, Status,
    Watch,
};
pub use target::{SheetId, SheetRef, SpreadsheetRef, SpreadsheetToken, WikiToken};
