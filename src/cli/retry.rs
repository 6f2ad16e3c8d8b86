//! `pixcell retry`: has parked jobs tried again, by the running daemon, or at the next start.

use std::io::{self, Write};

use super::args::{Common, Retry};
use super::exit::{Exit, Failure};
use super::{load, output, state};
use crate::service::{Ask, DaemonError, retry};
use crate::store::{self, Lock};

/// Releases them and prints how many.
///
/// # Errors
/// When the configuration is wrong, neither daemon nor store answers, or nothing is parked for the path
/// or cell.
pub fn run(common: &Common, args: &Retry) -> Result<Exit, Failure> {
    let setup = load::setup(common.config.as_deref())?;
    let (dir, about) = (&setup.config.state_dir, args.about.clone());
    let question = Ask::Retry {
        about: about.clone(),
    };
    let released: usize = if let Some(released) = state::daemon(dir, &question)? {
        released
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
    if args.json {
        writeln!(io::stdout().lock(), "{{\"released\": {released}}}")?;
    } else if released > 0 || about.is_none() {
        writeln!(
            io::stdout().lock(),
            "{} tried again",
            output::count(released as u64, "parked job")
        )?;
    }
    match about {
        Some(about) if released == 0 => Err(anyhow::anyhow!(
            "nothing is parked for {about}; `pixcell status` lists what is"
        )
        .into()),
        _ => Ok(Exit::Done),
    }
}
