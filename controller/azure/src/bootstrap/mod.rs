//! What a machine runs at its first start: the script that AKS images expect as `customData`
//! (`Azure/karpenter-provider-azure` `pkg/providers/imagefamily/bootstrap`).

mod kubelet;
mod labels;
mod script;

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use controller_api::azure::v1beta1::KubeletConfiguration;
use controller_core::model::{InstanceType, Taint};

use crate::instancetype::Sku;
use crate::options::Options;

pub(crate) use labels::{Sources, cluster_label, node_labels, single_valued};

/// What distinguishes one node's bootstrap data from another's.
#[derive(Debug)]
pub(crate) struct NodeBootstrap<'a> {
    pub(crate) options: &'a Options,
    pub(crate) kubernetes_version: &'a str,
    pub(crate) sku: &'a Sku,
    pub(crate) instance_type: &'a InstanceType,
    pub(crate) subnet_id: &'a str,
    /// Name of the cluster's security group; empty in a network that AKS manages.
    pub(crate) security_group: &'a str,
    pub(crate) labels: BTreeMap<Arc<str>, Arc<str>>,
    /// Template taints and start-up taints.
    pub(crate) taints: Vec<Taint>,
    pub(crate) kubelet: Option<&'a KubeletConfiguration>,
    /// Install the driver of NVIDIA sizes.
    pub(crate) installs_gpu_driver: bool,
}

impl NodeBootstrap<'_> {
    /// The value of `osProfile.customData`.
    pub(crate) fn custom_data(&self) -> String {
        BASE64.encode(script::render(self))
    }
}

#[cfg(test)]
mod tests;
