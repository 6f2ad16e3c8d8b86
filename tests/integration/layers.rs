//! The house keeps its order: a room uses the rooms below it and never one above, and each third-party
//! crate that could leak through the house is named in one room only.
//!
//! Tests inside a room count as well: a test that needs a room above belongs into that room.

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

use crate::support::code;

/// From the top down.
const ROOMS: [&str; 15] = [
    "cli",
    "service",
    "sandbox",
    "upload",
    "intake",
    "watch",
    "feishu",
    "store",
    "placement",
    "image",
    "config",
    "a1",
    "blocking",
    "durable",
    "pulse",
];

/// The sandbox shares nothing with what it is to test.
const SANDBOX: [&str; 4] = ["sandbox", "image", "a1", "blocking"];

/// Crates and the rooms that may name them.
const CRATES: [(&str, &[&str]); 22] = [
    ("notify", &["watch"]),
    ("walkdir", &["watch"]),
    ("sled", &["store"]),
    ("postcard", &["store"]),
    ("reqwest", &["feishu"]),
    ("rustls", &["feishu"]),
    ("governor", &["feishu"]),
    ("serde_yaml", &["config"]),
    ("signal_hook", &["service"]),
    ("sd_notify", &["service"]),
    ("nix", &["service"]),
    // Two servers that share nothing: the stand-in, and the daemon's own status.
    ("axum", &["sandbox", "service"]),
    ("hyper", &["sandbox", "service"]),
    ("hyper_util", &["sandbox", "service"]),
    // Counted where it happens, through a facade that does nothing while nobody collects; what is
    // counted leaves the house in one place.
    ("metrics", &["service", "upload", "intake", "feishu"]),
    ("metrics_exporter_prometheus", &["service"]),
    ("metrics_util", &["service"]),
    ("libsystemd", &["cli"]),
    ("indicatif", &["cli"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
];

/// Everything wrong with a file of this path below `src/`.
fn wrongs(path: &str, source: &str) -> Vec<String> {
    let module = module(path);
    let room = module.first().map_or("", String::as_str);
    let mut wrongs = Vec::new();
    if !["", "main"].contains(&room) && !ROOMS.contains(&room) {
        wrongs.push(format!(
            "{path} is in no room that has a place in the order"
        ));
    }
    for (number, used, what) in uses(&module, &code(source)) {
        let allowed = match (room, what) {
            // The crate's root declares the rooms; the binary calls the topmost.
            ("", _) => false,
            ("main", What::Room) => used == "cli",
            ("sandbox", What::Room) => SANDBOX.contains(&used.as_str()),
            (_, What::Room) => place(room) <= place(&used),
            (_, What::Crate) => CRATES
                .iter()
                .find(|(name, _)| *name == used)
                .is_none_or(|(_, rooms)| rooms.contains(&room)),
        };
        if !allowed {
            wrongs.push(format!("src/{path}:{number}: `{room}` uses `{used}`"));
        }
    }
    wrongs
}

fn place(room: &str) -> Option<usize> {
    ROOMS.iter().position(|known| *known == room)
}

/// `upload/lane.rs` is `[upload, lane]`; `lib.rs` is the root.
fn module(path: &str) -> Vec<String> {
    let path = Path::new(path).with_extension("");
    let mut names: Vec<String> = path
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if matches!(names.last().map(String::as_str), Some("mod" | "lib")) {
        names.pop();
    }
    names
}

#[derive(Clone, Copy)]
enum What {
    Room,
    Crate,
}

/// The rooms and guarded crates that code names, each with its line.
fn uses(module: &[String], code: &str) -> Vec<(usize, String, What)> {
    // A path from the crate's root: `crate::x`, `crate::{x::y, z}`, `super::super::x`, `pixcell::x`.
    let rooted =
        Regex::new(r"(?:^|[^\w:])(?:(crate|pixcell)\s*::|((?:super\s*::\s*)+))\s*(\{[^;]*\}|\w+)")
            .unwrap();
    let foreign =
        Regex::new(r"(?m)(?:^|[^\w:])(?:::)?(\w+)::|\b(?:use|extern crate)\s+(\w+)\s*[;,]")
            .unwrap();
    let line = |at: usize| code[..at].matches('\n').count() + 1;
    let mut uses = Vec::new();
    for found in rooted.captures_iter(code) {
        // As many steps up as the module is deep lead to the root.
        let steps = found
            .get(2)
            .map(|chain| chain.as_str().matches("super").count());
        let at_root = steps.is_none_or(|steps| steps >= module.len());
        let target = found.get(3).unwrap();
        for name in names(target.as_str()) {
            // Beyond the root's own: inside a module of a file a step is fewer, and names what it may.
            let is_room = place(&name).is_some() || (steps.is_none() && found.get(1).is_some());
            if at_root && is_room {
                uses.push((line(target.start()), name, What::Room));
            }
        }
    }
    for found in foreign.captures_iter(code) {
        let name = found.get(1).or(found.get(2)).unwrap();
        if CRATES.iter().any(|(known, _)| *known == name.as_str()) {
            uses.push((line(name.start()), name.as_str().to_owned(), What::Crate));
        }
    }
    uses
}

/// The first names of a path or of each path in a group.
fn names(target: &str) -> Vec<String> {
    let Some(group) = target.strip_prefix('{') else {
        return vec![target.to_owned()];
    };
    let (mut paths, mut depth) = (vec![String::new()], 0);
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => paths.push(String::new()),
            c if depth == 0 && !c.is_whitespace() => paths.last_mut().unwrap().push(c),
            _ => {}
        }
    }
    let first = |path: &String| path.split("::").next().unwrap_or_default().to_owned();
    let names = paths.iter().map(first);
    names.filter(|name| !name.is_empty()).collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|suffix| suffix == "rs") {
            files.push(path);
        }
    }
    files
}

#[test]
fn no_room_uses_one_above_it_or_a_crate_of_another_room() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = sources(&src);
    assert!(files.len() > 50, "only {} files were found", files.len());
    let mut all = Vec::new();
    for file in files {
        let path = file.strip_prefix(&src).unwrap().to_str().unwrap();
        all.extend(wrongs(path, &fs::read_to_string(&file).unwrap()));
    }
    assert!(all.is_empty(), "\n{}", all.join("\n"));
}

#[test]
fn the_order_of_the_rooms_is_the_one_that_the_crate_tells() {
    let root =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let told: Vec<&str> = root
        .lines()
        .filter_map(|line| line.strip_prefix("//!  "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(told, ROOMS);
}

#[test]
fn the_binary_is_arguments_in_and_exit_code_out() {
    let main =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/main.rs")).unwrap();
    assert!(main.lines().count() < 40);
}

#[test]
fn an_upward_edge_is_found_however_it_is_written() {
    let upward = [
        "use crate::upload::Lane;",
        "use crate::{a1::{Cell, Range}, upload::{Lane, Gate}, blocking};",
        "use crate::{\n    a1,\n    upload,\n};",
        "fn f() { crate::upload::run() }",
        "pub(in crate::upload) fn f() {}",
        "use super::super::upload::Lane;",
        "#[cfg(test)]\nmod tests {\n    use crate::upload::Lane;\n}",
        "use crate::unheard_of::Room;",
        "use ::sled::Db;",
        "use sled;",
        "fn f() -> notify::Result<()> {}",
        "fn f() -> Vec<reqwest::Error> {}",
    ];
    for source in upward {
        assert_eq!(
            wrongs("watch/native.rs", source).len() + wrongs("config/raw.rs", source).len(),
            if source.contains("notify::") { 1 } else { 2 },
            "{source}"
        );
    }
}

#[test]
fn what_is_allowed_or_no_code_is_no_edge() {
    let fine = [
        "use crate::store::Store;",
        "use super::candidate::Hint;",
        "use crate::watch::{Hint, scan};",
        "// use crate::upload::Lane;",
        "const TEXT: &str = \"crate::upload::Lane, sled::Db\";",
        "fn f() { sd::notify::x(); self.sled(); let notify = 1; }",
        "use notify::Event;",
        "use crate::{a1, store::{FileKey, upload}};",
    ];
    for source in fine {
        assert_eq!(wrongs("watch/native.rs", source), [""; 0], "{source}");
    }
}

#[test]
fn the_sandbox_shares_nothing_with_the_client() {
    assert_eq!(
        wrongs("sandbox/work.rs", "use crate::image::Format;"),
        [""; 0]
    );
    for room in [
        "feishu",
        "config",
        "store",
        "placement",
        "upload",
        "service",
    ] {
        let found = wrongs("sandbox/work.rs", &format!("use crate::{room}::X;"));
        assert_eq!(found.len(), 1, "{room}");
    }
}
