//! What a world tells whoever watches it: changes of stored objects, machines, quotas. Plain data; who
//! judges reads these and nothing of the servers behind them.

pub use fake_apiserver_components::api::{Change, Object, Resource};
pub use fake_arm_cloud::{QuotaView, VmState, VmView};
