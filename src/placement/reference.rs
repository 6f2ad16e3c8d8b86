//! Checks the tables of `docs/patterns.md` row by row, so that what users read is what happens.

use super::ignore::Ignore;
use super::pattern::decode::Decoded;
use super::{BUILT_IN_IGNORE, Pattern, RelPath, Template};

const PAGE: &str = include_str!("../../docs/patterns.md");

/// The rows of the table with this head; a `\|` within a cell is a `|`.
fn rows(head: &str) -> Vec<Vec<String>> {
    let (_, table) = PAGE
        .split_once(&format!("\n{head}\n"))
        .unwrap_or_else(|| panic!("the page has no table {head}"));
    table
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            line.replace("\\|", "\0")
                .trim_matches('|')
                .split('|')
                .map(|cell| cell.trim().replace('\0', "|"))
                .collect()
        })
        .collect()
}

fn code(cell: &str) -> &str {
    cell.strip_prefix('`')
        .and_then(|cell| cell.strip_suffix('`'))
        .unwrap_or_else(|| panic!("{cell} is not code"))
}

fn path(cell: &str) -> RelPath {
    RelPath::new(code(cell).as_ref()).unwrap()
}

#[test]
fn every_example_of_a_pattern_holds() {
    let rows = rows("| pattern | path | matches / captures |");
    assert!(rows.len() > 20, "only {} rows", rows.len());
    for row in rows {
        let [pattern, file, expected] = row.as_slice() else {
            panic!("{row:?} has not three cells");
        };
        let file = path(file);
        let pattern = Pattern::parse(code(pattern)).unwrap();
        let found = match pattern.captures(&file) {
            None => "no".to_owned(),
            Some(_) if pattern.capture_names().is_empty() => "yes".to_owned(),
            Some(captures) => captures
                .iter()
                .map(|(name, text)| format!("{name} = `{}`", str::from_utf8(text).unwrap()))
                .collect::<Vec<_>>()
                .join(", "),
        };
        assert_eq!(&found, expected, "{pattern} on {file}");
    }
}

#[test]
fn every_example_of_a_template_holds() {
    let rows = rows("| pattern | template | path | becomes |");
    assert!(rows.len() >= 10, "only {} rows", rows.len());
    for row in rows {
        let [pattern, template, file, expected] = row.as_slice() else {
            panic!("{row:?} has not four cells");
        };
        let (file, pattern) = (path(file), Pattern::parse(code(pattern)).unwrap());
        let template = Template::parse(code(template), pattern.capture_names()).unwrap();
        let found = match template.render(&pattern.captures(&file).unwrap()) {
            Ok(text) => format!("`{text}`"),
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(&found, expected, "{template} on {file}");
    }
}

#[test]
fn every_example_of_an_ignored_file_holds() {
    let rows = rows("| ignore | path | ignored by |");
    assert!(rows.len() > 10, "only {} rows", rows.len());
    for row in rows {
        let [own, file, expected] = row.as_slice() else {
            panic!("{row:?} has not three cells");
        };
        let own: Vec<_> = (!own.is_empty())
            .then(|| Pattern::parse(code(own)).unwrap())
            .into_iter()
            .collect();
        let (file, ignore) = (path(file), Ignore::new(&own).unwrap());
        let found = ignore
            .pattern_for(&Decoded::new(&file))
            .map_or("nothing".to_owned(), |pattern| format!("`{pattern}`"));
        assert_eq!(&found, expected, "{own:?} on {file}");
    }
}

#[test]
fn the_page_lists_what_is_ignored_everywhere() {
    let listed: Vec<_> = rows("| built in | made by |")
        .iter()
        .map(|row| code(&row[0]).to_owned())
        .collect();
    assert_eq!(listed, BUILT_IN_IGNORE);
}
