//! Where pods of a `DaemonSet` belong (`daemon.NodeShouldRunDaemonPod`).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{HASH, template_generation};
use crate::object::{items, labels, owner_reference, text};
use crate::selector::Selector;
use crate::toleration::{Taint, Toleration, tolerates, tolerates_all};

/// What matters about a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeView {
    labels: BTreeMap<String, String>,
    taints: Vec<Taint>,
}

impl NodeView {
    pub(super) fn read(node: &Value) -> Self {
        Self {
            labels: labels(node),
            taints: Taint::read_all(node),
        }
    }
}

/// What the template asks of a node.
#[derive(Debug)]
pub(super) struct Wish {
    selector: Selector,
    /// Terms of the required node affinity; `None` when there is none.
    terms: Option<Vec<(Selector, Selector)>>,
    tolerations: Vec<Toleration>,
    max_unavailable: Value,
}

/// The verdict on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fit {
    pub(super) should_run: bool,
    /// A pod that is there already may stay.
    pub(super) may_stay: bool,
}

impl Wish {
    pub(super) fn read(set: &Value) -> Self {
        let spec = &set["spec"]["template"]["spec"];
        let required =
            &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
        let term = |term: &Value| {
            (
                Selector::expressions(&term["matchExpressions"]),
                Selector::expressions(&term["matchFields"]),
            )
        };
        let terms = required.is_object().then(|| {
            items(&required["nodeSelectorTerms"])
                .iter()
                .map(term)
                .collect()
        });
        let with_defaults = json!({ "tolerations": tolerations(spec) });
        Self {
            selector: Selector::equal(&spec["nodeSelector"]),
            terms,
            tolerations: Toleration::read_all(&with_defaults),
            max_unavailable: set["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"]
                .clone(),
        }
    }

    pub(super) fn judge(&self, name: &str, node: &NodeView) -> Fit {
        let field = BTreeMap::from([("metadata.name".to_owned(), name.to_owned())]);
        let chosen = self.selector.matches(&node.labels)
            && self.terms.as_ref().is_none_or(|terms| {
                terms.iter().any(|(labels, fields)| {
                    !(labels.is_empty() && fields.is_empty())
                        && labels.matches(&node.labels)
                        && fields.matches(&field)
                })
            });
        let endures = node
            .taints
            .iter()
            .filter(|taint| taint.effect == "NoExecute")
            .all(|taint| tolerates(&self.tolerations, taint));
        Fit {
            should_run: chosen && tolerates_all(&self.tolerations, &node.taints),
            may_stay: chosen && endures,
        }
    }

    /// How many pods may be away during an update; percentages are rounded up, 1 by default.
    pub(super) fn max_unavailable(&self, wanted: usize) -> usize {
        let number = match self.max_unavailable.as_u64() {
            Some(number) => usize::try_from(number).unwrap_or(usize::MAX),
            None => {
                let percent = text(&self.max_unavailable)
                    .trim_end_matches('%')
                    .parse::<usize>();
                percent.map_or(1, |percent| (wanted * percent).div_ceil(100))
            }
        };
        number.max(1)
    }
}

/// Tolerations of the template and those every daemon pod gets.
fn tolerations(spec: &Value) -> Vec<Value> {
    let mut all = items(&spec["tolerations"]).to_vec();
    let mut added = vec![
        ("node.kubernetes.io/not-ready", "NoExecute"),
        ("node.kubernetes.io/unreachable", "NoExecute"),
        ("node.kubernetes.io/disk-pressure", "NoSchedule"),
        ("node.kubernetes.io/memory-pressure", "NoSchedule"),
        ("node.kubernetes.io/pid-pressure", "NoSchedule"),
        ("node.kubernetes.io/unschedulable", "NoSchedule"),
    ];
    if spec["hostNetwork"] == true {
        added.push(("node.kubernetes.io/network-unavailable", "NoSchedule"));
    }
    for (key, effect) in added {
        let toleration = json!({ "key": key, "operator": "Exists", "effect": effect });
        if !all.contains(&toleration) {
            all.push(toleration);
        }
    }
    all
}

/// The pod for one node, as the controller creates it.
pub(super) fn pod_body(set: &Value, node: &str, hash: &str) -> Value {
    let template = &set["spec"]["template"];
    let mut spec = template["spec"].clone();
    spec["tolerations"] = Value::Array(tolerations(&template["spec"]));
    let field = json!([{ "key": "metadata.name", "operator": "In", "values": [node] }]);
    let required =
        &mut spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    match required["nodeSelectorTerms"].as_array_mut() {
        Some(terms) => {
            for term in terms {
                term["matchFields"] = field.clone();
            }
        }
        None => *required = json!({ "nodeSelectorTerms": [{ "matchFields": field }] }),
    }
    let mut labels = template["metadata"]["labels"].clone();
    if !labels.is_object() {
        labels = json!({});
    }
    labels[HASH] = json!(hash);
    let (key, value) = template_generation(set);
    labels[key] = json!(value);
    let mut metadata = json!({
        "generateName": format!("{}-", text(&set["metadata"]["name"])),
        "namespace": set["metadata"]["namespace"],
        "labels": labels,
        "ownerReferences": [owner_reference("apps/v1", "DaemonSet", set)],
    });
    if !template["metadata"]["annotations"].is_null() {
        metadata["annotations"] = template["metadata"]["annotations"].clone();
    }
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec })
}
