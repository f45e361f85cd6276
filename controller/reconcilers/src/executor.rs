//! Carrying out plans: NodeClaims from the core's new claims. It chooses nothing but names.

use std::collections::BTreeMap;
use std::sync::Arc;

use controller_api::karpenter::v1::{NodeClaim, NodeClaimResources, NodeClaimSpec, NodePool};
use controller_api::{hash, labels};
use controller_cluster::{from_core_requirements, resources_to_list};
use controller_core::model::{InstanceTypeName, NodePoolName};
use controller_core::requirements::{Operator, RequirementSpec};
use controller_core::scheduling::NewClaim;
use futures::{FutureExt, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::PostParams;
use kube::{Api, Resource, ResourceExt};
use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

use crate::context::Context;
use crate::error::{Error, chain, is_already_exists, is_not_found};

/// Claims created at once: the API server's default for requests of one client in flight is
/// some hundreds; this leaves room for the rest of the controller.
const CREATES_MAX: usize = 50;
/// Names tried for one claim; five letters of 27 leave no chance for a third collision.
const NAMES_MAX: usize = 3;
/// Letters of generated names, as the API server generates them: no vowels, nothing that looks
/// like something else (`k8s.io/apimachinery/pkg/util/rand`).
const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
/// Letters of a generated name.
const SUFFIX_LEN: usize = 5;
/// Longest name of a claim: names of cloud resources derive from it.
const NAME_MAX: usize = 63;

/// Creates the claims of a plan. Each result stands in the place of its claim.
pub(crate) async fn create_claims(
    ctx: &Context,
    claims: &[NewClaim],
    reason: &'static str,
) -> Vec<Result<Arc<NodeClaim>, Error>> {
    let work: Vec<_> = claims
        .iter()
        .map(|claim| create_claim(ctx, claim, reason).boxed())
        .collect();
    futures::stream::iter(work)
        .buffered(CREATES_MAX)
        .collect()
        .await
}

async fn create_claim(
    ctx: &Context,
    new: &NewClaim,
    reason: &'static str,
) -> Result<Arc<NodeClaim>, Error> {
    let pool = ctx
        .pool(new.pool.as_str())
        .ok_or_else(|| Error::Invalid(format!("nodepool {} is gone", new.pool)))?;
    let api: Api<NodeClaim> = ctx.claim_api();
    let mut attempt = 1;
    loop {
        let name = {
            let mut random = ctx
                .names
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            generate_name(new.pool.as_str(), &mut random)
        };
        let wanted = claim_object(&pool, new, &name);
        let created = match api.create(&PostParams::default(), &wanted).await {
            Ok(claim) => claim,
            Err(error) if is_already_exists(&error) && attempt < NAMES_MAX => {
                attempt += 1;
                continue;
            }
            // Nobody knows whether it was created: look.
            Err(error) if is_ambiguous(&error) => match api.get(&name).await {
                Ok(claim) => claim,
                Err(missing) if is_not_found(&missing) => return Err(error.into()),
                Err(_) => return Err(error.into()),
            },
            Err(error) => return Err(error.into()),
        };
        return Ok(created_claim(ctx, new, created, reason));
    }
}

fn created_claim(
    ctx: &Context,
    new: &NewClaim,
    created: NodeClaim,
    reason: &'static str,
) -> Arc<NodeClaim> {
    let name = created.name_any();
    // It counts as in flight at once, whatever the watch is about. Should it be gone already, its
    // first reconcile finds out and forgets it.
    ctx.adopt_claim(created.clone());
    let types: Vec<&str> = new
        .instance_types
        .iter()
        .take(5)
        .map(InstanceTypeName::as_str)
        .collect();
    tracing::info!(
        nodeclaim = name, nodepool = %new.pool, pods = new.pods.len(), price = %new.price,
        instance_types = types.join(", "), more_types = new.instance_types.len().saturating_sub(5),
        "created nodeclaim"
    );
    ctx.metrics.claim_created(&new.pool, reason);
    Arc::new(created)
}

/// Whether the server may have acted although it did not say so.
fn is_ambiguous(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code >= 500,
        _ => true,
    }
}

/// `<pool>-` and five letters; a long pool name is cut.
fn generate_name(pool: &str, random: &mut ChaCha8Rng) -> String {
    let mut name: String = pool.chars().take(NAME_MAX - SUFFIX_LEN - 1).collect();
    name.push('-');
    for _ in 0..SUFFIX_LEN {
        let index = random.next_u64() % LETTERS.len() as u64;
        let index = usize::try_from(index).expect("an index below 27 fits");
        name.push(char::from(LETTERS[index]));
    }
    name
}

/// The NodeClaim to create (Karpenter
/// `pkg/controllers/provisioning/scheduling/nodeclaimtemplate.go`).
fn claim_object(pool: &NodePool, new: &NewClaim, name: &str) -> NodeClaim {
    let template = &pool.spec.template;
    let spec = &template.spec;
    let mut annotations: BTreeMap<String, String> = template
        .annotations()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    annotations.insert(labels::NODEPOOL_HASH.to_owned(), hash::node_pool_hash(pool));
    annotations.insert(
        labels::NODEPOOL_HASH_VERSION.to_owned(),
        labels::NODEPOOL_HASH_VERSION_VALUE.to_owned(),
    );
    annotations.insert(labels::MIN_VALUES_RELAXED.to_owned(), "false".to_owned());
    let mut claim = NodeClaim::new(
        name,
        NodeClaimSpec {
            expire_after: spec.expire_after.clone(),
            node_class_ref: spec.node_class_ref.clone(),
            requirements: from_core_requirements(&new.requirements),
            resources: Some(NodeClaimResources {
                requests: resources_to_list(&new.requests),
            }),
            startup_taints: spec.startup_taints().to_vec(),
            taints: spec.taints().to_vec(),
            termination_grace_period: spec.termination_grace_period.clone(),
        },
    );
    claim.metadata = ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some(claim_labels(pool, &new.requirements)),
        annotations: Some(annotations),
        owner_references: Some(vec![pool_reference(pool)]),
        ..ObjectMeta::default()
    };
    claim
}

fn claim_labels(pool: &NodePool, requirements: &[RequirementSpec]) -> BTreeMap<String, String> {
    let template = &pool.spec.template;
    let mut result: BTreeMap<String, String> = template
        .labels()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    // Labels of the user's own that pods select by: one value that the requirement allows.
    for requirement in requirements {
        let is_own = !labels::WELL_KNOWN.contains(&&*requirement.key)
            && labels::restriction(&requirement.key).is_none();
        if is_own
            && requirement.operator == Operator::In
            && let Some(value) = requirement.values.first()
        {
            result
                .entry(requirement.key.to_string())
                .or_insert_with(|| value.to_string());
        }
    }
    result.insert(labels::NODEPOOL.to_owned(), pool.name_any());
    let class = &template.spec.node_class_ref;
    result.insert(class.label_key(), class.name.clone());
    result
}

fn pool_reference(pool: &NodePool) -> OwnerReference {
    OwnerReference {
        api_version: NodePool::api_version(&()).into_owned(),
        kind: NodePool::kind(&()).into_owned(),
        name: pool.name_any(),
        uid: pool.uid().unwrap_or_default(),
        block_owner_deletion: Some(true),
        controller: None,
    }
}

/// Logs what could not be created; the pods stay pending and are scheduled anew.
pub(crate) fn log_failures(pools: &[NodePoolName], results: &[Result<Arc<NodeClaim>, Error>]) {
    for (pool, result) in pools.iter().zip(results) {
        if let Err(error) = result {
            tracing::error!(nodepool = %pool, error = %chain(error), "nodeclaim not created");
        }
    }
}

#[cfg(test)]
mod tests {
    use controller_core::model::Price;
    use controller_core::quantity::Resources;
    use controller_ports::Entropy;
    use serde_json::json;

    use super::*;

    #[test]
    fn names_follow_the_seed_and_fit() {
        let mut random = Entropy::from_seed(1).stream("names");
        let first = generate_name("general-purpose", &mut random);
        assert!(
            first.starts_with("general-purpose-") && first.len() == 21,
            "{first}"
        );
        assert_ne!(first, generate_name("general-purpose", &mut random));
        let mut again = Entropy::from_seed(1).stream("names");
        assert_eq!(first, generate_name("general-purpose", &mut again));
        assert_eq!(generate_name(&"x".repeat(80), &mut random).len(), NAME_MAX);
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "one object and what it becomes")]
    fn a_claim_carries_its_pools_template_and_its_own_requirements() {
        let pool: NodePool = serde_json::from_value(json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodePool",
            "metadata": {"name": "general", "uid": "u1"},
            "spec": {"template": {
                "metadata": {"labels": {"team": "a"}, "annotations": {"x": "y"}},
                "spec": {
                    "nodeClassRef": {"group": "karpenter.azure.com", "kind": "AKSNodeClass", "name": "default"},
                    "requirements": [], "expireAfter": "720h",
                    "taints": [{"key": "gpu", "value": "true", "effect": "NoSchedule"}],
                },
            }},
        }))
        .expect("a pool");
        let requirement = |key: &str, values: &[&str]| RequirementSpec {
            key: key.into(),
            operator: Operator::In,
            values: values.iter().map(|value| Arc::from(*value)).collect(),
            min_values: None,
        };
        let new = NewClaim {
            pool: "general".into(),
            requirements: vec![
                requirement("node.kubernetes.io/instance-type", &["Standard_D2s_v5"]),
                requirement("example.com/tier", &["gold", "silver"]),
            ]
            .into(),
            instance_types: ["Standard_D2s_v5".into()].into(),
            price: Price(96_000_000),
            requests: Resources {
                cpu_milli: 1500,
                pods: 3,
                ..Resources::default()
            },
            pods: Vec::new(),
        };
        let claim = claim_object(&pool, &new, "general-x7k2p");
        let value = serde_json::to_value(&claim).expect("a claim is JSON");
        insta::assert_json_snapshot!(value["metadata"]["labels"], @r#"
        {
          "example.com/tier": "gold",
          "karpenter.azure.com/aksnodeclass": "default",
          "karpenter.sh/nodepool": "general",
          "team": "a"
        }
        "#);
        assert_eq!(
            value["metadata"]["ownerReferences"],
            json!([{
                "apiVersion": "karpenter.sh/v1", "kind": "NodePool", "name": "general",
                "uid": "u1", "blockOwnerDeletion": true
            }])
        );
        let annotations = &value["metadata"]["annotations"];
        assert_eq!(
            (
                &annotations["x"],
                &annotations[labels::NODEPOOL_HASH_VERSION]
            ),
            (&json!("y"), &json!("v3"))
        );
        let spec = &value["spec"];
        assert_eq!(spec["expireAfter"], "720h");
        assert_eq!(spec["taints"][0]["key"], "gpu");
        assert_eq!(
            spec["resources"]["requests"],
            json!({"cpu": "1500m", "pods": "3"})
        );
        assert_eq!(
            spec["requirements"][0]["values"],
            json!(["Standard_D2s_v5"])
        );
    }
}
