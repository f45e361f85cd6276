//! Plans as lines, and a judge of them that knows only the workload, the types and the rules of
//! `kube-scheduler`: it reads the same JSON itself and imports nothing of what it judges.

use std::collections::BTreeMap;

use serde_json::Value;

const ZONES: usize = 3;
const ZONE: &str = "topology.kubernetes.io/zone";
const HOST: &str = "kubernetes.io/hostname";

/// One label value, as the recorded selectors ask for it.
type Label = (String, String);

/// The rules of one pod.
struct Rules {
    cpu: i64,
    memory: i64,
    labels: Vec<Label>,
    /// Skew, whether over hosts, what is counted.
    spread: Vec<(i64, bool, Label)>,
    near: Vec<(bool, Label)>,
    far: Vec<(bool, Label)>,
}

#[derive(Default)]
struct Machine {
    cpu: i64,
    memory: i64,
    room: i64,
    zone: usize,
}

/// What runs where, by label.
#[derive(Default)]
struct Counts {
    zones: BTreeMap<Label, [i64; ZONES]>,
    hosts: BTreeMap<(Label, usize), i64>,
    /// Hosts and zones whose pods keep others away.
    guarded_hosts: BTreeMap<(Label, usize), i64>,
    guarded_zones: BTreeMap<(Label, usize), i64>,
}

fn label_of(selector: &Value) -> Option<Label> {
    let (key, value) = selector["matchLabels"].as_object()?.iter().next()?;
    Some((key.clone(), value.as_str()?.to_owned()))
}

fn terms(value: &Value) -> Vec<(bool, Label)> {
    let required = &value["requiredDuringSchedulingIgnoredDuringExecution"];
    let term = |term: &Value| {
        Some((
            term["topologyKey"] == HOST,
            label_of(&term["labelSelector"])?,
        ))
    };
    required
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(term)
        .collect()
}

fn rules(pod: &Value) -> Rules {
    let labels = pod["labels"].as_object().into_iter().flatten();
    let constraint = |value: &Value| {
        let hard = value["whenUnsatisfiable"] == "DoNotSchedule";
        let over = &value["topologyKey"];
        let known = over == HOST || over == ZONE;
        let selected = label_of(&value["labelSelector"]).filter(|_| hard && known)?;
        Some((value["maxSkew"].as_i64()?, over == HOST, selected))
    };
    Rules {
        cpu: pod["cpu_m"].as_i64().unwrap_or(0),
        memory: pod["mem_bytes"].as_i64().unwrap_or(0),
        labels: labels
            .map(|(key, value)| (key.clone(), value.as_str().unwrap_or("").to_owned()))
            .collect(),
        spread: pod["spread"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(constraint)
            .collect(),
        near: terms(&pod["affinity"]["podAffinity"]),
        far: terms(&pod["affinity"]["podAntiAffinity"]),
    }
}

impl Counts {
    fn of(&self, label: &Label, over_hosts: bool, host: usize, zone: usize) -> i64 {
        if over_hosts {
            self.hosts.get(&(label.clone(), host)).copied().unwrap_or(0)
        } else {
            self.zones.get(label).map_or(0, |zones| zones[zone])
        }
    }

    /// The rule that forbids a pod on a machine, if there is one.
    fn forbids(&self, rules: &Rules, host: usize, zone: usize) -> Option<String> {
        for (skew, over_hosts, label) in &rules.spread {
            let least = if *over_hosts {
                // There is an empty host somewhere, or there could be.
                0
            } else {
                let zones = self.zones.get(label);
                zones.map_or(0, |zones| zones.iter().copied().min().unwrap_or(0))
            };
            let own = i64::from(rules.labels.contains(label));
            if self.of(label, *over_hosts, host, zone) + own - least > *skew {
                return Some(format!("spread of {label:?}"));
            }
        }
        for (over_hosts, label) in &rules.near {
            let first = rules.labels.contains(label)
                && self
                    .zones
                    .get(label)
                    .is_none_or(|zones| zones.iter().all(|&n| n == 0));
            if self.of(label, *over_hosts, host, zone) == 0 && !first {
                return Some(format!("affinity to {label:?}"));
            }
        }
        for (over_hosts, label) in &rules.far {
            if self.of(label, *over_hosts, host, zone) > 0 {
                return Some(format!("anti-affinity to {label:?}"));
            }
        }
        let guarded = |label: &&Label| {
            self.guarded_hosts.contains_key(&((*label).clone(), host))
                || self.guarded_zones.contains_key(&((*label).clone(), zone))
        };
        let label = rules.labels.iter().find(guarded)?;
        Some(format!("anti-affinity of others to {label:?}"))
    }

    fn add(&mut self, rules: &Rules, host: usize, zone: usize) {
        for label in &rules.labels {
            self.zones.entry(label.clone()).or_default()[zone] += 1;
            *self.hosts.entry((label.clone(), host)).or_default() += 1;
        }
        for (over_hosts, label) in &rules.far {
            let (guarded, place) = if *over_hosts {
                (&mut self.guarded_hosts, host)
            } else {
                (&mut self.guarded_zones, zone)
            };
            *guarded.entry((label.clone(), place)).or_default() += 1;
        }
    }
}

/// Binds the pods of a plan one by one; the number of pods, or the first rule that is broken.
pub(crate) fn judge(workload: &[Value], plan: &[Value]) -> Result<usize, String> {
    let by_uid: BTreeMap<&str, &Value> = workload
        .iter()
        .filter_map(|pod| Some((pod["uid"].as_str()?, pod)))
        .collect();
    let mut machines = Vec::new();
    let mut steps = Vec::new();
    for (host, line) in plan.iter().enumerate() {
        let name = line["instance_type"].as_str().unwrap_or("");
        let digits = name
            .rsplit('-')
            .next()
            .and_then(|digits| digits.parse::<i64>().ok());
        let cpu = digits.ok_or_else(|| format!("node {host}: unknown type {name:?}"))? + 1;
        let zone = line["zones"][0]
            .as_str()
            .and_then(|zone| zone.rsplit('-').next());
        let zone = zone.and_then(|digits| digits.parse::<usize>().ok());
        machines.push(Machine {
            cpu: cpu * 1000 - 100,
            memory: ((2 * cpu) << 30) - (10 << 20),
            room: 10 * cpu,
            zone: zone.filter(|z| (1..=ZONES).contains(z)).ok_or("no zone")? - 1,
        });
        for pod in line["pods"].as_array().into_iter().flatten() {
            let uid = pod["uid"].as_str().unwrap_or("");
            steps.push((pod["seq"].as_u64().ok_or("no seq")?, uid, host));
        }
    }
    steps.sort_unstable();
    let mut counts = Counts::default();
    let mut left = by_uid;
    for &(seq, uid, host) in &steps {
        let pod = left
            .remove(uid)
            .ok_or_else(|| format!("{uid} is there twice or unknown"))?;
        let rules = rules(pod);
        let machine = &mut machines[host];
        machine.cpu -= rules.cpu;
        machine.memory -= rules.memory;
        machine.room -= 1;
        if machine.cpu < 0 || machine.memory < 0 || machine.room < 0 {
            return Err(format!("step {seq}: {uid} does not fit on node {host}"));
        }
        let zone = machine.zone;
        if let Some(rule) = counts.forbids(&rules, host, zone) {
            return Err(format!("step {seq}: {uid} on node {host}: {rule}"));
        }
        counts.add(&rules, host, zone);
    }
    if left.is_empty() {
        Ok(steps.len())
    } else {
        Err(format!("{} pods are not in the plan", left.len()))
    }
}
