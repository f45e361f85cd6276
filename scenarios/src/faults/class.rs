//! What a request is, as far as faults care.

use http::Method;

use crate::world::ports::Target;

/// What a request asks for; decides which faults are legal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// One object, or a page that holds none (discovery, versions, reviews).
    KubeRead,
    /// A list of the newest state.
    KubeList,
    /// A list that any state may answer: `resourceVersion=0`.
    KubeListAny,
    /// A further page of a list.
    KubeListPage,
    /// A stream of changes.
    KubeWatch,
    /// A new object or a call of a subresource.
    KubeCreate,
    /// An object is replaced.
    KubeUpdate,
    /// An object is patched.
    KubePatch,
    /// Objects are deleted.
    KubeDelete,
    /// A question to Azure: a resource, a list, a price.
    ArmRead,
    /// How far a long-running operation is.
    ArmPoll,
    /// A question in the form of a POST: the resource graph.
    ArmQuery,
    /// A resource is created, replaced or changed.
    ArmWrite,
    /// A resource is deleted.
    ArmDelete,
    /// A token.
    Token,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::KubeRead,
        Self::KubeList,
        Self::KubeListAny,
        Self::KubeListPage,
        Self::KubeWatch,
        Self::KubeCreate,
        Self::KubeUpdate,
        Self::KubePatch,
        Self::KubeDelete,
        Self::ArmRead,
        Self::ArmPoll,
        Self::ArmQuery,
        Self::ArmWrite,
        Self::ArmDelete,
        Self::Token,
    ];

    /// Whether the server may change something when it is asked this.
    pub fn is_write(self) -> bool {
        matches!(
            self,
            Self::KubeCreate
                | Self::KubeUpdate
                | Self::KubePatch
                | Self::KubeDelete
                | Self::ArmWrite
                | Self::ArmDelete
        )
    }
}

/// A verb and what it is about, without names: `nodeclaims/status`, `virtualMachines`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class {
    /// What is asked.
    pub verb: Verb,
    /// About what.
    pub resource: String,
}

impl Class {
    /// Of a request; `path` is the path with its query.
    pub fn of(target: Target, method: &Method, path: &str) -> Self {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        match target {
            Target::Kube => kube(method, path, query),
            Target::Arm => arm(method, path),
        }
    }
}

fn kube(method: &Method, path: &str, query: &str) -> Class {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let rest = match parts.as_slice() {
        ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
        _ => &[],
    };
    // `namespaces/x` in front of something else is where it is, not what it is.
    let rest = match rest {
        ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
        other => other,
    };
    let (resource, named) = match rest {
        [] => ("discovery".to_owned(), true),
        [plural] => ((*plural).to_owned(), false),
        [plural, _] => ((*plural).to_owned(), true),
        [plural, _, sub @ ..] => (format!("{plural}/{}", sub.join("/")), true),
    };
    let has = |wanted: &str| query.split('&').any(|pair| pair == wanted);
    let verb = match *method {
        Method::POST if resource.ends_with("reviews") => Verb::KubeRead,
        Method::POST => Verb::KubeCreate,
        Method::PUT => Verb::KubeUpdate,
        Method::PATCH => Verb::KubePatch,
        Method::DELETE => Verb::KubeDelete,
        _ if has("watch=true") || has("watch=1") => Verb::KubeWatch,
        _ if named => Verb::KubeRead,
        _ if query.split('&').any(is_page) => Verb::KubeListPage,
        _ if has("resourceVersion=0") => Verb::KubeListAny,
        _ => Verb::KubeList,
    };
    Class { verb, resource }
}

fn is_page(pair: &str) -> bool {
    pair.strip_prefix("continue=")
        .is_some_and(|token| !token.is_empty())
}

fn arm(method: &Method, path: &str) -> Class {
    let resource = arm_resource(path);
    let verb = match *method {
        Method::POST if path.ends_with("/token") => Verb::Token,
        Method::POST => Verb::ArmQuery,
        Method::PUT | Method::PATCH => Verb::ArmWrite,
        Method::DELETE => Verb::ArmDelete,
        _ if path.contains("/operations/")
            || path.contains("/operationresults/")
            || path.contains("/operationStatuses/") =>
        {
            Verb::ArmPoll
        }
        _ => Verb::ArmRead,
    };
    Class { verb, resource }
}

/// The innermost type of an ARM path: types and names alternate after the provider.
fn arm_resource(path: &str) -> String {
    if path.ends_with("/token") {
        return "token".to_owned();
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let provider = parts
        .iter()
        .rposition(|part| part.eq_ignore_ascii_case("providers"));
    let types = match provider {
        Some(at) => parts.get(at + 2..).unwrap_or_default(),
        // `/subscriptions/x/resourceGroups/y`: types and names alternate from the start.
        None => parts.as_slice(),
    };
    let last = types.len().saturating_sub(1) / 2 * 2;
    types.get(last).copied().unwrap_or("root").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(target: Target, method: &Method, path: &str) -> (Verb, String) {
        let class = Class::of(target, method, path);
        (class.verb, class.resource)
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn names_and_namespaces_do_not_matter() {
        let claims = "/apis/karpenter.sh/v1/nodeclaims";
        let pods = "/api/v1/namespaces/default/pods";
        for (method, path, verb, resource) in [
            (
                Method::GET,
                "/version".to_owned(),
                Verb::KubeRead,
                "discovery",
            ),
            (
                Method::GET,
                "/api/v1".to_owned(),
                Verb::KubeRead,
                "discovery",
            ),
            (
                Method::GET,
                format!("{claims}?limit=500"),
                Verb::KubeList,
                "nodeclaims",
            ),
            (
                Method::GET,
                format!("{claims}?limit=500&resourceVersion=0"),
                Verb::KubeListAny,
                "nodeclaims",
            ),
            (
                Method::GET,
                format!("{claims}?limit=500&continue=abc"),
                Verb::KubeListPage,
                "nodeclaims",
            ),
            (
                Method::GET,
                format!("{claims}?watch=true&resourceVersion=7"),
                Verb::KubeWatch,
                "nodeclaims",
            ),
            (
                Method::GET,
                format!("{claims}/x"),
                Verb::KubeRead,
                "nodeclaims",
            ),
            (
                Method::PATCH,
                format!("{claims}/x/status"),
                Verb::KubePatch,
                "nodeclaims/status",
            ),
            (
                Method::POST,
                format!("{pods}/p/eviction"),
                Verb::KubeCreate,
                "pods/eviction",
            ),
            (
                Method::DELETE,
                format!("{pods}/p"),
                Verb::KubeDelete,
                "pods",
            ),
            (
                Method::GET,
                "/api/v1/namespaces/default".to_owned(),
                Verb::KubeRead,
                "namespaces",
            ),
        ] {
            let found = of(Target::Kube, &method, &path);
            assert_eq!(found, (verb, resource.to_owned()), "{method} {path}");
        }
    }

    #[test]
    fn azure_resources_go_by_their_innermost_type() {
        let vm = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/v";
        for (method, path, verb, resource) in [
            (Method::PUT, vm.to_owned(), Verb::ArmWrite, "virtualMachines"),
            (Method::DELETE, vm.to_owned(), Verb::ArmDelete, "virtualMachines"),
            (Method::PUT, format!("{vm}/extensions/e"), Verb::ArmWrite, "extensions"),
            (
                Method::GET,
                "/subscriptions/s/providers/Microsoft.Compute/locations/l/operations/o?api-version=1"
                    .to_owned(),
                Verb::ArmPoll,
                "operations",
            ),
            (
                Method::POST,
                "/providers/Microsoft.ResourceGraph/resources?x=1".to_owned(),
                Verb::ArmQuery,
                "resources",
            ),
            (Method::POST, "/t/oauth2/v2.0/token".to_owned(), Verb::Token, "token"),
            (Method::GET, "/subscriptions/s".to_owned(), Verb::ArmRead, "subscriptions"),
        ] {
            let found = of(Target::Arm, &method, &path);
            assert_eq!(found, (verb, resource.to_owned()), "{method} {path}");
        }
    }
}
