//! CRDs of `karpenter.sh`.
//!
//! Sources: kubernetes-sigs/karpenter `pkg/apis/crds/*.yaml` and `hack/validation/*.sh`;
//! Azure/karpenter-provider-azure `hack/validation/{labels,requirements}.sh`.

use kube_core::CustomResourceExt;
use serde_json::{Value, json};

use super::edit::{
    DURATION, DURATION_OR_NEVER, LABEL_VALUE, QUALIFIED_NAME, Schema, column, condition_path,
    label_path,
};
use crate::karpenter::v1::{NodeClaim, NodePool};
use crate::labels;

const KARPENTER_MESSAGE: &str = "label domain \"karpenter.sh\" is restricted";
const AZURE_MESSAGE: &str = "label domain \"karpenter.azure.com\" is restricted";
const AKS_MESSAGE: &str = "label domain \"kubernetes.azure.com\" is restricted";

/// Keys of `karpenter.azure.com` users may name.
const AZURE_KEYS: &[&str] = &[
    labels::AKS_NODE_CLASS,
    labels::SKU_NAME,
    labels::SKU_FAMILY,
    labels::SKU_SERIES,
    labels::SKU_VERSION,
    labels::SKU_CPU,
    labels::SKU_MEMORY,
    labels::SKU_NETWORKING_ACCELERATED,
    labels::SKU_STORAGE_PREMIUM_CAPABLE,
    labels::SKU_STORAGE_ULTRA_SSD,
    labels::SKU_STORAGE_EPHEMERALOS_MAXSIZE,
    labels::SKU_GPU_NAME,
    labels::SKU_GPU_MANUFACTURER,
    labels::SKU_GPU_COUNT,
    labels::PLACEMENT_SCOPE,
];

/// Keys of `kubernetes.azure.com` users may name.
const AKS_KEYS: &[&str] = &[
    labels::AKS_MODE,
    labels::AKS_SCALE_SET_PRIORITY,
    labels::AKS_PRIORITY,
    labels::AKS_FIPS_ENABLED,
    labels::AKS_OS_SKU,
    labels::AKS_CLUSTER,
    labels::AKS_SKU_CPU,
    labels::AKS_SKU_MEMORY,
    "kubernetes.azure.com/ebpf-dataplane",
    "kubernetes.azure.com/ebpf-host-routing",
    "kubernetes.azure.com/network-policy",
    "kubernetes.azure.com/hostedvm",
];

/// CRD of NodePool.
pub(super) fn node_pool() -> Value {
    let mut schema = Schema::derived(&NodePool::crd());
    node_pool_spec(&mut schema);
    node_pool_disruption(&mut schema);
    node_claim_like(&mut schema, "spec.template.spec", true);
    template_metadata(&mut schema);
    schema.rules(
        "spec.template.spec.nodeClassRef",
        &[
            (
                "self.group == oldSelf.group",
                "nodeClassRef.group is immutable",
            ),
            (
                "self.kind == oldSelf.kind",
                "nodeClassRef.kind is immutable",
            ),
        ],
    );
    schema.conditions("status.conditions", true);
    schema.resource_list("status.resources");
    schema.set("status.nodes", json!({"default": 0}));
    let columns = [
        column(
            "NodeClass",
            ".spec.template.spec.nodeClassRef.name",
            "string",
            0,
        ),
        column("Nodes", ".status.nodes", "string", 0),
        column("Ready", &condition_path("Ready"), "string", 0),
        column("Age", ".metadata.creationTimestamp", "date", 0),
        column("Weight", ".spec.weight", "integer", 1),
        column("CPU", ".status.resources.cpu", "string", 1),
        column("Memory", ".status.resources.memory", "string", 1),
    ];
    let subresources = json!({
        "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.nodes"},
        "status": {},
    });
    crd(
        "NodePool",
        "nodepools",
        &schema.into_value(),
        &columns,
        &subresources,
    )
}

/// CRD of NodeClaim.
pub(super) fn node_claim() -> Value {
    let mut schema = Schema::derived(&NodeClaim::crd());
    node_claim_like(&mut schema, "spec", false);
    schema.rules("spec", &[("self == oldSelf", "spec is immutable")]);
    schema.resource_list("spec.resources.requests");
    schema.conditions("status.conditions", false);
    schema.resource_list("status.allocatable");
    schema.resource_list("status.capacity");
    schema.replace(
        "status.lastPodEventTime",
        json!({"type": "string", "format": "date-time"}),
    );
    let columns = [
        column("Type", &label_path(labels::INSTANCE_TYPE), "string", 0),
        column("Capacity", &label_path(labels::CAPACITY_TYPE), "string", 0),
        column("Zone", &label_path(labels::ZONE), "string", 0),
        column("Node", ".status.nodeName", "string", 0),
        column("Ready", &condition_path("Ready"), "string", 0),
        column("Age", ".metadata.creationTimestamp", "date", 0),
        column("ImageID", ".status.imageID", "string", 1),
        column("ID", ".status.providerID", "string", 1),
        column("NodePool", &label_path(labels::NODEPOOL), "string", 1),
        column("NodeClass", ".spec.nodeClassRef.name", "string", 1),
        column("Drifted", &condition_path("Drifted"), "string", 1),
    ];
    crd(
        "NodeClaim",
        "nodeclaims",
        &schema.into_value(),
        &columns,
        &json!({"status": {}}),
    )
}

fn crd(kind: &str, plural: &str, schema: &Value, columns: &[Value], subresources: &Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.karpenter.sh")},
        "spec": {
            "group": "karpenter.sh",
            "names": {
                "categories": ["karpenter", "nap"],
                "kind": kind,
                "listKind": format!("{kind}List"),
                "plural": plural,
                "singular": kind.to_lowercase(),
            },
            "scope": "Cluster",
            "versions": [{
                "name": "v1",
                "served": true,
                "storage": true,
                "additionalPrinterColumns": columns,
                "schema": {"openAPIV3Schema": schema},
                "subresources": subresources,
            }],
        },
    })
}

fn node_pool_spec(schema: &mut Schema) {
    schema.rules(
        "spec",
        &[
            (
                "has(self.replicas) == has(oldSelf.replicas)",
                "Cannot transition NodePool between static (replicas set) and dynamic (replicas unset) provisioning modes",
            ),
            (
                "!has(self.replicas) || (!has(self.limits) || size(self.limits) == 0 || (size(self.limits) == 1 && 'nodes' in self.limits))",
                "only 'limits.nodes' is supported on static NodePools",
            ),
            (
                "!(has(self.replicas) && has(self.weight))",
                "'weight' is not supported on static NodePools",
            ),
        ],
    );
    schema.resource_list("spec.limits");
    schema.set("spec.replicas", json!({"minimum": 0}));
    schema.range("spec.weight", 1, 100);
}

fn node_pool_disruption(schema: &mut Schema) {
    schema.set(
        "spec.disruption",
        json!({"default": {"consolidateAfter": "0s"}, "required": ["consolidateAfter"]}),
    );
    schema.pattern("spec.disruption.consolidateAfter", DURATION_OR_NEVER);
    schema.set("spec.disruption.consolidateAfter", json!({"default": "0s"}));
    schema.choice(
        "spec.disruption.consolidationPolicy",
        &["WhenEmpty", "WhenEmptyOrUnderutilized", "Balanced"],
    );
    schema.set(
        "spec.disruption.consolidationPolicy",
        json!({"default": "WhenEmptyOrUnderutilized"}),
    );
    let budgets = "spec.disruption.budgets";
    schema.set(
        budgets,
        json!({
            "default": [{"nodes": "10%"}],
            "maxItems": 50,
            "x-kubernetes-list-type": "atomic",
        }),
    );
    schema.rules(
        budgets,
        &[(
            "self.all(x, has(x.schedule) == has(x.duration))",
            "'schedule' must be set with 'duration'",
        )],
    );
    let reasons = "spec.disruption.budgets[].reasons";
    schema.choice(
        &format!("{reasons}[]"),
        &["Underutilized", "Empty", "Drifted"],
    );
    schema.set(
        reasons,
        json!({"maxItems": 50, "x-kubernetes-list-type": "set"}),
    );
    schema.pattern(
        "spec.disruption.budgets[].nodes",
        "^((100|[0-9]{1,2})%|[0-9]+)$",
    );
    schema.set("spec.disruption.budgets[].nodes", json!({"default": "10%"}));
    schema.pattern(
        "spec.disruption.budgets[].duration",
        "^((([0-9]+(h|m))|([0-9]+h[0-9]+m))(0s)?)$",
    );
    // The anchors bind one alternative each; upstream's, and therefore kept.
    schema.pattern(
        "spec.disruption.budgets[].schedule",
        "^(@(annually|yearly|monthly|weekly|daily|midnight|hourly))|((.+)\\s(.+)\\s(.+)\\s(.+)\\s(.+))$",
    );
}

/// What NodeClaims and their template have in common.
fn node_claim_like(schema: &mut Schema, at: &str, is_pool: bool) {
    for (field, message) in [
        ("group", "group may not be empty"),
        ("kind", "kind may not be empty"),
        ("name", "name may not be empty"),
    ] {
        schema.rules(
            &format!("{at}.nodeClassRef.{field}"),
            &[("self != ''", message)],
        );
    }
    schema.set(
        &format!("{at}.nodeClassRef.group"),
        json!({"pattern": "^[^/]*$"}),
    );
    let expire_after = format!("{at}.expireAfter");
    schema.pattern(&expire_after, DURATION_OR_NEVER);
    schema.set(&expire_after, json!({"default": "720h"}));
    schema.pattern(&format!("{at}.terminationGracePeriod"), DURATION);
    for field in ["taints", "startupTaints"] {
        taints(schema, &format!("{at}.{field}"));
    }
    requirements(schema, &format!("{at}.requirements"), is_pool);
}

fn taints(schema: &mut Schema, path: &str) {
    let text = |pattern: &str, description: &str| json!({"type": "string", "pattern": pattern, "description": description});
    let mut key = text(QUALIFIED_NAME, "Key of the taint.");
    key["minLength"] = json!(1);
    let taint = json!({
        "type": "object",
        "description": "Keeps pods away that do not tolerate it.",
        "required": ["effect", "key"],
        "properties": {
            "effect": {
                "type": "string",
                "enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"],
                "description": "What happens to pods that do not tolerate the taint.",
            },
            "key": key,
            "timeAdded": {
                "type": "string",
                "format": "date-time",
                "description": "When the taint was added.",
            },
            "value": text(QUALIFIED_NAME, "Value of the taint."),
        },
    });
    schema.replace(
        path,
        json!({
            "type": "array",
            "items": taint,
            "x-kubernetes-list-type": "atomic",
        }),
    );
}

fn requirements(schema: &mut Schema, path: &str, is_pool: bool) {
    schema.set(
        path,
        json!({"maxItems": 100, "x-kubernetes-list-type": "atomic"}),
    );
    schema.rules(
        path,
        &[
            (
                "self.all(x, x.operator == 'In' ? x.values.size() != 0 : true)",
                "requirements with operator 'In' must have a value defined",
            ),
            (
                "self.all(x, (x.operator == 'Gt' || x.operator == 'Lt' || x.operator == 'Gte' || x.operator == 'Lte') ? (x.values.size() == 1 && int(x.values[0]) >= 0) : true)",
                "requirements operator 'Gt', 'Lt', 'Gte', or 'Lte' must have a single positive integer value",
            ),
            (
                "self.all(x, (x.operator == 'In' && has(x.minValues)) ? x.values.size() >= x.minValues : true)",
                "requirements with 'minValues' must have at least that many values specified in the 'values' field",
            ),
        ],
    );
    let key = format!("{path}[].key");
    schema.set(&key, json!({"maxLength": 316, "pattern": QUALIFIED_NAME}));
    key_rules(schema, &key, "self", is_pool);
    schema.choice(
        &format!("{path}[].operator"),
        &[
            "In",
            "NotIn",
            "Exists",
            "DoesNotExist",
            "Gt",
            "Lt",
            "Gte",
            "Lte",
        ],
    );
    // Length and pattern sit on the list, where they have no effect; upstream's, and therefore kept.
    schema.set(
        &format!("{path}[].values"),
        json!({"maxLength": 63, "pattern": LABEL_VALUE, "x-kubernetes-list-type": "atomic"}),
    );
    schema.range(&format!("{path}[].minValues"), 1, 50);
}

fn template_metadata(schema: &mut Schema) {
    let labels_path = "spec.template.metadata.labels";
    schema.set(
        labels_path,
        json!({"maxProperties": 100, "x-kubernetes-map-type": "atomic"}),
    );
    schema.set(
        &format!("{labels_path}{{}}"),
        json!({"maxLength": 63, "pattern": LABEL_VALUE}),
    );
    key_rules(schema, labels_path, "x", true);
    schema.set(
        "spec.template.metadata.annotations",
        json!({"x-kubernetes-map-type": "granular"}),
    );
}

/// Rules on one label key (`self`) or on all keys of a map (`x`).
fn key_rules(schema: &mut Schema, path: &str, variable: &str, is_pool: bool) {
    let rule = |condition: String| match variable {
        "self" => condition,
        variable => format!("self.all({variable}, {condition})"),
    };
    let domain_rule = |allowed: &[&str], domain: &str| {
        let allowed: Vec<String> = allowed.iter().map(|key| format!("\"{key}\"")).collect();
        let allowed = allowed.join(", ");
        rule(format!(
            "{variable} in [{allowed}] || !{variable}.find(\"^([^/]+)\").endsWith(\"{domain}\")"
        ))
    };
    let not_rule = |key: &str| rule(format!("{variable} != \"{key}\""));
    let karpenter = domain_rule(&[labels::CAPACITY_TYPE, labels::NODEPOOL], "karpenter.sh");
    schema.rules(path, &[(&karpenter, KARPENTER_MESSAGE)]);
    // A claim names its pool, a pool's template must not.
    let pool_only: &[&str] = if is_pool { &[labels::NODEPOOL] } else { &[] };
    let forbidden = pool_only
        .iter()
        .chain([&labels::HOSTNAME])
        .chain(labels::AKS_LEGACY);
    for key in forbidden {
        schema.rules(
            path,
            &[(&not_rule(key), &format!("label \"{key}\" is restricted"))],
        );
    }
    let azure = domain_rule(AZURE_KEYS, "karpenter.azure.com");
    let aks = domain_rule(AKS_KEYS, "kubernetes.azure.com");
    schema.rules(path, &[(&azure, AZURE_MESSAGE), (&aks, AKS_MESSAGE)]);
}
