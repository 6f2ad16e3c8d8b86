//! The control socket: a Unix socket that its owner can reach, and a group where the configuration names
//! one. One line of JSON asks, one JSON value answers; each says which protocol and program it is of.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::Group;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::config::{Config, Control};

/// Of what is asked and answered here and of the values in it; grows with each change that an older or
/// newer program would misread.
const PROTOCOL: u32 = 2;
const VERSION: &str = env!("PIXCELL_VERSION");
const NAME: &str = "control.sock";
/// Where systemd has the folders of a service: `/run/NAME` beside `/var/lib/NAME`.
const STATES: &str = "/var/lib";
const RUNTIMES: &str = "/run";
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
    /// Parked jobs are tried again, and what is behind a closed gate; the answer is a [`super::Retried`].
    Retry {
        /// A path or cell; `None`: everything.
        about: Option<String>,
    },
    /// All folders are compared now; the answer is how many.
    Rescan,
    /// A [`super::Plan`].
    Plan,
    /// Whether the configuration of this text is the one in force; a [`Standing`].
    InForce {
        /// The text's hash, in hexadecimal.
        text: String,
    },
}

/// How a configuration stands with the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Its tasks run.
    InForce,
    /// Another is in force, and it was not told to take one up since.
    Other,
    /// Another is in force, because the one it was told to take up last could not be; its log says why.
    Refused,
}

impl Ask {
    /// Time for the answer. A plan lists all folders and reads what is new in them.
    fn patience(&self) -> Duration {
        match self {
            Self::Plan => LONG_PATIENCE,
            _ => PATIENCE,
        }
    }
}

/// What stands before a question or an answer, in every version.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    protocol: u32,
    /// As `pixcell --version` says it.
    version: String,
}

impl Head {
    fn ours() -> Self {
        Self {
            protocol: PROTOCOL,
            version: VERSION.to_owned(),
        }
    }
}

#[derive(Serialize)]
struct Question<'a> {
    #[serde(flatten)]
    head: Head,
    #[serde(flatten)]
    ask: &'a Ask,
}

#[derive(Serialize, Deserialize)]
struct Answer {
    #[serde(flatten)]
    head: Head,
    /// `None`: it cannot be told now, and the daemon's log says why.
    answer: Option<Value>,
}

/// Why the daemon was not asked, or gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No daemon listens.
    #[error("no daemon runs")]
    NotRunning,
    /// The socket is not for this user.
    #[error(
        "{} may not be used by this user; ask as root or as the user that runs pixcell, or have it name a group of \
         yours as `control.group`", .0.display()
    )]
    NotAllowed(PathBuf),
    /// Another version.
    #[error(
        "the daemon is another version: it is {daemon}, and this command is {VERSION}; restart the daemon \
         (`systemctl restart pixcell`) or use its own command"
    )]
    OtherVersion {
        /// The daemon's, as far as it tells.
        daemon: String,
    },
    /// It cannot tell.
    #[error("it cannot tell now; its log says why")]
    CannotTell,
    /// It did not answer, or not in time.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Where commands look for the socket of the daemon that uses `state_dir`, in this order. Whoever may not
/// enter the state directory cannot see there where the socket is.
fn places(state_dir: &Path) -> Vec<PathBuf> {
    let mut places = vec![state_dir.join(NAME)];
    if let Ok(name) = state_dir.strip_prefix(STATES) {
        places.push(Path::new(RUNTIMES).join(name).join(NAME));
    }
    places
}

fn connect(state_dir: &Path) -> Result<std::os::unix::net::UnixStream, AskError> {
    let mut why = AskError::NotRunning;
    for place in places(state_dir) {
        match std::os::unix::net::UnixStream::connect(&place) {
            Ok(stream) => return Ok(stream),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {}
                io::ErrorKind::PermissionDenied => why = AskError::NotAllowed(place),
                _ => return Err(error.into()),
            },
        }
    }
    Err(why)
}

/// Asks the running daemon.
///
/// # Errors
/// When none listens, this user may not ask, it does not answer in time, or it is another version.
pub fn ask<T: DeserializeOwned>(state_dir: &Path, ask: &Ask) -> Result<T, AskError> {
    use std::io::{Read, Write};
    let mut stream = connect(state_dir)?;
    stream.set_read_timeout(Some(ask.patience()))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let head = Head::ours();
    let mut question = serde_json::to_vec(&Question { head, ask }).map_err(io::Error::from)?;
    question.push(b'\n');
    stream.write_all(&question)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    if answer.is_empty() {
        // It ended meanwhile, or took up another configuration.
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    understand(&answer)
}

fn understand<T: DeserializeOwned>(answer: &[u8]) -> Result<T, AskError> {
    let other = |daemon: String| AskError::OtherVersion { daemon };
    let head: Head = serde_json::from_slice(answer)
        .map_err(|_| other("one that does not say which".to_owned()))?;
    if head.protocol != PROTOCOL {
        return Err(other(head.version));
    }
    // The same protocol and yet not the same: two builds between two versions.
    let Answer { head, answer } =
        serde_json::from_slice(answer).map_err(|_| other(head.version))?;
    let answer = answer.ok_or(AskError::CannotTell)?;
    serde_json::from_value(answer).map_err(|_| other(head.version))
}

/// Listens for the daemon that uses the state directory, whose lock the caller holds; what an earlier
/// daemon left is replaced. A group that cannot be given is told, and the owner alone may use the socket.
///
/// # Errors
/// When the socket cannot be made, e.g. because the directory's path is longer than a socket's may be.
pub fn listen(config: &Config) -> io::Result<UnixListener> {
    let known = config.state_dir.join(NAME);
    let runtime = config.control.runtime_dir.as_ref();
    let path = runtime.map_or_else(|| known.clone(), |dir| dir.join(NAME));
    remove(&path)?;
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    if path != known {
        // Whoever knows the state directory finds the socket.
        remove(&known)?;
        symlink(&path, &known)?;
    }
    if let Err(why) = admit(&config.control, &path) {
        error!("{why}; until then the control socket is its owner's alone");
    }
    Ok(listener)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Opens the socket to the group that the configuration names.
fn admit(control: &Control, path: &Path) -> Result<(), String> {
    let Some(name) = &control.group else {
        return Ok(());
    };
    if control.runtime_dir.is_none() {
        return Err(format!(
            "control.group: {name:?} cannot be let in: the socket lies in the state directory, which nobody else may \
             enter; set $RUNTIME_DIRECTORY to a folder that they may, as the systemd unit does"
        ));
    }
    let gid = match name.parse() {
        Ok(gid) => gid,
        Err(_) => Group::from_name(name)
            .map_err(|error| {
                format!("control.group: the group {name:?} cannot be looked up: {error}; name it by its number, or mend \
                         the system's name service, and reload")
            })?
            .ok_or_else(|| {
                format!(
                    "control.group: this machine has no group {name:?}; make it (`groupadd --system {name}`) or name \
                     another, and reload"
                )
            })?
            .gid
            .as_raw(),
    };
    let give = || {
        chown(path, None, Some(gid))?;
        fs::set_permissions(path, Permissions::from_mode(0o660))
    };
    give().map_err(|error: io::Error| {
        format!(
            "control.group: {} cannot be given to the group {name:?}: {error}; let the user that runs pixcell be in it \
             (under systemd `SupplementaryGroups={name}` in a drop-in), and restart",
            path.display()
        )
    })
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
    loop {
        let next = async {
            let seat = Arc::clone(&seats).acquire_owned().await;
            (seat, listener.accept().await)
        };
        // A stop is heard while all seats are taken, too.
        let (seat, accepted) = tokio::select! {
            () = stop.cancelled() => return,
            next = next => next,
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
    // Whoever speaks otherwise is told by the head of the answer.
    let spoken =
        serde_json::from_str::<Head>(&question).is_ok_and(|head| head.protocol == PROTOCOL);
    let answer = match serde_json::from_str::<Ask>(&question) {
        Ok(ask) if spoken => timeout(ask.patience(), answer(ask)).await?,
        _ => None,
    };
    let head = Head::ours();
    let told = serde_json::to_vec(&Answer { head, answer })?;
    let give = async {
        write.write_all(&told).await?;
        write.shutdown().await
    };
    timeout(PATIENCE, give).await?
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::of_a_newer_one(r#"{"protocol":3,"version":"9.1.0","reply":[7]}"#, "it is 9.1.0")]
    #[case::of_another_build(r#"{"protocol":2,"version":"0.0.9","answer":"seven"}"#, "it is 0.0.9")]
    #[case::without_a_head("7", "does not say which")]
    #[case::nothing("", "does not say which")]
    #[case::without_an_answer(
        r#"{"protocol":2,"version":"0.1.0","answer":null}"#,
        "cannot tell now"
    )]
    fn an_answer_that_is_none_of_ours_says_what_to_do(#[case] answer: &str, #[case] says: &str) {
        let told = understand::<u64>(answer.as_bytes())
            .unwrap_err()
            .to_string();
        assert!(told.contains(says), "{told}");
    }

    #[tokio::test]
    async fn it_stops_while_all_seats_are_taken() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(NAME);
        let listener = UnixListener::bind(&path).unwrap();
        let (tell, mut told) = tokio::sync::mpsc::channel(CALLERS_MOST);
        let hold = move |_| {
            let tell = tell.clone();
            async move {
                tell.send(()).await.unwrap();
                std::future::pending().await
            }
        };
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(listener, hold, stop.clone()));
        let head = Head::ours();
        let ask = &Ask::Plan;
        let mut question = serde_json::to_vec(&Question { head, ask }).unwrap();
        question.push(b'\n');
        let mut callers = Vec::new();
        for _ in 0..CALLERS_MOST {
            let mut caller = UnixStream::connect(&path).await.unwrap();
            caller.write_all(&question).await.unwrap();
            told.recv().await.unwrap();
            callers.push(caller);
        }
        stop.cancel();
        timeout(PATIENCE, server).await.expect("it stops").unwrap();
    }

    #[test]
    fn an_answer_of_ours_is_understood() {
        let answer = Some(Value::from(7));
        let head = Head::ours();
        let answer = serde_json::to_vec(&Answer { head, answer }).unwrap();
        assert_eq!(understand::<u64>(&answer).unwrap(), 7);
    }

    #[test]
    fn the_socket_is_looked_for_where_systemd_puts_it() {
        let of = |dir: &str| places(Path::new(dir));
        let [first, second] = ["/var/lib/a/control.sock", "/run/a/control.sock"].map(PathBuf::from);
        assert_eq!(of("/var/lib/a"), [first, second]);
        assert_eq!(of("/srv/a"), [PathBuf::from("/srv/a/control.sock")]);
    }
}
