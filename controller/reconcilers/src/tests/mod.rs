//! The reconcilers against a small API server and a small cloud, in virtual time.

mod registration;
mod repair;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use controller_operator::{Metrics, Name, Shutdown, Tasks};
use controller_ports::{Clock, CpuPool, CreateError, Entropy, Job, Ports, Transport};
use serde_json::{Value, json};

use crate::testing::{ApiServer, Cloud, TestClock};
use crate::{Deps, Options, Reconcilers};

const POOLS: &str = "/apis/karpenter.sh/v1/nodepools";
const CLAIMS: &str = "/apis/karpenter.sh/v1/nodeclaims";
const CLASSES: &str = "/apis/karpenter.azure.com/v1beta1/aksnodeclasses";
const NODES: &str = "/api/v1/nodes";
const PODS: &str = "/api/v1/namespaces/default/pods";
const EVENTS: &str = "/api/v1/events";

#[derive(Debug)]
struct Inline;

impl CpuPool for Inline {
    fn execute(&self, job: Job) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move { job() })
    }
}

/// A cluster whose scheduler and kubelets are the test.
struct World {
    clock: Arc<TestClock>,
    api: ApiServer,
    cloud: Arc<Cloud>,
    metrics: Metrics,
    options: Options,
    incarnation: u64,
    running: Option<(Shutdown, tokio::task::JoinHandle<()>)>,
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(TestClock::default());
        let api = ApiServer::new(Arc::clone(&clock));
        api.create(
            CLASSES,
            json!({
                "apiVersion": "karpenter.azure.com/v1beta1", "kind": "AKSNodeClass",
                "metadata": {"name": "default"}, "spec": {},
            }),
        );
        api.create(POOLS, json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": "general"},
            "spec": {
                "template": {"spec": {
                    "nodeClassRef": {"group": "karpenter.azure.com", "kind": "AKSNodeClass", "name": "default"},
                    "requirements": [], "expireAfter": "Never",
                }},
                "disruption": {"consolidateAfter": "30s", "consolidationPolicy": "WhenEmptyOrUnderutilized",
                    "budgets": [{"nodes": "100%"}]},
            },
        }));
        let cloud = Arc::new(Cloud::new(Arc::clone(&clock)));
        let mut world = Self {
            clock,
            api,
            cloud,
            metrics: Metrics::new(),
            options: Options::defaults("kube-system"),
            incarnation: 0,
            running: None,
        };
        world.start();
        world
    }

    /// Starts the controller, with nothing in memory.
    #[expect(clippy::disallowed_methods, reason = "the test is the runtime's owner")]
    fn start(&mut self) {
        self.incarnation += 1;
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        let entropy = Entropy::from_seed(self.incarnation);
        let (events, writer) = controller_operator::events::recorder(
            "karpenter",
            "test",
            Arc::clone(&clock),
            &entropy,
            self.metrics.clone(),
        );
        let shutdown = Shutdown::new();
        let deps = Deps {
            kube: self.api.client(),
            provider: Arc::clone(&self.cloud) as _,
            ports: Ports {
                clock,
                entropy,
                kube: Transport::new(self.api.clone()),
                arm: Transport::new(self.api.clone()),
                spawner: Arc::new(Tasks::new()),
                cpu: Arc::new(Inline),
            },
            metrics: self.metrics.clone(),
            events,
            options: self.options.clone(),
        };
        let (client, signal) = (self.api.client(), shutdown.clone());
        let run = Reconcilers::new(deps).run(shutdown.clone());
        let task = tokio::spawn(async move {
            futures::future::join(run, writer.run(client, signal)).await;
        });
        self.running = Some((shutdown, task));
    }

    /// Ends the controller at once, in the middle of whatever it does.
    async fn crash(&mut self) {
        if let Some((_, task)) = self.running.take() {
            task.abort();
            drop(task.await);
        }
    }

    async fn pass_millis(&self, milliseconds: u64) {
        self.clock.sleep(Duration::from_millis(milliseconds)).await;
    }

    async fn pass(&self, seconds: u64) {
        self.clock.sleep(Duration::from_secs(seconds)).await;
    }

    fn pending_pod(&self, name: &str) {
        self.api.create(PODS, json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}]},
            "status": {"phase": "Pending", "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
            ]},
        }));
    }

    fn bind(&self, pod: &str, node: &str) {
        self.api.patch(&format!("{PODS}/{pod}"), &json!({
            "spec": {"nodeName": node},
            "status": {"phase": "Running", "conditions": [{"type": "PodScheduled", "status": "True"}]},
        }));
    }

    /// What a kubelet does when the claim's instance boots.
    fn join(&self, claim: &str) {
        self.api.create(NODES, json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": format!("node-{claim}"), "labels": {"karpenter.sh/nodepool": "general"}},
            "spec": {"providerID": format!("azure:///vm/{claim}"),
                "taints": [{"key": "karpenter.sh/unregistered", "effect": "NoExecute"}]},
            "status": {
                "capacity": {"cpu": "4", "memory": "16Gi", "pods": "110"},
                "allocatable": {"cpu": "4", "memory": "16Gi", "pods": "110"},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }));
    }

    fn claims(&self) -> Vec<Value> {
        self.api.list(CLAIMS)
    }

    fn claim_name(&self) -> String {
        let claims = self.claims();
        assert_eq!(claims.len(), 1, "{claims:#?}");
        claims[0]["metadata"]["name"]
            .as_str()
            .expect("a name")
            .to_owned()
    }

    fn condition(&self, claim: &str, type_: &str) -> String {
        let claim = self
            .api
            .get(&format!("{CLAIMS}/{claim}"))
            .expect("the claim");
        let conditions = claim["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let found = conditions
            .iter()
            .find(|condition| condition["type"] == type_);
        found.map_or("absent".to_owned(), |c| {
            c["status"].as_str().unwrap_or("?").to_owned()
        })
    }

    fn reasons(&self) -> Vec<String> {
        let mut reasons: Vec<String> = self
            .api
            .list(EVENTS)
            .iter()
            .map(|event| event["reason"].as_str().unwrap_or("?").to_owned())
            .collect();
        reasons.sort();
        reasons.dedup();
        reasons
    }

    /// One pod that runs on a new node; gives the claim's name.
    async fn with_node(&self) -> String {
        self.pending_pod("web");
        self.pass(8).await;
        let claim = self.claim_name();
        assert_eq!(self.condition(&claim, "Launched"), "True");
        self.join(&claim);
        self.pass(2).await;
        self.bind("web", &format!("node-{claim}"));
        self.pass(5).await;
        assert_eq!(self.condition(&claim, "Ready"), "True");
        claim
    }
}

fn run<F: Future<Output = ()>>(test: impl FnOnce(World) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async { test(World::new()).await });
}

#[test]
fn a_pending_pod_gets_a_node_and_an_empty_node_goes() {
    run(async |world| {
        let claim = world.with_node().await;
        let node = world
            .api
            .get(&format!("{NODES}/node-{claim}"))
            .expect("a node");
        assert_eq!(
            node["metadata"]["labels"]["karpenter.sh/initialized"],
            "true"
        );
        assert_eq!(
            node["metadata"]["finalizers"],
            json!(["karpenter.sh/termination"])
        );
        assert_eq!(node["spec"]["taints"], json!([]));
        let pool = world.api.get(&format!("{POOLS}/general")).expect("a pool");
        world.pass(10).await;
        assert_eq!(
            pool["metadata"]["annotations"]["karpenter.sh/nodepool-hash-version"],
            "v3"
        );
        let pool = world.api.get(&format!("{POOLS}/general")).expect("a pool");
        assert_eq!(
            (
                &pool["status"]["nodes"],
                &pool["status"]["resources"]["cpu"]
            ),
            (&json!(1), &json!("4"))
        );
        world.pass(300).await;
        assert_eq!(
            world.cloud.instances(),
            std::slice::from_ref(&claim),
            "a busy node stays"
        );
        world.api.delete(&format!("{PODS}/web"));
        world.pass(180).await;
        assert_eq!(world.claims(), [] as [Value; 0]);
        assert_eq!(world.api.list(NODES), [] as [Value; 0]);
        assert_eq!(
            (world.cloud.instances().len(), world.cloud.creates()),
            (0, 1)
        );
        let reasons = world.reasons();
        for reason in [
            "Nominated",
            "Provisioned",
            "Launched",
            "Registered",
            "Initialized",
            "DisruptionTerminating",
            "Finalized",
        ] {
            assert!(
                reasons.iter().any(|known| known == reason),
                "{reason} in {reasons:?}"
            );
        }
        assert_eq!(
            world.metrics.value(
                Name::NodeClaimsTerminated,
                &["general", "on-demand", "westeurope-1"]
            ),
            Some(1.0)
        );
    });
}

#[test]
fn a_refused_launch_is_tried_again_with_another_claim() {
    run(async |world| {
        world.cloud.refuse(1);
        world.pending_pod("web");
        world.pass(60).await;
        let claim = world.claim_name();
        assert_eq!(world.cloud.instances(), [claim]);
        assert!(
            world
                .reasons()
                .contains(&"InsufficientCapacityError".to_owned())
        );
    });
}

#[test]
fn a_launch_that_fails_later_says_why_and_is_replaced() {
    run(async |world| {
        world.cloud.fail_later(CreateError::Refused {
            reason: "BootstrapFailed",
            message: "the token was refused".to_owned(),
        });
        world.pending_pod("web");
        world.pass(12).await;
        let claims = world.claims();
        let reason = claims
            .iter()
            .flat_map(|claim| {
                claim["status"]["conditions"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default()
            })
            .find(|condition| condition["type"] == "Registered" && condition["status"] == "False");
        assert_eq!(reason.expect("a verdict")["reason"], "BootstrapFailed");
        world.pass(60).await;
        assert_eq!(world.cloud.instances(), [world.claim_name()]);
    });
}

#[test]
fn garbage_is_collected_both_ways() {
    run(async |world| {
        let claim = world.with_node().await;
        world.cloud.stray("nobody");
        world.pass(150).await;
        assert_eq!(
            world.cloud.instances(),
            std::slice::from_ref(&claim),
            "the stray is gone"
        );
        world.cloud.lose(&claim);
        world.api.patch(
            &format!("{NODES}/node-{claim}"),
            &json!({
                "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]},
            }),
        );
        world.api.delete(&format!("{PODS}/web"));
        world.pass(200).await;
        assert_eq!((world.claims().len(), world.api.list(NODES).len()), (0, 0));
    });
}

#[test]
fn an_announced_interruption_drains_the_node() {
    run(async |world| {
        let claim = world.with_node().await;
        world.api.patch(
            &format!("{NODES}/node-{claim}"),
            &json!({"status": {"conditions": [
                {"type": "Ready", "status": "True"},
                {"type": "PreemptionScheduled", "status": "True",
                    "message": "Preempt scheduled not before 1970-01-01T00:01:00Z"},
            ]}}),
        );
        world.pass(60).await;
        assert_eq!(world.api.list(PODS).len(), 0, "evicted");
        assert_eq!(world.api.list(NODES).len(), 0);
        assert!(world.reasons().contains(&"SpotInterrupted".to_owned()));
    });
}

#[test]
fn a_new_controller_takes_up_what_a_crash_left() {
    let total = live_and_die(None);
    assert!(total > 15, "{total} writes");
    for writes in 0..total {
        live_and_die(Some(writes));
    }
}

/// A node's whole life, with a crash after so many writes; counts the writes.
fn live_and_die(crash_after: Option<usize>) -> usize {
    let count = Arc::new(AtomicUsize::new(0));
    let writes = Arc::clone(&count);
    run(async move |mut world| {
        world.api.hang_after(crash_after.unwrap_or(usize::MAX));
        world.pending_pod("web");
        let (mut joined, mut left) = (false, false);
        for _ in 0..10_000_u32 {
            world.pass_millis(100).await;
            if world.api.is_hanging() {
                world.crash().await;
                world.api.hang_after(usize::MAX);
                world.start();
            }
            let claims = world.claims();
            if !joined && let Some(claim) = claims.iter().find(|c| is_launched(c)) {
                world.join(claim["metadata"]["name"].as_str().expect("a name"));
                joined = true;
            }
            let nodes = world.api.list(NODES);
            let is_initialized =
                |n: &Value| n["metadata"]["labels"]["karpenter.sh/initialized"] == "true";
            if !left && nodes.first().is_some_and(is_initialized) {
                world.api.delete(&format!("{PODS}/web"));
                left = true;
            }
            if left && claims.is_empty() && nodes.is_empty() {
                break;
            }
        }
        let left = (world.claims().len(), world.api.list(NODES).len());
        assert_eq!(left, (0, 0), "crash after {crash_after:?} writes");
        let made = (world.cloud.instances().len(), world.cloud.creates());
        assert_eq!(made, (0, 1), "crash after {crash_after:?} writes");
        writes.store(world.api.writes().len(), Ordering::Relaxed);
    });
    count.load(Ordering::Relaxed)
}

fn is_launched(claim: &Value) -> bool {
    claim["status"]["providerID"].is_string()
}
