//! The value of a free expression.

use std::sync::Arc;

use fake_apiserver_components::api::Object;
use fake_arm_cloud::VmView;
use kube_cel::KubeCelExt as _;
use kube_cel::cel::objects::Key;
use kube_cel::cel::{Context, Value as CelValue};
use serde_json::{Value, json};

use crate::format::Cel;
use crate::observe::{
    CAPACITY_LABEL, Observation, POOL_LABEL, POOL_TAG, exists, is_of_pool, is_true, resources,
};

/// Whether an expression is true; an error when it has no truth value.
pub(crate) fn value(cel: &Cel, observation: &Observation<'_>) -> Result<bool, String> {
    let mut context = Context::default().with_all();
    let whole = cel.text().contains(".object");
    let rows: [(&str, &dyn Fn() -> Value); 9] = [
        ("nodes", &|| {
            let ours = |node: &&Object| !node.value()["metadata"]["labels"][POOL_LABEL].is_null();
            rows(
                observation.objects.all(resources::NODES).filter(ours),
                whole,
                node,
            )
        }),
        ("claims", &|| {
            rows(observation.objects.all(resources::CLAIMS), whole, machine)
        }),
        ("pools", &|| {
            rows(observation.objects.all(resources::POOLS), whole, |_| {
                json!({})
            })
        }),
        ("pods", &|| {
            let ours = |pod: &&Object| pod.namespace() != "kube-system";
            rows(
                observation.objects.all(resources::PODS).filter(ours),
                whole,
                pod,
            )
        }),
        ("vms", &|| {
            let ours = |vm: &&VmView| is_of_pool(vm) && exists(vm);
            observation.cloud.vms.iter().filter(ours).map(vm).collect()
        }),
        ("nics", &|| {
            let nics = observation.cloud.pool_nics();
            nics.map(|nic| json!({"name": nic.name, "attached": nic.attached_to.is_some()}))
                .collect()
        }),
        ("disks", &|| {
            let disks = observation.cloud.pool_disks();
            disks
                .map(|disk| json!({"name": disk.name, "attached": disk.attached_to.is_some()}))
                .collect()
        }),
        ("cost", &|| {
            let vms = observation.cloud.pool_vms();
            json!(dollars(vms.map(|vm| vm.price_per_hour.0).sum()))
        }),
        ("time", &|| json!(observation.elapsed.as_secs_f64())),
    ];
    for (name, make) in rows {
        if cel.uses(name) {
            context.add_variable_from_value(name, converted(&make()));
        }
    }
    match cel.program().execute(&context) {
        Ok(CelValue::Bool(value)) => Ok(value),
        Ok(other) => Err(format!("is neither true nor false: {other:?}")),
        Err(error) => Err(format!("cannot be evaluated: {error}")),
    }
}

fn rows<'a>(
    objects: impl Iterator<Item = &'a Object>,
    whole: bool,
    more: impl Fn(&Object) -> Value,
) -> Value {
    let rows = objects.map(|object| {
        let mut row = more(object);
        let metadata = &object.value()["metadata"];
        row["name"] = json!(object.name());
        row["labels"] = match &metadata["labels"] {
            Value::Null => json!({}),
            labels => labels.clone(),
        };
        if whole {
            row["object"] = object.value().clone();
        }
        row
    });
    rows.collect()
}

fn machine(object: &Object) -> Value {
    let labels = &object.value()["metadata"]["labels"];
    let text = |key: &str| labels[key].as_str().unwrap_or_default();
    json!({
        "pool": text(POOL_LABEL),
        "size": text("node.kubernetes.io/instance-type"),
        "zone": text("topology.kubernetes.io/zone"),
        "capacity": text(CAPACITY_LABEL),
        "ready": is_true(object, "Ready"),
    })
}

fn node(object: &Object) -> Value {
    let mut row = machine(object);
    row["cordoned"] = json!(object.value()["spec"]["unschedulable"] == true);
    row
}

fn pod(object: &Object) -> Value {
    let value = object.value();
    json!({
        "namespace": object.namespace(),
        "phase": value["status"]["phase"].as_str().unwrap_or("Pending"),
        "node": value["spec"]["nodeName"].as_str().unwrap_or_default(),
    })
}

fn vm(vm: &VmView) -> Value {
    json!({
        "name": vm.name,
        "pool": vm.tags.get(POOL_TAG),
        "size": vm.size,
        "zone": vm.zone,
        "capacity": vm.capacity_type.as_str(),
        "state": vm.state,
        "cores": vm.cores,
        "price": dollars(vm.price_per_hour.0),
    })
}

/// From millionths of a dollar.
#[expect(
    clippy::cast_precision_loss,
    reason = "prices are far below 2^52 millionths"
)]
fn dollars(micro: u64) -> f64 {
    micro as f64 / 1e6
}

fn converted(value: &Value) -> CelValue {
    match value {
        Value::Null => CelValue::Null,
        Value::Bool(value) => CelValue::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => CelValue::Int(whole),
            (None, Some(number)) => CelValue::Float(number),
            (None, None) => CelValue::Null,
        },
        Value::String(text) => CelValue::String(Arc::new(text.clone())),
        Value::Array(items) => CelValue::List(Arc::new(items.iter().map(converted).collect())),
        Value::Object(map) => {
            let entries = map
                .iter()
                .map(|(key, value)| (Key::String(Arc::new(key.clone())), converted(value)));
            CelValue::Map(kube_cel::cel::objects::Map {
                map: Arc::new(entries.collect()),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::testing::sound;

    #[test]
    fn rows_tell_what_exists() {
        let world = sound();
        for (text, expected) in [
            ("nodes.size() == 1 && nodes.all(n, n.pool == 'pool')", true),
            ("nodes.exists(n, n.ready)", false),
            (
                "vms.map(v, v.cores) == [4] && cost > 0.2 && cost < 0.25",
                true,
            ),
            ("pools[0].object.spec.limits.cpu == '6'", true),
            ("time == 3600.0 && pods.size() == 0", true),
        ] {
            let cel = Cel::compile(text).expect(text);
            world.observed(|observation| {
                assert_eq!(value(&cel, observation), Ok(expected), "{text}");
            });
        }
        let cel = Cel::compile("nodes.map(n, n.name)").expect("valid");
        world.observed(|observation| assert!(value(&cel, observation).is_err()));
    }
}
