//! Authentication and authorization reviews: asked and answered in one request.

use std::sync::Arc;

use fake_apiserver_components::api::Identity;
use serde_json::{Value, json};

use crate::auth::rbac::Wish;
use crate::machine::{Answer, Call, Machine};
use crate::meta;
use crate::options::User;
use crate::status::{Result, Status};

impl Machine {
    pub(super) fn review(&mut self, call: &mut Call<'_>, mut body: Value) -> Result<Answer> {
        super::accept(call, &mut body, false)?;
        let kind = call.view.resource.kind.clone();
        let status = match kind.as_str() {
            "SelfSubjectReview" => json!({"userInfo": {
                "username": &*call.user.name, "uid": call.user.uid, "groups": call.user.groups,
            }}),
            "TokenReview" => self.token_review(call, &body),
            "SelfSubjectAccessReview" => self.access_review(call.user, &body["spec"]),
            "SubjectAccessReview" | "LocalSubjectAccessReview" => {
                let user = reviewed_user(&body["spec"]);
                self.access_review(&user, &body["spec"])
            }
            _ => return Err(Status::method_not_allowed()),
        };
        meta::set(&mut body, "creationTimestamp", Value::Null);
        if let Some(map) = body.as_object_mut() {
            map.insert("status".into(), status);
        }
        Ok(Answer::Value(201, body))
    }

    fn token_review(&self, call: &Call<'_>, body: &Value) -> Value {
        let token = body["spec"]["token"].as_str().unwrap_or_default();
        match self.authenticate(token, call.now) {
            Ok(user) => json!({"authenticated": true, "user": {
                "username": &*user.name, "uid": user.uid, "groups": user.groups,
            }}),
            Err(_) => json!({"authenticated": false, "user": {}, "error": "invalid bearer token"}),
        }
    }

    fn access_review(&mut self, user: &User, spec: &Value) -> Value {
        self.access.refresh(&self.store);
        let text = |value: &'_ Value| value.as_str().unwrap_or_default().to_owned();
        let reason = if spec["resourceAttributes"].is_object() {
            let wanted = &spec["resourceAttributes"];
            let [verb, group, plural, subresource, namespace, name] = [
                "verb",
                "group",
                "resource",
                "subresource",
                "namespace",
                "name",
            ]
            .map(|field| text(&wanted[field]));
            self.access.allows(
                user,
                Wish::Resource {
                    verb: &verb,
                    group: &group,
                    plural: &plural,
                    subresource: &subresource,
                    namespace: &namespace,
                    name: &name,
                },
            )
        } else {
            let wanted = &spec["nonResourceAttributes"];
            let (verb, path) = (text(&wanted["verb"]), text(&wanted["path"]));
            self.access.allows(
                user,
                Wish::Path {
                    verb: &verb,
                    path: &path,
                },
            )
        };
        match reason {
            Some("") => json!({"allowed": true}),
            Some(reason) => json!({"allowed": true, "reason": reason}),
            None => json!({"allowed": false}),
        }
    }
}

fn reviewed_user(spec: &Value) -> User {
    let groups = spec["groups"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let groups: Arc<[Arc<str>]> = groups.map(Arc::from).collect();
    let user = spec["user"].as_str().unwrap_or_default();
    let identity = Identity {
        user: user.into(),
        groups,
    };
    // the reviewer states the groups; nothing is implied
    let mut reviewed = User::authenticated(&identity);
    reviewed.groups = identity.groups.to_vec();
    reviewed
}
