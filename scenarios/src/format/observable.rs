//! What can be observed: one table for the parser, the schema and the documentation.

/// What is counted. Truth comes from the API server's store and from the cloud, never from the
/// controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observable {
    /// Nodes of NodePools (agent-pool nodes carry no pool label and are left out).
    Nodes,
    /// Of these, Ready ones.
    NodesReady,
    /// Of these, unschedulable ones.
    NodesCordoned,
    /// NodeClaims.
    Claims,
    /// NodeClaims whose condition Ready is True.
    ClaimsReady,
    /// Pods outside kube-system.
    Pods,
    /// Pods whose phase is Running and that are not being deleted.
    PodsRunning,
    /// Pods whose phase is Pending and that are not being deleted.
    PodsPending,
    /// Virtual machines of NodePools.
    Vms,
    /// Network interfaces made for machines of NodePools.
    Nics,
    /// Disks made for machines of NodePools.
    Disks,
    /// US dollars per hour of the machines that `vms` counts.
    Cost,
    /// Kubernetes Events, by `reason`, `type`, a part of the `message`, and `kind` and `name` of
    /// their object; repeated ones count once per occurrence.
    Events,
    /// Conditions of objects, by `kind`, `name`, `type`, `status`, `reason`, a part of the
    /// `message`.
    Conditions,
    /// Machines of NodePools that were ever requested.
    Launches,
    /// Machines of NodePools that are gone.
    Terminations,
    /// Spot machines of NodePools that were told to go.
    Preemptions,
    /// Pods evicted through the eviction API.
    Evictions,
    /// Requests that the controller has sent.
    Requests,
}

/// How an observable moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number of things that exist now.
    Level,
    /// A number that only grows.
    Counter,
    /// Dollars per hour.
    Money,
}

impl Kind {
    /// As documentation spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Level => "count",
            Self::Counter => "counter",
            Self::Money => "dollars per hour",
        }
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) observable: Observable,
    pub(crate) kind: Kind,
    /// Keys that may stand in parentheses.
    pub(crate) filters: &'static [&'static str],
    /// Whether labels may, too.
    pub(crate) labels: bool,
    pub(crate) meaning: &'static str,
}

const MACHINE: &[&str] = &["pool", "size", "zone", "capacity", "name"];
const POD: &[&str] = &["namespace", "name", "node"];
const EVENT: &[&str] = &["reason", "kind", "name", "type", "message"];
const CONDITION: &[&str] = &["kind", "name", "type", "status", "reason", "message"];

const fn level(
    name: &'static str,
    observable: Observable,
    filters: &'static [&'static str],
    meaning: &'static str,
) -> Row {
    Row {
        name,
        observable,
        kind: Kind::Level,
        filters,
        labels: true,
        meaning,
    }
}

const fn counter(
    name: &'static str,
    observable: Observable,
    filters: &'static [&'static str],
    meaning: &'static str,
) -> Row {
    Row {
        kind: Kind::Counter,
        ..level(name, observable, filters, meaning)
    }
}

const fn without_labels(row: Row) -> Row {
    Row {
        labels: false,
        ..row
    }
}

/// Every observable by the name scenarios use.
pub(crate) const OBSERVABLES: [Row; 19] = [
    level("nodes", Observable::Nodes, MACHINE, "nodes of NodePools"),
    level(
        "nodes.ready",
        Observable::NodesReady,
        MACHINE,
        "nodes of NodePools that are Ready",
    ),
    level(
        "nodes.cordoned",
        Observable::NodesCordoned,
        MACHINE,
        "nodes of NodePools that are marked unschedulable",
    ),
    level("claims", Observable::Claims, MACHINE, "NodeClaims"),
    level(
        "claims.ready",
        Observable::ClaimsReady,
        MACHINE,
        "NodeClaims that are Ready",
    ),
    level("pods", Observable::Pods, POD, "pods outside kube-system"),
    level(
        "pods.running",
        Observable::PodsRunning,
        POD,
        "running pods outside kube-system",
    ),
    level(
        "pods.pending",
        Observable::PodsPending,
        POD,
        "pending pods outside kube-system",
    ),
    level(
        "vms",
        Observable::Vms,
        MACHINE,
        "virtual machines of NodePools",
    ),
    without_labels(level(
        "nics",
        Observable::Nics,
        &[],
        "network interfaces of such machines",
    )),
    without_labels(level(
        "disks",
        Observable::Disks,
        &[],
        "disks of such machines",
    )),
    Row {
        kind: Kind::Money,
        ..level(
            "cost",
            Observable::Cost,
            MACHINE,
            "US dollars per hour of such machines",
        )
    },
    without_labels(counter(
        "events",
        Observable::Events,
        EVENT,
        "Kubernetes Events; message: a part of it",
    )),
    without_labels(level(
        "conditions",
        Observable::Conditions,
        CONDITION,
        "conditions of NodeClaims, NodePools, AKSNodeClasses, Nodes and Pods; message: a part of it",
    )),
    counter(
        "launches",
        Observable::Launches,
        MACHINE,
        "machines of NodePools that were ever requested",
    ),
    counter(
        "terminations",
        Observable::Terminations,
        MACHINE,
        "machines of NodePools that are gone",
    ),
    counter(
        "preemptions",
        Observable::Preemptions,
        MACHINE,
        "spot machines of NodePools that were told to go",
    ),
    counter(
        "evictions",
        Observable::Evictions,
        POD,
        "pods that were evicted through the eviction API",
    ),
    without_labels(counter(
        "requests",
        Observable::Requests,
        &[],
        "requests that the controller has sent",
    )),
];

/// The row of an observable.
pub(crate) fn row(observable: Observable) -> &'static Row {
    OBSERVABLES
        .iter()
        .find(|row| row.observable == observable)
        .unwrap_or(&OBSERVABLES[0])
}
