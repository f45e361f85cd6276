//! What must be known of the cluster before and while the loops run.

use std::time::Duration;

use anyhow::bail;
use controller_azure::ClusterVersion;
use controller_operator::Health;
use controller_ports::{Clock, Ports, timeout};
use futures::FutureExt;

use super::Tasks;

/// Kinds the loops watch: `(group and version, plural)`.
const KINDS: [(&str, &str); 3] = [
    ("karpenter.sh/v1", "nodepools"),
    ("karpenter.sh/v1", "nodeclaims"),
    ("karpenter.azure.com/v1beta1", "aksnodeclasses"),
];
/// Upstream waits this long for its CRDs.
const KINDS_WAIT_MAX: Duration = Duration::from_mins(2);
/// A chart installs CRDs and controller within seconds of each other.
const KINDS_PERIOD: Duration = Duration::from_secs(2);
/// A control plane is upgraded once in weeks; upstream's period.
const VERSION_PERIOD: Duration = Duration::from_mins(15);
/// While the version is unknown, no node can be made.
const VERSION_RETRY: Duration = Duration::from_secs(2);
const REQUEST_MAX: Duration = Duration::from_secs(10);

/// Waits until the API server serves our kinds.
///
/// # Errors
///
/// When it does not after two minutes; the message names what is missing.
pub(super) async fn wait_for_crds(
    kube: &kube::Client,
    clock: &dyn Clock,
    health: &Health,
) -> anyhow::Result<()> {
    health.fail("crd", "not looked yet");
    let deadline = clock.monotonic() + KINDS_WAIT_MAX;
    loop {
        let missing = missing(kube, clock).await;
        if missing.is_empty() {
            health.pass("crd");
            return Ok(());
        }
        let text = missing.join(", ");
        if clock.monotonic() >= deadline {
            bail!("the API server does not serve {text}: install the custom resource definitions");
        }
        health.fail("crd", format!("waiting for {text}"));
        clock.sleep(KINDS_PERIOD).await;
    }
}

async fn missing(kube: &kube::Client, clock: &dyn Clock) -> Vec<String> {
    let mut missing = Vec::new();
    for (group_version, plural) in KINDS {
        let listing = kube.list_api_group_resources(group_version);
        let is_served = match timeout(clock, REQUEST_MAX, listing).await {
            Ok(Ok(list)) => list
                .resources
                .iter()
                .any(|resource| resource.name == plural),
            Ok(Err(error)) => {
                tracing::debug!(error = %error, group_version, "kinds not listed");
                false
            }
            Err(_elapsed) => false,
        };
        if !is_served {
            missing.push(format!("{plural} ({group_version})"));
        }
    }
    missing
}

/// Reads the control plane's version, and goes on reading it.
pub(super) async fn follow_version(
    kube: &kube::Client,
    ports: &Ports,
    tasks: &mut Tasks,
) -> ClusterVersion {
    let version = ClusterVersion::default();
    read_version(kube, &*ports.clock, &version).await;
    let (kube, ports, shared) = (kube.clone(), ports.clone(), version.clone());
    let task = async move {
        loop {
            let period = if shared.get().is_some() {
                VERSION_PERIOD
            } else {
                VERSION_RETRY
            };
            ports.clock.sleep(period).await;
            read_version(&kube, &*ports.clock, &shared).await;
        }
    };
    tasks.spawn("cluster-version", task.boxed());
    version
}

async fn read_version(kube: &kube::Client, clock: &dyn Clock, version: &ClusterVersion) {
    match timeout(clock, REQUEST_MAX, kube.apiserver_version()).await {
        Ok(Ok(info)) => version.set(&info.git_version),
        Ok(Err(error)) => tracing::warn!(error = %error, "cannot read the cluster's version"),
        Err(elapsed) => tracing::warn!(error = %elapsed, "cannot read the cluster's version"),
    }
}
