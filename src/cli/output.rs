//! What people read on stdout: counts, parked jobs and refused files, each with its reason.

use std::io::{self, Write};
use std::time::Duration;

use crate::service::{HistoryLine, LaneEvent, ParkedJob, Snapshot, What};
use crate::store::{Release, Timestamp, Verdict};
use crate::upload::{Calls, Pace};

/// Longest list printed; the rest is counted.
const LINES: usize = 50;
/// The same of what waits, which goes by itself.
const WAITING_LINES: usize = 10;

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
        What::Withdrawn => "not sent: the configuration no longer sends this file there".to_owned(),
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

/// The parked jobs and refused files of a snapshot, each with its reason, its age and what to do.
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
        writeln!(out, "    {}", parked(job, Timestamp::now()))?;
    }
    more(out, snapshot.parked.len(), snapshot.totals.parked)?;
    for (verdict, title) in [
        (
            Verdict::Rejected,
            "rejected; replace, rename or remove the file:",
        ),
        (Verdict::Held, "held; looked at again when they change:"),
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
                "  {}: {} -> {slot}: {}\n    for {}",
                file.mapping,
                file.file,
                file.reason,
                age(file.since, Timestamp::now())
            )?;
        }
        more(out, files.len(), files.len() as u64)?;
    }
    Ok(())
}

/// The cells that do not hold yet what they should.
///
/// # Errors
/// When stdout fails.
pub fn waiting(out: &mut impl Write, snapshot: &Snapshot) -> io::Result<()> {
    let now = Timestamp::now();
    if !snapshot.waiting.is_empty() {
        writeln!(out, "\nwaiting:")?;
    }
    for job in snapshot.waiting.iter().take(WAITING_LINES) {
        let held = job.held.as_deref().unwrap_or("nothing");
        let turn = match job.due {
            None => ", its file is looked at again".to_owned(),
            Some(due) if due > now => format!(", not before {due}"),
            Some(_) => String::new(),
        };
        writeln!(
            out,
            "  {}: {} -> {}: {} for {}, holds {held}{turn}",
            job.mapping,
            job.file,
            job.slot,
            job.wanted,
            age(job.since, now)
        )?;
    }
    let all = snapshot.totals.queued + snapshot.totals.stale;
    let shown = snapshot.waiting.len().min(WAITING_LINES) as u64;
    if all > shown {
        writeln!(out, "  … and {} more", all - shown)?;
    }
    Ok(())
}

/// How long a job is parked, what the API said to it, and what releases it.
fn parked(job: &ParkedJob, now: Timestamp) -> String {
    let mut parts = vec![
        format!("for {}", age(job.since, now)),
        count(u64::from(job.attempts), "call"),
    ];
    parts.extend(job.code.map(|code| format!("code {code}")));
    parts.extend(job.log_id.as_ref().map(|log_id| format!("logid {log_id}")));
    let what = match job.until {
        Release::NewImage => {
            "another picture for the cell is sent; or `pixcell retry` with the cell"
        }
        Release::Person => "when it is mended: `pixcell retry` with the cell or the file",
        Release::Row => "sent by itself once the row says its key",
    };
    format!("{}; {what}", parts.join(", "))
}

/// A time span to one unit: `45s`, `12m`, `3h`, `2days`.
fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.since(since).as_secs();
    let unit = match seconds {
        0..60 => 1,
        60..3_600 => 60,
        3_600..86_400 => 3_600,
        _ => 86_400,
    };
    let days = seconds / 86_400;
    match days {
        // humantime would make months and years of them.
        1.. => count(days, "day"),
        0 => humantime::format_duration(Duration::from_secs(seconds - seconds % unit)).to_string(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(0, "0s")]
    #[case(59, "59s")]
    #[case(12 * 60 + 30, "12m")]
    #[case(3 * 3600 + 1800, "3h")]
    #[case(26 * 3600, "1 day")]
    #[case(90 * 86_400, "90 days")]
    fn an_age_has_one_unit(#[case] seconds: u64, #[case] text: &str) {
        assert_eq!(age(Timestamp(5), Timestamp(5 + seconds * 1000)), text);
    }

    #[test]
    fn a_parked_job_says_age_code_logid_and_what_to_do() {
        let job = ParkedJob {
            mapping: "lobby".into(),
            file: "a.png".into(),
            slot: "B2".into(),
            reason: "locked".into(),
            code: Some(90_218),
            log_id: Some("2026".into()),
            since: Timestamp(0),
            attempts: 2,
            until: Release::Person,
        };
        insta::assert_snapshot!(parked(&job, Timestamp(7_200_000)), @"for 2h, 2 calls, code 90218, logid 2026; when it is mended: `pixcell retry` with the cell or the file");
    }
}
