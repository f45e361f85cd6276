use controller_core::model::{Effect, Taint};

use super::{NodeBootstrap, script};
use crate::instancetype::tests::{key, market, sku};
use crate::testing::{SUBNET, options};

#[test]
fn the_script_reads_as_images_expect_it() {
    let options = options();
    let sku = sku("Standard_D4s_v5", 4);
    let types = market().instance_types(&key(), std::time::Duration::ZERO);
    let instance_type = types.iter().find(|it| it.name == sku.name).expect("listed");
    let taint = |key: &str, value: &str, effect| Taint {
        key: key.into(),
        value: value.into(),
        effect,
    };
    let node = NodeBootstrap {
        options: &options,
        kubernetes_version: "1.34.2",
        sku: &sku,
        instance_type,
        subnet_id: SUBNET,
        security_group: "aks-agentpool-12345678-nsg",
        labels: [
            ("karpenter.sh/nodepool".into(), "general".into()),
            ("team".into(), "blue".into()),
        ]
        .into(),
        taints: vec![
            taint("dedicated", "x", Effect::NoSchedule),
            taint("karpenter.sh/unregistered", "", Effect::NoExecute),
            taint("dedicated", "y", Effect::NoSchedule),
        ],
        kubelet: None,
        installs_gpu_driver: true,
    };
    insta::assert_snapshot!(script::render(&node));
}
