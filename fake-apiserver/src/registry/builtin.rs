//! The built-in rows, read once per process from the discovery document of a real server.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use fake_apiserver_store::SpaceId;
use serde_json::Value;

use super::{Behaviour, Conversion, ResourceType, ServedVersion, Subresource};
use crate::table::Column;

const DISCOVERY: &str = include_str!("../../data/discovery-1.36.json");
const COLUMNS: &str = include_str!("../../data/table-columns-1.36.json");

/// Kinds whose `generation` counts changes of the spec
/// (`kubernetes/kubernetes pkg/registry/*/strategy.go`).
const GENERATION: &[&str] = &[
    "cronjobs",
    "customresourcedefinitions",
    "daemonsets",
    "deployments",
    "endpointslices",
    "flowschemas",
    "horizontalpodautoscalers",
    "ingresses",
    "jobs",
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
    "mutatingwebhookconfigurations",
    "networkpolicies",
    "poddisruptionbudgets",
    "pods",
    "prioritylevelconfigurations",
    "replicasets",
    "replicationcontrollers",
    "statefulsets",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "validatingwebhookconfigurations",
];

/// `AllowUnconditionalUpdate` is false.
const CONDITIONAL_UPDATE: &[&str] = &[
    "csidrivers",
    "csinodes",
    "csistoragecapacities",
    "customresourcedefinitions",
    "leases",
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
    "mutatingwebhookconfigurations",
    "poddisruptionbudgets",
    "runtimeclasses",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "validatingwebhookconfigurations",
    "volumeattachments",
];

/// `AllowCreateOnUpdate` is true.
const CREATE_ON_UPDATE: &[&str] = &[
    "clusterrolebindings",
    "clusterroles",
    "endpoints",
    "events",
    "leases",
    "limitranges",
    "rolebindings",
    "roles",
    "runtimeclasses",
    "services",
];

/// Built-in resources in discovery order.
pub(super) fn resources() -> &'static [(String, Arc<ResourceType>)] {
    static RESOURCES: OnceLock<Vec<(String, Arc<ResourceType>)>> = OnceLock::new();
    RESOURCES.get_or_init(|| {
        let discovery: Value = serde_json::from_str(DISCOVERY).expect("the bundled file is JSON");
        let columns: BTreeMap<String, Vec<Column>> =
            serde_json::from_str(COLUMNS).expect("the bundled file is JSON");
        let mut rows = Vec::new();
        for document in ["disc-agg-api", "disc-agg-apis"] {
            for group in array(&discovery[document]["items"]) {
                // HorizontalPodAutoscaler v1 is a lossy view of v2; only the stored v2 is served
                let version = &group["versions"][0];
                for resource in array(&version["resources"]) {
                    let name = text(&group["metadata"]["name"]);
                    let next = u32::try_from(rows.len()).expect("a few dozen resources");
                    let row = row(&name, &text(&version["version"]), resource, next, &columns);
                    rows.push((name, row));
                }
            }
        }
        rows.into_iter()
            .map(|(name, row)| (name, Arc::new(row)))
            .collect()
    })
}

fn row(
    group: &str,
    version: &str,
    resource: &Value,
    next: u32,
    columns: &BTreeMap<String, Vec<Column>>,
) -> ResourceType {
    let plural = text(&resource["resource"]);
    let kind = text(&resource["responseKind"]["kind"]);
    let api_version = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    let space = if group == "events.k8s.io" {
        core_events()
    } else {
        SpaceId(next)
    };
    let behaviour = Behaviour {
        stored: strings(&resource["verbs"])
            .iter()
            .any(|verb| verb == "list")
            && plural != "componentstatuses",
        generation: GENERATION.contains(&plural.as_str()),
        unconditional_update: !CONDITIONAL_UPDATE.contains(&plural.as_str()),
        create_on_update: CREATE_ON_UPDATE.contains(&plural.as_str()),
        conversion: if group == "events.k8s.io" {
            Conversion::Events
        } else {
            Conversion::None
        },
    };
    let served = ServedVersion {
        name: version.to_owned(),
        columns: columns
            .get(&format!("{api_version}/{plural}"))
            .cloned()
            .unwrap_or_default(),
        api_version,
        served: true,
        subresources: array(&resource["subresources"]).map(subresource).collect(),
        schema: None,
        scale: None,
        selectable: Vec::new(),
        raw_schema: None,
    };
    ResourceType {
        group: group.to_owned(),
        singular: text(&resource["singularResource"]),
        list_kind: format!("{kind}List"),
        kind,
        namespaced: resource["scope"] == "Namespaced",
        short_names: strings(&resource["shortNames"]),
        categories: strings(&resource["categories"]),
        verbs: strings(&resource["verbs"]),
        space,
        versions: vec![served],
        storage: 0,
        behaviour,
        custom: false,
        builtin_schema: OnceLock::new(),
        plural,
    }
}

/// The position of core events in the discovery document.
fn core_events() -> SpaceId {
    SpaceId(4)
}

fn subresource(value: &Value) -> Subresource {
    Subresource {
        name: text(&value["subresource"]),
        group: text(&value["responseKind"]["group"]),
        version: text(&value["responseKind"]["version"]),
        kind: text(&value["responseKind"]["kind"]),
        verbs: strings(&value["verbs"]),
    }
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn strings(value: &Value) -> Vec<String> {
    array(value).map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_events_apis_share_the_space_of_core_events() {
        let of = |group: &str| {
            let row = resources()
                .iter()
                .find(|(g, r)| g == group && r.plural == "events");
            row.expect("events are served").1.space
        };
        assert_eq!(of(""), of("events.k8s.io"));
    }

    #[test]
    fn every_stored_resource_has_columns() {
        for (group, resource) in resources() {
            if resource.behaviour.stored {
                assert!(
                    !resource.versions[0].columns.is_empty(),
                    "{group}/{}",
                    resource.plural
                );
            }
        }
    }
}
