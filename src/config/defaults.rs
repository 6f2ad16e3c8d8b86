//! What holds when the configuration does not say. Each value is named once, here, with its unit;
//! `config.example.yaml` shows the same, which a test compares.

use std::num::NonZeroU32;
use std::time::Duration;

use super::model::{Backend, ImageEncoding, Watch};

/// The API of Feishu, in China. Lark's is `https://open.larksuite.com`.
pub const ENDPOINT: &str = "https://open.feishu.cn";
/// Base64 is the smaller of the two forms.
pub const IMAGE_ENCODING: ImageEncoding = ImageEncoding::Base64;
/// Calls a second: the limit that the API documents for an app.
pub const REQUESTS_PER_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(99);
/// Limit for making a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Limit for one call: 20 MiB of picture over a poor line.
pub const REQUEST_TIMEOUT: Duration = Duration::from_mins(2);
/// How folders are watched.
pub const WATCH: Watch = Watch {
    backend: Backend::Auto,
    poll_interval: Duration::from_secs(2),
    settle: Duration::from_millis(500),
    rescan_every: Duration::from_mins(15),
};
/// Sub-folders are watched as well.
pub const RECURSIVE: bool = true;
/// Least time between two writes of one slot: none.
pub const MIN_INTERVAL: Duration = Duration::ZERO;
/// The largest picture, in bytes, and the most that may be configured: the API's own limit.
pub const MAX_BYTES: u64 = 20 << 20;
/// The first row that a key or a free place is looked for in: below a header.
pub const FIRST_ROW: u32 = 2;
