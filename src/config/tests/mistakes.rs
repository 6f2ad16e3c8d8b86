//! The mistakes people make, and every word they then read. The snapshots are catalogues: read one
//! from top to bottom as somebody who has never heard of YAML.

use super::*;
use proptest::prelude::*;
use std::fmt::Write as _;

/// What is replaced in the good configuration, by what.
type Mistake = (&'static str, &'static str, &'static str);

fn catalogue(mistakes: &[Mistake]) -> String {
    mistakes
        .iter()
        .fold(String::new(), |mut told, (title, from, to)| {
            let error = refused(&good_but(from, to));
            let _ = writeln!(told, "# {title}\n{error}\n");
            told
        })
}

#[test]
fn yaml_that_cannot_be_read_is_explained() {
    let listed = catalogue(&[
        ("a tab", "  app_id", "\tapp_id"),
        ("a tab after spaces", "    folder", "  \tfolder"),
        (
            "no quotes around a capture, with more text",
            "\"poster.png\"",
            "{cell}.{png,jpg}",
        ),
        ("no quotes around a star", "\"poster.png\"", "*.png"),
        (
            "no quotes around two stars",
            "\"poster.png\"",
            "**/*.png  # all",
        ),
        (
            "no quotes around a star in a list",
            "    rules:",
            "    ignore: [*.bak, drafts]\n    rules:",
        ),
        ("no quotes around a class", "\"poster.png\"", "[a-z]*.png"),
        ("no quotes around an at sign", "\"poster.png\"", "@2x.png"),
        ("text after a quote", "\"poster.png\"", "\"poster\".png"),
        (
            "a quote that is never closed",
            "\"poster.png\"",
            "\"poster.png",
        ),
        (
            "a Windows path in double quotes",
            "/srv/kiosk",
            r#""C:\Users\kiosk""#,
        ),
        ("a backslash in double quotes", "poster.png", r"a\d.png"),
        ("a key that is not indented", "  app_id", "app_id"),
        (
            "a key that is not indented, above a secret",
            "  app_id: cli_a1b2c3d4",
            "app_id: cli_a1b2c3d4\n  app_secret: sesame",
        ),
        (
            "a bracket that is never closed",
            "cell: B2",
            "append: { column: B",
        ),
        ("no colon", "app_id: cli", "app_id cli"),
        ("no colon on a last line", "cell: B2", "cell B2"),
        ("no space after a colon", "folder: /srv", "folder:/srv"),
        ("an equals sign", "folder: /srv", "folder = /srv"),
        ("a full-width colon", "folder: /srv", "folder：/srv"),
        ("no space after a dash", "- name", "-name"),
        ("two colons", "B2", "B2 note: here"),
        ("a key one level too deep", "    folder", "      folder"),
        (
            "a key of a list entry too far left",
            "    folder",
            "  folder",
        ),
        (
            "a key of a list entry off by one",
            "    folder",
            "   folder",
        ),
        ("a list entry among keys", "    folder", "    - folder"),
        ("a second document", "mappings:", "---\nmappings:"),
        ("another format", "feishu:", "[feishu]"),
        ("a control character", "lobby", "lob\u{1}by"),
        ("a name that was never given", "B2", "*b2"),
    ]);
    insta::assert_snapshot!(listed);
}

#[test]
fn keys_that_are_not_right_are_named_with_what_would_be() {
    let listed = catalogue(&[
        ("misspelt", "folder", "foldr"),
        ("a section misspelt", "feishu", "fieshu"),
        ("the place misspelt", "cell:", "cel:"),
        ("with a dash", "app_id", "app-id"),
        ("in another word", "folder", "path"),
        ("unknown", "name: lobby", "name: lobby\n    colour: red"),
        ("one level too high", "  app_id", "app_id"),
        (
            "in the wrong section",
            "cell: B2",
            "cell: B2\n        min_interval: 1s",
        ),
        ("twice", "cell: B2", "cell: B2\n        cell: B3"),
        (
            "a merge key",
            "name: lobby",
            "name: lobby\n    <<: {recursive: true}",
        ),
        ("a list where keys belong", "  app_id", "  - app_id"),
        ("keys where a list belongs", "  - name", "    name"),
        ("a list for one pattern", "\"poster.png\"", "[a.png, b.png]"),
        (
            "one text where a list belongs",
            "    rules:",
            "    ignore: \"*.bak\"\n    rules:",
        ),
        ("no quotes around a capture", "cell: B2", "cell: {cell}"),
        ("two braces", "cell: B2", "cell: {{cell}}"),
        (
            "no quotes around an exclamation mark",
            "    rules:",
            "    ignore: [!keep.png]\n    rules:",
        ),
        (
            "no space after the only colon",
            "feishu:\n  app_id: cli",
            "feishu:\n  app_id:cli",
        ),
        ("no value", "folder: /srv/kiosk", "folder:"),
        ("an empty value", "/srv/kiosk", "\"\""),
        ("no folder", "    folder: /srv/kiosk\n", ""),
        ("no feishu", "feishu:\n  app_id: cli_a1b2c3d4\n", ""),
        (
            "an empty feishu",
            "feishu:\n  app_id: cli_a1b2c3d4\n",
            "feishu:\n",
        ),
        (
            "no mappings",
            &GOOD[GOOD.find("mappings").unwrap_or(0)..],
            "",
        ),
        (
            "empty mappings",
            &GOOD[GOOD.find("mappings").unwrap_or(0)..],
            "mappings: []\n",
        ),
        (
            "empty rules",
            "rules:\n      - files: \"poster.png\"\n        cell: B2\n",
            "rules:\n",
        ),
        (
            "a text instead of a mapping",
            &GOOD[GOOD.find("  - name").unwrap_or(0)..],
            "  - lobby\n",
        ),
        ("nothing at all", GOOD, ""),
        ("only comments", GOOD, "# to do\n"),
        ("a page of another kind", GOOD, "<html></html>"),
    ]);
    insta::assert_snapshot!(listed);
}

#[test]
fn values_that_are_not_right_are_repeated_with_what_would_be() {
    let watch = "mappings:";
    let listed = catalogue(&[
        (
            "a duration without a unit",
            watch,
            "watch:\n  settle: 500\nmappings:",
        ),
        (
            "an unknown unit",
            watch,
            "watch:\n  settle: 5 sheep\nmappings:",
        ),
        ("months", watch, "watch:\n  rescan_every: 15M\nmappings:"),
        (
            "too short",
            watch,
            "watch:\n  poll_interval: 50ms\nmappings:",
        ),
        ("too long", watch, "watch:\n  settle: 11m\nmappings:"),
        (
            "rescan too often",
            watch,
            "watch:\n  rescan_every: 9s\nmappings:",
        ),
        (
            "an unknown backend",
            watch,
            "watch:\n  backend: inotify\nmappings:",
        ),
        (
            "no time at all",
            "mappings:",
            "  connect_timeout: 0s\nmappings:",
        ),
        (
            "a size without a unit",
            "    rules:",
            "    max_bytes: 1000\n    rules:",
        ),
        (
            "a size too large",
            "    rules:",
            "    max_bytes: 21MiB\n    rules:",
        ),
        ("no size", "    rules:", "    max_bytes: 0B\n    rules:"),
        (
            "no rate",
            "mappings:",
            "  requests_per_second: 0\nmappings:",
        ),
        (
            "a rate in words",
            "mappings:",
            "  requests_per_second: fast\nmappings:",
        ),
        (
            "half a call",
            "mappings:",
            "  monthly_calls: 0.5\nmappings:",
        ),
        (
            "an encoding",
            "mappings:",
            "  image_encoding: binary\nmappings:",
        ),
        (
            "neither yes nor no",
            "    rules:",
            "    recursive: maybe\n    rules:",
        ),
        (
            "a port alone",
            "mappings:",
            "status:\n  listen: 8484\nmappings:",
        ),
        (
            "a host name",
            "mappings:",
            "status:\n  listen: localhost:8484\nmappings:",
        ),
        (
            "open to the network without a token",
            "mappings:",
            "status:\n  listen: 0.0.0.0:8484\nmappings:",
        ),
        ("a Windows path", "/srv/kiosk", r"C:\Users\kiosk"),
        ("a Windows share", "/srv/kiosk", r"\\server\share"),
        ("a variable", "/srv/kiosk", "$HOME/kiosk"),
        ("somebody's home", "/srv/kiosk", "~ada/kiosk"),
        (
            "an address for a folder",
            "/srv/kiosk",
            "smb://server/share",
        ),
        ("a name with a space", "name: lobby", "name: the lobby"),
        ("an app id with a space", "cli_a1b2c3d4", "cli a1"),
        (
            "an endpoint without encryption",
            "mappings:",
            "  endpoint: http://open.feishu.cn\nmappings:",
        ),
        (
            "an endpoint with a path",
            "mappings:",
            "  endpoint: https://open.feishu.cn/open-apis\nmappings:",
        ),
        (
            "an endpoint without a scheme",
            "mappings:",
            "  endpoint: open.feishu.cn\nmappings:",
        ),
        (
            "a proxy without a scheme",
            "mappings:",
            "  proxy: proxy.corp:3128\nmappings:",
        ),
        (
            "a certificate that is not there",
            "mappings:",
            "  ca_file: gone.pem\nmappings:",
        ),
        (
            "a file of a token that is not there",
            "mappings:",
            "  user_token_file: gone\nmappings:",
        ),
    ]);
    insta::assert_snapshot!(listed);
}

#[test]
fn places_that_are_not_right_are_named_with_what_would_be() {
    const URL: &str = "https://sample.feishu.cn/sheets/Iow7sNNEphp3WbtnbCscPqabcef";
    let listed = catalogue(&[
        ("a URL without a scheme", "https://", ""),
        (
            "a wiki page's settings",
            URL,
            "https://sample.feishu.cn/wiki/space/7123",
        ),
        (
            "a wiki token with junk",
            URL,
            "https://sample.feishu.cn/wiki/wik%20cn",
        ),
        (
            "a base",
            URL,
            "https://sample.feishu.cn/base/bascn1?table=tbl1",
        ),
        (
            "another service",
            URL,
            "https://docs.google.com/spreadsheets/d/1x/edit",
        ),
        ("a title for a token", URL, "the lobby's sheet"),
        ("a range for a cell", "B2", "B2:C3"),
        ("no row", "B2", "B"),
        ("a column too far", "B2", "SFA1"),
        ("a row zero", "B2", "B0"),
        ("a row zero in small letters", "B2", "a0"),
        ("row and column the wrong way round", "B2", "2B"),
        ("a cell with its sheet", "B2", "Lobby!B2"),
        ("a cell as formulas pin it", "B2", "$B$2"),
        ("a brace not closed in files", "poster.png", "{cell.png"),
        (
            "a brace not closed in ignore",
            "    rules:",
            "    ignore: [\"a\", \"b{\"]\n    rules:",
        ),
        ("no place", "        cell: B2\n", ""),
        (
            "two places",
            "cell: B2",
            "cell: B2\n        append: { column: B }",
        ),
        (
            "a column beside a cell",
            "cell: B2",
            "cell: B2\n        column: C",
        ),
        (
            "find_row without column",
            "cell: B2",
            "find_row: { column: A, equals: \"{stem}\" }",
        ),
        (
            "find_row without equals",
            "cell: B2",
            "find_row: { column: A }\n        column: D",
        ),
        ("a number for a column", "cell: B2", "append: { column: 2 }"),
        (
            "a column beyond the last",
            "cell: B2",
            "append: { column: SFA }",
        ),
        (
            "a first row of zero",
            "cell: B2",
            "append: { column: B, first_row: 0 }",
        ),
        ("two mappings of one name", GOOD, two_of_one_name()),
        (
            "state in the watched folder",
            "feishu:",
            "state_dir: /srv/kiosk/.pixcell\nfeishu:",
        ),
        (
            "the default state in the watched folder",
            "/srv/kiosk",
            "/var",
        ),
        ("several at once", GOOD, SEVERAL),
    ]);
    insta::assert_snapshot!(listed);
}

fn two_of_one_name() -> &'static str {
    let (head, entry) = GOOD.split_at(GOOD.find("  - name").unwrap_or(0));
    Box::leak(format!("{head}{entry}{entry}").into_boxed_str())
}

const SEVERAL: &str = r#"feishu:
  app_id: cli_a1b2c3d4
  conect_timeout: 10s
  request_timeout: 120
mappings:
  - name: 大厅
    folder: D:\pics
    recursive: perhaps
    spreadsheet: https://sample.feishu.cn/docx/abc
    sheet: 2024.10
    rules:
      - files: "poster.png"
        cell: B2:B3
      - files: "{cell.png"
        append: { column: 7, first_row: none }
"#;

#[test]
fn what_deserves_a_look_is_told_and_stops_nothing() {
    let nested = "  - name: inner\n    folder: /srv/kiosk/./a/../b\n    spreadsheet: shtInner\n    \
                  rules: [{files: '*', cell: A1}]\n";
    let text = GOOD.replace("  app_id", "  requests_per_second: 200\n  app_id")
        + "      - files: \"p/{sku}.png\"\n        find_row: { column: A, equals: \"{sku}\" }\n        \
           column: D\n      - files: \"*.jpg\"\n        append: { column: B }\n"
        + nested;
    let text = text.replace("sample.feishu.cn", "sample.larksuite.com");
    let told: Vec<String> = parsed(&text)
        .warnings
        .iter()
        .map(ToString::to_string)
        .collect();
    insta::assert_snapshot!(told.join("\n\n"));
}

#[test]
fn every_problem_names_file_line_and_key() {
    let error = refused(SEVERAL);
    let keys: Vec<(usize, String)> = error
        .problems()
        .iter()
        .map(|problem| {
            (
                problem.place.as_ref().unwrap().line,
                problem.key.to_string(),
            )
        })
        .collect();
    let expected = [
        (3, "feishu.conect_timeout"),
        (4, "feishu.request_timeout"),
        (7, "mappings[0].folder"),
        (8, "mappings[0].recursive"),
        (9, "mappings[0].spreadsheet"),
        (13, "mappings[0].rules[0].cell"),
        (15, "mappings[0].rules[1].append.column"),
        (15, "mappings[0].rules[1].append.first_row"),
    ];
    let expected: Vec<(usize, String)> = expected
        .iter()
        .map(|(line, key)| (*line, (*key).to_owned()))
        .collect();
    assert_eq!(keys, expected);
}

#[test]
fn lines_of_windows_editors_and_a_byte_order_mark_change_no_place() {
    let text = format!("\u{feff}{}", good_but("B2", "B2:C3").replace('\n', "\r\n"));
    let plain = refused(&good_but("B2", "B2:C3")).to_string();
    assert_eq!(refused(&text).to_string(), plain);
}

#[test]
fn a_file_that_repeats_itself_without_end_is_refused() {
    let bomb = (1..9).fold(
        "l0: &l0 [x, x, x, x, x, x, x, x, x]\n".to_owned(),
        |text, n| {
            let back = format!("*l{}", n - 1);
            format!("{text}l{n}: &l{n} [{}]\n", vec![back; 9].join(", "))
        },
    );
    assert!(refused(&bomb).to_string().contains("repetition limit"));
}

#[test]
fn a_file_that_is_nested_too_deeply_is_refused() {
    for opening in ["[", "{a: "] {
        let error = refused(&opening.repeat(1_000)).to_string();
        assert!(error.len() < 1000, "{error}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "(\\PC|\\n|\\t|\\r){0,300}") {
        let _ = parse(&source(&text), &env(), &Cells).map_err(|error| error.to_string());
    }

    /// Random text rarely gets past the first line; damage to a good one does.
    #[test]
    fn no_damage_to_a_good_text_panics(
        from in 0..GOOD.len(),
        length in 0usize..40,
        put in "[-:{}\\[\\]\"'*&!#|>%@ \\n\\ta-z0-9：表]{0,12}",
    ) {
        let to = (from + length).min(GOOD.len());
        let text = format!("{}{put}{}", &GOOD[..from], &GOOD[to..]);
        let _ = parse(&source(&text), &env(), &Cells).map_err(|error| error.to_string());
    }
}
