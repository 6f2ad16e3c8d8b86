//! The example file: it is right, it shows every key, and what it shows as a default is one.

use super::*;
use proptest::prelude::*;
use std::path::PathBuf;

const EXAMPLE: &str = include_str!("../../../config.example.yaml");

fn example() -> Config {
    // The one file that the example names need not exist where tests run.
    let text = EXAMPLE.replace("  app_secret_file: /etc/pixcell/app_secret\n", "");
    assert_ne!(text, EXAMPLE, "the example shows where the secret is");
    parsed(&text).config
}

#[test]
fn the_example_shows_the_defaults() {
    let (shown, built_in) = (example(), parsed(GOOD).config);
    let (of_shown, of_built_in) = (&shown.feishu, &built_in.feishu);
    assert_eq!(of_shown.endpoint, of_built_in.endpoint);
    assert_eq!(of_shown.image_encoding, of_built_in.image_encoding);
    assert_eq!(
        of_shown.requests_per_second,
        of_built_in.requests_per_second
    );
    assert_eq!(of_shown.monthly_calls, of_built_in.monthly_calls);
    assert_eq!(of_shown.connect_timeout, of_built_in.connect_timeout);
    assert_eq!(of_shown.request_timeout, of_built_in.request_timeout);
    assert_eq!(shown.status.listen, built_in.status.listen);
    assert!(shown.status.token.is_none() && built_in.status.token.is_none());
    let (of_shown, of_built_in) = (&shown.mappings[0], &built_in.mappings[0]);
    assert_eq!(of_shown.recursive, of_built_in.recursive);
    assert_eq!(of_shown.min_interval, of_built_in.min_interval);
    assert_eq!(of_shown.max_bytes, of_built_in.max_bytes);
    assert_eq!(of_shown.watch, of_built_in.watch);
}

#[test]
fn the_example_shows_every_key() {
    for key in keys::every_key() {
        let shows = |line: &str| {
            let line = line.trim_start_matches([' ', '#', '-', '{', ',']);
            line.starts_with(&format!("{key}:")) || line.contains(&format!(" {key}: "))
        };
        assert!(
            EXAMPLE.lines().any(shows),
            "the example does not show `{key}`"
        );
    }
}

/// What is left out by default stands there after `#` without a space, ready to be used.
#[test]
fn every_key_that_the_example_leaves_out_would_be_taken() {
    let used: String = EXAMPLE
        .lines()
        .filter(|line| !line.trim_start().starts_with("app_secret_file:"))
        .map(|line| {
            let bare = line.trim_start();
            let key = bare
                .strip_prefix('#')
                .filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()));
            let indent = &line[..line.len() - bare.len()];
            key.map_or_else(|| format!("{line}\n"), |key| format!("{indent}{key}\n"))
        })
        .collect();
    let error = refused(&used);
    let keys: Vec<String> = error
        .problems()
        .iter()
        .map(|problem| problem.key.to_string())
        .collect();
    // These name files, which are not there; nothing else may be wrong.
    assert_eq!(
        keys,
        [
            "feishu.user_token_file",
            "feishu.ca_file",
            "status.token_file"
        ],
        "{error}"
    );
}

proptest! {
    // Each case reads the whole example.
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_folder_filled_into_the_example_is_read_as_it_is_called(
        parts in prop::collection::vec("[^/\0]{1,12}|[\"'\\\\:#{}\t\n\u{85}\u{2028}\u{feff}é%&*!|> -]{1,8}|null|~", 1..4)
    ) {
        // The folder above could hold the state, which is refused.
        prop_assume!(parts.iter().all(|part| part != ".."));
        let folder = format!("/srv/{}", parts.join("/"));
        let starter = Starter {
            endpoint: "https://open.feishu.cn".into(),
            app_id: "cli_mine".into(),
            app_secret_file: None,
            name: "lobby".into(),
            folder: folder.clone(),
            spreadsheet: "ShtMine".into(),
        };
        let read = parsed(&starter.text()).config.mappings[0].folder.clone();
        // Separators that change nothing are taken out.
        prop_assert_eq!(read, folder.parse::<PathBuf>().unwrap().components().collect::<PathBuf>());
    }
}
