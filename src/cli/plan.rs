//! `pixcell plan`: what a pass would send and why, from the running daemon, or from the store when none
//! runs. Makes no call and changes nothing.

use std::collections::BTreeSet;
use std::io::{self, Write};

use bytesize::ByteSize;
use unicode_width::UnicodeWidthStr;

use super::args::{Common, Plan as Args};
use super::exit::{Exit, Failure};
use super::run::block_on;
use super::{load, output, state, stdout};
use crate::service::{Ask, DaemonError, MappingPlan, Plan, PlannedFile, Silent, Verdict, plan};

/// In the order in which they are counted.
const VERDICTS: [(Verdict, &str); 7] = [
    (Verdict::Write, "write"),
    (Verdict::Same, "same"),
    (Verdict::Older, "older"),
    (Verdict::Waiting, "waiting"),
    (Verdict::Parked, "parked"),
    (Verdict::Rejected, "rejected"),
    (Verdict::Ignored, "ignored"),
];
/// Widest that a file or place makes its column, in columns of a terminal.
const WIDEST: usize = 48;

/// Prints what `sync` would do with every file.
///
/// # Errors
/// When the configuration is wrong, or neither daemon nor store answers.
pub fn run(common: &Common, args: &Args) -> Result<Exit, Failure> {
    let setup = load::setup(common.config.as_deref())?;
    let (dir, encoding) = (&setup.config.state_dir, setup.config.feishu.image_encoding);
    let planned: Plan = if let Some(planned) = state::daemon(dir, &Ask::Plan)? {
        planned
    } else {
        let looked = dir.exists().then(|| state::look(dir)).transpose()?;
        let (store, _copy) = looked.unzip();
        let (stuck, silent) = (BTreeSet::new(), Silent::default());
        let planning = plan(store, &setup.routes, encoding, &stuck, &silent);
        block_on(planning)?.map_err(DaemonError::from)?
    };
    let mut out = stdout::lock();
    if args.json {
        let text = serde_json::to_string_pretty(&planned).map_err(anyhow::Error::from)?;
        writeln!(out, "{text}")?;
    } else {
        print(&mut out, &planned)?;
    }
    Ok(Exit::Done)
}

fn print(out: &mut impl Write, plan: &Plan) -> io::Result<()> {
    for mapping in &plan.mappings {
        print_mapping(out, mapping)?;
    }
    let totals = &plan.totals;
    let counted: Vec<_> = VERDICTS
        .iter()
        .filter_map(|(verdict, word)| {
            let count = totals.files.get(verdict).filter(|count| **count > 0)?;
            Some(format!("{count} {word}"))
        })
        .collect();
    writeln!(
        out,
        "{}",
        if counted.is_empty() {
            "no files".to_owned()
        } else {
            counted.join(", ")
        }
    )?;
    writeln!(
        out,
        "sync would make {}: {}, {}, {}; {} of pictures, about {} to upload",
        output::count(totals.calls(), "call"),
        output::count(totals.writes, "write"),
        output::count(totals.reads, "read"),
        output::count(totals.tokens, "token"),
        ByteSize(totals.picture_bytes).display().iec(),
        ByteSize(totals.body_bytes).display().iec(),
    )
}

fn print_mapping(out: &mut impl Write, mapping: &MappingPlan) -> io::Result<()> {
    let MappingPlan {
        name,
        folder,
        spreadsheet,
        sheet,
        ..
    } = mapping;
    writeln!(out, "{name}: {folder} -> {sheet} of {spreadsheet}")?;
    if let Some(why) = &mapping.unlisted {
        writeln!(out, "  not all of it is listed here: {why}")?;
    }
    let width = |text: fn(&PlannedFile) -> &str| {
        let widths = mapping.files.iter().map(|file| text(file).width());
        widths.max().unwrap_or(0).min(WIDEST)
    };
    let (files, places) = (width(|file| &file.file), width(place));
    for file in &mapping.files {
        let rule = file
            .rule
            .map_or(String::new(), |rule| format!("rule {}: ", rule + 1));
        let verdict = VERDICTS
            .iter()
            .find(|(verdict, _)| *verdict == file.verdict)
            .map_or("", |(_, word)| word);
        writeln!(
            out,
            "  {verdict:<8}  {}  {}  {rule}{}",
            padded(&file.file, files),
            padded(place(file), places),
            file.why
        )?;
    }
    writeln!(out)
}

/// The cell where it is known, else the slot.
fn place(file: &PlannedFile) -> &str {
    let cell = file.cell.as_deref().or(file.slot.as_deref());
    cell.unwrap_or("-")
}

/// Filled to a width on a terminal, which counts some letters double.
fn padded(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(text.width());
    format!("{text}{}", " ".repeat(missing))
}
