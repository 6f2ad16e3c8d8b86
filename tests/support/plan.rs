//! What a rig is made of: the sandbox's options and the configuration, as text.

use std::fmt::Write as _;

use pixcell::sandbox::{DocumentSpec, Options, SheetSpec};

/// The app's secret in every rig; no output may hold it.
pub const SECRET: &str = "rig-secret-b5c0a1e7d3";
/// The document, sheet and folder that a rig has unless it says otherwise.
pub const DOC: &str = "DocLobby";
pub const SHEET: &str = "Q7PlXT";
pub const FOLDER: &str = "in";

/// What a rig is made of.
#[derive(Clone)]
pub struct Plan {
    /// The sandbox's.
    pub sandbox: Options,
    /// What the configuration says; may differ from the sandbox's.
    pub secret: String,
    /// Further lines below `feishu:`.
    pub feishu: Vec<String>,
    /// Lines of their own, as `status: {listen: "127.0.0.1:0"}`.
    pub top: Vec<String>,
    /// Below `watch:`.
    pub watch: String,
    pub mappings: Vec<Mapping>,
    /// Before the subcommand.
    pub args: Vec<&'static str>,
    /// The program with its arguments that the daemon is started by, if any.
    pub through: Vec<&'static str>,
    /// Further variables of the daemon.
    pub env: Vec<(&'static str, String)>,
    /// Whether a task is made to panic.
    pub panics: bool,
    /// Whether the sandbox is there from the start.
    pub online: bool,
}

/// One mapping of the configuration.
#[derive(Clone)]
pub struct Mapping {
    pub name: String,
    pub folder: String,
    pub spreadsheet: String,
    pub sheet: String,
    /// Further lines.
    pub lines: Vec<String>,
    /// Rules of other kinds as they are written, before those of `rules`.
    pub places: Vec<String>,
    /// Pattern and cell.
    pub rules: Vec<(String, String)>,
}

impl Mapping {
    /// A folder whose files are named after their cells.
    pub fn new(name: &str, folder: &str, spreadsheet: &str) -> Self {
        Self {
            name: name.into(),
            folder: folder.into(),
            spreadsheet: spreadsheet.into(),
            sheet: SHEET.into(),
            lines: Vec::new(),
            places: Vec::new(),
            rules: vec![rule("{cell:[A-Za-z]{1,3}[0-9]+}.{png,jpg,jpeg}", "{cell}")],
        }
    }

    /// Adds a rule before the others.
    #[must_use]
    pub fn rule(mut self, files: &str, cell: &str) -> Self {
        self.rules.insert(0, rule(files, cell));
        self
    }

    /// Adds a rule as it is written, as `{ files: "*.jpg", append: { column: B } }`.
    #[must_use]
    pub fn place(mut self, rule: &str) -> Self {
        self.places.push(rule.into());
        self
    }

    /// Adds a line, as `min_interval: 1s`.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.into());
        self
    }
}

fn rule(files: &str, cell: &str) -> (String, String) {
    (files.into(), cell.into())
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            sandbox: Options {
                app_id: "cli_rig".into(),
                app_secret: SECRET.into(),
                documents: vec![document(DOC)],
                // Tests that run beside others must not be held to the wall clock of a real app.
                requests_per_second: 1_000,
                ..Options::default()
            },
            secret: SECRET.into(),
            feishu: Vec::new(),
            top: Vec::new(),
            watch: "settle: 150ms".into(),
            mappings: vec![Mapping::new("lobby", FOLDER, DOC)],
            args: vec!["-v"],
            through: Vec::new(),
            env: Vec::new(),
            panics: false,
            online: true,
        }
    }
}

/// A document with one sheet of 200 rows and 20 columns.
pub fn document(token: &str) -> DocumentSpec {
    DocumentSpec::new(token).sheet(SheetSpec::new(SHEET, "Lobby"))
}

impl Plan {
    /// The configuration for a sandbox at this address.
    pub fn yaml(&self, endpoint: &str) -> String {
        let mut text = format!(
            "state_dir: state\nfeishu:\n  endpoint: {endpoint}\n  app_id: cli_rig\n  app_secret: {}\n",
            self.secret
        );
        for line in &self.feishu {
            writeln!(text, "  {line}").unwrap();
        }
        for line in &self.top {
            writeln!(text, "{line}").unwrap();
        }
        writeln!(text, "watch: {{ {} }}\nmappings:", self.watch).unwrap();
        for mapping in &self.mappings {
            let Mapping {
                name,
                folder,
                spreadsheet,
                sheet,
                ..
            } = mapping;
            writeln!(
                text,
                "  - name: {name}\n    folder: {folder}\n    spreadsheet: {spreadsheet}\n    sheet: {sheet}"
            )
            .unwrap();
            for line in &mapping.lines {
                writeln!(text, "    {line}").unwrap();
            }
            writeln!(text, "    rules:").unwrap();
            for rule in &mapping.places {
                writeln!(text, "      - {rule}").unwrap();
            }
            for (files, cell) in &mapping.rules {
                writeln!(text, "      - files: {files:?}\n        cell: {cell:?}").unwrap();
            }
        }
        text
    }
}
