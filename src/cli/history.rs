//! `pixcell history`: what was written when, from the running daemon, or from the store when none runs.

use std::io::Write;

use super::args::{Common, History};
use super::exit::{Exit, Failure};
use super::{load, output, state, stdout};
use crate::service::{Ask, DaemonError, HistoryLine, history};

/// Prints the latest lines, the newest first.
///
/// # Errors
/// When the configuration is wrong, neither daemon nor store answers, or nothing is known of the path or
/// cell.
pub fn run(common: &Common, args: &History) -> Result<Exit, Failure> {
    let setup = load::setup(common.config.as_deref())?;
    let (dir, about) = (&setup.config.state_dir, args.about.clone());
    let question = Ask::History {
        about: about.clone(),
        most: args.most,
    };
    let lines: Vec<HistoryLine> = if let Some(lines) = state::daemon(dir, &question)? {
        lines
    } else {
        let (store, _copy) = state::look(dir)?;
        history(&store, about.as_deref(), args.most).map_err(DaemonError::from)?
    };
    let mut out = stdout::lock();
    if args.json {
        let text = serde_json::to_string_pretty(&lines).map_err(anyhow::Error::from)?;
        writeln!(out, "{text}")?;
    } else {
        for line in &lines {
            writeln!(out, "{}", output::history(line))?;
        }
    }
    match about {
        Some(about) if lines.is_empty() => Err(anyhow::anyhow!(
            "the history has nothing about {about}; name a path below a mapped folder, or a cell such as B2"
        )
        .into()),
        _ => Ok(Exit::Done),
    }
}
