//! Types of the custom resources: karpenter.sh and karpenter.azure.com.
//!
//! The Rust types are what the controller reads and writes; the CRDs are generated from them and
//! finished in `crd::generate`, the only place that knows defaults, patterns and CEL rules. Beside them stand
//! the names upstream defines ([`labels`], [`conditions`]) and the rules that belong to the objects
//! themselves: condition sets, static-drift hashes, durations, run-time validation.
//!
//! # Invariants
//!
//! - This crate does no I/O, reads no clock and decides nothing: time comes in as a parameter.
//! - What a user wrote is written back unchanged: durations and quantities keep their text.
//! - The files in `crds/` are what the types yield; `cargo xtask tidy` and a test compare them.
//! - Hashes equal upstream's for equal objects, so that nodes survive a change of controller.

#[expect(
    clippy::doc_markdown,
    reason = "these comments are what kubectl explain shows, as plain text"
)]
pub mod azure;
pub mod conditions;
pub mod crd;
pub mod defaults;
pub mod duration;
pub mod hash;
#[expect(
    clippy::doc_markdown,
    reason = "these comments are what kubectl explain shows, as plain text"
)]
pub mod karpenter;
pub mod labels;
pub mod validation;

pub use azure::v1beta1::{AKSNodeClass, AKSNodeClassSpec, AKSNodeClassStatus};
pub use crd::crds;
pub use duration::{GoDuration, NillableDuration};
pub use karpenter::v1::{
    NodeClaim, NodeClaimSpec, NodeClaimStatus, NodePool, NodePoolSpec, NodePoolStatus,
};
