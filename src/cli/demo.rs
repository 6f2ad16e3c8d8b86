//! `pixcell demo`: the stand-in for the API, a folder with sample pictures, and the daemon over it. No
//! account, no configuration.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::args;
use super::exit::{Exit, Failure};
use super::load;
use super::output;
use super::pictures;
use super::run::block_on;
use super::sandbox::document;
use super::stdout;
use crate::config::{Environment, Source};
use crate::sandbox::{Options, Sandbox};
use crate::service::{self, LaneEvent, Mode, Parts};

const SPREADSHEET: &str = "DemoSpreadsheet";
const SHEET: &str = "Lobby";

/// Runs the demo until Ctrl-C, or until all samples are in their cells.
///
/// # Errors
/// When its folder or its server cannot be made, or the daemon fails.
pub fn run(args: &args::Demo) -> Result<Exit, Failure> {
    let mut intents = service::intents()?;
    let home = home()?;
    let folder = args.folder.clone().unwrap_or_else(|| home.join("pictures"));
    fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let folder = folder.canonicalize()?;
    let samples = pictures::draw_all(&folder)
        .with_context(|| format!("cannot write sample pictures into {}", folder.display()))?;
    let done = block_on(async {
        let sandbox = Sandbox::start(Options {
            addr: args.listen,
            documents: vec![document(SPREADSHEET, SHEET)],
            hint: format!(
                "Name a picture after a cell, as C7.png, and drop it into {}",
                folder.display()
            ),
            ..Options::default()
        })
        .await
        .with_context(|| format!("cannot serve the stand-in on {}", args.listen))?;
        let config = home.join("pixcell.yaml");
        let text = configuration(&sandbox.url(), &folder);
        write_private(&config, &text)?;
        let source = Source::from_text(&config, text);
        let setup = load::of(&source, &Environment::from_process()?)?;
        introduce(&folder, &sandbox, args.once)?;
        let events = Parts::events();
        let printed = tokio::spawn(print(events.subscribe()));
        let mode = if args.once { Mode::Pass } else { Mode::Serve };
        let parts = Parts {
            role: "pixcell demo",
            mode,
            intents: &mut intents,
            reload: &|| Err("the demo keeps its configuration".into()),
            events: events.clone(),
            ready: &|| {},
            left: &|_| {},
        };
        drop(events);
        let outcome = service::run(setup, parts).await;
        let written = printed.await.unwrap_or(0);
        sandbox.stop().await;
        outcome.map(|_| written).map_err(Failure::from)
    })??;
    let ours = args.folder.is_none();
    let mut out = stdout::lock();
    if args.once {
        if ours {
            fs::remove_dir_all(&home)?;
        }
        writeln!(
            out,
            "\n{done} of {} in their cells",
            output::count(samples as u64, "picture")
        )?;
        return Ok(if done == samples {
            Exit::Done
        } else {
            Exit::Failed
        });
    }
    writeln!(out, "\nthe pictures stay in {}", folder.display())?;
    Ok(Exit::Done)
}

/// A fresh folder for configuration, state and pictures.
fn home() -> io::Result<PathBuf> {
    let home = std::env::temp_dir().join(format!("pixcell-demo-{}", std::process::id()));
    // Fails when it exists: nothing of another's is used.
    fs::DirBuilder::new().mode(0o700).create(&home)?;
    Ok(home)
}

fn configuration(endpoint: &str, folder: &Path) -> String {
    let folder = serde_json::Value::from(folder.to_string_lossy());
    format!(
        r#"# The demo's configuration: the stand-in takes the API's place.
state_dir: state
feishu:
  endpoint: {endpoint}
  app_id: cli_sandbox
  app_secret: sandbox-secret
mappings:
  - name: demo
    folder: {folder}
    spreadsheet: {SPREADSHEET}
    sheet: {SHEET}
    rules:
      - files: "poster.{{png,jpg}}"
        cell: B2
      - files: "camera-{{n:int}}.{{jpg,jpeg}}"
        cell: "D{{n+1}}"
      - files: "*sunset.png"
        cell: B5
      - files: "{{cell:[a-zA-Z]{{1,3}}[0-9]+}}.{{png,jpg,jpeg,gif,bmp}}"
        cell: "{{cell}}"
"#
    )
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}

fn introduce(folder: &Path, sandbox: &Sandbox, once: bool) -> io::Result<()> {
    let mut out = stdout::lock();
    writeln!(out, "folder: {}", folder.display())?;
    writeln!(out, "page:   {}", sandbox.page_url())?;
    if !once {
        writeln!(out, "\nOpen the page, then drop pictures into the folder:")?;
        writeln!(
            out,
            "  poster.png -> B2, camera-3.jpg -> D4, or any cell's name, as C7.png -> C7"
        )?;
        writeln!(out, "Ctrl-C ends it.")?;
    }
    writeln!(out)?;
    out.flush()
}

async fn print(mut events: Receiver<LaneEvent>) -> usize {
    let mut written = 0;
    loop {
        match events.recv().await {
            Ok(event) => {
                written += usize::from(matches!(event, LaneEvent::Written { .. }));
                if let Some(line) = output::event(&event) {
                    // What cannot be printed is no reason to end the demo.
                    let _ = writeln!(stdout::lock(), "{line}");
                }
            }
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return written,
        }
    }
}
