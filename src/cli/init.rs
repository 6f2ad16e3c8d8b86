//! `pixcell init`: writes a first configuration, from flags or from answers on a terminal. No secret goes
//! into it, and nothing that `pixcell check` would refuse is written.

use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{self, Path, PathBuf};

use anyhow::{Context, anyhow};
use tempfile::Builder;

use super::args::{Common, Init};
use super::exit::{Exit, Failure};
use super::stdout;
use crate::config::{
    Environment, LOCAL_FILE, MappingName, Problem, Source, SpreadsheetLink, Starter, endpoint_for,
};
use crate::placement::load;

/// The file's mode before the umask: it holds no secret, and a service's user reads it.
const MODE: u32 = 0o644;
/// The secret's file, beside the configuration.
const SECRET_FILE: &str = "app_secret";
/// The mapping's name when the folder's cannot be one.
const NAME: &str = "pictures";

/// Writes a configuration.
///
/// # Errors
/// When something is missing and nobody can be asked, the result would be wrong, there is a file
/// already, or it cannot be written.
pub fn run(common: &Common, args: &Init) -> Result<Exit, Failure> {
    let env = Environment::from_process()?;
    let named = args.output.as_deref().or(common.config.as_deref());
    let path = env.current_dir.join(named.unwrap_or(Path::new(LOCAL_FILE)));
    // Told before anything is asked; the one that counts is made when the file gets its name.
    if !args.force && path.symlink_metadata().is_ok() {
        return Err(usage(exists(&path)));
    }
    let starter = answers(args, &env)?;
    let warnings = checked(&path, &starter, &env)?;
    write(&path, &starter.text(), args.force)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    next_steps(&path, &starter)?;
    Ok(Exit::Done)
}

/// What goes into the file: from flags, and what they leave out from whoever sits at the terminal.
fn answers(args: &Init, env: &Environment) -> Result<Starter, Failure> {
    let missing: Vec<_> = [
        ("--app-id", args.app_id.is_none()),
        ("--spreadsheet", args.spreadsheet.is_none()),
        ("--folder", args.folder.is_none()),
    ]
    .iter()
    .filter_map(|(flag, is_missing)| is_missing.then_some(*flag))
    .collect();
    let somebody = io::stdin().is_terminal() && io::stdout().is_terminal();
    if !missing.is_empty() && !somebody {
        let missing = missing.join(" and ");
        return Err(usage(anyhow!(
            "{missing} must be given, since there is no terminal to ask on"
        )));
    }
    let given = |flag: &Option<String>, question, check: fn(&str) -> Result<(), String>| match flag
    {
        Some(value) => Ok(value.clone()),
        None => ask(question, check),
    };
    let app_id = given(
        &args.app_id,
        "The app's id, from the developer console (cli_...)",
        not_empty,
    )?;
    let spreadsheet = given(
        &args.spreadsheet,
        "The spreadsheet's address, as the browser shows it",
        |text| {
            let link = text.parse::<SpreadsheetLink>();
            link.map(drop)
                .map_err(|error| format!("{error}; {}", error.help()))
        },
    )?;
    let folder = match &args.folder {
        Some(folder) => folder.clone(),
        None => ask("The folder to watch", not_empty)?.into(),
    };
    let folder = absolute(&folder, env)?;
    let name = Path::new(&folder)
        .file_name()
        .and_then(|name| name.to_str());
    let name = name.map(str::to_lowercase).unwrap_or_default();
    let name = MappingName::try_from(name);
    let link = spreadsheet.parse::<SpreadsheetLink>().ok();
    let secret = args.app_secret_file.as_deref().unwrap_or(SECRET_FILE);
    Ok(Starter {
        endpoint: match &args.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => endpoint_for(link.as_ref()).to_owned(),
        },
        app_id,
        app_secret_file: (!args.no_app_secret_file).then(|| secret.to_owned()),
        name: name.map_or_else(|_| NAME.to_owned(), |name| name.to_string()),
        folder,
        spreadsheet,
    })
}

fn ask(question: &str, check: fn(&str) -> Result<(), String>) -> Result<String, Failure> {
    let (mut out, mut lines) = (stdout::lock(), io::stdin().lock().lines());
    loop {
        write!(out, "{question}: ")?;
        out.flush()?;
        let Some(line) = lines.next().transpose()? else {
            return Err(usage(anyhow!("there was no answer; nothing is written")));
        };
        let answer = line.trim();
        match check(answer) {
            Ok(()) => return Ok(answer.to_owned()),
            Err(why) => writeln!(out, "  {why}")?,
        }
    }
}

fn not_empty(text: &str) -> Result<(), String> {
    if text.is_empty() {
        Err("this is needed".into())
    } else {
        Ok(())
    }
}

/// The folder from the root, since the file may lie elsewhere than where the command was called;
/// `~/` is left to whoever reads the file.
fn absolute(folder: &Path, env: &Environment) -> Result<String, Failure> {
    let folder = if folder.starts_with("~") {
        folder.to_owned()
    } else {
        path::absolute(env.current_dir.join(folder))?
    };
    folder.to_str().map(str::to_owned).ok_or_else(|| {
        usage(anyhow!(
            "the folder's name {} is not UTF-8, which a configuration has to be; rename it",
            folder.display()
        ))
    })
}

/// Insists that `check` will take the result once the secret is in its file; tells what deserves a look.
fn checked(path: &Path, starter: &Starter, env: &Environment) -> Result<Vec<String>, Failure> {
    let without_secret = Starter {
        app_secret_file: None,
        ..starter.clone()
    };
    let env = Environment {
        app_secret: Some("-".into()),
        ..env.clone()
    };
    let source = Source::from_text(path, without_secret.text());
    match load(&source, &env) {
        Ok(loaded) => Ok(loaded.warnings.iter().map(Problem::line).collect()),
        Err(error) => {
            let told: Vec<_> = error.problems().iter().map(Problem::line).collect();
            Err(usage(anyhow!(
                "nothing is written, because it would be wrong:\n{}",
                told.join("\n")
            )))
        }
    }
}

/// All of the file or nothing, and over an existing one only when `force` says so.
fn write(path: &Path, text: &str, force: bool) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let cannot = || format!("cannot write {}", path.display());
    let mut file = Builder::new()
        .prefix(".pixcell-")
        .permissions(fs::Permissions::from_mode(MODE))
        .tempfile_in(folder)
        .with_context(cannot)?;
    file.write_all(text.as_bytes()).with_context(cannot)?;
    file.as_file().sync_all().with_context(cannot)?;
    let named = if force {
        file.persist(path)
    } else {
        file.persist_noclobber(path)
    };
    match named {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            Err(usage(exists(path)))
        }
        Err(error) => Err(error.error).with_context(cannot).map_err(Into::into),
    }
}

fn next_steps(path: &Path, starter: &Starter) -> io::Result<()> {
    let mut out = stdout::lock();
    let shown = path.display();
    writeln!(out, "wrote {shown}\n\nNext:")?;
    let secret = match &starter.app_secret_file {
        Some(file) => {
            let file: PathBuf = path.parent().unwrap_or(path).join(file);
            format!("put the app's secret into {}, mode 0600", file.display())
        }
        None => "hand over the app's secret, as the file says".to_owned(),
    };
    writeln!(out, "- {secret};")?;
    writeln!(
        out,
        "- share the spreadsheet with the app, so that it may edit;"
    )?;
    writeln!(out, "- change the rules in the file to what you need;")?;
    writeln!(out, "- pixcell check --online --config '{shown}'")
}

fn exists(path: &Path) -> anyhow::Error {
    anyhow!(
        "{} is there already; write to another file with `--output FILE`, or replace it with `--force`",
        path.display()
    )
}

fn usage(error: anyhow::Error) -> Failure {
    Failure {
        exit: Exit::Usage,
        error,
    }
}
