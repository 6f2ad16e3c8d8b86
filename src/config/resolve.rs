//! From the tree to a [`Config`]: fills in defaults, checks ranges, and checks what one key means
//! for another. Every problem of a file is told, not the first.

mod feishu;
mod mapping;
mod status;

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub(super) use self::feishu::product;
use self::mapping::Resolved;
use super::check::RuleCheck;
use super::environment::Environment;
use super::keypath::KeyPath;
use super::model::{Backend, Config, Control, Mapping, Watch};
use super::problem::{ConfigError, Problem};
use super::raw::{self, Node};
use super::section::{Notes, Section, Value};
use super::source::Source;
use super::{defaults, keys, syntax, units};

/// The least time between two listings.
pub const LEAST_POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The longest quiet time: a file that is still after it is as whole as it gets.
pub const MOST_SETTLE: Duration = Duration::from_mins(10);
/// The least time between two full comparisons.
pub const LEAST_RESCAN_EVERY: Duration = Duration::from_secs(10);

/// A configuration that can be used, with what deserves a look.
#[derive(Debug)]
pub struct Parsed {
    /// The configuration.
    pub config: Config,
    /// Told to the person, in the file's order; none of them stops the program.
    pub warnings: Vec<Problem>,
}

/// Reads a configuration. Opens no file but those of secrets, of the user's token and of the
/// certificate authority.
///
/// # Errors
/// With every problem of the file, in the file's order.
pub fn parse(
    source: &Source,
    env: &Environment,
    check: &dyn RuleCheck,
) -> Result<Parsed, ConfigError> {
    let tree = raw::read(source.text()).map_err(|refusal| {
        let syntax::Explained {
            place,
            message,
            help,
            ..
        } = syntax::explain(source.text(), &refusal);
        ConfigError::Wrong(vec![source.problem(
            place,
            KeyPath::default(),
            message,
            help,
        )])
    })?;
    let notes = Notes::new(source);
    let config = root(&notes, &tree, env, check);
    let (mut problems, warnings) = notes.into_lists();
    match config {
        Some(config) if problems.is_empty() => Ok(Parsed { config, warnings }),
        _ => {
            // Every reader that gives up has noted why; should one not, the file is refused all the same.
            if problems.is_empty() {
                let message = "this configuration cannot be used".to_owned();
                problems.push(source.problem(None, KeyPath::default(), message, None));
            }
            Err(ConfigError::Wrong(problems))
        }
    }
}

fn root<'a>(
    notes: &'a Notes<'a>,
    tree: &'a Node,
    env: &Environment,
    check: &dyn RuleCheck,
) -> Option<Config> {
    let value = Value::root(notes, tree);
    if let Node::Null = tree {
        return value.problem(
            "the file says nothing",
            "start from `config.example.yaml`, which shows every key",
        );
    }
    let top = value.section(&keys::ROOT)?;
    let state_dir = state_dir(&top, env);
    let feishu = if top.has("feishu") {
        feishu::resolve(&top.section("feishu", &keys::FEISHU), env)
    } else {
        let help = "write `feishu:` and below it the app's id, as `  app_id: cli_a1b2c3d4`";
        top.none_given("feishu", help);
        None
    };
    let watch = watch(&top.section("watch", &keys::WATCH), defaults::WATCH);
    let status = status::resolve(&top.section("status", &keys::STATUS), env);
    let control = control(&top.section("control", &keys::CONTROL), env);
    let mappings = mappings(&top, env, watch, check);

    distinct_names(notes, &mappings);
    nested_folders(notes, &mappings);
    if let Some(state_dir) = &state_dir {
        state_outside_folders(&top, state_dir, &mappings);
    }
    if let Some(feishu) = &feishu {
        feishu::one_product(notes, &feishu.endpoint, &mappings);
    }
    let whole: Option<Vec<Arc<Mapping>>> = mappings
        .into_iter()
        .map(|resolved| resolved.mapping.map(Arc::new))
        .collect();
    Some(Config {
        state_dir: state_dir?,
        control: control?,
        feishu: feishu?,
        status: status?,
        mappings: whole?,
    })
}

fn state_dir(top: &Section<'_>, env: &Environment) -> Option<PathBuf> {
    if top.has("state_dir") {
        return top.get("state_dir")?.path(env);
    }
    let default = env.default_state_dir();
    if default.is_none() {
        top.notes.problem(
            &top.path.key("state_dir"),
            "is missing, and neither $STATE_DIRECTORY, $XDG_STATE_HOME nor $HOME is set",
            "say where the state is kept, as in `state_dir: /var/lib/pixcell`",
        );
    }
    // The variables may be relative, the state may not.
    default.map(|path| env.current_dir.join(path))
}

/// Whether this machine has the group is the daemon's concern: it may be made later.
fn control(section: &Section<'_>, env: &Environment) -> Option<Control> {
    let group = match section.get("group") {
        Some(value) => Some(value.text()?),
        None => None,
    };
    let runtime_dir = env.runtime_dir().map(|dir| env.current_dir.join(dir));
    Some(Control { group, runtime_dir })
}

/// A `watch` block over the values that hold without it. What is wrong is noted, and the value
/// above holds so that the rest can be checked.
fn watch(section: &Section<'_>, above: Watch) -> Watch {
    let words = [
        ("auto", Backend::Auto),
        ("native", Backend::Native),
        ("poll", Backend::Poll),
    ];
    let duration = |key, least, most, above| {
        section
            .get(key)
            .and_then(|value| value.duration(least, most))
            .unwrap_or(above)
    };
    Watch {
        backend: section
            .get("backend")
            .and_then(|value| value.word(&words))
            .unwrap_or(above.backend),
        poll_interval: duration(
            "poll_interval",
            LEAST_POLL_INTERVAL,
            units::LONGEST,
            above.poll_interval,
        ),
        settle: duration("settle", Duration::ZERO, MOST_SETTLE, above.settle),
        rescan_every: duration(
            "rescan_every",
            LEAST_RESCAN_EVERY,
            units::LONGEST,
            above.rescan_every,
        ),
    }
}

fn mappings(
    top: &Section<'_>,
    env: &Environment,
    watch: Watch,
    check: &dyn RuleCheck,
) -> Vec<Resolved> {
    let list = match top.get_block("mappings") {
        Some(value) => value.list(),
        None => Some(Vec::new()),
    };
    if list.as_ref().is_some_and(Vec::is_empty) {
        top.notes.problem(
            &top.path.key("mappings"),
            if top.has("mappings") { "has no entry" } else { "is missing" },
            "at least one mapping says which folder feeds which spreadsheet; `config.example.yaml` shows one",
        );
    }
    let entries = list.unwrap_or_default();
    entries
        .iter()
        .map(|entry| mapping::resolve(entry, env, watch, check))
        .collect()
}

fn distinct_names(notes: &Notes<'_>, mappings: &[Resolved]) {
    let mut seen = HashMap::new();
    for resolved in mappings {
        let Some(name) = &resolved.name else { continue };
        let at = resolved.path.key("name");
        if let Some(first) = seen.get(name) {
            let line = notes
                .line(first)
                .map_or_else(String::new, |line| format!(" in line {line}"));
            notes.problem(
                &at,
                format!("the mapping{line} is called \"{name}\" already"),
                "give each mapping a name of its own",
            );
        } else {
            seen.insert(name, at);
        }
    }
}

/// One folder in another: each file in the inner one is looked at by both mappings.
fn nested_folders(notes: &Notes<'_>, mappings: &[Resolved]) {
    for inner in mappings {
        let Some(folder) = inner.folder.as_deref().map(straight) else {
            continue;
        };
        let holds = |outer: &&Resolved| {
            let recursive = outer
                .mapping
                .as_ref()
                .is_some_and(|mapping| mapping.recursive);
            let outer = outer.folder.as_deref().map(straight);
            recursive && outer.is_some_and(|outer| folder != outer && folder.starts_with(outer))
        };
        if let Some(outer) = mappings.iter().find(holds) {
            let name = outer
                .name
                .as_ref()
                .map_or_else(String::new, |name| format!(" \"{name}\""));
            notes.warning(
                &inner.path.key("folder"),
                format!("lies inside the folder of the mapping{name}: both look at its files"),
                "if only one should, add this folder to the `ignore` of the other, or set `recursive: false` there",
            );
        }
    }
}

/// The daemon would see its own writes as changes.
fn state_outside_folders(top: &Section<'_>, state_dir: &Path, mappings: &[Resolved]) {
    let state = straight(state_dir);
    for resolved in mappings {
        let Some(folder) = resolved.folder.as_deref() else {
            continue;
        };
        if !state.starts_with(straight(folder)) {
            continue;
        }
        let at = if top.has("state_dir") {
            top.path.key("state_dir")
        } else {
            resolved.path.key("folder")
        };
        top.notes.problem(
            &at,
            format!(
                "the state would be kept in {}, inside the watched folder {}: the daemon would watch itself",
                state_dir.display(),
                folder.display()
            ),
            "put `state_dir` elsewhere, as in `state_dir: /var/lib/pixcell`",
        );
    }
}

/// The path with `..` resolved by its text alone, for comparisons: links are not followed, since a
/// dead network share must not hang the reading of a configuration.
fn straight(path: &Path) -> PathBuf {
    path.components()
        .fold(PathBuf::new(), |mut straight, part| {
            if part == Component::ParentDir {
                straight.pop();
            } else {
                straight.push(part);
            }
            straight
        })
}
