//! Where a command's answer comes from: the running daemon, or a look at the store when none runs.

use std::path::Path;

use serde::de::DeserializeOwned;
use tempfile::TempDir;

use super::exit::{Exit, Failure};
use crate::service::{Ask, AskError, DaemonError, ask};
use crate::store::{self, Lock, LockError, Store};

/// The daemon's answer; `None` when none runs.
///
/// # Errors
/// When one runs and does not answer, or this user may not ask.
pub fn daemon<T: DeserializeOwned>(dir: &Path, question: &Ask) -> Result<Option<T>, Failure> {
    match ask(dir, question) {
        Ok(answer) => Ok(Some(answer)),
        Err(AskError::NotRunning) => Ok(None),
        Err(error @ (AskError::NotAllowed(_) | AskError::OtherVersion { .. })) => {
            Err(anyhow::Error::from(error).into())
        }
        Err(error) => Err(anyhow::Error::from(error)
            .context(format!(
                "the daemon that uses {} does not answer",
                dir.display()
            ))
            .into()),
    }
}

/// A copy of the store, while no daemon runs; it lives as long as the folder beside it.
///
/// # Errors
/// When there is none, a daemon is starting or stopping, or it cannot be read.
pub fn look(dir: &Path) -> Result<(Store, TempDir), Failure> {
    exists(dir)?;
    let free = || match Lock::is_free(dir) {
        Err(LockError::Held(held)) => Err(Failure {
            exit: Exit::Held,
            error: anyhow::anyhow!(
                "pixcell ({}) is starting or stopping; ask again in a moment",
                held.holder
            ),
        }),
        free => Ok(free.map_err(DaemonError::from)?),
    };
    free()?;
    let looked = store::look(dir);
    // A daemon that started meanwhile has changed what was being copied.
    free()?;
    Ok(looked.map_err(DaemonError::from)?)
}

/// Insists on a state directory.
///
/// # Errors
/// When nothing has ever run with it.
pub fn exists(dir: &Path) -> Result<(), Failure> {
    if dir.exists() {
        return Ok(());
    }
    Err(anyhow::anyhow!(
        "nothing is known yet: {} does not exist; start `pixcell run` or `pixcell sync` first",
        dir.display()
    )
    .into())
}
