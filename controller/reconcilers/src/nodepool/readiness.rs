//! Readiness of the pool's NodeClass, on the pool.
//!
//! Source: `sigs.k8s.io/karpenter` `pkg/controllers/nodepool/readiness/controller.go`.

use controller_api::conditions::Conditioned;
use controller_api::karpenter::v1::NodePool;
use kube::core::DynamicObject;

use crate::context::Context;
use crate::objects::is_deleting;

/// Sets `NodeClassReady`.
pub(super) fn mirror_class(ctx: &Context, pool: &mut NodePool) {
    let class = ctx.class(&pool.spec.template.spec.node_class_ref.name);
    let answer = readiness(class.as_deref());
    let mut conditions = pool.condition_set(ctx.now());
    match answer {
        Ok(()) => conditions.set_true("NodeClassReady"),
        Err((reason, message)) => conditions.set_false("NodeClassReady", &reason, &message),
    };
}

fn readiness(class: Option<&DynamicObject>) -> Result<(), (String, String)> {
    let no = |reason: &str, message: &str| Err((reason.to_owned(), message.to_owned()));
    let Some(class) = class else {
        return no("NodeClassNotFound", "NodeClass not found on cluster");
    };
    if is_deleting(class) {
        return no("NodeClassTerminating", "NodeClass is Terminating");
    }
    let ready = class.data["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "Ready");
    match ready {
        Some(ready) if ready["status"] == "True" => Ok(()),
        Some(ready) if ready["status"] == "False" => {
            let text = |field: &str| ready[field].as_str().unwrap_or_default();
            no(text("reason"), text("message"))
        }
        _ => no("NodeClassReadinessUnknown", "Node Class Readiness Unknown"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_pool_says_what_its_class_says() {
        let class = |status: &str| -> DynamicObject {
            serde_json::from_value(json!({
                "apiVersion": "karpenter.azure.com/v1beta1", "kind": "AKSNodeClass",
                "metadata": {"name": "default"},
                "status": {"conditions": [
                    {"type": "Ready", "status": status, "reason": "SubnetsNotReady", "message": "m"}
                ]},
            }))
            .expect("an object")
        };
        let reason = |class: Option<&DynamicObject>| readiness(class).err().map(|error| error.0);
        assert_eq!(reason(None).as_deref(), Some("NodeClassNotFound"));
        assert_eq!(reason(Some(&class("True"))), None);
        assert_eq!(
            reason(Some(&class("False"))).as_deref(),
            Some("SubnetsNotReady")
        );
        assert_eq!(
            reason(Some(&class("Unknown"))).as_deref(),
            Some("NodeClassReadinessUnknown")
        );
    }
}
