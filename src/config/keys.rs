//! The keys of the configuration, section by section, and what to say about one that is unknown.

/// A section and its keys, in the order in which people are told of them.
pub(super) struct Keys {
    /// What people are told of where the section is.
    pub(super) section: &'static str,
    /// The keys that it may have.
    pub(super) known: &'static [&'static str],
}

pub(super) const ROOT: Keys = Keys {
    section: "at the top of the file",
    known: &[
        "state_dir",
        "feishu",
        "watch",
        "status",
        "control",
        "mappings",
    ],
};
pub(super) const FEISHU: Keys = Keys {
    section: "under `feishu:`",
    known: &[
        "endpoint",
        "app_id",
        "app_secret_file",
        "app_secret",
        "user_token_file",
        "image_encoding",
        "requests_per_second",
        "monthly_calls",
        "connect_timeout",
        "request_timeout",
        "proxy",
        "ca_file",
    ],
};
pub(super) const WATCH: Keys = Keys {
    section: "under `watch:`",
    known: &["backend", "poll_interval", "settle", "rescan_every"],
};
pub(super) const STATUS: Keys = Keys {
    section: "under `status:`",
    known: &["listen", "token_file"],
};
pub(super) const CONTROL: Keys = Keys {
    section: "under `control:`",
    known: &["group"],
};
pub(super) const MAPPING: Keys = Keys {
    section: "in a mapping",
    known: &[
        "name",
        "folder",
        "recursive",
        "spreadsheet",
        "sheet",
        "ignore",
        "min_interval",
        "max_bytes",
        "watch",
        "rules",
    ],
};
pub(super) const RULE: Keys = Keys {
    section: "in a rule",
    known: &["files", "cell", "find_row", "column", "append"],
};
pub(super) const FIND_ROW: Keys = Keys {
    section: "under `find_row:`",
    known: &["column", "equals", "first_row"],
};
pub(super) const APPEND: Keys = Keys {
    section: "under `append:`",
    known: &["column", "first_row"],
};

const ALL: [&Keys; 9] = [
    &ROOT, &FEISHU, &WATCH, &STATUS, &CONTROL, &MAPPING, &RULE, &FIND_ROW, &APPEND,
];

/// What people write for a key of ours, beyond what spelling alone would find.
const OTHER_WORDS: [(&str, &str); 16] = [
    ("path", "folder"),
    ("dir", "folder"),
    ("directory", "folder"),
    ("pattern", "files"),
    ("glob", "files"),
    ("match", "files"),
    ("range", "cell"),
    ("target", "cell"),
    ("url", "spreadsheet"),
    ("token", "spreadsheet"),
    ("spreadsheet_token", "spreadsheet"),
    ("sheet_id", "sheet"),
    ("tab", "sheet"),
    ("secret", "app_secret_file"),
    ("base_url", "endpoint"),
    ("exclude", "ignore"),
];

/// What would be right where `key` is unknown.
pub(super) fn suggestion(key: &str, here: &Keys) -> String {
    if key == "<<" {
        return "merge keys (`<<`) are not supported; a whole value can be repeated with `&name` and `*name`"
            .to_owned();
    }
    let plain = key.trim().to_lowercase().replace(['-', ' '], "_");
    let nearest = |keys: &Keys| {
        let distance = |known: &&str| strsim::damerau_levenshtein(&plain, known);
        let nearest = keys.known.iter().copied().min_by_key(distance)?;
        let near = strsim::damerau_levenshtein(&plain, nearest) <= (plain.len() / 3).clamp(1, 3)
            || plain.replace('_', "") == nearest.replace('_', "");
        near.then_some(nearest)
    };
    let exact = |keys: &&&Keys| keys.known.contains(&plain.as_str());
    let other = OTHER_WORDS
        .iter()
        .find(|(word, ours)| *word == plain && here.known.contains(ours));
    let elsewhere = ALL.iter().find(exact);

    if let Some(near) = nearest(here).filter(|_| elsewhere.is_none() || exact(&&here)) {
        return format!("did you mean `{near}`?");
    }
    if let Some((_, ours)) = other {
        return format!("did you mean `{ours}`?");
    }
    if let Some(keys) = elsewhere {
        let places: Vec<&str> = ALL
            .iter()
            .filter(|keys| exact(keys))
            .map(|keys| keys.section)
            .collect();
        let indentation = "; is the line indented as it should be?";
        let places = if places.is_empty() {
            keys.section.to_owned()
        } else {
            places.join(" or ")
        };
        return format!("`{plain}` belongs {places}{indentation}");
    }
    if let Some(near) = nearest(here) {
        return format!("did you mean `{near}`?");
    }
    let known: Vec<String> = here.known.iter().map(|key| format!("`{key}`")).collect();
    format!("known {}: {}", here.section, known.join(", "))
}

/// Every key of every section, for the test that the example shows them all.
#[cfg(test)]
pub(super) fn every_key() -> impl Iterator<Item = &'static str> {
    ALL.iter().flat_map(|keys| keys.known.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("app_idd", &FEISHU, "did you mean `app_id`?")]
    #[case("App-Id", &FEISHU, "did you mean `app_id`?")]
    #[case("appid", &FEISHU, "did you mean `app_id`?")]
    #[case("appSecret", &FEISHU, "did you mean `app_secret`?")]
    #[case("foldr", &MAPPING, "did you mean `folder`?")]
    #[case("path", &MAPPING, "did you mean `folder`?")]
    #[case("app_id", &ROOT, "`app_id` belongs under `feishu:`; is the line indented as it should be?")]
    #[case("cell", &MAPPING, "`cell` belongs in a rule; is the line indented as it should be?")]
    #[case(
        "first_row",
        &RULE,
        "`first_row` belongs under `find_row:` or under `append:`; is the line indented as it should be?"
    )]
    #[case("banana", &STATUS, "known under `status:`: `listen`, `token_file`")]
    fn an_unknown_key_is_met_with_what_was_meant(
        #[case] key: &str,
        #[case] here: &Keys,
        #[case] help: &str,
    ) {
        assert_eq!(suggestion(key, here), help);
    }
}
