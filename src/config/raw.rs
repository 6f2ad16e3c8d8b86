//! The YAML text as a plain tree. Duplicate keys and wrong kinds are kept, not refused: whoever
//! reads the tree can then tell all of them at once instead of the first. With `locate` the only
//! user of `serde_yaml` in the program.
//!
//! The tree holds secrets, so nothing here may derive `Debug`.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, VariantAccess};

/// One value of the file.
pub(super) enum Node {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An unquoted number.
    Number(Number),
    /// Text, quoted or not.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map, in the file's order, with every duplicate.
    Map(Vec<(String, Node)>),
    /// A value behind a `!tag`, which no key takes.
    Tagged(String),
}

/// An unquoted number: what it says to YAML. Its spelling (`2024.10`) is [`super::locate`]'s to find.
pub(super) struct Number {
    /// The value when it is whole and not negative.
    pub(super) whole: Option<u64>,
    shown: String,
}

impl Number {
    fn node(whole: Option<u64>, shown: &impl ToString) -> Node {
        let shown = shown.to_string();
        Node::Number(Self { whole, shown })
    }
}

impl Node {
    /// The kind, for people.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map of keys",
            Self::Tagged(_) => "a YAML tag",
        }
    }

    /// The text of a node that stands where a key belongs.
    pub(super) fn as_key(&self) -> String {
        match self {
            Self::Null => "~".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number(number) => number.shown.clone(),
            Self::Text(text) => text.clone(),
            Self::List(_) => "[...]".to_owned(),
            Self::Map(_) => "{...}".to_owned(),
            Self::Tagged(tag) => format!("!{tag}"),
        }
    }
}

/// What `serde_yaml` says of a text that is no YAML.
pub(super) struct Refusal {
    /// Its own words, with their positions.
    pub(super) words: String,
    /// Line and column, from 1.
    pub(super) place: Option<(usize, usize)>,
}

/// Reads the text into a tree.
pub(super) fn read(text: &str) -> Result<Node, Refusal> {
    serde_yaml::from_str(text).map_err(|error| Refusal {
        words: error.to_string(),
        place: error.location().map(|at| (at.line(), at.column())),
    })
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visit(Ok))
    }
}

/// Reads any value as a [`Node`] and hands it on. A refusal by the function carries the position of
/// the value, which one made after the value has been read would not.
pub(super) struct Visit<F>(pub(super) F);

impl<'de, T, F: FnOnce(Node) -> Result<T, &'static str>> de::Visitor<'de> for Visit<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<T, E> {
        (self.0)(Node::Null).map_err(E::custom)
    }

    fn visit_none<E: de::Error>(self) -> Result<T, E> {
        (self.0)(Node::Null).map_err(E::custom)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<T, E> {
        (self.0)(Node::Bool(value)).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<T, E> {
        (self.0)(Number::node(Some(value), &value)).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
        (self.0)(Number::node(u64::try_from(value).ok(), &value)).map_err(E::custom)
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<T, E> {
        (self.0)(Number::node(None, &value)).map_err(E::custom)
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<T, E> {
        (self.0)(Number::node(None, &value)).map_err(E::custom)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<T, E> {
        (self.0)(Number::node(None, &value)).map_err(E::custom)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<T, E> {
        (self.0)(Node::Text(value.to_owned())).map_err(E::custom)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<T, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element()? {
            nodes.push(node);
        }
        (self.0)(Node::List(nodes)).map_err(de::Error::custom)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<Node, Node>()? {
            entries.push((key.as_key(), value));
        }
        (self.0)(Node::Map(entries)).map_err(de::Error::custom)
    }

    fn visit_enum<A: de::EnumAccess<'de>>(self, data: A) -> Result<T, A::Error> {
        let (tag, content) = data.variant::<String>()?;
        content.newtype_variant::<IgnoredAny>()?;
        (self.0)(Node::Tagged(tag)).map_err(de::Error::custom)
    }
}
