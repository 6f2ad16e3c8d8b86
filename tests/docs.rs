//! What the documents say of the repository is compared with it: paths, commands, configurations.

// A test fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};

use pixcell::config::{Environment, Source};
use pixcell::placement::{Loaded, Placement, RelPath, Slot, load};
use regex::Regex;

const DOCUMENTS: [&str; 7] = [
    "README.md",
    "README.zh-CN.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/operating.md",
    "docs/writers.md",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What the first group of `pattern` matches in `text`.
fn all<'a>(pattern: &str, text: &'a str) -> Vec<&'a str> {
    Regex::new(pattern)
        .unwrap()
        .captures_iter(text)
        .map(|found| found.get(1).unwrap().as_str())
        .collect()
}

/// The lines of all fenced blocks of this language.
fn blocks<'a>(language: &str, text: &'a str) -> Vec<&'a str> {
    all(&format!(r"(?s)```{language}\n(.*?)```"), text)
}

#[test]
fn every_path_that_the_documents_name_exists() {
    let ours = Regex::new(
        r"^((src|tests|benches|docs|examples|packaging|systemd|\.ci)/[\w./-]*|[\w-]+\.(md|toml|rs)|config\.example\.yaml|LICENSE-\w+)$",
    )
    .unwrap();
    for document in DOCUMENTS {
        let text = read(document);
        let quoted = all(r"`([^`\n]+)`", &text);
        let linked = all(r"\]\(([^)\s]+)\)", &text);
        let named: Vec<&str> = quoted
            .into_iter()
            .chain(linked)
            .filter(|name| ours.is_match(name))
            .collect();
        assert!(!named.is_empty(), "{document} names {named:?}");
        for name in named {
            assert!(root().join(name).exists(), "{document} names {name}");
        }
    }
}

#[test]
fn the_checks_run_the_test_command_of_the_readme() {
    let readme = read("README.md");
    let commands: Vec<&str> = blocks("sh", &readme)
        .into_iter()
        .flat_map(str::lines)
        .filter(|line| line.starts_with("cargo test"))
        .collect();
    assert_eq!(commands.len(), 1, "{commands:?}");
    let checks = read(".ci/run");
    assert_eq!(
        checks.lines().last(),
        Some(commands[0]),
        "the tests come last, so that their count ends the output"
    );
    assert!(read("CONTRIBUTING.md").contains(commands[0]));
}

/// A configuration of the documents, with its secret in a file that exists.
fn loaded(text: &str) -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("app_secret");
    fs::write(&secret, "secret\n").unwrap();
    let named = "/etc/pixcell/app_secret";
    assert!(text.contains(named), "it shows where the secret is");
    let text = text.replace(
        &format!("app_secret_file: {named}"),
        &format!("app_secret_file: {}", secret.display()),
    );
    let env = Environment {
        home: Some(PathBuf::from("/nonexistent")),
        current_dir: PathBuf::from("/"),
        ..Environment::default()
    };
    let source = Source::from_text(&folder.path().join("pixcell.yaml"), text);
    load(&source, &env).unwrap_or_else(|error| panic!("{error}"))
}

/// Where the first mapping sends a file.
fn place(loaded: &Loaded, file: &str) -> String {
    let route = loaded.routes.iter().next().expect("a mapping");
    match route.rules.place(&RelPath::new(Path::new(file)).unwrap()) {
        Placement::Slot { slot, .. } => match slot.slot {
            Slot::Cell(cell) => cell.to_string(),
            Slot::RowByKey { key, .. } => format!("the row of {}", key.as_str()),
            Slot::RowOfFile { .. } => "a row of its own".to_owned(),
        },
        other => panic!("{file}: {other:?}"),
    }
}

#[test]
fn the_readmes_configuration_does_what_its_comments_say() {
    let readme = read("README.md");
    let examples = blocks("yaml", &readme);
    assert_eq!(examples.len(), 1, "one configuration");
    let loaded = loaded(examples[0]);
    assert_eq!(loaded.config.mappings.len(), 1);
    let told = Regex::new(r"(\S+\.(?:png|jpg)) -> ([A-Z]+\d+)").unwrap();
    let mut checked = 0;
    for line in told.captures_iter(examples[0]) {
        assert_eq!(place(&loaded, &line[1]), line[2], "{}", &line[0]);
        checked += 1;
    }
    assert_eq!(checked, 3, "comments that name a file and its cell");
    assert_eq!(place(&loaded, "deep/poster.png"), "B2");
}

#[test]
fn no_rule_of_the_example_file_hides_another() {
    let loaded = loaded(&read("config.example.yaml"));
    let rules = loaded.config.mappings[0].rules.len();
    let cases = [
        ("products/SKU-7.png", "the row of SKU-7"),
        ("inspection/2024/camera-9.jpg", "a row of its own"),
        ("poster.png", "B2"),
        ("camera-3.jpg", "C4"),
        ("H7.png", "H7"),
    ];
    assert_eq!(cases.len(), rules, "a case for each rule");
    for (file, there) in cases {
        assert_eq!(place(&loaded, file), there, "{file}");
    }
}

#[test]
fn the_readme_names_every_key_of_the_example_file() {
    let (readme, example) = (read("README.md"), read("config.example.yaml"));
    let keys = all(r"(?m)^ *(?:- )?#?([a-z_]+):", &example);
    assert!(keys.len() > 20, "{keys:?}");
    for key in keys {
        let named = Regex::new(&format!(r"`([a-z_\[\]]+\.)*{key}[`.\[]")).unwrap();
        assert!(named.is_match(&readme), "README.md does not name `{key}`");
    }
}

/// What the two READMEs have in common, each item with what it stands for.
fn skeleton(text: &str) -> Vec<String> {
    let comment = Regex::new(r"\s*(^|\s)# .*$").unwrap();
    let mut kept = Vec::new();
    let mut code = false;
    for line in text.lines() {
        if line.starts_with("```") {
            code = !code;
            kept.push(line.to_owned());
        } else if code {
            // The comments in code are translated.
            kept.push(comment.replace(line, "").into_owned());
        } else if line.starts_with('#') {
            let level = line.find(' ').expect("a heading's level");
            kept.push(line[..level].to_owned());
        } else if line.starts_with('|') {
            let named = all(r"`([^`]+)`", line.split('|').nth(1).unwrap());
            kept.push(format!("a row of {}", named.join(" ")));
        }
    }
    kept
}

#[test]
fn both_readmes_have_the_same_headings_code_and_rows() {
    let [english, chinese] = ["README.md", "README.zh-CN.md"].map(read);
    let [one, other] = [&english, &chinese].map(|text| skeleton(text));
    assert!(one.len() > 100, "{one:?}");
    for (line, (one, other)) in one.iter().zip(&other).enumerate() {
        assert_eq!(one, other, "item {line} of README.md and README.zh-CN.md");
    }
    assert_eq!(one.len(), other.len());
    let links = |text| {
        let mut links = all(r"\]\(([^)\s]+)\)", text);
        links.retain(|link| !link.starts_with("README"));
        links.sort_unstable();
        links.dedup();
        links.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(links(&english), links(&chinese), "what they link to");
}

/// The part of a source file before its tests.
fn without_tests(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.split("#[cfg(test)]").next().unwrap().to_owned()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Blanks and code marks differ between a literal and a table's cell.
fn plain(text: &str) -> String {
    let text = Regex::new(r"\\\n\s*").unwrap().replace_all(text, "");
    let text = text.replace(['`', '\\'], "");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// An operator looks up what a line of the log, or the end of a command, said.
#[test]
fn the_handbook_knows_every_message() {
    const STRING: &str = r#""((?:[^"\\]|\\(?s:.))*)""#;
    // Arguments in brackets, to a depth of three.
    let inner = format!(r"(?:[^\x22()]|{STRING}|\((?:[^\x22()]|{STRING}|\([^()]*\))*\))*");
    let logged = Regex::new(&format!(r"\b(?:info|warn|error)!\(({inner})\)")).unwrap();
    let errors = Regex::new(&format!(r"#\[error\(\s*({STRING})")).unwrap();
    let strings = Regex::new(STRING).unwrap();
    // What is wrong with a value of the configuration stands below its line, with what would be right; the
    // stand-in's refusals are the API's.
    let elsewhere = ["config", "placement", "sandbox", "a1.rs", "envelope.rs"];
    let handbook = plain(&read("docs/operating.md"));
    let pieces = Regex::new(r"\{[^}]*\}|[;:,()]").unwrap();
    let (mut checked, mut unknown) = (0, Vec::new());
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    for file in files {
        let skipped = |part: &str| file.iter().any(|name| name == part);
        if elsewhere.into_iter().any(skipped) {
            continue;
        }
        let text = without_tests(&file);
        for told in logged
            .captures_iter(&text)
            .chain(errors.captures_iter(&text))
        {
            let literals = strings.captures_iter(told.get(1).unwrap().as_str());
            let literals = literals.map(|found| plain(found.get(1).unwrap().as_str()));
            let Some(message) = literals.max_by_key(String::len) else {
                continue;
            };
            let parts: Vec<&str> = pieces.split(&message).map(str::trim).collect();
            let parts: Vec<&str> = parts.into_iter().filter(|part| part.len() >= 6).collect();
            if !parts.is_empty() {
                checked += 1;
                if !parts.iter().any(|part| handbook.contains(part)) {
                    unknown.push(format!("{}: {message}", file.display()));
                }
            }
        }
    }
    assert!(checked > 50, "{checked}");
    assert!(
        unknown.is_empty(),
        "docs/operating.md does not know:\n{}",
        unknown.join("\n")
    );
}

/// The findings of `check` are results and no log lines.
#[test]
fn the_handbook_knows_what_check_finds() {
    let handbook = plain(&read("docs/operating.md"));
    let pieces = Regex::new(r"\{[^}]*\}|[;:,()]").unwrap();
    let sources = [
        ("src/cli/check.rs", 4),
        ("src/cli/online.rs", 10),
        ("src/upload/resolve.rs", 2),
    ];
    let mut unknown = Vec::new();
    for (source, least) in sources {
        let text = without_tests(&root().join(source));
        let mut checked = 0;
        for literal in all(r#""((?:[^"\\]|\\(?s:.))*)""#, &text) {
            let message = plain(literal);
            let parts = pieces.split(&message).map(str::trim);
            let told = parts.max_by_key(|part| part.len()).unwrap_or_default();
            // Shorter ones are parts of sentences.
            if told.len() >= 25 {
                checked += 1;
                if !handbook.contains(told) {
                    unknown.push(format!("{source}: {told}"));
                }
            }
        }
        assert!(checked >= least, "{source}: {checked}");
    }
    assert!(
        unknown.is_empty(),
        "docs/operating.md does not know:\n{}",
        unknown.join("\n")
    );
}
