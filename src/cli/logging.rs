//! Logs: to the journal, or on stderr as lines for people or JSON, and never through the middle of a progress bar.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, OnceLock, PoisonError};

use indicatif::ProgressBar;
use tracing_subscriber::fmt::writer::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt};

use super::args::{Common, LogFormat};
use super::fold::Fold;
use super::journal::{self, Journal};

/// The bar on the terminal, if there is one.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// What is folded.
static FOLD: OnceLock<Fold> = OnceLock::new();

/// Starts logging. `calm`: only warnings unless more is asked for.
pub fn start(common: &Common, calm: bool) {
    let level = match (common.verbose, common.quiet || calm) {
        (0, true) => "warn",
        (0, false) => "warn,pixcell=info",
        (1, _) => "warn,pixcell=debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let fold = FOLD.get_or_init(Fold::start).clone();
    let log = tracing_subscriber::registry().with(filter).with(fold);
    let lines = fmt::layer().with_writer(Stderr);
    // A second start, as in tests, keeps the first.
    let _ = match common.log_format {
        LogFormat::Auto if journal::is_there() => log.with(Journal).try_init(),
        LogFormat::Auto | LogFormat::Text => {
            let colour = io::stderr().is_terminal() && is_wanted(|name| std::env::var_os(name));
            log.with(lines.with_ansi(colour).with_target(false))
                .try_init()
        }
        LogFormat::Json => log.with(lines.json().flatten_event(true)).try_init(),
    };
}

/// Whether a terminal is to be written to in colour (<https://no-color.org>).
fn is_wanted(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let plain = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
    !plain && variable("TERM").is_none_or(|value| value != "dumb")
}

/// Tells what is folded by now.
pub fn finish() {
    if let Some(fold) = FOLD.get() {
        fold.tell(None);
    }
}

/// From now on logs are printed above this bar; `None`: there is no bar any more.
pub fn set_bar(bar: Option<ProgressBar>) {
    *BAR.lock().unwrap_or_else(PoisonError::into_inner) = bar;
}

struct Stderr;

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line(Vec::new())
    }
}

/// One event, written at once when it is complete.
struct Line(Vec<u8>);

impl Write for Line {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let bar = BAR.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // A closed stderr is no reason to stop.
        let print = || {
            let _ = io::stderr().lock().write_all(&self.0);
        };
        match bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::terminal(&[("TERM", "xterm")], true)]
    #[case::nothing_said(&[], true)]
    #[case::said(&[("TERM", "xterm"), ("NO_COLOR", "1")], false)]
    #[case::said_emptily(&[("NO_COLOR", "")], true)]
    #[case::without_colours(&[("TERM", "dumb")], false)]
    fn colours_are_left_out_where_they_are_not_wanted(
        #[case] environment: &[(&str, &str)],
        #[case] wanted: bool,
    ) {
        let variable = |name: &str| {
            let found = environment.iter().find(|(theirs, _)| *theirs == name);
            found.map(|(_, value)| OsString::from(value))
        };
        assert_eq!(is_wanted(variable), wanted);
    }
}
