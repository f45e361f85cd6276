//! The only crossing between the cloud and the cluster.
//!
//! | From | To |
//! |---|---|
//! | a machine runs, with its bootstrap data or as part of an agent pool | a kubelet starts |
//! | a machine stops | its kubelet falls silent |
//! | a scheduled event is announced | the node's condition |
//! | a host gives up joining | the machine's provisioning fails |
//! | NAP mode of the managed cluster | the controller runs or not |
//! | Nodes and NodePool limits | Azure's rules for switching NAP off |

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use fake_apiserver_components::api::Object;
use fake_apiserver_components::host::{AgentPoolHost, Host, HostFact};
use fake_arm_cloud::{CloudEvent, ClusterFacts, NapMode, StartedVm};

use crate::observe::{Mirror, POOL_LABEL, resources};

/// What an event of the cloud means for the cluster.
#[derive(Clone, Debug, PartialEq)]
pub enum Crossing {
    /// A fact for the kubelets and the node controllers.
    Host(Box<HostFact>),
    /// Node auto-provisioning was switched on or off.
    Controller(bool),
}

/// Carries an event across; `cluster` is the one this API server belongs to.
pub fn cross(event: &CloudEvent, cluster: &str) -> Option<Crossing> {
    match event {
        CloudEvent::VmStarted(vm) => {
            let ours = vm
                .agent_pool
                .as_ref()
                .is_none_or(|pool| pool.cluster == cluster);
            ours.then(|| Crossing::Host(Box::new(HostFact::Started(host(vm)))))
        }
        CloudEvent::VmStopped { provider_id, .. } => {
            let fact = HostFact::Stopped {
                provider_id: provider_id.clone(),
            };
            Some(Crossing::Host(Box::new(fact)))
        }
        CloudEvent::ScheduledEvent {
            provider_id,
            not_before,
            ..
        } => {
            let fact = HostFact::Scheduled {
                provider_id: provider_id.clone(),
                kind: "Preempt".to_owned(),
                not_before: *not_before,
            };
            Some(Crossing::Host(Box::new(fact)))
        }
        CloudEvent::NapModeChanged {
            cluster: changed,
            mode,
        } => (changed == cluster).then_some(Crossing::Controller(*mode == NapMode::Auto)),
    }
}

fn host(vm: &StartedVm) -> Host {
    Host {
        hostname: vm.host_name.clone(),
        provider_id: vm.provider_id.clone(),
        custom_data: vm.custom_data.clone(),
        instance_type: vm.vm_size.clone(),
        region: vm.region.clone(),
        zone: vm.zone.clone(),
        cpu_cores: vm.cores,
        memory_bytes: vm.memory_bytes,
        ephemeral_bytes: vm.os_disk_bytes,
        gpu_count: vm.gpu_count,
        agent_pool: vm.agent_pool.as_ref().map(|pool| AgentPoolHost {
            labels: pool.labels.clone(),
            taints: pool
                .taints
                .iter()
                .map(|taint| (taint.key.clone(), taint.value.clone(), taint.effect.clone()))
                .collect(),
            max_pods: pool.max_pods,
            kubelet_version: pool.kubernetes_version.clone(),
        }),
    }
}

/// What the cloud may know of one cluster, refreshed by the driver.
#[derive(Clone, Debug, Default)]
pub struct Facts(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    provisioned: Vec<String>,
    open: Vec<String>,
    kubeconfigs: BTreeMap<String, String>,
}

impl Facts {
    /// Takes over what the cluster looks like now.
    pub fn refresh(&self, objects: &Mirror) {
        let nodes = objects
            .all(resources::NODES)
            .filter(|node| !node.value()["metadata"]["labels"][POOL_LABEL].is_null());
        let pools = objects.all(resources::POOLS).filter(|pool| is_open(pool));
        let provisioned = nodes.map(|node| node.name().to_owned()).collect();
        let open = pools.map(|pool| pool.name().to_owned()).collect();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.provisioned = provisioned;
        known.open = open;
    }

    /// Publishes a kubeconfig for a cluster.
    pub fn set_kubeconfig(&self, cluster: &str, kubeconfig: String) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.kubeconfigs.insert(cluster.to_owned(), kubeconfig);
    }
}

fn is_open(pool: &Object) -> bool {
    let limit = &pool.value()["spec"]["limits"]["cpu"];
    !(limit == "0" || limit == 0)
}

impl ClusterFacts for Facts {
    fn provisioned_nodes(&self, _cluster: &str) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .provisioned
            .clone()
    }

    fn open_node_pools(&self, _cluster: &str) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .open
            .clone()
    }

    fn kubeconfig(&self, cluster: &str) -> Option<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.kubeconfigs.get(cluster).cloned()
    }
}
