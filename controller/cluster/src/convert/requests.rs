//! The effective requests of a pod, by kube-scheduler's formula
//! (`k8s.io/component-helpers` `resource.PodRequests`).

use std::collections::BTreeMap;

use controller_core::quantity::Resources;
use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::parts::{FieldError, resources_at};

/// Requests of all containers, the peak of init containers with the sidecars before them,
/// pod-level requests instead where given, plus overhead and one pod.
pub(crate) fn pod_requests(spec: &PodSpec) -> Result<Resources, FieldError> {
    let mut total = Resources::default();
    for (index, container) in spec.containers.iter().enumerate() {
        total.add_assign(&container_requests(container, || {
            format!("spec.containers[{index}].resources")
        })?);
    }
    let mut sidecars = Resources::default();
    let mut peak = Resources::default();
    for (index, container) in spec.init_containers.iter().flatten().enumerate() {
        let requests = container_requests(container, || {
            format!("spec.initContainers[{index}].resources")
        })?;
        if container.restart_policy.as_deref() == Some("Always") {
            // A sidecar runs beside everything that comes later.
            sidecars.add_assign(&requests);
            peak = peak.max_of_each(&sidecars);
        } else {
            peak = peak.max_of_each(&sidecars.add(&requests));
        }
    }
    total.add_assign(&sidecars);
    total = total.max_of_each(&peak);
    if let Some(resources) = &spec.resources {
        let stated = effective(resources.requests.as_ref(), resources.limits.as_ref());
        for (name, amount) in resources_at("spec.resources", Some(&stated))?.iter() {
            total.set(name, amount);
        }
    }
    total.add_assign(&resources_at("spec.overhead", spec.overhead.as_ref())?);
    total.pods = 1;
    Ok(total)
}

fn container_requests(
    container: &Container,
    field: impl Fn() -> String,
) -> Result<Resources, FieldError> {
    let Some(resources) = &container.resources else {
        return Ok(Resources::default());
    };
    let stated = effective(resources.requests.as_ref(), resources.limits.as_ref());
    resources_at(&field(), Some(&stated))
}

/// A limit without a request is a request, as the API server defaults it.
fn effective(
    requests: Option<&BTreeMap<String, Quantity>>,
    limits: Option<&BTreeMap<String, Quantity>>,
) -> BTreeMap<String, Quantity> {
    let mut stated = limits.cloned().unwrap_or_default();
    stated.extend(requests.cloned().unwrap_or_default());
    stated
}
