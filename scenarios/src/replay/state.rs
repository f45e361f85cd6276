//! The world as it was: objects and machines, made again from what changed.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::replay::{Line, TraceFile};
use crate::trace::apply;

/// A machine, as the cloud told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// VM size.
    pub size: String,
    /// For example `westeurope-1`.
    pub zone: String,
    /// `spot` or `on-demand`.
    pub capacity: String,
    /// `creating`, `running` and so on.
    pub state: String,
    /// Millionths of a dollar per hour while it exists.
    pub per_hour: u64,
}

/// Everything that a trace knows of one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// By plural kind, namespace and name.
    pub objects: BTreeMap<(String, String, String), Value>,
    /// Machines of NodePools by name; those that are gone stay, at no cost.
    pub machines: BTreeMap<String, Machine>,
}

impl State {
    /// Takes over one line.
    pub fn take(&mut self, line: &Line) {
        let value = &line.value;
        match line.kind.as_str() {
            "write" => {
                let key = key_of(value);
                if value["op"] == "delete" {
                    self.objects.remove(&key);
                } else if let Some(object) = value["more"].get("object") {
                    self.objects.insert(key, object.clone());
                } else if let Some(object) = self.objects.get_mut(&key) {
                    apply(object, &value["more"]["diff"]);
                }
            }
            "vm" => {
                let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
                let gone = value["state"] == "gone";
                let per_hour = value["perHour"].as_u64().filter(|_| !gone);
                let machine = Machine {
                    size: text("size"),
                    zone: text("zone"),
                    capacity: text("capacity"),
                    state: text("state"),
                    per_hour: per_hour.unwrap_or_default(),
                };
                self.machines.insert(text("name"), machine);
            }
            _ => {}
        }
    }

    /// What all machines cost, in millionths of a dollar per hour.
    pub fn per_hour(&self) -> u64 {
        self.machines.values().map(|machine| machine.per_hour).sum()
    }
}

/// Kind, namespace and name of a write.
pub(super) fn key_of(value: &Value) -> (String, String, String) {
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    (text("kind"), text("ns"), text("name"))
}

impl TraceFile {
    /// The state at a time; what happened at exactly this time has happened.
    pub fn at(&self, millis: u64) -> State {
        let mut state = State::default();
        for line in self.lines.iter().take_while(|line| line.at <= millis) {
            state.take(line);
        }
        state
    }
}
