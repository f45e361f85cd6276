//! Daemon sets: the shape of the pod that each new node will get.

use std::sync::Arc;

use controller_core::model::PodShape;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::PodSpec;

use super::parts::Invalid;
use super::shape::pod_shape;

/// The shape of the daemon's pods, from its template.
pub(crate) fn daemon_shape(daemon: &DaemonSet) -> Result<Arc<PodShape>, Invalid> {
    let namespace = daemon.metadata.namespace.as_deref().unwrap_or_default();
    let name = daemon.metadata.name.as_deref().unwrap_or_default();
    let template = &daemon.spec.template;
    let labels = template
        .metadata
        .as_ref()
        .and_then(|metadata| metadata.labels.as_ref());
    let default_spec = PodSpec::default();
    let spec = template.spec.as_ref().unwrap_or(&default_spec);
    let shape = pod_shape(namespace, labels, spec)
        .map_err(|error| error.of("DaemonSet", &format!("{namespace}/{name}")))?;
    Ok(Arc::new(PodShape {
        daemon: true,
        ..shape
    }))
}
