//! The service files and the package's description, read as systemd and dpkg read them.

// A test fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use rstest::rstest;

const UNITS: [&str; 2] = ["pixcell.service", "pixcell@.service"];

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What a unit says: section, key and value of each line that is no comment.
struct Unit(Vec<(String, String, String)>);

impl Unit {
    fn read(name: &str) -> Self {
        let mut section = String::new();
        let mut entries = Vec::new();
        for line in read(&format!("systemd/{name}")).lines() {
            if let Some(header) = line.strip_prefix('[') {
                header.trim_end_matches(']').clone_into(&mut section);
            } else if !line.is_empty() && !line.starts_with('#') {
                let (key, value) = line.split_once('=').expect("KEY=VALUE");
                entries.push((section.clone(), key.to_owned(), value.to_owned()));
            }
        }
        assert!(entries.len() > 40, "{name}: {entries:?}");
        Self(entries)
    }

    fn all(&self, section: &str, key: &str) -> Vec<&str> {
        let wanted = |entry: &&(String, String, String)| entry.0 == section && entry.1 == key;
        self.0
            .iter()
            .filter(wanted)
            .map(|entry| entry.2.as_str())
            .collect()
    }

    fn service(&self, key: &str) -> &str {
        match self.all("Service", key)[..] {
            [value] => value,
            ref other => panic!("{key} is there {} times", other.len()),
        }
    }
}

fn pixcell(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_pixcell"))
        .args(arguments)
        .env_clear()
        .current_dir(folder.path())
        .output()
        .unwrap()
}

#[rstest]
#[case(UNITS[0])]
#[case(UNITS[1])]
fn nothing_but_a_wrong_configuration_ends_the_restarts(#[case] name: &str) {
    let unit = Unit::read(name);
    assert_eq!(unit.all("Unit", "StartLimitIntervalSec"), ["0"]);
    assert_eq!(unit.service("Restart"), "always");
    assert!(
        unit.service("RestartSec").parse::<u32>().unwrap() >= 5,
        "seconds"
    );

    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("wrong.yaml");
    fs::write(&wrong, "mapings: []\n").unwrap();
    let outcome = pixcell(&["--config", wrong.to_str().unwrap(), "run"]);
    let code = outcome.status.code().expect("an exit code");
    assert_eq!(unit.service("RestartPreventExitStatus"), code.to_string());
    // The status of a control process does not end the restarts.
    assert!(unit.all("Service", "ExecStartPre").is_empty());
}

#[rstest]
#[case(UNITS[0])]
#[case(UNITS[1])]
fn every_command_of_the_unit_is_one_of_pixcell(#[case] name: &str) {
    let unit = Unit::read(name);
    let mut ours = 0;
    for key in ["ExecStart", "ExecReload"] {
        for command in unit.all("Service", key) {
            if let Some((_, ours_alone)) = command.split_once("/usr/bin/pixcell ") {
                let arguments: Vec<&str> = ours_alone.split(' ').chain(["--help"]).collect();
                let outcome = pixcell(&arguments);
                assert!(outcome.status.success(), "{command}: {outcome:?}");
                ours += 1;
            }
        }
    }
    assert_eq!(ours, 3, "starting, and checking before and after a reload");
    let reload = unit.all("Service", "ExecReload");
    assert!(reload[0].contains(" check"), "checked first: {reload:?}");
    assert_eq!(reload[1], "/bin/kill -HUP $MAINPID");
    assert!(
        reload[2].ends_with(" check --quiet --in-force"),
        "{reload:?}"
    );
    assert_eq!(unit.service("Type"), "notify");
}

#[test]
fn an_instance_differs_from_the_service_in_its_names_alone() {
    let [single, instance] = UNITS.map(Unit::read);
    assert_eq!(single.0.len(), instance.0.len());
    let mut different = Vec::new();
    for (one, other) in single.0.iter().zip(&instance.0) {
        assert_eq!((&one.0, &one.1), (&other.0, &other.1));
        if one.2 != other.2 {
            assert!(other.2.contains("%i"), "{}={}", other.1, other.2);
            different.push(one.1.as_str());
        }
    }
    let names = [
        "Description",
        "ExecStart",
        "ExecReload",
        "ExecReload",
        "StateDirectory",
        "RuntimeDirectory",
        "LoadCredential",
    ];
    assert_eq!(different, names);
}

/// A folder with the unit, its commands replaced by one that is on every machine.
fn installed(name: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let commands = regex::Regex::new(r"(?m)=/usr/bin/(pixcell|env) .*$").unwrap();
    let text = read(&format!("systemd/{name}"));
    let name = name.replace('@', "@lobby");
    let path = folder.path().join(&name);
    fs::write(&path, commands.replace_all(&text, "=/bin/true").as_ref()).unwrap();
    (folder, path.to_str().unwrap().to_owned())
}

/// What `systemd-analyze` says, unless it is not installed.
fn analyze(arguments: &[&str]) -> Option<Output> {
    let said = Command::new("systemd-analyze")
        .args(arguments)
        .output()
        .ok();
    if said.is_none() {
        eprintln!("systemd-analyze is not installed: the units are not checked by it");
    }
    said
}

#[rstest]
#[case(UNITS[0])]
#[case(UNITS[1])]
fn systemd_has_nothing_to_say_against_the_unit(#[case] name: &str) {
    let (_folder, path) = installed(name);
    let Some(verified) = analyze(&["verify", "--man=no", &path]) else {
        return;
    };
    let said = [verified.stdout, verified.stderr].concat();
    // It tells of an unknown key with exit status 0.
    assert_eq!(String::from_utf8_lossy(&said), "");
    assert!(verified.status.success());
    let level = analyze(&["security", "--offline=true", "--threshold=15", &path]).unwrap();
    assert!(
        level.status.success(),
        "{}",
        String::from_utf8_lossy(&level.stdout)
    );
}

/// dpkg runs them with `sh -e`, and a package that cannot be installed or removed is found out late.
#[rstest]
#[case("postinst")]
#[case("prerm")]
#[case("postrm")]
fn maintainer_scripts_are_read_by_sh_and_leave_room_for_the_units(#[case] name: &str) {
    let path = format!("packaging/debian/{name}");
    assert_eq!(read(&path).matches("\n#DEBHELPER#\n").count(), 1);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let checked = Command::new("sh").arg("-n").arg(path).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
}

/// The folder of each file that the package takes from the repository exists; cargo-deb would say so, but
/// only when a package is built.
#[test]
fn the_package_names_files_that_exist() {
    let manifest = read("Cargo.toml");
    let assets = regex::Regex::new(r#"(?m)^    \["([^"*]+)", "usr/"#).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut checked = 0;
    for asset in assets.captures_iter(&manifest) {
        if !asset[1].starts_with("target/") {
            assert!(root.join(&asset[1]).exists(), "{}", &asset[1]);
            checked += 1;
        }
    }
    assert!(checked > 5, "{checked}");
}
