//! When steps are due, and what each verb of a timeline does.

use std::collections::VecDeque;
use std::time::Duration;

use fake_apiserver_components::api::Object;
use fake_arm_cloud::{
    ArmRequest, CapacityOverride, CapacityType, Method, QuotaKind, VmState, VmView,
};
use serde_json::{Value, json};

use crate::format::{Action, Nodes, ObjectRef, Pods, Scenario, Source, Step, Vms, format_duration};
use crate::observe::{Observation, POOL_LABEL, holds, is_of_pool, resources};
use crate::world::client::Client;
use crate::world::net::{Condition, Route};
use crate::world::setup::{self, SetupError};
use crate::world::site::Site;

/// What remains to be done: the timeline, which may wait, and the load, which does not.
#[derive(Debug)]
pub(crate) struct Schedule {
    timeline: VecDeque<Step>,
    load: VecDeque<Step>,
    /// When the last step of the timeline was done.
    last: Duration,
}

/// A step whose time has come.
#[derive(Debug)]
pub(crate) enum Due {
    /// It is to be done.
    Step(Step),
    /// It has waited in vain.
    Overdue(Step),
}

impl Schedule {
    pub(crate) fn new(timeline: &[Step], load: Vec<Step>) -> Self {
        Self {
            timeline: timeline.iter().cloned().collect(),
            load: load.into(),
            last: Duration::ZERO,
        }
    }

    /// When the next step of the timeline is due: not before those ahead of it are done.
    fn due(&self) -> Option<Duration> {
        let step = self.timeline.front()?;
        let at = step.after_last.map_or(step.at, |pause| self.last + pause);
        Some(at.max(self.last))
    }

    /// When something is to be done, if nothing happens before.
    pub(crate) fn wake_at(&self, observation: &Observation<'_>) -> Option<Duration> {
        let mut due = self.due();
        if let (Some(at), Some(step)) = (due, self.timeline.front())
            && let Action::WaitUntil { condition, within } = &step.action
            && at <= observation.elapsed
            && !holds(condition, observation)
        {
            due = Some(at + *within);
        }
        let load = self.load.front().map(|step| step.at);
        due.into_iter().chain(load).min()
    }

    /// Takes the next step whose time has come.
    pub(crate) fn next(&mut self, observation: &Observation<'_>) -> Option<Due> {
        let now = observation.elapsed;
        if self.load.front().is_some_and(|step| step.at <= now) {
            return self.load.pop_front().map(Due::Step);
        }
        let at = self.due().filter(|at| *at <= now)?;
        let overdue = match &self.timeline.front()?.action {
            Action::WaitUntil { condition, .. } if holds(condition, observation) => false,
            Action::WaitUntil { within, .. } if now < at + *within => return None,
            Action::WaitUntil { .. } => true,
            _ => false,
        };
        let step = self.timeline.pop_front()?;
        // What follows a wait is counted from its end, other steps from when they were due.
        self.last = match &step.action {
            Action::WaitUntil { .. } => now,
            _ => at,
        };
        Some(if overdue {
            Due::Overdue(step)
        } else {
            Due::Step(step)
        })
    }
}

/// Whether this world can do everything that the timeline asks for.
pub(crate) fn check_world(scenario: &Scenario, world: &str) -> Result<(), SetupError> {
    let links = ["pipes", "turmoil"].contains(&world);
    let partition = scenario
        .timeline
        .iter()
        .find(|step| matches!(step.action, Action::Partition { .. }));
    match partition {
        Some(step) if !links => {
            let message = format!("the world '{world}' has no links that could be cut");
            let error = scenario
                .source
                .error(&format!("{}.partition", step.path), message)
                .help("run it with --world pipes or --world turmoil");
            Err(SetupError::Scenario(Box::new(error)))
        }
        _ => Ok(()),
    }
}

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
            let kind = quota_kind(&change.scope);
            site.arm
                .with_cloud(|cloud, _| cloud.set_quota(&kind, change.limit))
                .map_err(|error| error.to_string())
        }
        Action::EvictVm(vms) => evict_vms(site, vms),
        Action::DeleteVm(vms) => {
            for vm in choose(site, vms)? {
                delete_vm(site, &vm)?;
            }
            Ok(())
        }
        Action::Evict(pods) => evict(site, client, pods).await,
        Action::Cordon { nodes, on } => cordon(site, client, nodes, *on).await,
        Action::RestoreCapacity(pool) => {
            site.arm.with_cloud(|cloud, _| {
                cloud.clear_capacity(&pool.size, pool.zone.as_deref(), pool.capacity_type);
            });
            Ok(())
        }
        Action::ZoneOutage { zone, on } => outage(site, zone, *on),
        Action::Partition { from, on } => {
            let condition = if *on {
                Condition::partitioned()
            } else {
                Condition::default()
            };
            let route = Route {
                process: None,
                target: *from,
            };
            site.links.set(&route, condition);
            Ok(())
        }
        Action::CrashController { .. }
        | Action::RestartController { .. }
        | Action::PauseController { .. }
        | Action::CorruptBootstrap(_)
        | Action::WaitUntil { .. } => Ok(()),
    }
}

fn quota_kind(scope: &str) -> QuotaKind {
    match scope {
        "regional" => QuotaKind::Regional,
        "lowPriority" => QuotaKind::LowPriority,
        family => QuotaKind::Family(family.to_owned()),
    }
}

fn evict_vms(site: &mut Site, vms: &Vms) -> Result<(), StepError> {
    let wanted = Vms {
        capacity_type: Some("spot".to_owned()),
        ..vms.clone()
    };
    for vm in choose(site, &wanted)? {
        site.arm
            .with_cloud(|cloud, now| cloud.evict(now, &vm.name))
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Oldest first, by name where equally old.
fn oldest_first(objects: &mut [Object]) {
    objects.sort_by(|left, right| {
        let key = |object: &Object| {
            let created = object.value()["metadata"]["creationTimestamp"].as_str();
            (
                created.unwrap_or_default().to_owned(),
                object.name().to_owned(),
            )
        };
        key(left).cmp(&key(right))
    });
}

fn has_labels(object: &Object, wanted: &std::collections::BTreeMap<String, String>) -> bool {
    let labels = &object.value()["metadata"]["labels"];
    wanted
        .iter()
        .all(|(key, value)| labels[key].as_str() == Some(value))
}

async fn evict(site: &Site, client: &mut Client, pods: &Pods) -> Result<(), StepError> {
    let matches = |pod: &&Object| {
        pod.namespace() == pods.namespace
            && has_labels(pod, &pods.labels)
            && pod.value()["metadata"]["deletionTimestamp"].is_null()
    };
    let mut chosen: Vec<Object> = site
        .objects
        .all(resources::PODS)
        .filter(matches)
        .cloned()
        .collect();
    oldest_first(&mut chosen);
    chosen.truncate(usize::try_from(pods.count).unwrap_or(usize::MAX));
    if chosen.is_empty() {
        return Err("no pod matches".to_owned());
    }
    for pod in chosen {
        client
            .evict(pod.namespace(), pod.name())
            .await
            .map_err(|error| format!("evicting {} was refused: {error}", pod.name()))?;
    }
    Ok(())
}

async fn cordon(
    site: &Site,
    client: &mut Client,
    nodes: &Nodes,
    on: bool,
) -> Result<(), StepError> {
    let matches = |node: &&Object| {
        let value = node.value();
        !value["metadata"]["labels"][POOL_LABEL].is_null()
            && has_labels(node, &nodes.labels)
            && (value["spec"]["unschedulable"] == true) != on
    };
    let mut chosen: Vec<Object> = site
        .objects
        .all(resources::NODES)
        .filter(matches)
        .cloned()
        .collect();
    oldest_first(&mut chosen);
    chosen.truncate(usize::try_from(nodes.count).unwrap_or(usize::MAX));
    if chosen.is_empty() {
        return Err("no node of a NodePool matches".to_owned());
    }
    let patch = json!({"spec": {"unschedulable": if on { json!(true) } else { Value::Null }}});
    for node in chosen {
        let target = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node.name()}});
        let patched = client.merge(&target, "", &patch).await;
        patched.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// `westeurope-1` and `1` name the same zone.
fn same_zone(left: &str, right: &str) -> bool {
    let number = |zone: &str| zone.rsplit('-').next().unwrap_or_default().to_owned();
    number(left) == number(right)
}

/// A zone without power: what runs there stops, and nothing can be placed.
fn outage(site: &Site, zone: &str, on: bool) -> Result<(), StepError> {
    let pool = CapacityOverride {
        size: "*".to_owned(),
        zone: Some(zone.to_owned()),
        capacity_type: None,
        available: 0,
        refusal: None,
    };
    let (from, action) = if on {
        (VmState::Running, "powerOff")
    } else {
        (VmState::Stopped, "start")
    };
    let vms = site
        .arm
        .with_cloud(|cloud, _| {
            if on {
                cloud.set_capacity(&pool)?;
            } else {
                cloud.clear_capacity("*", Some(zone), None);
            }
            Ok(cloud.vms())
        })
        .map_err(|error: fake_arm_cloud::ControlError| error.to_string())?;
    for vm in vms
        .iter()
        .filter(|vm| vm.state == from && same_zone(&vm.zone, zone))
    {
        ask(site, Method::Post, &format!("{}/{action}", vm.arm_id))?;
    }
    Ok(())
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
        other => describe_more(other),
    }
}

fn describe_more(action: &Action) -> String {
    match action {
        Action::Evict(pods) => format!("evict {} pod(s) in {}", pods.count, pods.namespace),
        Action::Cordon { nodes, on: true } => format!("cordon {} node(s)", nodes.count),
        Action::Cordon { nodes, on: false } => format!("uncordon {} node(s)", nodes.count),
        Action::RestoreCapacity(pool) => {
            let zone = pool.zone.as_deref().unwrap_or("all zones");
            let kind = pool.capacity_type.map_or("any", CapacityType::as_str);
            format!(
                "capacity of {} ({kind}, {zone}) is endless again",
                pool.size
            )
        }
        Action::ZoneOutage { zone, on: true } => format!("zone {zone} fails"),
        Action::ZoneOutage { zone, on: false } => format!("zone {zone} is back"),
        Action::RestartController { .. } => "stop every replica of the controller".to_owned(),
        Action::PauseController { lasts } => {
            format!(
                "the controller stands still for {}",
                format_duration(*lasts)
            )
        }
        Action::Partition { from, on } => {
            let from = from.map_or("all servers", |target| target.as_str());
            if *on {
                format!("cut the controller off from {from}")
            } else {
                format!("the controller reaches {from} again")
            }
        }
        Action::WaitUntil { condition, .. } => format!("{} has come true", condition.text),
        // Said by the caller.
        _ => String::new(),
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

/// Deletes a machine as somebody with the right to do so would.
fn delete_vm(site: &Site, vm: &VmView) -> Result<(), StepError> {
    ask(site, Method::Delete, &vm.arm_id)
}

/// Sends ARM a request as somebody with the right to do so would.
fn ask(site: &Site, method: Method, path: &str) -> Result<(), StepError> {
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
    let target = format!("{path}?api-version=2024-07-01");
    let answer = site.arm.handle(
        &ArmRequest::new(method, base, &target).header("authorization", &format!("Bearer {token}")),
    );
    if answer.status < 300 {
        Ok(())
    } else {
        Err(format!(
            "a request for {path} was refused: {}",
            answer.json()
        ))
    }
}
