//! Where a key path stands in the text, and how its value is spelt there.
//!
//! `serde_yaml` tells positions in its errors only. So a seed walks the wanted path and fails there
//! on purpose: the error's position is the answer. One walk reads the whole text, which is why
//! places are looked up for problems only, never for values that are right.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny};

use super::keypath::{KeyPath, Segment};
use super::raw::{Node, Visit};

/// What is looked for at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The value, else the deepest value on the way to it that exists.
    Value,
    /// The last key itself, in its n-th occurrence (from 0) in its map.
    Key(usize),
}

/// Line and column, from 1, in characters.
pub(super) fn place(text: &str, path: &KeyPath, part: Part) -> Option<(usize, usize)> {
    let walk = Walk {
        way: path.segments(),
        part,
        spelling: None,
    };
    let error = walk
        .deserialize(serde_yaml::Deserializer::from_str(text))
        .err()?;
    let at = error.location()?;
    Some((at.line(), at.column()))
}

/// The spelling of the scalar at `path`: `2024.10` where YAML sees the number 2024.1.
pub(super) fn spelling(text: &str, path: &KeyPath) -> Option<String> {
    let mut found = None;
    let walk = Walk {
        way: path.segments(),
        part: Part::Value,
        spelling: Some(&mut found),
    };
    // Ends by an error always: that is how the walk stops.
    let _ = walk.deserialize(serde_yaml::Deserializer::from_str(text));
    found
}

struct Walk<'a> {
    way: &'a [Segment],
    part: Part,
    /// Where to put the scalar's text once the end is reached.
    spelling: Option<&'a mut Option<String>>,
}

fn here<T, E: de::Error>() -> Result<T, E> {
    Err(E::custom("here"))
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.way.is_empty() && self.spelling.is_some() {
            deserializer.deserialize_str(self)
        } else {
            deserializer.deserialize_any(self)
        }
    }
}

impl<'de> de::Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the way to a key")
    }

    fn visit_map<A: de::MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let Some((Segment::Key(wanted), rest)) = self.way.split_first() else {
            return here();
        };
        let mut skip = match self.part {
            Part::Key(nth) if rest.is_empty() => Some(nth),
            _ => None,
        };
        while let Some(found) = map.next_key_seed(KeySeed {
            wanted,
            stop: skip == Some(0),
        })? {
            if !found {
                map.next_value::<IgnoredAny>()?;
            } else if let Some(more) = &mut skip {
                *more = more.saturating_sub(1);
                map.next_value::<IgnoredAny>()?;
            } else {
                self.way = rest;
                return map.next_value_seed(self);
            }
        }
        here()
    }

    fn visit_seq<A: de::SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        let Some((Segment::Index(wanted), rest)) = self.way.split_first() else {
            return here();
        };
        for _ in 0..*wanted {
            if list.next_element::<IgnoredAny>()?.is_none() {
                return here();
            }
        }
        self.way = rest;
        list.next_element_seed(self)?;
        here()
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        if let (true, Some(spelling)) = (self.way.is_empty(), self.spelling) {
            *spelling = Some(value.to_owned());
        }
        here()
    }
}

/// Tells whether a key is the wanted one; when told to stop there, fails on it.
struct KeySeed<'a> {
    wanted: &'a str,
    stop: bool,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(Visit(|key: Node| {
            let found = key.as_key() == self.wanted;
            if found && self.stop {
                Err("here")
            } else {
                Ok(found)
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const TEXT: &str = "\
top: 1
map:
  # a comment
  plain: 2024.10
  list:
    - first
    - deep: [1, {x: \"ü\", y: !tag z}]
  2: number
  again: one
  again: two
  empty:
";

    #[rstest]
    #[case("", Part::Value, (1, 1))]
    #[case("top", Part::Value, (1, 6))]
    #[case("top", Part::Key(0), (1, 1))]
    #[case("map", Part::Value, (4, 3))]
    #[case("map.plain", Part::Value, (4, 10))]
    #[case("map.plain", Part::Key(0), (4, 3))]
    #[case("map.list", Part::Value, (6, 5))]
    #[case("map.list/0", Part::Value, (6, 7))]
    #[case("map.list/1.deep/1.x", Part::Value, (7, 21))]
    #[case("map.list/1.deep/1.y", Part::Key(0), (7, 26))]
    #[case("map.list/1.deep/1.y", Part::Value, (7, 29))]
    #[case("map.2", Part::Key(0), (8, 3))]
    #[case("map.again", Part::Key(0), (9, 3))]
    #[case("map.again", Part::Key(1), (10, 3))]
    #[case("map.empty", Part::Key(0), (11, 3))]
    // What does not exist is shown at the deepest value on the way to it.
    #[case("map.nothing.below", Part::Value, (4, 3))]
    #[case("map.list/1.missing", Part::Value, (7, 7))]
    #[case("map.plain.deeper", Part::Value, (4, 10))]
    fn a_path_is_found_in_the_text(
        #[case] path: &str,
        #[case] part: Part,
        #[case] expected: (usize, usize),
    ) {
        assert_eq!(place(TEXT, &at(path), part), Some(expected));
    }

    #[rstest]
    #[case("top", Some("1"))]
    #[case("map.plain", Some("2024.10"))]
    #[case("map.list", None)]
    #[case("map.nothing", None)]
    fn a_scalar_is_spelt_as_in_the_text(#[case] path: &str, #[case] expected: Option<&str>) {
        assert_eq!(spelling(TEXT, &at(path)).as_deref(), expected);
    }

    /// `a.b/1.c` for `a.b[1].c`.
    fn at(path: &str) -> KeyPath {
        path.split('.').fold(KeyPath::default(), |path, step| {
            let mut parts = step.split('/');
            let path = path.below(parts.next().unwrap_or_default());
            parts.fold(path, |path, index| path.index(index.parse().unwrap()))
        })
    }
}
