//! Settings of the reconcilers, validated by whoever read them.

use std::time::Duration;

use controller_core::scheduling::{MinValuesPolicy, PreferencePolicy};

/// Settings; names and defaults are upstream's (`sigs.k8s.io/karpenter`
/// `pkg/operator/options/options.go`). No `Default`: the caller chooses.
#[derive(Clone, Debug)]
pub struct Options {
    /// Namespace of the controller, for events about cluster-scoped objects.
    pub namespace: String,
    /// `--batch-idle-duration`: a batch ends when no new pod came for this long (1 s).
    pub batch_idle: Duration,
    /// `--batch-max-duration`: a batch ends after this long in any case (10 s).
    pub batch_max: Duration,
    /// `--preference-policy`.
    pub preferences: PreferencePolicy,
    /// `--min-values-policy`.
    pub min_values: MinValuesPolicy,
    /// `--feature-gates`.
    pub gates: FeatureGates,
}

/// Feature gates that change what the reconcilers do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeatureGates {
    /// `NodeRepair`: replace nodes that stay unhealthy.
    pub node_repair: bool,
    /// `SpotToSpotConsolidation`.
    pub spot_to_spot: bool,
}

impl Options {
    /// Upstream's defaults, for a controller in this namespace.
    pub fn defaults(namespace: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            batch_idle: Duration::from_secs(1),
            batch_max: Duration::from_secs(10),
            preferences: PreferencePolicy::Respect,
            min_values: MinValuesPolicy::Strict,
            gates: FeatureGates::default(),
        }
    }

    /// How long a nomination holds a node (`pkg/controllers/state/statenode.go`).
    pub(crate) fn nomination(&self) -> Duration {
        (self.batch_max * 2).max(Duration::from_secs(10))
    }
}
