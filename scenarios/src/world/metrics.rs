//! The controller's metrics beside the same figures, counted from the store and the cloud.

use std::collections::BTreeMap;

use crate::invariants::{History, Metric};
use crate::observe::{Observation, POOL_LABEL, POOL_TAG, resources};

/// One series: name, labels as text, value.
fn series(text: &str) -> impl Iterator<Item = (&str, &str, f64)> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            Some((name, labels, value.parse().ok()?))
        })
}

fn whole(value: f64) -> i64 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "counts and cores are small"
    )]
    let whole = value.round() as i64;
    whole
}

fn total(text: &str, wanted: &str) -> i64 {
    let values = series(text).filter(|(name, ..)| *name == wanted);
    whole(values.map(|(.., value)| value).sum())
}

/// What `text` says and what is true. Counters are compared when they have counted from the start.
pub(crate) fn compared(
    text: &str,
    counters: bool,
    observation: &Observation<'_>,
    history: &History,
) -> Vec<Metric> {
    let mut metrics = Vec::new();
    let mut add = |name: String, said: i64, truth: i64| {
        metrics.push(Metric { name, said, truth });
    };
    if counters {
        for (name, truth) in [
            ("karpenter_nodeclaims_created_total", history.claims_created),
            (
                "karpenter_nodeclaims_terminated_total",
                history.claims_deleted,
            ),
            ("karpenter_nodes_terminated_total", history.nodes_deleted),
        ] {
            let truth = i64::try_from(truth).unwrap_or(i64::MAX);
            add(name.to_owned(), total(text, name), truth);
        }
    }
    let mut cores: BTreeMap<&str, i64> = BTreeMap::new();
    for vm in observation.cloud.pool_vms() {
        if let Some(pool) = vm.tags.get(POOL_TAG) {
            *cores.entry(pool).or_default() += i64::from(vm.cores);
        }
    }
    for pool in observation.objects.all(resources::POOLS) {
        let label = format!("nodepool=\"{}\"", pool.name());
        let said = series(text).find(|(name, labels, _)| {
            *name == "karpenter_nodepools_usage"
                && labels.contains(&label)
                && labels.contains("resource_type=\"cpu\"")
        });
        if let Some((.., said)) = said {
            let truth = cores.get(pool.name()).copied().unwrap_or_default();
            add(
                format!("karpenter_nodepools_usage{{{label},resource_type=\"cpu\"}}"),
                whole(said),
                truth,
            );
        }
    }
    let nodes = observation.objects.all(resources::NODES);
    let ours = nodes.filter(|node| !node.value()["metadata"]["labels"][POOL_LABEL].is_null());
    let ours = i64::try_from(ours.count()).unwrap_or(i64::MAX);
    let others = observation.objects.all(resources::NODES).count();
    let others = i64::try_from(others).unwrap_or(i64::MAX) - ours;
    let name = "karpenter_cluster_state_node_count";
    if series(text).any(|(found, ..)| found == name) {
        // A claim counts from the moment at which it has a machine.
        let launched = observation
            .objects
            .all(resources::CLAIMS)
            .filter(|claim| claim.value()["status"]["providerID"].is_string());
        let claims = launched.count();
        let claims = i64::try_from(claims).unwrap_or(i64::MAX);
        add(
            name.to_owned(),
            total(text, name),
            others + claims.max(ours),
        );
    }
    metrics
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_by_name() {
        let text = "# TYPE a counter\na{x=\"1\"} 2\na{x=\"2\"} 3\nab 7\n";
        assert_eq!(total(text, "a"), 5);
        assert_eq!(total(text, "ab"), 7);
        assert_eq!(total(text, "none"), 0);
    }
}
