//! `pixcell run`: the daemon, in the foreground.

use super::args::Common;
use super::exit::{Exit, Failure};
use super::load;
use crate::service::{self, Mode, Parts};

/// Runs until told to stop.
///
/// # Errors
/// When the configuration is wrong, another instance runs, or a task failed.
pub fn run(common: &Common) -> Result<Exit, Failure> {
    let setup = load::setup(common.config.as_deref())?;
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
    runtime()?.block_on(service::run(setup, parts))?;
    Ok(Exit::Done)
}

/// The async runtime of a command: two threads serve any number of lanes.
///
/// # Errors
/// When the system gives no thread.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
}
