//! Secrets: reading them from files, and a proxy address whose password does not show. No type here
//! shows its secret in `Debug`, has `Display` or can be serialised.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::str::FromStr;

use secrecy::SecretString;
use url::Url;

/// More is no secret but the wrong file, in bytes.
const LARGEST_SECRET: u64 = 4096;

/// Why a file gives no secret. Says nothing of its content.
#[derive(Debug, thiserror::Error)]
pub(super) enum SecretError {
    #[error("cannot read it: {0}")]
    Unreadable(#[from] io::Error),
    #[error("the file is empty")]
    Empty,
    #[error("the file holds more than a secret: it has several lines or words")]
    NotOneWord,
}

/// A secret from a file, and whom else the file's mode lets read it.
pub(super) struct FileSecret {
    pub(super) secret: SecretString,
    /// The mode's bits for the group and for everybody.
    pub(super) mode: u32,
}

/// Reads a file that holds nothing but a secret; space and line ends around it are dropped.
pub(super) fn read_file(path: &Path) -> Result<FileSecret, SecretError> {
    let file = File::open(path)?;
    let mode = file.metadata()?.mode();
    let mut bytes = Vec::new();
    file.take(LARGEST_SECRET + 1).read_to_end(&mut bytes)?;
    let text = String::from_utf8(bytes).map_err(|_| SecretError::NotOneWord)?;
    Ok(FileSecret {
        secret: one_word(&text)?,
        mode,
    })
}

/// The secret in a text, which may have space around it and none within.
pub(super) fn one_word(text: &str) -> Result<SecretString, SecretError> {
    let word = text.trim();
    if word.is_empty() {
        return Err(SecretError::Empty);
    }
    if word.len() as u64 > LARGEST_SECRET || word.contains(|c: char| c.is_whitespace() || c == '\0')
    {
        return Err(SecretError::NotOneWord);
    }
    Ok(SecretString::from(word))
}

/// The address of a proxy. `Debug` shows neither name nor password.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl(Url);

impl ProxyUrl {
    /// The address with name and password, for the one place that connects.
    pub fn expose(&self) -> &Url {
        &self.0
    }

    pub(super) fn has_password(&self) -> bool {
        self.0.password().is_some()
    }
}

impl FromStr for ProxyUrl {
    type Err = &'static str;

    /// # Errors
    /// When the text is no `http`, `https` or `socks5` address with a host. The text is not repeated:
    /// it may hold a password.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).map_err(|_| "is no address")?;
        if !matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h") {
            return Err("does not start with `http://`, `https://`, `socks5://` or `socks5h://`");
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err("names no host");
        }
        Ok(Self(url))
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.0.host_str().unwrap_or_default();
        write!(f, "{}://{host}", self.0.scheme())?;
        self.0.port().map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use secrecy::ExposeSecret;
    use std::fs;

    #[rstest]
    #[case(b"abc", Ok("abc"))]
    #[case(b"abc\n", Ok("abc"))]
    #[case(b" abc \r\n\r\n", Ok("abc"))]
    #[case(b"", Err("the file is empty"))]
    #[case(b" \n", Err("the file is empty"))]
    #[case(
        b"a\nb",
        Err("the file holds more than a secret: it has several lines or words")
    )]
    #[case(
        b"APP_SECRET = abc",
        Err("the file holds more than a secret: it has several lines or words")
    )]
    #[case(
        b"\xff\xfe",
        Err("the file holds more than a secret: it has several lines or words")
    )]
    fn a_file_gives_its_secret(#[case] content: &[u8], #[case] expected: Result<&str, &str>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), content).unwrap();
        let read = read_file(file.path());
        match (read, expected) {
            (Ok(found), Ok(secret)) => assert_eq!(found.secret.expose_secret(), secret),
            (Err(error), Err(message)) => assert_eq!(error.to_string(), message),
            (Ok(_), Err(message)) => panic!("read, but should say: {message}"),
            (Err(error), Ok(_)) => panic!("{error}"),
        }
    }

    #[rstest]
    #[case("http://proxy:3128", "http://proxy:3128")]
    #[case("http://me:hunter2@proxy.corp:3128/", "http://proxy.corp:3128")]
    #[case("socks5h://[::1]:1080", "socks5h://[::1]:1080")]
    fn a_proxy_shows_its_host_only(#[case] text: &str, #[case] shown: &str) {
        let proxy: ProxyUrl = text.parse().unwrap();
        assert_eq!(format!("{proxy:?}"), shown);
        assert_eq!(proxy.expose(), &Url::parse(text).unwrap());
    }

    #[rstest]
    #[case("proxy.corp:3128")]
    #[case("proxy.corp")]
    #[case("ftp://proxy")]
    #[case("socks5://")]
    fn what_is_no_proxy_is_refused(#[case] text: &str) {
        assert!(text.parse::<ProxyUrl>().is_err());
    }
}
