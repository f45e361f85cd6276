//! Defaults of built-in kinds (`kubernetes/kubernetes pkg/apis/*/v1/defaults.go`), for the fields
//! that controllers and people look at.

use serde_json::{Map, Value, json};

use crate::meta;

/// Defaults of a new object, and the parts of it the strategy of its kind sets.
pub(crate) fn create(group: &str, plural: &str, object: &mut Value) {
    update(group, plural, object);
    match (group, plural) {
        ("", "pods") => {
            let gated = object["spec"]["schedulingGates"]
                .as_array()
                .is_some_and(|gates| !gates.is_empty());
            let mut status = json!({"phase": "Pending", "qosClass": qos(&object["spec"])});
            if gated {
                status["conditions"] = json!([{
                    "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
                    "message": "Scheduling is blocked due to non-empty scheduling gates",
                    "lastProbeTime": null,
                    "lastTransitionTime": object["metadata"]["creationTimestamp"],
                }]);
            }
            set(object, "status", status);
        }
        ("", "namespaces") => {
            set(object, "spec", json!({"finalizers": ["kubernetes"]}));
            set(object, "status", json!({"phase": "Active"}));
        }
        ("", "persistentvolumeclaims" | "persistentvolumes") => {
            set(object, "status", json!({"phase": "Pending"}));
        }
        ("apps", "deployments" | "replicasets" | "statefulsets" | "daemonsets")
        | ("batch", "jobs" | "cronjobs")
        | ("policy", "poddisruptionbudgets")
        | ("storage.k8s.io", "volumeattachments")
        | ("certificates.k8s.io", "certificatesigningrequests")
        | ("apiextensions.k8s.io", "customresourcedefinitions") => {
            let mut status = create_status(plural);
            if plural == "customresourcedefinitions" {
                status["storedVersions"] = stored_versions(object);
            }
            set(object, "status", status);
        }
        _ => {}
    }
}

/// The storage version of a new definition.
fn stored_versions(definition: &Value) -> Value {
    let versions = definition["spec"]["versions"].as_array();
    let stored = versions.into_iter().flatten();
    stored
        .filter(|version| version["storage"] == true)
        .map(|version| version["name"].clone())
        .collect()
}

/// The status a strategy gives a new object, whatever the client sent.
fn create_status(plural: &str) -> Value {
    match plural {
        "replicasets" | "statefulsets" => json!({"replicas": 0}),
        "daemonsets" => json!({
            "currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0,
            "numberReady": 0,
        }),
        "poddisruptionbudgets" => json!({
            "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0,
        }),
        "customresourcedefinitions" => json!({
            "conditions": null, "storedVersions": [], "acceptedNames": {"plural": "", "kind": ""},
        }),
        _ => json!({}),
    }
}

/// Defaults of any object.
pub(crate) fn update(group: &str, plural: &str, object: &mut Value) {
    match (group, plural) {
        ("", "pods") => pod_spec(meta::map_mut(object, "spec"), true),
        ("", "secrets") => {
            default(object, "type", json!("Opaque"));
            string_data(object);
        }
        ("", "services") => service(meta::map_mut(object, "spec")),
        ("", "nodes") => {}
        ("", "persistentvolumeclaims") => {
            insert(
                meta::map_mut(object, "spec"),
                "volumeMode",
                json!("Filesystem"),
            );
        }
        ("", "persistentvolumes") => {
            let spec = meta::map_mut(object, "spec");
            insert(spec, "volumeMode", json!("Filesystem"));
            insert(spec, "persistentVolumeReclaimPolicy", json!("Retain"));
        }
        ("apps", "deployments") => deployment(meta::map_mut(object, "spec")),
        ("apps", "replicasets") => {
            let spec = meta::map_mut(object, "spec");
            insert(spec, "replicas", json!(1));
            template(spec);
        }
        ("apps", "statefulsets") => stateful_set(meta::map_mut(object, "spec")),
        ("apps", "daemonsets") => daemon_set(meta::map_mut(object, "spec")),
        ("batch", "jobs") => job(meta::map_mut(object, "spec")),
        ("batch", "cronjobs") => {
            let spec = meta::map_mut(object, "spec");
            insert(spec, "concurrencyPolicy", json!("Allow"));
            insert(spec, "suspend", json!(false));
            insert(spec, "successfulJobsHistoryLimit", json!(3));
            insert(spec, "failedJobsHistoryLimit", json!(1));
        }
        ("scheduling.k8s.io", "priorityclasses") => {
            default(object, "preemptionPolicy", json!("PreemptLowerPriority"));
        }
        ("storage.k8s.io", "storageclasses") => {
            default(object, "reclaimPolicy", json!("Delete"));
            default(object, "volumeBindingMode", json!("Immediate"));
        }
        ("rbac.authorization.k8s.io", "clusterrolebindings" | "rolebindings") => binding(object),
        ("rbac.authorization.k8s.io", "clusterroles" | "roles") => {
            default(object, "rules", Value::Null);
        }
        ("apiextensions.k8s.io", "customresourcedefinitions") => {
            crate::registry::custom::default(object);
        }
        _ => {}
    }
}

fn binding(object: &mut Value) {
    if let Some(role) = object.get_mut("roleRef").and_then(Value::as_object_mut) {
        insert(role, "apiGroup", json!("rbac.authorization.k8s.io"));
    }
    let subjects = object.get_mut("subjects").and_then(Value::as_array_mut);
    for subject in subjects.into_iter().flatten() {
        let kind = subject["kind"].as_str().unwrap_or_default();
        if matches!(kind, "User" | "Group")
            && let Some(subject) = subject.as_object_mut()
        {
            insert(subject, "apiGroup", json!("rbac.authorization.k8s.io"));
        }
    }
}

/// `stringData` is write-only.
fn string_data(secret: &mut Value) {
    use base64::Engine as _;
    let Some(map) = secret.as_object_mut() else {
        return;
    };
    let Some(Value::Object(plain)) = map.remove("stringData") else {
        return;
    };
    let data = meta::map_mut(secret, "data");
    for (name, value) in plain {
        if let Some(text) = value.as_str() {
            let encoded = base64::engine::general_purpose::STANDARD.encode(text);
            data.insert(name, encoded.into());
        }
    }
}

fn service(spec: &mut Map<String, Value>) {
    insert(spec, "type", json!("ClusterIP"));
    insert(spec, "sessionAffinity", json!("None"));
    insert(spec, "internalTrafficPolicy", json!("Cluster"));
    insert(spec, "ipFamilyPolicy", json!("SingleStack"));
    insert(spec, "ipFamilies", json!(["IPv4"]));
    for port in list(spec, "ports") {
        let number = port["port"].clone();
        let Some(port) = port.as_object_mut() else {
            continue;
        };
        insert(port, "protocol", json!("TCP"));
        insert(port, "targetPort", number);
    }
}

fn deployment(spec: &mut Map<String, Value>) {
    insert(spec, "replicas", json!(1));
    insert(spec, "revisionHistoryLimit", json!(10));
    insert(spec, "progressDeadlineSeconds", json!(600));
    let strategy = spec.entry("strategy").or_insert_with(|| json!({}));
    rolling(
        strategy,
        json!({"maxUnavailable": "25%", "maxSurge": "25%"}),
    );
    template(spec);
}

fn rolling(strategy: &mut Value, defaults: Value) {
    let Some(strategy) = strategy.as_object_mut() else {
        return;
    };
    insert(strategy, "type", json!("RollingUpdate"));
    if strategy["type"] != "RollingUpdate" {
        return;
    }
    let rolling = strategy.entry("rollingUpdate").or_insert_with(|| json!({}));
    if let (Some(rolling), Value::Object(defaults)) = (rolling.as_object_mut(), defaults) {
        for (name, value) in defaults {
            insert(rolling, &name, value);
        }
    }
}

fn stateful_set(spec: &mut Map<String, Value>) {
    insert(spec, "replicas", json!(1));
    insert(spec, "revisionHistoryLimit", json!(10));
    insert(spec, "podManagementPolicy", json!("OrderedReady"));
    insert(
        spec,
        "persistentVolumeClaimRetentionPolicy",
        json!({"whenDeleted": "Retain", "whenScaled": "Retain"}),
    );
    let strategy = spec.entry("updateStrategy").or_insert_with(|| json!({}));
    rolling(strategy, json!({"partition": 0}));
    for claim in list(spec, "volumeClaimTemplates") {
        if let Some(claim) = claim.as_object_mut() {
            insert(claim, "apiVersion", json!("v1"));
            insert(claim, "kind", json!("PersistentVolumeClaim"));
        }
    }
    template(spec);
}

fn daemon_set(spec: &mut Map<String, Value>) {
    insert(spec, "revisionHistoryLimit", json!(10));
    let strategy = spec.entry("updateStrategy").or_insert_with(|| json!({}));
    rolling(strategy, json!({"maxUnavailable": 1, "maxSurge": 0}));
    template(spec);
}

fn job(spec: &mut Map<String, Value>) {
    if !spec.contains_key("completions") && !spec.contains_key("parallelism") {
        spec.insert("completions".into(), json!(1));
    }
    insert(spec, "parallelism", json!(1));
    insert(spec, "backoffLimit", json!(6));
    insert(spec, "completionMode", json!("NonIndexed"));
    insert(spec, "suspend", json!(false));
    insert(spec, "manualSelector", json!(false));
    insert(spec, "podReplacementPolicy", json!("TerminatingOrFailed"));
    template(spec);
}

fn template(spec: &mut Map<String, Value>) {
    if let Some(template) = spec
        .get_mut("template")
        .filter(|template| template.is_object())
    {
        pod_spec(meta::map_mut(template, "spec"), false);
    }
}

/// Defaults of a pod; `real` adds what only pods get, not templates.
fn pod_spec(spec: &mut Map<String, Value>, real: bool) {
    insert(spec, "restartPolicy", json!("Always"));
    insert(spec, "terminationGracePeriodSeconds", json!(30));
    insert(spec, "dnsPolicy", json!("ClusterFirst"));
    insert(spec, "schedulerName", json!("default-scheduler"));
    insert(spec, "securityContext", json!({}));
    if real {
        insert(spec, "enableServiceLinks", json!(true));
    }
    if let Some(account) = spec.get("serviceAccountName").cloned() {
        insert(spec, "serviceAccount", account);
    }
    for field in ["containers", "initContainers"] {
        for item in list(spec, field) {
            container(item, real);
        }
    }
}

fn container(item: &mut Value, real: bool) {
    let image = item["image"].as_str().unwrap_or_default();
    // the tag is after the last colon, unless that belongs to a registry's port
    let tag = image
        .rsplit_once(':')
        .filter(|(_, tag)| !tag.contains('/'))
        .map(|(_, tag)| tag);
    let pull = if matches!(tag, None | Some("latest")) && !image.contains('@') {
        "Always"
    } else {
        "IfNotPresent"
    };
    let Some(container) = item.as_object_mut() else {
        return;
    };
    insert(container, "imagePullPolicy", json!(pull));
    insert(
        container,
        "terminationMessagePath",
        json!("/dev/termination-log"),
    );
    insert(container, "terminationMessagePolicy", json!("File"));
    insert(container, "resources", json!({}));
    for port in list(container, "ports") {
        if let Some(port) = port.as_object_mut() {
            insert(port, "protocol", json!("TCP"));
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(probe).and_then(Value::as_object_mut) {
            insert(probe, "timeoutSeconds", json!(1));
            insert(probe, "periodSeconds", json!(10));
            insert(probe, "successThreshold", json!(1));
            insert(probe, "failureThreshold", json!(3));
        }
    }
    // limits imply requests, for pods only
    if real
        && let Some(resources) = container
            .get_mut("resources")
            .and_then(Value::as_object_mut)
        && let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned()
    {
        let requests = resources.entry("requests").or_insert_with(|| json!({}));
        if let Some(requests) = requests.as_object_mut() {
            for (name, value) in limits {
                requests.entry(name).or_insert(value);
            }
        }
    }
}

/// `kubernetes/kubernetes pkg/apis/core/v1/helper/qos`.
pub(crate) fn qos(spec: &Value) -> &'static str {
    let containers = ["containers", "initContainers"]
        .into_iter()
        .flat_map(|field| spec[field].as_array().into_iter().flatten());
    let mut guaranteed = true;
    let mut any = false;
    for container in containers {
        let resources = &container["resources"];
        for name in ["cpu", "memory"] {
            let amount = |of: &str| crate::quantity::of(&resources[of][name]).filter(|n| *n > 0);
            let (request, limit) = (amount("requests"), amount("limits"));
            any |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && request.is_none_or(|request| Some(request) == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

fn insert(map: &mut Map<String, Value>, field: &str, value: Value) {
    if map.get(field).is_none_or(Value::is_null) {
        map.insert(field.to_owned(), value);
    }
}

fn default(object: &mut Value, field: &str, value: Value) {
    if let Some(map) = object.as_object_mut() {
        insert(map, field, value);
    }
}

fn set(object: &mut Value, field: &str, value: Value) {
    if let Some(map) = object.as_object_mut() {
        map.insert(field.to_owned(), value);
    }
}

fn list<'a>(map: &'a mut Map<String, Value>, field: &str) -> impl Iterator<Item = &'a mut Value> {
    map.get_mut(field)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}
