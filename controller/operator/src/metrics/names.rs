//! Names of metrics, with type, labels and help.
//!
//! Sources: kubernetes-sigs/karpenter `pkg/metrics/*.go`, `pkg/controllers/**/metrics.go`,
//! `pkg/cloudprovider/metrics`; Azure/karpenter-provider-azure `pkg/providers/**/metrics.go`;
//! kubernetes-sigs/controller-runtime and k8s.io/client-go for their own series.

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations below each bound.
    Histogram(&'static [f64]),
    /// Quantiles of recent observations.
    Summary,
}

impl Kind {
    /// The type as the text format spells it.
    pub const fn type_name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
            Self::Summary => "summary",
        }
    }
}

/// A metric: name, type, labels in the order values are given in, help.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// Name as scraped.
    pub name: &'static str,
    /// Type.
    pub kind: Kind,
    /// Names of the labels.
    pub labels: &'static [&'static str],
    /// What it says, in one line.
    pub help: &'static str,
}

const DURATION: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9,
    1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 15.0, 20.0,
    25.0, 30.0, 40.0, 50.0, 60.0, 120.0, 150.0, 300.0, 450.0, 600.0,
];
/// The Prometheus client's default.
const DEFAULT: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// controller-runtime's, for reconciliations.
const RECONCILE: &[f64] = DURATION;
const EXP11: &[f64] = &[
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0,
];
const EXP12: &[f64] = &[
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0,
];
const SCORE: &[f64] = &[0.1, 0.25, 0.33, 0.5, 1.0, 2.0, 5.0, 10.0];
const M: f64 = 60.0;
const H: f64 = 3_600.0;
const D: f64 = 86_400.0;
const LIFETIME: &[f64] = &[
    15.0 * M,
    30.0 * M,
    45.0 * M,
    H,
    2.0 * H,
    4.0 * H,
    6.0 * H,
    8.0 * H,
    10.0 * H,
    12.0 * H,
    16.0 * H,
    20.0 * H,
    D,
    2.0 * D,
    3.0 * D,
    5.0 * D,
    10.0 * D,
    15.0 * D,
    20.0 * D,
    25.0 * D,
    30.0 * D,
];
/// 0.001 × 1.5^n, 20 buckets.
const CLIENT: &[f64] = &[
    0.001,
    0.0015,
    0.00225,
    0.003_375,
    0.005_062_5,
    0.007_593_75,
    0.011_390_625,
    0.017_085_937_5,
    0.025_628_906_25,
    0.038_443_359_375,
    0.057_665_039_062_5,
    0.086_497_558_593_75,
    0.129_746_337_890_625,
    0.194_619_506_835_937_5,
    0.291_929_260_253_906_25,
    0.437_893_890_380_859_4,
    0.656_840_835_571_289,
    0.985_261_253_356_933_6,
    1.477_891_880_035_400_4,
    2.216_837_820_053_100_6,
];

/// Declares the names: an enum, the list of all, and each one's [`Spec`].
macro_rules! metrics {
    ($($variant:ident = $name:literal, $kind:expr, [$($label:literal),*], $help:literal;)+) => {
        /// A metric. Labels are given by value, in the order of [`Spec::labels`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Name { $(#[doc = $help] $variant,)+ }

        impl Name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Name, type, labels and help.
            pub const fn spec(self) -> &'static Spec {
                match self {
                    $(Self::$variant => &Spec {
                        name: $name,
                        kind: $kind,
                        labels: &[$($label),*],
                        help: $help,
                    },)+
                }
            }
        }
    };
}

metrics! {
    NodeClaimsCreated = "karpenter_nodeclaims_created_total", Kind::Counter,
        ["reason", "nodepool", "min_values_relaxed"],
        "NodeClaims created, by why and for which NodePool.";
    NodeClaimsTerminated = "karpenter_nodeclaims_terminated_total", Kind::Counter,
        ["nodepool", "capacity_type", "zone"],
        "NodeClaims whose finalizer was removed.";
    NodeClaimsDisrupted = "karpenter_nodeclaims_disrupted_total", Kind::Counter,
        ["reason", "nodepool", "capacity_type", "consolidation_policy", "termination_mode"],
        "NodeClaims whose disruption began.";
    PodsDisruptionInitiated = "karpenter_pods_disruption_initiated_total", Kind::Counter,
        ["reason", "nodepool", "capacity_type", "consolidation_policy", "termination_mode"],
        "Pods that have to move because of a disruption.";
    NodeClaimsInstanceTerminationDuration = "karpenter_nodeclaims_instance_termination_duration_seconds", Kind::Histogram(EXP11),
        ["nodepool"],
        "From the request to delete an instance until it was gone.";
    NodeClaimsTerminationDuration = "karpenter_nodeclaims_termination_duration_seconds", Kind::Histogram(EXP12),
        ["nodepool"],
        "From the deletion of a NodeClaim until it was gone.";
    NodeClaimsUnhealthyDisrupted = "karpenter_nodeclaims_unhealthy_disrupted_total", Kind::Counter,
        ["condition", "nodepool", "capacity_type", "image_id"],
        "NodeClaims replaced because their node was unhealthy.";
    NodesCreated = "karpenter_nodes_created_total", Kind::Counter,
        ["nodepool", "zone"],
        "Nodes that registered.";
    NodesTerminated = "karpenter_nodes_terminated_total", Kind::Counter,
        ["nodepool", "zone"],
        "Nodes whose finalizer was removed.";
    NodesTerminationDuration = "karpenter_nodes_termination_duration_seconds", Kind::Summary,
        ["nodepool"],
        "From the deletion of a Node until it was gone.";
    NodesDrained = "karpenter_nodes_drained_total", Kind::Counter,
        ["nodepool"],
        "Nodes that were drained.";
    NodesLifetimeDuration = "karpenter_nodes_lifetime_duration_seconds", Kind::Histogram(LIFETIME),
        ["nodepool"],
        "From the creation of a Node until it was gone.";
    PodsEvictionRequests = "karpenter_pods_eviction_requests_total", Kind::Counter,
        ["code"],
        "Evictions asked for, by the code of the answer.";
    PodsDrained = "karpenter_pods_drained_total", Kind::Counter,
        ["reason"],
        "Pods evicted or deleted, by why.";
    DisruptionEvaluationDuration = "karpenter_voluntary_disruption_decision_evaluation_duration_seconds", Kind::Histogram(DURATION),
        ["reason", "consolidation_type"],
        "One pass of a disruption method.";
    DisruptionDecisions = "karpenter_voluntary_disruption_decisions_total", Kind::Counter,
        ["decision", "reason", "consolidation_type"],
        "Disruption commands started.";
    DisruptionDecisionsByNodePool = "karpenter_voluntary_disruption_decisions_by_nodepool_total", Kind::Counter,
        ["nodepool", "decision", "reason", "consolidation_type"],
        "Disruption commands started, by NodePool.";
    DisruptionEligibleNodes = "karpenter_voluntary_disruption_eligible_nodes", Kind::Gauge,
        ["reason"],
        "Nodes a disruption method may consider.";
    DisruptionConsolidationTimeouts = "karpenter_voluntary_disruption_consolidation_timeouts_total", Kind::Counter,
        ["consolidation_type"],
        "Consolidation passes that ran out of budget.";
    DisruptionFailedValidations = "karpenter_voluntary_disruption_failed_validations_total", Kind::Counter,
        ["consolidation_type"],
        "Candidates that no longer held when a command was checked again.";
    DisruptionQueueFailures = "karpenter_voluntary_disruption_queue_failures_total", Kind::Counter,
        ["decision", "reason", "consolidation_type"],
        "Disruption commands that failed after they began.";
    NodePoolsAllowedDisruptions = "karpenter_nodepools_allowed_disruptions", Kind::Gauge,
        ["nodepool", "reason"],
        "Nodes the budgets allow to disrupt now.";
    NodePoolsNodesConsumingBudgets = "karpenter_nodepools_nodes_consuming_budgets", Kind::Gauge,
        ["nodepool", "reason"],
        "Nodes that count against the budgets now.";
    ConsolidationScore = "karpenter_consolidation_score", Kind::Histogram(SCORE),
        ["decision", "nodepool", "policy"],
        "Savings over disruption of a consolidation move.";
    ConsolidationMoves = "karpenter_consolidation_moves_total", Kind::Counter,
        ["decision", "nodepool", "policy"],
        "Consolidation moves considered.";
    ClusterStateNodeCount = "karpenter_cluster_state_node_count", Kind::Gauge,
        [],
        "Nodes in the mirror of the cluster.";
    ClusterStateSynced = "karpenter_cluster_state_synced", Kind::Gauge,
        [],
        "1 when the mirror of the cluster is complete.";
    ClusterStateUnsyncedTime = "karpenter_cluster_state_unsynced_time_seconds", Kind::Gauge,
        [],
        "How long the mirror of the cluster has been incomplete.";
    NodePoolsLimit = "karpenter_nodepools_limit", Kind::Gauge,
        ["resource_type", "nodepool"],
        "Limits of a NodePool.";
    NodePoolsUsage = "karpenter_nodepools_usage", Kind::Gauge,
        ["resource_type", "nodepool"],
        "Resources a NodePool's nodes have.";
    NodePoolsCostTotal = "karpenter_nodepools_cost_total", Kind::Gauge,
        ["nodepool"],
        "Price per hour of a NodePool's nodes.";
    ClusterUtilizationPercent = "karpenter_cluster_utilization_percent", Kind::Gauge,
        ["resource_type"],
        "Share of the allocatable resources that pods request.";
    PodsStartupDuration = "karpenter_pods_startup_duration_seconds", Kind::Summary,
        [],
        "From the creation of a pod until it ran.";
    PodsBoundDuration = "karpenter_pods_bound_duration_seconds", Kind::Histogram(DURATION),
        [],
        "From the creation of a pod until it was bound.";
    PodsUnboundTime = "karpenter_pods_unbound_time_seconds", Kind::Gauge,
        ["name", "namespace"],
        "How long a pod has not been bound.";
    PodsSchedulingDecisionDuration = "karpenter_pods_scheduling_decision_duration_seconds", Kind::Histogram(DURATION),
        [],
        "From the first sight of a pod until the first decision about it.";
    SchedulerSchedulingDuration = "karpenter_scheduler_scheduling_duration_seconds", Kind::Histogram(DURATION),
        ["controller"],
        "One run of the scheduler.";
    SchedulerQueueDepth = "karpenter_scheduler_queue_depth", Kind::Gauge,
        ["controller", "scheduling_id"],
        "Pods a run of the scheduler has not looked at yet.";
    SchedulerUnfinishedWork = "karpenter_scheduler_unfinished_work_seconds", Kind::Gauge,
        ["controller", "scheduling_id"],
        "How long a run of the scheduler has taken so far.";
    SchedulerIgnoredPods = "karpenter_scheduler_ignored_pods_count", Kind::Gauge,
        [],
        "Pods that are ignored because they cannot be served.";
    SchedulerUnschedulablePods = "karpenter_scheduler_unschedulable_pods_count", Kind::Gauge,
        ["controller"],
        "Pods the last run of the scheduler found no place for.";
    CloudProviderDuration = "karpenter_cloudprovider_duration_seconds", Kind::Histogram(DEFAULT),
        ["controller", "method", "provider"],
        "Calls of the cloud provider.";
    CloudProviderErrors = "karpenter_cloudprovider_errors_total", Kind::Counter,
        ["controller", "method", "provider", "error"],
        "Calls of the cloud provider that failed.";
    CloudProviderOfferingAvailable = "karpenter_cloudprovider_instance_type_offering_available", Kind::Gauge,
        ["instance_type", "capacity_type", "zone"],
        "1 when an offering can be launched, as far as is known.";
    CloudProviderOfferingPrice = "karpenter_cloudprovider_instance_type_offering_price_estimate", Kind::Gauge,
        ["instance_type", "capacity_type", "zone"],
        "Price per hour of an offering.";
    InstanceVmCreateStart = "karpenter_instance_vm_create_start_total", Kind::Counter,
        ["image", "size", "zone", "capacity_type", "nodepool"],
        "Virtual machines whose creation began.";
    InstanceVmCreateFailure = "karpenter_instance_vm_create_failure_total", Kind::Counter,
        ["image", "size", "zone", "capacity_type", "nodepool", "phase", "error_code"],
        "Virtual machines whose creation failed.";
    ImageSelectionErrors = "karpenter_image_selection_error_count", Kind::Counter,
        ["family"],
        "Image lookups that found nothing.";
    BuildInfo = "karpenter_build_info", Kind::Gauge,
        ["version", "goversion", "goarch", "commit"],
        "1, labelled with the version.";
    LeaderElectionMasterStatus = "leader_election_master_status", Kind::Gauge,
        ["name"],
        "1 while this instance leads.";
    ReconcileTotal = "controller_runtime_reconcile_total", Kind::Counter,
        ["controller", "result"],
        "Reconciliations, by result.";
    ReconcileErrors = "controller_runtime_reconcile_errors_total", Kind::Counter,
        ["controller"],
        "Reconciliations that failed.";
    ReconcileTime = "controller_runtime_reconcile_time_seconds", Kind::Histogram(RECONCILE),
        ["controller"],
        "Reconciliations.";
    WorkqueueDepth = "workqueue_depth", Kind::Gauge,
        ["controller", "name"],
        "Keys that are due and do not run.";
    ClientRequestTotal = "client_go_request_total", Kind::Counter,
        ["code", "method"],
        "Requests to the API server.";
    ClientRequestDuration = "client_go_request_duration_seconds", Kind::Histogram(CLIENT),
        ["verb", "group", "version", "kind", "subresource"],
        "Requests to the API server.";
    EventsDropped = "nap_events_dropped_total", Kind::Counter,
        ["reason"],
        "Events that were not written because too many waited.";
}
