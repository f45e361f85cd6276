//! What each verb of a timeline does.

use serde_json::{Value, json};

use fake_arm_cloud::{CapacityType, QuotaKind, VmState, VmView};

use crate::format::{Action, ObjectRef, Source, Step, Vms};
use crate::observe::is_of_pool;
use crate::world::client::Client;
use crate::world::setup;
use crate::world::site::Site;

/// A step failed: the scenario asks for something that cannot be done.
pub(crate) type StepError = String;

/// Carries out a step, except for those that concern the controller's process.
pub(crate) async fn carry_out(
    step: &Step,
    source: &Source,
    site: &mut Site,
    client: &mut Client,
) -> Result<(), StepError> {
    match &step.action {
        Action::Apply(manifests) => setup::apply_manifests(client, source, manifests)
            .await
            .map_err(|error| error.to_string()),
        Action::Delete(target) => client
            .delete(&reference(target))
            .await
            .map(drop)
            .map_err(|error| error.to_string()),
        Action::Scale { target, replicas } => {
            let patch = json!({"spec": {"replicas": replicas}});
            let scaled = client.merge(&reference(target), "scale", &patch).await;
            scaled.map(drop).map_err(|error| error.to_string())
        }
        Action::Patch { target, merge } => {
            let patched = client.merge(&reference(target), "", merge).await;
            patched.map(drop).map_err(|error| error.to_string())
        }
        Action::SetCapacity(pool) => site
            .arm
            .with_cloud(|cloud, _| cloud.set_capacity(pool))
            .map_err(|error| error.to_string()),
        Action::SetQuota(change) => {
            let kind = match change.scope.as_str() {
                "regional" => QuotaKind::Regional,
                "lowPriority" => QuotaKind::LowPriority,
                family => QuotaKind::Family(family.to_owned()),
            };
            site.arm
                .with_cloud(|cloud, _| cloud.set_quota(&kind, change.limit))
                .map_err(|error| error.to_string())
        }
        Action::EvictVm(vms) => {
            let wanted = Vms {
                capacity_type: Some("spot".to_owned()),
                ..vms.clone()
            };
            let chosen = choose(site, &wanted)?;
            for vm in chosen {
                site.arm
                    .with_cloud(|cloud, now| cloud.evict(now, &vm.name))
                    .map_err(|error| error.to_string())?;
            }
            Ok(())
        }
        Action::DeleteVm(vms) => {
            for vm in choose(site, vms)? {
                delete_vm(site, &vm)?;
            }
            Ok(())
        }
        Action::CrashController { .. } | Action::CorruptBootstrap(_) => Ok(()),
    }
}

/// One line about a step.
pub(crate) fn describe(action: &Action) -> String {
    let object = |target: &ObjectRef| format!("{} {}", target.kind, target.name);
    match action {
        Action::Apply(manifests) => {
            let names = manifests.iter().map(|manifest| {
                let object = &manifest.object;
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                format!(
                    "{} {}",
                    text(&object["kind"]),
                    text(&object["metadata"]["name"])
                )
            });
            format!("apply {}", names.collect::<Vec<_>>().join(", "))
        }
        Action::Delete(target) => format!("delete {}", object(target)),
        Action::Scale { target, replicas } => format!("scale {} to {replicas}", object(target)),
        Action::Patch { target, merge } => format!("patch {} with {merge}", object(target)),
        Action::SetCapacity(pool) => {
            let zone = pool.zone.as_deref().unwrap_or("all zones");
            let kind = pool.capacity_type.map_or("any", CapacityType::as_str);
            format!(
                "capacity of {} ({kind}, {zone}) is now {}",
                pool.size, pool.available
            )
        }
        Action::SetQuota(change) => format!("quota of {} is now {}", change.scope, change.limit),
        Action::EvictVm(vms) => format!("evict {} spot machine(s)", vms.count),
        Action::DeleteVm(vms) => format!("delete {} machine(s) by hand", vms.count),
        Action::CrashController { .. } => "kill the controller".to_owned(),
        Action::CorruptBootstrap(Some(fault)) => format!("break bootstrap data: {fault:?}"),
        Action::CorruptBootstrap(None) => "bootstrap data is right again".to_owned(),
    }
}

fn reference(target: &ObjectRef) -> Value {
    json!({
        "apiVersion": target.api_version,
        "kind": target.kind,
        "metadata": {"name": target.name, "namespace": target.namespace},
    })
}

fn choose(site: &Site, wanted: &Vms) -> Result<Vec<VmView>, StepError> {
    let matches = |vm: &VmView| {
        is_of_pool(vm)
            && vm.state == VmState::Running
            && wanted.size.as_ref().is_none_or(|size| *size == vm.size)
            && wanted.zone.as_ref().is_none_or(|zone| *zone == vm.zone)
            && wanted
                .capacity_type
                .as_deref()
                .is_none_or(|kind| kind == vm.capacity_type.as_str())
    };
    let all = site.arm.with_cloud(|cloud, _| cloud.vms());
    let mut vms: Vec<VmView> = all.into_iter().filter(matches).collect();
    vms.sort_by(|left, right| (left.created, &left.name).cmp(&(right.created, &right.name)));
    if vms.is_empty() {
        return Err("no running machine of a NodePool matches".to_owned());
    }
    vms.truncate(usize::try_from(wanted.count).unwrap_or(usize::MAX));
    Ok(vms)
}

/// Deletes a machine as somebody with the right to do so would, with a request of their own.
fn delete_vm(site: &Site, vm: &VmView) -> Result<(), StepError> {
    use fake_arm_cloud::{ArmRequest, Method};
    let tenant = site
        .arm
        .with_cloud(|cloud, _| cloud.config().tenant_id.clone());
    let base = "https://localhost";
    let form = "grant_type=client_credentials&client_id=00000000-0000-0000-0000-0000000000c1&client_secret=x&scope=https%3A%2F%2Fmanagement.core.windows.net%2F.default";
    let token = site.arm.handle(
        &ArmRequest::new(Method::Post, base, &format!("/{tenant}/oauth2/v2.0/token"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form),
    );
    let token = token.json()["access_token"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let target = format!("{}?api-version=2024-07-01", vm.arm_id);
    let answer = site.arm.handle(
        &ArmRequest::new(Method::Delete, base, &target)
            .header("authorization", &format!("Bearer {token}")),
    );
    if answer.status < 300 {
        Ok(())
    } else {
        Err(format!(
            "deleting {} was refused: {}",
            vm.name,
            answer.json()
        ))
    }
}
