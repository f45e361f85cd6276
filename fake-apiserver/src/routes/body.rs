//! Request bodies: JSON or YAML to a tree, noting duplicate fields.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::protobuf;
use crate::status::{Result, Status};

/// The real server's limit (`--max-resource-write-bytes`).
const BODY_MAX: usize = 3 * 1024 * 1024;

/// A parsed body.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub value: Value,
    /// Paths of fields that occur twice; the last one counts.
    pub duplicates: Vec<String>,
}

pub(super) async fn read(body: Body) -> Result<Bytes> {
    axum::body::to_bytes(body, BODY_MAX)
        .await
        .map_err(|_cut| Status::too_large(BODY_MAX))
}

/// The media type of a body, without parameters.
pub(super) fn media_type(headers: &HeaderMap) -> &str {
    let text = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    text.unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
}

/// Parses an object of a kind from JSON or YAML.
pub(super) fn object(bytes: &Bytes, headers: &HeaderMap, kind: &str) -> Result<Parsed> {
    match media_type(headers) {
        // streams (exec, attach) post nothing
        _ if bytes.is_empty() && kind.ends_with("Options") => Ok(Parsed {
            value: Value::Object(Map::new()),
            duplicates: Vec::new(),
        }),
        "" | "application/json" | "*/*" | "application/*" => {
            json(bytes).map_err(|error| unrecognized(bytes, kind, &error))
        }
        "application/yaml" => yaml(bytes),
        "application/vnd.kubernetes.protobuf" => protobuf(bytes, kind),
        _ => Err(Status::unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf",
        )),
    }
}

fn protobuf(bytes: &Bytes, kind: &str) -> Result<Parsed> {
    match protobuf::decode(bytes) {
        Ok(value) => Ok(Parsed {
            value,
            duplicates: Vec::new(),
        }),
        // as the real server answers for kinds that have no protobuf form
        Err(protobuf::Error::UnknownKind(_)) => Err(Status::unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml",
        )),
        Err(protobuf::Error::Malformed(why)) => Err(Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): {why}"
        ))),
    }
}

fn unrecognized(bytes: &Bytes, kind: &str, error: &serde_json::Error) -> Status {
    let why = if error.is_eof() {
        "unexpected end of JSON input".to_owned()
    } else {
        error.to_string()
    };
    let text = String::from_utf8_lossy(bytes);
    Status::bad_request(format!(
        "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: {why} ({text})"
    ))
}

/// Parses YAML (of which JSON is a part).
pub(super) fn yaml(bytes: &Bytes) -> Result<Parsed> {
    if let Ok(parsed) = json(bytes) {
        return Ok(parsed);
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Status::bad_request(format!("error decoding YAML: {error}")))?;
    let value = serde_saphyr::from_str::<Value>(text)
        .map_err(|error| Status::bad_request(format!("error decoding YAML: {error}")))?;
    Ok(Parsed {
        value,
        duplicates: Vec::new(),
    })
}

/// Parses JSON.
pub(super) fn json(bytes: &[u8]) -> serde_json::Result<Parsed> {
    let mut parsed = Parsed::default();
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    parsed.value = Tree {
        duplicates: &mut parsed.duplicates,
    }
    .deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(parsed)
}

/// Builds a tree; on the way up, parents put their name before the duplicates found below them.
struct Tree<'a> {
    duplicates: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> std::result::Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> std::result::Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            let before = self.duplicates.len();
            let Some(item) = access.next_element_seed(Tree {
                duplicates: &mut *self.duplicates,
            })?
            else {
                return Ok(Value::Array(items));
            };
            for path in self.duplicates.iter_mut().skip(before) {
                *path = format!("[{}].{path}", items.len());
            }
            items.push(item);
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> std::result::Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            let before = self.duplicates.len();
            let value = access.next_value_seed(Tree {
                duplicates: &mut *self.duplicates,
            })?;
            for path in self.duplicates.iter_mut().skip(before) {
                let separator = if path.starts_with('[') { "" } else { "." };
                *path = format!("{name}{separator}{path}");
            }
            if map.contains_key(&name) {
                self.duplicates.push(name.clone());
            }
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_are_named_by_their_path_and_the_last_one_counts() {
        let parsed =
            json(br#"{"a":1,"data":{"x":"1","x":"2"},"l":[{"k":1,"k":2}],"a":3}"#).unwrap();
        assert_eq!(parsed.duplicates, ["data.x", "l[0].k", "a"]);
        assert_eq!(parsed.value["data"]["x"], "2");
        assert_eq!(parsed.value["a"], 3);
    }
}
