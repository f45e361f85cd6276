//! The JSON Schema of a line.

use serde_json::Value;
#[cfg(feature = "schema")]
use serde_json::json;

#[cfg(feature = "schema")]
use crate::trace::VERSION;
#[cfg(feature = "schema")]
use crate::trace::record::{Record, Timed};

/// One line of a trace: a record or an aside.
#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is of interest")]
enum Line {
    Record(Record<'static>),
    Aside(Timed),
}

/// The JSON Schema of one line of a trace.
pub fn schema() -> Value {
    serde_json::from_str(include_str!("../../schema/trace.json")).expect("a test compares the file")
}

/// The same, from the types.
#[cfg(feature = "schema")]
pub fn derived() -> Value {
    let mut schema = schemars::schema_for!(Line).to_value();
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), json!("one line of a nap trace"));
        root.insert("x-version".to_owned(), json!(VERSION));
        let text = "Lines are JSON objects. The hash of a trace is SHA-256 over its records, each \
                    with its line feed, without the key 'more' and what follows it; asides (lines \
                    that begin with {\"aside\":) are not hashed. 'more' of a write holds \
                    {\"object\": the new object} or {\"diff\": RFC 7386 merge patch}.";
        root.insert("description".to_owned(), json!(text));
    }
    schema
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_kind_of_record_is_described() {
        let text = super::schema().to_string();
        for kind in [
            "trace", "req", "resp", "lost", "chunk", "write", "cloud", "decide", "fault", "proc",
            "step", "phase", "assert", "vm", "faults",
        ] {
            assert!(text.contains(&format!("\"{kind}\"")), "{kind} in {text}");
        }
    }
}
