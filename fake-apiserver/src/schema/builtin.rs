//! Schemas of built-in kinds, from the OpenAPI types of `k8s-openapi` and upstream's merge keys.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use k8s_openapi::api;
use k8s_openapi::schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value};

use super::{ListType, Node, NodeId, PatchStrategy, Schema, Type};

const MERGE_KEYS: &str = include_str!("../../data/merge-keys-1.36.json");
const REFERENCE: &str = "#/$defs/";

type MergeKeys = BTreeMap<String, BTreeMap<String, Value>>;

/// The schema of a kind, or `None` for kinds `k8s-openapi` does not have.
pub(crate) fn schema(group: &str, kind: &str) -> Option<Arc<Schema>> {
    static SCHEMAS: Mutex<BTreeMap<(String, String), Arc<Schema>>> = Mutex::new(BTreeMap::new());
    let key = (group.to_owned(), kind.to_owned());
    let mut schemas = SCHEMAS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(schema) = schemas.get(&key) {
        return Some(Arc::clone(schema));
    }
    let document = document(group, kind)?;
    let schema = Arc::new(compile(&document));
    schemas.insert(key, Arc::clone(&schema));
    Some(schema)
}

/// The JSON schema of a kind: the root with its definitions under `$defs`, descriptions included.
pub(crate) fn document(group: &str, kind: &str) -> Option<Value> {
    Some(generator(group, kind)?())
}

fn of<T: JsonSchema>() -> Value {
    SchemaGenerator::default()
        .into_root_schema_for::<T>()
        .to_value()
}

/// One row per kind.
fn generator(group: &str, kind: &str) -> Option<fn() -> Value> {
    macro_rules! kinds {
        ($($group:literal: $module:path { $($kind:ident)* })*) => {
            match (group, kind) {
                $($(($group, stringify!($kind)) => {
                    use $module as module;
                    Some(of::<module::$kind>)
                })*)*
                ("apiextensions.k8s.io", "CustomResourceDefinition") => Some(
                    of::<k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition>,
                ),
                ("apiregistration.k8s.io", "APIService") => Some(
                    of::<k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService>,
                ),
                _ => None,
            }
        };
    }
    kinds! {
        "": api::core::v1 {
            Binding ConfigMap Endpoints Event LimitRange Namespace Node PersistentVolume
            PersistentVolumeClaim Pod PodTemplate ReplicationController ResourceQuota Secret
            Service ServiceAccount
        }
        "apps": api::apps::v1 { ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet }
        "authentication.k8s.io": api::authentication::v1 { SelfSubjectReview TokenRequest TokenReview }
        "authorization.k8s.io": api::authorization::v1 {
            LocalSubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview
        }
        "autoscaling": api::autoscaling::v2 { HorizontalPodAutoscaler }
        "batch": api::batch::v1 { CronJob Job }
        "certificates.k8s.io": api::certificates::v1 { CertificateSigningRequest }
        "coordination.k8s.io": api::coordination::v1 { Lease }
        "discovery.k8s.io": api::discovery::v1 { EndpointSlice }
        "events.k8s.io": api::events::v1 { Event }
        "flowcontrol.apiserver.k8s.io": api::flowcontrol::v1 { FlowSchema PriorityLevelConfiguration }
        "networking.k8s.io": api::networking::v1 {
            IPAddress Ingress IngressClass NetworkPolicy ServiceCIDR
        }
        "node.k8s.io": api::node::v1 { RuntimeClass }
        "policy": api::policy::v1 { Eviction PodDisruptionBudget }
        "rbac.authorization.k8s.io": api::rbac::v1 { ClusterRole ClusterRoleBinding Role RoleBinding }
        "resource.k8s.io": api::resource::v1 {
            DeviceClass ResourceClaim ResourceClaimTemplate ResourceSlice
        }
        "scheduling.k8s.io": api::scheduling::v1 { PriorityClass }
        "storage.k8s.io": api::storage::v1 {
            CSIDriver CSINode CSIStorageCapacity StorageClass VolumeAttachment VolumeAttributesClass
        }
        "admissionregistration.k8s.io": api::admissionregistration::v1 {
            MutatingWebhookConfiguration ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding
            ValidatingWebhookConfiguration
        }
    }
}

fn merge_keys() -> &'static MergeKeys {
    static KEYS: OnceLock<MergeKeys> = OnceLock::new();
    KEYS.get_or_init(|| serde_json::from_str(MERGE_KEYS).expect("the bundled file is JSON"))
}

fn compile(document: &Value) -> Schema {
    let mut compiler = Compiler {
        defs: document["$defs"].as_object(),
        nodes: Vec::new(),
        known: BTreeMap::new(),
    };
    let title = document["title"].as_str().unwrap_or_default();
    let root = compiler.node(document, definition(title));
    // the root's title is a type name; `apiVersion` and `kind` come with it
    Schema::new(compiler.nodes, root)
}

/// `io.k8s.api.core.v1.PodSpec` is `core.v1.PodSpec` in the merge-key table.
fn definition(name: &str) -> Option<&str> {
    let mut parts = name.rmatch_indices('.').map(|(index, _)| index);
    let third = parts.nth(2)?;
    name.get(third + 1..)
}

struct Compiler<'a> {
    defs: Option<&'a Map<String, Value>>,
    nodes: Vec<Node>,
    known: BTreeMap<&'a str, NodeId>,
}

impl<'a> Compiler<'a> {
    /// A node for a schema; `name` is its key in the merge-key table, when it is a named type.
    fn node(&mut self, schema: &'a Value, name: Option<&str>) -> NodeId {
        if let Some(reference) = reference(schema) {
            return self.definition(reference);
        }
        let id = self.reserve();
        self.fill(id, schema, name);
        id
    }

    fn reserve(&mut self) -> NodeId {
        self.nodes.push(Node::new(Type::Any));
        NodeId::try_from(self.nodes.len() - 1).expect("a few thousand nodes")
    }

    fn definition(&mut self, name: &'a str) -> NodeId {
        if let Some(id) = self.known.get(name) {
            return *id;
        }
        let id = self.reserve();
        // known before its fields are read: JSONSchemaProps refers to itself
        self.known.insert(name, id);
        if !is_free(name)
            && let Some(schema) = self.defs.and_then(|defs| defs.get(name))
        {
            self.fill(id, schema, definition(name));
        }
        if name.ends_with(".Quantity") {
            self.at(id).kind = Type::Quantity;
        } else if is_free(name) {
            *self.at(id) = Node::new(Type::Any);
        }
        id
    }

    fn at(&mut self, id: NodeId) -> &mut Node {
        self.nodes
            .get_mut(id as usize)
            .expect("reserved before it is filled")
    }

    fn fill(&mut self, id: NodeId, schema: &'a Value, name: Option<&str>) {
        let keys = name.and_then(|name| merge_keys().get(name));
        let mut node = Node::new(kind(schema));
        node.nullable = true;
        node.format = schema["format"].as_str().map(str::to_owned);
        node.atomic_map = keys.is_some_and(|keys| is_atomic(keys.get("")));
        if let Some(properties) = schema["properties"].as_object() {
            for (field, schema) in properties {
                let markers = keys.and_then(|keys| keys.get(field));
                let child = self.field(schema, markers);
                node.properties.insert(field.clone(), child);
            }
        }
        if schema["additionalProperties"].is_object() {
            node.additional = Some(self.node(&schema["additionalProperties"], None));
        }
        if schema["items"].is_object() {
            node.items = Some(self.node(&schema["items"], None));
        }
        node.preserve_unknown =
            node.kind == Type::Object && node.properties.is_empty() && node.additional.is_none();
        *self.at(id) = node;
    }

    /// A field, with the markers of its parent's Go struct.
    fn field(&mut self, schema: &'a Value, markers: Option<&Value>) -> NodeId {
        let Some(markers) = markers else {
            return self.node(schema, None);
        };
        // markers belong to the field, not to the shared type: the node is the field's own
        let id = self.reserve();
        let target = reference(schema);
        let resolved = target.and_then(|name| self.defs.and_then(|defs| defs.get(name)));
        if !target.is_some_and(is_free) {
            self.fill(id, resolved.unwrap_or(schema), target.and_then(definition));
        }
        let node = self.at(id);
        node.list = list_type(markers);
        node.atomic_map |= is_atomic(Some(markers));
        let strategy = markers["patchStrategy"].as_str().unwrap_or_default();
        node.patch = Some(Box::new(PatchStrategy {
            merge: strategy.split(',').any(|word| word == "merge"),
            retain_keys: strategy.split(',').any(|word| word == "retainKeys"),
            key: markers["patchMergeKey"].as_str().map(str::to_owned),
        }));
        id
    }
}

/// Types that hold any JSON.
fn is_free(name: &str) -> bool {
    name.contains(".apiextensions.v1.JSON") && !name.ends_with(".JSONSchemaProps")
        || name.ends_with(".runtime.RawExtension")
}

fn reference(schema: &Value) -> Option<&str> {
    let target = schema["$ref"]
        .as_str()
        .or_else(|| schema["allOf"][0]["$ref"].as_str())?;
    target.strip_prefix(REFERENCE)
}

fn is_atomic(markers: Option<&Value>) -> bool {
    markers.is_some_and(|markers| markers["mapType"] == "atomic")
}

fn list_type(markers: &Value) -> ListType {
    match markers["listType"].as_str() {
        Some("set") => ListType::Set,
        Some("map") => {
            let keys = markers["listMapKeys"].as_array().into_iter().flatten();
            ListType::Map(keys.filter_map(Value::as_str).map(str::to_owned).collect())
        }
        _ => ListType::Atomic,
    }
}

fn kind(schema: &Value) -> Type {
    if schema["x-kubernetes-int-or-string"] == true {
        return Type::IntOrString;
    }
    match schema["type"].as_str() {
        Some("object") => Type::Object,
        Some("array") => Type::Array,
        Some("string") => Type::String,
        Some("integer") => Type::Integer,
        Some("number") => Type::Number,
        Some("boolean") => Type::Boolean,
        _ => Type::Any,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deployments_know_their_merge_keys() {
        let schema = schema("apps", "Deployment").unwrap();
        let walk = |path: &[&str]| {
            path.iter().fold(schema.root(), |node, field| match *field {
                "[]" => schema.item(node).unwrap(),
                name => schema
                    .field(node, name)
                    .unwrap_or_else(|| panic!("{name} in {path:?}")),
            })
        };
        let containers = walk(&["spec", "template", "spec", "containers"]);
        assert_eq!(containers.list, ListType::Map(vec!["name".into()]));
        let ports = walk(&["spec", "template", "spec", "containers", "[]", "ports"]);
        assert_eq!(
            ports.patch.as_ref().unwrap().key.as_deref(),
            Some("containerPort")
        );
        assert!(walk(&["spec", "selector"]).atomic_map);
        assert!(
            walk(&["spec", "strategy"])
                .patch
                .as_ref()
                .unwrap()
                .retain_keys
        );
        let cpu = walk(&[
            "spec",
            "template",
            "spec",
            "containers",
            "[]",
            "resources",
            "limits",
            "cpu",
        ]);
        assert_eq!(cpu.kind, Type::Quantity);
        assert_eq!(walk(&["metadata", "finalizers"]).list, ListType::Set);
    }

    #[test]
    fn every_stored_builtin_kind_but_a_few_has_a_schema() {
        let registry = crate::registry::Registry::new();
        let missing: Vec<&str> = registry
            .resources()
            .filter(|r| r.behaviour.stored && schema(&r.group, &r.kind).is_none())
            .map(|r| r.kind.as_str())
            .collect();
        assert_eq!(
            missing,
            ["MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"]
        );
    }
}
