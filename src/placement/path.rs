//! A file's path inside its mapped folder, as raw bytes: names need not be UTF-8.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A path below a mapped folder: at least one part, none of them `.` or `..`, no leading `/`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct RelPath(Arc<[u8]>);

impl RelPath {
    /// The path, when it is one that stays below its folder.
    pub fn new(path: &Path) -> Option<Self> {
        let bytes = path.as_os_str().as_bytes();
        // As nearly every path comes, and a listing meets many.
        let plain = |part: &[u8]| !matches!(part, b"" | b"." | b"..");
        if bytes.split(|byte| *byte == b'/').all(plain) {
            return Some(Self(bytes.into()));
        }
        let mut parts = path.components();
        let inside = parts.all(|part| matches!(part, Component::Normal(_)));
        // Rebuilt from its parts: one spelling a path (no doubled or trailing slash).
        let clean: Vec<&[u8]> = path
            .components()
            .map(|part| part.as_os_str().as_bytes())
            .collect();
        (inside && !clean.is_empty()).then(|| Self(clean.join(&b'/').into()))
    }

    /// The bytes, parts joined by `/`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same as a path, relative.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// The last part.
    pub fn file_name(&self) -> &OsStr {
        let start = self
            .0
            .iter()
            .rposition(|byte| *byte == b'/')
            .map_or(0, |slash| slash + 1);
        OsStr::from_bytes(&self.0[start..])
    }

    /// The name of the folder that holds the file; `None` for a file at the top.
    pub fn folder_name(&self) -> Option<&OsStr> {
        self.as_path().parent().and_then(Path::file_name)
    }
}

impl TryFrom<Vec<u8>> for RelPath {
    type Error = &'static str;
    fn try_from(bytes: Vec<u8>) -> Result<Self, Self::Error> {
        Self::new(Path::new(OsStr::from_bytes(&bytes))).ok_or("no path below a folder")
    }
}

impl From<RelPath> for Vec<u8> {
    fn from(path: RelPath) -> Self {
        path.0.to_vec()
    }
}

impl fmt::Display for RelPath {
    /// For people: control characters and broken UTF-8 escaped, so that a name is always one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&self.0).fmt(f)
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bytes of a name for people: broken UTF-8 escaped, and every character that ends a line, moves a
/// cursor or turns the direction of the text around it.
pub(super) struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c.is_control() || is_layout(c) {
                    write!(f, "{}", c.escape_default())?;
                } else {
                    write!(f, "{c}")?;
                }
            }
            chunk
                .invalid()
                .iter()
                .try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
        }
        Ok(())
    }
}

/// Line and paragraph separators, and the controls of the bidirectional algorithm.
fn is_layout(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn path(bytes: &[u8]) -> RelPath {
        RelPath::try_from(bytes.to_vec()).unwrap()
    }

    #[rstest]
    #[case(b"a.png", None)]
    #[case(b"top/a.png", Some("top"))]
    #[case(b"top/below/a.png", Some("below"))]
    fn a_file_knows_the_folder_that_holds_it(#[case] file: &[u8], #[case] folder: Option<&str>) {
        assert_eq!(path(file).folder_name(), folder.map(OsStr::new));
    }

    #[test]
    fn a_name_is_shown_on_one_line_whatever_it_holds() {
        assert_eq!(
            path(b"\xe7\x85\xa7\n\x1b[2J\xff.png").to_string(),
            "照\\n\\u{1b}[2J\\xff.png"
        );
        let turned = path("a\u{2028}b\u{202e}gnp.\u{2066}é.png".as_bytes());
        assert_eq!(turned.to_string(), "a\\u{2028}b\\u{202e}gnp.\\u{2066}é.png");
    }
}
