//! Subresources and kinds that are not stored: bindings, tokens, streams.

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::auth::tokens::Grant;
use crate::item::Item;
use crate::machine::{Answer, Call, Machine, key};
use crate::meta;
use crate::status::{FieldError, Named, Result, Status};

const DEFAULT_TOKEN_SECONDS: i64 = 3600;

impl Machine {
    pub(super) fn create_special(&mut self, call: &mut Call<'_>, body: &Value) -> Result<Answer> {
        match call.subresource {
            "binding" => self.bind(call, call.name, body),
            "eviction" => self.evict(call, body),
            "token" => self.token(call, body),
            "exec" | "attach" | "portforward" => {
                Err(Status::bad_request("Upgrade request required"))
            }
            "proxy" => Err(Status::bad_request(NO_KUBELET)),
            _ => Err(Status::method_not_allowed()),
        }
    }

    pub(super) fn create_unstored(&mut self, call: &mut Call<'_>, body: Value) -> Result<Answer> {
        if call.view.resource.is("", "bindings") {
            let name = meta::string(&body, "name").to_owned();
            return self.bind(call, &name, &body);
        }
        self.review(call, body)
    }

    pub(super) fn get_special(&mut self, call: &Call<'_>) -> Result<Answer> {
        self.stored(call.view, call.namespace, call.name)?;
        match call.subresource {
            "exec" | "attach" | "portforward" => {
                Err(Status::bad_request("Upgrade request required"))
            }
            "proxy" => Err(Status::bad_request(NO_KUBELET)),
            _ => Err(Status::internal(NO_KUBELET)),
        }
    }

    /// `spec.nodeName`, the `PodScheduled` condition and the topology labels, in one write.
    fn bind(&mut self, call: &mut Call<'_>, name: &str, body: &Value) -> Result<Answer> {
        let pods = self
            .registry
            .stored("", "pods")
            .ok_or_else(Status::no_such_resource)?;
        let old = self.stored(&pods, call.namespace, name)?;
        let named = Named {
            group: "",
            kind: "pods/binding",
            name,
        };
        let node = body["target"]["name"].as_str().unwrap_or_default();
        let kind = body["target"]["kind"].as_str().unwrap_or_default();
        if node.is_empty() || !matches!(kind, "" | "Node") {
            let error = if node.is_empty() {
                FieldError::required("target.name", "")
            } else {
                FieldError::not_supported("target.kind", &kind.into(), &["Node", "<empty>"])
            };
            let named = Named {
                group: "",
                kind: "Binding",
                name,
            };
            return Err(Status::invalid(named, &[error]));
        }
        let pod = old.value();
        for (field, own) in [
            ("uid", meta::string(pod, "uid")),
            ("resourceVersion", meta::string(pod, "resourceVersion")),
        ] {
            let wanted = meta::string(body, field);
            if !wanted.is_empty() && wanted != own {
                let why = format!(
                    "Precondition failed: {field} in precondition: {wanted}, {field} in object meta: {own}"
                );
                return Err(Status::conflict(named, &why));
            }
        }
        if meta::is_deleting(pod) {
            let why = format!("pod {name} is being deleted, cannot be assigned to a host");
            return Err(Status::conflict(named, &why));
        }
        let bound = pod["spec"]["nodeName"].as_str().unwrap_or_default();
        if !bound.is_empty() {
            let why = format!("pod {name} is already assigned to node \"{bound}\"");
            return Err(Status::conflict(named, &why));
        }
        if pod["spec"]["schedulingGates"]
            .as_array()
            .is_some_and(|gates| !gates.is_empty())
        {
            let why = format!("pod {name} has non-empty .spec.schedulingGates");
            return Err(Status::conflict(named, &why));
        }
        let new = self.bound(pod, node, body, call);
        if !call.options.dry_run {
            let call = Call {
                view: &pods,
                name,
                subresource: "",
                warnings: Vec::new(),
                ..*call
            };
            self.commit(&call, Some(&old), new);
        }
        Ok(Answer::Value(201, success(201)))
    }

    fn bound(&self, pod: &Value, node: &str, body: &Value, call: &Call<'_>) -> Value {
        let mut new = pod.clone();
        meta::map_mut(&mut new, "spec").insert("nodeName".into(), node.into());
        set_condition(
            &mut new,
            json!({
                "type": "PodScheduled", "status": "True", "lastProbeTime": null,
                "lastTransitionTime": meta::time(call.now),
            }),
        );
        crate::admission::topology_labels(self, &mut new);
        if let Some(annotations) = body["metadata"]["annotations"].as_object() {
            let own = meta::metadata_mut(&mut new)
                .entry("annotations")
                .or_insert_with(|| json!({}));
            if let Some(own) = own.as_object_mut() {
                own.extend(
                    annotations
                        .iter()
                        .map(|(key, value)| (key.clone(), value.clone())),
                );
            }
        }
        new
    }

    fn token(&mut self, call: &Call<'_>, body: &Value) -> Result<Answer> {
        let account = self.stored(call.view, call.namespace, call.name)?;
        let seconds = body["spec"]["expirationSeconds"]
            .as_i64()
            .unwrap_or(DEFAULT_TOKEN_SECONDS);
        if seconds < 600 {
            let error = FieldError::invalid(
                "spec.expirationSeconds",
                &seconds.into(),
                "may not specify a duration less than 10 minutes",
            );
            let named = Named {
                group: "authentication.k8s.io",
                kind: "TokenRequest",
                name: "",
            };
            return Err(Status::invalid(named, &[error]));
        }
        let audiences = body["spec"]["audiences"].as_array().into_iter().flatten();
        let audiences: Vec<String> = audiences
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        let expires = call.now + SignedDuration::from_secs(seconds);
        let id = self.random.uid();
        let token = self.tokens.issue(&Grant {
            namespace: call.namespace,
            name: call.name,
            uid: meta::string(account.value(), "uid"),
            id: &id,
            audiences: &audiences,
            issued: call.now,
            expires,
        });
        Ok(Answer::Value(
            201,
            json!({
                "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
                "metadata": {
                    "name": call.name, "namespace": call.namespace,
                    "creationTimestamp": meta::time(call.now),
                },
                "spec": {
                    "audiences": audiences, "expirationSeconds": seconds,
                    "boundObjectRef": body["spec"].get("boundObjectRef").cloned().unwrap_or_default(),
                },
                "status": {"token": token, "expirationTimestamp": meta::time(expires)},
            }),
        ))
    }

    /// The live object of a built-in resource.
    pub(crate) fn builtin(
        &self,
        group: &str,
        plural: &str,
        namespace: &str,
        name: &str,
    ) -> Option<Item> {
        let space = self.registry.space(group, plural);
        self.store
            .get(space, &key(namespace, name))
            .map(|found| found.value.clone())
    }
}

/// `{"kind":"Status","status":"Success",…}`.
pub(super) fn success(code: u16) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code,
    })
}

const NO_KUBELET: &str = "no kubelet serves logs, exec or proxies on this server";

/// Replaces or adds a condition of the same type.
pub(super) fn set_condition(object: &mut Value, condition: Value) {
    let status = meta::map_mut(object, "status");
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    let Some(conditions) = conditions.as_array_mut() else {
        return;
    };
    match conditions
        .iter_mut()
        .find(|own| own["type"] == condition["type"])
    {
        Some(own) => *own = condition,
        None => conditions.push(condition),
    }
}
