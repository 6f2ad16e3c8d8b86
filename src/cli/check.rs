//! `pixcell check`: is the configuration right, and with `--online`, does the API agree.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{Builder, park_timeout};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::args::{Check, Common};
use super::exit::{Exit, Failure};
use super::load;
use super::online::{Online, Reached};
use super::output;
use super::run::block_on;
use super::stdout;
use crate::placement::{Route, overlaps, unreached};
use crate::service::{Ask, AskError, Setup, Standing, ask};
use crate::store::Lock;

/// How long the daemon may take until a configuration is in force: it lets go of folders that hang first.
const IN_FORCE_MOST: Duration = Duration::from_mins(1);
/// How often it is asked.
const IN_FORCE_TICK: Duration = Duration::from_millis(50);
/// How long all folders together may take to say that they are there: on a share whose server is gone they never do.
const FOLDERS_MOST: Duration = Duration::from_secs(5);
/// A signal may be behind the question: until then what is said may be of an earlier reload.
const SIGNAL_MOST: Duration = Duration::from_secs(2);

/// Checks the configuration.
///
/// # Errors
/// When it is wrong, with every problem; with `--online` also when the API cannot be asked, with `--in-force`
/// also when it does not come into force.
pub fn run(common: &Common, args: &Check) -> Result<Exit, Failure> {
    let setup = load::setup(common.config.as_deref())?;
    let mut out = stdout::lock();
    if args.in_force {
        in_force(&setup)?;
        writeln!(out, "the configuration is in force")?;
        return Ok(Exit::Done);
    }
    let mappings = setup.config.mappings.len() as u64;
    let rules: u64 = setup
        .config
        .mappings
        .iter()
        .map(|mapping| mapping.rules.len() as u64)
        .sum();
    writeln!(
        out,
        "the configuration is right: {}, {}",
        output::count(mappings, "mapping"),
        output::count(rules, "rule")
    )?;
    // A reload waits for this, and in some file systems a thread that hangs keeps even its process from ending.
    if !common.quiet {
        for line in away(&setup)? {
            writeln!(out, "{line}")?;
        }
    }
    for route in setup.routes.iter() {
        for line in unreachable(route) {
            writeln!(out, "{line}")?;
        }
    }
    for line in doubts(&setup, |route| Some(configured(route))) {
        writeln!(out, "{line}")?;
    }
    if args.online {
        online(&setup, &mut out)
    } else {
        Ok(Exit::Done)
    }
}

/// Folders that are not there, or do not say.
fn away(setup: &Setup) -> io::Result<Vec<String>> {
    let (tell, told) = mpsc::channel();
    let mut there = Vec::new();
    // A thread each, so that those that hang are waited for together; they are left behind then.
    for (index, route) in setup.routes.iter().enumerate() {
        let (tell, folder) = (tell.clone(), route.mapping.folder.clone());
        Builder::new().spawn(move || {
            // Nobody listens any more when it was too late.
            let _ = tell.send((index, folder.is_dir()));
        })?;
        there.push((route, None));
    }
    drop(tell);
    let end = Instant::now() + FOLDERS_MOST;
    while let Ok((index, is_there)) =
        told.recv_timeout(end.saturating_duration_since(Instant::now()))
    {
        there[index].1 = Some(is_there);
    }
    let tell = |(route, is_there): (&Arc<Route>, Option<bool>)| {
        let how = match is_there {
            Some(true) => return None,
            Some(false) => "is not there yet",
            None => "does not answer",
        };
        let (name, folder) = (&route.mapping.name, route.mapping.folder.display());
        Some(format!(
            "{name}: the folder {folder} {how}; it will be waited for"
        ))
    };
    Ok(there.into_iter().filter_map(tell).collect())
}

/// Rules that get in each other's way, as far as made-up paths tell. `sheet`: what names the sheet that
/// a mapping feeds.
fn doubts(setup: &Setup, sheet: impl Fn(&Route) -> Option<String>) -> Vec<String> {
    let routes: Vec<_> = setup.routes.iter().collect();
    let mut told = Vec::new();
    for (index, one) in routes.iter().enumerate() {
        for other in &routes[index..] {
            if sheet(one).is_none() || sheet(one) != sheet(other) {
                continue;
            }
            for found in overlaps(&one.rules, &other.rules) {
                let (first, second) = (&found.one, &found.other);
                told.push(format!(
                    "{}: rule {} of {} and rule {} of {} can fill the same place, for example with {} and {}; the last to arrive is shown",
                    found.slot,
                    first.0 + 1,
                    one.mapping.name,
                    second.0 + 1,
                    other.mapping.name,
                    first.1,
                    second.1,
                ));
            }
        }
    }
    told
}

/// Rules that seem out of reach.
fn unreachable(route: &Route) -> Vec<String> {
    let name = &route.mapping.name;
    unreached(&route.rules)
        .iter()
        .map(|found| {
            let by = match found.taken_by {
                Some(rule) => format!("rule {} takes", rule + 1),
                None => "`ignore` leaves out".to_owned(),
            };
            let rule = found.rule + 1;
            format!(
                "{name}: no file seems to reach rule {rule}: {by} all that it would, for example {}; put rule {rule} before it, or remove it",
                found.path
            )
        })
        .collect()
}

fn online(setup: &Setup, out: &mut impl Write) -> Result<Exit, Failure> {
    let online = block_on(Online::ask(setup))?;
    let wrong = online.tell(out)?;
    // Two names of one sheet are known to be one only now.
    let named = doubts(setup, |route| Some(configured(route)));
    let resolved = doubts(setup, |route| {
        let Reached { token, sheet } = online.reached(&route.mapping)?;
        Some(format!("{token} {sheet}"))
    });
    for doubt in resolved.iter().filter(|doubt| !named.contains(doubt)) {
        writeln!(
            out,
            "{doubt}; the configuration names this sheet in two ways, so each way counts by itself: name it the same way everywhere"
        )?;
    }
    Ok(if wrong { Exit::Failed } else { Exit::Done })
}

/// The sheet of a mapping as the configuration names it.
fn configured(route: &Route) -> String {
    let mapping = &route.mapping;
    format!("{} {}", mapping.spreadsheet, mapping.sheet)
}

/// Waits until the daemon has taken the configuration up.
fn in_force(setup: &Setup) -> anyhow::Result<()> {
    let question = Ask::InForce {
        text: setup.text.to_hex(),
    };
    let (state_dir, begun) = (&setup.config.state_dir, Instant::now());
    loop {
        let told = ask::<Standing>(state_dir, &question);
        let waited = begun.elapsed();
        let why = match told {
            Ok(Standing::InForce) => return Ok(()),
            Ok(Standing::Other) if waited < IN_FORCE_MOST => None,
            Ok(Standing::Other) => Some(anyhow::anyhow!(
                "the daemon was not told to take it up: `systemctl reload pixcell`, or send it SIGHUP"
            )),
            Ok(Standing::Refused) if waited < SIGNAL_MOST => None,
            Ok(Standing::Refused) => Some(anyhow::anyhow!(
                "the daemon could not take it up, and its log says why"
            )),
            Err(error @ (AskError::NotAllowed(_) | AskError::OtherVersion { .. })) => {
                Some(error.into())
            }
            Err(AskError::NotRunning) if Lock::is_free(state_dir).is_ok() => Some(anyhow::anyhow!(
                "no daemon runs with the state directory {}",
                state_dir.display()
            )),
            // While it changes from one to the other nobody answers.
            Err(error) => (waited >= IN_FORCE_MOST).then(|| error.into()),
        };
        if let Some(why) = why {
            return Err(why).context("the configuration is not in force");
        }
        park_timeout(IN_FORCE_TICK);
    }
}
