//! `pixcell sync`: one pass over everything, with a progress bar on a terminal.

use std::io::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::args::{Common, Sync};
use super::exit::{Exit, Failure};
use super::load;
use super::logging;
use super::output;
use super::run::block_on;
use super::stdout;
use crate::service::{self, Ended, LaneEvent, Mode, Parts};

/// Brings all cells up to date once.
///
/// # Errors
/// When the configuration is wrong, another instance runs, or a task failed.
pub fn run(common: &Common, args: &Sync) -> Result<Exit, Failure> {
    let setup = load::setup(common.config.as_deref())?;
    let mut intents = service::intents()?;
    let events = Parts::events();
    let bar = bar();
    logging::set_bar(Some(bar.clone()));
    let left = |queued: usize| bar.set_length(bar.position() + queued as u64);
    let parts = Parts {
        role: "pixcell sync",
        mode: Mode::Pass,
        intents: &mut intents,
        reload: &|| Err("a single pass keeps its configuration".into()),
        events: events.clone(),
        ready: &|| bar.set_message("sending"),
        left: &left,
    };
    let outcome = block_on(async {
        let counted = tokio::spawn(count(events.subscribe(), bar.clone()));
        drop(events);
        let outcome = service::run(setup, parts).await;
        // The bar's last picture; a panic in it is no reason to fail.
        let _ = counted.await;
        outcome
    })?;
    logging::set_bar(None);
    bar.finish_and_clear();
    let outcome = outcome?;
    let written = outcome.written;
    let (snapshot, stopped) = (&outcome.left, outcome.ended == Ended::Stopped);
    let unreached = match &outcome.ended {
        Ended::Passed(stuck) => stuck.clone(),
        Ended::Stopped => Vec::new(),
    };
    let refused: u64 = snapshot
        .mappings
        .iter()
        .map(|mapping| mapping.rejected + mapping.held)
        .sum();
    let mut out = stdout::lock();
    if args.json {
        let unreached: Vec<_> = unreached
            .iter()
            .map(|(spreadsheet, reason)| json!({"spreadsheet": spreadsheet, "reason": reason}))
            .collect();
        let told = json!({"written": written, "stopped": stopped, "unreached": unreached, "left": snapshot});
        writeln!(out, "{told:#}")?;
    } else {
        writeln!(
            out,
            "{} written, {} parked, {refused} rejected or held, {} waiting",
            output::count(written, "picture"),
            snapshot.totals.parked,
            snapshot.totals.queued + snapshot.totals.stale,
        )?;
        output::leftovers(&mut out, snapshot)?;
        for (spreadsheet, reason) in &unreached {
            writeln!(out, "\nnot written now, {spreadsheet}: {reason}")?;
        }
    }
    Ok(if stopped || !unreached.is_empty() {
        Exit::Failed
    } else if snapshot.totals.parked > 0 || refused > 0 {
        Exit::Left
    } else {
        Exit::Done
    })
}

async fn count(mut events: Receiver<LaneEvent>, bar: ProgressBar) {
    let mut written = 0;
    loop {
        match events.recv().await {
            Ok(LaneEvent::Written { source, .. }) => {
                written += 1;
                bar.set_position(written);
                bar.set_message(source.path.to_string());
            }
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

/// Hidden by itself where stderr is no terminal.
fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{spinner} [{bar:30}] {pos}/{len} {wide_msg}");
    bar.set_style(
        style
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> "),
    );
    bar.set_message("comparing folders");
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
