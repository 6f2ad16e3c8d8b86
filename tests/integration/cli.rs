//! The command line: exit codes, results on stdout, and messages that name file, line and remedy.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use rstest::rstest;

use crate::support::{DOC, Ended, Mapping, Plan, Rig, Signal, library, png};

const CHECK: [&str; 3] = ["check", "--config", "pixcell.yaml"];

/// What was printed, with the rig's own paths and numbers named.
fn masked(rig: &Rig, text: &str) -> String {
    let home = rig.path("").canonicalize().unwrap();
    let text = text.replace(&format!("{}/", home.display()), "HOME/");
    text.replace(&rig.plan.sandbox.addr.to_string(), "ADDR")
}

#[rstest]
#[case::top("", "help")]
#[case::run("run", "help_run")]
#[case::sync("sync", "help_sync")]
#[case::init("init", "help_init")]
#[case::check("check", "help_check")]
#[case::plan("plan", "help_plan")]
#[case::status("status", "help_status")]
#[case::demo("demo", "help_demo")]
#[case::sandbox("sandbox", "help_sandbox")]
#[case::history("history", "help_history")]
#[case::retry("retry", "help_retry")]
#[case::completions("completions", "help_completions")]
fn help_reads_as_before(#[case] command: &str, #[case] snapshot: &str) {
    let mut rig = Rig::new();
    let args: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
    let ended = rig.pixcell(&args).with_code(0);
    assert_eq!(ended.stderr, "");
    insta::assert_snapshot!(snapshot, ended.stdout);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let mut rig = Rig::started();
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    rig.stop();
    for args in [
        &["man"][..],
        &["check", "--config", "pixcell.yaml"],
        &["plan", "--config", "pixcell.yaml"],
        &["status", "--json", "--config", "pixcell.yaml"],
        &["history", "--config", "pixcell.yaml"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_pixcell"));
        command.args(args).current_dir(rig.path("")).stdout(writer);
        let ended = command.output().unwrap();
        assert_eq!(
            (
                ended.status.code(),
                String::from_utf8_lossy(&ended.stderr).as_ref()
            ),
            (Some(0), ""),
            "{args:?}"
        );
    }
}

/// Commit and date are the source's: two builds of one commit print the same.
#[test]
fn the_version_names_the_commit_and_its_date() {
    let mut rig = Rig::new();
    let ended = rig.pixcell(&["--version"]).with_code(0);
    let told = regex::Regex::new(
        r"^pixcell (\d+\.\d+\.\d+) \((?:([0-9a-f]{9})\+?|unknown commit), (?:(\d{4}-\d\d-\d\d)|unknown date)\)\n$",
    )
    .unwrap();
    let told = told
        .captures(&ended.stdout)
        .unwrap_or_else(|| panic!("{ended}"));
    assert_eq!(&told[1], env!("CARGO_PKG_VERSION"));
    let Some(commit) = told.get(2) else {
        return; // Built from an archive.
    };
    let show = [
        "show",
        "-s",
        "--date=format-local:%F",
        "--format=%cd",
        commit.as_str(),
    ];
    let git = Command::new("git").args(show).env("TZ", "UTC").output();
    let Some(known) = git.ok().filter(|output| output.status.success()) else {
        return; // An archive that names its commit.
    };
    if std::env::var_os("SOURCE_DATE_EPOCH").is_none() {
        assert_eq!(told[3], *String::from_utf8_lossy(&known.stdout).trim());
    }
}

#[rstest]
#[case::no_command(&[])]
#[case::unknown_command(&["upload"])]
#[case::unknown_flag(&["run", "--fast"])]
#[case::quiet_and_verbose(&["run", "-q", "-v"])]
#[case::no_address(&["sandbox", "--listen", "everywhere"])]
fn a_mistake_in_usage_is_exit_code_2_on_stderr(#[case] args: &[&str]) {
    let mut rig = Rig::new();
    let ended = rig.pixcell(args).with_code(2);
    assert_eq!(ended.stdout, "");
    assert!(
        ended.stderr.contains("Usage:") || ended.stderr.contains("--help"),
        "{ended}"
    );
}

/// Every command that reads the configuration, and the one that runs for years.
#[rstest]
#[case::run(&["run"])]
#[case::sync(&["sync"])]
#[case::check(&["check"])]
#[case::status(&["status"])]
fn mistakes_of_the_configuration_are_exit_code_2_all_at_once_with_file_and_line(
    #[case] command: &[&str],
) {
    let mut rig = Rig::new();
    let text = fs::read_to_string(rig.path("pixcell.yaml")).unwrap();
    let wrong = text
        .replace("    sheet:", "    seet:")
        .replace("settle: 150ms", "settle: soon");
    rig.write_config_text(&wrong);
    let args: Vec<&str> = command
        .iter()
        .copied()
        .chain(["--config", "pixcell.yaml"])
        .collect();
    let ended = rig.pixcell(&args).with_code(2);
    for part in ["seet", "settle: soon"] {
        let line = 1 + wrong.lines().position(|line| line.contains(part)).unwrap();
        let place = format!("pixcell.yaml:{line}:");
        assert!(ended.stderr.contains(&place), "{place} in {ended}");
    }
    assert_eq!(ended.stdout, "");
    assert!(!rig.path("state").exists(), "nothing is begun");
}

#[test]
fn a_configuration_error_reads_as_before() {
    let mut rig = Rig::new();
    let text = fs::read_to_string(rig.path("pixcell.yaml")).unwrap();
    rig.write_config_text(&text.replace(
        "spreadsheet: DocLobby",
        "spreadsheet: https://example.com/docs/x",
    ));
    let ended = rig.pixcell(&CHECK).with_code(2);
    insta::assert_snapshot!("configuration_error", masked(&rig, &ended.stderr));
}

#[test]
fn a_secret_that_others_can_read_is_told() {
    let mut rig = Rig::new();
    let config = rig.path("pixcell.yaml");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    let ended = rig.pixcell(&CHECK);
    insta::assert_snapshot!("secret_others_can_read", masked(&rig, &shown(&ended)));
}

fn shown(ended: &Ended) -> String {
    // Without the times of the log.
    let stderr: String = ended
        .stderr
        .lines()
        .map(|line| line.split_once("Z ").map_or(line, |(_, event)| event))
        .fold(String::new(), |text, line| text + line + "\n");
    format!(
        "{}\n--- stdout\n{}--- stderr\n{stderr}",
        ended.status, ended.stdout
    )
}

#[test]
fn a_missing_configuration_names_the_places_that_were_looked_at() {
    let mut rig = Rig::new();
    fs::remove_file(rig.path("pixcell.yaml")).unwrap();
    let ended = rig.pixcell(&["check"]).with_code(2);
    assert!(ended.stderr.contains("pixcell.yaml"), "{ended}");
    let ended = rig
        .pixcell(&["check", "--config", "elsewhere.yaml"])
        .with_code(2);
    assert!(ended.stderr.contains("elsewhere.yaml"), "{ended}");
}

#[test]
fn the_configuration_is_found_by_flag_variable_and_folder() {
    let mut rig = Rig::new();
    rig.pixcell(&["check"]).with_code(0);
    fs::rename(rig.path("pixcell.yaml"), rig.path("other.yaml")).unwrap();
    rig.pixcell(&["check"]).with_code(2);
    rig.pixcell(&["check", "-c", "other.yaml"]).with_code(0);
    let by_variable = [(
        "PIXCELL_CONFIG",
        rig.path("other.yaml").display().to_string(),
    )];
    rig.pixcell_env(&["check"], &by_variable).with_code(0);
}

#[test]
fn check_tells_what_is_right_and_online_what_the_api_says() {
    let mut rig = Rig::new();
    let offline = rig.pixcell(&CHECK).with_code(0);
    assert_eq!(
        offline.stdout,
        "the configuration is right: 1 mapping, 1 rule\n"
    );
    assert!(
        rig.state().calls_by_endpoint.is_empty(),
        "offline makes no call"
    );
    let online = rig
        .pixcell(&["check", "--online", "--config", "pixcell.yaml"])
        .with_code(0);
    assert!(
        online
            .stdout
            .contains(r#"lobby: DocLobby, sheet "Lobby" (Q7PlXT): reachable"#),
        "{online}"
    );
    assert_eq!(rig.writes(), 0);
}

#[test]
fn check_waits_for_no_folder_that_hangs() {
    let mut rig = Rig::with(|plan| {
        plan.mappings.push(Mapping::new("dead", "dead", DOC));
        plan.mappings.push(Mapping::new("absent", "absent", DOC));
    });
    let mute = rig.path("dead/.mute");
    fs::create_dir(rig.path("dead")).unwrap();
    fs::write(&mute, "").unwrap();
    let env = [
        ("LD_PRELOAD", library("mute").display().to_string()),
        ("MUTE", mute.display().to_string()),
    ];
    let told = rig.pixcell_env(&CHECK, &env).with_code(0);
    let says = |mapping: &str, how: &str| {
        let folder = rig.path(mapping);
        let line = format!("{mapping}: the folder {} {how}", folder.display());
        told.stdout.contains(&line)
    };
    assert!(says("dead", "does not answer; it will be waited"), "{told}");
    assert!(says("absent", "is not there yet; it will be"), "{told}");
    assert!(!told.stdout.contains("lobby: the folder"), "{told}");
    // As before a reload, which asks no folder.
    let quiet = [&CHECK[..], &["--quiet"]].concat();
    let told = rig.pixcell_env(&quiet, &env).with_code(0);
    assert!(!told.stdout.contains(": the folder"), "{told}");
}

#[rstest]
#[case::secret(|plan: &mut Plan| plan.secret = "wrong-secret-12345".into(), "compare the App ID with `app_id` and copy the App Secret")]
#[case::sheet(|plan: &mut Plan| plan.mappings[0].sheet = "Cellar".into(), "change `sheet`")]
#[case::document(|plan: &mut Plan| plan.mappings[0].spreadsheet = "DocUnknown".into(), "lobby: DocUnknown: ")]
#[case::cell(
    |plan: &mut Plan| plan.mappings[0].rules.push(("poster.png".into(), "B5000".into())),
    "rule 2: B5000 lies outside the grid"
)]
#[case::server(|plan: &mut Plan| plan.online = false, "cannot be reached")]
fn check_online_fails_with_what_to_do(#[case] spoil: fn(&mut Plan), #[case] told: &str) {
    let mut rig = Rig::with(spoil);
    let ended = rig
        .pixcell(&["check", "--online", "--config", "pixcell.yaml"])
        .with_code(1);
    assert!(ended.stdout.contains(told), "{ended}");
}

#[test]
fn the_demo_shows_seven_receipts_and_leaves_nothing_behind() {
    let mut rig = Rig::new();
    let before = entries(&rig);
    let ended = rig.pixcell(&["demo", "--once"]).with_code(0);
    let receipts = ended
        .stdout
        .lines()
        .filter(|line| line.contains(" -> ") && line.contains("(revision "));
    assert_eq!(receipts.count(), 7, "{ended}");
    assert!(
        ended.stdout.contains("7 of 7 pictures in their cells"),
        "{ended}"
    );
    assert_eq!(entries(&rig), before);
}

fn entries(rig: &Rig) -> Vec<String> {
    let names = fs::read_dir(rig.path("")).unwrap();
    let mut names: Vec<_> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn the_demo_goes_on_with_what_is_dropped_until_it_is_told_to_stop() {
    let rig = Rig::new();
    let demo = rig.command(&["demo", "--folder", "pictures"]);
    demo.wait_stdout(|text| text.contains("F3.bmp -> F3").then_some(()));
    fs::write(rig.path("pictures/H9.png"), png(1)).unwrap();
    demo.wait_stdout(|text| text.contains("H9.png -> H9").then_some(()));
    demo.signal(Signal::INT);
    demo.end().with_code(0);
}

#[test]
fn the_sandbox_says_where_it_is_and_serves_a_sync() {
    let mut rig = Rig::with(|plan| plan.online = false);
    let args = [
        "sandbox",
        "--listen",
        "127.0.0.1:0",
        "--app-id",
        "cli_rig",
        "--app-secret",
        "another-1",
        "--spreadsheet",
        "DocLobby",
        "--sheet",
        "Lobby",
    ];
    let sandbox = rig.command(&args);
    let endpoint = sandbox.wait_stdout(|text| {
        let line = text.lines().find(|line| line.starts_with("endpoint:"))?;
        text.contains("spreadsheet: DocLobby\n")
            .then(|| line["endpoint:".len()..].trim().to_owned())
    });
    rig.plan.secret = "another-1".into();
    rig.write_config_text(&rig.plan.yaml(&endpoint));
    rig.drop_file("B2.png", &png(1));
    rig.pixcell(&["sync", "--config", "pixcell.yaml"])
        .with_code(0);
    sandbox.signal(Signal::TERM);
    let ended = sandbox.end().with_code(0);
    assert!(!ended.stdout.contains("another-1"), "{ended}");
}

#[rstest]
#[case("bash", "complete")]
#[case("zsh", "#compdef pixcell")]
#[case("fish", "complete -c pixcell")]
fn completions_are_printed_for_each_shell(#[case] shell: &str, #[case] part: &str) {
    let mut rig = Rig::new();
    let ended = rig.pixcell(&["completions", shell]).with_code(0);
    assert!(
        ended.stdout.contains(part) && ended.stdout.contains("status"),
        "{ended}"
    );
    if shell == "bash" {
        let script = rig.outside("pixcell.bash", ended.stdout.as_bytes());
        let checked = Command::new("bash").arg("-n").arg(script).status();
        assert!(checked.unwrap().success());
    }
}

#[test]
fn the_manual_page_names_every_command() {
    let mut rig = Rig::new();
    let page = rig.pixcell(&["man"]).with_code(0).stdout;
    assert!(page.contains(".TH pixcell 1"), "{page}");
    for command in ["run", "sync", "init", "check", "status", "demo", "sandbox"] {
        assert!(page.contains(command), "{command}");
    }
}

#[test]
fn status_tells_the_same_from_the_daemon_and_from_the_store() {
    let mut rig = Rig::new();
    let unknown = rig
        .pixcell(&["status", "--config", "pixcell.yaml"])
        .with_code(1);
    assert!(unknown.stderr.contains("nothing is known yet"), "{unknown}");
    rig.start();
    rig.drop_file("B2.png", &png(1));
    rig.drop_file("B3.png", b"no picture");
    rig.drop_file("B5000.png", &png(2));
    let running = rig.wait_status("all is decided", |status| {
        let totals = &status["totals"];
        totals["written"] == 1 && totals["parked"] == 1 && status["mappings"][0]["rejected"] == 1
    });
    assert_eq!(running["running"]["pid"], rig.daemon().pid());
    assert_eq!(running["running"]["ready"], true);
    rig.stop();
    let stored = rig.status();
    assert!(stored["running"].is_null());
    for part in ["totals", "parked", "refused"] {
        assert_eq!(running[part], stored[part], "{part}");
    }
    let told = rig
        .pixcell(&["status", "--config", "pixcell.yaml"])
        .with_code(0)
        .stdout;
    for part in [
        "not running",
        "1 slot written, 0 waiting, 1 parked",
        "B5000.png -> B5000: ",
        "B3.png -> B3: ",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
}
