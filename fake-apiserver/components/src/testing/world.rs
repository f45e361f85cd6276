//! A cluster of all components over the server in memory.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::MemoryApi;
use super::bootstrap::{CA, TOKEN, custom_data};
use crate::api::{Api, Identity, Object, Operation, Request, Resource, Status};
use crate::cluster::Cluster;
use crate::host::{Host, HostFact};
use crate::kinds::{NAMESPACES, SECRETS};
use crate::options::{Options, Timings};

/// An instant of the test, in milliseconds after its beginning.
pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(1_800_000_000_000 + millis).expect("within range")
}

/// Components, server and clock.
pub(crate) struct World {
    pub(crate) api: MemoryApi,
    pub(crate) cluster: Cluster,
    pub(crate) now: Timestamp,
}

impl World {
    /// A cluster with its bootstrap token and the namespace `default`.
    pub(crate) fn new() -> Self {
        Self::with(&Options::new(CA, Timings::fast()))
    }

    pub(crate) fn with(options: &Options) -> Self {
        let mut world = Self {
            api: MemoryApi::default(),
            cluster: Cluster::new(options),
            now: at(0),
        };
        for namespace in ["default", "kube-system", "kube-node-lease"] {
            let body = json!({
                "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace },
                "spec": { "finalizers": ["kubernetes"] },
            });
            world.create(NAMESPACES, "", body);
        }
        let (id, secret) = TOKEN;
        let token = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": format!("bootstrap-token-{id}") },
            "type": "bootstrap.kubernetes.io/token",
            "stringData": {
                "token-id": id, "token-secret": secret,
                "usage-bootstrap-authentication": "true",
            },
        });
        world.create(SECRETS, "kube-system", token);
        world.pump();
        world
    }

    fn ask(
        &mut self,
        resource: Resource,
        (namespace, name, subresource): (&str, &str, &'static str),
        operation: Operation,
    ) -> Result<Object, Status> {
        let request = Request {
            id: 0,
            identity: Identity::new("client", &["system:masters"]),
            resource,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource,
            operation,
        };
        self.api.call(self.now, &request)
    }

    pub(crate) fn create(&mut self, resource: Resource, namespace: &str, body: Value) -> Object {
        self.ask(resource, (namespace, "", ""), Operation::Create(body))
            .expect("created")
    }

    pub(crate) fn patch(&mut self, resource: Resource, namespace: &str, name: &str, body: Value) {
        let patch = crate::outbox::merge(body);
        self.ask(resource, (namespace, name, ""), patch)
            .expect("patched");
    }

    pub(crate) fn delete(
        &mut self,
        resource: Resource,
        namespace: &str,
        name: &str,
        options: Value,
    ) {
        self.ask(resource, (namespace, name, ""), Operation::Delete(options))
            .expect("deleted");
    }

    /// Lets everything happen that is due now.
    pub(crate) fn pump(&mut self) -> Option<Timestamp> {
        self.cluster
            .pump(self.now, &mut self.api)
            .expect("quiescent")
    }

    /// Lets time pass, stopping wherever a component wants to be woken.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            match self.pump() {
                Some(next) if next <= end => self.now = next.max(self.now),
                _ => break,
            }
        }
        self.now = end;
        self.pump();
    }

    pub(crate) fn start(&mut self, host: Host) {
        self.cluster.apply(self.now, &HostFact::Started(host));
    }

    pub(crate) fn stop(&mut self, provider_id: &str) {
        let fact = HostFact::Stopped {
            provider_id: provider_id.to_owned(),
        };
        self.cluster.apply(self.now, &fact);
    }

    pub(crate) fn get(&self, resource: Resource, namespace: &str, name: &str) -> &Value {
        self.api.get(resource, namespace, name).expect("it exists")
    }

    /// Log lines of one actor, without Events.
    pub(crate) fn writes_of(&self, actors: &[&str]) -> Vec<String> {
        self.api
            .log
            .iter()
            .filter(|line| {
                let mut words = line.split(' ').skip(1);
                words.next().is_some_and(|who| actors.contains(&who)) && !line.contains(" events ")
            })
            .cloned()
            .collect()
    }

    /// `reason: message` of all Events.
    pub(crate) fn events(&self) -> Vec<String> {
        self.api
            .log
            .iter()
            .filter(|line| line.contains(" create events "))
            .filter_map(|line| {
                let body: Value = serde_json::from_str(line.splitn(7, ' ').nth(6)?).ok()?;
                let message = body["message"].as_str().or_else(|| body["note"].as_str())?;
                Some(format!("{}: {message}", body["reason"].as_str()?))
            })
            .collect()
    }
}

/// A machine of two cores with right bootstrap data.
pub(crate) fn host(name: &str) -> Host {
    Host {
        hostname: name.to_owned(),
        provider_id: format!("azure:///{name}"),
        custom_data: custom_data(),
        instance_type: "Standard_D2s_v5".to_owned(),
        region: "westeurope".to_owned(),
        zone: "westeurope-1".to_owned(),
        cpu_cores: 2,
        memory_bytes: 8 << 30,
        ephemeral_bytes: 128_000_000_000,
        gpu_count: 0,
        agent_pool: None,
    }
}

/// A Node that is ready, without a host behind it.
pub(crate) fn node(name: &str, cpu: &str, memory: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": name, "labels": {
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64",
            "beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": "amd64",
        } },
        "spec": {},
        "status": {
            "allocatable": {
                "cpu": cpu, "memory": memory, "pods": "110", "ephemeral-storage": "100Gi",
            },
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "KubeletReady",
                "lastHeartbeatTime": "2027-01-15T08:00:00Z",
            }],
        },
    })
}

/// A pod with one container.
pub(crate) fn pod(name: &str, cpu: &str, memory: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": name } },
        "spec": { "containers": [{
            "name": "c", "image": "nginx:1",
            "resources": { "requests": { "cpu": cpu, "memory": memory } },
        }] },
    })
}
