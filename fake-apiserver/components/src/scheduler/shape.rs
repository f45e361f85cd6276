//! What matters about a pod for scheduling. Pods of equal shape share one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::object::{items, labels, text};
use crate::quantity::{Amounts, pod_requests};
use crate::selector::Selector;
use crate::toleration::Toleration;

/// What a container without requests counts as when nodes are scored
/// (`pkg/scheduler/util.DefaultMilliCPURequest`, `DefaultMemoryRequest`).
const DEFAULT_CPU_MILLI: i64 = 100;
const DEFAULT_MEMORY: i64 = 200 << 20;

/// Interned shapes are purged of unused ones beyond this many: more than the pod templates of a
/// large cluster.
const SHAPES_MAX: usize = 4096;

/// The scheduling constraints of a pod.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) id: u64,
    pub(super) namespace: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) requests: Amounts,
    /// CPU and memory as scores count them.
    pub(super) scored: (i64, i64),
    pub(super) affinity: NodeAffinity,
    pub(super) tolerations: Vec<Toleration>,
    pub(super) ports: Vec<Port>,
    pub(super) spread: Vec<Spread>,
    pub(super) with: Vec<PodTerm>,
    pub(super) without: Vec<PodTerm>,
    pub(super) never_preempts: bool,
}

impl Shape {
    /// Whether other pods decide where this one may go.
    pub(super) fn is_topological(&self) -> bool {
        !(self.spread.iter().all(|s| !s.hard) && self.with.is_empty() && self.without.is_empty())
    }
}

/// `nodeSelector` and `nodeAffinity`.
#[derive(Debug)]
pub(super) struct NodeAffinity {
    pub(super) selector: Selector,
    /// Terms of the required affinity, any of which must match; `None` when there is none.
    pub(super) required: Option<Vec<NodeTerm>>,
    pub(super) preferred: Vec<(i64, NodeTerm)>,
    /// The nodes named by `matchFields` when every term names one.
    pub(super) only: Option<BTreeSet<String>>,
}

#[derive(Debug)]
pub(super) struct NodeTerm {
    expressions: Selector,
    fields: Selector,
}

impl NodeTerm {
    fn read(term: &Value) -> Self {
        Self {
            expressions: Selector::expressions(&term["matchExpressions"]),
            fields: Selector::expressions(&term["matchFields"]),
        }
    }

    /// A term without any requirement matches nothing.
    pub(super) fn matches(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        if self.expressions.is_empty() && self.fields.is_empty() {
            return false;
        }
        let fields = || BTreeMap::from([("metadata.name".to_owned(), name.to_owned())]);
        (self.fields.is_empty() || self.fields.matches(&fields()))
            && self.expressions.matches(labels)
    }
}

impl NodeAffinity {
    fn read(spec: &Value) -> Self {
        let affinity = &spec["affinity"]["nodeAffinity"];
        let required = &affinity["requiredDuringSchedulingIgnoredDuringExecution"];
        let required: Option<Vec<NodeTerm>> = required.is_object().then(|| {
            items(&required["nodeSelectorTerms"])
                .iter()
                .map(NodeTerm::read)
                .collect()
        });
        let preferred = items(&affinity["preferredDuringSchedulingIgnoredDuringExecution"])
            .iter()
            .map(|term| {
                let weight = term["weight"].as_i64().unwrap_or_default();
                (weight, NodeTerm::read(&term["preference"]))
            })
            .collect();
        let only = required.as_ref().and_then(|terms| {
            let names: Option<BTreeSet<String>> = terms
                .iter()
                .map(|term| term.fields.single_name().map(str::to_owned))
                .collect();
            names.filter(|names| !names.is_empty())
        });
        Self {
            selector: Selector::equal(&spec["nodeSelector"]),
            required,
            preferred,
            only,
        }
    }

    pub(super) fn matches(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        self.selector.matches(labels)
            && self
                .required
                .as_ref()
                .is_none_or(|terms| terms.iter().any(|term| term.matches(name, labels)))
    }
}

/// A port of the host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Port {
    pub(super) number: i64,
    pub(super) protocol: String,
    pub(super) ip: String,
}

impl Port {
    /// The unspecified address conflicts with every other.
    pub(super) fn conflicts(&self, other: &Self) -> bool {
        self.number == other.number
            && self.protocol == other.protocol
            && (self.ip == other.ip || self.ip == ANY || other.ip == ANY)
    }
}

const ANY: &str = "0.0.0.0";

/// A topology spread constraint.
#[derive(Debug)]
pub(super) struct Spread {
    pub(super) key: String,
    pub(super) max_skew: i64,
    /// `DoNotSchedule`.
    pub(super) hard: bool,
    pub(super) min_domains: Option<usize>,
    pub(super) selector: Option<Selector>,
    pub(super) honours_affinity: bool,
    pub(super) honours_taints: bool,
}

/// A required pod affinity or anti-affinity term.
#[derive(Debug)]
pub(super) struct PodTerm {
    pub(super) key: String,
    selector: Option<Selector>,
    namespaces: BTreeSet<String>,
    all_namespaces: bool,
}

impl PodTerm {
    pub(super) fn matches(&self, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
        (self.all_namespaces || self.namespaces.contains(namespace))
            && self
                .selector
                .as_ref()
                .is_some_and(|selector| selector.matches(labels))
    }

    fn read(term: &Value, namespace: &str, own: &BTreeMap<String, String>) -> Self {
        let mut selector = Selector::read(&term["labelSelector"]);
        fold_keys(&mut selector, &term["matchLabelKeys"], own);
        let mut namespaces: BTreeSet<String> = items(&term["namespaces"])
            .iter()
            .map(|ns| text(ns).to_owned())
            .collect();
        let by_label = &term["namespaceSelector"];
        if namespaces.is_empty() && !by_label.is_object() {
            namespaces.insert(namespace.to_owned());
        }
        // Only the empty selector is understood: it selects every namespace.
        let all_namespaces = Selector::read(by_label).is_some_and(|s| s.is_empty());
        Self {
            key: text(&term["topologyKey"]).to_owned(),
            selector,
            namespaces,
            all_namespaces,
        }
    }

    fn read_all(terms: &Value, namespace: &str, own: &BTreeMap<String, String>) -> Vec<Self> {
        let required = &terms["requiredDuringSchedulingIgnoredDuringExecution"];
        items(required)
            .iter()
            .map(|term| Self::read(term, namespace, own))
            .collect()
    }
}

/// `matchLabelKeys`: the pod's own values become part of the selector.
fn fold_keys(selector: &mut Option<Selector>, keys: &Value, own: &BTreeMap<String, String>) {
    let Some(selector) = selector else { return };
    for key in items(keys).iter().map(text) {
        if let Some(value) = own.get(key) {
            selector.and_equal(key, value);
        }
    }
}

fn spread(spec: &Value, own: &BTreeMap<String, String>) -> Vec<Spread> {
    items(&spec["topologySpreadConstraints"])
        .iter()
        .map(|constraint| {
            let mut selector = Selector::read(&constraint["labelSelector"]);
            fold_keys(&mut selector, &constraint["matchLabelKeys"], own);
            let min_domains = constraint["minDomains"].as_u64();
            Spread {
                key: text(&constraint["topologyKey"]).to_owned(),
                max_skew: constraint["maxSkew"].as_i64().unwrap_or(1),
                hard: text(&constraint["whenUnsatisfiable"]) != "ScheduleAnyway",
                min_domains: min_domains.and_then(|number| usize::try_from(number).ok()),
                selector,
                honours_affinity: text(&constraint["nodeAffinityPolicy"]) != "Ignore",
                honours_taints: text(&constraint["nodeTaintsPolicy"]) == "Honor",
            }
        })
        .collect()
}

fn ports(spec: &Value) -> Vec<Port> {
    let host_network = spec["hostNetwork"] == true;
    let read = |port: &Value| {
        let number = match port["hostPort"].as_i64() {
            Some(number) if number > 0 => number,
            _ if host_network => port["containerPort"].as_i64()?,
            _ => return None,
        };
        let or = |value: &Value, default: &str| match text(value) {
            "" => default.to_owned(),
            given => given.to_owned(),
        };
        let (protocol, ip) = (or(&port["protocol"], "TCP"), or(&port["hostIP"], ANY));
        Some(Port {
            number,
            protocol,
            ip,
        })
    };
    items(&spec["containers"])
        .iter()
        .flat_map(|container| items(&container["ports"]))
        .filter_map(read)
        .collect()
}

/// CPU and memory with defaults for containers that request none.
fn scored(spec: &Value, requests: &Amounts) -> (i64, i64) {
    let mut scored = (requests.cpu_milli, requests.memory);
    for container in items(&spec["containers"]) {
        let asked = &container["resources"]["requests"];
        if asked["cpu"].is_null() {
            scored.0 += DEFAULT_CPU_MILLI;
        }
        if asked["memory"].is_null() {
            scored.1 += DEFAULT_MEMORY;
        }
    }
    scored
}

/// All shapes in use.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    by_text: BTreeMap<String, Arc<Shape>>,
    last_id: u64,
}

impl Shapes {
    /// The shape of a pod.
    pub(super) fn of(&mut self, pod: &Value) -> Arc<Shape> {
        let text = canonical(pod);
        if let Some(shape) = self.by_text.get(&text) {
            return Arc::clone(shape);
        }
        if self.by_text.len() >= SHAPES_MAX {
            self.by_text.retain(|_, shape| Arc::strong_count(shape) > 1);
        }
        self.last_id += 1;
        let shape = Arc::new(read(self.last_id, pod));
        self.by_text.insert(text, Arc::clone(&shape));
        shape
    }
}

fn read(id: u64, pod: &Value) -> Shape {
    let spec = &pod["spec"];
    let namespace = text(&pod["metadata"]["namespace"]).to_owned();
    let labels = labels(pod);
    let requests = pod_requests(spec);
    let affinity = &spec["affinity"];
    Shape {
        id,
        scored: scored(spec, &requests),
        requests,
        affinity: NodeAffinity::read(spec),
        tolerations: Toleration::read_all(spec),
        ports: ports(spec),
        spread: spread(spec, &labels),
        with: PodTerm::read_all(&affinity["podAffinity"], &namespace, &labels),
        without: PodTerm::read_all(&affinity["podAntiAffinity"], &namespace, &labels),
        never_preempts: text(&spec["preemptionPolicy"]) == "Never",
        namespace,
        labels,
    }
}

/// The part of a pod that decides its shape, as text.
fn canonical(pod: &Value) -> String {
    let spec = &pod["spec"];
    let container = |c: &Value| json!([c["resources"]["requests"], c["ports"], c["restartPolicy"]]);
    let containers = |list: &Value| items(list).iter().map(container).collect::<Vec<_>>();
    json!([
        pod["metadata"]["namespace"],
        pod["metadata"]["labels"],
        containers(&spec["containers"]),
        containers(&spec["initContainers"]),
        spec["resources"],
        spec["overhead"],
        spec["nodeSelector"],
        spec["affinity"],
        spec["tolerations"],
        spec["topologySpreadConstraints"],
        spec["hostNetwork"],
        spec["preemptionPolicy"],
    ])
    .to_string()
}
