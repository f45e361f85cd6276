//! An object as the store holds it: one shared tree, encoded at most once.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::Value;

use crate::meta;

/// A stored object. Cloning shares both the tree and its encoding.
#[derive(Clone, Debug)]
pub(crate) struct Item(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    value: Arc<Value>,
    encoded: OnceLock<Bytes>,
}

impl Item {
    pub(crate) fn new(value: Value) -> Self {
        Self::shared(Arc::new(value))
    }

    pub(crate) fn shared(value: Arc<Value>) -> Self {
        Self(Arc::new(Inner {
            value,
            encoded: OnceLock::new(),
        }))
    }

    pub(crate) fn value(&self) -> &Value {
        &self.0.value
    }

    pub(crate) fn tree(&self) -> &Arc<Value> {
        &self.0.value
    }

    /// The JSON text without `apiVersion` and `kind`, as items of typed lists have it.
    pub(crate) fn encoded(&self) -> Bytes {
        let encode = || Bytes::from(encode_body(&self.0.value));
        self.0.encoded.get_or_init(encode).clone()
    }

    pub(crate) fn name(&self) -> &str {
        meta::string(self.value(), "name")
    }

    pub(crate) fn namespace(&self) -> &str {
        meta::string(self.value(), "namespace")
    }
}

/// `{"kind":…,"apiVersion":…,` followed by the rest of an encoded body.
pub(crate) fn with_type(kind: &str, api_version: &str, body: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(body.len() + kind.len() + api_version.len() + 32);
    text.extend_from_slice(b"{\"kind\":\"");
    text.extend_from_slice(kind.as_bytes());
    text.extend_from_slice(b"\",\"apiVersion\":\"");
    text.extend_from_slice(api_version.as_bytes());
    text.push(b'"');
    if body.len() > 2 {
        text.push(b',');
        text.extend_from_slice(body.get(1..).unwrap_or_default());
    } else {
        text.push(b'}');
    }
    text
}

fn encode_body(value: &Value) -> Vec<u8> {
    let Value::Object(map) = value else {
        return b"{}".to_vec();
    };
    let mut text = Vec::with_capacity(1024);
    text.push(b'{');
    // metadata first, as the real server's structs have it
    let metadata = map.iter().filter(|(key, _)| *key == "metadata");
    let rest = map
        .iter()
        .filter(|(key, _)| !matches!(key.as_str(), "apiVersion" | "kind" | "metadata"));
    for (key, value) in metadata.chain(rest) {
        if text.len() > 1 {
            text.push(b',');
        }
        serde_json::to_writer(&mut text, key).expect("writing to memory cannot fail");
        text.push(b':');
        serde_json::to_writer(&mut text, value).expect("writing to memory cannot fail");
    }
    text.push(b'}');
    text
}
