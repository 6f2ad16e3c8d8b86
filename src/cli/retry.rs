//! `pixcell retry`: has parked jobs tried again, and what is closed, by the running daemon, or at the next start.

use std::io::{self, Write};

use super::args::{Common, Retry};
use super::exit::{Exit, Failure};
use super::{load, output, state, stdout};
use crate::service::{Ask, DaemonError, Opened, Retried, retry};
use crate::store::{self, Lock};

/// Has it tried again and prints what that was.
///
/// # Errors
/// When the configuration is wrong, neither daemon nor store answers, or nothing waits for the path or
/// cell.
pub fn run(common: &Common, args: &Retry) -> Result<Exit, Failure> {
    let setup = load::setup(common.config.as_deref())?;
    let (dir, about) = (&setup.config.state_dir, args.about.clone());
    let question = Ask::Retry {
        about: about.clone(),
    };
    let retried: Retried = if let Some(retried) = state::daemon(dir, &question)? {
        retried
    } else {
        state::exists(dir)?;
        store::prepare(dir).map_err(|source| DaemonError::StateDir {
            path: dir.clone(),
            source,
        })?;
        let _lock = Lock::take(dir, "pixcell retry").map_err(DaemonError::from)?;
        let opened = store::open(dir).map_err(DaemonError::from)?;
        if let Some(said) = &opened.said {
            tracing::error!("{said}");
        }
        retry(&opened.store, about.as_deref()).map_err(DaemonError::from)?
    };
    let mut out = stdout::lock();
    if args.json {
        serde_json::to_writer(&mut out, &retried).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        for line in lines(&retried, about.is_none()) {
            writeln!(out, "{line}")?;
        }
    }
    match about {
        Some(about) if retried.released + retried.hastened == 0 => Err(anyhow::anyhow!(
            "nothing is parked for {about}; `pixcell status` lists what is"
        )
        .into()),
        _ => Ok(Exit::Done),
    }
}

/// `all`: nothing is left out because of a name, so that nothing is worth saying.
fn lines(retried: &Retried, all: bool) -> Vec<String> {
    let Retried {
        released,
        hastened,
        opened,
    } = retried;
    let mut lines = Vec::new();
    if *released > 0 {
        let jobs = output::count(*released as u64, "parked job");
        lines.push(format!("{jobs} tried again"));
    }
    if *hastened > 0 {
        let jobs = output::count(*hastened as u64, "job");
        lines.push(format!("{jobs} that waited after a failure tried now"));
    }
    lines.extend(opened.iter().map(
        |Opened {
             spreadsheet,
             reason,
         }| {
            let whose = spreadsheet
                .as_ref()
                .map_or("the app".to_owned(), |spreadsheet| {
                    format!("the spreadsheet {spreadsheet}")
                });
            format!("tried now for {whose}, which was closed: {reason}")
        },
    ));
    if lines.is_empty() && all {
        lines.push("nothing is parked, waits after a failure or is closed".to_owned());
    }
    lines
}
