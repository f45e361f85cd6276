//! Group `karpenter.azure.com`.

pub mod v1alpha2;
pub mod v1beta1;

/// The API group.
pub const GROUP: &str = "karpenter.azure.com";
/// The kind.
pub const KIND: &str = "AKSNodeClass";
