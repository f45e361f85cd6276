//! Nodes that stay unhealthy are replaced, unless too many are.

use super::*;
use crate::FeatureGates;

impl World {
    /// A world whose controller repairs nodes, with one node that runs a pod.
    async fn with_repair(&mut self) -> String {
        self.crash().await;
        self.options.gates = FeatureGates {
            node_repair: true,
            ..FeatureGates::default()
        };
        self.start();
        self.with_node().await
    }

    fn set_ready(&self, node: &str, status: &str) {
        let now = jiff::Timestamp::from_second(self.clock.now().as_second()).expect("in range");
        self.api.patch(
            &format!("{NODES}/{node}"),
            &json!({"status": {"conditions": [
                {"type": "Ready", "status": status, "lastTransitionTime": now.to_string()}
            ]}}),
        );
    }

    fn stranger(&self, name: &str, ready: &str) {
        self.api.create(
            NODES,
            json!({
                "apiVersion": "v1", "kind": "Node",
                "metadata": {"name": name, "labels": {"karpenter.sh/nodepool": "general"}},
                "status": {"conditions": [{"type": "Ready", "status": ready}]},
            }),
        );
    }
}

#[test]
fn a_node_that_stays_unhealthy_is_replaced_whatever_protects_it() {
    run(async |mut world| {
        let claim = world.with_repair().await;
        let node = format!("node-{claim}");
        let protect = json!({
            "metadata": {"annotations": {"karpenter.sh/do-not-disrupt": "true"}}
        });
        world.api.patch(&format!("{NODES}/{node}"), &protect);
        world.api.patch(
            &format!("{POOLS}/general"),
            &json!({"spec": {"disruption": {"budgets": [{"nodes": "0"}]}}}),
        );
        world.set_ready(&node, "Unknown");
        world.pass(590).await;
        assert_eq!(world.claim_name(), claim, "it is tolerated for ten minutes");
        world.pass(120).await;
        let left = world.claims();
        let gone = left.iter().all(|c| c["metadata"]["name"] != claim.as_str());
        assert!(gone, "{left:#?}");
        let labels = ["unhealthy", "general", "on-demand", "", "graceful"];
        assert_eq!(
            world.metrics.value(Name::NodeClaimsDisrupted, &labels),
            Some(1.0)
        );
        let labels = ["ready", "general", "on-demand", "image"];
        assert_eq!(
            world
                .metrics
                .value(Name::NodeClaimsUnhealthyDisrupted, &labels),
            Some(1.0)
        );
    });
}

#[test]
fn a_node_that_recovers_stays() {
    run(async |mut world| {
        let claim = world.with_repair().await;
        world.set_ready(&format!("node-{claim}"), "False");
        world.pass(500).await;
        world.set_ready(&format!("node-{claim}"), "True");
        world.pass(900).await;
        assert_eq!(world.claim_name(), claim);
    });
}

#[test]
fn without_the_gate_nothing_is_repaired() {
    run(async |world| {
        let claim = world.with_node().await;
        world.set_ready(&format!("node-{claim}"), "Unknown");
        world.pass(900).await;
        assert_eq!(world.claim_name(), claim);
    });
}

#[test]
fn too_many_unhealthy_nodes_are_nobodys_repair() {
    run(async |mut world| {
        let claim = world.with_repair().await;
        // Three of ten, where two are allowed.
        for index in 0..9 {
            world.stranger(
                &format!("other-{index}"),
                if index < 2 { "False" } else { "True" },
            );
        }
        world.set_ready(&format!("node-{claim}"), "False");
        world.pass(900).await;
        assert_eq!(world.claim_name(), claim);
        assert!(world.reasons().contains(&"NodeRepairBlocked".to_owned()));
        world.set_ready("other-0", "True");
        world.pass(400).await;
        let left = world.claims();
        assert!(left.iter().all(|c| c["metadata"]["name"] != claim.as_str()));
    });
}
