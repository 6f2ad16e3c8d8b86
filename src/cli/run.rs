//! `pixcell run`: the daemon, in the foreground.

use std::time::Duration;

use tracing::info;

use super::args::Common;
use super::exit::{Exit, Failure};
use super::load;
use crate::service::{self, Mode, Parts};

/// How long blocking work may still take once a command is over.
const LAST_THREADS: Duration = Duration::from_secs(2);

/// Runs until told to stop.
///
/// # Errors
/// When the configuration is wrong, another instance runs, or a task failed.
pub fn run(common: &Common) -> Result<Exit, Failure> {
    let setup = load::setup(common.config.as_deref())?;
    info!("starting pixcell {}", env!("PIXCELL_VERSION"));
    let mut intents = service::intents()?;
    let path = common.config.clone();
    let reload =
        move || load::setup(path.as_deref()).map_err(|failure| format!("{:#}", failure.error));
    let parts = Parts {
        role: "pixcell run",
        mode: Mode::Serve,
        intents: &mut intents,
        reload: &reload,
        events: Parts::events(),
        ready: &|| {},
        left: &|_| {},
    };
    block_on(service::run(setup, parts))??;
    Ok(Exit::Done)
}

/// Runs a command's future to its end. Two threads serve any number of lanes; a thread that hangs in a
/// dead file system is not waited for.
///
/// # Errors
/// When the system gives no thread.
pub fn block_on<T>(command: impl Future<Output = T>) -> std::io::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let done = runtime.block_on(command);
    runtime.shutdown_timeout(LAST_THREADS);
    Ok(done)
}
