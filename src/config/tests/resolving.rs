//! What a right configuration becomes.

use super::*;
use crate::a1::{Column, Row};
use rstest::rstest;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

fn config(text: &str) -> Config {
    parsed(text).config
}

#[test]
fn what_is_not_said_has_its_default() {
    let Parsed { config, warnings } = parsed(GOOD);
    assert_eq!(warnings, []);
    assert_eq!(config.state_dir, Path::new("/var/lib/pixcell"));
    assert_eq!(config.status.listen, None);
    let feishu = &config.feishu;
    assert_eq!(feishu.endpoint.as_str(), "https://open.feishu.cn/");
    assert_eq!(feishu.app_id, "cli_a1b2c3d4");
    assert_eq!(feishu.image_encoding, ImageEncoding::Base64);
    assert_eq!(feishu.requests_per_second.get(), 100);
    assert_eq!(
        (feishu.monthly_calls, &feishu.proxy, &feishu.ca_file),
        (None, &None, &None)
    );
    assert_eq!(feishu.connect_timeout, Duration::from_secs(10));
    assert_eq!(feishu.request_timeout, Duration::from_mins(2));
    let mapping = &config.mappings[0];
    assert_eq!(mapping.name.as_str(), "lobby");
    assert_eq!(mapping.folder, Path::new("/srv/kiosk"));
    assert!(mapping.recursive);
    assert_eq!(mapping.sheet, SheetRef::First);
    assert_eq!(mapping.ignore, Vec::<String>::new());
    assert_eq!(mapping.min_interval, Duration::ZERO);
    assert_eq!(mapping.max_bytes, 20 * 1024 * 1024);
    assert_eq!(mapping.watch, defaults::WATCH);
    let rule = Rule {
        files: "poster.png".into(),
        place: Place::Cell { cell: "B2".into() },
    };
    assert_eq!(mapping.rules, [rule]);
}

#[test]
fn what_is_said_is_taken() {
    let text = good_but(
        "mappings:",
        "  endpoint: http://127.0.0.1:9000\n  image_encoding: array\n  requests_per_second: 7\n  \
         monthly_calls: 50000\n  connect_timeout: 3s\n  request_timeout: 1m\n  \
         proxy: http://me:pass@proxy:3128\nstate_dir: state\nstatus: {listen: '[::1]:8484'}\nmappings:",
    )
    .replace(
        "    rules:",
        "    recursive: no\n    ignore: ['drafts/**', 1.10]\n    min_interval: 1s\n    max_bytes: 1KiB\n    rules:",
    );
    let config = config(&text);
    assert_eq!(config.state_dir, Path::new("/etc/pixcell/state"));
    assert_eq!(config.status.listen, Some("[::1]:8484".parse().unwrap()));
    let feishu = &config.feishu;
    assert_eq!(feishu.endpoint.as_str(), "http://127.0.0.1:9000/");
    assert_eq!(feishu.image_encoding, ImageEncoding::Array);
    assert_eq!(feishu.requests_per_second.get(), 7);
    assert_eq!(feishu.monthly_calls.unwrap().get(), 50_000);
    assert_eq!(feishu.connect_timeout, Duration::from_secs(3));
    assert_eq!(feishu.request_timeout, Duration::from_mins(1));
    assert_eq!(
        feishu.proxy.as_ref().unwrap().expose().password(),
        Some("pass")
    );
    let mapping = &config.mappings[0];
    assert!(!mapping.recursive);
    assert_eq!(mapping.ignore, ["drafts/**", "1.10"]);
    assert_eq!(mapping.min_interval, Duration::from_secs(1));
    assert_eq!(mapping.max_bytes, 1024);
}

#[test]
fn the_three_ways_to_say_where_are_taken() {
    let text = good_but(
        "      - files: \"poster.png\"\n        cell: B2\n",
        r#"      - files: "{cell}.png"
        cell: "{cell}"
      - files: "{sku}.png"
        find_row: { column: a, equals: "{sku}" }
        column: D
      - files: "*.jpg"
        append: { column: B, first_row: 7 }
"#,
    );
    let column = |number| Column::new(number).unwrap();
    let places: Vec<Place> = config(&text).mappings[0]
        .rules
        .iter()
        .map(|rule| rule.place.clone())
        .collect();
    let expected = [
        Place::Cell {
            cell: "{cell}".into(),
        },
        Place::FindRow {
            key_column: column(1),
            equals: "{sku}".into(),
            first_row: Row::new(2).unwrap(),
            column: column(4),
        },
        Place::Append {
            column: column(2),
            first_row: Row::new(7).unwrap(),
        },
    ];
    assert_eq!(places, expected);
}

#[test]
fn a_mapping_changes_single_keys_of_watch() {
    let text = good_but(
        "mappings:",
        "watch:\n  backend: poll\n  settle: 1s\nmappings:",
    )
    .replace(
        "    rules:",
        "    watch: {settle: 0s, poll_interval: 5s}\n    rules:",
    );
    let expected = Watch {
        backend: Backend::Poll,
        settle: Duration::ZERO,
        poll_interval: Duration::from_secs(5),
        rescan_every: Duration::from_mins(15),
    };
    assert_eq!(config(&text).mappings[0].watch, expected);
}

#[rstest]
#[case("Lobby", SheetRef::Named("Lobby".into()))]
#[case("2024", SheetRef::Named("2024".into()))]
#[case("2024.10", SheetRef::Named("2024.10".into()))]
#[case("007", SheetRef::Named("007".into()))]
#[case("1e3", SheetRef::Named("1e3".into()))]
#[case("true", SheetRef::Named("true".into()))]
#[case("\"大厅 1\"", SheetRef::Named("大厅 1".into()))]
fn a_sheet_is_named_as_it_is_written(#[case] written: &str, #[case] sheet: SheetRef) {
    let text = good_but("    rules:", &format!("    sheet: {written}\n    rules:"));
    assert_eq!(config(&text).mappings[0].sheet, sheet);
}

#[test]
fn the_sheet_of_the_url_holds_unless_another_is_named() {
    let url = good_but("abcef", "abcef?sheet=Q7PlXT");
    assert_eq!(
        config(&url).mappings[0].sheet,
        SheetRef::Id("Q7PlXT".parse().unwrap())
    );
    let both = url.replace("    rules:", "    sheet: Lobby\n    rules:");
    assert_eq!(
        config(&both).mappings[0].sheet,
        SheetRef::Named("Lobby".into())
    );
}

#[test]
fn the_status_server_may_be_open_to_the_network_with_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "open-sesame\n").unwrap();
    std::fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let text = good_but(
        "mappings:",
        &format!(
            "status: {{listen: '[::]:8484', token_file: {}}}\nmappings:",
            token.display()
        ),
    );
    let parsed = parsed(&text);
    assert_eq!(parsed.warnings.len(), 0, "{:?}", parsed.warnings);
    assert_eq!(
        parsed.config.status.listen,
        Some("[::]:8484".parse().unwrap())
    );
    assert!(parsed.config.status.token.is_some());
    assert!(!format!("{:?}", parsed.config).contains("open-sesame"));
}

#[rstest]
#[case("off", None)]
#[case("false", None)]
#[case("\"off\"", None)]
#[case("127.0.0.1:8484", Some("127.0.0.1:8484"))]
fn the_status_server_listens_where_told(#[case] written: &str, #[case] listen: Option<&str>) {
    let text = good_but(
        "mappings:",
        &format!("status:\n  listen: {written}\nmappings:"),
    );
    assert_eq!(
        config(&text).status.listen,
        listen.map(|address| address.parse().unwrap())
    );
}

#[rstest]
#[case("/srv/kiosk", "/srv/kiosk")]
#[case("/srv//kiosk/./", "/srv/kiosk")]
#[case("kiosk", "/etc/pixcell/kiosk")]
#[case("./kiosk", "/etc/pixcell/kiosk")]
#[case("../kiosk", "/etc/pixcell/../kiosk")]
#[case("~/kiosk", "/home/ada/kiosk")]
#[case("\"~\"", "/home/ada")]
#[case("/srv/图片 1", "/srv/图片 1")]
fn a_folder_starts_from_the_file(#[case] written: &str, #[case] folder: &str) {
    let text = good_but("/srv/kiosk", written);
    // As text: paths compare equal with and without doubled slashes.
    assert_eq!(config(&text).mappings[0].folder.as_os_str(), folder);
}

#[rstest]
#[case("https://open.larksuite.com", true)]
#[case("https://open.feishu.cn/", true)]
#[case("https://gateway.corp:8443", true)]
#[case("http://localhost:8080", true)]
#[case("http://127.8.9.1:1", true)]
#[case("http://[::1]:8080", true)]
#[case("http://localhost.evil.com", false)]
#[case("http://10.0.0.1", false)]
#[case("https://open.feishu.cn?x=1", false)]
#[case("https://open.feishu.cn#x", false)]
#[case("https://me:hunter2@open.feishu.cn", false)]
#[case("ftp://open.feishu.cn", false)]
#[case("https://", false)]
fn an_endpoint_is_safe_to_send_the_secret_to(#[case] endpoint: &str, #[case] good: bool) {
    let text = good_but("mappings:", &format!("  endpoint: {endpoint}\nmappings:"));
    assert_eq!(parse(&source(&text), &env(), &()).is_ok(), good);
}

#[rstest]
#[case("https://open.feishu.cn", "https://a.feishu.cn/sheets/t", false)]
#[case("https://open.larksuite.com", "https://a.feishu.cn/sheets/t", true)]
#[case("https://open.feishu.cn", "https://a.larksuite.com/sheets/t", true)]
#[case(
    "https://open.larksuite.com",
    "https://a.sg.larksuite.com/sheets/t",
    false
)]
#[case("https://open.larksuite.com", "https://notfeishu.cn/sheets/t", false)]
#[case("http://127.0.0.1:9", "https://a.feishu.cn/sheets/t", false)]
#[case("https://open.larksuite.com", "shtcn1", false)]
fn documents_of_the_other_product_are_warned_about(
    #[case] endpoint: &str,
    #[case] spreadsheet: &str,
    #[case] warned: bool,
) {
    let text = good_but("mappings:", &format!("  endpoint: {endpoint}\nmappings:")).replace(
        "https://sample.feishu.cn/sheets/Iow7sNNEphp3WbtnbCscPqabcef",
        spreadsheet,
    );
    let warnings = parsed(&text).warnings;
    assert_eq!(!warnings.is_empty(), warned, "{warnings:?}");
}

#[rstest]
#[case("1", 1)]
#[case("\"12\"", 12)]
#[case("100", 100)]
#[case("1000000", 1_000_000)]
fn a_whole_number_is_taken(#[case] written: &str, #[case] rate: u32) {
    let text = good_but(
        "mappings:",
        &format!("  requests_per_second: {written}\nmappings:"),
    );
    let parsed = parsed(&text);
    assert_eq!(parsed.config.feishu.requests_per_second.get(), rate);
    assert_eq!(parsed.warnings.len(), usize::from(rate > 100));
}

#[rstest]
#[case("0")]
#[case("-1")]
#[case("1.5")]
#[case("1000001")]
#[case("99999999999999999999999999999999999999999999")]
#[case("fast")]
#[case("[1]")]
fn another_number_is_refused(#[case] written: &str) {
    let text = good_but(
        "mappings:",
        &format!("  requests_per_second: {written}\nmappings:"),
    );
    assert_eq!(
        refused(&text).problems()[0].key.to_string(),
        "feishu.requests_per_second"
    );
}

#[test]
fn a_folder_in_another_is_only_a_concern_when_both_are_watched() {
    let inner = "  - name: inner\n    folder: /srv/kiosk/a\n    spreadsheet: s\n    \
                 rules: [{files: '*', cell: A1}]\n";
    let nested = format!("{GOOD}{inner}");
    assert_eq!(
        parsed(&nested).warnings[0].key.to_string(),
        "mappings[1].folder"
    );
    let flat = nested.replace("    rules:\n", "    recursive: false\n    rules:\n");
    assert_eq!(parsed(&flat).warnings, []);
    let beside = nested.replace("/srv/kiosk/a", "/srv/kiosk-a");
    assert_eq!(parsed(&beside).warnings, []);
}

#[test]
fn one_value_can_be_repeated_by_name() {
    let text = good_but("mappings:", "watch: &calm {settle: 2s}\nmappings:")
        .replace("    rules:", "    watch: *calm\n    rules:");
    assert_eq!(
        config(&text).mappings[0].watch.settle,
        Duration::from_secs(2)
    );
}

#[test]
fn sections_with_everything_left_out_count_as_not_given() {
    let text = good_but("mappings:", "watch:\n  # settle: 1s\nstatus:\nmappings:");
    assert_eq!(config(&text).mappings[0].watch, defaults::WATCH);
}

#[test]
fn without_a_place_for_state_the_file_must_name_one() {
    let nowhere = Environment {
        state_directory: None,
        home: None,
        ..env()
    };
    let error = parse(&source(GOOD), &nowhere, &()).unwrap_err();
    assert_eq!(error.problems()[0].key.to_string(), "state_dir");
    let relative = Environment {
        state_directory: Some(OsString::from("state")),
        ..env()
    };
    let parsed = parse(&source(GOOD), &relative, &()).unwrap();
    assert_eq!(parsed.config.state_dir, PathBuf::from("/tmp/state"));
}
