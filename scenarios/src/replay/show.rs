//! Answers about one time: an overview, or one object and what touched it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::format::nearest;
use crate::replay::state::{State, key_of};
use crate::replay::{Line, TraceFile};
use crate::story::{money, stamp};
use crate::text::append;
use crate::trace::changed;

/// Things that touched an object; more of them are counted.
const TOUCHED_MAX: usize = 200;

/// One object at one time.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Show {
    /// Virtual milliseconds since the start.
    pub at: u64,
    /// Plural kind.
    pub kind: String,
    /// Empty for cluster-scoped kinds.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// The object; absent: it did not exist at that time.
    pub object: Option<Value>,
    /// What touched it until then, the last ones.
    pub touched: Vec<Touch>,
}

/// Something that concerned an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Touch {
    /// Virtual milliseconds since the start.
    pub at: u64,
    /// Number of the record; absent for asides.
    pub record: Option<u64>,
    /// In words.
    pub text: String,
}

/// Why there is nothing to show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShowError {
    /// It cannot be read.
    #[error(
        "'{0}' names no object: write KIND/NAME or KIND/NAMESPACE/NAME, for example nodeclaim/general-purpose-x7k2p or pod/default/inflate-1"
    )]
    Malformed(String),
    /// No such kind.
    #[error("the trace holds no {0}; it holds {1}")]
    Kind(String, String),
    /// No such object.
    #[error("the trace holds no {0} '{1}'{2}")]
    Name(String, String, String),
}

/// Finds an object by `kind/name` or `kind/namespace/name` and shows it as it was.
///
/// # Errors
///
/// When the trace never held such an object.
pub fn show(trace: &TraceFile, wanted: &str, millis: u64) -> Result<Show, ShowError> {
    let parts: Vec<&str> = wanted.split('/').collect();
    let (kind, namespace, name) = match parts[..] {
        [kind, name] if !name.is_empty() => (kind, None, name),
        [kind, namespace, name] if !name.is_empty() => (kind, Some(namespace), name),
        _ => return Err(ShowError::Malformed(wanted.to_owned())),
    };
    let known = known(trace);
    let kinds: Vec<&str> = known.keys().map(String::as_str).collect();
    let plural = kinds.iter().find(|plural| is_kind(kind, plural));
    let plural = plural.ok_or_else(|| ShowError::Kind(kind.to_owned(), kinds.join(", ")))?;
    let of_kind = &known[*plural];
    let found = of_kind
        .iter()
        .find(|(space, own)| own == name && namespace.is_none_or(|wanted| wanted == space));
    let (namespace, name) = found.ok_or_else(|| {
        let names = of_kind.iter().map(|(_, name)| name.as_str());
        let hint = nearest(name, names).map(|near| format!(", did you mean '{near}'?"));
        ShowError::Name(kind.to_owned(), name.to_owned(), hint.unwrap_or_default())
    })?;
    let state = trace.at(millis);
    let key = ((*plural).to_owned(), namespace.clone(), name.clone());
    let lines = trace.lines().iter().take_while(|line| line.at <= millis);
    let mut touched: Vec<Touch> = lines.filter_map(|line| touch(line, &key)).collect();
    let older = touched.len().saturating_sub(TOUCHED_MAX);
    touched.drain(..older);
    let object = if *plural == MACHINES {
        state.machines.get(name).map(machine)
    } else {
        state.objects.get(&key).cloned()
    };
    Ok(Show {
        at: millis,
        kind: key.0,
        namespace: key.1,
        name: key.2,
        object,
        touched,
    })
}

/// What machines are called, beside the kinds of Kubernetes.
const MACHINES: &str = "machines";

fn machine(machine: &super::Machine) -> Value {
    serde_json::json!({
        "size": machine.size,
        "zone": machine.zone,
        "capacityType": machine.capacity,
        "state": machine.state,
        "microDollarsPerHour": machine.per_hour,
    })
}

/// Whether a kind as people write it is this one.
fn is_kind(written: &str, plural: &str) -> bool {
    let written = written.to_ascii_lowercase();
    let short = match written.as_str() {
        "vm" | "vms" => MACHINES,
        "po" => "pods",
        "no" => "nodes",
        "np" => "nodepools",
        "nc" => "nodeclaims",
        "deploy" => "deployments",
        "pdb" => "poddisruptionbudgets",
        other => other,
    };
    short == plural
        || plural.strip_suffix('s') == Some(short)
        || plural.strip_suffix("es") == Some(short)
}

/// Everything that the trace ever held: namespaces and names by kind.
fn known(trace: &TraceFile) -> BTreeMap<String, Vec<(String, String)>> {
    let mut known: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for line in trace.lines() {
        let (kind, namespace, name) = match line.kind.as_str() {
            "write" => key_of(&line.value),
            "vm" => {
                let name = line.value["name"].as_str().unwrap_or_default();
                (MACHINES.to_owned(), String::new(), name.to_owned())
            }
            _ => continue,
        };
        let list = known.entry(kind).or_default();
        let entry = (namespace, name);
        if !list.contains(&entry) {
            list.push(entry);
        }
    }
    known
}

/// What a line has to do with an object.
fn touch(line: &Line, key: &(String, String, String)) -> Option<Touch> {
    let value = &line.value;
    let text = |name: &str| value[name].as_str().unwrap_or_default();
    let said = match line.kind.as_str() {
        "write" if key_of(value) == *key => {
            let mut what = format!("{} (revision {})", text("op"), value["rv"]);
            if let Some(diff) = value["more"].get("diff") {
                let paths = changed(diff);
                let noise = |path: &&String| {
                    !path.starts_with("metadata.managedFields")
                        && *path != "metadata.resourceVersion"
                };
                let paths: Vec<&str> = paths.iter().filter(noise).map(String::as_str).collect();
                append(&mut what, format_args!(": {}", paths.join(", ")));
            }
            what
        }
        "vm" if key.0 == MACHINES && text("name") == key.2 => {
            let per_hour = value["perHour"].as_u64().unwrap_or_default();
            format!(
                "{}, {} {}, {}",
                text("state"),
                text("size"),
                text("capacity"),
                money(per_hour)
            )
        }
        "decide" if about(text("about"), key) => {
            format!("decided {}: {}", text("what"), text("why"))
        }
        "req" if is_write(text("verb")) && ends_with(text("path"), &key.2) => {
            format!(
                "{} asks {}: {} {}",
                text("p"),
                text("to"),
                text("verb"),
                text("path")
            )
        }
        "cloud" if text("id").ends_with(&format!("/{}", key.2)) => {
            format!("cloud: {} {}", text("what"), text("arg"))
        }
        "fault" if ends_with(text("arg"), &key.2) => format!("fault: {}", text("what")),
        _ => return None,
    };
    Some(Touch {
        at: line.at,
        record: value["n"].as_u64(),
        text: said,
    })
}

/// `NodeClaim/x` is about the NodeClaim `x`, and about the node and machine of that name.
fn about(about: &str, key: &(String, String, String)) -> bool {
    about.split_once('/').is_some_and(|(kind, name)| {
        name == key.2 && (is_kind(kind, &key.0) || key.0 == MACHINES && kind != "Pod")
    })
}

fn is_write(verb: &str) -> bool {
    matches!(verb, "POST" | "PUT" | "PATCH" | "DELETE")
}

fn ends_with(path: &str, name: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    path.split('/').any(|part| part == name)
}

impl Show {
    /// For people: what touched it, then the object as YAML.
    pub fn render(&self) -> String {
        let place = if self.namespace.is_empty() {
            String::new()
        } else {
            format!("{}/", self.namespace)
        };
        let when = stamp(Duration::from_millis(self.at));
        let mut out = format!("{} {place}{} at {when}\n\n", self.kind, self.name);
        for touch in &self.touched {
            let record = touch
                .record
                .map_or_else(String::new, |record| format!("#{record}"));
            let when = stamp(Duration::from_millis(touch.at));
            append(
                &mut out,
                format_args!("{when:>10} {record:>8}  {}\n", touch.text),
            );
        }
        out.push('\n');
        match &self.object {
            None => out.push_str("it does not exist at this time\n"),
            Some(Value::Object(entries)) => out.push_str(&crate::shrink::yaml(entries)),
            Some(other) => append(&mut out, format_args!("{other}\n")),
        }
        out
    }
}

/// What a trace is about, and the world at one time.
pub fn overview(trace: &TraceFile, millis: Option<u64>) -> String {
    let figures = trace.figures();
    let mut out = format!(
        "trace {} ({} records)\n{} virtual · {} requests, {} writes · {} machines · {} faults · {} failed\n",
        figures.trace_hash,
        figures.trace_records,
        stamp(Duration::from_millis(figures.virtual_millis)),
        figures.requests,
        figures.writes,
        figures.machines,
        figures.faults,
        figures.failed,
    );
    let at = millis.unwrap_or(figures.virtual_millis);
    let state = trace.at(at);
    append(
        &mut out,
        format_args!("\nat {}\n", stamp(Duration::from_millis(at))),
    );
    out.push_str(&counts(&state));
    out.push_str("\nuntil then\n");
    let telling = trace.lines().iter().take_while(|line| line.at <= at);
    let telling: Vec<String> = telling.filter_map(sentence).collect();
    let last = telling
        .len()
        .saturating_sub(if millis.is_some() { 20 } else { 60 });
    for line in telling.iter().skip(last) {
        append(&mut out, format_args!("{line}\n"));
    }
    out
}

fn counts(state: &State) -> String {
    let mut out = String::new();
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for (kind, ..) in state.objects.keys() {
        *kinds.entry(kind).or_default() += 1;
    }
    for (kind, count) in kinds {
        append(&mut out, format_args!("  {kind}: {count}\n"));
    }
    let machines = state
        .machines
        .values()
        .filter(|machine| machine.state != "gone");
    let cost = money(state.per_hour());
    append(
        &mut out,
        format_args!("  {MACHINES}: {}, {cost}\n", machines.count()),
    );
    out
}

/// What is worth a line in an overview.
fn sentence(line: &Line) -> Option<String> {
    let value = &line.value;
    let text = |name: &str| value[name].as_str().unwrap_or_default();
    let said = match line.kind.as_str() {
        "step" | "proc" => text("what").to_owned(),
        "phase" => text("name").to_owned(),
        "decide" => format!("{} {}: {}", text("what"), text("about"), text("why")),
        "fault" => format!("{} {}", text("what"), text("arg")),
        "cloud" => format!("{} {} {}", text("what"), text("id"), text("arg")),
        "assert" => {
            let mark = if value["ok"] == true { "met" } else { "FAILED" };
            format!("{mark} {}", text("name"))
        }
        _ => return None,
    };
    let when = stamp(Duration::from_millis(line.at));
    Some(format!("{when:>10}  {:<7} {said}", line.kind))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const TRACE: &str = r#"{"t":0,"n":0,"p":"world","k":"trace","version":1}
{"t":1,"n":1,"p":"store","k":"write","op":"create","kind":"nodeclaims","ns":"","name":"a","rv":5,"body":"0","more":{"object":{"kind":"NodeClaim","spec":{"x":1}}}}
{"t":2,"n":2,"p":"controller#1","k":"req","id":1,"to":"kube","verb":"PATCH","path":"/apis/x/nodeclaims/a?y","body":"0","write":1}
{"t":3,"n":3,"p":"store","k":"write","op":"update","kind":"nodeclaims","ns":"","name":"a","rv":6,"body":"0","more":{"diff":{"spec":{"x":2}}}}
{"aside":"vm","name":"a","pool":"p","size":"D2","zone":"w-1","capacity":"spot","state":"running","perHour":3600000,"t":1000}
{"aside":"vm","name":"a","pool":"p","size":"D2","zone":"w-1","capacity":"spot","state":"gone","perHour":3600000,"t":3000}
{"t":4000,"n":4,"p":"store","k":"write","op":"delete","kind":"nodeclaims","ns":"","name":"a","rv":7,"body":"0"}
"#;

    fn trace() -> TraceFile {
        TraceFile::parse(Path::new("t"), TRACE).expect("a trace")
    }

    #[test]
    fn an_object_is_shown_as_it_was() {
        let trace = trace();
        let before = show(&trace, "nodeclaim/a", 2).expect("it is known");
        assert_eq!(before.object.expect("it exists")["spec"]["x"], 1);
        let after = show(&trace, "NodeClaim/a", 3).expect("it is known");
        insta::assert_snapshot!(after.render(), @r"
        nodeclaims a at 0:00.0

            0:00.0       #1  create (revision 5)
            0:00.0       #2  controller#1 asks kube: PATCH /apis/x/nodeclaims/a?y
            0:00.0       #3  update (revision 6): spec.x

        kind: NodeClaim
        spec: {x: 2}
        ");
        let gone = show(&trace, "nodeclaims/a", 4000).expect("it is known");
        assert_eq!(gone.object, None);
        let machine = show(&trace, "vm/a", 1500).expect("it is known");
        assert_eq!(machine.object.expect("it exists")["state"], "running");
        for wrong in ["a", "pod/x", "nodeclaim/b"] {
            show(&trace, wrong, 5).expect_err("there is nothing of that name");
        }
    }

    #[test]
    fn figures_come_from_the_trace() {
        let figures = trace().figures();
        // Two seconds at 3.6 dollars an hour.
        assert_eq!(figures.cost_micro_dollars, 2_000);
        let counts = (figures.machines, figures.peak_machines, figures.writes);
        assert_eq!(counts, (1, 1, 1));
        assert_eq!(figures.trace_records, 5);
    }
}
