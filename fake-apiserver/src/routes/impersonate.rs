//! `Impersonate-*` headers (`…/pkg/endpoints/filters/impersonation`).

use std::sync::Arc;

use http::Method;
use http::request::Parts;

use super::path::Target;
use crate::auth::rbac::{Access, Wish};
use crate::options::User;
use crate::server::ApiServer;
use crate::status::{Result, Status};

const PREFIX: &str = "impersonate-";

/// Who the request is to run as: the caller, or whom the caller asks to be and may be.
pub(super) fn user(
    server: &ApiServer,
    caller: User,
    parts: &Parts,
    target: &Target<'_>,
) -> Result<User> {
    let wanted = Wanted::of(parts)?;
    let Some(name) = &wanted.user else {
        return if wanted.is_empty() {
            Ok(caller)
        } else {
            Err(Status::internal(
                "impersonation of groups, uids or extras without impersonating a user",
            ))
        };
    };
    let mut machine = server.lock();
    let machine = &mut *machine;
    machine.access.refresh(&machine.store);
    if !wanted.allowed(&machine.access, &caller, name) {
        return Err(refusal(&machine.access, &caller, parts, target));
    }
    Ok(wanted.become_user(name))
}

#[derive(Debug, Default)]
struct Wanted {
    user: Option<String>,
    groups: Vec<String>,
    uid: Option<String>,
    /// Keys and values.
    extras: Vec<(String, String)>,
}

impl Wanted {
    fn of(parts: &Parts) -> Result<Self> {
        let mut wanted = Self::default();
        for (header, value) in &parts.headers {
            let Some(what) = header.as_str().strip_prefix(PREFIX) else {
                continue;
            };
            let value = value
                .to_str()
                .map_err(|_text| Status::bad_request("impersonation headers must be text"))?
                .to_owned();
            match what {
                "user" => wanted.user = Some(value),
                "group" => wanted.groups.push(value),
                "uid" => wanted.uid = Some(value),
                other => {
                    if let Some(key) = other.strip_prefix("extra-") {
                        wanted.extras.push((key.to_owned(), value));
                    }
                }
            }
        }
        Ok(wanted)
    }

    fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.uid.is_none() && self.extras.is_empty()
    }

    fn allowed(&self, access: &Access, caller: &User, name: &str) -> bool {
        let may =
            |(group, plural, subresource): (&str, &str, &str), namespace: &str, name: &str| {
                let wish = Wish::Resource {
                    verb: "impersonate",
                    group,
                    plural,
                    subresource,
                    namespace,
                    name,
                };
                access.allows(caller, wish).is_some()
            };
        let authentication = "authentication.k8s.io";
        let user = match service_account(name) {
            Some((namespace, name)) => may(("", "serviceaccounts", ""), namespace, name),
            None => may(("", "users", ""), "", name),
        };
        let mut groups = self.groups.iter();
        let mut extras = self.extras.iter();
        user && groups.all(|group| may(("", "groups", ""), "", group))
            && self
                .uid
                .iter()
                .all(|uid| may((authentication, "uids", ""), "", uid))
            && extras.all(|(key, value)| may((authentication, "userextras", key), "", value))
    }

    fn become_user(&self, name: &str) -> User {
        let mut groups: Vec<Arc<str>> = self.groups.iter().map(|group| (**group).into()).collect();
        if let Some((namespace, _)) = service_account(name)
            && groups.is_empty()
        {
            groups.push("system:serviceaccounts".into());
            groups.push(format!("system:serviceaccounts:{namespace}").into());
        }
        let implied = if name == "system:anonymous" {
            "system:unauthenticated"
        } else {
            "system:authenticated"
        };
        if !groups.iter().any(|group| &**group == implied) {
            groups.push(implied.into());
        }
        User {
            name: name.into(),
            groups,
            uid: self.uid.clone().unwrap_or_default(),
        }
    }
}

fn service_account(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix("system:serviceaccount:")?.split_once(':')
}

/// The 403 of 1.36, which speaks of the request and of the newer, constrained form that it looks
/// for first.
fn refusal(access: &Access, caller: &User, parts: &Parts, target: &Target<'_>) -> Status {
    let Target::Resource(path) = target else {
        let path = parts.uri.path();
        return Status::forbidden_path(&caller.name, "impersonate", path);
    };
    let verb = match (&parts.method, path.name.is_empty()) {
        (&Method::POST, _) => "create",
        (&Method::PUT, _) => "update",
        (&Method::PATCH, _) => "patch",
        (&Method::DELETE, true) => "deletecollection",
        (&Method::DELETE, false) => "delete",
        (_, true) => "list",
        (_, false) => "get",
    };
    let verb = format!("impersonate-on:user-info:{verb}");
    let wish = Wish::Resource {
        verb: &verb,
        group: path.group,
        plural: path.plural,
        subresource: path.subresource,
        namespace: &path.namespace,
        name: &path.name,
    };
    access.refusal(caller, wish)
}
