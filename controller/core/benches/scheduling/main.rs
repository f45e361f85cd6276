//! Figures of the decision core, one JSON object per line.
//!
//! Without options: the recorded workloads of Karpenter's own benchmark, each in a process of its
//! own so that its peak memory is its own, then generated clusters. With `--workload` only that
//! workload; `--plan` writes where its pods went. `--quick` measures a tenth of what is generated.

mod azure;
mod cluster;
mod plan;
mod recorded;
mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use controller_core::disruption::{DisruptionPolicy, StepBudget, plan_disruption};
use controller_core::labels;
use controller_core::model::{NodeName, Pod, PodShape, PoolCatalog, Price, Snapshot};
use controller_core::requirements::Requirements;
use controller_core::scheduling::{
    CompiledCatalogs, MinValuesPolicy, Placement, PreferencePolicy, SchedulingInput,
    SchedulingOptions, schedule_with,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use cluster::{Dice, one_of};
use rows::{Better, as_f64, best_of, peak_megabytes, plain, row, talk, timed};

const OPTIONS: SchedulingOptions = SchedulingOptions {
    preferences: PreferencePolicy::Respect,
    min_values: MinValuesPolicy::Strict,
    steps_max: u64::MAX,
    improvement_steps: 0,
};

/// What upstream needed on a recorded workload: nodes and dollars per hour at most.
const UPSTREAM: [(&str, f64, f64); 3] = [
    ("diverse-10000", 2_000.0, 3_539.35),
    ("diverse-20000", 4_000.0, 7_155.8),
    ("respect-4000", 4_000.0, 3_777.0),
];

#[derive(Default)]
struct Arguments {
    workload: Option<PathBuf>,
    plan: Option<PathBuf>,
    is_quick: bool,
    /// With the pass that looks for a cheaper answer.
    is_improved: bool,
    /// One generated cluster, for its peak memory.
    is_large: bool,
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(complaint) => {
            talk(&complaint);
            return ExitCode::from(2);
        }
    };
    let done = match &arguments.workload {
        Some(path) => measure_workload(path, &arguments),
        None if arguments.is_large => large(&arguments),
        None => measure_all(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(complaint) => {
            talk(&complaint);
            ExitCode::from(2)
        }
    }
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut parsed = Arguments::default();
    let mut rest = arguments;
    while let Some(argument) = rest.next() {
        let mut value = || {
            let value = rest.next();
            value.ok_or_else(|| format!("{argument} needs a value"))
        };
        match argument.as_str() {
            "--workload" => parsed.workload = Some(value()?.into()),
            "--plan" => parsed.plan = Some(value()?.into()),
            "--pass" => match value()?.as_str() {
                "compatible" => parsed.is_improved = false,
                "improved" => parsed.is_improved = true,
                other => {
                    return Err(format!(
                        "--pass takes compatible or improved, not {other:?}"
                    ));
                }
            },
            "--quick" => parsed.is_quick = true,
            "--large" => parsed.is_large = true,
            // Cargo's own.
            "--bench" => {}
            other => return Err(format!("unknown option {other:?}")),
        }
    }
    if parsed.plan.is_some() && parsed.workload.is_none() {
        return Err("--plan needs --workload".to_owned());
    }
    Ok(parsed)
}

/// Everything; recorded workloads and the large cluster by processes of their own.
fn measure_all(arguments: &Arguments) -> Result<(), String> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/scheduling/data");
    for (name, ..) in UPSTREAM {
        let file = data.join(format!("{name}.pods.jsonl.gz"));
        run_self(&["--workload", &file.to_string_lossy()])?;
        if name.starts_with("diverse") {
            run_self(&["--workload", &file.to_string_lossy(), "--pass", "improved"])?;
        }
    }
    run_self(if arguments.is_quick {
        &["--large", "--quick"]
    } else {
        &["--large"]
    })?;
    let scale = if arguments.is_quick { 10 } else { 1 };
    existing(scale);
    growth(scale)?;
    consolidation(500 / scale);
    Ok(())
}

fn run_self(options: &[&str]) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let status = Command::new(program).args(options).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{options:?}: {status}")),
        Err(error) => Err(format!("{options:?}: {error}")),
    }
}

fn measure_workload(path: &Path, arguments: &Arguments) -> Result<(), String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut name = name.split('.').next().unwrap_or("workload").to_owned();
    let upstream = UPSTREAM.into_iter().find(|(known, ..)| *known == name);
    let pods = recorded::pods(path)?;
    let snapshot = cluster::empty_cluster();
    let compiled = CompiledCatalogs::default().refreshed(&snapshot);
    let mut options = OPTIONS;
    if arguments.is_improved {
        options.improvement_steps = u64::MAX;
        name.push_str(" improved");
    }
    let (seconds, placement) = best_of(5, || place(&snapshot, &pods, options, &compiled));
    speed(&name, seconds, &snapshot, &pods, &compiled);
    let memory = peak_megabytes();
    row(&format!("{name} memory"), memory, "MB", 60.0, Better::Less);
    quality(&name, &placement, upstream, arguments.is_improved);
    let plan = plan_lines(&placement, &pods);
    let lines: Vec<Value> = recorded::lines(path)?.collect::<Result<_, _>>()?;
    let judged = plan::judge(&lines, &plan);
    if let Err(complaint) = &judged {
        talk(&format!("{name}: the plan is not legal: {complaint}"));
    }
    let (legal, wanted) = (as_f64(judged.unwrap_or(0)), as_f64(lines.len()));
    row(
        &format!("{name} legal steps"),
        legal,
        "pods",
        wanted,
        Better::More,
    );
    match &arguments.plan {
        Some(path) => write_plan(path, &plan),
        None => Ok(()),
    }
}

/// Nodes and prices, beside upstream's where they are known, and beside the lower bound.
fn quality(
    name: &str,
    placement: &Placement,
    upstream: Option<(&str, f64, f64)>,
    is_improved: bool,
) {
    let nodes = as_f64(placement.new_claims.len());
    let (cost, bound) = (nano_dollars(placement.cost), nano_dollars(placement.bound));
    match upstream {
        Some((_, _, price)) if is_improved => {
            plain(&format!("{name} nodes"), nodes, "nodes");
            row(
                &format!("{name} price"),
                cost,
                "$/h",
                0.7 * price,
                Better::Less,
            );
        }
        Some((_, most, price)) => {
            row(&format!("{name} nodes"), nodes, "nodes", most, Better::Less);
            row(&format!("{name} price"), cost, "$/h", price, Better::Less);
        }
        None => {
            plain(&format!("{name} nodes"), nodes, "nodes");
            plain(&format!("{name} price"), cost, "$/h");
        }
    }
    plain(&format!("{name} price to bound"), cost / bound, "ratio");
}

/// Time of a preference mix, pods per second of others.
fn speed(name: &str, seconds: f64, snapshot: &Snapshot, pods: &[Pod], compiled: &CompiledCatalogs) {
    if name.ends_with("improved") {
        row(&format!("{name} time"), seconds, "s", 1.0, Better::Less);
        return;
    }
    if !name.starts_with("respect") {
        let rate = as_f64(pods.len()) / seconds;
        row(
            &format!("{name} rate"),
            rate,
            "pods/s",
            200_000.0,
            Better::More,
        );
        return;
    }
    row(&format!("{name} time"), seconds, "s", 0.1, Better::Less);
    let options = SchedulingOptions {
        preferences: PreferencePolicy::Ignore,
        ..OPTIONS
    };
    let (seconds, ignored) = best_of(5, || place(snapshot, pods, options, compiled));
    row(
        &format!("{name} ignored time"),
        seconds,
        "s",
        0.05,
        Better::Less,
    );
    plain(
        &format!("{name} ignored nodes"),
        as_f64(ignored.new_claims.len()),
        "nodes",
    );
}

/// One line per new node, with the pods and when each may be bound.
fn plan_lines(placement: &Placement, pods: &[Pod]) -> Vec<Value> {
    let uids: BTreeMap<_, _> = pods.iter().map(|pod| (&pod.key, &pod.uid)).collect();
    let mut pods: Vec<Vec<Value>> = vec![Vec::new(); placement.new_claims.len()];
    for (seq, &(claim, index)) in placement.order.iter().enumerate() {
        let key = &placement.new_claims[claim].pods[index];
        pods[claim].push(json!({"uid": &**uids[key], "seq": seq}));
    }
    let line = |(claim, pods): (&controller_core::scheduling::NewClaim, Vec<Value>)| {
        let requirements = Requirements::from_specs(claim.requirements.iter());
        let all = ["test-zone-1", "test-zone-2", "test-zone-3"];
        let zones = all
            .into_iter()
            .filter(|zone| requirements.has(labels::ZONE, zone));
        let first = claim.instance_types.first();
        json!({
            "instance_type": first.map_or("", |name| name.as_str()),
            "price": nano_dollars(claim.price),
            "zones": zones.collect::<Vec<_>>(),
            "pods": pods,
        })
    };
    placement.new_claims.iter().zip(pods).map(line).collect()
}

fn write_plan(path: &Path, lines: &[Value]) -> Result<(), String> {
    let at = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).map_err(at)?);
    for line in lines {
        writeln!(file, "{line}").map_err(at)?;
    }
    file.flush().map_err(at)
}

/// 100,000 pods in 300 shapes, 20 pools, a region's whole catalogue.
fn large(arguments: &Arguments) -> Result<(), String> {
    let scale = if arguments.is_quick { 10 } else { 1 };
    let snapshot = azure_cluster(20, 1)?;
    let types = snapshot
        .pools
        .values()
        .next()
        .map_or(0, |pool| pool.instance_types.len());
    plain("azure catalogue", as_f64(types), "types");
    let (seconds, compiled) = best_of(3, || CompiledCatalogs::default().refreshed(&snapshot));
    plain("azure catalogue compile", seconds * 1e3, "ms");
    let pods = shaped(100_000 / scale, 300, 20);
    let (seconds, placement) = best_of(3, || place(&snapshot, &pods, OPTIONS, &compiled));
    let name = format!("azure {} pods 300 shapes 20 pools", pods.len());
    row(&name, seconds, "s", 1.0, Better::Less);
    plain(
        &format!("{name} nodes"),
        as_f64(placement.new_claims.len()),
        "nodes",
    );
    plain(
        &format!("{name} unplaced"),
        as_f64(placement.unschedulable.len()),
        "pods",
    );
    row(
        &format!("{name} memory"),
        peak_megabytes(),
        "MB",
        300.0,
        Better::Less,
    );
    Ok(())
}

/// Pools of teams with a taint each, over every `step`-th size of the catalogue.
fn azure_cluster(pools: usize, step: usize) -> Result<Snapshot, String> {
    let types: Vec<_> = azure::catalogue()?.into_iter().step_by(step).collect();
    let types = Arc::new(types);
    let mut snapshot = cluster::empty_cluster();
    let template = snapshot.pools.values().next().cloned().ok_or("no pool")?;
    snapshot.pools.clear();
    for index in 0..pools {
        let mut pool = template.pool.clone();
        pool.name = format!("team-{index:02}").as_str().into();
        pool.weight = i32::try_from(index % 3).unwrap_or(0);
        pool.requirements = vec![
            one_of("team", [&format!("t{index}")]),
            one_of(labels::ARCH, ["amd64"]),
            one_of(labels::CAPACITY_TYPE, ["on-demand", "spot"]),
        ];
        let instance_types = Arc::clone(&types);
        let name = pool.name.clone();
        snapshot.pools.insert(
            name,
            PoolCatalog {
                pool,
                instance_types,
            },
        );
    }
    Ok(snapshot)
}

/// Pods of a number of shapes; with teams, each asks for the pool of one.
fn shaped(count: usize, shapes: usize, teams: usize) -> Vec<Pod> {
    let mut dice = Dice(7);
    let shapes: Vec<PodShape> = (0..shapes)
        .map(|index| {
            let mut shape = PodShape {
                namespace: "default".into(),
                labels: [("app".into(), format!("app-{index}").into())].into(),
                requests: cluster::requests(
                    dice.pick(&[50, 100, 250, 500, 1000, 2000, 4000]),
                    dice.pick(&[64, 128, 256, 512, 1024, 2048, 4096, 8192]),
                ),
                ..PodShape::default()
            };
            if teams > 0 {
                let team = format!("t{}", dice.below(teams));
                shape
                    .node_selector
                    .insert("team".into(), team.as_str().into());
            }
            shape
        })
        .collect();
    cluster::pods((0..count).map(|index| shapes[index % shapes.len()].clone()))
}

/// Pending pods on nodes that exist, and what a small change costs.
fn existing(scale: usize) {
    let (nodes, pods) = (5_000 / scale, 50_000 / scale);
    let empty = cluster::cluster(nodes, 0, 16);
    let compiled = CompiledCatalogs::default().refreshed(&empty);
    let pods = cluster::generic(pods);
    let (seconds, _) = best_of(3, || place(&empty, &pods, OPTIONS, &compiled));
    let name = format!("existing {} pods on {nodes} nodes", pods.len());
    row(&name, seconds, "s", 2.0, Better::Less);
    let full = cluster::cluster(nodes, 15, 16);
    let (seconds, _) = best_of(3, || place(&full, &pods[..1], OPTIONS, &compiled));
    plain(
        &format!("one pod beside {} pods on {nodes} nodes", 15 * nodes),
        seconds * 1e3,
        "ms",
    );
    let (seconds, _) = best_of(3, || CompiledCatalogs::default().refreshed(&empty));
    plain("400 types compile", seconds * 1e3, "ms");
}

/// How time grows when one dimension doubles: 1 is linear.
fn growth(scale: usize) -> Result<(), String> {
    let exponent = |figure: &str, [small, large]: [f64; 2]| {
        let value = (large / small).log2();
        row(
            &format!("growth by {figure}"),
            value,
            "exponent",
            1.1,
            Better::Less,
        );
    };
    let run = |snapshot: &Snapshot, pods: &[Pod]| {
        let compiled = CompiledCatalogs::default().refreshed(snapshot);
        best_of(5, || place(snapshot, pods, OPTIONS, &compiled)).0
    };
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/scheduling/data");
    let pods = recorded::pods(&data.join("diverse-20000.pods.jsonl.gz"))?;
    let half: Vec<Pod> = pods.iter().step_by(2).cloned().collect();
    let empty = cluster::empty_cluster();
    exponent("pods", [run(&empty, &half), run(&empty, &pods)]);
    let azure = azure_cluster(1, 1)?;
    let count = 50_000 / scale;
    let by_shapes = [300, 600].map(|shapes| run(&azure, &shaped(count, shapes, 0)));
    exponent("shapes", by_shapes);
    let pods = cluster::generic(count);
    let by_nodes = [2_500, 5_000].map(|nodes| run(&cluster::cluster(nodes / scale, 0, 16), &pods));
    exponent("nodes", by_nodes);
    let halved = azure_cluster(1, 2)?;
    let pods = shaped(count, 300, 0);
    exponent("sizes", [run(&halved, &pods), run(&azure, &pods)]);
    Ok(())
}

fn consolidation(nodes: usize) {
    // Full nodes, one at a time: no single one can be improved, so every one is simulated.
    let mut cluster = cluster::cluster(nodes, 15, 5);
    for catalog in cluster.pools.values_mut() {
        catalog.pool.disruption.budgets[0].nodes = Ok(1);
    }
    let policy = DisruptionPolicy {
        scheduling: OPTIONS,
        spot_to_spot: false,
    };
    let budget = StepBudget {
        simulations_max: u32::MAX,
    };
    let now = Timestamp::UNIX_EPOCH + Duration::from_hours(1);
    let (seconds, plan) = timed(|| plan_disruption(&cluster, &policy, now, budget));
    let per_candidate = seconds * 1000.0 / as_f64(nodes);
    let name = format!("consolidation full {nodes} nodes");
    row(&name, per_candidate, "ms/node", 55.0, Better::Less);
    plain(
        "consolidation commands",
        as_f64(plan.commands.len()),
        "commands",
    );
}

fn place(
    snapshot: &Snapshot,
    pods: &[Pod],
    options: SchedulingOptions,
    compiled: &CompiledCatalogs,
) -> Placement {
    let input = SchedulingInput {
        snapshot,
        pods,
        excluded: &BTreeSet::<NodeName>::new(),
        options,
    };
    schedule_with(&input, compiled)
}

#[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
fn nano_dollars(price: Price) -> f64 {
    price.0 as f64 / Price::DOLLAR as f64
}
