//! The keys of rows, compared as a person reads them. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;

/// What a key column says, in the form in which it is compared: full-width and half-width forms are
/// equal (Unicode NFKC), white space at the end does not count, and `007` is not `7`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct RowKey(String);

impl RowKey {
    /// The key that a text stands for; `None` when it says nothing.
    pub fn new(text: &str) -> Option<Self> {
        let mut key: String = text.nfkc().collect();
        key.truncate(key.trim_end().len());
        (!key.trim().is_empty()).then_some(Self(key))
    }

    /// The compared form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for RowKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).ok_or_else(|| serde::de::Error::custom("a key that says nothing"))
    }
}

impl fmt::Display for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("A-7", "A-7  ", true)]
    #[case("A-7", "A-7\u{3000}", true)]
    #[case("ＡＢ－７", "AB-7", true)]
    #[case("ｶﾞ", "ガ", true)]
    #[case("e\u{301}", "é", true)]
    #[case("007", "7", false)]
    #[case("7.0", "7", false)]
    #[case("a-7", "A-7", false)]
    #[case("A 7", "A7", false)]
    #[case(" A7", "A7", false)]
    fn keys_are_equal_as_a_person_reads_them(
        #[case] one: &str,
        #[case] other: &str,
        #[case] equal: bool,
    ) {
        assert_eq!(RowKey::new(one) == RowKey::new(other), equal);
    }

    #[test]
    fn what_says_nothing_is_no_key() {
        for text in ["", " ", "\u{3000}", "\t"] {
            assert_eq!(RowKey::new(text), None);
        }
    }

    proptest! {
        #[test]
        fn the_compared_form_of_a_key_is_itself(text in "\\PC*") {
            if let Some(key) = RowKey::new(&text) {
                prop_assert_eq!(RowKey::new(key.as_str()), Some(key));
            }
        }
    }
}
