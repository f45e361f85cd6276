//! Azure Resource Manager over HTTP, on a simulated cloud.
//!
//! [`Arm`] joins a [`fake_arm_cloud::Cloud`] with a clock. Its [`router`](Arm::router) serves
//! requests, in the same process or behind [`serve`]; its [`next_events`](Arm::next_events) lets
//! time do its work and hands over what happened to machines.
//!
//! ```text
//! az, SDKs, controller ─HTTP─▶ router ─▶ Cloud::handle
//! curl ─HTTP────────────────▶ /_control ─▶ Cloud::set_capacity, set_quota, evict
//! driver (bridge, main) ◀─ next_events ─ Cloud::advance at Cloud::wake_at and after requests
//! ```
//!
//! # Invariants
//! - No state outside the cloud: this crate decodes, calls, encodes.
//! - The cloud's lock is never held across an await.
//! - Answers carry no `date` header and nothing else that real time could leak into.
//! - `/_control` answers loopback peers only.

mod arm;
mod clock;
mod control;
mod error;
mod routes;
mod serve;
mod tls;

pub use crate::{
    arm::Arm,
    clock::Clock,
    serve::{serve, serve_router},
    tls::{Authority, TlsError, TlsOptions},
};
pub use fake_arm_cloud as cloud;

#[cfg(test)]
mod tests;
