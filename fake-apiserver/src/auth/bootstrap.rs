//! What a fresh cluster holds: namespaces, priority classes, and the roles and bindings under
//! which its components run
//! (`kubernetes/kubernetes plugin/pkg/auth/authorizer/rbac/bootstrappolicy`, reduced to the
//! resources that exist here; the kubelets' role is bound to `system:nodes`, since there is no node
//! authorizer).

use serde_json::{Value, json};

/// API groups, resources and verbs, each separated by blanks; `core` is the core group.
type Row = (&'static str, &'static str, &'static str);

const EVENTS: Row = ("core events.k8s.io", "events", "create patch update");
const READ: &str = "get list watch";
const WRITE: &str = "create delete deletecollection patch update";

/// `system:…` roles of components: name, subject (`user:`, `group:` or a service account of
/// kube-system), rules.
const COMPONENTS: &[(&str, &str, &[Row])] = &[
    (
        "system:kube-scheduler",
        "user:system:kube-scheduler",
        &[
            EVENTS,
            (
                "coordination.k8s.io",
                "leases",
                "create get list update watch",
            ),
            ("core", "nodes namespaces", READ),
            ("core", "pods", "delete get list watch"),
            ("core", "pods/binding bindings", "create"),
            ("core", "pods/status", "patch update"),
            (
                "core",
                "replicationcontrollers services persistentvolumes",
                READ,
            ),
            (
                "core",
                "persistentvolumeclaims",
                "get list watch patch update",
            ),
            ("apps", "replicasets statefulsets", READ),
            ("policy", "poddisruptionbudgets", READ),
            (
                "storage.k8s.io",
                "csinodes csidrivers csistoragecapacities storageclasses volumeattachments",
                READ,
            ),
            ("resource.k8s.io", "deviceclasses resourceslices", READ),
            (
                "resource.k8s.io",
                "resourceclaims resourceclaims/status",
                "get list watch patch update",
            ),
            ("authentication.k8s.io", "tokenreviews", "create"),
            ("authorization.k8s.io", "subjectaccessreviews", "create"),
        ],
    ),
    (
        "system:node",
        "group:system:nodes",
        &[
            EVENTS,
            ("authentication.k8s.io", "tokenreviews", "create"),
            (
                "authorization.k8s.io",
                "subjectaccessreviews localsubjectaccessreviews",
                "create",
            ),
            ("core", "services", READ),
            ("core", "nodes", "create get list watch update patch delete"),
            ("core", "nodes/status", "get patch update"),
            ("core", "pods", "create delete get list watch"),
            ("core", "pods/status", "patch update"),
            ("core", "pods/eviction", "create"),
            ("core", "secrets configmaps", READ),
            (
                "core",
                "persistentvolumeclaims persistentvolumes endpoints",
                "get",
            ),
            ("core", "serviceaccounts", "get"),
            ("core", "serviceaccounts/token", "create"),
            (
                "certificates.k8s.io",
                "certificatesigningrequests",
                "create get list watch",
            ),
            (
                "coordination.k8s.io",
                "leases",
                "create delete get patch update",
            ),
            ("storage.k8s.io", "volumeattachments", "get"),
            ("storage.k8s.io", "csidrivers", READ),
            (
                "storage.k8s.io",
                "csinodes",
                "create delete get patch update",
            ),
            ("node.k8s.io", "runtimeclasses", READ),
        ],
    ),
    (
        "system:node-bootstrapper",
        "group:system:bootstrappers",
        &[(
            "certificates.k8s.io",
            "certificatesigningrequests",
            "create get list watch",
        )],
    ),
    (
        "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
        "group:system:bootstrappers",
        &[(
            "certificates.k8s.io",
            "certificatesigningrequests/nodeclient",
            "create",
        )],
    ),
    (
        "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
        "group:system:nodes",
        &[(
            "certificates.k8s.io",
            "certificatesigningrequests/selfnodeclient",
            "create",
        )],
    ),
    (
        "system:basic-user",
        "group:system:authenticated",
        &[
            (
                "authorization.k8s.io",
                "selfsubjectaccessreviews selfsubjectrulesreviews",
                "create",
            ),
            ("authentication.k8s.io", "selfsubjectreviews", "create"),
        ],
    ),
    (
        "system:cloud-controller-manager",
        "cloud-controller-manager",
        &[
            EVENTS,
            ("core", "nodes", "create delete get list watch patch update"),
            ("core", "nodes/status services/status", "get patch update"),
            ("core", "services pods", READ),
            ("core", "services", "patch update"),
            ("core", "persistentvolumes", "get list watch update"),
            ("coordination.k8s.io", "leases", "create get update"),
        ],
    ),
    (
        "system:cloud-node-manager",
        "cloud-node-manager",
        &[
            EVENTS,
            ("core", "nodes nodes/status", "get list watch patch update"),
        ],
    ),
    (
        "system:node-problem-detector",
        "node-problem-detector",
        &[
            EVENTS,
            ("core", "nodes nodes/status", "get list watch patch update"),
        ],
    ),
    (
        "system:controller:daemon-set-controller",
        "daemon-set-controller",
        &[
            EVENTS,
            (
                "apps",
                "daemonsets daemonsets/finalizers daemonsets/status",
                "get list watch patch update",
            ),
            (
                "apps",
                "controllerrevisions",
                "create delete get list patch update watch",
            ),
            ("core", "nodes", READ),
            ("core", "pods", "create delete get list patch watch"),
            ("core", "pods/binding", "create"),
        ],
    ),
    (
        "system:controller:deployment-controller",
        "deployment-controller",
        &[
            EVENTS,
            (
                "apps",
                "deployments deployments/finalizers deployments/status",
                "get list watch patch update",
            ),
            (
                "apps",
                "replicasets",
                "create delete get list patch update watch",
            ),
            ("core", "pods", "get list update watch"),
        ],
    ),
    (
        "system:controller:replicaset-controller",
        "replicaset-controller",
        &[
            EVENTS,
            (
                "apps",
                "replicasets replicasets/finalizers replicasets/status",
                "get list watch patch update",
            ),
            ("core", "pods", "create delete get list patch watch"),
        ],
    ),
    (
        "system:controller:statefulset-controller",
        "statefulset-controller",
        &[
            EVENTS,
            (
                "apps",
                "statefulsets statefulsets/finalizers statefulsets/status",
                "get list watch patch update",
            ),
            (
                "apps",
                "controllerrevisions",
                "create delete get list patch update watch",
            ),
            ("core", "pods", "create delete get list patch update watch"),
            (
                "core",
                "persistentvolumeclaims",
                "create delete get list patch update watch",
            ),
        ],
    ),
    (
        "system:controller:job-controller",
        "job-controller",
        &[
            EVENTS,
            (
                "batch",
                "jobs jobs/finalizers jobs/status",
                "get list watch patch update",
            ),
            ("core", "pods", "create delete get list patch watch"),
        ],
    ),
    (
        "system:controller:cronjob-controller",
        "cronjob-controller",
        &[
            EVENTS,
            (
                "batch",
                "cronjobs cronjobs/finalizers cronjobs/status",
                "get list watch patch update",
            ),
            ("batch", "jobs", "create delete get list patch update watch"),
            ("core", "pods", "delete list"),
        ],
    ),
    (
        "system:controller:ttl-after-finished-controller",
        "ttl-after-finished-controller",
        &[EVENTS, ("batch", "jobs", "delete get list watch")],
    ),
    (
        "system:controller:disruption-controller",
        "disruption-controller",
        &[
            EVENTS,
            ("apps", "deployments replicasets statefulsets", READ),
            ("core", "replicationcontrollers", READ),
            ("policy", "poddisruptionbudgets", READ),
            ("policy", "poddisruptionbudgets/status", "get patch update"),
            ("core", "pods", READ),
            ("core", "pods/status", "patch update"),
            ("*", "*/scale", "get"),
        ],
    ),
    (
        "system:controller:generic-garbage-collector",
        "generic-garbage-collector",
        &[EVENTS, ("*", "*", "delete get list patch update watch")],
    ),
    (
        "system:controller:namespace-controller",
        "namespace-controller",
        &[
            ("core", "namespaces", "delete get list watch"),
            ("core", "namespaces/finalize namespaces/status", "update"),
            ("*", "*", "delete deletecollection get list watch"),
        ],
    ),
    (
        "system:controller:node-controller",
        "node-controller",
        &[
            EVENTS,
            ("core", "nodes", "delete get list patch update watch"),
            ("core", "nodes/status", "patch update"),
            ("core", "pods", "delete get list watch patch"),
            ("core", "pods/status", "patch update"),
            ("core", "namespaces", READ),
            ("apps", "daemonsets", READ),
            ("coordination.k8s.io", "leases", READ),
        ],
    ),
    (
        "system:controller:pod-garbage-collector",
        "pod-garbage-collector",
        &[
            ("core", "pods", "delete get list watch"),
            ("core", "nodes", READ),
            ("core", "pods/status", "patch"),
        ],
    ),
    (
        "system:controller:root-ca-cert-publisher",
        "root-ca-cert-publisher",
        &[
            EVENTS,
            ("core", "configmaps", "create get list update watch"),
            ("core", "namespaces", READ),
        ],
    ),
    (
        "system:controller:service-account-controller",
        "service-account-controller",
        &[
            EVENTS,
            ("core", "serviceaccounts", "create get list watch"),
            ("core", "namespaces", READ),
        ],
    ),
    (
        "system:controller:attachdetach-controller",
        "attachdetach-controller",
        &[
            EVENTS,
            (
                "core",
                "persistentvolumes persistentvolumeclaims pods nodes",
                READ,
            ),
            ("core", "nodes/status", "patch update"),
            (
                "storage.k8s.io",
                "volumeattachments",
                "create delete get list patch watch",
            ),
            ("storage.k8s.io", "volumeattachments/status", "patch"),
            ("storage.k8s.io", "csidrivers csinodes", READ),
        ],
    ),
    (
        "system:controller:persistent-volume-binder",
        "persistent-volume-binder",
        &[
            EVENTS,
            (
                "core",
                "persistentvolumes",
                "create delete get list patch update watch",
            ),
            (
                "core",
                "persistentvolumes/status persistentvolumeclaims/status",
                "patch update",
            ),
            (
                "core",
                "persistentvolumeclaims",
                "get list patch update watch",
            ),
            ("storage.k8s.io", "storageclasses", READ),
            ("core", "pods nodes", READ),
        ],
    ),
    (
        "system:controller:horizontal-pod-autoscaler",
        "horizontal-pod-autoscaler",
        &[
            EVENTS,
            ("autoscaling", "horizontalpodautoscalers", READ),
            ("autoscaling", "horizontalpodautoscalers/status", "update"),
            ("*", "*/scale", "get update"),
            ("core", "pods", "list"),
            ("metrics.k8s.io", "pods", "list"),
        ],
    ),
    (
        "system:controller:endpointslice-controller",
        "endpointslice-controller",
        &[
            EVENTS,
            ("core", "nodes pods services", READ),
            (
                "discovery.k8s.io",
                "endpointslices",
                "create delete get list update watch",
            ),
        ],
    ),
];

const NAMESPACED: &str = "bindings configmaps endpoints events limitranges persistentvolumeclaims pods \
    podtemplates replicationcontrollers resourcequotas serviceaccounts services";

/// Roles for people: `view` is aggregated into `edit`, and `edit` into `admin`.
const PEOPLE: &[(&str, &str, &[Row])] = &[
    (
        "view",
        "rbac.authorization.k8s.io/aggregate-to-edit",
        &[
            ("core", NAMESPACED, READ),
            ("core", "namespaces pods/log pods/status", READ),
            (
                "apps",
                "controllerrevisions daemonsets deployments replicasets statefulsets",
                READ,
            ),
            (
                "apps",
                "deployments/scale replicasets/scale statefulsets/scale",
                READ,
            ),
            ("autoscaling", "horizontalpodautoscalers", READ),
            ("batch", "cronjobs jobs", READ),
            ("discovery.k8s.io", "endpointslices", READ),
            ("networking.k8s.io", "ingresses networkpolicies", READ),
            ("policy", "poddisruptionbudgets", READ),
        ],
    ),
    (
        "edit",
        "rbac.authorization.k8s.io/aggregate-to-admin",
        &[
            ("core", NAMESPACED, WRITE),
            (
                "core",
                "secrets",
                "create delete deletecollection get list patch update watch",
            ),
            (
                "core",
                "pods/attach pods/exec pods/portforward pods/eviction serviceaccounts/token",
                "create",
            ),
            (
                "apps",
                "daemonsets deployments replicasets statefulsets",
                WRITE,
            ),
            (
                "apps",
                "deployments/scale replicasets/scale statefulsets/scale",
                WRITE,
            ),
            ("autoscaling", "horizontalpodautoscalers", WRITE),
            ("batch", "cronjobs jobs", WRITE),
            (
                "coordination.k8s.io",
                "leases",
                "create delete deletecollection get list patch update watch",
            ),
            ("networking.k8s.io", "ingresses networkpolicies", WRITE),
            ("policy", "poddisruptionbudgets", WRITE),
        ],
    ),
    (
        "admin",
        "",
        &[
            (
                "authorization.k8s.io",
                "localsubjectaccessreviews",
                "create",
            ),
            (
                "rbac.authorization.k8s.io",
                "roles rolebindings",
                "create delete deletecollection get list patch update watch",
            ),
        ],
    ),
];

/// Objects of a fresh cluster: group, plural, object. `ca` is the cluster CA, PEM.
pub(crate) fn objects(ca: &str) -> Vec<(&'static str, &'static str, Value)> {
    let mut objects = Vec::new();
    for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
        objects.push(("", "namespaces", namespace(name)));
        objects.push((
            "",
            "serviceaccounts",
            json!({
                "apiVersion": "v1", "kind": "ServiceAccount",
                "metadata": {"name": "default", "namespace": name},
            }),
        ));
        objects.push((
            "",
            "configmaps",
            json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "kube-root-ca.crt", "namespace": name},
                "data": {"ca.crt": ca},
            }),
        ));
    }
    for (name, value, description) in [
        (
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        ),
        (
            "system-node-critical",
            2_000_001_000,
            "Used for system critical pods that must not be moved from their current node.",
        ),
    ] {
        objects.push((
            "scheduling.k8s.io",
            "priorityclasses",
            json!({
                "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
                "metadata": {"name": name}, "value": value, "description": description,
                "preemptionPolicy": "PreemptLowerPriority",
            }),
        ));
    }
    let all = [("*", "*", "*")];
    let mut admin = role("cluster-admin", &all, "");
    if let Some(rules) = admin["rules"].as_array_mut() {
        rules.push(json!({"nonResourceURLs": ["*"], "verbs": ["*"]}));
    }
    objects.push((RBAC, "clusterroles", admin));
    objects.push((
        RBAC,
        "clusterrolebindings",
        binding("cluster-admin", "group:system:masters"),
    ));
    for (name, aggregated_to, rows) in PEOPLE {
        objects.push((RBAC, "clusterroles", role(name, rows, aggregated_to)));
    }
    for (name, subject, rows) in COMPONENTS {
        objects.push((RBAC, "clusterroles", role(name, rows, "")));
        objects.push((RBAC, "clusterrolebindings", binding(name, subject)));
    }
    let discovery = [
        "/api",
        "/api/*",
        "/apis",
        "/apis/*",
        "/healthz",
        "/livez",
        "/openapi",
        "/openapi/*",
        "/readyz",
        "/version",
        "/version/",
    ];
    let public = ["/healthz", "/livez", "/readyz", "/version", "/version/"];
    objects.push((
        RBAC,
        "clusterroles",
        paths_role("system:discovery", &discovery),
    ));
    objects.push((
        RBAC,
        "clusterrolebindings",
        binding("system:discovery", "group:system:authenticated"),
    ));
    objects.push((
        RBAC,
        "clusterroles",
        paths_role("system:public-info-viewer", &public),
    ));
    objects.push((
        RBAC,
        "clusterrolebindings",
        binding(
            "system:public-info-viewer",
            "group:system:authenticated group:system:unauthenticated",
        ),
    ));
    objects
}

const RBAC: &str = "rbac.authorization.k8s.io";

fn namespace(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    })
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace()
        .map(|word| if word == "core" { "" } else { word })
        .collect()
}

fn role(name: &str, rows: &[Row], aggregated_to: &str) -> Value {
    let rules: Vec<Value> = rows
        .iter()
        .map(|(groups, resources, verbs)| {
            json!({"apiGroups": words(groups), "resources": words(resources), "verbs": words(verbs)})
        })
        .collect();
    let mut labels = serde_json::Map::new();
    labels.insert("kubernetes.io/bootstrapping".into(), "rbac-defaults".into());
    if !aggregated_to.is_empty() {
        labels.insert(aggregated_to.to_owned(), "true".into());
    }
    let mut role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": name, "labels": labels},
        "rules": rules,
    });
    let aggregates = match name {
        "edit" | "admin" | "view" => Some(format!("rbac.authorization.k8s.io/aggregate-to-{name}")),
        _ => None,
    };
    if let Some(label) = aggregates {
        role["aggregationRule"] =
            json!({"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]});
    }
    role
}

fn paths_role(name: &str, paths: &[&str]) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}},
        "rules": [{"nonResourceURLs": paths, "verbs": ["get"]}],
    })
}

fn binding(role: &str, subjects: &str) -> Value {
    let subjects: Vec<Value> = subjects
        .split_whitespace()
        .map(|subject| {
            if let Some(name) = subject.strip_prefix("user:") {
                json!({"apiGroup": RBAC, "kind": "User", "name": name})
            } else if let Some(name) = subject.strip_prefix("group:") {
                json!({"apiGroup": RBAC, "kind": "Group", "name": name})
            } else {
                json!({"kind": "ServiceAccount", "name": subject, "namespace": "kube-system"})
            }
        })
        .collect();
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": role, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
        "subjects": subjects,
    })
}
