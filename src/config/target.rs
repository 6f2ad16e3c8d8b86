//! Where pictures go: the document and the sheet, as types that cannot be wrong once made.
//!
//! Tokens flow into URLs, so only letters and digits pass; nothing here needs escaping later.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! token {
    ($(#[$doc:meta])* $name:ident, $what:literal, $most:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The token as text: ASCII letters, digits, `-` and `_` only.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = String;

            /// # Errors
            /// With a sentence for people when the text is no such token.
            fn from_str(text: &str) -> Result<Self, String> {
                let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
                if text.is_empty() || text.len() > $most || !text.bytes().all(known) {
                    return Err(format!(
                        "{} is 1 to {} ASCII letters or digits, but this is {text:?}",
                        $what, $most
                    ));
                }
                Ok(Self(text.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(token: $name) -> Self {
                token.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

token! {
    /// A spreadsheet's token: the path segment after `/sheets/` in its URL.
    SpreadsheetToken, "a spreadsheet token", 64
}
token! {
    /// A wiki node's token: the path segment after `/wiki/` in its URL.
    WikiToken, "a wiki token", 64
}
token! {
    /// A sheet's id, as `Q7PlXT`.
    SheetId, "a sheet id", 64
}

/// The document a mapping feeds, as the configuration names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SpreadsheetRef {
    /// By its own token.
    Token(SpreadsheetToken),
    /// By the wiki node it hangs on; the API tells the token.
    Wiki(WikiToken),
}

impl fmt::Display for SpreadsheetRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(token) => token.fmt(f),
            Self::Wiki(token) => write!(f, "wiki/{token}"),
        }
    }
}

/// The sheet a mapping feeds, as the configuration names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SheetRef {
    /// The document's first sheet.
    First,
    /// By id, as the URL's `?sheet=` gives it.
    Id(SheetId),
    /// By what its tab says, or by id: the API tells which.
    Named(String),
}

impl fmt::Display for SheetRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => f.write_str("first sheet"),
            Self::Id(id) => id.fmt(f),
            Self::Named(name) => f.write_str(name),
        }
    }
}
