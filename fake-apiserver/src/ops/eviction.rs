//! `pods/eviction` (`kubernetes/kubernetes pkg/registry/core/pod/storage/eviction.go`).

use serde_json::{Value, json};

use super::special::{set_condition, success};
use crate::item::Item;
use crate::machine::{Answer, Call, Machine};
use crate::meta;
use crate::selectors::label_selector_matches;
use crate::status::{Result, Status};

/// `MaxDisruptedPodSize`: more entries mean that the disruption controller is not keeping up.
const DISRUPTED_PODS_MAX: usize = 2000;

impl Machine {
    pub(super) fn evict(&mut self, call: &mut Call<'_>, body: &Value) -> Result<Answer> {
        let named = meta::string(body, "name");
        if !named.is_empty() && named != call.name {
            return Err(Status::bad_request(
                "name in URL does not match name in Eviction object",
            ));
        }
        let pod = self.stored(call.view, call.namespace, call.name)?;
        let options = body
            .get("deleteOptions")
            .cloned()
            .unwrap_or_else(|| json!({}));
        let dry_run = call.options.dry_run || options["dryRun"][0] == "All";
        check_preconditions(call, &pod, &options)?;
        if !bypasses_budgets(pod.value()) {
            let budgets = self.budgets(call.namespace, pod.value());
            if budgets.len() > 1 {
                return Err(Status::plain_error(
                    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
                ));
            }
            if let Some(budget) = budgets.first()
                && !may_go_unhealthy(pod.value(), budget.value())
            {
                let spent = spend(budget, call)?;
                if !dry_run {
                    self.write_budget(call, budget, spent);
                }
            }
        }
        if !dry_run {
            self.evict_now(call, &pod, &options)?;
        }
        Ok(Answer::Value(201, success(201)))
    }

    fn budgets(&self, namespace: &str, pod: &Value) -> Vec<Item> {
        let space = self.registry.space("policy", "poddisruptionbudgets");
        let labels = &pod["metadata"]["labels"];
        self.store
            .range(space, &format!("{namespace}/"), None)
            .map(|(_, found)| &found.value)
            .filter(|budget| label_selector_matches(&budget.value()["spec"]["selector"], labels))
            .cloned()
            .collect()
    }

    fn write_budget(&mut self, call: &Call<'_>, budget: &Item, spent: Value) {
        if let Some(view) = self.registry.stored("policy", "poddisruptionbudgets") {
            let call = Call {
                view: &view,
                name: budget.name(),
                subresource: "status",
                warnings: Vec::new(),
                ..*call
            };
            self.commit(&call, Some(budget), spent);
        }
    }

    /// The disruption condition, then the deletion, without the caller's right to delete pods:
    /// eviction is its own permission.
    fn evict_now(&mut self, call: &mut Call<'_>, pod: &Item, options: &Value) -> Result<()> {
        if !meta::is_deleting(pod.value()) {
            let mut marked = pod.value().clone();
            set_condition(
                &mut marked,
                json!({
                    "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
                    "message": "Eviction API: evicting", "lastProbeTime": null,
                    "lastTransitionTime": meta::time(call.now),
                }),
            );
            let call = Call {
                subresource: "status",
                warnings: Vec::new(),
                ..*call
            };
            self.commit(&call, Some(pod), marked);
        }
        let mut options = options.clone();
        // our own write above must not fail the caller's precondition, which held before it
        if let Some(wanted) = options["preconditions"].as_object_mut() {
            wanted.remove("resourceVersion");
        }
        self.delete(call, &options)?;
        Ok(())
    }
}

fn check_preconditions(call: &Call<'_>, pod: &Item, options: &Value) -> Result<()> {
    let wanted = &options["preconditions"];
    let named = call.view.resource.named(call.name);
    let own_uid = meta::string(pod.value(), "uid");
    if let Some(uid) = wanted["uid"].as_str()
        && uid != own_uid
    {
        let why = format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({own_uid}). The object might have been deleted and then recreated"
        );
        return Err(Status::conflict(named, &why));
    }
    let own = meta::string(pod.value(), "resourceVersion");
    if let Some(revision) = wanted["resourceVersion"].as_str()
        && revision != own
    {
        let why = format!(
            "the ResourceVersion in the precondition ({revision}) does not match the ResourceVersion in record ({own}). The object might have been modified"
        );
        return Err(Status::conflict(named, &why));
    }
    Ok(())
}

fn bypasses_budgets(pod: &Value) -> bool {
    matches!(
        pod["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed" | "Pending")
    ) || meta::is_deleting(pod)
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions
        .into_iter()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// An unready pod may go without touching the budget, as its policy says.
fn may_go_unhealthy(pod: &Value, budget: &Value) -> bool {
    if is_ready(pod) {
        return false;
    }
    if budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow" {
        return true;
    }
    let count = |field: &str| budget["status"][field].as_i64().unwrap_or(0);
    count("currentHealthy") >= count("desiredHealthy") && count("desiredHealthy") > 0
}

/// The budget after one more disruption, or why there is none left.
fn spend(budget: &Item, call: &Call<'_>) -> Result<Value> {
    let name = budget.name();
    let value = budget.value();
    let status = &value["status"];
    let generation = value["metadata"]["generation"].as_i64().unwrap_or(0);
    if status["observedGeneration"].as_i64().unwrap_or(0) < generation {
        let cause = format!("The disruption budget {name} is still being processed by the server.");
        return Err(Status::disruption_budget(&cause, Some(10)));
    }
    let allowed = status["disruptionsAllowed"].as_i64().unwrap_or(0);
    if allowed < 0 {
        return Err(super::refuse(
            call,
            name,
            "pdb disruptions allowed is negative",
        ));
    }
    let disrupted = status["disruptedPods"].as_object();
    if disrupted.is_some_and(|pods| pods.len() > DISRUPTED_PODS_MAX) {
        return Err(super::refuse(
            call,
            name,
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        ));
    }
    if allowed == 0 {
        return Err(Status::disruption_budget(&exhausted(name, status), None));
    }
    let mut spent = value.clone();
    let status = meta::map_mut(&mut spent, "status");
    status.insert("disruptionsAllowed".into(), (allowed - 1).into());
    let pods = status.entry("disruptedPods").or_insert_with(|| json!({}));
    if let Some(pods) = pods.as_object_mut() {
        pods.insert(call.name.to_owned(), meta::time(call.now).into());
    }
    Ok(spent)
}

fn exhausted(name: &str, status: &Value) -> String {
    let count = |field: &str| status[field].as_i64().unwrap_or(0);
    let (current, desired) = (count("currentHealthy"), count("desiredHealthy"));
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let mut failed = conditions.into_iter().filter(|condition| {
        condition["type"] == "DisruptionAllowed"
            && condition["status"] == "False"
            && condition["reason"] == "SyncFailed"
    });
    if let Some(condition) = failed.next() {
        let why = condition["message"].as_str().unwrap_or_default();
        return format!(
            "The disruption budget {name} does not allow evicting pods currently because it failed sync: {why}"
        );
    }
    if current <= desired {
        format!(
            "The disruption budget {name} needs {desired} healthy pods and has {current} currently"
        )
    } else {
        format!("The disruption budget {name} does not allow evicting pods currently")
    }
}
