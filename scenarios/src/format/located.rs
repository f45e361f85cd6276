//! A YAML tree that remembers where each value stands.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

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
    Map(Vec<(String, Located)>),
    Seq(Vec<Located>),
    Scalar,
}

impl Located {
    /// Reads the tree; the text has been read before, so an error here yields nothing.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let tree: Spanned<Inner> = serde_saphyr::from_str(text).ok()?;
        Some(Self {
            location: tree.referenced,
            content: tree.value.0,
        })
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
                    .find(|(key, _)| *key == part)
                    .map(|(_, value)| value),
                Content::Seq(items) => part
                    .parse::<usize>()
                    .ok()
                    .and_then(|index| items.get(index)),
                Content::Scalar => None,
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
        while let Some((key, value)) = map.next_entry::<String, Spanned<Inner>>()? {
            entries.push((
                key,
                Located {
                    location: value.referenced,
                    content: value.value.0,
                },
            ));
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

    fn visit_bool<E>(self, _: bool) -> Result<Inner, E> {
        Ok(Inner(Content::Scalar))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Inner, E> {
        Ok(Inner(Content::Scalar))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Inner, E> {
        Ok(Inner(Content::Scalar))
    }

    fn visit_i128<E>(self, _: i128) -> Result<Inner, E> {
        Ok(Inner(Content::Scalar))
    }

    fn visit_u128<E>(self, _: u128) -> Result<Inner, E> {
        Ok(Inner(Content::Scalar))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Inner, E> {
        Ok(Inner(Content::Scalar))
    }

    fn visit_str<E>(self, _: &str) -> Result<Inner, E> {
        Ok(Inner(Content::Scalar))
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Inner, E> {
        Ok(Inner(Content::Scalar))
    }

    fn visit_unit<E>(self) -> Result<Inner, E> {
        Ok(Inner(Content::Scalar))
    }

    fn visit_none<E>(self) -> Result<Inner, E> {
        Ok(Inner(Content::Scalar))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Inner, D::Error> {
        Inner::deserialize(deserializer)
    }
}
