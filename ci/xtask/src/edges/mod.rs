//! Dependencies between crates are those of [`table::TABLE`], and nothing reaches what it must not.

mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context;
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

use crate::tidy::sources;
use table::{Row, TABLE};

/// All complaints.
pub(crate) fn run(root: &Path) -> anyhow::Result<Vec<String>> {
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .other_options(["--locked".to_owned(), "--offline".to_owned()])
        .exec()
        .or_else(|_| {
            MetadataCommand::new()
                .manifest_path(root.join("Cargo.toml"))
                .exec()
        })
        .context("cargo metadata")?;
    let graph = Graph::new(&metadata)?;
    let mut complaints = check(&graph);
    complaints.extend(check_sources(root)?);
    Ok(complaints)
}

/// Normal dependencies by package name: of the workspace's crates, and of everything they reach.
struct Graph {
    members: BTreeSet<String>,
    edges: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn new(metadata: &Metadata) -> anyhow::Result<Self> {
        let names: BTreeMap<&PackageId, String> = metadata
            .packages
            .iter()
            .map(|package| (&package.id, package.name.to_string()))
            .collect();
        let name = |id| names.get(id).cloned().context("a package without a name");
        let resolve = metadata
            .resolve
            .as_ref()
            .context("no resolved dependencies")?;
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in &resolve.nodes {
            // Two versions of a package count as one: a ban is a ban.
            let targets = edges.entry(name(&node.id)?).or_default();
            for dependency in &node.deps {
                let is_normal = dependency
                    .dep_kinds
                    .iter()
                    .any(|kind| kind.kind == DependencyKind::Normal);
                if is_normal {
                    targets.insert(name(&dependency.pkg)?);
                }
            }
        }
        let members = metadata
            .workspace_members
            .iter()
            .map(name)
            .collect::<Result<_, _>>()?;
        Ok(Self { members, edges })
    }

    fn direct(&self, from: &str) -> impl Iterator<Item = &String> {
        self.edges.get(from).into_iter().flatten()
    }

    /// A shortest way from one package to another, both included.
    fn path(&self, from: &str, to: &str) -> Option<Vec<String>> {
        let mut ways: Vec<Vec<String>> = vec![vec![from.to_owned()]];
        let mut seen = BTreeSet::from([from.to_owned()]);
        let mut next = 0;
        while let Some(way) = ways.get(next).cloned() {
            next += 1;
            let end = way.last().cloned().unwrap_or_default();
            if end == to && way.len() > 1 {
                return Some(way);
            }
            for target in self.direct(&end) {
                if seen.insert(target.clone()) {
                    let mut longer = way.clone();
                    longer.push(target.clone());
                    ways.push(longer);
                }
            }
        }
        None
    }
}

fn check(graph: &Graph) -> Vec<String> {
    let mut complaints = Vec::new();
    let listed: BTreeSet<&str> = TABLE.iter().map(|row| row.name).collect();
    for member in &graph.members {
        if !listed.contains(member.as_str()) {
            complaints.push(format!(
                "{member}: not in the table of edges (ci/xtask/src/edges/table.rs)"
            ));
        }
    }
    for row in TABLE {
        if !graph.members.contains(row.name) {
            complaints.push(format!(
                "{}: in the table of edges, but no crate of the workspace",
                row.name
            ));
            continue;
        }
        complaints.extend(check_row(graph, row));
    }
    complaints
}

fn check_row(graph: &Graph, row: &Row) -> Vec<String> {
    let Row {
        name,
        may,
        forbidden,
        is_transitive,
    } = row;
    let mut complaints = Vec::new();
    for target in graph.direct(name) {
        if graph.members.contains(target) && !may.contains(&target.as_str()) {
            complaints.push(format!("{name} -> {target}: not an edge of the table"));
        }
    }
    for target in *forbidden {
        let way = if *is_transitive {
            graph.path(name, target)
        } else {
            let is_direct = graph.direct(name).any(|direct| direct == target);
            is_direct.then(|| vec![(*name).to_owned(), (*target).to_owned()])
        };
        if let Some(way) = way {
            complaints.push(format!("{}: forbidden", way.join(" -> ")));
        }
    }
    complaints
}

/// What no graph shows: the harness runs the real provider, and what judges imports nothing it judges.
fn check_sources(root: &Path) -> anyhow::Result<Vec<String>> {
    const JUDGED: &[&str] = &[
        "controller_core",
        "controller_cluster",
        "controller_azure",
        "controller_reconcilers",
        "controller::",
        "fake_arm",
        "fake_apiserver",
    ];
    let mut complaints = Vec::new();
    for (path, text) in sources(root, "rs")? {
        if path.starts_with("scenarios/") && text.contains("CloudProvider for ") {
            complaints.push(format!(
                "{path}: implements CloudProvider; scenarios run the real one"
            ));
        }
        if path.starts_with("scenarios/src/invariants/") {
            let code = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            for line in code {
                for judged in JUDGED.iter().filter(|judged| line.contains(*judged)) {
                    complaints.push(format!(
                        "{path}: an invariant imports what it judges: {judged}"
                    ));
                }
            }
        }
    }
    Ok(complaints)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(members: &[&str], edges: &[(&str, &[&str])]) -> Graph {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Graph {
            members: owned(members),
            edges: edges
                .iter()
                .map(|(from, to)| ((*from).to_owned(), owned(to)))
                .collect(),
        }
    }

    #[test]
    fn unlisted_edges_and_forbidden_packages_are_found() {
        let row = Row {
            name: "a",
            may: &["b"],
            forbidden: &["tokio"],
            is_transitive: true,
        };
        let members = ["a", "b", "c"];
        let good = graph(&members, &[("a", &["b", "serde"]), ("b", &["serde"])]);
        assert_eq!(check_row(&good, &row), Vec::<String>::new());
        let bad = graph(
            &members,
            &[("a", &["b", "c"]), ("b", &["x"]), ("x", &["tokio"])],
        );
        assert_eq!(
            check_row(&bad, &row),
            [
                "a -> c: not an edge of the table",
                "a -> b -> x -> tokio: forbidden"
            ]
        );
        let direct_only = Row {
            is_transitive: false,
            may: &["b", "c"],
            ..row
        };
        assert_eq!(check_row(&bad, &direct_only), Vec::<String>::new());
    }

    #[test]
    fn edges_of_the_table_only_go_down() {
        let position = |name: &str| TABLE.iter().position(|row| row.name == name);
        for (index, row) in TABLE.iter().enumerate() {
            for target in row.may {
                let target_index = position(target).expect("the table lists what it allows");
                assert!(target_index > index, "{} -> {target} goes up", row.name);
            }
        }
    }
}
