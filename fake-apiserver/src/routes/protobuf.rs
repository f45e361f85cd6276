//! Protobuf request bodies of built-in kinds, as typed Go clients send them
//! (`…/apimachinery/pkg/runtime/serializer/protobuf`).
//!
//! A body becomes the tree its JSON form would have given, so that nothing behind this file knows
//! which of the two a client spoke. Messages are walked by a table of field numbers; nothing is
//! generated.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value};

/// Read off the struct tags of `kubernetes/api` and `kubernetes/apimachinery`; see the README
/// beside it for the notation.
const TABLE: &str = include_str!("../../data/protobuf-1.36.txt");

/// The first bytes of every body.
const MAGIC: &[u8] = b"k8s\0";

/// Messages within messages. A pod template in a job in a cron job is about fifteen deep.
const DEPTH_MAX: u32 = 64;

/// Why a body cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Error {
    /// The table does not have this kind.
    UnknownKind(String),
    /// Not what a client would send.
    Malformed(String),
}

type Result<T> = std::result::Result<T, Error>;

fn malformed<T>(why: impl Into<String>) -> Result<T> {
    Err(Error::Malformed(why.into()))
}

/// Decodes an enveloped object.
pub(super) fn decode(bytes: &[u8]) -> Result<Value> {
    let Some(envelope) = bytes.strip_prefix(MAGIC) else {
        return malformed(
            "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]",
        );
    };
    let (mut api_version, mut kind) = (String::new(), String::new());
    let (mut raw, mut content_type): (&[u8], &[u8]) = (&[], &[]);
    for field in fields(envelope) {
        match field? {
            (1, Wire::Bytes(meta)) => {
                for field in fields(meta) {
                    match field? {
                        (1, Wire::Bytes(own)) => text(own)?.clone_into(&mut api_version),
                        (2, Wire::Bytes(own)) => text(own)?.clone_into(&mut kind),
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(own)) => raw = own,
            (4, Wire::Bytes(own)) => content_type = own,
            _ => {}
        }
    }
    let mut object = Map::new();
    if content_type == b"application/json" {
        match json(raw)? {
            Value::Object(own) => object = own,
            _ => return malformed("the wrapped JSON is not an object"),
        }
    } else {
        let message = table().message_of(&api_version, &kind)?;
        table().message(message, raw, &mut object, 0)?;
    }
    object.insert("apiVersion".into(), api_version.into());
    object.insert("kind".into(), kind.into());
    Ok(Value::Object(object))
}

/// A field's payload as the wire has it.
#[derive(Clone, Copy, Debug)]
enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message, in wire order. Ends after the first error.
fn fields(mut rest: &[u8]) -> impl Iterator<Item = Result<(u64, Wire<'_>)>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = field(&mut rest);
        if field.is_err() {
            rest = &[];
        }
        Some(field)
    })
}

fn field<'a>(rest: &mut &'a [u8]) -> Result<(u64, Wire<'a>)> {
    let key = varint(rest)?;
    let payload = match key & 7 {
        0 => Wire::Number(varint(rest)?),
        1 => Wire::Number(fixed(rest, 8)?),
        2 => {
            let length = usize::try_from(varint(rest)?).unwrap_or(usize::MAX);
            Wire::Bytes(take(rest, length)?)
        }
        5 => Wire::Number(fixed(rest, 4)?),
        other => return malformed(format!("illegal wireType {other}")),
    };
    Ok((key >> 3, payload))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8]> {
    let Some((taken, left)) = rest.split_at_checked(length) else {
        return malformed("unexpected EOF");
    };
    *rest = left;
    Ok(taken)
}

fn fixed(rest: &mut &[u8], length: usize) -> Result<u64> {
    let bytes = take(rest, length)?.iter().rev();
    Ok(bytes.fold(0, |number, byte| (number << 8) | u64::from(*byte)))
}

fn varint(rest: &mut &[u8]) -> Result<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?.first().copied().unwrap_or_default();
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    malformed("integer overflow")
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|error| Error::Malformed(error.to_string()))
}

fn json(bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes).map_err(|error| Error::Malformed(error.to_string()))
}

/// Two's complement, as Go sends negative integers.
fn signed(number: u64) -> i64 {
    number.cast_signed()
}

#[derive(Debug)]
struct Field {
    /// The JSON name.
    name: &'static str,
    /// The message's fields are the parent's in JSON.
    inline: bool,
    /// JSON shows the zero value, because the Go field is a pointer or not `omitempty`.
    keeps_zero: bool,
    shape: &'static str,
}

#[derive(Debug, Default)]
struct Table {
    /// By `apiVersion Kind`.
    kinds: BTreeMap<&'static str, &'static str>,
    messages: BTreeMap<&'static str, BTreeMap<u64, Field>>,
}

fn table() -> &'static Table {
    static PARSED: OnceLock<Table> = OnceLock::new();
    PARSED.get_or_init(|| Table::parse().expect("the bundled table is well-formed"))
}

impl Table {
    fn parse() -> Option<Self> {
        let mut table = Self::default();
        let mut current = "";
        for line in TABLE.lines() {
            let (head, rest) = line.split_once(' ')?;
            match head {
                "kind" => {
                    let (kind, message) = rest.rsplit_once(' ')?;
                    table.kinds.insert(kind, message);
                }
                "message" => {
                    current = rest;
                    table.messages.entry(current).or_default();
                }
                number => {
                    let (name, shape) = rest.split_once(' ')?;
                    let field = Field {
                        name,
                        inline: shape.starts_with('^'),
                        keeps_zero: shape.starts_with('*'),
                        shape: shape.trim_start_matches(['^', '*']),
                    };
                    let fields = table.messages.get_mut(current)?;
                    fields.insert(number.parse().ok()?, field);
                }
            }
        }
        Some(table)
    }

    fn message_of(&self, api_version: &str, kind: &str) -> Result<&'static str> {
        // options belong to every group
        let api_version = if kind == "DeleteOptions" {
            "v1"
        } else {
            api_version
        };
        let name = format!("{api_version} {kind}");
        let found = self.kinds.get(name.as_str()).copied();
        found.ok_or(Error::UnknownKind(name))
    }

    fn message(
        &self,
        name: &str,
        bytes: &[u8],
        object: &mut Map<String, Value>,
        depth: u32,
    ) -> Result<()> {
        if depth > DEPTH_MAX {
            return malformed("exceeded max depth");
        }
        let known = self.messages.get(name);
        let known = known.ok_or_else(|| Error::UnknownKind(name.to_owned()))?;
        for field in fields(bytes) {
            let (number, payload) = field?;
            // fields of later releases are skipped, as upstream does
            let Some(field) = known.get(&number) else {
                continue;
            };
            match (field.inline, payload) {
                (true, Wire::Bytes(bytes)) => {
                    let name = field.shape.strip_prefix('m').unwrap_or_default();
                    self.message(name, bytes, object, depth + 1)?;
                }
                (true, Wire::Number(_)) => return malformed("wrong wireType for a message"),
                (false, payload) => self.put(field, payload, object, depth)?,
            }
        }
        Ok(())
    }

    fn put(
        &self,
        field: &Field,
        payload: Wire<'_>,
        object: &mut Map<String, Value>,
        depth: u32,
    ) -> Result<()> {
        let name = field.name;
        if let Some(shape) = field.shape.strip_prefix('[') {
            let list = object
                .entry(name)
                .or_insert_with(|| Value::Array(Vec::new()));
            let item = self.value(shape, payload, depth)?.unwrap_or(Value::Null);
            if let Some(list) = list.as_array_mut() {
                list.push(item);
            }
        } else if let Some(shape) = field.shape.strip_prefix('{') {
            let map = object
                .entry(name)
                .or_insert_with(|| Value::Object(Map::new()));
            let (key, value) = self.entry(shape, payload, depth)?;
            if let Some(map) = map.as_object_mut() {
                map.insert(key, value);
            }
        } else if let Some(value) = self.value(field.shape, payload, depth)?
            && (field.keeps_zero || !is_zero(&value))
        {
            object.insert(name.into(), value);
        }
        Ok(())
    }

    /// One entry of a map; absent parts are zero.
    fn entry(&self, shape: &str, payload: Wire<'_>, depth: u32) -> Result<(String, Value)> {
        let Wire::Bytes(bytes) = payload else {
            return malformed("wrong wireType for a map");
        };
        let mut key = String::new();
        let mut value = self.value(shape, Wire::Bytes(&[]), depth)?;
        for field in fields(bytes) {
            match field? {
                (1, Wire::Bytes(own)) => text(own)?.clone_into(&mut key),
                (2, own) => value = self.value(shape, own, depth)?,
                _ => {}
            }
        }
        Ok((key, value.unwrap_or(Value::Null)))
    }

    /// A value of a shape; `None` where JSON would have `null`.
    fn value(&self, shape: &str, payload: Wire<'_>, depth: u32) -> Result<Option<Value>> {
        let (tag, name) = shape.split_at_checked(1).unwrap_or_default();
        Ok(Some(match (tag, payload) {
            ("o", Wire::Number(number)) => (number != 0).into(),
            ("i", Wire::Number(number)) => signed(number).into(),
            ("d", Wire::Number(bits)) => {
                Number::from_f64(f64::from_bits(bits)).map_or(Value::Null, Value::Number)
            }
            ("s", Wire::Bytes(bytes)) => text(bytes)?.into(),
            ("b", Wire::Bytes(bytes)) => STANDARD.encode(bytes).into(),
            ("q", Wire::Bytes(bytes)) => match strings(bytes)?.pop() {
                Some(text) if !text.is_empty() => text.into(),
                _ => "0".into(),
            },
            ("e", Wire::Bytes(bytes)) => strings(bytes)?.into(),
            ("x", Wire::Bytes(bytes)) => int_or_string(bytes)?,
            ("t" | "u", Wire::Bytes([])) => return Ok(None),
            ("t" | "u", Wire::Bytes(bytes)) => time(bytes, tag == "u")?,
            ("f" | "r", Wire::Bytes(bytes)) => match raw(bytes)? {
                Some(raw) => json(raw)?,
                None => return Ok(None),
            },
            ("m", Wire::Bytes(bytes)) => {
                let mut object = Map::new();
                self.message(name, bytes, &mut object, depth + 1)?;
                Value::Object(object)
            }
            _ => return malformed("wrong wireType"),
        }))
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Bool(value) => !value,
        Value::Number(value) => value.as_i64() == Some(0),
        Value::String(value) => value.is_empty(),
        _ => false,
    }
}

/// All strings under field 1.
fn strings(bytes: &[u8]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for field in fields(bytes) {
        if let (1, Wire::Bytes(own)) = field? {
            found.push(text(own)?.to_owned());
        }
    }
    Ok(found)
}

/// The bytes under field 1.
fn raw(bytes: &[u8]) -> Result<Option<&[u8]>> {
    let mut found = None;
    for field in fields(bytes) {
        if let (1, Wire::Bytes(own)) = field? {
            found = Some(own);
        }
    }
    Ok(found.filter(|raw| !raw.is_empty()))
}

fn int_or_string(bytes: &[u8]) -> Result<Value> {
    let (mut is_string, mut number, mut string) = (false, 0, "");
    for field in fields(bytes) {
        match field? {
            (1, Wire::Number(kind)) => is_string = kind == 1,
            (2, Wire::Number(own)) => number = signed(own),
            (3, Wire::Bytes(own)) => string = text(own)?,
            _ => {}
        }
    }
    Ok(if is_string {
        string.into()
    } else {
        number.into()
    })
}

/// RFC 3339 in UTC: to the second, or with six digits for `MicroTime`.
fn time(bytes: &[u8], micro: bool) -> Result<Value> {
    let (mut seconds, mut nanos) = (0, 0);
    for field in fields(bytes) {
        match field? {
            (1, Wire::Number(own)) => seconds = signed(own),
            (2, Wire::Number(own)) => nanos = signed(own),
            _ => {}
        }
    }
    let nanos = i32::try_from(nanos).unwrap_or_default();
    let at = jiff::Timestamp::new(seconds, nanos)
        .map_err(|error| Error::Malformed(error.to_string()))?;
    let format = if micro {
        "%Y-%m-%dT%H:%M:%S.%6fZ"
    } else {
        "%Y-%m-%dT%H:%M:%SZ"
    };
    Ok(at.strftime(format).to_string().into())
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::*;

    /// What `kubectl` 1.37 and kube-scheduler 1.36 sent.
    fn of(base64: &str) -> String {
        decode(&STANDARD.decode(base64).unwrap())
            .unwrap()
            .to_string()
    }

    #[test]
    fn bodies_become_what_their_json_form_would_be() {
        assert_snapshot!(
            of("azhzAAoPCgJ2MRIJTmFtZXNwYWNlEhsKEwoDdG5zEgAaACIAKgAyADgAQgASABoCCgAaACIA"),
            @r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"tns"},"spec":{},"status":{}}"#
        );
        assert_snapshot!(
            of("azhzAAopCg5hdXRvc2NhbGluZy92MhIXSG9yaXpvbnRhbFBvZEF1dG9zY2FsZXISYQoTCgN3ZWISABoAIgAqADIAOABCABJEChoKCkRlcGxveW1lbnQSA3dlYhoHYXBwcy92MRABGAMiIgoIUmVzb3VyY2UiFgoDY3B1Eg8KC1V0aWxpemF0aW9uIDIaBBgAIAAaACIA"),
            @r#"{"apiVersion":"autoscaling/v2","kind":"HorizontalPodAutoscaler","metadata":{"name":"web"},"spec":{"maxReplicas":3,"metrics":[{"resource":{"name":"cpu","target":{"averageUtilization":50,"type":"Utilization"}},"type":"Resource"}],"minReplicas":1,"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"web"}},"status":{"desiredReplicas":0}}"#
        );
        assert_snapshot!(
            of("azhzAAoTCgJ2MRINRGVsZXRlT3B0aW9ucxIAGgAiAA=="),
            @r#"{"apiVersion":"v1","kind":"DeleteOptions"}"#
        );
    }

    #[test]
    fn zeros_that_json_omits_are_dropped_and_pointers_keep_theirs() {
        // a Deployment whose spec has replicas: 0 and paused: false
        let body =
            b"k8s\0\x0a\x15\x0a\x07apps/v1\x12\x0aDeployment\x12\x06\x12\x04\x08\x00\x38\x00";
        assert_snapshot!(
            decode(body).unwrap().to_string(),
            @r#"{"apiVersion":"apps/v1","kind":"Deployment","spec":{"replicas":0}}"#
        );
    }

    #[test]
    fn foreign_bytes_are_refused_with_a_reason() {
        let unknown = b"k8s\0\x0a\x0a\x0a\x04x/v1\x12\x02Cr";
        assert_eq!(
            decode(unknown),
            Err(Error::UnknownKind("x/v1 Cr".to_owned()))
        );
        for cut in [&b"{}"[..], b"k8s\0\x0a\x0f\x0a", b"k8s\0\x0b"] {
            assert!(matches!(decode(cut), Err(Error::Malformed(_))), "{cut:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(kind in 0..69_usize, raw in proptest::collection::vec(any::<u8>(), 0..200)) {
            let kinds: Vec<_> = table().kinds.values().collect();
            let message = kinds[kind % kinds.len()];
            drop(table().message(message, &raw, &mut Map::new(), 0));
            drop(decode(&raw));
        }
    }
}
