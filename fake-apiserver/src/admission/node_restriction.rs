//! `NodeRestriction`: a kubelet changes its own Node, Lease and pods only
//! (`kubernetes/kubernetes plugin/pkg/admission/noderestriction`).

use serde_json::Value;

use crate::machine::Call;
use crate::meta;
use crate::status::{Result, Status};

/// Labels of `kubernetes.io` a kubelet may set (`k8s.io/kubelet/pkg/apis`).
const OWN_LABELS: &[&str] = &[
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];

/// Prefixes of further labels a kubelet may set.
const OWN_PREFIXES: &[&str] = &["kubelet.kubernetes.io", "node.kubernetes.io"];

/// What happens to an object: from nothing, to nothing, or from one state to another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transition<'a> {
    pub old: Option<&'a Value>,
    pub new: Option<&'a Value>,
}

/// Answers 403 when the user is a kubelet that goes beyond its own.
pub(crate) fn check(call: &Call<'_>, step: Transition<'_>) -> Result<()> {
    let Some(node) = call.user.name.strip_prefix("system:node:") else {
        return Ok(());
    };
    if !call.user.has_group("system:nodes") {
        return Ok(());
    }
    let object = step.new.or(step.old).unwrap_or(&Value::Null);
    let name = meta::string(object, "name");
    let resource = &call.view.resource;
    let refusal = match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "nodes") => of_node(node, name, step),
        ("", "pods") => of_pod(call, node, step),
        ("coordination.k8s.io", "leases") => of_lease(call, node, name),
        _ => None,
    };
    match refusal {
        Some(why) => Err(Status::forbidden(resource.named(name), &why)),
        None => Ok(()),
    }
}

fn of_node(node: &str, name: &str, step: Transition<'_>) -> Option<String> {
    if name != node {
        return Some(format!(
            "node \"{node}\" is not allowed to modify node \"{name}\""
        ));
    }
    let new = step.new?;
    let restricted = restricted_changes(step.old, new);
    match step.old {
        None if !restricted.is_empty() => Some(format!(
            "is not allowed to set the following labels: {restricted}"
        )),
        Some(_) if !restricted.is_empty() => {
            Some(format!("is not allowed to modify labels: {restricted}"))
        }
        Some(old) if old["spec"]["taints"] != new["spec"]["taints"] => {
            Some(format!("node \"{node}\" is not allowed to modify taints"))
        }
        Some(old) if old["metadata"]["ownerReferences"] != new["metadata"]["ownerReferences"] => {
            Some(format!(
                "node \"{node}\" is not allowed to modify ownerReferences"
            ))
        }
        _ => None,
    }
}

/// Labels that changed and that a kubelet may not change, sorted and joined.
fn restricted_changes(old: Option<&Value>, new: &Value) -> String {
    let none = serde_json::Map::new();
    let labels = |object: Option<&Value>| {
        let labels = object.and_then(|object| object["metadata"]["labels"].as_object());
        labels.unwrap_or(&none).clone()
    };
    let (old, new) = (labels(old), labels(Some(new)));
    let gone = old.keys().filter(|key| !new.contains_key(*key));
    let set = new
        .iter()
        .filter(|(key, value)| old.get(*key) != Some(value));
    let mut changed: Vec<&str> = gone
        .chain(set.map(|(key, _)| key))
        .map(String::as_str)
        .filter(|key| !is_own(key))
        .collect();
    changed.sort_unstable();
    changed.join(", ")
}

/// Whether a kubelet may set this label.
fn is_own(label: &str) -> bool {
    let Some((namespace, _)) = label.split_once('/') else {
        return true;
    };
    let below = |domain: &str| {
        let prefix = namespace.strip_suffix(domain);
        prefix.is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('.'))
    };
    if !below("kubernetes.io") && !below("k8s.io") {
        return true;
    }
    OWN_LABELS.contains(&label) || OWN_PREFIXES.iter().any(|domain| below(domain))
}

fn of_pod(call: &Call<'_>, node: &str, step: Transition<'_>) -> Option<String> {
    let (action, bound) = match (step.old, step.new) {
        (None, Some(new)) => {
            if new["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_string() {
                let own = new["spec"]["nodeName"] == node;
                let why = "can only create pods with spec.nodeName set to itself";
                return (!own).then(|| format!("node \"{node}\" {why}"));
            }
            return Some(format!(
                "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"{node}\" can only create mirror pods"
            ));
        }
        (Some(old), Some(_)) if call.subresource == "status" => ("update pod status for", old),
        (Some(old), None) => ("delete", old),
        _ => return None,
    };
    if bound["spec"]["nodeName"] == node {
        return None;
    }
    Some(format!(
        "node \"{node}\" can only {action} pods with spec.nodeName set to itself"
    ))
}

fn of_lease(call: &Call<'_>, node: &str, name: &str) -> Option<String> {
    if call.namespace != "kube-node-lease" {
        return Some(
            "can only access leases in the \"kube-node-lease\" system namespace".to_owned(),
        );
    }
    (name != node).then(|| {
        format!("can only access node lease with the same name as the requesting node: {node}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_domains_and_listed_labels_are_a_kubelets_own() {
        let own = [
            "app",
            "kubernetes.azure.com/mode",
            "karpenter.sh/nodepool",
            "notkubernetes.io/x",
            "kubernetes.io/os",
            "node.kubernetes.io/x",
            "a.kubelet.kubernetes.io/x",
        ];
        assert!(own.iter().all(|label| is_own(label)));
        let foreign = [
            "node-restriction.kubernetes.io/x",
            "node-role.kubernetes.io/x",
            "kubernetes.io/x",
            "a.k8s.io/x",
        ];
        assert!(!foreign.iter().any(|label| is_own(label)));
    }
}
