//! What people read on stdout: counts, parked jobs and refused files, each with its reason.

use std::io::{self, Write};

use crate::service::{HistoryLine, LaneEvent, Snapshot, What};
use crate::store::Verdict;
use crate::upload::{Calls, Pace};

/// Longest list printed; the rest is counted.
const LINES: usize = 50;

/// One line for what happened; nothing for what only the log tells.
pub fn event(event: &LaneEvent) -> Option<String> {
    match event {
        LaneEvent::Written {
            source,
            target,
            revision,
            ..
        } => {
            let revision = revision.map_or("?".to_owned(), |revision| revision.to_string());
            Some(format!(
                "{} -> {} (revision {revision})",
                source.path, target.cell
            ))
        }
        LaneEvent::Parked {
            source,
            address,
            reason,
        } => Some(format!(
            "{} -> {}: parked: {reason}",
            source.path, address.slot
        )),
        LaneEvent::Failed { .. } | LaneEvent::GateClosed { .. } => None,
    }
}

/// One line of the history.
pub fn history(line: &HistoryLine) -> String {
    let what = match &line.what {
        What::Written {
            cell,
            revision,
            attempts,
        } => {
            let revision = revision.map_or("?".to_owned(), |revision| revision.to_string());
            let calls = count(u64::from(*attempts), "call");
            format!("written to {cell} (revision {revision}, {calls})")
        }
        What::Parked { reason } => format!("parked: {reason}"),
        What::SourceGone => "not sent: its file went away".to_owned(),
    };
    let HistoryLine {
        at,
        mapping,
        file,
        slot,
        hash,
        ..
    } = line;
    format!("{at}  {mapping}: {file} -> {slot}  {hash}  {what}")
}

/// Calls made, and how fast they may be made.
///
/// # Errors
/// When stdout fails.
pub fn calls(out: &mut impl Write, calls: &Calls) -> io::Result<()> {
    writeln!(out, "{}", calls.line())?;
    match calls.pace {
        Pace::Unlimited => Ok(()),
        _ if calls.is_scarce() => {
            writeln!(out, "  most of the month's quota is used; {}", calls.why)
        }
        _ => writeln!(out, "  {}", calls.why),
    }
}

/// The parked jobs and refused files of a snapshot.
///
/// # Errors
/// When stdout fails.
pub fn leftovers(out: &mut impl Write, snapshot: &Snapshot) -> io::Result<()> {
    if !snapshot.parked.is_empty() {
        writeln!(out, "\nparked, waiting for you:")?;
    }
    for job in snapshot.parked.iter().take(LINES) {
        writeln!(
            out,
            "  {}: {} -> {}: {}",
            job.mapping, job.file, job.slot, job.reason
        )?;
    }
    more(out, snapshot.parked.len(), snapshot.totals.parked)?;
    for (verdict, title) in [
        (Verdict::Rejected, "rejected:"),
        (Verdict::Held, "held until they change:"),
    ] {
        let files: Vec<_> = snapshot
            .refused
            .iter()
            .filter(|file| file.verdict == verdict)
            .collect();
        if !files.is_empty() {
            writeln!(out, "\n{title}")?;
        }
        for file in files.iter().take(LINES) {
            let slot = file.slot.as_deref().unwrap_or("no cell");
            writeln!(
                out,
                "  {}: {} -> {slot}: {}",
                file.mapping, file.file, file.reason
            )?;
        }
        more(out, files.len(), files.len() as u64)?;
    }
    Ok(())
}

fn more(out: &mut impl Write, listed: usize, all: u64) -> io::Result<()> {
    let shown = listed.min(LINES) as u64;
    if all > shown {
        writeln!(out, "  … and {} more", all - shown)
    } else {
        Ok(())
    }
}

/// Counts with their nouns: `1 picture`, `3 pictures`.
pub fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
