//! Manifests and the steps of the timeline.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::format::error::FormatError;
use crate::format::raw::{RawBootstrapFault, RawObjectRef, RawStep, RawVms, VERBS};
use crate::format::scenario::read::Reader;
use crate::format::scenario::{
    Action, BootstrapFault, Manifest, ObjectRef, QuotaChange, Step, Vms,
};

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
        let mut manifests = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            manifests.extend(self.manifest(entry, &format!("{path}[{index}]"))?);
        }
        Ok(manifests)
    }

    fn manifest(&self, entry: &Value, path: &str) -> Result<Vec<Manifest>, FormatError> {
        match entry {
            Value::String(file) => self.manifest_file(file, path),
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

    fn manifest_file(&self, file: &str, path: &str) -> Result<Vec<Manifest>, FormatError> {
        let full = self.folder.join(file);
        let text = std::fs::read_to_string(&full).map_err(|error| {
            self.error(path, format!("cannot read {}: {error}", full.display()))
                .help("paths are relative to the scenario file")
        })?;
        let name = full.display().to_string();
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text)
            .map_err(|error| FormatError::yaml(&name, &text, &error))?;
        let mut manifests = Vec::new();
        for object in documents.into_iter().filter(|document| !document.is_null()) {
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

    pub(super) fn timeline(&self, raw: Vec<RawStep>) -> Result<Vec<Step>, FormatError> {
        let mut steps = Vec::new();
        for (index, entry) in raw.into_iter().enumerate() {
            let path = format!("timeline[{index}]");
            let at = self.duration(&format!("{path}.at"), &entry.at)?;
            let action = self.action(entry, &path)?;
            steps.push(Step { at, action, path });
        }
        steps.sort_by_key(|step| step.at);
        Ok(steps)
    }

    fn action(&self, raw: RawStep, path: &str) -> Result<Action, FormatError> {
        let mut actions = self.object_actions(&raw, path)?;
        actions.extend(raw.set_capacity.map(Action::SetCapacity));
        actions.extend(raw.set_quota.map(|quota| {
            Action::SetQuota(QuotaChange {
                scope: quota.scope,
                limit: quota.limit,
            })
        }));
        if let Some(vms) = raw.evict_vm {
            actions.push(Action::EvictVm(self.vms(vms, &format!("{path}.evict-vm"))?));
        }
        if let Some(vms) = raw.delete_vm {
            actions.push(Action::DeleteVm(
                self.vms(vms, &format!("{path}.delete-vm"))?,
            ));
        }
        if let Some(crash) = raw.crash_controller {
            let inner = format!("{path}.crash-controller.restartAfter");
            let restart_after = crash
                .restart_after
                .map_or(Ok(RESTART_AFTER), |text| self.duration(&inner, &text))?;
            actions.push(Action::CrashController { restart_after });
        }
        actions.extend(
            raw.corrupt_bootstrap
                .map(|fault| Action::CorruptBootstrap(corrupt(fault))),
        );
        let count = actions.len();
        match (actions.pop(), count) {
            (Some(action), 1) => Ok(action),
            _ => Err(self
                .error(
                    path,
                    format!("a step does exactly one thing, this one does {count}"),
                )
                .help(format!("one of: {}", VERBS.join(", ")))),
        }
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

    fn vms(&self, raw: RawVms, path: &str) -> Result<Vms, FormatError> {
        if let Some(text) = &raw.capacity_type {
            fake_arm_cloud::CapacityType::deserialize(Value::String(text.clone())).map_err(
                |_unknown: serde_json::Error| {
                    self.error(&format!("{path}.capacityType"), format!("unknown '{text}'"))
                        .help("use on-demand or spot")
                },
            )?;
        }
        Ok(Vms {
            size: raw.size,
            zone: raw.zone,
            capacity_type: raw.capacity_type,
            count: raw.count.unwrap_or(1),
        })
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
