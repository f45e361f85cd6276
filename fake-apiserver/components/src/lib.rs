//! Simulated cluster components: scheduler, kubelets, workload controllers, node lifecycle,
//! garbage collection.
//!
//! Each component is a state machine ([`api::Component`]) that behaves as an ordinary client of
//! the API server, with an identity of its own. [`Cluster`] drives all of them: it hands them
//! lists, changes and answers until nothing is left to do, and tells when to come back.
//!
//! What each component writes follows kubernetes/kubernetes `pkg/scheduler`, `pkg/controller/*`,
//! `pkg/kubelet` and `staging/src/k8s.io/cloud-provider` of release 1.36.
//!
//! # Limits
//!
//! - No `StatefulSet`s, jobs, autoscalers, endpoints, volumes or dynamic resources.
//! - The scheduler preempts nothing and has no default spread constraints.
//! - Kubelets prove their bootstrap token but request no certificate; containers never fail.
//! - Deleting a namespace leaves its Events to their time to live.
//!
//! # Invariants
//!
//! - Nothing here reads time, entropy or the environment: `now` and the seed are arguments.
//! - Nothing here knows HTTP, tokio, the cloud emulator or the provisioner under test.
//! - A component never holds an [`api::Api`]; all it does is in the requests it returns.
//! - Cost follows events: a step looks only at objects related to its event.
//! - The same calls in the same order produce the same requests, to the byte.

pub mod api;
pub mod host;

mod cluster;
mod options;

mod cloud_node;
mod daemonset;
mod deployment;
mod disruption;
mod garbage_collector;
mod kubelet;
mod node_lifecycle;
mod pod_gc;
mod replicaset;
mod scheduler;
mod service_account;

mod events;
mod kinds;
mod object;
mod outbox;
mod pod;
mod pod_index;
mod quantity;
mod selector;
mod time;
mod toleration;

#[cfg(test)]
mod testing;

pub use cluster::{Cluster, PumpError, Refusal};
pub use kinds::identities;
pub use kubelet::{JoinReport, bootstrap};
pub use options::{Options, Timings};
