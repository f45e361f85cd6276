//! Pods, nodes, pools and instance types as decisions see them: validated, compact, immutable.

mod instance_type;
mod names;
mod node;
mod nodepool;
mod pod;
mod snapshot;
mod taint;

pub use instance_type::{CapacityType, InstanceType, Offering, Overhead, Price};
pub use names::{
    InstanceTypeName, NodeClaimName, NodeClassName, NodeName, NodePoolName, PodKey, ProviderId,
    Zone,
};
pub use node::{ClaimConditions, ClaimView, Node};
pub use nodepool::{Budget, ConsolidationPolicy, DisruptionSpec, NodePool};
pub use pod::{
    AffinityTerm, HostPort, LabelSelector, Pod, PodShape, PreferredTerm, SelectorOperator,
    SelectorRequirement, SpreadConstraint, WeightedAffinityTerm,
};
pub use snapshot::{PodDisruptionBudget, PoolCatalog, Snapshot, SnapshotError};
pub use taint::{Effect, Taint, Toleration, TolerationOperator};
