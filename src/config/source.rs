//! Finding and reading the configuration file. Decides nothing about its content.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{self, Path, PathBuf};
use std::sync::Arc;

use super::environment::Environment;
use super::keypath::KeyPath;
use super::problem::{ConfigError, Place, Problem};

/// Where the file is looked for last, for the daemon of a whole machine.
pub const SYSTEM_FILE: &str = "/etc/pixcell/config.yaml";
/// The file's name in the current directory.
pub const LOCAL_FILE: &str = "pixcell.yaml";
/// Larger files are refused, in bytes: a thousand mappings need a tenth of this.
pub const LARGEST_FILE: u64 = 4 << 20;

/// The text of a configuration with the file it came from. Holds secrets: `Debug` shows the path.
#[derive(Clone)]
pub struct Source {
    path: Arc<Path>,
    text: String,
    mode: Option<u32>,
}

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, is larger than [`LARGEST_FILE`] or is not UTF-8.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let absolute = path::absolute(path).map_err(unreadable)?;
        let file = File::open(&absolute).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if metadata.is_dir() {
            return Err(unreadable(io::ErrorKind::IsADirectory.into()));
        }
        let mut bytes = Vec::new();
        file.take(LARGEST_FILE + 1)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        let text = decode(bytes).map_err(|complaint| complaint.about(&absolute))?;
        Ok(Self {
            mode: Some(metadata.mode()),
            ..Self::from_text(&absolute, text)
        })
    }

    /// Finds and reads the file: the named one, else `$PIXCELL_CONFIG`, else `pixcell.yaml` in the
    /// current directory, else `/etc/pixcell/config.yaml`. A named file must exist.
    ///
    /// # Errors
    /// When there is none, or the first one that exists is refused by [`Source::read`].
    pub fn find(explicit: Option<&Path>, env: &Environment) -> Result<Self, ConfigError> {
        if let Some(named) = explicit.or(env.config.as_deref()) {
            return Self::read(&env.current_dir.join(named));
        }
        let usual = [env.current_dir.join(LOCAL_FILE), PathBuf::from(SYSTEM_FILE)];
        for path in &usual {
            match Self::read(path) {
                Err(ConfigError::Unreadable { source, .. })
                    if source.kind() == io::ErrorKind::NotFound => {}
                found => return found,
            }
        }
        Err(ConfigError::NotFound {
            looked: usual.into(),
        })
    }

    /// A configuration that is already in memory. `path` is shown in messages, and relative paths
    /// in the configuration are relative to its folder, so it should be absolute.
    pub fn from_text(path: &Path, text: impl Into<String>) -> Self {
        let text = text.into();
        // Columns count from the first visible character.
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        // All that YAML 1.1 takes for the end of a line becomes the one that lines are shown by.
        let text = text
            .replace("\r\n", "\n")
            .replace(['\r', '\u{85}', '\u{2028}', '\u{2029}'], "\n");
        Self {
            path: path.into(),
            text,
            mode: None,
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder that relative paths in the configuration start from.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    /// The text; it may hold secrets.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether others than the owner can read the file, as far as known.
    pub(super) fn readable_by_others(&self) -> bool {
        self.mode.is_some_and(|mode| mode & 0o044 != 0)
    }

    /// A problem with this file.
    pub(super) fn problem(
        &self,
        place: Option<(usize, usize)>,
        key: KeyPath,
        message: String,
        help: Option<String>,
    ) -> Problem {
        let place = place.map(|(line, column)| Place::new(&self.text, line, column));
        Problem {
            file: Arc::clone(&self.path),
            place,
            key,
            message,
            help,
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Why the bytes are no text.
struct Complaint {
    message: String,
    help: &'static str,
}

impl Complaint {
    fn about(self, path: &Path) -> ConfigError {
        let file = Arc::from(path);
        let Self { message, help } = self;
        let (place, key, help) = (None, KeyPath::default(), Some(help.to_owned()));
        ConfigError::Wrong(vec![Problem {
            file,
            place,
            key,
            message,
            help,
        }])
    }
}

fn decode(bytes: Vec<u8>) -> Result<String, Complaint> {
    if bytes.len() as u64 > LARGEST_FILE {
        let message = "the file is larger than 4 MiB, so it is no configuration".to_owned();
        return Err(Complaint {
            message,
            help: "is this the right file? Name it with `--config FILE`",
        });
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        let message = "the file is in UTF-16".to_owned();
        return Err(Complaint {
            message,
            help: "save it as UTF-8; editors call this its encoding",
        });
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..good].split(|byte| *byte == b'\n').count();
        Complaint {
            message: format!("line {line} is not UTF-8 text"),
            help: "save it as UTF-8; editors call this its encoding (a Chinese system may have used GBK)",
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn env_in(folder: &Path) -> Environment {
        Environment {
            current_dir: folder.to_owned(),
            ..Environment::default()
        }
    }

    #[test]
    fn the_named_file_comes_before_the_variable_and_that_before_the_current_folder() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["named.yaml", "variable.yaml", LOCAL_FILE] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let mut env = env_in(folder.path());
        assert_eq!(Source::find(None, &env).unwrap().text(), LOCAL_FILE);
        env.config = Some("variable.yaml".into());
        assert_eq!(Source::find(None, &env).unwrap().text(), "variable.yaml");
        let named = Source::find(Some(Path::new("named.yaml")), &env).unwrap();
        assert_eq!(named.text(), "named.yaml");
        assert_eq!(named.folder(), folder.path());
    }

    #[test]
    fn a_named_file_that_is_missing_is_not_replaced_by_another() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(LOCAL_FILE), "").unwrap();
        let error = Source::find(Some(Path::new("gone.yaml")), &env_in(folder.path())).unwrap_err();
        assert!(
            matches!(&error, ConfigError::Unreadable { path, .. } if path.ends_with("gone.yaml"))
        );
        assert!(error.to_string().contains("gone.yaml"), "{error}");
    }

    #[test]
    fn one_in_the_current_folder_that_cannot_be_read_is_told_and_not_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(LOCAL_FILE)).unwrap();
        let error = Source::find(None, &env_in(folder.path())).unwrap_err();
        assert!(
            matches!(&error, ConfigError::Unreadable { path, .. } if path.ends_with(LOCAL_FILE)),
            "{error:?}"
        );
    }

    #[test]
    fn a_folder_is_no_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let error = Source::read(folder.path()).unwrap_err();
        assert!(matches!(error, ConfigError::Unreadable { .. }), "{error:?}");
    }

    #[test]
    fn bytes_that_are_no_utf8_are_named_by_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gbk.yaml");
        fs::write(&path, b"a: 1\nb: \xb4\xf3\xcc\xfc\n").unwrap();
        let error = Source::read(&path).unwrap_err().to_string();
        assert!(error.contains("line 2 is not UTF-8"), "{error}");
        fs::write(&path, b"\xff\xfea\0").unwrap();
        assert!(
            Source::read(&path)
                .unwrap_err()
                .to_string()
                .contains("UTF-16")
        );
    }

    #[test]
    fn an_endless_file_is_refused() {
        let error = Source::read(Path::new("/dev/zero"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("larger than 4 MiB"), "{error}");
    }

    #[test]
    fn debug_shows_the_path_and_not_the_text() {
        let shown = format!(
            "{:?}",
            Source::from_text(Path::new("/etc/p.yaml"), "hunter2")
        );
        assert!(
            shown.contains("/etc/p.yaml") && !shown.contains("hunter2"),
            "{shown}"
        );
    }
}
