#![expect(clippy::needless_pass_by_value, reason = "cases are written in place")]

use serde_json::{Value, json};

use super::fields::{compare, fields_of};
use super::merge;
use crate::schema::{Schema, builtin};

fn deployment(labels: Value, containers: Value) -> Value {
    json!({"metadata": {"labels": labels}, "spec": {"template": {"spec": {"containers": containers}}}})
}

#[test]
fn fields_of_a_configuration_are_leaves_and_list_items() {
    let schema = builtin::schema("apps", "Deployment").unwrap();
    let config = deployment(json!({"a": "1"}), json!([{"name": "c", "args": ["x"]}]));
    let fields = fields_of(&config, Some(schema.root()), Some(&schema));
    assert_eq!(
        fields.to_json(),
        json!({
            "f:metadata": {"f:labels": {"f:a": {}}},
            "f:spec": {"f:template": {"f:spec": {"f:containers": {
                "k:{\"name\":\"c\"}": {".": {}, "f:name": {}, "f:args": {}},
            }}}},
        })
    );
    assert_eq!(super::fields::Fields::from_json(&fields.to_json()), fields);
}

#[test]
fn dropping_a_field_removes_it_unless_somebody_else_wants_it() {
    let schema = builtin::schema("apps", "Deployment").unwrap();
    let root = Some(schema.root());
    let all = |value: &Value| fields_of(value, root, Some(&schema));
    let before = deployment(
        json!({"a": "1", "b": "2"}),
        json!([{"name": "c"}, {"name": "d"}]),
    );
    let after = deployment(json!({"b": "2"}), json!([{"name": "c"}]));
    let mut live = before.clone();
    merge::remove(&mut live, &all(&before).minus(&all(&after)), &all(&after));
    assert_eq!(live, after);
}

#[test]
fn a_write_owns_what_it_changes() {
    let schema: &Schema = &builtin::schema("apps", "Deployment").unwrap();
    let old = deployment(
        json!({"a": "1", "b": "2"}),
        json!([{"name": "c", "image": "1"}]),
    );
    let new = deployment(json!({"a": "9"}), json!([{"name": "c", "image": "2"}]));
    let (changed, removed) = compare((Some(&old), Some(&new)), Some(schema.root()), Some(schema));
    assert_eq!(
        changed.paths(),
        [
            ".metadata.labels.a",
            ".spec.template.spec.containers[name=\"c\"].image",
        ]
    );
    assert_eq!(removed.paths(), [".metadata.labels.b"]);
}
