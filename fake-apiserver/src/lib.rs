//! A simulated Kubernetes API server: discovery, CRUD, watch, patches, custom resources, access
//! control, over a multi-version store.
//!
//! ```text
//!   kube::Client, kubectl, …                       components (scheduler, kubelets, …)
//!        │ HTTP, in process or over TLS                   │ trait Api, no JSON text
//!        ▼                                                ▼
//!     routes ──────────► Machine: authorize → decode → default → admit → validate → store
//!        ▲                                                │
//!        └──────── watch: history of the store ◄──────────┘
//! ```
//!
//! [`ApiServer`] is a cheap handle. Everything it does is synchronous under one lock; only watches
//! wait. Time and randomness come from [`Options`]: same inputs, same answers, to the byte.
//!
//! # Invariants
//! - Every request, over HTTP or through [`ApiServer::with_api`], passes authorization, admission
//!   and validation; there is no side door.
//! - A write that is refused leaves no trace: no revision, no event.
//! - A watch delivers every change after its revision exactly once and in order, or ends with 410.
//! - A write that changes nothing makes no revision and no event.
//! - With a journal, what was answered is there after the process was killed, and so is history up to
//!   the last snapshot.
//! - An error is a `Status` with the code, reason and message of the real server.

mod admission;
pub mod auth;
mod clock;
mod defaulting;
mod events;
mod item;
mod journal;
mod kubeconfig;
mod machine;
mod meta;
mod ops;
mod options;
mod patch;
mod quantity;
mod random;
mod registry;
mod routes;
mod schema;
mod selectors;
mod serve;
mod server;
pub mod status;
mod table;
mod validation;

#[cfg(test)]
mod tests;

pub use auth::ca::{CertificateAuthority, KeyedCertificate};
pub use clock::Clock;
pub use journal::JournalError;
pub use kubeconfig::{Credentials, kubeconfig};
pub use options::{Options, StaticToken, Tracking, User};
pub use routes::AsOf;
pub use serve::{ServeError, serve};
pub use server::ApiServer;
