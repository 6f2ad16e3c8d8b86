//! What is wrong with a configuration, told so that a person finds the place and knows what would be
//! right: `FILE:LINE:COLUMN: key.path: message`, the line itself with a mark, and a help.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::excerpt::Excerpt;
use super::keypath::KeyPath;

/// One thing that is wrong, or, as a warning, that deserves a look. Its `Display` is the whole
/// report, of several lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The configuration file.
    pub file: Arc<Path>,
    /// Where in the file, unless the problem concerns it as a whole.
    pub place: Option<Place>,
    /// The key it is about; the empty path for the file as a whole.
    pub key: KeyPath,
    /// What is wrong, in one line.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

/// A place in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    excerpt: Option<Excerpt>,
}

impl Place {
    /// The place with the line that it stands in.
    pub(super) fn new(text: &str, line: usize, column: usize) -> Self {
        Self {
            line,
            column,
            excerpt: Excerpt::of(text, line, column),
        }
    }
}

impl Problem {
    /// The same in one line, without the source's: for a log.
    pub fn line(&self) -> String {
        let bare = Self {
            place: None,
            help: None,
            ..self.clone()
        };
        let place = self.place.as_ref();
        let at = place
            .map(|place| format!(" (line {})", place.line))
            .unwrap_or_default();
        let help = self
            .help
            .as_ref()
            .map(|help| format!("; {help}"))
            .unwrap_or_default();
        format!("{bare}{at}{help}")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(place) = &self.place {
            write!(f, "{}:{}:", place.line, place.column)?;
        }
        if !self.key.is_root() {
            write!(f, " {}:", self.key)?;
        }
        write!(f, " {}", self.message)?;
        if let Some(excerpt) = self.place.as_ref().and_then(|place| place.excerpt.as_ref()) {
            write!(f, "\n{excerpt}")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\nhelp: {help}")?;
        }
        Ok(())
    }
}

/// Why there is no configuration. Its `Display` tells every problem.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No file was named, and none is in the usual places.
    #[error(
        "there is no configuration file; looked for {}\nhelp: `pixcell init` writes one; or name yours with `--config FILE`",
        list(looked)
    )]
    NotFound {
        /// The places, in the order they were tried.
        looked: Vec<PathBuf>,
    },
    /// The file cannot be read.
    #[error("cannot read the configuration file {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file was read and is wrong.
    #[error("{}", report(.0))]
    Wrong(
        /// In the file's order; at least one.
        Vec<Problem>,
    ),
}

impl ConfigError {
    /// The problems of a file that was read; empty for one that was not.
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Wrong(problems) => problems,
            Self::NotFound { .. } | Self::Unreadable { .. } => &[],
        }
    }
}

fn list(paths: &[PathBuf]) -> String {
    let shown: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    shown.join(", ")
}

fn report(problems: &[Problem]) -> String {
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    told.join("\n\n")
}
