//! `pixcell status`: from the running daemon, or from the store when none runs.

use std::io::{self, Write};

use tracing::warn;

use super::args::{Common, Status};
use super::exit::{Exit, Failure};
use super::load;
use super::output;
use super::state;
use super::stdout;
use crate::service::{Ask, DaemonError, Setup, Snapshot, gather};
use crate::upload::{Calls, LaneState};
use crate::watch::FolderState;

/// Prints what stands where.
///
/// # Errors
/// When the configuration is wrong, or neither daemon nor store answers.
pub fn run(common: &Common, args: &Status) -> Result<Exit, Failure> {
    let setup = load::setup(common.config.as_deref())?;
    let snapshot = snapshot(&setup)?;
    let mut out = stdout::lock();
    if args.json {
        let text = serde_json::to_string_pretty(&snapshot).map_err(anyhow::Error::from)?;
        writeln!(out, "{text}")?;
    } else {
        print(&mut out, &setup, &snapshot)?;
    }
    Ok(Exit::Done)
}

fn snapshot(setup: &Setup) -> Result<Snapshot, Failure> {
    let dir = &setup.config.state_dir;
    if let Some(snapshot) = state::daemon(dir, &Ask::Status)? {
        return Ok(snapshot);
    }
    let (store, _copy) = state::look(dir)?;
    let mut snapshot = gather(&store, &setup.routes).map_err(DaemonError::from)?;
    let feishu = &setup.config.feishu;
    match Calls::recorded(dir, &feishu.app_id, feishu.monthly_calls) {
        Ok(calls) => snapshot.calls = Some(calls),
        Err(error) => warn!("the count of this month's calls cannot be read: {error}"),
    }
    Ok(snapshot)
}

fn print(out: &mut impl Write, setup: &Setup, snapshot: &Snapshot) -> io::Result<()> {
    match &snapshot.running {
        Some(running) => writeln!(
            out,
            "running since {} as process {}, pixcell {}{}",
            running.since,
            running.pid,
            running.version,
            if running.ready {
                ""
            } else {
                ", still comparing the folders"
            }
        )?,
        None => writeln!(
            out,
            "not running; from the store in {}",
            setup.config.state_dir.display()
        )?,
    }
    if let Some(degraded) = &snapshot.degraded {
        writeln!(out, "degraded: {degraded}")?;
    }
    let totals = snapshot.totals;
    writeln!(
        out,
        "{} written, {} waiting, {} parked",
        output::count(totals.written, "slot"),
        totals.queued + totals.stale,
        totals.parked
    )?;
    if let Some(calls) = &snapshot.calls {
        output::calls(out, calls)?;
    }
    for mapping in &snapshot.mappings {
        writeln!(
            out,
            "\n{}: {}\n  {}, {} waiting, {} parked, {} rejected, {} held",
            mapping.name,
            if mapping.folder.is_empty() {
                "(no longer configured)"
            } else {
                &mapping.folder
            },
            output::count(mapping.images, "image"),
            mapping.queued,
            mapping.parked,
            mapping.rejected,
            mapping.held
        )?;
        if let Some(state) = &mapping.state {
            writeln!(out, "  {}", folder(state))?;
        }
    }
    if let Some(gate) = &snapshot.gate {
        writeln!(out, "\nnothing is sent: {}", gate.line())?;
    }
    for lane in &snapshot.lanes {
        match (&lane.gate, &lane.state) {
            (Some(gate), _) => writeln!(
                out,
                "\n{}: nothing is sent: {}",
                lane.spreadsheet,
                gate.line()
            )?,
            (None, LaneState::Sending { file, slot, since }) => {
                writeln!(
                    out,
                    "\n{}: sending {file} to {slot} since {since}",
                    lane.spreadsheet
                )?;
            }
            _ => {}
        }
    }
    output::waiting(out, snapshot)?;
    output::leftovers(out, snapshot)
}

fn folder(state: &FolderState) -> String {
    match state {
        FolderState::Starting => "not looked at yet".into(),
        FolderState::Native { unseen } => format!("watched{}", but_for(unseen.as_deref())),
        FolderState::Poll { why, unseen } => {
            format!("watched by listing it: {why}{}", but_for(unseen.as_deref()))
        }
        FolderState::Missing { why } => format!("cannot be listed, waited for: {why}"),
        FolderState::Stuck { why } => format!("does not answer, waited for: {why}"),
    }
}

fn but_for(unseen: Option<&str>) -> String {
    unseen.map_or_else(String::new, |unseen| {
        format!(", but not all of it: {unseen}")
    })
}
