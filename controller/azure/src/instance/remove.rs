//! Deleting machines and what belongs to them.

use std::collections::{BTreeMap, BTreeSet};

use controller_core::model::{NodeClaimName, ProviderId};
use controller_ports::{Orphan, ProviderError};
use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::body::{CLUSTER_TAG, POOL_TAG, tags};
use crate::arm::{ArmError, lock, versions};
use crate::class::Class;
use crate::id::{claim_of, resource_name, vm_name};
use crate::provider::{Azure, chain};

/// A network interface or a disk; only the members that are read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Part {
    id: String,
    name: String,
    tags: BTreeMap<String, String>,
    /// Of a disk: the machine it is attached to.
    managed_by: Option<String>,
    properties: PartProperties,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PartProperties {
    /// Of an interface: the machine it is attached to.
    virtual_machine: Option<serde_json::Value>,
    creation_data: CreationData,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CreationData {
    create_option: String,
}

impl Azure {
    /// See `CloudProvider::delete`.
    pub(crate) async fn delete(
        &self,
        claim: &NodeClaimName,
        id: Option<&ProviderId>,
    ) -> Result<(), ProviderError> {
        let name = id
            .and_then(|id| vm_name(id.as_str()))
            .map_or_else(|| resource_name(claim.as_str()), str::to_owned);
        lock(&self.launches).remove(claim);
        let Some(vm) = self.find(&name, false).await? else {
            self.remove_parts(&name).await;
            lock(&self.deleting).remove(&name);
            lock(&self.seen).remove(&name);
            return Err(ProviderError::NotFound);
        };
        lock(&self.deleting).insert(name.clone());
        lock(&self.market).quota.moved(self.clock.monotonic());
        if vm.is_deleting() {
            return Ok(());
        }
        let url = self.arm.url(
            &self.ids.vm(&name),
            versions::COMPUTE,
            &[("forceDeletion", "true")],
        );
        match self.arm.write(Method::DELETE, &url, None).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes what a failed launch left, machine first: the rest hangs on it. What cannot be
    /// deleted now (Azure reserves an interface for its machine for a while) is collected later.
    pub(crate) async fn remove_remains(&self, name: &str) {
        // Its end is our doing and no eviction.
        lock(&self.deleting).insert(name.to_owned());
        self.remove_machine(name).await;
        lock(&self.deleting).remove(name);
    }

    async fn remove_machine(&self, name: &str) {
        let url = self.arm.url(
            &self.ids.vm(name),
            versions::COMPUTE,
            &[("forceDeletion", "true")],
        );
        if let Err(error) = self.arm.delete_and_wait(&url).await {
            tracing::warn!(vm = name, error = %chain(&error), "cannot delete the machine of a failed launch");
            return;
        }
        lock(&self.seen).remove(name);
        self.remove_parts(name).await;
    }

    /// Asks for the deletion of interface and disk; they normally go with the machine.
    async fn remove_parts(&self, name: &str) {
        for (url, what) in [
            (
                self.arm.url(&self.ids.nic(name), versions::NETWORK, &[]),
                "network interface",
            ),
            (
                self.arm.url(&self.ids.disk(name), versions::DISKS, &[]),
                "disk",
            ),
        ] {
            match self.arm.write(Method::DELETE, &url, None).await {
                Ok(_) => {}
                Err(error) if error.is_not_found() => {}
                Err(error) => {
                    tracing::info!(name, what, error = %chain(&error), "left for garbage collection");
                }
            }
        }
    }

    /// See `CloudProvider::collect_orphans`.
    pub(crate) async fn collect_orphans(
        &self,
        claims: &[NodeClaimName],
        older_than: Timestamp,
    ) -> Result<Vec<Orphan>, ProviderError> {
        // Parts first, machines second: a part made in between is not taken for an orphan.
        let nics = self.parts(&self.ids.nics(), versions::NETWORK).await?;
        let disks = self.parts(&self.ids.disks(), versions::DISKS).await?;
        let claimed: BTreeSet<String> = claims
            .iter()
            .map(|claim| resource_name(claim.as_str()))
            .collect();
        let nics = nics
            .into_iter()
            .filter(|nic| self.is_our_nic(nic))
            .map(|nic| (nic, versions::NETWORK));
        let disks = disks
            .into_iter()
            .filter(is_our_disk)
            .map(|disk| (disk, versions::DISKS));
        let mut found: Vec<(Part, &str)> = nics
            .chain(disks)
            .filter(|(part, _)| !claimed.contains(&part.name))
            .collect();
        if !found.is_empty() {
            let machines = self.machines().await?;
            let owned: BTreeSet<&str> = machines.iter().map(|vm| vm.name.as_str()).collect();
            found.retain(|(part, _)| !owned.contains(part.name.as_str()));
        }
        let due = self.due_orphans(found, older_than);
        let mut deleted = Vec::new();
        for (part, version) in due {
            let url = self.arm.url(&part.id, version, &[]);
            match self.arm.write(Method::DELETE, &url, None).await {
                Ok(_) => {
                    let claim = NodeClaimName::new(claim_of(&part.name).unwrap_or(&part.name));
                    deleted.push(Orphan {
                        id: part.id.into(),
                        claim,
                    });
                }
                Err(error) => {
                    tracing::info!(id = part.id, error = %chain(&error), "orphan not deleted yet");
                }
            }
        }
        Ok(deleted)
    }

    async fn parts(&self, path: &str, version: &str) -> Result<Vec<Part>, ProviderError> {
        let url = self.arm.url(path, version, &[]);
        Ok(self.arm.list(&url).await?)
    }

    fn is_our_nic(&self, nic: &Part) -> bool {
        let is_of_cluster = match nic.tags.get(CLUSTER_TAG) {
            Some(cluster) => *cluster == self.options.cluster.name,
            None => nic.tags.contains_key(POOL_TAG),
        };
        is_of_cluster && claim_of(&nic.name).is_some() && nic.properties.virtual_machine.is_none()
    }

    /// Neither kind tells reliably when it lost its machine: age counts from when that was seen.
    fn due_orphans<'a>(
        &self,
        found: Vec<(Part, &'a str)>,
        older_than: Timestamp,
    ) -> Vec<(Part, &'a str)> {
        let now = self.clock.now();
        let mut leftovers = lock(&self.leftovers);
        let known: BTreeMap<String, Timestamp> = found
            .iter()
            .map(|(part, _)| {
                (
                    part.id.clone(),
                    leftovers.get(&part.id).copied().unwrap_or(now),
                )
            })
            .collect();
        *leftovers = known;
        let due = |part: &Part| {
            leftovers
                .get(&part.id)
                .is_some_and(|since| *since <= older_than)
        };
        found.into_iter().filter(|(part, _)| due(part)).collect()
    }

    /// See `CloudProvider::update_in_place`.
    pub(crate) async fn update_in_place(
        &self,
        id: &ProviderId,
        class: &Class,
    ) -> Result<(), ProviderError> {
        let name = vm_name(id.as_str()).ok_or(ProviderError::NotFound)?;
        let vm = self
            .find(name, false)
            .await?
            .ok_or(ProviderError::NotFound)?;
        let wanted = tags(
            &self.options,
            class,
            vm.tags.get(POOL_TAG).map(String::as_str),
        );
        if vm.tags == wanted {
            return Ok(());
        }
        let body = json!({"tags": wanted});
        let nic = self.arm.url(&self.ids.nic(name), versions::NETWORK, &[]);
        match self
            .arm
            .write_and_wait(Method::PATCH, &nic, Some(&body))
            .await
        {
            Err(error) if !error.is_not_found() => return Err(error.into()),
            _ => {}
        }
        // The machine last: equal tags on it say that everything was done.
        let url = self.arm.url(&self.ids.vm(name), versions::COMPUTE, &[]);
        self.arm
            .write_and_wait(Method::PATCH, &url, Some(&body))
            .await
            .map_err(ArmError::into)
    }
}

/// An OS disk of ours has no tags: it is told by its name and by being made from an image.
fn is_our_disk(disk: &Part) -> bool {
    claim_of(&disk.name).is_some()
        && disk.managed_by.as_deref().unwrap_or_default().is_empty()
        && disk
            .properties
            .creation_data
            .create_option
            .eq_ignore_ascii_case("FromImage")
}
