//! The way to a value in the configuration, as `mappings[0].rules[2].cell`. Knows nothing of YAML.

use std::fmt;

/// One step of a [`KeyPath`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Segment {
    /// Into a map, by its key.
    Key(String),
    /// Into a list, by position, from 0.
    Index(usize),
}

/// The way from the top of the file to a value; empty for the file as a whole.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct KeyPath(Vec<Segment>);

impl KeyPath {
    /// This path and one key more.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.with(Segment::Key(key.to_owned()))
    }

    /// This path and one list entry more.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Segment::Index(index))
    }

    /// This path and the keys of a dotted text, as `find_row.equals`.
    #[must_use]
    pub fn below(&self, dotted: &str) -> Self {
        let keys = dotted.split('.').filter(|key| !key.is_empty());
        keys.fold(self.clone(), |path, key| path.key(key))
    }

    /// The steps, from the top.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// The last step when it is a key.
    pub fn last_key(&self) -> Option<&str> {
        match self.0.last() {
            Some(Segment::Key(key)) => Some(key),
            _ => None,
        }
    }

    /// Whether it stands for the file as a whole.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    fn with(&self, segment: Segment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Key(key) if n == 0 => write!(f, "{}", key.escape_debug())?,
                Segment::Key(key) => write!(f, ".{}", key.escape_debug())?,
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_as_people_write_it() {
        let rule = KeyPath::default()
            .key("mappings")
            .index(0)
            .key("rules")
            .index(2);
        assert_eq!(
            rule.below("find_row.equals").to_string(),
            "mappings[0].rules[2].find_row.equals"
        );
        assert_eq!(rule.below("").to_string(), "mappings[0].rules[2]");
        assert_eq!(KeyPath::default().to_string(), "");
    }

    #[test]
    fn a_key_with_control_characters_stays_on_one_line() {
        assert_eq!(KeyPath::default().key("a\nb").to_string(), "a\\nb");
    }
}
