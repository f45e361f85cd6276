//! `metadata.managedFields`: who set which field.

use serde_json::{Value, json};

use super::fields::{Fields, compare};
use crate::machine::{Call, Machine};
use crate::meta;
use crate::options::Tracking;
use crate::schema::Schema;

/// Upstream's bound on Update entries; older ones merge into one.
const UPDATES_MAX: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

#[derive(Clone, Debug)]
struct Entry {
    manager: String,
    operation: Operation,
    api_version: String,
    subresource: String,
    time: Option<String>,
    fields: Fields,
}

/// The entries of an object.
#[derive(Clone, Debug, Default)]
pub(super) struct Entries(Vec<Entry>);

impl Entries {
    pub(super) fn of(object: Option<&Value>) -> Self {
        let entries = object.and_then(|object| object["metadata"]["managedFields"].as_array());
        Self(
            entries
                .into_iter()
                .flatten()
                .filter_map(Entry::parse)
                .collect(),
        )
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Everything set before the first apply belongs to a manager of that name.
    pub(super) fn before_first_apply(&mut self, fields: &Fields, call: &Call<'_>) {
        if fields.is_empty() {
            return;
        }
        self.0.push(Entry {
            manager: "before-first-apply".to_owned(),
            operation: Operation::Update,
            api_version: call.view.api_version().to_owned(),
            subresource: call.subresource.to_owned(),
            time: Some(meta::time(call.now)),
            fields: fields.clone(),
        });
    }

    /// `(index, as shown in conflicts, fields)` of everybody but the caller.
    pub(super) fn of_others<'a>(
        &'a self,
        call: &'a Call<'_>,
        operation: Operation,
    ) -> impl Iterator<Item = (usize, String, &'a Fields)> {
        let others = self.0.iter().enumerate();
        others
            .filter(move |(_, entry)| !entry.is_of(call, operation))
            .map(|(index, entry)| {
                let mut shown = format!("\"{}\"", entry.manager);
                if !entry.subresource.is_empty() {
                    shown = format!("{shown} with subresource \"{}\"", entry.subresource);
                }
                if entry.operation == Operation::Update {
                    shown = format!("{shown} using {}", entry.api_version);
                }
                (index, shown, &entry.fields)
            })
    }

    pub(super) fn fields_of(&self, call: &Call<'_>, operation: Operation) -> Option<Fields> {
        self.0
            .iter()
            .find(|entry| entry.is_of(call, operation))
            .map(|entry| entry.fields.clone())
    }

    pub(super) fn others(&self, call: &Call<'_>, operation: Operation) -> Fields {
        let others = self.0.iter().filter(|entry| !entry.is_of(call, operation));
        others.fold(Fields::default(), |all, entry| all.union(&entry.fields))
    }

    pub(super) fn take_from(&mut self, index: usize, fields: &Fields) {
        if let Some(entry) = self.0.get_mut(index) {
            entry.fields = entry.fields.minus(fields);
        }
    }

    /// Sets the caller's fields; the time moves only when they change.
    pub(super) fn set(&mut self, call: &Call<'_>, operation: Operation, fields: Fields) {
        let time = Some(meta::time(call.now));
        match self.0.iter_mut().find(|entry| entry.is_of(call, operation)) {
            Some(entry) if entry.fields == fields => {
                call.view.api_version().clone_into(&mut entry.api_version);
            }
            Some(entry) => {
                entry.fields = fields;
                entry.time = time;
                call.view.api_version().clone_into(&mut entry.api_version);
            }
            None => self.0.push(Entry {
                manager: call.options.manager.clone(),
                operation,
                api_version: call.view.api_version().to_owned(),
                subresource: call.subresource.to_owned(),
                time,
                fields,
            }),
        }
    }

    pub(super) fn write(mut self, object: &mut Value) {
        self.0.retain(|entry| !entry.fields.is_empty());
        self.cap();
        self.0.sort_by(|left, right| {
            let of = |entry: &Entry| (entry.operation, entry.time.clone(), entry.manager.clone());
            of(left).cmp(&of(right))
        });
        if self.0.is_empty() {
            meta::remove(object, "managedFields");
            return;
        }
        let entries: Vec<Value> = self.0.iter().map(Entry::to_json).collect();
        meta::set(object, "managedFields", entries);
    }

    fn cap(&mut self) {
        let updates = self
            .0
            .iter()
            .filter(|entry| entry.operation == Operation::Update)
            .count();
        if updates <= UPDATES_MAX {
            return;
        }
        let (mut updates, rest): (Vec<Entry>, Vec<Entry>) = self
            .0
            .drain(..)
            .partition(|entry| entry.operation == Operation::Update);
        updates.sort_by(|left, right| left.time.cmp(&right.time));
        let recent = updates.split_off(updates.len() - (UPDATES_MAX - 1));
        let merged = updates.into_iter().reduce(|all, entry| Entry {
            manager: "ancient-changes".to_owned(),
            fields: all.fields.union(&entry.fields),
            ..entry
        });
        self.0 = rest.into_iter().chain(merged).chain(recent).collect();
    }
}

impl Entry {
    fn is_of(&self, call: &Call<'_>, operation: Operation) -> bool {
        self.manager == call.options.manager
            && self.operation == operation
            && self.subresource == call.subresource
            && (operation == Operation::Apply || self.api_version == call.view.api_version())
    }

    fn parse(value: &Value) -> Option<Self> {
        let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
        Some(Self {
            manager: text("manager"),
            operation: match value["operation"].as_str()? {
                "Apply" => Operation::Apply,
                _ => Operation::Update,
            },
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: value["time"].as_str().map(str::to_owned),
            fields: Fields::from_json(&value["fieldsV1"]),
        })
    }

    fn to_json(&self) -> Value {
        let mut entry = json!({
            "manager": self.manager,
            "operation": match self.operation {
                Operation::Apply => "Apply",
                Operation::Update => "Update",
            },
            "apiVersion": self.api_version,
            "fieldsType": "FieldsV1",
            "fieldsV1": self.fields.to_json(),
        });
        if let Some(time) = &self.time {
            entry["time"] = time.clone().into();
        }
        if !self.subresource.is_empty() {
            entry["subresource"] = self.subresource.clone().into();
        }
        entry
    }
}

/// Takes away what nobody owns: identity, system fields, and the other endpoint's part.
pub(super) fn strip(mut fields: Fields, call: &Call<'_>) -> Fields {
    fields.own = false;
    for step in ["f:apiVersion", "f:kind"] {
        fields.children.remove(step);
    }
    if let Some(metadata) = fields.children.get_mut("f:metadata") {
        metadata.own = false;
        for name in [
            "name",
            "namespace",
            "creationTimestamp",
            "selfLink",
            "uid",
            "clusterName",
            "generation",
            "managedFields",
            "resourceVersion",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        ] {
            metadata.children.remove(&format!("f:{name}"));
        }
        if metadata.is_empty() {
            fields.children.remove("f:metadata");
        }
    }
    match call.subresource {
        "" | "scale" if call.view.has_status() => {
            fields.children.remove("f:status");
        }
        "status" if call.view.resource.custom => {
            fields.children.retain(|step, _| step == "f:status");
        }
        "status" => {
            fields.children.remove("f:spec");
        }
        _ => {}
    }
    fields
}

/// Records a write that is not an apply.
pub(crate) fn track(machine: &Machine, call: &Call<'_>, old: Option<&Value>, new: &mut Value) {
    let sent = new["metadata"]
        .get("managedFields")
        .and_then(Value::as_array);
    let reset = sent.is_some_and(|entries| {
        entries
            .iter()
            .all(|entry| entry.as_object().is_some_and(serde_json::Map::is_empty))
    });
    if reset && old.is_some() {
        meta::remove(new, "managedFields");
        return;
    }
    let given = Entries::of(Some(new));
    let mut entries = if given.is_empty() {
        Entries::of(old)
    } else {
        given
    };
    if machine.tracking == Tracking::Applied && entries.is_empty() {
        meta::remove(new, "managedFields");
        return;
    }
    let schema = call.view.schema();
    let schema = schema.as_deref();
    let root = schema.map(Schema::root);
    let empty = json!({});
    let before = old.unwrap_or(&empty);
    let (changed, removed) = compare((Some(before), Some(new)), root, schema);
    let (changed, removed) = (strip(changed, call), strip(removed, call));
    if changed.is_empty() && removed.is_empty() {
        if entries.is_empty() {
            meta::remove(new, "managedFields");
        } else {
            entries.write(new);
        }
        return;
    }
    for entry in &mut entries.0 {
        let mine = entry.is_of(call, Operation::Update);
        let kept = entry.fields.minus_covered(&removed);
        entry.fields = if mine { kept } else { kept.minus(&changed) };
    }
    if !changed.is_empty() {
        let mine = entries
            .fields_of(call, Operation::Update)
            .unwrap_or_default();
        entries.set(call, Operation::Update, mine.union(&changed));
    }
    entries.write(new);
}
