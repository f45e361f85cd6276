//! The static-drift hash of a pool's template.
//!
//! Source: `sigs.k8s.io/karpenter` `pkg/controllers/nodepool/hash/controller.go`.

use std::sync::Arc;

use controller_api::conditions::Conditioned;
use controller_api::hash::node_pool_hash;
use controller_api::karpenter::v1::NodePool;
use controller_api::labels::{
    NODEPOOL_HASH, NODEPOOL_HASH_VERSION, NODEPOOL_HASH_VERSION_VALUE as VERSION,
};
use controller_core::model::NodePoolName;
use kube::ResourceExt;
use serde_json::{Map, Value, json};

use super::patch_metadata;
use crate::context::Context;
use crate::error::Error;
use crate::objects::annotation;
use crate::writes::Guard;

/// Writes hash and version on the pool. When the version is another one, the pool's claims are
/// brought to it first: a new version of the controller never makes nodes drift.
pub(super) async fn stamp(
    ctx: &Context,
    pool: Arc<NodePool>,
) -> Result<Option<Arc<NodePool>>, Error> {
    let hash = node_pool_hash(&pool);
    if annotation(&*pool, NODEPOOL_HASH_VERSION) != Some(VERSION) {
        restamp_claims(ctx, &pool, &hash).await?;
    } else if annotation(&*pool, NODEPOOL_HASH) == Some(&hash) {
        return Ok(Some(pool));
    }
    let patch = json!({
        "metadata": { "annotations": { NODEPOOL_HASH: hash, NODEPOOL_HASH_VERSION: VERSION } }
    });
    patch_metadata(ctx, &pool.name_any(), &patch).await
}

async fn restamp_claims(ctx: &Context, pool: &NodePool, hash: &str) -> Result<(), Error> {
    for name in ctx.claims_of_pool(&NodePoolName::new(pool.name_any())) {
        let Some(claim) = ctx.claim(&name) else {
            continue;
        };
        if annotation(&*claim, NODEPOOL_HASH_VERSION) == Some(VERSION) {
            continue;
        }
        let mut annotations = Map::new();
        annotations.insert(NODEPOOL_HASH_VERSION.to_owned(), Value::from(VERSION));
        // A claim that has drifted keeps its hash, and so stays drifted.
        if claim.condition("Drifted").is_none() {
            annotations.insert(NODEPOOL_HASH.to_owned(), Value::from(hash));
        }
        let patch = json!({ "metadata": { "annotations": annotations } });
        ctx.patch_claim(&claim, patch, Guard::None).await?;
    }
    Ok(())
}
