//! The CRDs, as they are installed and printed.
//!
//! They are files of this crate, generated from its types by `cargo xtask gen-crds` (feature `schema`,
//! module `generate`). What ships carries the files, not the generator.

#[cfg(feature = "schema")]
pub mod generate;

use std::sync::OnceLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

/// The files, in the order they are installed in: NodePool, NodeClaim, AKSNodeClass.
pub const FILES: [&str; 3] = [
    include_str!("../../crds/karpenter.sh_nodepools.yaml"),
    include_str!("../../crds/karpenter.sh_nodeclaims.yaml"),
    include_str!("../../crds/karpenter.azure.com_aksnodeclasses.yaml"),
];

/// All CRDs of the controller, in the order of [`FILES`]; read once per process.
pub fn crds() -> &'static [CustomResourceDefinition] {
    static CRDS: OnceLock<Vec<CustomResourceDefinition>> = OnceLock::new();
    CRDS.get_or_init(|| {
        let read = |text| serde_saphyr::from_str(text).expect("the files are CRDs");
        FILES.into_iter().map(read).collect()
    })
}

#[cfg(test)]
mod cel_tests;
#[cfg(test)]
mod tests;
