//! Nodes that do not join: their pool waits ever longer, says why, and recovers.

use super::*;

const POOL: &str = "/apis/karpenter.sh/v1/nodepools/general";

fn wrong_ca() -> CreateError {
    CreateError::Refused {
        reason: "WrongClusterCA",
        message: "the node does not trust the API server".to_owned(),
    }
}

impl World {
    fn health(&self) -> (String, String) {
        let pool = self.api.get(POOL).expect("the pool");
        let conditions = pool["status"]["conditions"].as_array().cloned();
        let health = conditions
            .into_iter()
            .flatten()
            .find(|condition| condition["type"] == "NodeRegistrationHealthy")
            .expect("the condition");
        let text = |field: &str| health[field].as_str().unwrap_or_default().to_owned();
        (text("status"), text("message"))
    }

    fn backoff(&self) -> Option<String> {
        let pool = self.api.get(POOL).expect("the pool");
        let annotations = &pool["metadata"]["annotations"];
        let value = &annotations["nap.internal/registration-backoff"];
        value.as_str().map(str::to_owned)
    }

    fn messages(&self, reason: &str) -> Vec<String> {
        let events = self.api.list(EVENTS);
        let of_reason = events.iter().filter(|event| event["reason"] == reason);
        of_reason
            .map(|event| event["message"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    fn disrupted(&self, reason: &str, capacity_type: &str) -> Option<f64> {
        let labels = [reason, "general", capacity_type, "", "graceful"];
        self.metrics.value(Name::NodeClaimsDisrupted, &labels)
    }
}

#[test]
fn machines_that_do_not_join_are_not_bought_again_and_again() {
    run(async |world| {
        world.cloud.fail_all(Some(wrong_ca));
        world.pending_pod("web");
        world.pass(50).await;
        assert_eq!(
            world.cloud.creates(),
            2,
            "one more try, then a minute's wait"
        );
        let (status, message) = world.health();
        assert_eq!(status, "False");
        insta::assert_snapshot!(message, @"Failed to register node, WrongClusterCA: the node does not trust the API server; launching again at 1970-01-01T00:01:06Z");
        insta::assert_snapshot!(world.backoff().expect("a wait"), @r#"{"level":1,"until":"1970-01-01T00:01:06Z","cause":"WrongClusterCA"}"#);
        let told = world.messages("FailedScheduling");
        insta::assert_snapshot!(told.join("\n"), @r#"Failed to schedule pod, incompatible with nodepool "general", its nodes do not register (WrongClusterCA), launching again at 1970-01-01T00:01:06Z"#);
        world.pass(550).await;
        assert_eq!(world.cloud.creates(), 5, "waits of 1, 2, 4, 8 minutes");
        world.cloud.fail_all(None);
        world.pass(480).await;
        let claim = world.claim_name();
        world.join(&claim);
        world.pass(5).await;
        assert_eq!(world.condition(&claim, "Registered"), "True");
        assert_eq!(world.backoff(), None);
        assert_eq!(
            world.health().0,
            "False",
            "one success in four is no health yet"
        );
        // The pool is open again: no second pod waits for the first one's node.
        world.bind("web", &format!("node-{claim}"));
        for name in ["a", "b", "c", "d"] {
            world.pending_pod(name);
        }
        world.pass(8).await;
        assert_eq!(world.claims().len(), 2);
    });
}

#[test]
fn a_new_controller_keeps_waiting() {
    run(async |mut world| {
        world.cloud.fail_all(Some(wrong_ca));
        world.pending_pod("web");
        world.pass(130).await;
        let (creates, backoff) = (world.cloud.creates(), world.backoff());
        assert_eq!(creates, 3);
        world.crash().await;
        world.start();
        world.pass(60).await;
        assert_eq!(world.cloud.creates(), creates);
        assert_eq!(world.backoff(), backoff);
        assert_eq!(world.health().0, "False");
        world.pass(120).await;
        assert_eq!(world.cloud.creates(), creates + 1);
    });
}

#[test]
fn a_changed_pool_or_class_is_tried_at_once() {
    for (path, generation) in [(POOL.to_owned(), 2), (format!("{CLASSES}/default"), 2)] {
        run(async move |world| {
            world.cloud.fail_all(Some(wrong_ca));
            world.pending_pod("web");
            world.pass(130).await;
            let creates = world.cloud.creates();
            let changed = json!({"metadata": {"generation": generation}});
            world.api.patch(&path, &changed);
            world.pass(4).await;
            assert_eq!(world.cloud.creates(), creates + 1, "{path}");
            assert_eq!(world.health().0, "Unknown");
        });
    }
}

#[test]
fn healthy_pools_say_so_and_do_not_wait_for_one_bad_machine() {
    run(async |world| {
        world.with_node().await;
        assert_eq!(world.health().0, "True");
        world.cloud.fail_later(wrong_ca());
        for name in ["a", "b", "c", "d"] {
            world.pending_pod(name);
        }
        world.pass(20).await;
        assert_eq!(world.cloud.creates(), 3);
        assert_eq!(
            (world.backoff(), world.health().0),
            (None, "True".to_owned())
        );
    });
}

#[test]
fn a_node_that_never_appears_has_fifteen_minutes() {
    run(async |world| {
        world.pending_pod("web");
        world.pass(8).await;
        let claim = world.claim_name();
        world.pass(880).await;
        assert_eq!(world.claim_name(), claim);
        world.pass(60).await;
        assert_ne!(world.claim_name(), claim);
        assert_eq!(
            world.disrupted("registration_timeout", "on-demand"),
            Some(1.0)
        );
        // The second one in a row: the pool waits.
        world.pass(900).await;
        assert_eq!(world.health().0, "False");
        assert!(
            world
                .backoff()
                .expect("a wait")
                .contains("RegistrationTimeout")
        );
    });
}

#[test]
fn a_launch_that_never_succeeds_has_five_minutes() {
    run(async |world| {
        world.cloud.refuse_all(Some(|| CreateError::Refused {
            reason: "SubnetFull",
            message: "no address is left".to_owned(),
        }));
        world.pending_pod("web");
        world.pass(8).await;
        let claim = world.claim_name();
        world.pass(280).await;
        assert_eq!(world.claim_name(), claim);
        // Tries are up to a minute apart by then.
        world.pass(70).await;
        assert_ne!(world.claim_name(), claim);
        assert_eq!(world.disrupted("launch_timeout", ""), Some(1.0));
        world.pass(360).await;
        assert_eq!(world.health().0, "False");
        assert!(
            world.health().1.contains("SubnetFull"),
            "{:?}",
            world.health()
        );
    });
}
