//! What must hold for any bytes from outside: each function takes them and panics when a promise is
//! broken. Used by the tests and by the targets in `fuzz/`.

use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use pixcell::config::{ConfigError, Environment, Source};
use pixcell::image::{Completeness, HEAD_BYTES, Recognised, completeness, recognise};
use pixcell::placement::{Pattern, RelPath, load};

/// A walk may read a file this many times over (TIFF directories may overlap), and its buffers.
const TIMES: u64 = 6;
const BUFFERS: u64 = 256 * 1024;

/// Counts what is read.
struct Counted<'b> {
    inner: Cursor<&'b [u8]>,
    given: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.given += read as u64;
        Ok(read)
    }
}

impl Seek for Counted<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

/// A file of these bytes: ends in a verdict after a bounded read, and says why when it is not complete.
pub fn container(bytes: &[u8]) {
    let head = &bytes[..bytes.len().min(HEAD_BYTES)];
    let format = match recognise(head) {
        Recognised::Accepted(format) => format,
        Recognised::Blank => return,
        Recognised::Other(name) => return assert!(!name.is_empty()),
    };
    let length = bytes.len() as u64;
    let inner = Cursor::new(bytes);
    let mut reader = Counted { inner, given: 0 };
    match completeness(format, &mut reader, length) {
        Ok(Completeness::Incomplete(why)) => assert!(why.contains(format.name()), "{why}"),
        Ok(Completeness::Other(name)) => assert!(!name.is_empty()),
        Ok(Completeness::Complete | Completeness::Unknowable) => {}
        Err(error) => panic!("a slice does not fail: {error}"),
    }
    let given = reader.given;
    assert!(given <= TIMES * length + BUFFERS, "{given} of {length}");
}

/// The first line as a pattern, the rest as a path: it is taken or refused, and matches the same twice.
pub fn pattern(bytes: &[u8]) {
    use std::os::unix::ffi::OsStrExt;
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let (source, path) = (parts.next(), parts.next().unwrap_or(b"camera-3.jpg"));
    let Ok(source) = std::str::from_utf8(source.unwrap_or_default()) else {
        return;
    };
    let path = RelPath::new(Path::new(std::ffi::OsStr::from_bytes(path)));
    if let (Ok(pattern), Some(path)) = (Pattern::parse(source), path) {
        assert_eq!(pattern.is_match(&path), pattern.captures(&path).is_some());
    }
}

/// A configuration: it is taken, or every problem says something and lies within the text.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    // It may name any file of this machine for a secret; reading one is no finding.
    if ["/dev", "/proc", "/sys"]
        .iter()
        .any(|named| text.contains(named))
    {
        return;
    }
    let source = Source::from_text(Path::new("/nonexistent/pixcell.yaml"), text);
    let env = Environment {
        home: Some("/nonexistent".into()),
        app_secret: Some("secret".to_owned().into()),
        current_dir: "/nonexistent".into(),
        ..Environment::default()
    };
    match load(&source, &env) {
        Ok(loaded) => assert!(loaded.routes.iter().next().is_some(), "a mapping"),
        Err(ConfigError::Wrong(problems)) => {
            assert!(!problems.is_empty(), "refused without a reason");
            let lines = source.text().lines().count();
            for problem in &problems {
                assert!(!problem.message.is_empty() && !problem.to_string().is_empty());
                let line = problem.place.as_ref().map_or(1, |place| place.line);
                assert!(
                    (1..=lines + 1).contains(&line),
                    "line {line} of {lines}: {problem}"
                );
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
