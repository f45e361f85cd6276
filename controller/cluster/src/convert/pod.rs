//! Pods.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use controller_api::labels;
use controller_core::model::{
    AffinityTerm, HostPort, LabelSelector, NodeName, Pod, PodKey, PodShape, PreferredTerm,
    SelectorOperator, SelectorRequirement, SpreadConstraint, Toleration, TolerationOperator,
    WeightedAffinityTerm,
};
use controller_core::requirements::{Operator, RequirementSpec};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    NodeSelectorTerm, Pod as ApiPod, PodAffinityTerm, PodSpec, Toleration as ApiToleration,
    TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as ApiSelector;

use super::parts::{FieldError, Invalid, controller_of, effect, is_true, shared_map, time};
use super::requests::pod_requests;
use super::selector::label_selector;

type Labels = BTreeMap<Arc<str>, Arc<str>>;

/// A pod in the mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodRecord {
    pub(crate) pod: Pod,
    /// kube-scheduler has said that no node fits, and nobody else is making room for it.
    pub(crate) provisionable: bool,
}

/// Reads a pod; the shape is not shared yet.
pub(crate) fn pod_record(pod: &ApiPod) -> Result<PodRecord, Invalid> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    convert(pod).map_err(|error| error.of("Pod", &format!("{namespace}/{name}")))
}

fn convert(pod: &ApiPod) -> Result<PodRecord, FieldError> {
    let metadata = &pod.metadata;
    let default_spec = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&default_spec);
    let status = pod.status.as_ref();
    let conditions = status
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    let owner = controller_of(metadata.owner_references.as_deref());
    let daemon = owner.is_some_and(|owner| owner.kind == "DaemonSet");
    let mirror = metadata
        .owner_references
        .iter()
        .flatten()
        .any(|owner| owner.kind == "Node" && owner.api_version == "v1");
    let phase = status
        .and_then(|status| status.phase.as_deref())
        .unwrap_or_default();
    let unschedulable = conditions.iter().any(|condition| {
        condition.type_ == "PodScheduled" && condition.reason.as_deref() == Some("Unschedulable")
    });
    let nominated = status.is_some_and(|status| {
        status
            .nominated_node_name
            .as_deref()
            .is_some_and(|name| !name.is_empty())
    });
    let node = spec
        .node_name
        .as_deref()
        .filter(|name| !name.is_empty())
        .map(NodeName::new);
    let shape = PodShape {
        daemon,
        ..shape(metadata.namespace.as_deref(), pod, spec)?
    };
    Ok(PodRecord {
        provisionable: unschedulable && node.is_none() && !nominated && !daemon && !mirror,
        pod: Pod {
            key: PodKey {
                namespace: Arc::clone(&shape.namespace),
                name: Arc::from(metadata.name.as_deref().unwrap_or_default()),
            },
            uid: Arc::from(metadata.uid.as_deref().unwrap_or_default()),
            shape: Arc::new(shape),
            node,
            created: time(metadata.creation_timestamp.as_ref()).unwrap_or(Timestamp::UNIX_EPOCH),
            do_not_disrupt: is_true(metadata.annotations.as_ref(), labels::DO_NOT_DISRUPT),
            // The API server sets deletionTimestamp to the end of the grace period.
            deletion: time(metadata.deletion_timestamp.as_ref()),
            terminal: matches!(phase, "Succeeded" | "Failed"),
            mirror,
            ready: conditions
                .iter()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True"),
            stateful: owner.is_some_and(|owner| owner.kind == "StatefulSet"),
            grace_period: spec
                .termination_grace_period_seconds
                .and_then(|seconds| u64::try_from(seconds).ok())
                .map(Duration::from_secs),
            deletion_cost: metadata
                .annotations
                .as_ref()
                .and_then(|annotations| annotations.get(labels::POD_DELETION_COST))
                .and_then(|cost| cost.parse().ok())
                .unwrap_or(0),
        },
    })
}

fn shape(namespace: Option<&str>, pod: &ApiPod, spec: &PodSpec) -> Result<PodShape, FieldError> {
    pod_shape(
        namespace.unwrap_or_default(),
        pod.metadata.labels.as_ref(),
        spec,
    )
}

/// The shape of a pod with these labels and this spec.
pub(crate) fn pod_shape(
    namespace: &str,
    labels: Option<&BTreeMap<String, String>>,
    spec: &PodSpec,
) -> Result<PodShape, FieldError> {
    let affinity = spec.affinity.as_ref();
    let node_affinity = affinity.and_then(|affinity| affinity.node_affinity.as_ref());
    let pod_affinity = affinity.and_then(|affinity| affinity.pod_affinity.as_ref());
    let anti = affinity.and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    let labels = shared_map(labels);
    let required = node_affinity
        .and_then(|affinity| {
            affinity
                .required_during_scheduling_ignored_during_execution
                .as_ref()
        })
        .map_or(&[][..], |selector| &selector.node_selector_terms);
    let preferred = node_affinity
        .and_then(|affinity| {
            affinity
                .preferred_during_scheduling_ignored_during_execution
                .as_ref()
        })
        .into_iter()
        .flatten();
    Ok(PodShape {
        namespace: Arc::from(namespace),
        requests: pod_requests(spec)?,
        node_selector: shared_map(spec.node_selector.as_ref()),
        required_affinity: required.iter().map(node_term).collect::<Result<_, _>>()?,
        preferred_affinity: preferred
            .map(|term| {
                Ok(PreferredTerm {
                    weight: term.weight,
                    requirements: node_term(&term.preference)?,
                })
            })
            .collect::<Result<_, FieldError>>()?,
        tolerations: spec.tolerations.iter().flatten().map(toleration).collect(),
        spread: spec
            .topology_spread_constraints
            .iter()
            .flatten()
            .map(|constraint| spread(constraint, &labels))
            .collect(),
        affinity: pod_affinity
            .and_then(|terms| {
                terms
                    .required_during_scheduling_ignored_during_execution
                    .as_ref()
            })
            .into_iter()
            .flatten()
            .map(|term| affinity_term(term, &labels))
            .collect(),
        preferred_pod_affinity: pod_affinity
            .and_then(|terms| {
                terms
                    .preferred_during_scheduling_ignored_during_execution
                    .as_ref()
            })
            .into_iter()
            .flatten()
            .map(|term| WeightedAffinityTerm {
                weight: term.weight,
                term: affinity_term(&term.pod_affinity_term, &labels),
            })
            .collect(),
        anti_affinity: anti
            .and_then(|terms| {
                terms
                    .required_during_scheduling_ignored_during_execution
                    .as_ref()
            })
            .into_iter()
            .flatten()
            .map(|term| affinity_term(term, &labels))
            .collect(),
        preferred_anti_affinity: anti
            .and_then(|terms| {
                terms
                    .preferred_during_scheduling_ignored_during_execution
                    .as_ref()
            })
            .into_iter()
            .flatten()
            .map(|term| WeightedAffinityTerm {
                weight: term.weight,
                term: affinity_term(&term.pod_affinity_term, &labels),
            })
            .collect(),
        host_ports: host_ports(spec),
        volume_requirements: Vec::new(),
        priority: spec.priority.unwrap_or(0),
        daemon: false,
        labels,
    })
}

fn node_term(term: &NodeSelectorTerm) -> Result<Vec<RequirementSpec>, FieldError> {
    const FIELD: &str = "spec.affinity.nodeAffinity";
    if term
        .match_fields
        .as_ref()
        .is_some_and(|fields| !fields.is_empty())
    {
        return Err(FieldError::new(
            FIELD,
            "matchFields is not supported, use matchExpressions",
        ));
    }
    term.match_expressions
        .iter()
        .flatten()
        .map(|expression| {
            Ok(RequirementSpec {
                key: Arc::from(&*expression.key),
                operator: match &*expression.operator {
                    "In" => Operator::In,
                    "NotIn" => Operator::NotIn,
                    "Exists" => Operator::Exists,
                    "DoesNotExist" => Operator::DoesNotExist,
                    "Gt" => Operator::Gt,
                    "Lt" => Operator::Lt,
                    other => {
                        let problem = format!(
                            "operator {other:?} is not one of In, NotIn, Exists, DoesNotExist, Gt, Lt"
                        );
                        return Err(FieldError::new(FIELD, problem));
                    }
                },
                values: expression
                    .values
                    .iter()
                    .flatten()
                    .map(|value| Arc::from(&**value))
                    .collect(),
                min_values: None,
            })
        })
        .collect()
}

fn toleration(toleration: &ApiToleration) -> Toleration {
    Toleration {
        key: Arc::from(toleration.key.as_deref().unwrap_or_default()),
        operator: match toleration.operator.as_deref() {
            Some("Exists") => TolerationOperator::Exists,
            // Empty means Equal (`core/v1` Toleration).
            _ => TolerationOperator::Equal,
        },
        value: Arc::from(toleration.value.as_deref().unwrap_or_default()),
        effect: toleration.effect.as_deref().and_then(effect),
    }
}

/// `matchLabelKeys` and `mismatchLabelKeys` add the pod's own values to the selector.
fn with_label_keys(
    selector: Option<&ApiSelector>,
    same: &[String],
    different: &[String],
    labels: &Labels,
) -> Option<LabelSelector> {
    let mut selector = label_selector(selector?)?;
    let keys = same
        .iter()
        .map(|key| (key, SelectorOperator::In))
        .chain(different.iter().map(|key| (key, SelectorOperator::NotIn)));
    for (key, operator) in keys {
        if let Some(value) = labels.get(&**key) {
            selector.requirements.push(SelectorRequirement {
                key: Arc::from(&**key),
                operator,
                values: vec![Arc::clone(value)],
            });
        }
    }
    selector.requirements.sort();
    Some(selector)
}

fn spread(constraint: &TopologySpreadConstraint, labels: &Labels) -> SpreadConstraint {
    SpreadConstraint {
        max_skew: constraint.max_skew,
        topology_key: Arc::from(&*constraint.topology_key),
        hard: constraint.when_unsatisfiable != "ScheduleAnyway",
        selector: with_label_keys(
            constraint.label_selector.as_ref(),
            constraint.match_label_keys.as_deref().unwrap_or_default(),
            &[],
            labels,
        ),
        min_domains: constraint.min_domains,
        honor_affinity: constraint.node_affinity_policy.as_deref() != Some("Ignore"),
        honor_taints: constraint.node_taints_policy.as_deref() == Some("Honor"),
    }
}

fn affinity_term(term: &PodAffinityTerm, labels: &Labels) -> AffinityTerm {
    AffinityTerm {
        topology_key: Arc::from(&*term.topology_key),
        selector: with_label_keys(
            term.label_selector.as_ref(),
            term.match_label_keys.as_deref().unwrap_or_default(),
            term.mismatch_label_keys.as_deref().unwrap_or_default(),
            labels,
        ),
        namespaces: term
            .namespaces
            .iter()
            .flatten()
            .map(|name| Arc::from(&**name))
            .collect(),
        namespace_selector: term.namespace_selector.as_ref().and_then(label_selector),
    }
}

fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let containers = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten());
    let mut ports: Vec<_> = containers
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(|port| {
            let number = port.host_port.or_else(|| {
                // On the host network, every container port is a port of the host.
                (spec.host_network == Some(true)).then_some(port.container_port)
            })?;
            Some(HostPort {
                ip: Arc::from(
                    port.host_ip
                        .as_deref()
                        .filter(|ip| !ip.is_empty())
                        .unwrap_or("0.0.0.0"),
                ),
                port: u16::try_from(number).ok().filter(|number| *number > 0)?,
                protocol: Arc::from(port.protocol.as_deref().unwrap_or("TCP")),
            })
        })
        .collect();
    ports.sort();
    ports.dedup();
    ports
}
