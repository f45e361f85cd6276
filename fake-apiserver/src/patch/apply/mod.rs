//! Server-side apply (`kubernetes-sigs/structured-merge-diff merge/`,
//! `kubernetes/kubernetes staging/src/k8s.io/apimachinery/pkg/util/managedfields`).

mod fields;
pub(crate) mod managed;
mod merge;

use serde_json::Value;

use crate::machine::Call;
use crate::meta;
use crate::schema::Schema;
use crate::status::{Result, Status};
use fields::{Fields, fields_of};
use managed::{Entries, Operation};

/// The object after applying `config` onto `live`, `managedFields` included.
pub(crate) fn apply(call: &Call<'_>, live: Option<&Value>, config: &Value) -> Result<Value> {
    let schema = call.view.schema();
    let schema = schema.as_deref();
    let root = schema.map(Schema::root);
    let wanted = managed::strip(fields_of(config, root, schema), call);
    let mut entries = Entries::of(live);
    if let Some(live) = live
        && entries.is_empty()
    {
        // what is there was set by somebody before fields were tracked
        let all = managed::strip(fields_of(live, root, schema), call);
        entries.before_first_apply(&all, call);
    }
    let conflicts = conflicts(&entries, &wanted, (live, config), call);
    if !conflicts.is_empty() {
        if call.options.force != Some(true) {
            return Err(report(&conflicts));
        }
        for (index, _, fields) in &conflicts {
            entries.take_from(*index, fields);
        }
    }
    let previous = entries.fields_of(call, Operation::Apply);
    let mut merged = match live {
        Some(live) => {
            let mut merged = live.clone();
            merge::merge(&mut merged, &restrict(config, call), root, schema);
            merged
        }
        None => config.clone(),
    };
    if let Some(previous) = previous {
        let others = entries.others(call, Operation::Apply);
        let dropped = previous.minus(&wanted).minus(&others);
        merge::remove(&mut merged, &dropped, &others.union(&wanted));
    }
    if let Some(version) = config["metadata"].get("resourceVersion") {
        meta::set(&mut merged, "resourceVersion", version.clone());
    }
    if let Some(uid) = config["metadata"].get("uid") {
        meta::set(&mut merged, "uid", uid.clone());
    }
    entries.set(call, Operation::Apply, wanted);
    entries.write(&mut merged);
    Ok(merged)
}

/// Unknown fields of built-in kinds are always an error of apply.
pub(crate) fn check_known(call: &Call<'_>, config: &Value) -> Result<()> {
    let resource = &call.view.resource;
    let Some(schema) = call.view.schema().filter(|_| !resource.custom) else {
        return Ok(());
    };
    let mut copy = config.clone();
    let report = crate::schema::decode::prune(&mut copy, &schema, &resource.kind, true);
    let Some(path) = report.unknown.first() else {
        return Ok(());
    };
    Err(Status::plain_error(format!(
        "failed to create typed patch object ({}/{}; {}/{}, Kind={}): .{path}: field not declared in schema",
        meta::string(config, "namespace"),
        call.name,
        resource.group,
        call.view.served().name,
        resource.kind,
    )))
}

/// `/status` applies nothing but the status, the main endpoint everything else.
fn restrict(config: &Value, call: &Call<'_>) -> Value {
    let mut config = config.clone();
    let has_status = call.view.has_status();
    if let Some(map) = config.as_object_mut() {
        match call.subresource {
            "status" => map.retain(|name, _| name == "status"),
            "" if has_status => {
                map.remove("status");
            }
            _ => {}
        }
    }
    config
}

/// `(entry, manager as shown, fields)` per other manager whose value would change.
type Conflicts = Vec<(usize, String, Fields)>;

fn conflicts(
    entries: &Entries,
    wanted: &Fields,
    (live, config): (Option<&Value>, &Value),
    call: &Call<'_>,
) -> Conflicts {
    let Some(live) = live else { return Vec::new() };
    let mut found = Vec::new();
    for (index, shown, owned) in entries.of_others(call, Operation::Apply) {
        let shared = wanted.intersection(owned);
        let changed =
            shared.filter_leaves(&mut |path| fields::get(live, path) != fields::get(config, path));
        if !changed.is_empty() {
            found.push((index, shown, changed));
        }
    }
    found
}

fn report(conflicts: &Conflicts) -> Status {
    let listed: Vec<(String, String)> = conflicts
        .iter()
        .flat_map(|(_, shown, fields)| {
            fields
                .paths()
                .into_iter()
                .map(move |path| (shown.clone(), path))
        })
        .collect();
    Status::apply_conflict(&listed)
}

#[cfg(test)]
mod tests;
