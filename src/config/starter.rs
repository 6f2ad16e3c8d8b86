//! The text of a first configuration: `config.example.yaml` with its comments, filled in. Pure; whether the
//! result is right is for [`parse`](super::parse) to say.

use std::fmt::Write as _;

use super::defaults;
use super::resolve::product;
use super::target::SpreadsheetLink;

/// The example file. Each line that is replaced stands in it once.
const EXAMPLE: &str = include_str!("../../config.example.yaml");

/// What a first configuration has to say.
#[derive(Debug, Clone)]
pub struct Starter {
    /// The API's address.
    pub endpoint: String,
    /// The app's id.
    pub app_id: String,
    /// The file that holds the app's secret; `None`: systemd or a variable hands it over.
    pub app_secret_file: Option<String>,
    /// The mapping's name.
    pub name: String,
    /// The watched folder.
    pub folder: String,
    /// The document's address or token.
    pub spreadsheet: String,
}

impl Starter {
    /// The file's text.
    pub fn text(&self) -> String {
        let secret = match &self.app_secret_file {
            Some(file) => format!("app_secret_file: {}", quoted(file)),
            None => "#app_secret_file: /etc/pixcell/app_secret".to_owned(),
        };
        let lines = [
            ("endpoint:", format!("endpoint: {}", quoted(&self.endpoint))),
            ("app_id:", format!("app_id: {}", quoted(&self.app_id))),
            ("app_secret_file:", secret),
            ("- name:", format!("- name: {}", quoted(&self.name))),
            ("folder:", format!("folder: {}", quoted(&self.folder))),
            (
                "spreadsheet:",
                format!("spreadsheet: {}", quoted(&self.spreadsheet)),
            ),
        ];
        EXAMPLE.lines().fold(String::new(), |mut text, line| {
            let bare = line.trim_start();
            let filled = lines.iter().find(|(key, _)| bare.starts_with(key));
            let indent = &line[..line.len() - bare.len()];
            let bare = filled.map_or(bare, |(_, new)| new);
            let _ = writeln!(text, "{indent}{bare}");
            text
        })
    }
}

/// The API's address for a document: that of Lark for one of Lark's, else that of Feishu. `None` is one that
/// is not understood.
pub fn endpoint_for(spreadsheet: Option<&SpreadsheetLink>) -> &'static str {
    let host = spreadsheet.and_then(|link| link.host.as_deref());
    let product = host.and_then(product);
    product.map_or(defaults::ENDPOINT, |(_, endpoint)| endpoint)
}

/// A YAML text that stands for exactly these letters, on one line.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            // What YAML 1.1 does not take as it is, or takes for the end of a line.
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(letter));
            }
            control if control.is_control() => {
                let _ = write!(quoted, "\\x{:02x}", u32::from(control));
            }
            _ => quoted.push(letter),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn everything_asked_for_is_filled_in_and_every_comment_is_kept() {
        let starter = Starter {
            endpoint: "https://open.larksuite.com".into(),
            app_id: "cli_mine".into(),
            app_secret_file: Some("secret".into()),
            name: "hall".into(),
            folder: "/srv/hall".into(),
            spreadsheet: "ShtMine".into(),
        };
        let text = starter.text();
        let differ: Vec<_> = EXAMPLE
            .lines()
            .zip(text.lines())
            .filter(|(one, other)| one != other)
            .map(|(_, new)| new.trim())
            .collect();
        let expected = [
            "endpoint: \"https://open.larksuite.com\"",
            "app_id: \"cli_mine\"",
            "app_secret_file: \"secret\"",
            "- name: \"hall\"",
            "folder: \"/srv/hall\"",
            "spreadsheet: \"ShtMine\"",
        ];
        assert_eq!(differ, expected);
        assert_eq!(text.lines().count(), EXAMPLE.lines().count());
        let without = Starter {
            app_secret_file: None,
            ..starter
        };
        assert!(without.text().contains("\n  #app_secret_file: "));
    }

    #[rstest]
    #[case("https://a.larksuite.com/sheets/Sht", "https://open.larksuite.com")]
    #[case("https://a.feishu.cn/wiki/Wik", "https://open.feishu.cn")]
    #[case("https://notlarksuite.com/sheets/Sht", "https://open.feishu.cn")]
    #[case("Sht", "https://open.feishu.cn")]
    #[case(
        "https://docs.google.com/spreadsheets/d/1/edit",
        "https://open.feishu.cn"
    )]
    fn the_documents_host_tells_which_api(#[case] spreadsheet: &str, #[case] endpoint: &str) {
        assert_eq!(endpoint_for(spreadsheet.parse().ok().as_ref()), endpoint);
    }
}
