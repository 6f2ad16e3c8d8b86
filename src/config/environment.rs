//! What the configuration takes from the process: read once, passed as a plain struct, so that
//! nothing below asks the process itself and tests never change it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use secrecy::SecretString;

/// The part of a process' environment that matters to the configuration. Empty variables count as
/// not set.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `$STATE_DIRECTORY`, which systemd sets; several folders are joined by `:`.
    pub state_directory: Option<OsString>,
    /// `$RUNTIME_DIRECTORY`, which systemd sets as well.
    pub runtime_directory: Option<OsString>,
    /// `$XDG_STATE_HOME`.
    pub xdg_state_home: Option<PathBuf>,
    /// `$HOME`.
    pub home: Option<PathBuf>,
    /// `$PIXCELL_APP_SECRET`.
    pub app_secret: Option<SecretString>,
    /// `$CREDENTIALS_DIRECTORY`, where systemd puts what `LoadCredential=` names.
    pub credentials_directory: Option<PathBuf>,
    /// `$PIXCELL_CONFIG`.
    pub config: Option<PathBuf>,
    /// The current directory.
    pub current_dir: PathBuf,
}

impl Environment {
    /// The environment of this process.
    ///
    /// # Errors
    /// When the current directory cannot be told, because it was removed for instance.
    pub fn from_process() -> io::Result<Self> {
        let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        let path = |name: &str| set(name).map(PathBuf::from);
        Ok(Self {
            state_directory: set("STATE_DIRECTORY"),
            runtime_directory: set("RUNTIME_DIRECTORY"),
            xdg_state_home: path("XDG_STATE_HOME"),
            home: path("HOME"),
            app_secret: set("PIXCELL_APP_SECRET")
                .map(|secret| SecretString::from(secret.to_string_lossy().into_owned())),
            credentials_directory: path("CREDENTIALS_DIRECTORY"),
            config: path("PIXCELL_CONFIG"),
            current_dir: env::current_dir()?,
        })
    }

    /// Where state goes when the configuration does not say.
    pub(super) fn default_state_dir(&self) -> Option<PathBuf> {
        let given = self.state_directory.as_deref().and_then(first);
        let home = || Some(self.home.as_ref()?.join(".local/state/pixcell"));
        given
            .or_else(|| Some(self.xdg_state_home.as_ref()?.join("pixcell")))
            .or_else(home)
    }

    /// The folder for what lives as long as the daemon, when there is one.
    pub(super) fn runtime_dir(&self) -> Option<PathBuf> {
        self.runtime_directory.as_deref().and_then(first)
    }
}

/// The first of several folders joined by `:`.
fn first(folders: &OsStr) -> Option<PathBuf> {
    let first = folders.as_bytes().split(|byte| *byte == b':').next()?;
    (!first.is_empty()).then(|| PathBuf::from(OsString::from_vec(first.to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(
        Some("/var/lib/pixcell"),
        Some("/x"),
        Some("/h"),
        Some("/var/lib/pixcell")
    )]
    #[case(Some("/var/lib/a:/var/lib/b"), None, None, Some("/var/lib/a"))]
    #[case(None, Some("/x"), Some("/h"), Some("/x/pixcell"))]
    #[case(None, None, Some("/h"), Some("/h/.local/state/pixcell"))]
    #[case(Some(":"), None, None, None)]
    #[case(None, None, None, None)]
    fn state_goes_where_the_environment_says(
        #[case] state: Option<&str>,
        #[case] xdg: Option<&str>,
        #[case] home: Option<&str>,
        #[case] expected: Option<&str>,
    ) {
        let env = Environment {
            state_directory: state.map(OsString::from),
            xdg_state_home: xdg.map(PathBuf::from),
            home: home.map(PathBuf::from),
            ..Environment::default()
        };
        assert_eq!(env.default_state_dir(), expected.map(PathBuf::from));
    }

    #[test]
    fn the_secret_does_not_show_in_debug() {
        let env = Environment {
            app_secret: Some("hunter2".into()),
            ..Environment::default()
        };
        assert!(!format!("{env:?}").contains("hunter2"));
    }
}
