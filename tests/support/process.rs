//! One run of the real binary: its output, what it told systemd, its end. Everything is waited for
//! with a deadline, and nothing is slept through.

use std::io::Read;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::LIMIT;

/// A running `pixcell`, ended with SIGKILL when it is dropped.
pub struct Process {
    child: Child,
    out: Stream,
    err: Stream,
    notify: Option<UnixDatagram>,
    /// What systemd was told so far, one entry a variable.
    told: Vec<String>,
    command: String,
}

/// A process that has ended.
#[derive(Debug, Clone)]
pub struct Ended {
    pub command: String,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// The exit code; a process that a signal ended has none.
    pub fn code(&self) -> i32 {
        let code = self.status.code();
        code.unwrap_or_else(|| panic!("{} ended by {}", self.command, self.status))
    }

    /// Insists on the exit code.
    #[track_caller]
    pub fn with_code(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self}");
        self
    }

    /// stdout as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            command,
            status,
            stdout,
            stderr,
        } = self;
        write!(
            f,
            "$ {command}\n{status}\n--- stdout\n{stdout}--- stderr\n{stderr}---"
        )
    }
}

impl Process {
    /// Starts `pixcell` with these arguments in `home`, with nothing of the caller's environment. With
    /// `notify` it finds a socket of systemd's kind at that path.
    pub fn start(
        home: &Path,
        args: &[&str],
        env: &[(&str, String)],
        notify: Option<&Path>,
    ) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pixcell"));
        command
            .args(args)
            .current_dir(home)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home)
            .env("TMPDIR", home)
            .env("RUST_BACKTRACE", "1")
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // So that Ctrl-C at the tests' terminal does not look like a test's SIGINT.
            .process_group(0);
        let notify = notify.map(|path| {
            command.env("NOTIFY_SOCKET", path);
            UnixDatagram::bind(path).unwrap()
        });
        let mut child = command.spawn().unwrap();
        Self {
            out: Stream::of(child.stdout.take().unwrap()),
            err: Stream::of(child.stderr.take().unwrap()),
            child,
            notify,
            told: Vec::new(),
            command: format!("pixcell {}", args.join(" ")),
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// stderr so far.
    pub fn stderr(&self) -> String {
        self.err.text()
    }

    /// stdout so far.
    pub fn stdout(&self) -> String {
        self.out.text()
    }

    /// How it was called.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// What systemd was told so far.
    pub fn told(&self) -> &[String] {
        &self.told
    }

    /// Waits until systemd is told this; what was told before the last such wait does not count.
    #[track_caller]
    pub fn wait_told(&mut self, what: &str) {
        let end = Instant::now() + LIMIT;
        let socket = self.notify.as_ref().expect("started with a notify socket");
        loop {
            let left = end.saturating_duration_since(Instant::now());
            // A process that died says nothing more: looked at now and then, so as to fail early.
            let patience = left.clamp(Duration::from_millis(1), Duration::from_millis(200));
            socket.set_read_timeout(Some(patience)).unwrap();
            let mut message = [0; 4096];
            match socket.recv(&mut message) {
                Ok(length) => {
                    let text = String::from_utf8_lossy(&message[..length]).into_owned();
                    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
                    let found = lines.iter().any(|line| line == what);
                    self.told.extend(lines);
                    if found {
                        return;
                    }
                }
                Err(_) if !left.is_zero() && !self.err.closed() => {}
                Err(error) => panic!("systemd was told {:?}, not {what}: {error}", self.told),
            }
        }
    }

    /// Whether systemd was told this, at any time; takes in all that it was told, as systemd would.
    pub fn was_told(&mut self, what: &str) -> bool {
        let socket = self.notify.as_ref().expect("started with a notify socket");
        socket.set_nonblocking(true).unwrap();
        let mut message = [0; 4096];
        while let Ok(length) = socket.recv(&mut message) {
            let text = String::from_utf8_lossy(&message[..length]);
            self.told.extend(text.lines().map(str::to_owned));
        }
        socket.set_nonblocking(false).unwrap();
        self.told.iter().any(|line| line == what)
    }

    /// Waits until stderr holds a line with all these parts; returns the line.
    #[track_caller]
    pub fn wait_line(&self, parts: &[&str]) -> String {
        let found = self.err.wait(LIMIT, |text| line_with(text, parts));
        found.unwrap_or_else(|| panic!("no line of stderr has all of {parts:?}"))
    }

    /// Waits until stderr says this so often.
    #[track_caller]
    pub fn wait_count(&self, part: &str, times: usize) {
        let said = |text: &str| (text.matches(part).count() >= times).then_some(());
        let found = self.err.wait(LIMIT, said);
        found.unwrap_or_else(|| panic!("{part} was not said {times} times"));
    }

    /// Whether stderr holds such a line already.
    pub fn has_line(&self, parts: &[&str]) -> bool {
        line_with(&self.stderr(), parts).is_some()
    }

    /// Waits until stdout is so.
    #[track_caller]
    pub fn wait_stdout<T>(&self, find: impl Fn(&str) -> Option<T>) -> T {
        let found = self.out.wait(LIMIT, find);
        found.unwrap_or_else(|| panic!("not found in stdout:\n{}", self.stdout()))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(self) -> Ended {
        self.end_within(LIMIT)
    }

    /// The same with another deadline.
    #[track_caller]
    pub fn end_within(mut self, limit: Duration) -> Ended {
        // Nobody else has its streams, so their end is its end.
        let gone = self.err.wait_closed(limit) && self.out.wait_closed(limit);
        if !gone {
            let stderr = self.stderr();
            panic!(
                "{} did not end within {limit:?}; stderr:\n{stderr}",
                self.command
            );
        }
        let status = self.child.wait().unwrap();
        Ended {
            command: self.command.clone(),
            status,
            stdout: self.stdout(),
            stderr: self.stderr(),
        }
    }

    /// Ends it with SIGKILL.
    pub fn kill(self) -> Ended {
        self.signal(Signal::KILL);
        self.end()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Ended already: both fail, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last line that has all these parts.
fn line_with(text: &str, parts: &[&str]) -> Option<String> {
    // Only whole lines: the rest of one that is being written may matter.
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    let has_all = |line: &&str| parts.iter().all(|part| line.contains(part));
    whole.lines().rev().find(has_all).map(str::to_owned)
}

/// What a process writes, read as it comes.
#[derive(Clone)]
struct Stream(Arc<(Mutex<Written>, Condvar)>);

#[derive(Default)]
struct Written {
    bytes: Vec<u8>,
    closed: bool,
}

impl Stream {
    fn of(mut pipe: impl Read + Send + 'static) -> Self {
        let stream = Self(Arc::default());
        let ours = stream.clone();
        thread::spawn(move || {
            let mut chunk = [0; 8192];
            loop {
                let read = pipe.read(&mut chunk).unwrap_or(0);
                let mut written = ours.lock();
                written.bytes.extend_from_slice(&chunk[..read]);
                written.closed = read == 0;
                ours.0.1.notify_all();
                if read == 0 {
                    return;
                }
            }
        });
        stream
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.lock().bytes).into_owned()
    }

    fn closed(&self) -> bool {
        self.lock().closed
    }

    fn wait<T>(&self, limit: Duration, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        let end = Instant::now() + limit;
        let mut written = self.lock();
        loop {
            if let Some(found) = find(&String::from_utf8_lossy(&written.bytes)) {
                return Some(found);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || written.closed {
                return None;
            }
            let waited = self.0.1.wait_timeout(written, left);
            written = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn wait_closed(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        let mut written = self.lock();
        while !written.closed {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.0.1.wait_timeout(written, left);
            written = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}
