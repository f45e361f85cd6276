//! API objects → core values. The only place where quantities, selectors and durations are read.

mod daemon;
mod node;
mod nodeclaim;
mod nodepool;
mod parts;
mod pod;
mod requests;
mod selector;
mod shape;

pub(crate) use daemon::daemon_shape;
pub use node::NodeRecord;
pub(crate) use node::node_record;
pub use nodeclaim::ClaimRecord;
pub(crate) use nodeclaim::claim_record;
pub(crate) use nodepool::pool;
pub use parts::{
    Invalid, from_core_requirements, from_core_taint, resources_from_list, resources_to_list,
    to_core_requirements, to_core_taint,
};
pub(crate) use pod::{PodRecord, pod_record};
pub(crate) use selector::label_selector;
