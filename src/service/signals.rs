//! Signals turned into intents at the edge. The only file that names signal-hook.

use std::io;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
use tokio::sync::mpsc;

/// What somebody outside wants of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// End in order; a second one: end now. SIGTERM, SIGINT.
    Stop,
    /// Read the configuration again. SIGHUP.
    Reload,
    /// Compare all folders now. SIGUSR1.
    Rescan,
    /// Write the whole status to the log. SIGUSR2.
    Report,
}

/// The intents of this process, from now on: none of these signals ends it by itself any more.
///
/// # Errors
/// When the system refuses a handler.
pub fn intents() -> io::Result<mpsc::Receiver<Intent>> {
    let (sender, intents) = mpsc::channel(16);
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2])?;
    // A thread of its own: it lives as long as the process and waits in a read.
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                let intent = match signal {
                    SIGHUP => Intent::Reload,
                    SIGUSR1 => Intent::Rescan,
                    SIGUSR2 => Intent::Report,
                    _ => Intent::Stop,
                };
                // Waits for a slow reader: none is lost, a wish to stop least of all.
                if sender.blocking_send(intent).is_err() {
                    return;
                }
            }
        })?;
    Ok(intents)
}
