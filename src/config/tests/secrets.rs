//! Where the secret comes from, and that it is shown nowhere.

use super::*;
use rstest::rstest;
use secrecy::ExposeSecret;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

const SECRET: &str = "hunter2-s3cr3t";

/// A folder with the configuration and files beside it, each with its mode.
fn folder(config: &str, config_mode: u32, files: &[(&str, &str, u32)]) -> (TempDir, Source) {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str, mode: u32| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    };
    for (name, content, mode) in files {
        write(name, content, *mode);
    }
    write("pixcell.yaml", config, config_mode);
    let source = Source::read(&folder.path().join("pixcell.yaml")).unwrap();
    (folder, source)
}

fn without_secret() -> Environment {
    Environment {
        app_secret: None,
        ..env()
    }
}

fn with(key: &str) -> String {
    good_but("mappings:", &format!("  {key}\nmappings:"))
}

fn secret(parsed: &Parsed) -> &str {
    match &parsed.config.feishu.identity {
        Identity::App { secret } => secret.expose_secret(),
        Identity::User { .. } => panic!("not the app itself"),
    }
}

#[test]
fn the_four_places_are_asked_in_order() {
    let files = [
        ("secret", "file\n", 0o600),
        ("credentials/app_secret", "credential\n", 0o440),
    ];
    let (tree, source) = folder(&with("app_secret_file: secret"), 0o644, &files);
    let mut env = Environment {
        app_secret: Some("variable".into()),
        credentials_directory: Some(tree.path().join("credentials")),
        ..without_secret()
    };
    assert_eq!(secret(&parse(&source, &env, &()).unwrap()), "file");

    let (_tree, inline) = folder(&with("app_secret: inline"), 0o600, &[]);
    assert_eq!(secret(&parse(&inline, &env, &()).unwrap()), "inline");

    let silent = super::source(GOOD);
    assert_eq!(secret(&parse(&silent, &env, &()).unwrap()), "variable");
    env.app_secret = None;
    let parsed = parse(&silent, &env, &()).unwrap();
    assert_eq!(secret(&parsed), "credential");
    assert_eq!(parsed.warnings, []);
}

#[test]
fn without_any_secret_all_four_ways_are_named() {
    let error = parse(&source(GOOD), &without_secret(), &())
        .unwrap_err()
        .to_string();
    for way in [
        "app_secret_file:",
        "app_secret:",
        "$PIXCELL_APP_SECRET",
        "LoadCredential=app_secret",
    ] {
        assert!(error.contains(way), "{way} is not named in: {error}");
    }
}

#[test]
fn a_misspelt_secret_is_told_once() {
    let misspelt = with("app_sekret_file: secret");
    let error = parse(&source(&misspelt), &without_secret(), &()).unwrap_err();
    let keys: Vec<String> = error
        .problems()
        .iter()
        .map(|problem| problem.key.to_string())
        .collect();
    assert_eq!(keys, ["feishu.app_sekret_file"]);
}

#[test]
fn both_kinds_of_secret_are_refused() {
    let text = with(&format!("app_secret: {SECRET}\n  app_secret_file: secret"));
    insta::assert_snapshot!(refused(&text));
}

#[rstest]
#[case("", "is empty")]
#[case("two words", "holds more than a secret")]
fn a_secret_file_that_holds_no_secret_is_refused(#[case] content: &str, #[case] message: &str) {
    let files = [("secret", content, 0o600)];
    let (_tree, source) = folder(&with("app_secret_file: secret"), 0o644, &files);
    let error = parse(&source, &without_secret(), &())
        .unwrap_err()
        .to_string();
    assert!(error.contains(message), "{error}");
}

#[test]
fn a_secret_file_that_is_missing_is_named() {
    let (tree, source) = folder(&with("app_secret_file: gone"), 0o644, &[]);
    let error = parse(&source, &without_secret(), &())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&tree.path().join("gone").display().to_string()),
        "{error}"
    );
}

#[test]
fn a_wrong_variable_or_credential_is_not_passed_over() {
    let two = Environment {
        app_secret: Some("two words".into()),
        ..without_secret()
    };
    let error = parse(&source(GOOD), &two, &()).unwrap_err().to_string();
    assert!(
        error.contains("$PIXCELL_APP_SECRET holds no secret"),
        "{error}"
    );

    let (tree, _) = folder(GOOD, 0o644, &[("credentials/app_secret", "", 0o440)]);
    let credentials_directory = Some(tree.path().join("credentials"));
    let empty = Environment {
        credentials_directory,
        ..without_secret()
    };
    let error = parse(&source(GOOD), &empty, &()).unwrap_err().to_string();
    assert!(
        error.contains("the systemd credential") && error.contains("is empty"),
        "{error}"
    );
}

#[rstest]
#[case("app_secret_file: secret", 0o600, 0o644, None)]
#[case("app_secret_file: secret", 0o400, 0o644, None)]
#[case(
    "app_secret_file: secret",
    0o640,
    0o644,
    Some("feishu.app_secret_file")
)]
#[case(
    "app_secret_file: secret",
    0o604,
    0o644,
    Some("feishu.app_secret_file")
)]
#[case("app_secret_file: credentials/secret", 0o440, 0o644, None)]
#[case(
    "app_secret_file: credentials/secret",
    0o444,
    0o644,
    Some("feishu.app_secret_file")
)]
#[case("app_secret: inline", 0o600, 0o600, None)]
#[case("app_secret: inline", 0o600, 0o640, Some("feishu.app_secret"))]
#[case("app_secret: inline", 0o600, 0o604, Some("feishu.app_secret"))]
#[case("user_token_file: secret", 0o600, 0o644, None)]
#[case(
    "app_secret_file: secret\n  proxy: http://me:pass@proxy:3128",
    0o600,
    0o644,
    Some("feishu.proxy")
)]
#[case(
    "app_secret_file: secret\n  proxy: http://me:pass@proxy:3128",
    0o600,
    0o600,
    None
)]
#[case(
    "app_secret_file: secret\n  proxy: http://proxy:3128",
    0o600,
    0o644,
    None
)]
fn a_secret_that_others_can_read_is_warned_about(
    #[case] key: &str,
    #[case] secret_mode: u32,
    #[case] config_mode: u32,
    #[case] warned: Option<&str>,
) {
    let files = [
        ("secret", SECRET, secret_mode),
        ("credentials/secret", SECRET, secret_mode),
    ];
    let (tree, source) = folder(&with(key), config_mode, &files);
    let credentials_directory = Some(tree.path().join("credentials"));
    let env = Environment {
        credentials_directory,
        ..without_secret()
    };
    let warnings = parse(&source, &env, &()).unwrap().warnings;
    let keys: Vec<String> = warnings
        .iter()
        .map(|warning| warning.key.to_string())
        .collect();
    assert_eq!(keys, warned.into_iter().collect::<Vec<_>>());
}

#[rstest]
#[case(0o644)]
#[case(0o640)]
fn a_user_token_that_others_can_read_is_refused(#[case] mode: u32) {
    let config = with("user_token_file: token");
    let (_tree, source) = folder(&config, 0o644, &[("token", "u-1", mode)]);
    let error = parse(&source, &without_secret(), &()).unwrap_err();
    assert_eq!(
        error.problems()[0].key.to_string(),
        "feishu.user_token_file"
    );
}

#[test]
fn a_user_token_needs_no_secret_and_takes_one() {
    let (tree, source) = folder(
        &with("user_token_file: token"),
        0o644,
        &[("token", "u-1", 0o600)],
    );
    for (env, has_secret) in [(without_secret(), false), (env(), true)] {
        match parse(&source, &env, &()).unwrap().config.feishu.identity {
            Identity::User { token_file, secret } => {
                assert_eq!(token_file, tree.path().join("token"));
                assert_eq!(secret.is_some(), has_secret);
            }
            Identity::App { .. } => panic!("the user's token was not taken"),
        }
    }
}

#[test]
fn no_configuration_shows_its_secrets() {
    let proxy = format!("app_secret: {SECRET}\n  proxy: http://me:{SECRET}@proxy:3128");
    let source = source(&with(&proxy));
    let parsed = parse(&source, &env(), &()).unwrap();
    assert_eq!(secret(&parsed), SECRET);
    for shown in [
        format!("{parsed:?}"),
        format!("{parsed:#?}"),
        format!("{source:?}"),
    ] {
        assert!(!shown.contains(SECRET), "{shown}");
    }
}

/// Each is a way to write the secret wrongly, or to have an error near it.
#[rstest]
#[case("app_secret: SECRET\n  app_secret_file: x")]
#[case("app_secret: SECRET\n  app_secret: SECRET")]
#[case("app_secret: SECRET more")]
#[case("app_secret: [SECRET]")]
#[case("app_secret: [SECRET")]
#[case("app_secret: {SECRET}")]
#[case("app_secret: {SECRET}x")]
#[case("app_secret: !SECRET")]
#[case("app_secret: !SECRET x")]
#[case("app_secret: *SECRET")]
#[case("app_secret: @SECRET")]
#[case("app_secret: %SECRET")]
#[case("app_secret: \"SECRET")]
#[case("app_secret: \"SECRET\" x")]
#[case("app_secret: \"\\USECRET\"")]
#[case("app_secret: a: SECRET")]
#[case("app_secret: |\n    a\n    SECRET")]
#[case("app_secret:\n    - SECRET")]
#[case("app_secret:\n  SECRET")]
#[case("app_secret SECRET")]
#[case("app_secret=SECRET")]
#[case("app_secret:SECRET")]
#[case("app_secret：SECRET")]
#[case("app-secret: SECRET")]
#[case("app_sekret: SECRET")]
#[case("secret: SECRET")]
#[case("\tapp_secret: SECRET")]
#[case(" app_secret: SECRET")]
#[case("user_token: SECRET")]
#[case("proxy: me:SECRET@proxy:3128")]
#[case("proxy: ftp://me:SECRET@proxy:3128")]
#[case("proxy: [http://me:SECRET@proxy:3128]")]
#[case("endpoint: https://me:SECRET@open.feishu.cn")]
#[case("endpoint: http://me:SECRET@open.feishu.cn")]
fn no_error_shows_a_secret(#[case] lines: &str) {
    let text = with(&lines.replace("SECRET", SECRET));
    let error = refused(&text);
    assert!(!error.problems().is_empty());
    for shown in [
        error.to_string(),
        format!("{error:?}"),
        format!("{error:#?}"),
    ] {
        assert!(!shown.contains(SECRET), "{shown}");
    }
}

/// All that YAML 1.1 takes for the end of a line.
#[rstest]
fn whatever_ends_a_line_the_place_is_right_and_the_secret_hidden(
    #[values("\n", "\r\n", "\r", "\u{85}", "\u{2028}", "\u{2029}")] end: &str,
) {
    let text = format!("oops: 1\nfeishu:\n  app_secret: {SECRET}\n  nonsense: 1\n");
    let report = refused(&text.replace('\n', end));
    for (key, line) in [("oops", 1), ("feishu.nonsense", 4)] {
        let told = |problem: &Problem| {
            let place = problem.place.as_ref();
            problem.key.to_string() == key && place.is_some_and(|place| place.line == line)
        };
        assert!(report.problems().iter().any(told), "{report}");
    }
    let report = report.to_string();
    assert!(report.contains("  nonsense: 1"), "{report}");
    assert!(!report.contains(SECRET), "{report}");
}
