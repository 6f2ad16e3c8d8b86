//! A rig: a home of its own with folder, configuration and state, a sandbox in this process, and the
//! real daemon over real HTTP. Rigs share nothing, so tests run beside each other.
//!
//! Whatever a test does, its rig checks at the end that the sandbox saw no two writes at once for one
//! document, that no output holds the secret, and that nothing panicked. A test that fails gets
//! everything printed: configuration, files, output, the sandbox's state.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use pixcell::image::ContentHash;
use pixcell::sandbox::{CallRecord, Endpoint, Fault, Sandbox, State};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::plan::{DOC, FOLDER, Plan, SECRET, SHEET};
use super::process::{Ended, Process};
use super::{Answer, LIMIT, Signal, get, pause, png};

/// The column of the sentinels; tests leave it alone.
const FENCE: &str = "T";

pub struct Rig {
    daemon: Option<Process>,
    /// Processes of this rig that have ended.
    ended: Vec<Ended>,
    sandbox: Option<Sandbox>,
    /// Keeps the port until the sandbox listens.
    reserved: Option<tokio::net::TcpSocket>,
    pub plan: Plan,
    fences: u32,
    sockets: u32,
    runtime: Runtime,
    home: TempDir,
}

impl Rig {
    /// The usual rig, with the daemon ready.
    pub fn started() -> Self {
        let mut rig = Self::new();
        rig.start();
        rig
    }

    /// The usual rig: one folder `in`, whose files are named after their cells.
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// A rig with a plan of its own.
    pub fn with(change: impl FnOnce(&mut Plan)) -> Self {
        let mut plan = Plan::default();
        change(&mut plan);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        plan.sandbox.addr = socket.local_addr().unwrap();
        let mut rig = Self {
            daemon: None,
            ended: Vec::new(),
            sandbox: None,
            reserved: Some(socket),
            plan,
            fences: 0,
            sockets: 0,
            runtime,
            home: tempfile::Builder::new()
                .prefix("pixcell-")
                .tempdir()
                .unwrap(),
        };
        if rig.plan.online {
            rig.go_online();
        }
        fs::create_dir(rig.path(FOLDER)).unwrap();
        rig.write_config();
        rig
    }

    /// Starts the sandbox; until then its port is closed.
    pub fn go_online(&mut self) {
        let starting = Sandbox::start(self.plan.sandbox.clone());
        self.sandbox = Some(self.runtime.block_on(starting).unwrap());
        self.reserved = None;
    }

    /// Writes the configuration that the plan says.
    pub fn write_config(&self) {
        self.write_config_text(
            &self
                .plan
                .yaml(&format!("http://{}", self.plan.sandbox.addr)),
        );
    }

    /// Writes this configuration.
    pub fn write_config_text(&self, text: &str) {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.path("pixcell.yaml"))
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// A path below the rig's home.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.home.path().join(path)
    }

    /// A path below the mapped folder.
    pub fn file(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.path(FOLDER).join(name.as_ref())
    }

    /// Drops a file into the folder: creates or overwrites, writes, closes.
    pub fn drop_file(&self, name: impl AsRef<OsStr>, bytes: &[u8]) {
        fs::write(self.file(name), bytes).unwrap();
    }

    /// A file outside of the folder, on the same file system.
    pub fn outside(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    // The daemon.

    /// Starts the daemon and waits until it is ready.
    #[track_caller]
    pub fn start(&mut self) {
        self.start_unready();
        self.daemon_mut().wait_told("READY=1");
    }

    /// Starts the daemon.
    pub fn start_unready(&mut self) {
        assert!(self.daemon.is_none(), "it runs already");
        self.daemon = Some(self.another());
    }

    /// Has the daemon take up the configuration as it is planned now.
    pub fn reload(&mut self) {
        self.write_config();
        self.daemon().signal(Signal::HUP);
        self.daemon_mut().wait_told("RELOADING=1");
        self.daemon_mut().wait_told("READY=1");
    }

    /// Another daemon with the same configuration.
    pub fn another(&mut self) -> Process {
        self.sockets += 1;
        let socket = self.path(format!("notify-{}", self.sockets));
        let mut args = vec!["run", "--config", "pixcell.yaml"];
        args.extend(&self.plan.args);
        let plan = &self.plan;
        Process::start_through(
            &plan.through,
            self.home.path(),
            &args,
            &plan.env,
            Some(&socket),
        )
    }

    pub fn daemon(&self) -> &Process {
        self.daemon.as_ref().expect("the daemon runs")
    }

    pub fn daemon_mut(&mut self) -> &mut Process {
        self.daemon.as_mut().expect("the daemon runs")
    }

    /// The daemon, for whoever waits for its end in another way.
    pub fn take_daemon(&mut self) -> Process {
        self.daemon.take().expect("the daemon runs")
    }

    /// Waits for the daemon's end.
    #[track_caller]
    pub fn end(&mut self) -> Ended {
        let ended = self.daemon.take().expect("the daemon runs").end();
        self.ended.push(ended.clone());
        ended
    }

    /// Ends the daemon with SIGTERM and insists on exit code 0.
    #[track_caller]
    pub fn stop(&mut self) -> Ended {
        self.daemon().signal(Signal::TERM);
        self.end().with_code(0)
    }

    /// Ends the daemon with SIGKILL.
    pub fn kill(&mut self) {
        let ended = self.daemon.take().expect("the daemon runs").kill();
        self.ended.push(ended);
    }

    /// Starts another command of pixcell, by what the daemon is started by.
    pub fn command(&self, args: &[&str]) -> Process {
        Process::start_through(&self.plan.through, self.home.path(), args, &[], None)
    }

    /// Runs another command of pixcell to its end.
    pub fn pixcell(&mut self, args: &[&str]) -> Ended {
        self.pixcell_env(args, &[])
    }

    /// The same with variables.
    pub fn pixcell_env(&mut self, args: &[&str], env: &[(&str, String)]) -> Ended {
        let ended = Process::start(self.home.path(), args, env, None).end();
        self.ended.push(ended.clone());
        ended
    }

    /// `pixcell status --json`, from the daemon or from the store.
    #[track_caller]
    pub fn status(&mut self) -> Value {
        let ended = self.pixcell(&["status", "--json", "--config", "pixcell.yaml"]);
        ended.with_code(0).json()
    }

    /// Asks for the status until it is so: the log tells of things a moment before they are recorded.
    #[track_caller]
    pub fn wait_status(&mut self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + LIMIT;
        loop {
            let status = self.status();
            if is_so(&status) {
                return status;
            }
            assert!(Instant::now() < end, "not {what}: {status:#}");
        }
    }

    /// Where the daemon serves its status page, when the plan has one.
    #[track_caller]
    pub fn page(&self) -> SocketAddr {
        let line = self.daemon().wait_line(&["the status page is served at"]);
        let (_, rest) = line.split_once("http://").unwrap();
        rest[..rest.find('/').unwrap()].parse().unwrap()
    }

    /// How many files the daemon has looked at, as its metrics tell; the plan has a status page.
    #[track_caller]
    pub fn looks(&self) -> u64 {
        let told = self.wait_page("/metrics", |answer| {
            answer.text().contains("pixcell_candidates_total{")
        });
        let text = told.text();
        let counts = text
            .lines()
            .filter(|line| line.starts_with("pixcell_candidates_total{"));
        counts
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum()
    }

    /// Asks for a path of the status page until the answer is so.
    #[track_caller]
    pub fn wait_page(&self, path: &str, is_so: impl Fn(&Answer) -> bool) -> Answer {
        let end = Instant::now() + LIMIT;
        loop {
            let answer = get(self.page(), path);
            if is_so(&answer) {
                return answer;
            }
            assert!(Instant::now() < end, "{path} says {}", answer.text());
            pause();
        }
    }

    /// Insists that this is a warning or an error of the daemon, now or soon.
    #[track_caller]
    pub fn warned(&self, parts: &[&str]) -> String {
        let line = self.daemon().wait_line(parts);
        assert!(
            line.contains(" WARN ") || line.contains(" ERROR "),
            "{line}"
        );
        line
    }

    // The sandbox.

    pub fn sandbox(&self) -> &Sandbox {
        self.sandbox.as_ref().expect("the sandbox runs")
    }

    /// Adds something for the sandbox to do wrong.
    pub fn fault(&self, fault: Fault) {
        self.sandbox().add_fault(fault).unwrap();
    }

    /// Everything in the sandbox.
    pub fn state(&self) -> State {
        self.sandbox().state()
    }

    /// Waits until something is so in the sandbox.
    #[track_caller]
    pub fn wait(&self, what: &str, is_so: impl Fn(&State) -> bool) -> State {
        let waited = self.runtime.block_on(self.sandbox().wait_for(is_so, LIMIT));
        waited.unwrap_or_else(|late| panic!("{what}: {late}"))
    }

    /// Lets so many changes of the sandbox pass, or so long, whichever is first.
    pub fn meanwhile(&self, changes: u64, limit: Duration) {
        let from = self.state().version;
        let over = |state: &State| state.version >= from + changes;
        // Too late is what was asked for.
        let _ = self.runtime.block_on(self.sandbox().wait_for(over, limit));
    }

    /// Lets the next call be answered, or so much time pass.
    pub fn after_an_answer(&self, limit: Duration) {
        let before = self.state().answers(0);
        let over = |state: &State| state.answers(0) > before;
        // Too late is no failure: nothing may be left to answer.
        let _ = self.runtime.block_on(self.sandbox().wait_for(over, limit));
    }

    /// Waits until the cell holds exactly these bytes.
    #[track_caller]
    pub fn expect(&self, cell: &str, bytes: &[u8]) {
        self.expect_in(DOC, cell, bytes);
    }

    /// The same for another document.
    #[track_caller]
    pub fn expect_in(&self, document: &str, cell: &str, bytes: &[u8]) {
        let expected = ContentHash::of(bytes);
        self.wait(&format!("{cell} holds {expected}"), |state| {
            let image = state.image(document, SHEET, cell);
            image.is_some_and(|image| image.hash == expected)
        });
        let there = self.sandbox().image_bytes(document, SHEET, cell);
        assert_eq!(there.as_deref(), Some(bytes), "{cell}");
    }

    /// Blocks writes; [`Rig::wait_held`] tells when one is.
    pub fn hold_writes(&self) {
        self.sandbox().hold(&[Endpoint::ValuesImage]);
    }

    /// Waits until a call is blocked.
    #[track_caller]
    pub fn wait_held(&self) {
        self.wait("a call is held", |state| state.held() > 0);
    }

    /// How many calls of one kind have begun.
    pub fn calls(&self, endpoint: Endpoint) -> u64 {
        self.state().calls(endpoint)
    }

    /// How many writes have begun, the rig's own sentinels left out.
    pub fn writes(&self) -> u64 {
        self.calls(Endpoint::ValuesImage) - u64::from(self.fences)
    }

    /// The writes so far, in the order they ended: a picture is in its cell before its call has ended.
    #[track_caller]
    pub fn write_records(&self) -> Vec<CallRecord> {
        let ended = self.wait("no call in flight", |state| state.in_flight.is_empty());
        let calls = ended.calls;
        let writes = calls
            .into_iter()
            .filter(|call| call.endpoint == Endpoint::ValuesImage);
        writes.collect()
    }

    // Facts about what was not done.

    /// Everything that was in the folder before this was called is settled and has been looked at: a
    /// sentinel came after it, in the slowest way, and is in its cell.
    ///
    /// The slowest way is a hard link: no writer closes it, so it waits its quiet time, and looks are
    /// taken in the order in which these times end.
    #[track_caller]
    pub fn fence(&mut self) {
        self.fences += 1;
        let number = self.fences;
        let bytes = png(0xFE00_0000 + number);
        let whole = self.outside(&format!("fence-{number}"), &bytes);
        let cell = format!("{FENCE}{}", 201 - number);
        fs::hard_link(whole, self.file(format!("{cell}.png"))).unwrap();
        self.expect(&cell, &bytes);
    }

    /// The same while nothing can be sent: the sentinel is looked at, and its job waits.
    #[track_caller]
    pub fn fence_unwritten(&mut self) {
        self.fences += 1;
        let number = self.fences;
        let bytes = png(0xFE00_0000 + number);
        let whole = self.outside(&format!("fence-{number}"), &bytes);
        let name = format!("{FENCE}{}.png", 201 - number);
        fs::hard_link(whole, self.file(&name)).unwrap();
        self.wait_queued(&name, &bytes);
    }

    /// Waits until this version of the file is its slot's next job.
    #[track_caller]
    pub fn wait_queued(&self, name: &str, bytes: &[u8]) {
        let hash = ContentHash::of(bytes).to_string();
        self.daemon().wait_line(&[name, &hash, "decision=Queued"]);
    }

    /// Insists that this many writes have begun in all, and that none is left to begin: after a
    /// sentinel the daemon is stopped in order, which finishes the looks under way, and its queue is
    /// empty.
    #[track_caller]
    pub fn finish(&mut self, writes: u64) {
        self.fence();
        self.stop();
        let totals = self.status()["totals"].clone();
        assert_eq!(
            (&totals["queued"], &totals["stale"]),
            (&0.into(), &0.into())
        );
        assert_eq!(self.writes(), writes, "writes");
    }

    /// What the daemons of this rig that have ended said on stderr.
    pub fn printed_by_daemons(&self) -> String {
        let daemons = self
            .ended
            .iter()
            .filter(|ended| ended.command.starts_with("pixcell run"));
        daemons.map(|ended| ended.stderr.as_str()).collect()
    }

    /// Everything that processes of this rig have printed.
    pub fn printed(&self) -> String {
        let mut text: String = self.ended.iter().map(ToString::to_string).collect();
        if let Some(daemon) = &self.daemon {
            text += &daemon.stdout();
            text += &daemon.stderr();
        }
        text
    }

    fn check(&self) {
        if let Some(sandbox) = &self.sandbox {
            assert_eq!(
                sandbox.state().overlaps,
                0,
                "writes at once for one document"
            );
        }
        let printed = self.printed();
        assert!(!printed.contains(SECRET), "the secret was printed");
        assert!(
            self.plan.panics || !printed.contains("panicked"),
            "something panicked:\n{printed}"
        );
    }

    fn report(&self) {
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        eprintln!("=== configuration\n{}", read(&self.path("pixcell.yaml")));
        eprintln!("=== files");
        for (path, what) in self.files() {
            eprintln!("{:60} {what}", path.display());
        }
        for ended in &self.ended {
            eprintln!("=== ended\n{ended}");
        }
        if let Some(daemon) = &self.daemon {
            let (command, out) = (daemon.command(), daemon.stdout());
            eprintln!("=== running: {command}\n--- stdout\n{out}--- stderr");
            eprintln!("{}--- told {:?}", daemon.stderr(), daemon.told());
        }
        if let Some(sandbox) = &self.sandbox {
            let state = sandbox.state();
            eprintln!("=== sandbox\n{state}");
            for call in state.calls.iter().chain(state.in_flight.values()) {
                eprintln!(
                    "{} {:?} {:?} {:?} {:?} {:?} {} ms to {:?} ms",
                    call.id,
                    call.endpoint,
                    call.range,
                    call.outcome,
                    call.status,
                    call.code,
                    call.started_ms,
                    call.ended_ms
                );
            }
        }
    }

    /// Every file below home with its size and time.
    fn files(&self) -> BTreeMap<PathBuf, String> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.home.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let Ok(meta) = entry.path().symlink_metadata() else {
                    continue;
                };
                if meta.is_dir() {
                    folders.push(entry.path());
                }
                let age = meta
                    .modified()
                    .ok()
                    .and_then(|at| SystemTime::now().duration_since(at).ok());
                files.insert(entry.path(), format!("{} bytes, {age:?} old", meta.len()));
            }
        }
        files
    }

    /// Whether any file below `folder` holds these bytes.
    pub fn on_disk(&self, folder: &str, bytes: &[u8]) -> Option<PathBuf> {
        let top = self.path(folder);
        let holds = |path: &PathBuf| {
            fs::read(path).is_ok_and(|text| {
                text.windows(bytes.len().max(1))
                    .any(|window| window == bytes)
            })
        };
        let paths = self.files().into_keys();
        paths
            .filter(|path| path.starts_with(&top) && path.is_file())
            .find(holds)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.report();
        } else {
            let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.check()));
            if let Err(panic) = checked {
                self.report();
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// A name of bytes that need not be UTF-8.
pub fn raw(name: &[u8]) -> &OsStr {
    OsStr::from_bytes(name)
}
