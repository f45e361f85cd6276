//! What every reconciler shares: ports, caches, queues.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use controller_api::karpenter::v1::{NodeClaim, NodeClassReference, NodePool};
use controller_cluster::{ClusterState, Kind, Object};
use controller_core::model::{InstanceType, NodeClaimName, NodeClassName, NodePoolName};
use controller_core::mutants::{self, Mutant};
use controller_core::scheduling::CompiledCatalogs;
use controller_operator::{QueueSettings, WorkQueue};
use controller_ports::{Clock, CloudProvider, CpuPool, Entropy, Instance, NodeClass};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use rand_chacha::ChaCha8Rng;

use crate::batcher::Batcher;
use crate::catalogs::{Catalogs, same_catalogs, sold_otherwise};
use crate::disruption::Commands;
use crate::error::chain;
use crate::events::Events;
use crate::informers::{Source, take_node};
use crate::metrics::Metrics;
use crate::node::Evictions;
use crate::nodeclaim::DriftMemo;
use crate::nodeclass::Written;
use crate::nodepool::Registrations;
use crate::objects::{Objects, is_deleting};
use crate::options::Options;
use crate::queue::Next;
use crate::wakes::Wakes;

/// Version of the NodeClass that is watched; upstream's storage version.
const NODE_CLASS_VERSION: &str = "v1beta1";

/// Shared by all tasks of one incarnation; a new leader starts with an empty one.
pub(crate) struct Context {
    pub(crate) kube: kube::Client,
    pub(crate) provider: Arc<dyn CloudProvider>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) cpu: Arc<dyn CpuPool>,
    pub(crate) options: Options,
    pub(crate) metrics: Metrics,
    pub(crate) events: Events,
    pub(crate) queues: Queues,
    pub(crate) batcher: Batcher,
    pub(crate) wakes: Wakes,
    /// Held from the snapshot to the last created claim: two decisions never spend the same
    /// limit or the same free node.
    pub(crate) decision: tokio::sync::Mutex<()>,
    pub(crate) commands: Mutex<Commands>,
    pub(crate) evictions: Mutex<Evictions>,
    pub(crate) drift: Mutex<DriftMemo>,
    registrations: Mutex<Registrations>,
    pub(crate) names: Mutex<ChaCha8Rng>,
    class_statuses: Mutex<Written>,
    cluster: Mutex<ClusterState>,
    objects: Mutex<Objects>,
    /// NodeClasses as the provider wants them, by name. Bounded by their number.
    wanted_classes: Mutex<BTreeMap<String, (Arc<DynamicObject>, NodeClass)>>,
    catalogs: Mutex<Catalogs>,
    /// The same, compiled by the last decision for the next one.
    compiled: Mutex<CompiledCatalogs>,
    /// Answers of the provider by claim UID, until the claim's status holds them: protects from
    /// asking twice when the status could not be written.
    launched: Mutex<BTreeMap<String, Instance>>,
    /// Claims whose pods came or went since their status was last written.
    pod_events: Mutex<BTreeMap<String, Timestamp>>,
}

/// Work by object name.
#[derive(Debug)]
pub(crate) struct Queues {
    pub(crate) claims: WorkQueue<String>,
    pub(crate) nodes: WorkQueue<String>,
    pub(crate) pools: WorkQueue<String>,
    pub(crate) classes: WorkQueue<String>,
}

impl Queues {
    fn new(clock: &Arc<dyn Clock>, entropy: &Entropy) -> Self {
        let queue = |name, concurrency, first, max| {
            let settings = QueueSettings {
                concurrency,
                backoff_min: Duration::from_millis(first),
                backoff_max: Duration::from_secs(max),
            };
            WorkQueue::new(name, settings, Arc::clone(clock), entropy)
        };
        // Upstream's bounds (`pkg/controllers/nodeclaim/lifecycle`, `node/termination`,
        // `nodepool`). A launch holds its place until the cloud has answered.
        Self {
            claims: queue("nodeclaim", 1_000, 1_000, 60),
            nodes: queue("node", 100, 100, 10),
            pools: queue("nodepool", 10, 100, 60),
            classes: queue("nodeclass", 10, 1_000, 60),
        }
    }
}

/// What a context is built from.
pub(crate) struct Parts {
    pub(crate) kube: kube::Client,
    pub(crate) provider: Arc<dyn CloudProvider>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) cpu: Arc<dyn CpuPool>,
    pub(crate) entropy: Entropy,
    pub(crate) options: Options,
    pub(crate) metrics: Metrics,
    pub(crate) events: Events,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Context {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            queues: Queues::new(&parts.clock, &parts.entropy),
            batcher: Batcher::new(parts.options.batch_idle, parts.options.batch_max),
            wakes: Wakes::new(parts.clock.monotonic()),
            decision: tokio::sync::Mutex::new(()),
            commands: Mutex::default(),
            evictions: Mutex::default(),
            drift: Mutex::default(),
            registrations: Mutex::default(),
            names: Mutex::new(parts.entropy.stream("nodeclaim-names")),
            class_statuses: Mutex::default(),
            cluster: Mutex::default(),
            objects: Mutex::default(),
            wanted_classes: Mutex::default(),
            catalogs: Mutex::default(),
            compiled: Mutex::default(),
            launched: Mutex::default(),
            pod_events: Mutex::default(),
            kube: parts.kube,
            provider: parts.provider,
            clock: parts.clock,
            cpu: parts.cpu,
            options: parts.options,
            metrics: parts.metrics,
            events: parts.events,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The mirror. Never hold the guard across an await.
    pub(crate) fn cluster(&self) -> MutexGuard<'_, ClusterState> {
        lock(&self.cluster)
    }

    /// The typed caches. Never hold the guard across an await, nor together with the mirror's.
    pub(crate) fn objects(&self) -> MutexGuard<'_, Objects> {
        lock(&self.objects)
    }

    pub(crate) fn commands(&self) -> MutexGuard<'_, Commands> {
        lock(&self.commands)
    }

    pub(crate) fn evictions(&self) -> MutexGuard<'_, Evictions> {
        lock(&self.evictions)
    }

    pub(crate) fn drift(&self) -> MutexGuard<'_, DriftMemo> {
        lock(&self.drift)
    }

    pub(crate) fn registrations(&self) -> MutexGuard<'_, Registrations> {
        lock(&self.registrations)
    }

    pub(crate) fn class_statuses(&self) -> MutexGuard<'_, Written> {
        lock(&self.class_statuses)
    }

    pub(crate) fn claim(&self, name: &str) -> Option<Arc<NodeClaim>> {
        self.objects().claims.get(name)
    }

    pub(crate) fn node(&self, name: &str) -> Option<Arc<Node>> {
        self.objects().nodes.get(name)
    }

    pub(crate) fn pool(&self, name: &str) -> Option<Arc<NodePool>> {
        self.objects().pools.get(name)
    }

    pub(crate) fn class(&self, name: &str) -> Option<Arc<DynamicObject>> {
        self.objects().classes.get(name)
    }

    /// Nodes with this provider id.
    pub(crate) fn nodes_of(&self, provider_id: &str) -> Vec<Arc<Node>> {
        self.objects().nodes_of(provider_id)
    }

    /// Claims with this provider id.
    pub(crate) fn claims_of(&self, provider_id: &str) -> Vec<Arc<NodeClaim>> {
        self.objects().claims_of(provider_id)
    }

    /// The one claim of a node; `None` when there is none, or more than one.
    pub(crate) fn claim_of_node(&self, node: &Node) -> Option<Arc<NodeClaim>> {
        self.objects().claim_of_node(node)
    }

    /// Whether objects that refer to this NodeClass are ours.
    pub(crate) fn is_managed(&self, reference: &NodeClassReference) -> bool {
        (reference.group.as_str(), reference.kind.as_str()) == self.provider.node_class_kind()
    }

    /// Key of the label that carries the NodeClass's name; its presence makes a Node managed.
    pub(crate) fn class_label(&self) -> String {
        let (group, kind) = self.provider.node_class_kind();
        format!("{group}/{}", kind.to_lowercase())
    }

    pub(crate) fn class_resource(&self) -> ApiResource {
        let (group, kind) = self.provider.node_class_kind();
        ApiResource::from_gvk(&GroupVersionKind::gvk(group, NODE_CLASS_VERSION, kind))
    }

    // What was observed

    /// Takes the answer to a write of ours into the caches, before the watch shows it.
    pub(crate) fn observe_claim(&self, mut claim: NodeClaim) {
        claim.metadata.managed_fields = None;
        let name = claim.name_any();
        if self.objects().put_claim(claim, true) {
            self.mirror_claim(&name);
        }
    }

    /// Takes a claim that we created.
    pub(crate) fn adopt_claim(&self, mut claim: NodeClaim) {
        claim.metadata.managed_fields = None;
        let name = claim.name_any();
        self.objects().put_claim(claim, false);
        self.mirror_claim(&name);
        self.queues.claims.add(name);
    }

    /// Brings the mirror up to date with the cached claim.
    pub(crate) fn mirror_claim(&self, name: &str) {
        if let Some(claim) = self.claim(name) {
            self.apply(&Object::NodeClaim(&claim));
        }
    }

    /// Takes the answer to a write of ours into the caches, before the watch shows it.
    pub(crate) fn observe_node(&self, node: Node) {
        take_node(self, node, Source::Answer);
    }

    pub(crate) fn forget_claim(&self, name: &str) {
        let removed = self.objects().remove_claim(name);
        self.delete(Kind::NodeClaim, "", name);
        if let Some(uid) = removed.and_then(|claim| claim.uid()) {
            lock(&self.launched).remove(&uid);
            self.registrations().forget_claim(&uid);
        }
        lock(&self.pod_events).remove(name);
        self.drift().forget(name);
    }

    pub(crate) fn forget_node(&self, name: &str) {
        self.objects().remove_node(name);
        self.delete(Kind::Node, "", name);
    }

    /// Feeds the mirror, and wakes the loops when a decision could change.
    pub(crate) fn apply(&self, object: &Object<'_>) {
        let (before, result, after) = {
            let mut cluster = self.cluster();
            let before = cluster.changes();
            let result = cluster.apply(object);
            (before, result, cluster.changes())
        };
        if let Err(invalid) = result {
            tracing::error!(error = %chain(&invalid), "object cannot be used");
        }
        if before != after {
            self.wake();
        }
    }

    /// Takes an object out of the mirror, and wakes the loops when a decision could change.
    pub(crate) fn delete(&self, kind: Kind, namespace: &str, name: &str) {
        let changed = {
            let mut cluster = self.cluster();
            let before = cluster.changes();
            cluster.delete(kind, namespace, name);
            before != cluster.changes()
        };
        if changed {
            self.wake();
        }
    }

    /// A pod came to the claim's node, or went.
    pub(crate) fn note_pod_event(&self, claim: &str, now: Timestamp) {
        lock(&self.pod_events).insert(claim.to_owned(), now);
        self.queues.claims.add(claim.to_owned());
    }

    pub(crate) fn take_pod_event(&self, claim: &str) -> Option<Timestamp> {
        lock(&self.pod_events).remove(claim)
    }

    // Launches

    pub(crate) fn launched(&self, uid: &str) -> Option<Instance> {
        lock(&self.launched).get(uid).cloned()
    }

    pub(crate) fn remember_launch(&self, uid: &str, instance: &Instance) {
        lock(&self.launched).insert(uid.to_owned(), instance.clone());
    }

    pub(crate) fn forget_launch(&self, uid: &str) {
        lock(&self.launched).remove(uid);
    }

    // Catalogues

    /// The NodeClass as the provider wants it.
    pub(crate) fn node_class(&self, name: &str) -> Option<NodeClass> {
        let object = self.class(name)?;
        let mut wanted = lock(&self.wanted_classes);
        if let Some((of, class)) = wanted.get(name)
            && Arc::ptr_eq(of, &object)
        {
            return Some(class.clone());
        }
        let class = NodeClass {
            name: NodeClassName::new(name),
            object: Arc::new(serde_json::to_value(&*object).ok()?),
        };
        wanted.retain(|name, _| self.class(name).is_some());
        wanted.insert(name.to_owned(), (object, class.clone()));
        Some(class)
    }

    /// Instance types of a NodeClass, as last fetched.
    pub(crate) fn catalog(&self, class: &NodeClassName) -> Option<Arc<Vec<InstanceType>>> {
        lock(&self.catalogs).get(class).cloned()
    }

    /// Catalogues that earlier decisions have compiled.
    pub(crate) fn compiled(&self) -> CompiledCatalogs {
        lock(&self.compiled).clone()
    }

    /// Keeps what a decision has compiled.
    pub(crate) fn keep_compiled(&self, compiled: CompiledCatalogs) {
        *lock(&self.compiled) = compiled;
    }

    /// Fetches the instance types of every NodeClass. A class that is not ready, or whose types
    /// cannot be had now, is left out: its pools cannot launch.
    pub(crate) async fn fetch_catalogs(&self) -> Catalogs {
        let names: Vec<String> = self.objects().classes.keys().cloned().collect();
        let mut catalogs = Catalogs::new();
        for name in names {
            let Some(class) = self.node_class(&name) else {
                continue;
            };
            match self.provider.instance_types(&class).await {
                Ok(types) => {
                    catalogs.insert(class.name, types);
                }
                Err(error) => {
                    tracing::debug!(nodeclass = name, error = %chain(&error), "no instance types");
                }
            }
        }
        let (changed, sold_otherwise) = {
            let mut known = lock(&self.catalogs);
            if mutants::is(Mutant::CatalogsLag) && !known.is_empty() {
                std::mem::swap(&mut *known, &mut catalogs);
                return catalogs;
            }
            let changed = !same_catalogs(&known, &catalogs);
            let sold_otherwise = if changed {
                sold_otherwise(&known, &catalogs)
            } else {
                BTreeSet::new()
            };
            known.clone_from(&catalogs);
            (changed, sold_otherwise)
        };
        if changed {
            self.wake();
        }
        self.review_claims(&sold_otherwise);
        catalogs
    }

    /// Looks at the claims of these NodeClasses again: what they are made of may not be sold any
    /// more.
    fn review_claims(&self, classes: &BTreeSet<NodeClassName>) {
        if classes.is_empty() {
            return;
        }
        for claim in self.managed_claims() {
            if classes.contains(&NodeClassName::new(&*claim.spec.node_class_ref.name)) {
                self.queues.claims.add(claim.name_any());
            }
        }
    }

    // Time

    /// Look again at this time.
    pub(crate) fn at(&self, time: Timestamp) -> Next {
        let wait = time.duration_since(self.now());
        // Not before the clock shows it: timers round up to a millisecond.
        Next::After(Duration::try_from(wait).unwrap_or_default())
    }

    /// Claims without an instance: while there are any, capacity in flight is unknown.
    pub(crate) fn unlaunched(&self) -> Vec<NodeClaimName> {
        let mut names = self.cluster().unlaunched();
        // Claims of another controller are not ours to wait for.
        names.retain(|name| {
            let claim = self.claim(name.as_str());
            claim.is_some_and(|claim| self.is_managed(&claim.spec.node_class_ref))
        });
        names
    }

    /// Pools that are managed and not being deleted, by name.
    pub(crate) fn managed_pools(&self) -> Vec<Arc<NodePool>> {
        let pools: Vec<_> = self.objects().pools.values().cloned().collect();
        pools
            .into_iter()
            .filter(|pool| self.is_managed(&pool.spec.template.spec.node_class_ref))
            .filter(|pool| !is_deleting(&**pool))
            .collect()
    }

    /// Names of managed claims, by name.
    pub(crate) fn managed_claims(&self) -> Vec<Arc<NodeClaim>> {
        let claims: Vec<_> = self.objects().claims.values().cloned().collect();
        claims
            .into_iter()
            .filter(|claim| self.is_managed(&claim.spec.node_class_ref))
            .collect()
    }

    /// Claims of a pool.
    pub(crate) fn claims_of_pool(&self, pool: &NodePoolName) -> BTreeSet<String> {
        let cluster = self.cluster();
        cluster
            .claims()
            .filter(|claim| claim.view.pool == *pool)
            .map(|claim| claim.view.name.to_string())
            .collect()
    }
}

/// `time - duration`, at least the first representable time.
pub(crate) fn earlier(time: Timestamp, duration: Duration) -> Timestamp {
    SignedDuration::try_from(duration)
        .ok()
        .and_then(|signed| time.checked_sub(signed).ok())
        .unwrap_or(Timestamp::MIN)
}

/// `time + duration`, at most the last representable time.
pub(crate) fn later(time: Timestamp, duration: Duration) -> Timestamp {
    SignedDuration::try_from(duration)
        .ok()
        .and_then(|signed| time.checked_add(signed).ok())
        .unwrap_or(Timestamp::MAX)
}
