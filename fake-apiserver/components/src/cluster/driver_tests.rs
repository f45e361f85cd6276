//! What the driver itself promises: order, quiet, recovery from a server that forgets.

use std::time::Duration;

use serde_json::json;

use super::tests::{deployment, names, phases};
use crate::api::Api;
use crate::kinds::{DEPLOYMENTS, NODES};
use crate::options::{Options, Timings};
use crate::testing::bootstrap::CA;
use crate::testing::{World, host, node};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_same_seed_gives_the_same_log() {
    let log = |seed: Option<[u8; 32]>| {
        let mut options = Options::new(CA, Timings::fast());
        options.order_seed = seed;
        let mut world = World::with(&options);
        for name in ["n1", "n2"] {
            world.start(host(name));
        }
        world.create(DEPLOYMENTS, "default", deployment("web", 5));
        world.run(10 * SECOND);
        for name in ["n1", "n2"] {
            world.patch(NODES, "", name, json!({ "spec": { "taints": null } }));
        }
        world.run(10 * SECOND);
        world.api.log
    };
    assert_eq!(log(None), log(None));
    assert_eq!(log(Some([7; 32])), log(Some([7; 32])));
    assert_ne!(log(Some([7; 32])), log(Some([8; 32])));
    assert_ne!(log(None), log(Some([7; 32])));
}

#[test]
fn every_order_of_steps_comes_to_the_same_end() {
    for seed in 0..25 {
        let mut options = Options::new(CA, Timings::fast());
        options.order_seed = Some([seed; 32]);
        let mut world = World::with(&options);
        for name in ["n1", "n2"] {
            world.start(host(name));
        }
        world.create(DEPLOYMENTS, "default", deployment("web", 5));
        world.run(10 * SECOND);
        for name in ["n1", "n2"] {
            world.patch(NODES, "", name, json!({ "spec": { "taints": null } }));
        }
        world.run(5 * SECOND);
        world.patch(
            DEPLOYMENTS,
            "default",
            "web",
            json!({ "spec": { "replicas": 3 } }),
        );
        world.stop("azure:///n1");
        world.run(Duration::from_mins(8));
        let web = &world.get(DEPLOYMENTS, "default", "web")["status"];
        assert_eq!(web["availableReplicas"], 3, "seed {seed}: {web}");
        assert_eq!(phases(&world), ["Running n2"; 3], "seed {seed}");
        assert_eq!(names(&world, NODES), ["n2"], "seed {seed}");
        assert_eq!(world.cluster.refusals(), [], "seed {seed}");
    }
}

#[test]
fn an_idle_cluster_asks_for_nothing() {
    let mut world = World::new();
    world.start(host("n1"));
    world.run(60 * SECOND);
    assert_eq!(world.pump(), None);
}

#[test]
fn forgotten_history_is_listed_again() {
    let mut world = World::new();
    world.create(NODES, "", node("n1", "4", "16Gi"));
    world.run(SECOND);
    world.create(DEPLOYMENTS, "default", deployment("web", 2));
    world.api.floor = world.api.revision();
    world.run(SECOND);
    assert_eq!(phases(&world), ["Pending n1", "Pending n1"]);
}

#[test]
fn a_server_that_forgets_is_named_as_a_livelock() {
    let mut world = World::new();
    world.api.forgets_status = true;
    world.create(DEPLOYMENTS, "default", deployment("web", 1));
    let error = world
        .cluster
        .pump(world.now, &mut world.api)
        .expect_err("no end");
    let text = error.to_string();
    assert!(
        text.contains("not quiescent") && text.contains("deployments"),
        "{text}"
    );
}
