//! Cells of built-in kinds
//! (`kubernetes/kubernetes pkg/printers/internalversion/printers.go`).

use jiff::Timestamp;
use serde_json::{Value, json};

use super::age;
use crate::ops::selector_text;

/// The cells of one object, in the order of the kind's columns.
#[expect(clippy::too_many_lines, reason = "a table: one row per kind")]
pub(super) fn cells(group: &str, plural: &str, object: &Value, now: Timestamp) -> Vec<Value> {
    let name = object["metadata"]["name"].clone();
    let age = age_of(object, now);
    let (spec, status) = (&object["spec"], &object["status"]);
    match (group, plural) {
        ("", "pods") => pod(object, now),
        ("", "nodes") => node(object, now),
        ("", "events") => event(object, now),
        ("events.k8s.io", "events") => {
            let mut core = object.clone();
            crate::events::to_core(&mut core);
            event(&core, now)
        }
        ("", "namespaces") => vec![name, or_empty(&status["phase"]), age],
        ("", "configmaps") => {
            let count = count(&object["data"]) + count(&object["binaryData"]);
            vec![name, count.into(), age]
        }
        ("", "secrets") => vec![
            name,
            or_empty(&object["type"]),
            count(&object["data"]).into(),
            age,
        ],
        ("", "serviceaccounts") => vec![name, age],
        ("", "services") => service(object, name, age),
        ("", "persistentvolumeclaims") => vec![
            name,
            or_empty(&status["phase"]),
            or_empty(&spec["volumeName"]),
            or_empty(&status["capacity"]["storage"]),
            access_modes(&status["accessModes"]),
            or_empty(&spec["storageClassName"]),
            "<unset>".into(),
            age,
            or_empty(&spec["volumeMode"]),
        ],
        ("apps", "deployments") => deployment(object, name, age),
        ("apps", "replicasets") => replica_set(object, name, age),
        ("apps", "statefulsets") => {
            let ready = format!(
                "{}/{}",
                number(&status["readyReplicas"]),
                number(&spec["replicas"])
            );
            let (names, images) = containers(&spec["template"]);
            vec![name, ready.into(), age, names, images]
        }
        ("apps", "daemonsets") => daemon_set(object, name, age),
        ("batch", "jobs") => job(object, name, now),
        ("policy", "poddisruptionbudgets") => vec![
            name,
            or(&spec["minAvailable"], "N/A"),
            or(&spec["maxUnavailable"], "N/A"),
            number(&status["disruptionsAllowed"]).into(),
            age,
        ],
        ("coordination.k8s.io", "leases") => vec![name, or_empty(&spec["holderIdentity"]), age],
        ("rbac.authorization.k8s.io", "clusterrolebindings" | "rolebindings") => {
            binding(object, name, age)
        }
        ("rbac.authorization.k8s.io", _) => {
            vec![name, object["metadata"]["creationTimestamp"].clone()]
        }
        ("scheduling.k8s.io", "priorityclasses") => vec![
            name,
            object["value"].clone(),
            (object["globalDefault"] == true).into(),
            age,
            or_empty(&object["preemptionPolicy"]),
        ],
        ("storage.k8s.io", "csinodes") => vec![name, count(&spec["drivers"]).into(), age],
        ("apiextensions.k8s.io", "customresourcedefinitions") => {
            vec![name, object["metadata"]["creationTimestamp"].clone()]
        }
        ("storage.k8s.io", "storageclasses") => storage_class(object, &name, age),
        ("", "persistentvolumes") => volume(object, name, age),
        ("storage.k8s.io", "volumeattachments") => vec![
            name,
            or_empty(&spec["attacher"]),
            or_empty(&spec["source"]["persistentVolumeName"]),
            or_empty(&spec["nodeName"]),
            (status["attached"] == true).into(),
            age,
        ],
        ("certificates.k8s.io", "certificatesigningrequests") => signing_request(object, name, age),
        ("node.k8s.io", "runtimeclasses") => vec![name, or_empty(&object["handler"]), age],
        _ => other(group, plural, object, (name, age)),
    }
}

fn storage_class(object: &Value, name: &Value, age: Value) -> Vec<Value> {
    let annotations = &object["metadata"]["annotations"];
    let default = annotations["storageclass.kubernetes.io/is-default-class"] == "true";
    let shown = name.as_str().unwrap_or_default();
    let shown = if default {
        format!("{shown} (default)")
    } else {
        shown.to_owned()
    };
    vec![
        shown.into(),
        or_empty(&object["provisioner"]),
        or(&object["reclaimPolicy"], "Delete"),
        or(&object["volumeBindingMode"], "Immediate"),
        (object["allowVolumeExpansion"] == true).into(),
        age,
    ]
}

fn volume(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let claim = &spec["claimRef"];
    let claim = match (claim["namespace"].as_str(), claim["name"].as_str()) {
        (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
        _ => String::new(),
    };
    vec![
        name,
        or_empty(&spec["capacity"]["storage"]),
        access_modes(&spec["accessModes"]),
        or_empty(&spec["persistentVolumeReclaimPolicy"]),
        or_empty(&status["phase"]),
        claim.into(),
        or_empty(&spec["storageClassName"]),
        or(&spec["volumeAttributesClassName"], "<unset>"),
        or_empty(&status["reason"]),
        age,
        or(&spec["volumeMode"], "<unset>"),
    ]
}

fn signing_request(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let conditions = status["conditions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let has = |kind: &str| conditions.iter().any(|own| own["type"] == kind);
    let mut state = if has("Denied") {
        "Denied".to_owned()
    } else if has("Approved") {
        "Approved".to_owned()
    } else {
        "Pending".to_owned()
    };
    if has("Failed") {
        state.push_str(",Failed");
    }
    if status["certificate"].is_string() {
        state.push_str(",Issued");
    }
    let duration = spec["expirationSeconds"]
        .as_i64()
        .map_or("<none>".to_owned(), age::human);
    vec![
        name,
        age,
        or_none(&spec["signerName"]),
        or_empty(&spec["username"]),
        duration.into(),
        state.into(),
    ]
}

/// Kinds without a printer of their own here: the columns that can be filled, the rest empty.
fn other(group: &str, plural: &str, object: &Value, (name, age): (Value, Value)) -> Vec<Value> {
    let registry_columns = crate::registry::builtin_columns(group, plural);
    registry_columns
        .iter()
        .map(|column| match column.name.as_str() {
            "Name" => name.clone(),
            "Age" => age.clone(),
            "Created At" => object["metadata"]["creationTimestamp"].clone(),
            _ => Value::from(""),
        })
        .collect()
}

fn age_of(object: &Value, now: Timestamp) -> Value {
    match object["metadata"]["creationTimestamp"].as_str() {
        Some(text) => age::since(text, now).into(),
        None => "<unknown>".into(),
    }
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

fn count(value: &Value) -> usize {
    value.as_object().map_or_else(
        || value.as_array().map_or(0, Vec::len),
        serde_json::Map::len,
    )
}

fn or(value: &Value, fallback: &str) -> Value {
    match value {
        Value::Null => fallback.into(),
        Value::String(text) if text.is_empty() => fallback.into(),
        Value::String(text) => text.clone().into(),
        other => other.to_string().into(),
    }
}

fn or_empty(value: &Value) -> Value {
    or(value, "")
}

fn or_none(value: &Value) -> Value {
    or(value, "<none>")
}

fn containers(template: &Value) -> (Value, Value) {
    let all = template["spec"]["containers"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let join = |field: &str| -> Value {
        let texts: Vec<&str> = all.iter().filter_map(|item| item[field].as_str()).collect();
        texts.join(",").into()
    };
    (join("name"), join("image"))
}

fn access_modes(modes: &Value) -> Value {
    let short = modes
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|mode| match mode.as_str()? {
            "ReadWriteOnce" => Some("RWO"),
            "ReadOnlyMany" => Some("ROX"),
            "ReadWriteMany" => Some("RWX"),
            "ReadWriteOncePod" => Some("RWOP"),
            _ => None,
        });
    short.collect::<Vec<_>>().join(",").into()
}

fn deployment(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let (names, images) = containers(&spec["template"]);
    vec![
        name,
        format!(
            "{}/{}",
            number(&status["readyReplicas"]),
            number(&spec["replicas"])
        )
        .into(),
        number(&status["updatedReplicas"]).into(),
        number(&status["availableReplicas"]).into(),
        age,
        names,
        images,
        selector_text(&spec["selector"]).into(),
    ]
}

fn replica_set(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let (names, images) = containers(&spec["template"]);
    vec![
        name,
        number(&spec["replicas"]).into(),
        number(&status["replicas"]).into(),
        number(&status["readyReplicas"]).into(),
        age,
        names,
        images,
        selector_text(&spec["selector"]).into(),
    ]
}

fn daemon_set(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let (names, images) = containers(&spec["template"]);
    let node_selector = spec["template"]["spec"]["nodeSelector"].as_object();
    let node_selector: Vec<String> = node_selector
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    let node_selector = if node_selector.is_empty() {
        "<none>".to_owned()
    } else {
        node_selector.join(",")
    };
    vec![
        name,
        number(&status["desiredNumberScheduled"]).into(),
        number(&status["currentNumberScheduled"]).into(),
        number(&status["numberReady"]).into(),
        number(&status["updatedNumberScheduled"]).into(),
        number(&status["numberAvailable"]).into(),
        node_selector.into(),
        age,
        names,
        images,
        selector_text(&spec["selector"]).into(),
    ]
}

fn job(object: &Value, name: Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let (names, images) = containers(&spec["template"]);
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let mut terms = conditions
        .into_iter()
        .filter(|condition| condition["status"] == "True");
    let state = terms
        .find_map(|condition| condition["type"].as_str())
        .unwrap_or("Running");
    let completions = match spec["completions"].as_i64() {
        Some(wanted) => format!("{}/{wanted}", number(&status["succeeded"])),
        None => format!("{}/1", number(&status["succeeded"])),
    };
    let duration = match (
        status["startTime"].as_str(),
        status["completionTime"].as_str(),
    ) {
        (Some(start), end) => {
            let end = end.and_then(crate::meta::parse_time).unwrap_or(now);
            age::since(start, end)
        }
        (None, _) => String::new(),
    };
    let age = age_of(object, now);
    let selector = selector_text(&spec["selector"]);
    vec![
        name,
        state.into(),
        completions.into(),
        duration.into(),
        age,
        names,
        images,
        selector.into(),
    ]
}

fn service(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let spec = &object["spec"];
    let ports = spec["ports"].as_array().into_iter().flatten();
    let ports: Vec<String> = ports
        .map(|port| {
            let node = port["nodePort"].as_i64().filter(|port| *port > 0);
            let node = node.map_or_else(String::new, |port| format!(":{port}"));
            format!(
                "{}{node}/{}",
                number(&port["port"]),
                port["protocol"].as_str().unwrap_or("TCP")
            )
        })
        .collect();
    let ports = if ports.is_empty() {
        "<none>".to_owned()
    } else {
        ports.join(",")
    };
    let selector = json!({"matchLabels": spec["selector"]});
    vec![
        name,
        or_empty(&spec["type"]),
        or_none(&spec["clusterIP"]),
        or_none(&spec["externalIPs"][0]),
        ports.into(),
        age,
        or_none(&selector_text(&selector).into()),
    ]
}

fn binding(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let role = &object["roleRef"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of = |kind: &str| -> Value {
        let subjects = object["subjects"].as_array().into_iter().flatten();
        let names: Vec<String> = subjects
            .filter(|subject| subject["kind"] == kind)
            .map(|subject| match subject["namespace"].as_str() {
                Some(namespace) if kind == "ServiceAccount" => {
                    format!("{namespace}/{}", text(&subject["name"]))
                }
                _ => text(&subject["name"]),
            })
            .collect();
        names.join(", ").into()
    };
    let role = format!("{}/{}", text(&role["kind"]), text(&role["name"]));
    vec![
        name,
        role.into(),
        age,
        of("User"),
        of("Group"),
        of("ServiceAccount"),
    ]
}

fn node(object: &Value, now: Timestamp) -> Vec<Value> {
    let conditions = object["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten();
    let ready = conditions
        .into_iter()
        .find(|condition| condition["type"] == "Ready");
    let mut state = match ready {
        Some(condition) if condition["status"] == "True" => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if object["spec"]["unschedulable"] == true {
        state.push_str(",SchedulingDisabled");
    }
    let labels = object["metadata"]["labels"]
        .as_object()
        .into_iter()
        .flatten();
    let mut roles: Vec<&str> = labels
        .filter_map(
            |(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
                Some(role) if !role.is_empty() => Some(role),
                _ if key == "kubernetes.io/role" => value.as_str(),
                _ => None,
            },
        )
        .collect();
    roles.sort_unstable();
    let roles = if roles.is_empty() {
        "<none>".to_owned()
    } else {
        roles.join(",")
    };
    let address = |kind: &str| {
        let mut all = object["status"]["addresses"]
            .as_array()
            .into_iter()
            .flatten();
        or_none(
            &all.find(|address| address["type"] == kind)
                .map_or(Value::Null, |a| a["address"].clone()),
        )
    };
    let info = &object["status"]["nodeInfo"];
    let text = |field: &str| info[field].as_str().unwrap_or_default();
    let kernel = match (text("kernelVersion"), text("architecture")) {
        ("", _) => "<unknown>".to_owned(),
        (kernel, "") => kernel.to_owned(),
        (kernel, architecture) => format!("{kernel} ({architecture})"),
    };
    vec![
        object["metadata"]["name"].clone(),
        state.into(),
        roles.into(),
        age_of(object, now),
        text("kubeletVersion").into(),
        address("InternalIP"),
        address("ExternalIP"),
        or(&info["osImage"], "<unknown>"),
        kernel.into(),
        or(&info["containerRuntimeVersion"], "<unknown>"),
    ]
}

fn event(object: &Value, now: Timestamp) -> Vec<Value> {
    let involved = &object["involvedObject"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let micro = object["eventTime"].as_str();
    let first = object["firstTimestamp"].as_str().or(micro);
    let last = object["series"]["lastObservedTime"].as_str();
    let last = last.or(object["lastTimestamp"].as_str()).or(first);
    let ago =
        |time: Option<&str>| time.map_or("<unknown>".to_owned(), |time| age::since(time, now));
    let series = object["series"]["count"]
        .as_i64()
        .or(object["count"].as_i64())
        .unwrap_or(1);
    let target = format!(
        "{}/{}",
        text(&involved["kind"]).to_lowercase(),
        text(&involved["name"])
    );
    let component = &object["source"]["component"];
    let component = if component.is_string() {
        component
    } else {
        &object["reportingComponent"]
    };
    vec![
        ago(last).into(),
        or_empty(&object["type"]),
        or_empty(&object["reason"]),
        target.into(),
        or_empty(&involved["fieldPath"]),
        or_empty(component),
        text(&object["message"]).trim().into(),
        ago(first).into(),
        series.into(),
        object["metadata"]["name"].clone(),
    ]
}

fn pod(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let statuses = status["containerStatuses"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let sidecars = restartable(spec);
    let inits = status["initContainerStatuses"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let side: Vec<&Value> = inits
        .iter()
        .filter(|own| sidecars.iter().any(|name| own["name"] == **name))
        .collect();
    let total = count(&spec["containers"]) + sidecars.len();
    let ready = statuses
        .iter()
        .chain(side.iter().copied())
        .filter(|own| own["ready"] == true)
        .count();
    let restarts: i64 = statuses
        .iter()
        .chain(side)
        .map(|own| number(&own["restartCount"]))
        .sum();
    let last_restart = statuses
        .iter()
        .filter_map(|own| own["lastState"]["terminated"]["finishedAt"].as_str())
        .max();
    let restarts = match last_restart {
        Some(time) if restarts > 0 => format!("{restarts} ({} ago)", age::since(time, now)),
        _ => restarts.to_string(),
    };
    let gates = spec["readinessGates"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let gates_text = if gates.is_empty() {
        "<none>".to_owned()
    } else {
        let passed = gates.iter().filter(|gate| {
            let conditions = status["conditions"].as_array().into_iter().flatten();
            conditions
                .into_iter()
                .any(|own| own["type"] == gate["conditionType"] && own["status"] == "True")
        });
        format!("{}/{}", passed.count(), gates.len())
    };
    vec![
        object["metadata"]["name"].clone(),
        format!("{ready}/{total}").into(),
        pod_status(object, statuses, inits).into(),
        restarts.into(),
        age_of(object, now),
        or_none(&status["podIP"]),
        or_none(&spec["nodeName"]),
        or_none(&status["nominatedNodeName"]),
        gates_text.into(),
    ]
}

fn restartable(spec: &Value) -> Vec<&str> {
    let inits = spec["initContainers"].as_array().into_iter().flatten();
    inits
        .filter(|own| own["restartPolicy"] == "Always")
        .filter_map(|own| own["name"].as_str())
        .collect()
}

fn pod_status(object: &Value, statuses: &[Value], inits: &[Value]) -> String {
    let (spec, status) = (&object["spec"], &object["status"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut reason = text(&status["phase"]);
    if !text(&status["reason"]).is_empty() {
        reason = text(&status["reason"]);
    }
    let conditions = status["conditions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if conditions
        .iter()
        .any(|own| own["type"] == "PodScheduled" && own["reason"] == "SchedulingGated")
    {
        "SchedulingGated".clone_into(&mut reason);
    }
    let initializing = initializing(spec, inits);
    if let Some(text) = &initializing {
        reason.clone_from(text);
    } else {
        let mut running = false;
        for own in statuses.iter().rev() {
            let (waiting, ended) = (&own["state"]["waiting"], &own["state"]["terminated"]);
            if !text(&waiting["reason"]).is_empty() {
                reason = text(&waiting["reason"]);
            } else if ended.is_object() {
                reason = ended_reason(ended);
            } else if own["ready"] == true && own["state"]["running"].is_object() {
                running = true;
            }
        }
        if reason == "Completed" && running {
            let ready = conditions
                .iter()
                .any(|own| own["type"] == "Ready" && own["status"] == "True");
            if ready { "Running" } else { "NotReady" }.clone_into(&mut reason);
        }
    }
    let terminal = matches!(status["phase"].as_str(), Some("Succeeded" | "Failed"));
    if crate::meta::is_deleting(object) {
        if status["reason"] == "NodeLost" {
            return "Unknown".to_owned();
        } else if !terminal {
            return "Terminating".to_owned();
        }
    }
    reason
}

fn ended_reason(ended: &Value) -> String {
    match ended["reason"].as_str() {
        Some(reason) if !reason.is_empty() => reason.to_owned(),
        _ if number(&ended["signal"]) != 0 => format!("Signal:{}", number(&ended["signal"])),
        _ => format!("ExitCode:{}", number(&ended["exitCode"])),
    }
}

fn initializing(spec: &Value, inits: &[Value]) -> Option<String> {
    let total = count(&spec["initContainers"]);
    let sidecars = restartable(spec);
    for (index, own) in inits.iter().enumerate() {
        let ended = &own["state"]["terminated"];
        if ended.is_object() && number(&ended["exitCode"]) == 0 {
            continue;
        }
        let sidecar = sidecars.iter().any(|name| own["name"] == **name);
        if sidecar && own["started"] == true {
            continue;
        }
        let waiting = own["state"]["waiting"]["reason"]
            .as_str()
            .unwrap_or_default();
        return Some(if ended.is_object() {
            format!("Init:{}", ended_reason(ended))
        } else if !waiting.is_empty() && waiting != "PodInitializing" {
            format!("Init:{waiting}")
        } else {
            format!("Init:{index}/{total}")
        });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_cell_for_every_column() {
        let registry = crate::registry::Registry::new();
        let stored = registry
            .resources()
            .filter(|resource| resource.behaviour.stored);
        let uneven: Vec<String> = stored
            .filter_map(|resource| {
                let columns = crate::registry::builtin_columns(&resource.group, &resource.plural);
                let object = json!({"metadata": {"name": "x"}});
                let now = Timestamp::UNIX_EPOCH;
                let cells = cells(&resource.group, &resource.plural, &object, now).len();
                (cells != columns.len()).then(|| format!("{} {cells}", resource.plural))
            })
            .collect();
        assert_eq!(uneven, Vec::<String>::new());
    }
}
