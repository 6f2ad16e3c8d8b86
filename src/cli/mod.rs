//! The command line: one file a subcommand. Prints, asks, exits; decides nothing about pictures.
//!
//! stdout carries results, stderr logs and errors.

mod args;
mod check;
mod clicks;
mod demo;
mod exit;
mod fold;
mod history;
mod init;
mod journal;
mod load;
mod logging;
mod online;
mod output;
mod packaging;
mod pictures;
mod plan;
mod rescan;
mod retry;
mod run;
mod sandbox;
mod state;
mod status;
mod stdout;
mod sync;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};
use exit::{Exit, Failure};

/// Runs the command that the process was called with.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version are results; everything else is a mistake in usage.
            let code = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
            let _ = error.print();
            return code.into();
        }
    };
    logging::start(&args.common, matches!(args.command, Command::Demo(_)));
    let done = match &args.command {
        Command::Run => run::run(&args.common),
        Command::Sync(sync) => sync::run(&args.common, sync),
        Command::Init(init) => init::run(&args.common, init),
        Command::Check(check) => check::run(&args.common, check),
        Command::Plan(plan) => plan::run(&args.common, plan),
        Command::Status(status) => status::run(&args.common, status),
        Command::History(history) => history::run(&args.common, history),
        Command::Retry(retry) => retry::run(&args.common, retry),
        Command::Rescan(rescan) => rescan::run(&args.common, rescan),
        Command::Demo(demo) => demo::run(demo),
        Command::Sandbox(sandbox) => sandbox::run(sandbox),
        Command::Completions(completions) => packaging::completions(completions),
        Command::Man => packaging::man(),
    };
    logging::finish();
    match done {
        Ok(exit) => exit.into(),
        Err(Failure { exit, error }) => {
            eprintln!("pixcell: {error:#}");
            exit.into()
        }
    }
}
