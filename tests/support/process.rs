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
    systemd: Option<Systemd>,
    /// How much of what systemd was told has been waited for.
    seen: usize,
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
        Self::start_through(&[], home, args, env, notify)
    }

    /// The same by a program that ends in calling what follows its own arguments, as `setpriv`.
    pub fn start_through(
        through: &[&str],
        home: &Path,
        args: &[&str],
        env: &[(&str, String)],
        notify: Option<&Path>,
    ) -> Self {
        let pixcell = env!("CARGO_BIN_EXE_pixcell");
        let mut command = match through {
            [] => Command::new(pixcell),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(pixcell);
                command
            }
        };
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
        let systemd = notify.map(|path| {
            command.env("NOTIFY_SOCKET", path);
            Systemd::listen(path)
        });
        let mut child = command.spawn().unwrap();
        Self {
            out: Stream::of(child.stdout.take().unwrap()),
            err: Stream::of(child.stderr.take().unwrap()),
            child,
            systemd,
            seen: 0,
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

    /// What systemd was told so far, one entry a variable.
    pub fn told(&self) -> Vec<String> {
        let systemd = self.systemd.as_ref();
        systemd.map_or_else(Vec::new, |systemd| systemd.lock().clone())
    }

    /// Waits until systemd is told this; what was told before the last such wait does not count.
    #[track_caller]
    pub fn wait_told(&mut self, what: &str) {
        let end = Instant::now() + LIMIT;
        let systemd = self.systemd.as_ref().expect("started with a notify socket");
        let mut told = systemd.lock();
        loop {
            let found = told.iter().skip(self.seen).position(|line| line == what);
            if let Some(found) = found {
                self.seen += found + 1;
                return;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero() && !self.err.closed(),
                "systemd was told {told:?}, not {what}"
            );
            // A process that died says nothing more: looked at now and then, so as to fail early.
            let patience = left.min(Duration::from_millis(200));
            told = systemd.wait(told, patience);
        }
    }

    /// What systemd was told so far does not count any more.
    pub fn forget_told(&mut self) {
        self.seen = self.told().len();
    }

    /// Insists that systemd is not told this for so long, whatever it was told before.
    #[track_caller]
    pub fn not_told(&mut self, what: &str, long: Duration) {
        let end = Instant::now() + long;
        let systemd = self.systemd.as_ref().expect("started with a notify socket");
        let mut told = systemd.lock();
        let before = told.len();
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            told = systemd.wait(told, left);
            let since = &told[before..];
            assert!(!since.iter().any(|line| line == what), "{since:?}");
        }
    }

    /// Whether systemd was told this, at any time.
    pub fn was_told(&self, what: &str) -> bool {
        self.told().iter().any(|line| line == what)
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

/// systemd's part: takes what it is told at once, as a daemon waits while nobody does.
struct Systemd(Arc<(Mutex<Vec<String>>, Condvar)>);

impl Systemd {
    fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        // So that the thread notices that nobody asks any more.
        socket
            .set_read_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        let told: Arc<(Mutex<Vec<String>>, Condvar)> = Arc::default();
        let ours = Arc::downgrade(&told);
        thread::spawn(move || {
            let mut message = [0; 4096];
            while let Some(told) = ours.upgrade() {
                if let Ok(length) = socket.recv(&mut message) {
                    let text = String::from_utf8_lossy(&message[..length]);
                    let mut lines = told.0.lock().unwrap_or_else(PoisonError::into_inner);
                    lines.extend(text.lines().map(str::to_owned));
                    told.1.notify_all();
                }
            }
        });
        Self(told)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(
        &'a self,
        told: MutexGuard<'a, Vec<String>>,
        most: Duration,
    ) -> MutexGuard<'a, Vec<String>> {
        let waited = self.0.1.wait_timeout(told, most);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
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
