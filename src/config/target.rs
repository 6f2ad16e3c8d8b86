//! Where pictures go: the document and the sheet, as types that cannot be wrong once made.
//!
//! Tokens flow into URLs, so only letters and digits pass; nothing here needs escaping later.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use url::Url;

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

/// What a spreadsheet's address in the configuration says: a URL as a browser shows it, or the bare
/// token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpreadsheetLink {
    /// The document.
    pub document: SpreadsheetRef,
    /// The sheet that the URL names by `?sheet=`.
    pub sheet: Option<SheetId>,
    /// The URL's host; `None` for a bare token.
    pub host: Option<String>,
}

/// Why a text names no spreadsheet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// A URL was expected or a bare token, and it is neither.
    #[error("{0:?} is neither a spreadsheet's URL nor its token")]
    Neither(String),
    /// A URL without its scheme.
    #[error("{0:?} lacks the beginning of a URL")]
    NoScheme(String),
    /// Another kind of document.
    #[error("{0:?} is a {1}, not a spreadsheet")]
    OtherDocument(String, &'static str),
    /// A document of another service.
    #[error("{0:?} is no Feishu or Lark spreadsheet")]
    OtherService(String),
    /// A URL in which nothing names a document.
    #[error("{0:?} names no document")]
    NoToken(String),
    /// A URL whose token is no token.
    #[error("{0}")]
    Token(String),
}

impl LinkError {
    /// What would be right.
    pub fn help(&self) -> String {
        let open = "open the spreadsheet in a browser and copy the address, as in";
        match self {
            Self::NoScheme(text) => format!("write `https://{text}`"),
            _ => format!("{open} `https://sample.feishu.cn/sheets/Iow7sNNEphp3WbtnbCscPqabcef`"),
        }
    }
}

impl FromStr for SpreadsheetLink {
    type Err = LinkError;

    /// Reads `https://HOST/sheets/TOKEN`, `/spreadsheets/TOKEN`, `/wiki/TOKEN`, each with an
    /// optional `?sheet=ID`, and the bare token.
    fn from_str(text: &str) -> Result<Self, LinkError> {
        let text = text.trim();
        let own = || text.to_owned();
        if !text.contains("://") {
            let host = text.split('/').next().unwrap_or_default();
            if text.contains('/') && host.contains('.') {
                return Err(LinkError::NoScheme(own()));
            }
            let token = text.parse().map_err(|_| LinkError::Neither(own()))?;
            return Ok(Self {
                document: SpreadsheetRef::Token(token),
                sheet: None,
                host: None,
            });
        }
        let url = Url::parse(text).map_err(|_| LinkError::Neither(own()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(LinkError::Neither(own()));
        }
        let host = url.host_str().map(str::to_owned);
        if host
            .as_deref()
            .is_some_and(|host| host.ends_with("google.com"))
        {
            return Err(LinkError::OtherService(own()));
        }
        let parts: Vec<&str> = url
            .path()
            .split('/')
            .filter(|part| !part.is_empty())
            .collect();
        let other = |part: &&str| {
            Some(match *part {
                "base" | "bitable" => "Base",
                "docx" | "docs" | "doc" => "document",
                "drive" | "folder" => "folder",
                "file" => "file",
                "slides" => "presentation",
                "mindnotes" => "mind note",
                _ => return None,
            })
        };
        let Some(at) = parts
            .iter()
            .position(|part| matches!(*part, "sheets" | "spreadsheets" | "wiki"))
        else {
            let kind = parts.iter().find_map(other);
            return Err(kind.map_or_else(
                || LinkError::NoToken(own()),
                |kind| LinkError::OtherDocument(own(), kind),
            ));
        };
        let [token] = parts[at + 1..] else {
            return Err(LinkError::NoToken(own()));
        };
        let document = match parts[at] {
            "wiki" => token.parse().map(SpreadsheetRef::Wiki),
            _ => token.parse().map(SpreadsheetRef::Token),
        }
        .map_err(LinkError::Token)?;
        let sheet = url
            .query_pairs()
            .find(|(key, value)| key == "sheet" && !value.is_empty())
            .map(|(_, id)| id.parse().map_err(LinkError::Token))
            .transpose()?;
        Ok(Self {
            document,
            sheet,
            host,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn token(text: &str) -> SpreadsheetRef {
        SpreadsheetRef::Token(text.parse().unwrap())
    }

    fn wiki(text: &str) -> SpreadsheetRef {
        SpreadsheetRef::Wiki(text.parse().unwrap())
    }

    #[rstest]
    #[case(
        "Iow7sNNEphp3WbtnbCscPqabcef",
        token("Iow7sNNEphp3WbtnbCscPqabcef"),
        None
    )]
    #[case(" shtcn_A-1 ", token("shtcn_A-1"), None)]
    #[case("https://a.feishu.cn/sheets/Iow7", token("Iow7"), None)]
    #[case("https://a.feishu.cn/sheets/Iow7/", token("Iow7"), None)]
    #[case(
        "https://a.feishu.cn/sheets/Iow7?sheet=Q7PlXT",
        token("Iow7"),
        Some("Q7PlXT")
    )]
    #[case(
        "https://a.feishu.cn/sheets/Iow7?from=x&sheet=Q7PlXT#share-1",
        token("Iow7"),
        Some("Q7PlXT")
    )]
    #[case("https://a.feishu.cn/sheets/Iow7?sheet=", token("Iow7"), None)]
    #[case("https://a.larksuite.com/spreadsheets/Iow7", token("Iow7"), None)]
    #[case("https://a.feishu.cn/space/sheets/Iow7", token("Iow7"), None)]
    #[case(
        "https://a.feishu.cn/wiki/wikcn1?sheet=Q7PlXT",
        wiki("wikcn1"),
        Some("Q7PlXT")
    )]
    fn a_link_is_read(
        #[case] text: &str,
        #[case] document: SpreadsheetRef,
        #[case] sheet: Option<&str>,
    ) {
        let link: SpreadsheetLink = text.parse().unwrap();
        assert_eq!(link.document, document);
        assert_eq!(link.sheet.as_ref().map(SheetId::as_str), sheet);
        assert_eq!(link.host.is_some(), text.contains("://"));
    }

    #[rstest]
    #[case("", "neither a spreadsheet's URL nor its token")]
    #[case("my sheet", "neither a spreadsheet's URL nor its token")]
    #[case(
        "ftp://a.feishu.cn/sheets/Iow7",
        "neither a spreadsheet's URL nor its token"
    )]
    #[case("https://", "neither a spreadsheet's URL nor its token")]
    #[case("a.feishu.cn/sheets/Iow7", "lacks the beginning of a URL")]
    #[case(
        "https://a.feishu.cn/base/bascn1?table=t",
        "is a Base, not a spreadsheet"
    )]
    #[case("https://a.feishu.cn/docx/dox1", "is a document, not a spreadsheet")]
    #[case(
        "https://a.feishu.cn/drive/folder/fld1",
        "is a folder, not a spreadsheet"
    )]
    #[case(
        "https://docs.google.com/spreadsheets/d/1x/edit",
        "is no Feishu or Lark spreadsheet"
    )]
    #[case("https://a.feishu.cn/", "names no document")]
    #[case("https://a.feishu.cn/sheets/", "names no document")]
    #[case("https://a.feishu.cn/wiki/space/7123", "names no document")]
    #[case(
        "https://a.feishu.cn/wiki/a%2Fb",
        "a wiki token is 1 to 64 ASCII letters or digits"
    )]
    #[case(
        "https://a.feishu.cn/sheets/Iow7?sheet=a/b",
        "a sheet id is 1 to 64 ASCII letters or digits"
    )]
    fn a_wrong_link_says_what_it_is(#[case] text: &str, #[case] message: &str) {
        let error = text.parse::<SpreadsheetLink>().unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }

    #[rstest]
    #[case("")]
    #[case("a b")]
    #[case("../x")]
    #[case("a/b")]
    #[case("表")]
    #[case("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")]
    fn a_token_that_could_change_a_url_is_refused(#[case] text: &str) {
        assert!(text.parse::<SpreadsheetToken>().is_err());
        assert!(text.parse::<WikiToken>().is_err());
        assert!(text.parse::<SheetId>().is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(https?://)?\\PC*") {
            let _ = text.parse::<SpreadsheetLink>();
        }
    }
}
