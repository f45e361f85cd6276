//! The cloud provider for Azure: ARM client, instance types, virtual machines, bootstrap data.

#![expect(dead_code, reason = "the provider is assembled in the next commit")]

mod id;
mod options;
mod zones;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

pub use id::is_subnet_id;
pub use options::{Cluster, Credential, Endpoints, Machines, Network, Options};

/// Decodes base64 in its standard alphabet; `None` when it is not that.
pub fn decode_base64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}
