//! `pixcell init`: a configuration that `check` takes, with no secret in it, and nothing overwritten.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use rstest::rstest;

use crate::support::{Ended, Rig, SECRET};

const FLAGS: [&str; 7] = [
    "init",
    "--app-id",
    "cli_mine",
    "--spreadsheet",
    "https://a.larksuite.com/sheets/ShtMine?sheet=Q7PlXT",
    "--folder",
    "pictures: \"all\" #1",
];

fn init(rig: &mut Rig, more: &[&'static str]) -> Ended {
    rig.pixcell(&[&FLAGS, more].concat())
}

/// Puts a secret where the configuration says it is.
fn put_secret(rig: &Rig) {
    let secret = rig.outside("app_secret", SECRET.as_bytes());
    fs::set_permissions(secret, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn what_it_writes_passes_check_and_keeps_every_comment() {
    let mut rig = Rig::new();
    put_secret(&rig);
    let told = init(&mut rig, &["-o", "new.yaml"]).with_code(0);
    for part in [
        "wrote ",
        "new.yaml",
        "app_secret, mode 0600",
        "check --online",
    ] {
        assert!(told.stdout.contains(part), "{part} in {told}");
    }
    let checked = rig.pixcell(&["check", "-c", "new.yaml"]).with_code(0);
    let said = format!("{}{}", checked.stdout, checked.stderr);
    assert!(said.contains("1 mapping, 5 rules"), "{said}");
    let there = rig.path("pictures: \"all\" #1");
    assert!(said.contains(&*there.to_string_lossy()), "{said}");
    assert!(!said.contains("the endpoint is that of"), "{said}");
    let text = fs::read_to_string(rig.path("new.yaml")).unwrap();
    assert!(text.contains("https://open.larksuite.com\"") && !text.contains(SECRET));
    let comments = |text: &str| text.matches('#').count();
    let example = include_str!("../../config.example.yaml");
    // The folder has one in its name.
    assert_eq!(comments(&text), comments(example) + 1);
    let mode = fs::metadata(rig.path("new.yaml")).unwrap().permissions();
    assert_eq!(mode.mode() & 0o133, 0, "{mode:?}");
}

#[test]
fn nothing_is_overwritten_unless_it_is_asked_for() {
    let mut rig = Rig::new();
    let before = fs::read_to_string(rig.path("pixcell.yaml")).unwrap();
    symlink("nowhere.yaml", rig.path("link.yaml")).unwrap();
    for more in [&[][..], &["-c", "pixcell.yaml"], &["-o", "link.yaml"]] {
        let refused = init(&mut rig, more).with_code(2);
        assert!(refused.stderr.contains("--force"), "{refused}");
    }
    assert_eq!(
        fs::read_to_string(rig.path("pixcell.yaml")).unwrap(),
        before
    );
    assert!(!rig.path("nowhere.yaml").exists());
    init(&mut rig, &["--force"]).with_code(0);
    let after = fs::read_to_string(rig.path("pixcell.yaml")).unwrap();
    assert!(after.contains("cli_mine"), "{after}");
}

#[rstest]
#[case::nobody_to_ask(&["init", "--app-id", "cli_a"], "--spreadsheet and --folder must be given")]
#[case::a_document(
    &["init", "--app-id", "cli_a", "--folder", "in", "--spreadsheet", "https://a.feishu.cn/docx/abc"],
    "not a spreadsheet"
)]
#[case::no_id(
    &["init", "--app-id", "cli a", "--folder", "in", "--spreadsheet", "ShtMine"],
    "feishu.app_id"
)]
#[case::no_such_place(
    &["init", "--app-id", "cli_a", "--folder", "in", "--spreadsheet", "ShtMine", "-o", "no/new.yaml"],
    "no/new.yaml"
)]
fn what_would_be_wrong_is_not_written(#[case] args: &[&str], #[case] told: &str) {
    let mut rig = Rig::new();
    fs::remove_file(rig.path("pixcell.yaml")).unwrap();
    let ended = rig.pixcell(args);
    assert!(ended.stderr.contains(told), "{ended}");
    assert!(!ended.stderr.contains("endpoint"), "{ended}");
    assert_ne!(ended.code(), 0);
    let left = fs::read_dir(rig.path("")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| *name == "pixcell.yaml"), "{left:?}");
}

/// A terminal is made by `script` of util-linux.
#[test]
fn on_a_terminal_it_asks_for_what_no_flag_says_and_asks_again() {
    let rig = Rig::new();
    put_secret(&rig);
    let answers = "cli_mine\nhttps://a.feishu.cn/docx/x\nShtMine\npictures\n";
    fs::write(rig.path("answers"), answers).unwrap();
    let called = format!("{} init -o new.yaml", env!("CARGO_BIN_EXE_pixcell"));
    let asked = Command::new("script")
        .args(["-qec", &called, "/dev/null"])
        .current_dir(rig.path(""))
        .env("HOME", rig.path(""))
        .stdin(fs::File::open(rig.path("answers")).unwrap())
        .output()
        .expect("util-linux's script");
    let told = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert!(asked.status.success(), "{told}");
    for part in ["The app's id", "not a spreadsheet", "The folder to watch"] {
        assert!(told.contains(part), "{part} in {told}");
    }
    let text = fs::read_to_string(rig.path("new.yaml")).unwrap();
    for part in ["\"cli_mine\"", "\"ShtMine\"", "/pictures\"\n"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}
