//! A configuration with its rules compiled: one step, and every problem of the file told together.

use super::{Route, Routes, RuleProblem, RuleSet, check_ignore, check_rule};
use crate::config::{
    self, Config, ConfigError, Environment, Problem, Rule, RuleCheck, RuleComplaint, Source,
};

/// A configuration that can be used.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Its mappings with their rules.
    pub routes: Routes,
    /// What deserves a look and stops nothing.
    pub warnings: Vec<Problem>,
}

/// Reads a configuration and compiles its rules.
///
/// # Errors
/// With every problem of the file, in the file's order.
pub fn load(source: &Source, env: &Environment) -> Result<Loaded, ConfigError> {
    let parsed = config::parse(source, env, &Checker)?;
    let routes = parsed.config.mappings.iter().filter_map(|mapping| {
        // The checker has compiled the same texts, so none of them fails now.
        let rules = RuleSet::compile(mapping).ok()?;
        Some(Route {
            mapping: mapping.clone(),
            rules,
        })
    });
    let routes = Routes::new(routes);
    Ok(Loaded {
        config: parsed.config,
        routes,
        warnings: parsed.warnings,
    })
}

/// What this room knows of the texts that `config` takes as they are.
struct Checker;

impl RuleCheck for Checker {
    fn rule(&self, rule: &Rule) -> Vec<RuleComplaint> {
        check_rule(rule).into_iter().map(complaint).collect()
    }

    fn ignore(&self, pattern: &str) -> Vec<RuleComplaint> {
        check_ignore(pattern).into_iter().map(complaint).collect()
    }
}

fn complaint(problem: RuleProblem) -> RuleComplaint {
    let RuleProblem { key, message, help } = problem;
    // A complaint about an ignored pattern is already at its place.
    RuleComplaint {
        key: if key == "ignore" { "" } else { key },
        message,
        help,
    }
}
