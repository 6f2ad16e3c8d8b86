//! The door through which the room above adds what it knows of patterns and templates, so that all
//! problems of a file are told together. Knows neither patterns nor templates.

use super::model::Rule;

/// What is wrong with a text of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleComplaint {
    /// The key below the rule, as `files`, `cell` or `find_row.equals`. Empty: the rule as a whole,
    /// or the `ignore` pattern.
    pub key: &'static str,
    /// What is wrong, in one line.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

/// Looks at the texts that `config` takes as they are. Without findings by default.
pub trait RuleCheck {
    /// What is wrong with the texts of a rule.
    fn rule(&self, rule: &Rule) -> Vec<RuleComplaint> {
        let _ = rule;
        Vec::new()
    }

    /// What is wrong with a pattern of files to ignore.
    fn ignore(&self, pattern: &str) -> Vec<RuleComplaint> {
        let _ = pattern;
        Vec::new()
    }
}

/// Takes every text.
impl RuleCheck for () {}
