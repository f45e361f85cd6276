//! Manifests and the steps of the timeline.

use std::collections::BTreeMap;
use std::time::Duration;

use fake_arm_cloud::{CapacityOverride, CapacityType};
use serde_json::Value;

use crate::format::error::FormatError;
use crate::format::params::{Values, fill_known};
use crate::format::raw::{
    RawBootstrapFault, RawNodes, RawObjectRef, RawPool, RawServer, RawStep, RawVms, Span, VERBS,
};
use crate::format::scenario::read::{Reader, gather};
use crate::format::scenario::{
    Action, BootstrapFault, Manifest, Nodes, ObjectRef, Pods, Pool, QuotaChange, Step, Vms,
};
use crate::observe::{CAPACITY_LABEL, POOL_LABEL};
use crate::world::ports::Target;

/// `apiVersion` of kinds that scenarios may name by kind alone.
const KINDS: [(&str, &str); 17] = [
    ("Deployment", "apps/v1"),
    ("ReplicaSet", "apps/v1"),
    ("DaemonSet", "apps/v1"),
    ("StatefulSet", "apps/v1"),
    ("Pod", "v1"),
    ("Node", "v1"),
    ("Namespace", "v1"),
    ("Secret", "v1"),
    ("ConfigMap", "v1"),
    ("Service", "v1"),
    ("ServiceAccount", "v1"),
    ("PodDisruptionBudget", "policy/v1"),
    ("ClusterRole", "rbac.authorization.k8s.io/v1"),
    ("ClusterRoleBinding", "rbac.authorization.k8s.io/v1"),
    ("NodePool", "karpenter.sh/v1"),
    ("NodeClaim", "karpenter.sh/v1"),
    ("AKSNodeClass", "karpenter.azure.com/v1beta1"),
];

/// How long a killed controller stays away: what a Deployment needs to start a container again.
const RESTART_AFTER: Duration = Duration::from_secs(10);

impl Reader<'_> {
    /// Inline objects and files.
    pub(super) fn manifests(
        &self,
        entries: &[Value],
        path: &str,
    ) -> Result<Vec<Manifest>, FormatError> {
        let manifests = entries
            .iter()
            .enumerate()
            .map(|(index, entry)| self.manifest(entry, &format!("{path}[{index}]")));
        Ok(gather(manifests)?.into_iter().flatten().collect())
    }

    fn manifest(&self, entry: &Value, path: &str) -> Result<Vec<Manifest>, FormatError> {
        match entry {
            Value::String(file) => self.manifest_file(file, path, &self.values),
            Value::Object(map) if map.contains_key("file") && !map.contains_key("kind") => {
                self.manifest_with(entry, path)
            }
            Value::Object(_) => {
                self.check_object(entry, path)?;
                Ok(vec![Manifest {
                    object: entry.clone(),
                    path: path.to_owned(),
                    file: None,
                }])
            }
            _ => Err(self
                .error(
                    path,
                    "a manifest is a Kubernetes object or the path of a YAML file",
                )
                .help("write an object with apiVersion, kind and metadata, or a path")),
        }
    }

    /// A file with parameters of its own, so that one file can be used several times.
    fn manifest_with(&self, entry: &Value, path: &str) -> Result<Vec<Manifest>, FormatError> {
        let unknown = entry
            .as_object()
            .into_iter()
            .flat_map(|map| map.keys())
            .find(|key| !["file", "with"].contains(&key.as_str()));
        if let Some(key) = unknown {
            return Err(self
                .error(&format!("{path}.{key}"), format!("unknown key '{key}'"))
                .help("write {file: PATH, with: {parameter: value}}"));
        }
        let Some(file) = entry["file"].as_str() else {
            return Err(self
                .error(&format!("{path}.file"), "is no path")
                .help("write the path of a YAML file, relative to the scenario"));
        };
        let mut values = self.values.clone();
        for (name, value) in entry["with"].as_object().into_iter().flatten() {
            values.insert(name.clone(), value.clone());
        }
        self.manifest_file(file, path, &values)
    }

    fn manifest_file(
        &self,
        file: &str,
        path: &str,
        values: &Values,
    ) -> Result<Vec<Manifest>, FormatError> {
        let full = self.folder.join(file);
        let text = std::fs::read_to_string(&full).map_err(|error| {
            self.error(path, format!("cannot read {}: {error}", full.display()))
                .help("paths are relative to the scenario file")
        })?;
        let name = full.display().to_string();
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text)
            .map_err(|error| FormatError::yaml(&name, &text, &error))?;
        let mut manifests = Vec::new();
        for mut object in documents.into_iter().filter(|document| !document.is_null()) {
            fill_known(&mut object, values);
            self.check_object(&object, path)?;
            manifests.push(Manifest {
                object,
                path: path.to_owned(),
                file: Some(full.clone()),
            });
        }
        Ok(manifests)
    }

    fn check_object(&self, object: &Value, path: &str) -> Result<(), FormatError> {
        for key in ["apiVersion", "kind"] {
            if !object[key].is_string() {
                return Err(self
                    .error(path, format!("the object has no '{key}'"))
                    .help("every Kubernetes object names its apiVersion and kind"));
            }
        }
        if !object["metadata"]["name"].is_string()
            && !object["metadata"]["generateName"].is_string()
        {
            return Err(self
                .error(path, "the object has no 'metadata.name'")
                .help("add 'metadata: {name: …}'"));
        }
        Ok(())
    }

    pub(super) fn timeline(&self, raw: &[RawStep]) -> Result<Vec<Step>, FormatError> {
        let mut steps: Vec<Step> = Vec::new();
        let mut wrong = Vec::new();
        for (index, entry) in raw.iter().enumerate() {
            let path = format!("timeline[{index}]");
            match self.step(entry, path, steps.last()) {
                Ok(several) => steps.extend(several),
                Err(error) => wrong.push(error),
            }
        }
        if let Some(error) = FormatError::all(wrong) {
            return Err(error);
        }
        steps.sort_by_key(|step| step.at);
        // Nothing overtakes a wait.
        let mut latest = Duration::ZERO;
        for step in &mut steps {
            latest = latest.max(step.latest);
            step.latest = latest;
        }
        Ok(steps)
    }

    /// One entry of the timeline; what lasts for a while is two steps.
    fn step(
        &self,
        entry: &RawStep,
        path: String,
        last: Option<&Step>,
    ) -> Result<Vec<Step>, FormatError> {
        let key = format!("{path}.at");
        let text = entry.at.0.as_str();
        let after_last = text
            .strip_prefix('+')
            .map(|text| self.duration(&key, text))
            .transpose()?;
        let (at, latest) = match (after_last, last) {
            (Some(pause), Some(last)) => (last.at + pause, last.latest + pause),
            (Some(pause), None) => (pause, pause),
            (None, _) => {
                let at = self.duration(&key, text)?;
                (at, at)
            }
        };
        let (action, end) = self.action(entry, &path)?;
        let waits = match &action {
            Action::WaitUntil { within, .. } => *within,
            _ => Duration::ZERO,
        };
        let first = Step {
            at,
            latest: latest + waits,
            after_last,
            action,
            path,
        };
        let second = end.map(|(lasts, action)| Step {
            at: at + lasts,
            latest: latest + lasts,
            after_last: None,
            action,
            path: first.path.clone(),
        });
        Ok([Some(first), second].into_iter().flatten().collect())
    }

    /// What happens, and what ends it after a while.
    fn action(
        &self,
        raw: &RawStep,
        path: &str,
    ) -> Result<(Action, Option<(Duration, Action)>), FormatError> {
        let mut actions = self.object_actions(raw, path)?;
        self.cluster_actions(raw, path, &mut actions)?;
        let mut end = None;
        self.cloud_actions(raw, path, &mut actions, &mut end)?;
        self.process_actions(raw, path, &mut actions, &mut end)?;
        let count = actions.len();
        match (actions.pop(), count) {
            (Some(action), 1) => Ok((action, end)),
            _ => Err(self
                .error(
                    path,
                    format!("a step does exactly one thing, this one does {count}"),
                )
                .help(format!("one of: {}", VERBS.join(", ")))),
        }
    }

    /// What a step does to pods and nodes.
    fn cluster_actions(
        &self,
        raw: &RawStep,
        path: &str,
        actions: &mut Vec<Action>,
    ) -> Result<(), FormatError> {
        if let Some(pods) = &raw.evict {
            actions.push(Action::Evict(Pods {
                namespace: pods
                    .namespace
                    .clone()
                    .unwrap_or_else(|| "default".to_owned()),
                labels: pods.labels.clone(),
                count: pods.count.unwrap_or(1),
            }));
        }
        for (nodes, on) in [(&raw.cordon, true), (&raw.uncordon, false)] {
            if let Some(nodes) = nodes {
                let verb = if on { "cordon" } else { "uncordon" };
                let nodes = self.nodes(nodes, &format!("{path}.{verb}"))?;
                actions.push(Action::Cordon { nodes, on });
            }
        }
        if let Some(wait) = &raw.wait_until {
            let inner = format!("{path}.wait-until");
            actions.push(Action::WaitUntil {
                condition: self.condition(&format!("{inner}.condition"), &wait.condition)?,
                within: self.duration(&format!("{inner}.within"), &wait.within.0)?,
            });
        }
        Ok(())
    }

    /// What a step does to the cloud.
    fn cloud_actions(
        &self,
        raw: &RawStep,
        path: &str,
        actions: &mut Vec<Action>,
        end: &mut Option<(Duration, Action)>,
    ) -> Result<(), FormatError> {
        actions.extend(raw.set_capacity.clone().map(Action::SetCapacity));
        if let Some(pool) = &raw.drain_capacity {
            let pool = self.pool(pool, &format!("{path}.drain-capacity"))?;
            actions.push(Action::SetCapacity(CapacityOverride {
                size: pool.size,
                zone: pool.zone,
                capacity_type: pool.capacity_type,
                available: 0,
                refusal: None,
            }));
        }
        if let Some(pool) = &raw.restore_capacity {
            let pool = self.pool(pool, &format!("{path}.restore-capacity"))?;
            actions.push(Action::RestoreCapacity(pool));
        }
        actions.extend(raw.set_quota.as_ref().map(|quota| {
            Action::SetQuota(QuotaChange {
                scope: quota.scope.clone(),
                limit: quota.limit,
            })
        }));
        if let Some(outage) = &raw.zone_outage {
            let zone = &outage.zone;
            let lasts = self.duration(&format!("{path}.zone-outage.lasts"), &outage.lasts.0)?;
            let step = |on| Action::ZoneOutage {
                zone: zone.clone(),
                on,
            };
            actions.push(step(true));
            *end = Some((lasts, step(false)));
        }
        if let Some(vms) = &raw.evict_vm {
            actions.push(Action::EvictVm(self.vms(vms, &format!("{path}.evict-vm"))?));
        }
        if let Some(vms) = &raw.delete_vm {
            let vms = self.vms(vms, &format!("{path}.delete-vm"))?;
            actions.push(Action::DeleteVm(vms));
        }
        actions.extend(
            raw.corrupt_bootstrap
                .map(|fault| Action::CorruptBootstrap(corrupt(fault))),
        );
        Ok(())
    }

    /// What a step does to the controller's process and its connections.
    fn process_actions(
        &self,
        raw: &RawStep,
        path: &str,
        actions: &mut Vec<Action>,
        end: &mut Option<(Duration, Action)>,
    ) -> Result<(), FormatError> {
        let restart = |verb: &str, text: &Option<Span>| {
            let path = format!("{path}.{verb}.restartAfter");
            text.as_ref()
                .map_or(Ok(RESTART_AFTER), |text| self.duration(&path, &text.0))
        };
        if let Some(crash) = &raw.crash_controller {
            let restart_after = restart("crash-controller", &crash.restart_after)?;
            actions.push(Action::CrashController { restart_after });
        }
        if let Some(crash) = &raw.restart_controller {
            let restart_after = restart("restart-controller", &crash.restart_after)?;
            actions.push(Action::RestartController { restart_after });
        }
        if let Some(pause) = &raw.pause_controller {
            let lasts = self.duration(&format!("{path}.pause-controller.lasts"), &pause.lasts.0)?;
            actions.push(Action::PauseController { lasts });
        }
        if let Some(partition) = &raw.partition {
            let lasts = self.duration(&format!("{path}.partition.lasts"), &partition.lasts.0)?;
            let from = partition.from.map(|server| match server {
                RawServer::Kube => Target::Kube,
                RawServer::Arm => Target::Arm,
            });
            actions.push(Action::Partition { from, on: true });
            *end = Some((lasts, Action::Partition { from, on: false }));
        }
        Ok(())
    }

    /// What a step does to Kubernetes objects.
    fn object_actions(&self, raw: &RawStep, path: &str) -> Result<Vec<Action>, FormatError> {
        let mut actions = Vec::new();
        if let Some(entry) = &raw.apply {
            let inner = format!("{path}.apply");
            actions.push(Action::Apply(match entry {
                Value::Array(list) => self.manifests(list, &inner)?,
                _ => self.manifest(entry, &inner)?,
            }));
        }
        if let Some(target) = &raw.delete {
            let target = self.object_ref(target.clone(), &format!("{path}.delete"))?;
            actions.push(Action::Delete(target));
        }
        if let Some(scale) = &raw.scale {
            let target = RawObjectRef {
                api_version: None,
                kind: scale
                    .kind
                    .clone()
                    .unwrap_or_else(|| "Deployment".to_owned()),
                name: scale.name.clone(),
                namespace: scale.namespace.clone(),
            };
            let target = self.object_ref(target, &format!("{path}.scale"))?;
            actions.push(Action::Scale {
                target,
                replicas: scale.replicas,
            });
        }
        if let Some(patch) = &raw.patch {
            let target = RawObjectRef {
                api_version: patch.api_version.clone(),
                kind: patch.kind.clone(),
                name: patch.name.clone(),
                namespace: patch.namespace.clone(),
            };
            let target = self.object_ref(target, &format!("{path}.patch"))?;
            actions.push(Action::Patch {
                target,
                merge: patch.merge.clone(),
            });
        }
        Ok(actions)
    }

    fn object_ref(&self, raw: RawObjectRef, path: &str) -> Result<ObjectRef, FormatError> {
        let known = KINDS.iter().find(|(kind, _)| *kind == raw.kind);
        let api_version = match (raw.api_version, known) {
            (Some(given), _) => given,
            (None, Some((_, version))) => (*version).to_owned(),
            (None, None) => {
                let kinds: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).collect();
                let near = crate::format::suggest::nearest(&raw.kind, kinds)
                    .map(|near| format!("did you mean '{near}'? "))
                    .unwrap_or_default();
                return Err(self
                    .error(
                        &format!("{path}.kind"),
                        format!("unknown kind '{}'", raw.kind),
                    )
                    .help(format!("{near}other kinds need 'apiVersion'")));
            }
        };
        Ok(ObjectRef {
            api_version,
            kind: raw.kind,
            name: raw.name,
            namespace: raw.namespace.unwrap_or_else(|| "default".to_owned()),
        })
    }

    fn vms(&self, raw: &RawVms, path: &str) -> Result<Vms, FormatError> {
        self.capacity_type(raw.capacity_type.as_deref(), path)?;
        Ok(Vms {
            size: raw.size.clone(),
            zone: raw.zone.clone(),
            capacity_type: raw.capacity_type.clone(),
            count: raw.count.unwrap_or(1),
        })
    }

    fn nodes(&self, raw: &RawNodes, path: &str) -> Result<Nodes, FormatError> {
        self.capacity_type(raw.capacity_type.as_deref(), path)?;
        let labels = [
            (POOL_LABEL, &raw.pool),
            ("node.kubernetes.io/instance-type", &raw.size),
            ("topology.kubernetes.io/zone", &raw.zone),
            (CAPACITY_LABEL, &raw.capacity_type),
        ];
        let labels: BTreeMap<String, String> = labels
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value.clone()?)))
            .collect();
        Ok(Nodes {
            labels,
            count: raw.count.unwrap_or(1),
        })
    }

    fn pool(&self, raw: &RawPool, path: &str) -> Result<Pool, FormatError> {
        Ok(Pool {
            size: raw.size.clone(),
            zone: raw.zone.clone(),
            capacity_type: self.capacity_type(raw.capacity_type.as_deref(), path)?,
        })
    }

    fn capacity_type(
        &self,
        text: Option<&str>,
        path: &str,
    ) -> Result<Option<CapacityType>, FormatError> {
        match text {
            None => Ok(None),
            Some("on-demand") => Ok(Some(CapacityType::OnDemand)),
            Some("spot") => Ok(Some(CapacityType::Spot)),
            Some(other) => Err(self
                .error(
                    &format!("{path}.capacityType"),
                    format!("unknown '{other}'"),
                )
                .help("use on-demand or spot")),
        }
    }
}

fn corrupt(raw: RawBootstrapFault) -> Option<BootstrapFault> {
    match raw {
        RawBootstrapFault::Ca => Some(BootstrapFault::Ca),
        RawBootstrapFault::Token => Some(BootstrapFault::Token),
        RawBootstrapFault::Label => Some(BootstrapFault::Label),
        RawBootstrapFault::Taint => Some(BootstrapFault::Taint),
        RawBootstrapFault::MaxPods => Some(BootstrapFault::MaxPods),
        RawBootstrapFault::None => None,
    }
}
