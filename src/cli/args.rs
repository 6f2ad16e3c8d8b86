//! The arguments as types; no behaviour.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// Drop an image in a folder; see it in a spreadsheet cell.
#[derive(Debug, Parser)]
#[command(name = "pixcell", version = env!("PIXCELL_VERSION"), max_term_width = 100)]
pub struct Args {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

/// Understood by every command.
#[derive(Debug, Clone, clap::Args)]
pub struct Common {
    #[arg(
        long,
        short,
        global = true,
        value_name = "FILE",
        help = "The configuration [default: $PIXCELL_CONFIG, ./pixcell.yaml, /etc/pixcell/config.yaml]"
    )]
    pub config: Option<PathBuf>,
    /// Log more; twice: everything
    #[arg(long, short, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Log warnings and errors only
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "auto",
        help = "How logs look; $RUST_LOG selects them more finely"
    )]
    pub log_format: LogFormat,
}

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// To the journal with fields when stderr goes there, as under systemd; else as text
    Auto,
    /// Lines for people, in colour on a terminal
    Text,
    /// A JSON object a line
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch the folders and keep the cells up to date, until told to stop
    Run,
    /// Bring all cells up to date once, then end
    ///
    /// Ends with exit code 3 when some files could not be written because of what they are or where
    /// they should go, and with 1 when a document could not be written at all.
    Sync(Sync),
    /// Write a first configuration, with every key explained
    ///
    /// What no flag says is asked for on a terminal. No secret goes into the file.
    Init(Init),
    /// Check the configuration
    Check(Check),
    /// Show what `sync` would write and why, without a call
    ///
    /// Lists every file with its rule, its slot and what would become of it, and counts the calls:
    /// writes, reads of documents and rows, and one for a token. It assumes that nothing fails, that no
    /// row has moved and that no sheet is full. Files that pixcell has not seen are read to know their
    /// content.
    Plan(Plan),
    /// Show what is written, waiting, parked and rejected
    Status(Status),
    /// Show what was written when, with revisions; the newest first
    History(History),
    /// Try parked jobs again, and what is behind a closed gate
    Retry(Retry),
    /// Have the running daemon compare all folders now
    Rescan(Rescan),
    /// Try pixcell without an account: a stand-in for the API, a folder, and sample pictures
    Demo(Demo),
    /// Run the stand-in for the API alone
    Sandbox(Sandbox),
    /// Print a completion script for a shell
    Completions(Completions),
    /// Print the manual page
    Man,
}

#[derive(Debug, Clone, clap::Args)]
pub struct Sync {
    /// Print the outcome as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, clap::Args)]
pub struct Init {
    /// The app's id, from the developer console
    #[arg(long, value_name = "ID")]
    pub app_id: Option<String>,
    /// The spreadsheet's address as the browser shows it, or its token
    #[arg(long, value_name = "URL")]
    pub spreadsheet: Option<String>,
    /// The folder to watch
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// The API's address [default: Lark's for a spreadsheet of Lark, else Feishu's]
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// The file that will hold the app's secret [default: one beside the configuration]
    #[arg(long, value_name = "FILE")]
    pub app_secret_file: Option<String>,
    /// Name no file: systemd or the environment hands over the secret
    #[arg(long, conflicts_with = "app_secret_file")]
    pub no_app_secret_file: bool,
    /// The file to write [default: that of --config, else pixcell.yaml]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Replace a file that is there
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Clone, clap::Args)]
pub struct Check {
    /// Also ask the API: credentials, documents, sheets, grids, merged cells, sheets with two names
    #[arg(long)]
    pub online: bool,
    /// Also wait until the running daemon has taken it up; fails when the daemon does not
    #[arg(long, conflicts_with = "online")]
    pub in_force: bool,
}

#[derive(Debug, Clone, clap::Args)]
pub struct Plan {
    /// Print the plan as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, clap::Args)]
pub struct Status {
    /// Print everything as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, clap::Args)]
pub struct History {
    /// A file's path below its folder, or a cell such as B2 [default: everything]
    #[arg(value_name = "PATH or CELL")]
    pub about: Option<String>,
    /// Print so many lines at most
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub most: usize,
    /// Print the lines as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, clap::Args)]
pub struct Retry {
    /// A file's path below its folder, or a cell such as B2
    #[arg(value_name = "PATH or CELL", required_unless_present = "all")]
    pub about: Option<String>,
    /// Everything that is parked
    #[arg(long, conflicts_with = "about")]
    pub all: bool,
    /// Print how many as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, clap::Args)]
pub struct Rescan {
    /// Print how many as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, clap::Args)]
pub struct Demo {
    /// End when all sample pictures are in their cells
    #[arg(long)]
    pub once: bool,
    /// The folder to watch; made if it is missing [default: a fresh one]
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// Where the page is served; loopback only
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
}

#[derive(Debug, Clone, clap::Args)]
pub struct Sandbox {
    /// Where it listens; loopback only
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8480")]
    pub listen: SocketAddr,
    /// The app's id
    #[arg(long, default_value = "cli_sandbox")]
    pub app_id: String,
    /// The app's secret, made up like everything here
    #[arg(long, default_value = "sandbox-secret")]
    pub app_secret: String,
    /// A document's token; may be given several times
    #[arg(
        long = "spreadsheet",
        value_name = "TOKEN",
        default_value = "SandboxSpreadsheet"
    )]
    pub spreadsheets: Vec<String>,
    /// The title of each document's first sheet
    #[arg(long, value_name = "TITLE", default_value = "Sheet1")]
    pub sheet: String,
    /// Calls a second that it allows
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub requests_per_second: u32,
    /// How long every call takes at least
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    pub latency: std::time::Duration,
}

#[derive(Debug, Clone, clap::Args)]
pub struct Completions {
    /// The shell
    pub shell: Shell,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Args::command().debug_assert();
    }
}
