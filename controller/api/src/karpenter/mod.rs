//! Group `karpenter.sh`.

pub mod v1;

/// The API group.
pub const GROUP: &str = "karpenter.sh";
