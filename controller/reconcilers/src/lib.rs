//! The loops around the decisions: watch, gather, call the core, act.
//!
//! ```text
//! API server ──watch──▶ informers ──▶ mirror (cluster) + typed caches ──▶ work queues and loops
//!                                                                            │ gather
//!                                                                            ▼
//!                 cloud provider, API server ◀── executors ◀── plans ◀── controller-core
//! ```
//!
//! [`Reconcilers::run`] is everything that acts; it runs only while this process leads. It starts
//! one watch per kind, waits until every kind has been listed once, and then runs the work queues
//! (NodeClaims, Nodes, NodePools, NodeClasses) and the loops (provisioning, disruption, garbage
//! collection, interruptions, refresh).
//!
//! # Invariants
//!
//! - Every task ends with the future that [`Reconcilers::run`] returned.
//! - No decision is made before every kind has been listed once.
//! - Every write is by name and harmless when repeated; a crash between any two of them is healed
//!   from the objects and the cloud alone.
//! - No lock is held across an await; nothing waits except through `ports::Clock` or an answer.
//! - Every request to the API server ends, by an answer or by a deadline.
//! - Queues hold each key once, so they are bounded by the number of objects.

mod backoff;
mod batcher;
mod catalogs;
mod context;
mod disruption;
mod error;
mod events;
mod executor;
mod informers;
mod metrics;
mod node;
mod nodeclaim;
mod nodeclass;
mod nodepool;
mod objects;
mod options;
mod provisioning;
mod queue;
mod requests;
mod service;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod wakes;
mod writes;

pub use options::{FeatureGates, Options};
pub use service::{Deps, Reconcilers};
