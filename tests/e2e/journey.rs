//! Pending pods become nodes, unneeded nodes go away: seen through kubectl, az and curl.

use acceptance::{Dev, is_true, items};
use serde_json::Value;

use crate::manifests::{INFLATE, NODECLASS, NODEPOOL};

fn apply_tutorial(dev: &Dev) {
    for manifest in [NODECLASS, NODEPOOL, INFLATE] {
        dev.apply(manifest);
    }
}

fn running(dev: &Dev) -> usize {
    let pods = dev.get(&["pods", "-l", "app=inflate"]);
    items(&pods)
        .iter()
        .filter(|pod| pod["status"]["phase"] == "Running")
        .count()
}

/// All ten pods run and every claim is ready.
fn wait_for_capacity(dev: &Dev) -> Vec<Value> {
    dev.eventually("ten pods run on ready claims", || {
        let claims = dev.get(&["nodeclaims"]);
        let claims = items(&claims);
        let ready = !claims.is_empty() && claims.iter().all(|claim| is_true(claim, "Ready"));
        (ready && running(dev) == 10).then(|| claims.to_vec())
    })
}

fn az(dev: &Dev, arguments: &[&str]) -> Value {
    let output = dev.ok("az", arguments);
    serde_json::from_str(&output).expect("az prints JSON")
}

fn vms(dev: &Dev) -> Vec<Value> {
    az(dev, &["vm", "list", "-o", "json"])
        .as_array()
        .cloned()
        .unwrap_or_default()
        .into_iter()
        .filter(|vm| vm["tags"]["karpenter.sh_nodepool"] == "general-purpose")
        .collect()
}

#[test]
fn pods_become_nodes_and_nodes_go_away() {
    let dev = Dev::start(&[]);
    let nap = acceptance::nap_bin();
    let state = dev.home().join("state");
    let (nap, state) = (nap.to_string_lossy(), state.to_string_lossy());
    dev.ok(&nap, &["az-login", "--state-dir", &state]);

    apply_tutorial(&dev);
    let claims = wait_for_capacity(&dev);

    // The same world through other eyes.
    let wide = dev.kubectl(&["get", "nodeclaims,nodes,pods", "-o", "wide"]);
    assert!(
        wide.contains("general-purpose") && wide.contains("Running"),
        "{wide}"
    );
    let name = claims[0]["metadata"]["name"].as_str().expect("a name");
    let described = dev.kubectl(&["describe", "nodeclaim", name]);
    assert!(
        described.contains("Launched") && described.contains("Events"),
        "{described}"
    );
    let explained = dev.kubectl(&["explain", "nodepool.spec.disruption"]);
    assert!(explained.contains("consolidateAfter"), "{explained}");
    assert_eq!(vms(&dev).len(), claims.len());
    assert_vm_parts(&dev, claims.len());

    dev.kubectl(&["scale", "deployment", "inflate", "--replicas=0"]);
    dev.eventually("no claim is left", || {
        items(&dev.get(&["nodeclaims"])).is_empty().then_some(())
    });
    dev.eventually("no virtual machine is left", || {
        vms(&dev).is_empty().then_some(())
    });
    assert_vm_parts(&dev, 0);
    assert_eq!(dev.interrupt(), Some(130), "Ctrl-C");
}

/// Network interfaces and disks come and go with their machines.
fn assert_vm_parts(dev: &Dev, count: usize) {
    let ours = |list: &Value, key: &str| {
        list[key]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|item| {
                item["name"]
                    .as_str()
                    .is_some_and(|n| n.contains("general-purpose"))
            })
            .count()
    };
    let subscription = az(dev, &["account", "show", "-o", "json"]);
    let id = subscription["id"].as_str().expect("a subscription id");
    for (provider, version) in [
        ("Microsoft.Network/networkInterfaces", "2024-05-01"),
        ("Microsoft.Compute/disks", "2024-03-02"),
    ] {
        let path = format!("/subscriptions/{id}/providers/{provider}?api-version={version}");
        let list = az(
            dev,
            &["rest", "--method", "get", "--url", &path, "-o", "json"],
        );
        assert_eq!(ours(&list, "value"), count, "{provider}: {list:#}");
    }
}

#[test]
fn a_sold_out_size_is_replaced_by_another() {
    let dev = Dev::start(&[]);
    let arm = dev
        .env
        .get("NAP_ARM_ENDPOINT")
        .expect("env.sh exports the ARM endpoint");
    let ca = dev
        .env
        .get("REQUESTS_CA_BUNDLE")
        .expect("env.sh exports the CA bundle");
    apply_tutorial(&dev);
    let claims = wait_for_capacity(&dev);
    let size = |claim: &Value| {
        claim["metadata"]["labels"]["node.kubernetes.io/instance-type"]
            .as_str()
            .expect("a size")
            .to_owned()
    };
    let first = size(&claims[0]);

    // Sell it out, then ask for the same again.
    dev.kubectl(&["scale", "deployment", "inflate", "--replicas=0"]);
    dev.eventually("no claim is left", || {
        items(&dev.get(&["nodeclaims"])).is_empty().then_some(())
    });
    let url = format!("{arm}/_control/capacity?size={first}&available=0");
    dev.ok(
        "curl",
        &["--silent", "--fail", "--cacert", ca, "-X", "PUT", &url],
    );
    dev.kubectl(&["scale", "deployment", "inflate", "--replicas=10"]);
    let claims = wait_for_capacity(&dev);
    assert!(
        claims.iter().all(|claim| size(claim) != first),
        "{first} is sold out: {claims:#?}"
    );
}
