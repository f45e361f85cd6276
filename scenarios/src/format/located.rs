//! A YAML tree that remembers where each value stands.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::{Error as YamlError, Location, Spanned};

/// A place in a text: 1-based line and column, byte offset and length of the value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// 1-based; 0 when unknown.
    pub line: usize,
    /// 1-based, in characters.
    pub column: usize,
    /// Byte offset in the text.
    pub offset: usize,
    /// Bytes; at least 1 so that a marker is visible.
    pub length: usize,
}

impl Place {
    /// From a parser location in `text`.
    pub(crate) fn of(location: Location, text: &str) -> Self {
        let line = usize::try_from(location.line()).unwrap_or(0);
        let column = usize::try_from(location.column()).unwrap_or(0);
        // Not every location carries byte offsets: line and column always do for string input.
        let offset = offset_of(text, line, column);
        let length = location
            .span()
            .byte_len()
            .and_then(|length| usize::try_from(length).ok())
            .unwrap_or(1)
            .clamp(1, text.len().saturating_sub(offset).max(1));
        // A marker under several lines hides more than it shows.
        let first_line = text
            .get(offset..)
            .map_or(1, |rest| rest.find('\n').unwrap_or(rest.len()));
        Self {
            line,
            column,
            offset,
            length: length.min(first_line.max(1)),
        }
    }

    /// The place of a byte inside a scalar that starts here.
    #[must_use]
    pub fn inside(self, bytes: usize, length: usize, text: &str) -> Self {
        // A quoted scalar starts one byte after its quote.
        let quoted = text
            .as_bytes()
            .get(self.offset)
            .is_some_and(|byte| matches!(byte, b'"' | b'\''));
        let shift = bytes + usize::from(quoted);
        Self {
            line: self.line,
            column: self.column + shift,
            offset: (self.offset + shift).min(text.len()),
            length: length.max(1),
        }
    }
}

fn offset_of(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    let within: usize = text
        .get(start..)
        .unwrap_or_default()
        .chars()
        .take(column.saturating_sub(1))
        .map(char::len_utf8)
        .sum();
    (start + within).min(text.len())
}

/// One node of the tree.
#[derive(Clone, Debug)]
pub struct Located {
    location: Location,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Map(Vec<Entry>),
    Seq(Vec<Located>),
    Scalar(Value),
}

/// One entry of a map.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The key.
    pub(crate) key: String,
    /// Where the key stands.
    at: Location,
    /// What it leads to.
    pub(crate) value: Located,
}

impl Entry {
    /// Where the key stands.
    pub(crate) fn place(&self, text: &str) -> Place {
        Place::of(self.at, text)
    }
}

impl Located {
    /// Reads the tree.
    pub(crate) fn parse(text: &str) -> Result<Self, YamlError> {
        let tree: Spanned<Inner> = serde_saphyr::from_str(text)?;
        Ok(Self {
            location: tree.referenced,
            content: tree.value.0,
        })
    }

    /// Where it stands.
    pub(crate) fn place(&self, text: &str) -> Place {
        Place::of(self.location, text)
    }

    /// The entries of a map.
    pub(crate) fn entries(&self) -> Option<&[Entry]> {
        match &self.content {
            Content::Map(entries) => Some(entries),
            Content::Seq(_) | Content::Scalar(_) => None,
        }
    }

    /// The items of a sequence.
    pub(crate) fn items(&self) -> Option<&[Self]> {
        match &self.content {
            Content::Seq(items) => Some(items),
            Content::Map(_) | Content::Scalar(_) => None,
        }
    }

    /// The value of an entry of a map.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        let entries = self.entries()?;
        let entry = entries.iter().find(|entry| entry.key == key)?;
        Some(&entry.value)
    }

    /// Without places.
    pub(crate) fn value(&self) -> Value {
        match &self.content {
            Content::Map(entries) => {
                let entries = entries.iter();
                Value::Object(
                    entries
                        .map(|entry| (entry.key.clone(), entry.value.value()))
                        .collect(),
                )
            }
            Content::Seq(items) => Value::Array(items.iter().map(Self::value).collect()),
            Content::Scalar(value) => value.clone(),
        }
    }

    /// Lets `change` replace every text; keys stay.
    pub(crate) fn rewrite(&mut self, change: &mut impl FnMut(&str, Location) -> Option<Value>) {
        match &mut self.content {
            Content::Map(entries) => {
                for entry in entries {
                    entry.value.rewrite(change);
                }
            }
            Content::Seq(items) => {
                for item in items {
                    item.rewrite(change);
                }
            }
            Content::Scalar(Value::String(text)) => {
                if let Some(value) = change(text, self.location) {
                    self.content = Content::Scalar(value);
                }
            }
            Content::Scalar(_) => {}
        }
    }

    /// The deepest node on a path like `azure.capacity[0].size` that exists.
    ///
    /// Paths may come from elsewhere (a config check, an API server's field error), so what cannot
    /// be followed any further ends the walk at the last node found.
    pub fn find(&self, path: &str, text: &str) -> Place {
        let mut node = self;
        for part in split_path(path) {
            let next = match &node.content {
                Content::Map(entries) => entries
                    .iter()
                    .find(|entry| entry.key == part)
                    .map(|entry| &entry.value),
                Content::Seq(items) => part
                    .parse::<usize>()
                    .ok()
                    .and_then(|index| items.get(index)),
                Content::Scalar(_) => None,
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        Place::of(node.location, text)
    }
}

/// `a.b[0].c` as `a`, `b`, `0`, `c`; a quoted key in brackets (`labels["x.y/z"]`) is one part.
fn split_path(path: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut current = String::new();
    let mut bracket = false;
    for character in path.chars() {
        match (character, bracket) {
            ('[' | '.', false) => {
                bracket = character == '[';
                parts.push(std::mem::take(&mut current));
            }
            (']', true) => {
                bracket = false;
                parts.push(std::mem::take(&mut current));
            }
            ('"' | '\'', true) => {}
            (other, _) => current.push(other),
        }
    }
    parts.push(current);
    parts.retain(|part| !part.is_empty());
    parts
}

struct Inner(Content);

impl<'de> Deserialize<'de> for Inner {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InnerVisitor)
    }
}

struct InnerVisitor;

impl<'de> Visitor<'de> for InnerVisitor {
    type Value = Inner;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Inner, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<Spanned<String>, Spanned<Inner>>()? {
            entries.push(Entry {
                key: key.value,
                at: key.referenced,
                value: Located {
                    location: value.referenced,
                    content: value.value.0,
                },
            });
        }
        Ok(Inner(Content::Map(entries)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Inner, A::Error> {
        let mut items = Vec::new();
        while let Some(value) = seq.next_element::<Spanned<Inner>>()? {
            items.push(Located {
                location: value.referenced,
                content: value.value.0,
            });
        }
        Ok(Inner(Content::Seq(items)))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Inner, E> {
        Ok(scalar(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Inner, E> {
        Ok(scalar(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Inner, E> {
        Ok(scalar(value))
    }

    // Numbers beyond 64 bits mean nothing here; as texts they are of the wrong type.
    fn visit_i128<E>(self, value: i128) -> Result<Inner, E> {
        Ok(scalar(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Inner, E> {
        Ok(scalar(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Inner, E> {
        Ok(scalar(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Inner, E> {
        Ok(scalar(value))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Inner, E> {
        Ok(scalar(String::from_utf8_lossy(value).into_owned()))
    }

    fn visit_unit<E>(self) -> Result<Inner, E> {
        Ok(scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Inner, E> {
        Ok(scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Inner, D::Error> {
        Inner::deserialize(deserializer)
    }
}

fn scalar(value: impl Into<Value>) -> Inner {
    Inner(Content::Scalar(value.into()))
}
