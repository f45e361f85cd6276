//! Built-in admission plugins that change or refuse objects
//! (`kubernetes/kubernetes plugin/pkg/admission`), in upstream's order.

mod limits;
pub(crate) mod node_restriction;
pub(crate) mod quota;

use serde_json::{Value, json};

use crate::machine::{Call, Machine};
use crate::meta;
use crate::status::{Named, Result, Status};

/// Admission of a new object.
pub(crate) fn create(machine: &Machine, call: &Call<'_>, object: &mut Value) -> Result<()> {
    let resource = &call.view.resource;
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => {
            limits::default(machine, call.namespace, object);
            service_account(machine, call, object)?;
            priority(machine, object)?;
            toleration_seconds(object);
            runtime_class(machine, object)?;
            topology_labels(machine, object);
            within_limits(machine, call, object)
        }
        ("", "nodes") => {
            taint_new_node(object);
            Ok(())
        }
        ("", "namespaces") => {
            namespace_label(object);
            Ok(())
        }
        ("certificates.k8s.io", "certificatesigningrequests") => {
            let spec = meta::map_mut(object, "spec");
            spec.insert("username".into(), (*call.user.name).into());
            spec.insert("groups".into(), json!(call.user.groups));
            if !call.user.uid.is_empty() {
                spec.insert("uid".into(), call.user.uid.clone().into());
            }
            Ok(())
        }
        ("", "persistentvolumeclaims") => {
            default_storage_class(machine, object);
            Ok(())
        }
        ("rbac.authorization.k8s.io", _) => escalation(machine, call, object),
        _ => Ok(()),
    }
}

/// Admission of a changed object.
pub(crate) fn update(
    machine: &Machine,
    call: &Call<'_>,
    old: &Value,
    new: &mut Value,
) -> Result<()> {
    let resource = &call.view.resource;
    if resource.is("", "namespaces") {
        namespace_label(new);
    }
    if resource.is("", "pods") && call.subresource.is_empty() {
        toleration_seconds(new);
    }
    if resource.group == "rbac.authorization.k8s.io" && old["rules"] != new["rules"] {
        return escalation(machine, call, new);
    }
    Ok(())
}

/// `ServiceAccount`: the default account, which must exist.
fn service_account(machine: &Machine, call: &Call<'_>, pod: &mut Value) -> Result<()> {
    let name = meta::string(pod, "name").to_owned();
    let spec = meta::map_mut(pod, "spec");
    let given = spec
        .get("serviceAccountName")
        .or_else(|| spec.get("serviceAccount"));
    let account = given
        .and_then(Value::as_str)
        .filter(|name| !name.is_empty())
        .unwrap_or("default")
        .to_owned();
    if machine
        .builtin("", "serviceaccounts", call.namespace, &account)
        .is_none()
    {
        let why = format!(
            "error looking up service account {}/{account}: serviceaccount \"{account}\" not found",
            call.namespace
        );
        return Err(Status::forbidden(
            Named {
                group: "",
                kind: "pods",
                name: &name,
            },
            &why,
        ));
    }
    spec.insert("serviceAccountName".into(), account.clone().into());
    spec.insert("serviceAccount".into(), account.into());
    Ok(())
}

/// Priority: the class's value and preemption policy.
fn priority(machine: &Machine, pod: &mut Value) -> Result<()> {
    let name = meta::string(pod, "name").to_owned();
    let wanted = pod["spec"]["priorityClassName"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let space = machine
        .registry
        .space("scheduling.k8s.io", "priorityclasses");
    let class = if wanted.is_empty() {
        let mut classes = machine.store.range(space, "", None);
        let global = classes.find(|(_, class)| class.value.value()["globalDefault"] == true);
        global.map(|(_, class)| class.value.clone())
    } else {
        let found = machine.builtin("scheduling.k8s.io", "priorityclasses", "", &wanted);
        let Some(found) = found else {
            let why = format!("no PriorityClass with name {wanted} was found");
            return Err(Status::forbidden(
                Named {
                    group: "",
                    kind: "pods",
                    name: &name,
                },
                &why,
            ));
        };
        Some(found)
    };
    let spec = meta::map_mut(pod, "spec");
    let (value, policy) = match &class {
        Some(class) => {
            if wanted.is_empty() {
                spec.insert("priorityClassName".into(), class.name().into());
            }
            let class = class.value();
            (
                class["value"].clone(),
                class["preemptionPolicy"]
                    .as_str()
                    .unwrap_or("PreemptLowerPriority")
                    .to_owned(),
            )
        }
        None => (json!(0), "PreemptLowerPriority".to_owned()),
    };
    spec.insert("priority".into(), value);
    spec.entry("preemptionPolicy")
        .or_insert_with(|| policy.into());
    Ok(())
}

/// `LimitRanger`, the bounds.
fn within_limits(machine: &Machine, call: &Call<'_>, pod: &Value) -> Result<()> {
    let problems = limits::violations(machine, call.namespace, pod);
    let why = match problems.as_slice() {
        [] => return Ok(()),
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    };
    let name = meta::string(pod, "name");
    Err(Status::forbidden(call.view.resource.named(name), &why))
}

/// `DefaultTolerationSeconds`: 300 s of patience with unreachable and not-ready nodes.
fn toleration_seconds(pod: &mut Value) {
    let spec = meta::map_mut(pod, "spec");
    let tolerations = spec.entry("tolerations").or_insert_with(|| json!([]));
    let Some(tolerations) = tolerations.as_array_mut() else {
        return;
    };
    for key in [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ] {
        let tolerated = tolerations.iter().any(|own| {
            let effect = own["effect"].as_str().unwrap_or_default();
            let own = own["key"].as_str().unwrap_or_default();
            (own == key || own.is_empty()) && matches!(effect, "" | "NoExecute")
        });
        if !tolerated {
            tolerations.push(json!({
                "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300,
            }));
        }
    }
}

/// `RuntimeClass`: the overhead of the class.
fn runtime_class(machine: &Machine, pod: &mut Value) -> Result<()> {
    let Some(name) = pod["spec"]["runtimeClassName"]
        .as_str()
        .filter(|name| !name.is_empty())
    else {
        return Ok(());
    };
    let Some(class) = machine.builtin("node.k8s.io", "runtimeclasses", "", name) else {
        let why = format!("pod rejected: RuntimeClass \"{name}\" not found");
        let pod_name = meta::string(pod, "name").to_owned();
        return Err(Status::forbidden(
            Named {
                group: "",
                kind: "pods",
                name: &pod_name,
            },
            &why,
        ));
    };
    if let Some(overhead) = class.value()["overhead"].get("podFixed") {
        meta::map_mut(pod, "spec").insert("overhead".into(), overhead.clone());
    }
    Ok(())
}

/// `PodTopologyLabels`: a pod carries the zone and region of its node.
pub(crate) fn topology_labels(machine: &Machine, pod: &mut Value) {
    let Some(node) = pod["spec"]["nodeName"].as_str() else {
        return;
    };
    let Some(node) = machine.builtin("", "nodes", "", node) else {
        return;
    };
    for label in [
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
    ] {
        let Some(value) = meta::label(node.value(), label) else {
            continue;
        };
        let labels = meta::metadata_mut(pod)
            .entry("labels")
            .or_insert_with(|| json!({}));
        if let Some(labels) = labels.as_object_mut() {
            labels.insert(label.to_owned(), value.into());
        }
    }
}

/// `TaintNodesByCondition`: a new node is not ready until the node lifecycle controller says so.
fn taint_new_node(node: &mut Value) {
    let taint = json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"});
    let taints = meta::map_mut(node, "spec")
        .entry("taints")
        .or_insert_with(|| json!([]));
    if let Some(taints) = taints.as_array_mut()
        && !taints
            .iter()
            .any(|own| own["key"] == taint["key"] && own["effect"] == taint["effect"])
    {
        taints.push(taint);
    }
}

fn namespace_label(namespace: &mut Value) {
    let name = meta::string(namespace, "name").to_owned();
    let labels = meta::metadata_mut(namespace)
        .entry("labels")
        .or_insert_with(|| json!({}));
    if let Some(labels) = labels.as_object_mut() {
        labels.insert("kubernetes.io/metadata.name".into(), name.into());
    }
}

fn default_storage_class(machine: &Machine, claim: &mut Value) {
    if claim["spec"].get("storageClassName").is_some() {
        return;
    }
    let space = machine.registry.space("storage.k8s.io", "storageclasses");
    let mut classes = machine
        .store
        .range(space, "", None)
        .map(|(_, class)| &class.value);
    let default = classes.find(|class| {
        let annotations = &class.value()["metadata"]["annotations"];
        annotations["storageclass.kubernetes.io/is-default-class"] == "true"
    });
    if let Some(default) = default {
        meta::map_mut(claim, "spec").insert("storageClassName".into(), default.name().into());
    }
}

/// A user cannot grant what they do not have.
fn escalation(machine: &Machine, call: &Call<'_>, object: &Value) -> Result<()> {
    use crate::auth::rbac::{Wish, strings};

    if call.user.has_group("system:masters") || !object["rules"].is_array() {
        return Ok(());
    }
    for rule in object["rules"].as_array().into_iter().flatten() {
        for verb in strings(&rule["verbs"]) {
            for group in strings(&rule["apiGroups"]) {
                for resource in strings(&rule["resources"]) {
                    let (plural, subresource) = resource.split_once('/').unwrap_or((&resource, ""));
                    let wish = Wish::Resource {
                        verb: &verb,
                        group: &group,
                        plural,
                        subresource,
                        namespace: call.namespace,
                        name: "",
                    };
                    if machine.access.allows(call.user, wish).is_none() {
                        let why = format!(
                            "user \"{}\" (groups={:?}) is attempting to grant RBAC permissions not currently held:\n{{APIGroups:[\"{group}\"], Resources:[\"{resource}\"], Verbs:[\"{verb}\"]}}",
                            call.user.name, call.user.groups
                        );
                        let name = meta::string(object, "name");
                        return Err(Status::forbidden(call.view.resource.named(name), &why));
                    }
                }
            }
        }
    }
    Ok(())
}
