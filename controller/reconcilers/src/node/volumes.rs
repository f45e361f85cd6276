//! Volumes that are still attached to a node.

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::storage::v1::VolumeAttachment;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use crate::context::Context;
use crate::error::{Error, is_not_found};

/// Names of the attachments of persistent volumes on this node. The API has no field
/// selector for the node, so all are listed; it happens only while a node terminates.
pub(super) async fn attached(ctx: &Context, node: &Node) -> Result<Vec<String>, Error> {
    let name = node.name_any();
    let api: Api<VolumeAttachment> = Api::all(ctx.kube.clone());
    let list = match api.list(&ListParams::default()).await {
        Ok(list) => list,
        // A server without the storage API attaches nothing.
        Err(error) if is_not_found(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut names: Vec<String> = list
        .items
        .into_iter()
        .filter(|attachment| attachment.spec.node_name == name)
        .filter(|attachment| attachment.spec.source.persistent_volume_name.is_some())
        .map(|attachment| attachment.name_any())
        .collect();
    names.sort();
    Ok(names)
}
