//! The configuration as the rest of the program sees it: every default filled in, every value in
//! range. No option is left open here; how YAML becomes this is `resolve`'s concern.

use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

use super::secret::ProxyUrl;
use super::target::{SheetRef, SpreadsheetRef};
use crate::a1::{Column, Row};

/// The whole configuration of one daemon.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the store and the lock live. Absolute.
    pub state_dir: PathBuf,
    /// The socket through which commands ask the daemon.
    pub control: Control,
    /// The API and the app that calls it.
    pub feishu: Feishu,
    /// The status server.
    pub status: Status,
    /// At least one; names are distinct.
    pub mappings: Vec<Arc<Mapping>>,
}

/// The API's address, the app's identity and its limits.
#[derive(Debug, Clone)]
pub struct Feishu {
    /// `https`, or `http` to a loopback address; without a path.
    pub endpoint: Url,
    /// The app's id, as `cli_a1b2c3d4`.
    pub app_id: String,
    /// Who calls.
    pub identity: Identity,
    /// How the image travels in the body.
    pub image_encoding: ImageEncoding,
    /// Calls a second, for the whole app.
    pub requests_per_second: NonZeroU32,
    /// The app's quota of calls in a calendar month, if it has one.
    pub monthly_calls: Option<NonZeroU64>,
    /// Limit for making a connection.
    pub connect_timeout: Duration,
    /// Limit for one call, from its first byte to the end of the answer.
    pub request_timeout: Duration,
    /// A proxy for every call; `None`: the usual environment variables decide.
    pub proxy: Option<ProxyUrl>,
    /// A further certificate authority, in PEM.
    pub ca_file: Option<PathBuf>,
}

impl Feishu {
    /// Whether both make the same calls in the same way. Never with a `ca_file`, whose content counts.
    pub fn is_same(&self, other: &Self) -> bool {
        let Self {
            endpoint,
            app_id,
            identity,
            image_encoding,
            requests_per_second,
            // Counted by the daemon.
            monthly_calls: _,
            connect_timeout,
            request_timeout,
            proxy,
            ca_file,
        } = self;
        ca_file.is_none()
            && other.ca_file.is_none()
            && *endpoint == other.endpoint
            && *app_id == other.app_id
            && identity.is_same(&other.identity)
            && *image_encoding == other.image_encoding
            && *requests_per_second == other.requests_per_second
            && *connect_timeout == other.connect_timeout
            && *request_timeout == other.request_timeout
            && *proxy == other.proxy
    }
}

/// Whose token the calls carry.
#[derive(Debug, Clone)]
pub enum Identity {
    /// The app's own `tenant_access_token`, fetched with its secret.
    App {
        /// The app's secret.
        secret: SecretString,
    },
    /// A `user_access_token` kept in a file.
    User {
        /// The file that holds the token.
        token_file: PathBuf,
        /// The app's secret, which a refresh needs; without it the token is used until it expires.
        secret: Option<SecretString>,
    },
}

impl Identity {
    fn is_same(&self, other: &Self) -> bool {
        let exposed = |secret: &Option<SecretString>| {
            secret
                .as_ref()
                .map(|secret| secret.expose_secret().to_owned())
        };
        match (self, other) {
            (Self::App { secret }, Self::App { secret: theirs }) => {
                secret.expose_secret() == theirs.expose_secret()
            }
            (
                Self::User { token_file, secret },
                Self::User {
                    token_file: their_file,
                    secret: theirs,
                },
            ) => token_file == their_file && exposed(secret) == exposed(theirs),
            _ => false,
        }
    }
}

/// The two forms that the API documents for the field `image`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageEncoding {
    /// A base64 string: 1.33 bytes a byte.
    Base64,
    /// A JSON array of numbers: about 3.6 bytes a byte.
    Array,
}

/// How folders are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch {
    /// Which mechanism finds changes.
    pub backend: Backend,
    /// Time between two listings when polling.
    pub poll_interval: Duration,
    /// Quiet time asked of files whose end cannot be recognised.
    pub settle: Duration,
    /// Time between two full comparisons.
    pub rescan_every: Duration,
}

/// The mechanism that finds changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// Native where the file system tells of changes by every host, else polling.
    Auto,
    /// The kernel's events.
    Native,
    /// Regular listings.
    Poll,
}

/// The control socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// The group that may use it beside the owner, by name or number; `None`: the owner alone.
    pub group: Option<String>,
    /// A folder that others may enter, which the socket lies in; `None`: in the state directory. Absolute.
    pub runtime_dir: Option<PathBuf>,
}

/// The status server.
#[derive(Debug, Clone)]
pub struct Status {
    /// Where it listens; `None`: off. Beyond loopback only with a token.
    pub listen: Option<SocketAddr>,
    /// What callers have to show.
    pub token: Option<SecretString>,
}

/// A mapping's name: distinct in a configuration, 1 to 64 characters, letters, digits, `-`, `_`, `.`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MappingName(Arc<str>);

impl MappingName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for MappingName {
    type Error = String;

    /// # Errors
    /// With a sentence for people when the text is no name.
    fn try_from(text: String) -> Result<Self, String> {
        let known = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        if text.is_empty() || text.chars().count() > 64 || !text.chars().all(known) {
            return Err(format!(
                "a mapping's name is 1 to 64 letters, digits, `-`, `_` or `.`, but this is {text:?}"
            ));
        }
        Ok(Self(text.into()))
    }
}

impl From<MappingName> for String {
    fn from(name: MappingName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for MappingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MappingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A folder, the sheet it feeds, and its rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Distinct among the mappings.
    pub name: MappingName,
    /// The watched folder. Absolute; need not exist yet.
    pub folder: PathBuf,
    /// Whether its sub-folders are watched as well.
    pub recursive: bool,
    /// The document.
    pub spreadsheet: SpreadsheetRef,
    /// The sheet in it.
    pub sheet: SheetRef,
    /// Patterns of files that are never looked at, beside the built-in list. Source text; `placement` compiles it.
    pub ignore: Vec<String>,
    /// Least time between two writes of one slot.
    pub min_interval: Duration,
    /// Larger files are rejected. 1 to 20 MiB.
    pub max_bytes: u64,
    /// How this folder is watched.
    pub watch: Watch,
    /// At least one; the first that matches takes the file.
    pub rules: Vec<Rule>,
}

/// Which files, and where each goes. Texts here are source; `placement` compiles them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The pattern that a file's path must match.
    pub files: String,
    /// Where a matched file goes.
    pub place: Place,
}

/// The three ways to say where a picture goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// One cell, named by a template.
    Cell {
        /// Template of an A1 reference.
        cell: String,
    },
    /// The row whose key column says the same as the template.
    FindRow {
        /// Where the key is looked for.
        key_column: Column,
        /// Template of the key.
        equals: String,
        /// Rows above this one are no candidates.
        first_row: Row,
        /// Where the picture goes in that row.
        column: Column,
    },
    /// The next free row, which the file then keeps.
    Append {
        /// Where the picture goes.
        column: Column,
        /// Rows above this one are not used.
        first_row: Row,
    },
}
