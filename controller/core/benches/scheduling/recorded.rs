//! Recorded workloads: JSON lines, one pod each, in creation order.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use controller_core::model::{
    AffinityTerm, LabelSelector, Pod, PodShape, PreferredTerm, SelectorOperator,
    SelectorRequirement, SpreadConstraint, WeightedAffinityTerm,
};
use controller_core::requirements::{Operator, RequirementSpec};
use flate2::read::GzDecoder;
use serde_json::Value;

use crate::cluster;

/// The lines of a file, unpacked when its name says so.
pub(crate) fn lines(path: &Path) -> Result<impl Iterator<Item = Result<Value, String>>, String> {
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let is_packed = path.extension().is_some_and(|extension| extension == "gz");
    let reader: Box<dyn Read> = if is_packed {
        Box::new(GzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let name = path.display().to_string();
    let parse = move |(number, line): (usize, std::io::Result<String>)| {
        let at = |error: String| format!("{name}:{}: {error}", number + 1);
        let line = line.map_err(|error| at(error.to_string()))?;
        serde_json::from_str(&line).map_err(|error| at(error.to_string()))
    };
    Ok(BufReader::new(reader).lines().enumerate().map(parse))
}

/// The pods of a file, equal shapes shared.
pub(crate) fn pods(path: &Path) -> Result<Vec<Pod>, String> {
    let mut known: BTreeMap<PodShape, Arc<PodShape>> = BTreeMap::new();
    let mut pods = Vec::new();
    for line in lines(path)? {
        let line = line?;
        let shape = shape(&line);
        let shared = match known.get(&shape) {
            Some(shared) => Arc::clone(shared),
            None => {
                let shared = Arc::new(shape.clone());
                known.insert(shape, Arc::clone(&shared));
                shared
            }
        };
        let mut pod = cluster::pod_of(pods.len(), &shared);
        pod.uid = text(&line["uid"]);
        pod.key.name = text(&line["name"]);
        pods.push(pod);
    }
    Ok(pods)
}

fn text(value: &Value) -> Arc<str> {
    value.as_str().unwrap_or("").into()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn integer(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

fn small(value: &Value) -> i32 {
    i32::try_from(integer(value)).unwrap_or(0)
}

fn shape(line: &Value) -> PodShape {
    let mut requests = cluster::requests(integer(&line["cpu_m"]), 0);
    requests.memory_bytes = integer(&line["mem_bytes"]);
    let labels = line["labels"].as_object().into_iter().flatten();
    let affinity = &line["affinity"];
    let (near, far) = (&affinity["podAffinity"], &affinity["podAntiAffinity"]);
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    PodShape {
        namespace: "default".into(),
        labels: labels
            .map(|(key, value)| (key.as_str().into(), text(value)))
            .collect(),
        requests,
        spread: list(&line["spread"]).map(spread).collect(),
        affinity: list(&near[required]).map(term).collect(),
        preferred_pod_affinity: list(&near[preferred]).map(weighted).collect(),
        anti_affinity: list(&far[required]).map(term).collect(),
        preferred_anti_affinity: list(&far[preferred]).map(weighted).collect(),
        preferred_affinity: list(&affinity["nodeAffinity"][preferred])
            .map(|term| PreferredTerm {
                weight: small(&term["weight"]),
                requirements: list(&term["preference"]["matchExpressions"])
                    .map(expression)
                    .collect(),
            })
            .collect(),
        ..PodShape::default()
    }
}

fn expression(value: &Value) -> RequirementSpec {
    let operator = match value["operator"].as_str() {
        Some("NotIn") => Operator::NotIn,
        Some("Exists") => Operator::Exists,
        Some("DoesNotExist") => Operator::DoesNotExist,
        _ => Operator::In,
    };
    RequirementSpec::new(
        text(&value["key"]),
        operator,
        list(&value["values"]).map(text),
    )
}

fn selector(value: &Value) -> Option<LabelSelector> {
    let labels = value["matchLabels"].as_object()?;
    let requirement = |(key, value): (&String, &Value)| SelectorRequirement {
        key: key.as_str().into(),
        operator: SelectorOperator::In,
        values: vec![text(value)],
    };
    Some(LabelSelector {
        requirements: labels.iter().map(requirement).collect(),
    })
}

fn spread(value: &Value) -> SpreadConstraint {
    SpreadConstraint {
        max_skew: small(&value["maxSkew"]),
        topology_key: text(&value["topologyKey"]),
        hard: value["whenUnsatisfiable"] == "DoNotSchedule",
        selector: selector(&value["labelSelector"]),
        min_domains: None,
        honor_affinity: true,
        honor_taints: false,
    }
}

fn term(value: &Value) -> AffinityTerm {
    AffinityTerm {
        topology_key: text(&value["topologyKey"]),
        selector: selector(&value["labelSelector"]),
        namespaces: Vec::new(),
        namespace_selector: None,
    }
}

fn weighted(value: &Value) -> WeightedAffinityTerm {
    WeightedAffinityTerm {
        weight: small(&value["weight"]),
        term: term(&value["podAffinityTerm"]),
    }
}
