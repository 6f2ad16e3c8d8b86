//! Finding and reading the configuration for a command.

use std::path::Path;

use super::exit::Failure;
use crate::config::{Environment, Source};
use crate::image::ContentHash;
use crate::placement::load;
use crate::service::{DaemonError, Setup};

/// Reads the configuration; its warnings go to the log.
///
/// # Errors
/// With every problem of the file.
pub fn setup(config: Option<&Path>) -> Result<Setup, Failure> {
    let env = Environment::from_process()?;
    let source = Source::find(config, &env)?;
    of(&source, &env)
}

/// The same for a configuration at hand.
///
/// # Errors
/// With every problem of the text, or when a certificate or the proxy it names is not usable.
pub fn of(source: &Source, env: &Environment) -> Result<Setup, Failure> {
    let loaded = load(source, env)?;
    for warning in &loaded.warnings {
        tracing::warn!("{}", warning.line());
    }
    let text = ContentHash::of(source.text().as_bytes());
    Ok(Setup::new(loaded.config, loaded.routes, text).map_err(DaemonError::from)?)
}
