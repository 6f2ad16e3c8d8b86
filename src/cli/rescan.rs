//! `pixcell rescan`: has the running daemon compare all folders now.

use std::io::Write;

use super::args::{Common, Rescan};
use super::exit::{Exit, Failure};
use super::{load, output, state, stdout};
use crate::service::Ask;

/// Asks for it and prints how many folders that are.
///
/// # Errors
/// When the configuration is wrong or no daemon runs.
pub fn run(common: &Common, args: &Rescan) -> Result<Exit, Failure> {
    let setup = load::setup(common.config.as_deref())?;
    let Some(folders) = state::daemon::<u64>(&setup.config.state_dir, &Ask::Rescan)? else {
        return Err(anyhow::anyhow!(
            "no daemon runs to compare the folders; `pixcell sync` compares them and sends what is new"
        )
        .into());
    };
    let mut out = stdout::lock();
    if args.json {
        writeln!(out, "{{\"folders\": {folders}}}")?;
    } else {
        writeln!(out, "comparing {} now", output::count(folders, "folder"))?;
    }
    Ok(Exit::Done)
}
