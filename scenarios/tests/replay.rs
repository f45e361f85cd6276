//! What a report says in figures is what its trace says.

use std::path::Path;

use scenarios::format::Scenario;
use scenarios::replay::TraceFile;
use scenarios::report::Data;
use scenarios::world::discrete::{RunOptions, run};

#[test]
fn figures_of_a_report_can_be_recomputed_from_the_trace() {
    for name in ["controller-killed.yaml", "cheapest-sold-out.yaml"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("catalog")
            .join(name);
        let scenario = Scenario::load(&file).expect("a valid scenario");
        let options = RunOptions {
            keep_trace: true,
            ..RunOptions::default()
        };
        let outcome = run(&scenario, &options).expect("an outcome");
        let data = Data::of(&outcome, "");
        let text = outcome.trace.concat();
        let trace = TraceFile::parse(Path::new(name), &text).expect("a trace");
        let figures = trace.figures();
        assert_eq!(figures.trace_hash, data.trace_hash, "{name}");
        assert_eq!(figures.trace_records, data.trace_records, "{name}");
        assert_eq!(figures.requests, data.requests, "{name}");
        assert_eq!(figures.writes, data.writes, "{name}");
        assert_eq!(figures.machines, data.machines.len() as u64, "{name}");
        assert_eq!(
            figures.peak_machines,
            u64::from(data.peak_machines),
            "{name}"
        );
        assert_eq!(
            figures.cost_micro_dollars, data.cost_micro_dollars,
            "{name}"
        );
        assert_eq!(figures.pods_placed, data.pods_placed, "{name}");
        assert_eq!(figures.virtual_millis, data.virtual_millis, "{name}");
        let failed = data.expectations.iter().filter(|it| !it.ok).count()
            + data.invariants.iter().filter(|it| !it.ok).count();
        assert_eq!(figures.failed, failed as u64, "{name}");
        assert!(figures.machines > 0 && figures.pods_placed > 0, "{name}");
    }
}
