//! Resources the components know, and who the components are.

use crate::api::Resource;

const fn core(plural: &'static str) -> Resource {
    Resource {
        group: "",
        version: "v1",
        plural,
    }
}

const fn of(group: &'static str, version: &'static str, plural: &'static str) -> Resource {
    Resource {
        group,
        version,
        plural,
    }
}

pub(crate) const CONFIG_MAPS: Resource = core("configmaps");
pub(crate) const CONTROLLER_REVISIONS: Resource = of("apps", "v1", "controllerrevisions");
pub(crate) const CRDS: Resource = of("apiextensions.k8s.io", "v1", "customresourcedefinitions");
pub(crate) const DAEMON_SETS: Resource = of("apps", "v1", "daemonsets");
pub(crate) const DEPLOYMENTS: Resource = of("apps", "v1", "deployments");
pub(crate) const EVENTS: Resource = core("events");
pub(crate) const LEASES: Resource = of("coordination.k8s.io", "v1", "leases");
pub(crate) const NAMESPACES: Resource = core("namespaces");
pub(crate) const NODES: Resource = core("nodes");
pub(crate) const PODS: Resource = core("pods");
pub(crate) const PDBS: Resource = of("policy", "v1", "poddisruptionbudgets");
pub(crate) const REPLICA_SETS: Resource = of("apps", "v1", "replicasets");
pub(crate) const REPLICATION_CONTROLLERS: Resource = core("replicationcontrollers");
/// The newer view of Events, which the scheduler writes.
pub(crate) const SCHEDULER_EVENTS: Resource = of("events.k8s.io", "v1", "events");
pub(crate) const SECRETS: Resource = core("secrets");
pub(crate) const SERVICE_ACCOUNTS: Resource = core("serviceaccounts");
pub(crate) const SERVICES: Resource = core("services");
pub(crate) const STATEFUL_SETS: Resource = of("apps", "v1", "statefulsets");

/// Who the components are: user names as they appear in requests, for bootstrap RBAC and traces.
pub mod identities {
    use crate::api::Identity;

    /// `system:kube-scheduler`.
    pub fn scheduler() -> Identity {
        Identity::new("system:kube-scheduler", &[])
    }

    /// A controller of kube-controller-manager under `--use-service-account-credentials`:
    /// `system:serviceaccount:kube-system:NAME`.
    pub fn controller(name: &str) -> Identity {
        Identity::new(
            &format!("system:serviceaccount:kube-system:{name}"),
            &[
                "system:serviceaccounts",
                "system:serviceaccounts:kube-system",
            ],
        )
    }

    /// The kubelet of one node: `system:node:NAME` of group `system:nodes`.
    pub fn node(name: &str) -> Identity {
        Identity::new(&format!("system:node:{name}"), &["system:nodes"])
    }

    /// What the kubelets share for lists and watches. The node authorizer would show each kubelet
    /// its own objects; one stream for all of them costs the same as one kubelet.
    pub fn kubelets() -> Identity {
        Identity::new("system:apiserver", &["system:masters"])
    }

    /// Names under which [`controller`] identities act.
    pub const CONTROLLERS: [&str; 13] = [
        "cloud-controller-manager",
        "cloud-node-manager",
        "daemon-set-controller",
        "deployment-controller",
        "disruption-controller",
        "generic-garbage-collector",
        "namespace-controller",
        "node-controller",
        "node-problem-detector",
        "pod-garbage-collector",
        "replicaset-controller",
        "root-ca-cert-publisher",
        "service-account-controller",
    ];
}
