//! The shape of a pod: everything that scheduling reads, the same for many pods.

use std::collections::BTreeMap;
use std::sync::Arc;

use controller_core::model::{
    AffinityTerm, HostPort, LabelSelector, PodShape, PreferredTerm, SelectorOperator,
    SelectorRequirement, SpreadConstraint, Toleration, TolerationOperator, WeightedAffinityTerm,
};
use controller_core::requirements::{Operator, RequirementSpec};
use k8s_openapi::api::core::v1::{
    NodeAffinity, NodeSelectorTerm, PodAffinityTerm, PodSpec, Toleration as ApiToleration,
    TopologySpreadConstraint, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as ApiSelector;

use super::parts::{FieldError, effect, shared_map};
use super::requests::pod_requests;
use super::selector::label_selector;

type Labels = BTreeMap<Arc<str>, Arc<str>>;

/// The shape of a pod with these labels and this spec.
pub(crate) fn pod_shape(
    namespace: &str,
    labels: Option<&BTreeMap<String, String>>,
    spec: &PodSpec,
) -> Result<PodShape, FieldError> {
    let labels = shared_map(labels);
    let affinity = spec.affinity.as_ref();
    let node_affinity = affinity.and_then(|affinity| affinity.node_affinity.as_ref());
    let (required_affinity, preferred_affinity) =
        node_affinity.map_or_else(|| Ok(<_>::default()), node_terms)?;
    let together = affinity.and_then(|affinity| affinity.pod_affinity.as_ref());
    let apart = affinity.and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    let required = |terms: Option<&Vec<PodAffinityTerm>>| {
        terms
            .into_iter()
            .flatten()
            .map(|term| affinity_term(term, &labels))
            .collect()
    };
    let preferred = |terms: Option<&Vec<WeightedPodAffinityTerm>>| {
        let terms = terms.into_iter().flatten();
        let weighted = terms.map(|term| WeightedAffinityTerm {
            weight: term.weight,
            term: affinity_term(&term.pod_affinity_term, &labels),
        });
        weighted.collect()
    };
    Ok(PodShape {
        namespace: Arc::from(namespace),
        requests: pod_requests(spec)?,
        node_selector: shared_map(spec.node_selector.as_ref()),
        required_affinity,
        preferred_affinity,
        tolerations: spec.tolerations.iter().flatten().map(toleration).collect(),
        spread: spec
            .topology_spread_constraints
            .iter()
            .flatten()
            .map(|constraint| spread(constraint, &labels))
            .collect(),
        affinity: required(together.and_then(|terms| {
            terms
                .required_during_scheduling_ignored_during_execution
                .as_ref()
        })),
        preferred_pod_affinity: preferred(together.and_then(|terms| {
            terms
                .preferred_during_scheduling_ignored_during_execution
                .as_ref()
        })),
        anti_affinity: required(apart.and_then(|terms| {
            terms
                .required_during_scheduling_ignored_during_execution
                .as_ref()
        })),
        preferred_anti_affinity: preferred(apart.and_then(|terms| {
            terms
                .preferred_during_scheduling_ignored_during_execution
                .as_ref()
        })),
        host_ports: host_ports(spec),
        volume_requirements: Vec::new(),
        priority: spec.priority.unwrap_or(0),
        daemon: false,
        labels,
    })
}

type NodeTerms = (Vec<Vec<RequirementSpec>>, Vec<PreferredTerm>);

fn node_terms(affinity: &NodeAffinity) -> Result<NodeTerms, FieldError> {
    let required = affinity
        .required_during_scheduling_ignored_during_execution
        .as_ref()
        .map_or(&[][..], |selector| &selector.node_selector_terms);
    let preferred = affinity
        .preferred_during_scheduling_ignored_during_execution
        .iter()
        .flatten();
    Ok((
        required.iter().map(node_term).collect::<Result<_, _>>()?,
        preferred
            .map(|term| {
                let requirements = node_term(&term.preference)?;
                Ok(PreferredTerm {
                    weight: term.weight,
                    requirements,
                })
            })
            .collect::<Result<_, FieldError>>()?,
    ))
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
            &"matchFields is not supported, use matchExpressions",
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
                        return Err(FieldError::new(FIELD, &problem));
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
