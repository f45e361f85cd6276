//! Simulated cluster components: scheduler, kubelets, workload controllers, node lifecycle,
//! garbage collection.

pub mod api;
pub mod host;
