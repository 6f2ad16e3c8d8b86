//! What `pixcell --version` says: `0.1.0 (0a5f81c2d, 2026-11-26)`, from git and the clock of the source, never of
//! the machine, so that one commit gives one binary.
//!
//! The date is `$SOURCE_DATE_EPOCH`, else the commit's; in UTC. `+` after the commit: the source had changes. Without a repository
//! of its own it names the commit that `cargo package` wrote down, or says that none is known.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

/// What the binary is made of, beside the toolchain.
const SOURCE: [&str; 4] = ["build.rs", "Cargo.lock", "Cargo.toml", "src"];
const HASH_DIGITS: usize = 9;

fn main() {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    for path in SOURCE {
        watch(&package.join(path));
    }
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    let repository = is_repository(&package);
    // A commit alone makes the next release build anew, not the next test: what a debug build says stays true of the time when it
    // was built.
    if repository && env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        watch_head(&package);
    }
    let (commit, committed) = if repository {
        of_repository(&package)
    } else {
        (of_archive(&package), None)
    };
    let epoch = env::var("SOURCE_DATE_EPOCH").ok();
    let date = epoch.or(committed).and_then(|seconds| date(&seconds));
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let commit = commit.unwrap_or_else(|| "unknown commit".into());
    let date = date.unwrap_or_else(|| "unknown date".into());
    println!("cargo::rustc-env=PIXCELL_VERSION={version} ({commit}, {date})");
}

fn watch(path: &Path) {
    println!("cargo::rerun-if-changed={}", path.display());
}

/// What git prints; `None` when it is not installed or refuses.
fn git(package: &Path, arguments: &[&str]) -> Option<String> {
    let mut git = Command::new("git");
    git.arg("-C").arg(package).args(arguments);
    // A look must not wait for, or hold up, somebody else's commit.
    let output = git.env("GIT_OPTIONAL_LOCKS", "0").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// Whether this folder is the top of a repository: an archive unpacked inside of another project is not of its commit.
fn is_repository(package: &Path) -> bool {
    let top = git(package, &["rev-parse", "--show-toplevel"]);
    let real = |path: &Path| fs::canonicalize(path).ok();
    top.is_some_and(|top| real(Path::new(&top)) == real(package))
}

/// HEAD and the branch it names, wherever a worktree keeps them; packed or not.
fn watch_head(package: &Path) {
    let branch = git(package, &["symbolic-ref", "-q", "HEAD"]);
    // The log as well: the first commit on a branch that was packed makes a new file.
    let fixed = ["HEAD", "packed-refs", "logs/HEAD"].map(|name| Some(name.to_owned()));
    let names = fixed.into_iter().chain([branch]);
    for name in names.flatten() {
        let path = git(package, &["rev-parse", "--git-path", &name]);
        let path = path.map(|path| package.join(path));
        // To watch what is not there would run this at every build.
        if let Some(path) = path.filter(|path| path.exists()) {
            watch(&path);
        }
    }
}

/// The commit with its mark of changes, and its time in seconds since 1970.
fn of_repository(package: &Path) -> (Option<String>, Option<String>) {
    let Some(shown) = git(
        package,
        &["log", "-1", "--no-show-signature", "--format=%H %ct"],
    ) else {
        return (None, None);
    };
    let Some((commit, time)) = shown.split_once(' ') else {
        return (None, None);
    };
    // As long everywhere: what git shortens by itself depends on what else the clone holds.
    let commit = commit.get(..HASH_DIGITS).unwrap_or(commit);
    let status = [&["status", "--porcelain", "--"], &SOURCE[..]].concat();
    let clean = git(package, &status).is_some_and(|changes| changes.is_empty());
    let commit = format!("{commit}{}", if clean { "" } else { "+" });
    (Some(commit), Some(time.to_owned()))
}

/// The commit of an archive that `cargo package` made.
fn of_archive(package: &Path) -> Option<String> {
    let path = package.join(".cargo_vcs_info.json");
    let text = fs::read_to_string(&path).ok()?;
    watch(&path);
    let (_, rest) = text.split_once("\"sha1\"")?;
    let hash = rest.split('"').nth(1)?;
    let plain = hash.len() >= HASH_DIGITS && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    let changed = if text.contains("\"dirty\": true") {
        "+"
    } else {
        ""
    };
    plain.then(|| format!("{}{changed}", &hash[..HASH_DIGITS]))
}

/// `2026-11-26`, in UTC.
fn date(seconds: &str) -> Option<String> {
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds.trim().parse().ok()?))?;
    // What is later than the year 9999 cannot be written.
    let mut text = String::new();
    std::fmt::write(
        &mut text,
        format_args!("{}", humantime::format_rfc3339_seconds(time)),
    )
    .ok()?;
    text.truncate("2026-11-26".len());
    Some(text)
}
