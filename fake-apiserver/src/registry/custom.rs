//! Custom resources: from a CRD to a row of the registry.

use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};

use super::{
    Behaviour, Conversion, Registry, ResourceType, ScalePaths, ServedVersion, Subresource,
};
use crate::meta;
use crate::schema::structural;
use crate::status::{Fault, FieldError};
use crate::table::Column;

/// Fills the defaults of a CRD in place.
pub(crate) fn default(crd: &mut Value) {
    let spec = meta::map_mut(crd, "spec");
    let kind = spec
        .get("names")
        .map_or("", |names| names["kind"].as_str().unwrap_or_default());
    let (singular, list) = (kind.to_lowercase(), format!("{kind}List"));
    spec.entry("conversion")
        .or_insert_with(|| json!({"strategy": "None"}));
    if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut) {
        names.entry("singular").or_insert_with(|| singular.into());
        names.entry("listKind").or_insert_with(|| list.into());
    }
}

/// The mistakes in a CRD.
pub(crate) fn validate(crd: &Value) -> Vec<FieldError> {
    let spec = &crd["spec"];
    let (group, plural) = (text(&spec["group"]), text(&spec["names"]["plural"]));
    let mut errors = Vec::new();
    for (path, value) in [
        ("spec.group", &spec["group"]),
        ("spec.names.plural", &spec["names"]["plural"]),
        ("spec.names.kind", &spec["names"]["kind"]),
    ] {
        if text(value).is_empty() {
            errors.push(FieldError::required(path, ""));
        }
    }
    if meta::string(crd, "name") != format!("{plural}.{group}") {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        errors.push(FieldError::invalid(
            "metadata.name",
            &crd["metadata"]["name"],
            detail,
        ));
    }
    if !matches!(text(&spec["scope"]), "Namespaced" | "Cluster") {
        errors.push(FieldError::not_supported(
            "spec.scope",
            &spec["scope"],
            &["Cluster", "Namespaced"],
        ));
    }
    if protected(group)
        && crd["metadata"]["annotations"]
            .get("api-approved.kubernetes.io")
            .is_none()
    {
        errors.push(FieldError::required(
            "metadata.annotations[api-approved.kubernetes.io]",
            "protected groups must have approval annotation \"api-approved.kubernetes.io\", see https://github.com/kubernetes/enhancements/pull/1111",
        ));
    }
    validate_versions(spec, &mut errors);
    errors
}

/// Exactly one stored version, and a structural schema in each.
fn validate_versions(spec: &Value, errors: &mut Vec<FieldError>) {
    let versions = spec["versions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let stored = versions
        .iter()
        .filter(|version| version["storage"] == true)
        .count();
    if stored != 1 {
        let value = spec.get("versions").cloned().unwrap_or(Value::Null);
        let detail = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid("spec.versions", &value, detail));
    }
    for (index, version) in versions.iter().enumerate() {
        let (path, schema) = schema_of(versions.len(), index, version);
        if schema.is_null() {
            errors.push(FieldError::required(path, "schemas are required"));
        } else if let Err(mut found) = structural::compile(schema, &path) {
            errors.append(&mut found);
        }
        if text(&version["name"]).is_empty() {
            errors.push(FieldError::required(
                format!("spec.versions[{index}].name"),
                "",
            ));
        }
        if !version["served"].is_boolean() {
            errors.push(FieldError::shown(
                format!("spec.versions[{index}].served"),
                Fault::Required,
                "",
                "",
            ));
        }
    }
}

/// With one version the API server reports schema errors at their pre-v1 path.
fn schema_of(count: usize, index: usize, version: &Value) -> (String, &Value) {
    let path = if count == 1 {
        "spec.validation.openAPIV3Schema".to_owned()
    } else {
        format!("spec.versions[{index}].schema.openAPIV3Schema")
    };
    (path, &version["schema"]["openAPIV3Schema"])
}

fn protected(group: &str) -> bool {
    ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|suffix| group == *suffix || group.ends_with(&format!(".{suffix}")))
}

/// The status of a CRD with its names accepted or refused against what is served already.
pub(crate) fn status(crd: &Value, registry: &Registry, now: &str) -> Value {
    let names = &crd["spec"]["names"];
    let conflict = conflict(crd, registry);
    let (accepted, established) = match &conflict {
        None => (
            condition(
                "NamesAccepted",
                "True",
                "NoConflicts",
                "no conflicts found",
                now,
            ),
            condition(
                "Established",
                "True",
                "InitialNamesAccepted",
                "the initial names have been accepted",
                now,
            ),
        ),
        Some((reason, message)) => (
            condition("NamesAccepted", "False", reason, message, now),
            condition(
                "Established",
                "False",
                "NotAccepted",
                "not all names are accepted",
                now,
            ),
        ),
    };
    let versions = crd["spec"]["versions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let storage = versions.iter().find(|version| version["storage"] == true);
    let storage = storage
        .map(|version| version["name"].clone())
        .unwrap_or_default();
    let mut stored = crd["status"]["storedVersions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    if !stored.contains(&storage) {
        stored.push(storage);
    }
    let mut names = names.clone();
    if let Some((reason, _)) = &conflict
        && let Some(accepted) = names.as_object_mut()
    {
        // the others are accepted all the same
        match *reason {
            "PluralConflict" => drop(accepted.insert("plural".into(), "".into())),
            "KindConflict" => drop(accepted.insert("kind".into(), "".into())),
            "SingularConflict" => drop(accepted.remove("singular")),
            "ListKindConflict" => drop(accepted.remove("listKind")),
            _ => drop(accepted.remove("shortNames")),
        }
        accepted.remove("categories");
    }
    json!({"acceptedNames": names, "conditions": [accepted, established], "storedVersions": stored})
}

/// Whether a CRD is to be served.
pub(crate) fn is_established(crd: &Value) -> bool {
    let conditions = crd["status"]["conditions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    conditions
        .iter()
        .any(|condition| condition["type"] == "Established" && condition["status"] == "True")
}

fn condition(kind: &str, status: &str, reason: &str, message: &str, now: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": now,
    })
}

fn conflict(crd: &Value, registry: &Registry) -> Option<(&'static str, String)> {
    let names = &crd["spec"]["names"];
    let (group, plural) = (text(&crd["spec"]["group"]), text(&names["plural"]));
    let in_use = |name: &str| format!("\"{name}\" is already in use");
    let others: Vec<_> = registry
        .resources()
        .filter(|resource| resource.group == group && resource.plural != plural)
        .collect();
    let short = names["shortNames"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    for name in short {
        if others
            .iter()
            .any(|other| other.short_names.iter().any(|n| n == name))
        {
            return Some(("ShortNamesConflict", in_use(name)));
        }
    }
    let kind = text(&names["kind"]);
    if others.iter().any(|other| other.kind == kind) {
        return Some(("KindConflict", in_use(kind)));
    }
    None
}

/// Puts an established CRD into the registry, or replaces its row.
pub(crate) fn accept(registry: &mut Registry, crd: &Value) {
    let spec = &crd["spec"];
    let (group, names) = (text(&spec["group"]), &spec["names"]);
    let plural = text(&names["plural"]);
    let versions = spec["versions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let storage = versions
        .iter()
        .position(|version| version["storage"] == true)
        .unwrap_or(0);
    let webhook = spec["conversion"]["strategy"] == "Webhook";
    let all = [
        "create",
        "delete",
        "deletecollection",
        "get",
        "list",
        "patch",
        "update",
        "watch",
    ];
    let count = versions.len();
    let resource = ResourceType {
        group: group.to_owned(),
        plural: plural.to_owned(),
        singular: text(&names["singular"]).to_owned(),
        kind: text(&names["kind"]).to_owned(),
        list_kind: text(&names["listKind"]).to_owned(),
        namespaced: spec["scope"] == "Namespaced",
        short_names: strings(&names["shortNames"]),
        categories: strings(&names["categories"]),
        verbs: all.iter().map(|verb| (*verb).to_owned()).collect(),
        space: registry.space_for(group, plural),
        versions: versions
            .iter()
            .enumerate()
            .filter_map(|(index, version)| served_version(group, count, index, version))
            .collect(),
        storage,
        behaviour: Behaviour {
            stored: true,
            generation: true,
            unconditional_update: false,
            create_on_update: false,
            conversion: if webhook {
                Conversion::Webhook
            } else {
                Conversion::None
            },
        },
        custom: true,
        builtin_schema: OnceLock::new(),
    };
    registry.insert_custom(resource);
}

fn served_version(
    group: &str,
    count: usize,
    index: usize,
    version: &Value,
) -> Option<ServedVersion> {
    let name = text(&version["name"]);
    let (path, schema) = schema_of(count, index, version);
    let verbs = || {
        ["get", "patch", "update"]
            .iter()
            .map(|verb| (*verb).to_owned())
            .collect()
    };
    let mut subresources = Vec::new();
    let scale = &version["subresources"]["scale"];
    if scale.is_object() {
        subresources.push(Subresource {
            name: "scale".into(),
            group: "autoscaling".into(),
            version: "v1".into(),
            kind: "Scale".into(),
            verbs: verbs(),
        });
    }
    if version["subresources"]["status"].is_object() {
        subresources.push(Subresource {
            name: "status".into(),
            group: String::new(),
            version: String::new(),
            kind: String::new(),
            verbs: verbs(),
        });
    }
    let path_of = |value: &Value| text(value).trim_start_matches('.').to_owned();
    let selectable = version["selectableFields"].as_array().into_iter().flatten();
    Some(ServedVersion {
        name: name.to_owned(),
        api_version: format!("{group}/{name}"),
        served: version["served"] == true,
        subresources,
        // validated before the CRD was stored; a CRD that cannot be compiled is not served
        schema: Some(Arc::new(structural::compile(schema, &path).ok()?)),
        columns: Column::of_custom(version),
        scale: scale.is_object().then(|| ScalePaths {
            spec: path_of(&scale["specReplicasPath"]),
            status: path_of(&scale["statusReplicasPath"]),
            selector: scale["labelSelectorPath"]
                .is_string()
                .then(|| path_of(&scale["labelSelectorPath"])),
        }),
        selectable: selectable
            .map(|field| path_of(&field["jsonPath"]))
            .collect(),
        raw_schema: Some(Arc::new(schema.clone())),
    })
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn strings(value: &Value) -> Vec<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}
