//! `pixcell completions` and `pixcell man`: for packaging.

use std::io::Write;

use clap::CommandFactory;

use super::args::{Args, Completions};
use super::exit::{Exit, Failure};
use super::stdout;

/// Prints a completion script.
///
/// # Errors
/// When stdout fails.
pub fn completions(args: &Completions) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "pixcell", &mut script);
    stdout::lock().write_all(&script)?;
    Ok(Exit::Done)
}

/// Prints the manual page.
///
/// # Errors
/// When stdout fails.
pub fn man() -> Result<Exit, Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Args::command()).render(&mut page)?;
    stdout::lock().write_all(&page)?;
    Ok(Exit::Done)
}
