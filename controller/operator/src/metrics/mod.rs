//! Metrics under Karpenter's names, in the Prometheus text format.
//!
//! The registry is our own rather than a client library's: it keeps series sorted, knows summaries,
//! and drops the series of objects that are gone. [`Name`] is the only place with metric names.

mod names;

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use names::{Kind, Name, Spec};

/// Observations a summary computes its quantiles from: enough for a steady p99, small enough for one
/// series per NodePool.
const SUMMARY_WINDOW: usize = 1_000;
const QUANTILES: [f64; 5] = [0.0, 0.5, 0.9, 0.99, 1.0];

/// The metrics of one controller instance. Clones are the same registry.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<Mutex<BTreeMap<Name, Family>>>);

/// Series by the values of their labels, in the order of the metric's label names.
type Family = BTreeMap<Vec<String>, Series>;

#[derive(Debug)]
enum Series {
    Number(f64),
    Histogram {
        counts: Vec<u64>,
        sum: f64,
        count: u64,
    },
    Summary {
        recent: VecDeque<f64>,
        sum: f64,
        count: u64,
    },
}

impl Metrics {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one to a counter.
    pub fn inc(&self, name: Name, labels: &[&str]) {
        self.add(name, labels, 1.0);
    }

    /// Adds to a counter or a gauge.
    pub fn add(&self, name: Name, labels: &[&str], amount: f64) {
        self.update(name, labels, |series| {
            if let Series::Number(value) = series {
                *value += amount;
            }
        });
    }

    /// Sets a gauge.
    pub fn set(&self, name: Name, labels: &[&str], to: f64) {
        self.update(name, labels, |series| {
            if let Series::Number(value) = series {
                *value = to;
            }
        });
    }

    /// Adds an observation to a histogram or a summary.
    pub fn observe(&self, name: Name, labels: &[&str], value: f64) {
        let buckets = match name.spec().kind {
            Kind::Histogram(buckets) => buckets,
            _ => &[],
        };
        self.update(name, labels, |series| match series {
            Series::Number(_) => {}
            Series::Histogram { counts, sum, count } => {
                if let Some(index) = buckets.iter().position(|bound| value <= *bound) {
                    counts[index] += 1;
                }
                *sum += value;
                *count += 1;
            }
            Series::Summary { recent, sum, count } => {
                if recent.len() == SUMMARY_WINDOW {
                    recent.pop_front();
                }
                recent.push_back(value);
                *sum += value;
                *count += 1;
            }
        });
    }

    /// Drops the series of a metric whose label has that value: the object is gone.
    pub fn remove(&self, name: Name, label: &str, value: &str) {
        let Some(index) = name.spec().labels.iter().position(|known| *known == label) else {
            return;
        };
        if let Some(family) = self.lock().get_mut(&name) {
            family.retain(|labels, _| labels[index] != value);
        }
    }

    /// Sets the gauges of one object at once: those whose label has that value become exactly
    /// `series`, so that none outlives what it counted.
    pub fn replace(&self, name: Name, (label, value): (&str, &str), series: &[(&[&str], f64)]) {
        let Some(index) = name.spec().labels.iter().position(|known| *known == label) else {
            return;
        };
        let mut families = self.lock();
        let family = families.entry(name).or_default();
        family.retain(|labels, _| labels[index] != value);
        for (labels, amount) in series {
            family.insert(owned(labels), Series::Number(*amount));
        }
    }

    /// Drops all series of a metric.
    pub fn clear(&self, name: Name) {
        self.lock().remove(&name);
    }

    /// The value of a counter or gauge, or the number of observations; `None` when there is no such series.
    pub fn value(&self, name: Name, labels: &[&str]) -> Option<f64> {
        let families = self.lock();
        let series = families.get(&name)?.get(&owned(labels))?;
        Some(match series {
            Series::Number(value) => *value,
            #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
            Series::Histogram { count, .. } | Series::Summary { count, .. } => *count as f64,
        })
    }

    /// The sum of all series of a counter or gauge, or of their numbers of observations.
    pub fn total(&self, name: Name) -> f64 {
        let families = self.lock();
        let labels: Vec<Vec<String>> = families
            .get(&name)
            .map(|family| family.keys().cloned().collect())
            .unwrap_or_default();
        drop(families);
        labels
            .iter()
            .filter_map(|labels| {
                let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
                self.value(name, &labels)
            })
            .sum()
    }

    /// All series in the text format, version 0.0.4: metrics in order of
    /// declaration, series sorted by labels.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        for (name, family) in self.lock().iter().filter(|(_, family)| !family.is_empty()) {
            let Spec {
                name,
                help,
                kind,
                labels,
            } = name.spec();
            let type_ = kind.type_name();
            write_line(&mut out, format_args!("# HELP {name} {help}"));
            write_line(&mut out, format_args!("# TYPE {name} {type_}"));
            for (values, series) in family {
                encode_series(&mut out, name, labels, values, *kind, series);
            }
        }
        out
    }

    fn update(&self, name: Name, labels: &[&str], change: impl FnOnce(&mut Series)) {
        let spec = name.spec();
        assert_eq!(
            labels.len(),
            spec.labels.len(),
            "{} has labels {:?}",
            spec.name,
            spec.labels
        );
        let mut families = self.lock();
        let series = families
            .entry(name)
            .or_default()
            .entry(owned(labels))
            .or_insert_with(|| match spec.kind {
                Kind::Counter | Kind::Gauge => Series::Number(0.0),
                Kind::Histogram(buckets) => Series::Histogram {
                    counts: vec![0; buckets.len()],
                    sum: 0.0,
                    count: 0,
                },
                Kind::Summary => Series::Summary {
                    recent: VecDeque::new(),
                    sum: 0.0,
                    count: 0,
                },
            });
        change(series);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, Family>> {
        // Each update is one assignment: the registry is whole, whatever panicked elsewhere.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn owned(labels: &[&str]) -> Vec<String> {
    labels.iter().map(|label| (*label).to_owned()).collect()
}

fn write_line(out: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(out, "{line}").expect("writing to a string cannot fail");
}

fn encode_series(
    out: &mut String,
    name: &str,
    labels: &[&str],
    values: &[String],
    kind: Kind,
    series: &Series,
) {
    let pairs = |extra: Option<(&str, String)>| {
        let own = labels
            .iter()
            .zip(values)
            .map(|(label, value)| (*label, value.clone()));
        let pairs: Vec<String> = own
            .chain(extra)
            .map(|(label, value)| format!("{label}=\"{}\"", escape(&value)))
            .collect();
        if pairs.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", pairs.join(","))
        }
    };
    match series {
        Series::Number(value) => {
            write_line(
                out,
                format_args!("{name}{} {}", pairs(None), number(*value)),
            );
            return;
        }
        Series::Histogram { counts, count, .. } => {
            let Kind::Histogram(buckets) = kind else {
                return;
            };
            let mut below = 0;
            for (bound, n) in buckets.iter().zip(counts) {
                below += n;
                let labels = pairs(Some(("le", number(*bound))));
                write_line(out, format_args!("{name}_bucket{labels} {below}"));
            }
            let labels = pairs(Some(("le", "+Inf".to_owned())));
            write_line(out, format_args!("{name}_bucket{labels} {count}"));
        }
        Series::Summary { recent, .. } => {
            let mut sorted: Vec<f64> = recent.iter().copied().collect();
            sorted.sort_by(f64::total_cmp);
            for quantile in QUANTILES {
                let labels = pairs(Some(("quantile", number(quantile))));
                let value = at_quantile(&sorted, quantile);
                write_line(out, format_args!("{name}{labels} {}", number(value)));
            }
        }
    }
    if let Series::Histogram { sum, count, .. } | Series::Summary { sum, count, .. } = series {
        let labels = pairs(None);
        write_line(out, format_args!("{name}_sum{labels} {}", number(*sum)));
        write_line(out, format_args!("{name}_count{labels} {count}"));
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "an index into at most SUMMARY_WINDOW values"
)]
fn at_quantile(sorted: &[f64], quantile: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    sorted[(last as f64 * quantile).round() as usize]
}

fn number(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    value.to_string()
}

fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_sorted_text() {
        let metrics = Metrics::new();
        metrics.inc(Name::NodeClaimsCreated, &["provisioned", "b", "false"]);
        metrics.inc(Name::NodeClaimsCreated, &["provisioned", "a\"", "false"]);
        metrics.inc(Name::NodeClaimsCreated, &["provisioned", "b", "false"]);
        metrics.observe(Name::NodesTerminationDuration, &["a"], 2.0);
        metrics.observe(Name::NodesTerminationDuration, &["a"], 4.0);
        metrics.observe(
            Name::ConsolidationScore,
            &["approved", "a", "balanced"],
            0.3,
        );
        insta::assert_snapshot!(metrics.encode(), @r#"
        # HELP karpenter_nodeclaims_created_total NodeClaims created, by why and for which NodePool.
        # TYPE karpenter_nodeclaims_created_total counter
        karpenter_nodeclaims_created_total{reason="provisioned",nodepool="a\"",min_values_relaxed="false"} 1
        karpenter_nodeclaims_created_total{reason="provisioned",nodepool="b",min_values_relaxed="false"} 2
        # HELP karpenter_nodes_termination_duration_seconds From the deletion of a Node until it was gone.
        # TYPE karpenter_nodes_termination_duration_seconds summary
        karpenter_nodes_termination_duration_seconds{nodepool="a",quantile="0"} 2
        karpenter_nodes_termination_duration_seconds{nodepool="a",quantile="0.5"} 4
        karpenter_nodes_termination_duration_seconds{nodepool="a",quantile="0.9"} 4
        karpenter_nodes_termination_duration_seconds{nodepool="a",quantile="0.99"} 4
        karpenter_nodes_termination_duration_seconds{nodepool="a",quantile="1"} 4
        karpenter_nodes_termination_duration_seconds_sum{nodepool="a"} 6
        karpenter_nodes_termination_duration_seconds_count{nodepool="a"} 2
        # HELP karpenter_consolidation_score Savings over disruption of a consolidation move.
        # TYPE karpenter_consolidation_score histogram
        karpenter_consolidation_score_bucket{decision="approved",nodepool="a",policy="balanced",le="0.1"} 0
        karpenter_consolidation_score_bucket{decision="approved",nodepool="a",policy="balanced",le="0.25"} 0
        karpenter_consolidation_score_bucket{decision="approved",nodepool="a",policy="balanced",le="0.33"} 1
        karpenter_consolidation_score_bucket{decision="approved",nodepool="a",policy="balanced",le="0.5"} 1
        karpenter_consolidation_score_bucket{decision="approved",nodepool="a",policy="balanced",le="1"} 1
        karpenter_consolidation_score_bucket{decision="approved",nodepool="a",policy="balanced",le="2"} 1
        karpenter_consolidation_score_bucket{decision="approved",nodepool="a",policy="balanced",le="5"} 1
        karpenter_consolidation_score_bucket{decision="approved",nodepool="a",policy="balanced",le="10"} 1
        karpenter_consolidation_score_bucket{decision="approved",nodepool="a",policy="balanced",le="+Inf"} 1
        karpenter_consolidation_score_sum{decision="approved",nodepool="a",policy="balanced"} 0.3
        karpenter_consolidation_score_count{decision="approved",nodepool="a",policy="balanced"} 1
        "#);
    }

    #[test]
    fn series_of_gone_objects_go() {
        let metrics = Metrics::new();
        metrics.set(Name::NodePoolsUsage, &["cpu", "a"], 4.0);
        metrics.set(Name::NodePoolsUsage, &["cpu", "b"], 2.0);
        metrics.remove(Name::NodePoolsUsage, "nodepool", "a");
        assert_eq!(metrics.value(Name::NodePoolsUsage, &["cpu", "a"]), None);
        assert!((metrics.total(Name::NodePoolsUsage) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn gauges_of_an_object_are_replaced_as_a_whole() {
        let metrics = Metrics::new();
        metrics.set(Name::NodePoolsUsage, &["cpu", "a"], 4.0);
        metrics.set(Name::NodePoolsUsage, &["cpu", "b"], 2.0);
        let left: [(&[&str], f64); 1] = [(&["nodes", "a"], 0.0)];
        metrics.replace(Name::NodePoolsUsage, ("nodepool", "a"), &left);
        assert_eq!(metrics.value(Name::NodePoolsUsage, &["cpu", "a"]), None);
        assert_eq!(
            metrics.value(Name::NodePoolsUsage, &["nodes", "a"]),
            Some(0.0)
        );
        assert_eq!(
            metrics.value(Name::NodePoolsUsage, &["cpu", "b"]),
            Some(2.0)
        );
    }

    #[test]
    fn names_are_unique_and_complete() {
        let mut names: Vec<&str> = Name::ALL.iter().map(|name| name.spec().name).collect();
        names.sort_unstable();
        let n_names = names.len();
        names.dedup();
        assert_eq!(names.len(), n_names);
        for name in Name::ALL {
            let spec = name.spec();
            assert!(
                !spec.help.is_empty() && !spec.help.contains('\n'),
                "{}",
                spec.name
            );
        }
    }
}
