//! The control socket: a Unix socket in the state directory, which only its owner can reach. One line
//! of JSON asks, one JSON value answers.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Longest question in bytes, callers at a time, and time for one of them.
const QUESTION_MOST: u64 = 64 * 1024;
const CALLERS_MOST: usize = 8;
const PATIENCE: Duration = Duration::from_secs(10);
const LONG_PATIENCE: Duration = Duration::from_mins(10);
/// Before the next caller is taken when one could not be.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "lowercase")]
pub enum Ask {
    /// A [`super::Snapshot`].
    Status,
    /// The latest lines of the history, as [`super::history`] gives them.
    History {
        /// A path or cell; `None`: everything.
        about: Option<String>,
        /// How many lines.
        most: usize,
    },
    /// Parked jobs are tried again, and what is behind a closed gate; the answer is how many were parked.
    Retry {
        /// A path or cell; `None`: everything.
        about: Option<String>,
    },
    /// All folders are compared now; the answer is how many.
    Rescan,
    /// A [`super::Plan`].
    Plan,
}

impl Ask {
    /// Time for the answer. A plan lists all folders.
    fn patience(&self) -> Duration {
        match self {
            Self::Plan => LONG_PATIENCE,
            _ => PATIENCE,
        }
    }
}

/// The socket of the daemon that uses `state_dir`.
pub fn socket_path(state_dir: &Path) -> PathBuf {
    state_dir.join("control.sock")
}

/// Asks the running daemon.
///
/// # Errors
/// When none listens, it does not answer in time, or it knows no such question.
pub fn ask<T: DeserializeOwned>(state_dir: &Path, ask: &Ask) -> io::Result<T> {
    use std::io::{Read, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(socket_path(state_dir))?;
    stream.set_read_timeout(Some(ask.patience()))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut question = serde_json::to_vec(ask)?;
    question.push(b'\n');
    stream.write_all(&question)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(serde_json::from_slice(&answer)?)
}

/// Listens in `state_dir`, whose lock the caller holds; what an earlier daemon left is replaced.
///
/// # Errors
/// When the socket cannot be made, e.g. because the directory's path is longer than a socket's may be.
pub fn listen(state_dir: &Path) -> io::Result<UnixListener> {
    let path = socket_path(state_dir);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers until `stop`. A caller that cannot be served is none of the others' concern.
pub async fn serve<F>(
    listener: UnixListener,
    answer: impl Fn(Ask) -> F + Send + Sync + 'static,
    stop: CancellationToken,
) where
    F: Future<Output = Option<Value>> + Send,
{
    let answer = Arc::new(answer);
    let seats = Arc::new(Semaphore::new(CALLERS_MOST));
    while let Ok(seat) = Arc::clone(&seats).acquire_owned().await {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, mostly: it passes, and trying at once would only burn time.
                warn!("control socket: {error}");
                tokio::time::sleep(AFTER_FAILURE).await;
                continue;
            }
        };
        let answer = Arc::clone(&answer);
        // Bounded by its seat and its time limit; its failure is the caller's alone.
        tokio::spawn(async move {
            if let Err(error) = converse(stream, &*answer).await {
                debug!("control socket: {error}");
            }
            drop(seat);
        });
    }
}

async fn converse<F>(mut stream: UnixStream, answer: &impl Fn(Ask) -> F) -> io::Result<()>
where
    F: Future<Output = Option<Value>>,
{
    let (read, mut write) = stream.split();
    let mut question = String::new();
    let mut read = BufReader::new(read.take(QUESTION_MOST));
    timeout(PATIENCE, read.read_line(&mut question)).await??;
    let ask: Ask = serde_json::from_str(&question)?;
    let told = timeout(ask.patience(), answer(ask)).await?;
    let give = async {
        if let Some(told) = told {
            write.write_all(&serde_json::to_vec(&told)?).await?;
        }
        write.shutdown().await
    };
    timeout(PATIENCE, give).await?
}
