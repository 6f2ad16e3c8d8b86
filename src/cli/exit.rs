//! Exit codes, and which failure has which.

use std::process::ExitCode;

use crate::config::ConfigError;
use crate::service::DaemonError;
use crate::store::{LockError, StoreError};

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// It failed.
    Failed = 1,
    /// Wrong usage or configuration: trying again changes nothing.
    Usage = 2,
    /// A pass ended with parked or rejected files.
    Left = 3,
    /// Another instance holds the state.
    Held = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A command that ended early.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub error: anyhow::Error,
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self {
            exit: Exit::Usage,
            error: error.into(),
        }
    }
}

impl From<DaemonError> for Failure {
    fn from(error: DaemonError) -> Self {
        let exit = match &error {
            DaemonError::Lock(LockError::Held(_)) => Exit::Held,
            DaemonError::Client(_) | DaemonError::Store(StoreError::Newer { .. }) => Exit::Usage,
            _ => Exit::Failed,
        };
        Self {
            exit,
            error: error.into(),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self {
            exit: Exit::Failed,
            error,
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self {
            exit: Exit::Failed,
            error: error.into(),
        }
    }
}
