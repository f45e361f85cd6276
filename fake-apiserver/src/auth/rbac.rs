//! Role-based access control, evaluated for every request
//! (`kubernetes/kubernetes plugin/pkg/auth/authorizer/rbac`).

use std::collections::BTreeMap;
use std::sync::Arc;

use fake_apiserver_store::{SpaceId, Store};
use serde_json::Value;

use crate::item::Item;
use crate::options::User;
use crate::registry::Registry;
use crate::selectors::label_selector_matches;
use crate::status::{Named, Status};

/// What a request wants to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wish<'a> {
    /// Something with a resource.
    Resource {
        verb: &'a str,
        group: &'a str,
        plural: &'a str,
        subresource: &'a str,
        namespace: &'a str,
        name: &'a str,
    },
    /// Something with a path that is no resource.
    Path { verb: &'a str, path: &'a str },
}

#[derive(Debug, Default)]
struct Rule {
    verbs: Vec<String>,
    groups: Vec<String>,
    resources: Vec<String>,
    names: Vec<String>,
    paths: Vec<String>,
}

/// A binding seen from a subject: where it holds and what it grants.
#[derive(Debug)]
struct Grant {
    /// `None` for the whole cluster.
    namespace: Option<String>,
    rules: Arc<[Rule]>,
    /// For `status.reason` of access reviews.
    reason: String,
}

/// All bindings, by subject. Rebuilt when a role or binding has changed.
#[derive(Debug)]
pub(crate) struct Access {
    spaces: [SpaceId; 4],
    built_at: [u64; 4],
    users: BTreeMap<String, Vec<Grant>>,
    groups: BTreeMap<String, Vec<Grant>>,
}

const KINDS: [&str; 4] = [
    "clusterroles",
    "clusterrolebindings",
    "roles",
    "rolebindings",
];

impl Access {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self {
            spaces: KINDS.map(|plural| registry.space("rbac.authorization.k8s.io", plural)),
            built_at: [u64::MAX; 4],
            users: BTreeMap::new(),
            groups: BTreeMap::new(),
        }
    }

    /// Brings the index up to date with the store.
    pub(crate) fn refresh(&mut self, store: &Store<Item>) {
        let now = self.spaces.map(|space| store.last_change(space));
        if now == self.built_at {
            return;
        }
        self.built_at = now;
        self.users.clear();
        self.groups.clear();
        let [cluster_roles, cluster_bindings, roles, bindings] = self.spaces;
        let mut parsed: BTreeMap<String, Arc<[Rule]>> = BTreeMap::new();
        for (key, role) in store.range(cluster_roles, "", None) {
            let rules = cluster_role_rules(role.value.value(), store, cluster_roles);
            parsed.insert(format!("ClusterRole/{key}"), rules.into());
        }
        for (key, role) in store.range(roles, "", None) {
            parsed.insert(
                format!("Role/{key}"),
                parse_rules(&role.value.value()["rules"]).into(),
            );
        }
        for (_, binding) in store.range(cluster_bindings, "", None) {
            self.bind(&binding.value, None, &parsed);
        }
        for (_, binding) in store.range(bindings, "", None) {
            self.bind(&binding.value, Some(binding.value.namespace()), &parsed);
        }
    }

    fn bind(
        &mut self,
        binding: &Item,
        namespace: Option<&str>,
        parsed: &BTreeMap<String, Arc<[Rule]>>,
    ) {
        let role = &binding.value()["roleRef"];
        let (kind, name) = (text(&role["kind"]), text(&role["name"]));
        let key = match (kind, namespace) {
            ("Role", Some(namespace)) => format!("Role/{namespace}/{name}"),
            _ => format!("ClusterRole/{name}"),
        };
        let Some(rules) = parsed.get(&key) else {
            return;
        };
        let subjects = binding.value()["subjects"].as_array().into_iter().flatten();
        for subject in subjects {
            let subject_name = text(&subject["name"]);
            let (table, who) = match text(&subject["kind"]) {
                "Group" => (&mut self.groups, subject_name.to_owned()),
                "ServiceAccount" => {
                    let own = text(&subject["namespace"]);
                    let own = if own.is_empty() {
                        namespace.unwrap_or_default()
                    } else {
                        own
                    };
                    (
                        &mut self.users,
                        format!("system:serviceaccount:{own}:{subject_name}"),
                    )
                }
                _ => (&mut self.users, subject_name.to_owned()),
            };
            let binding_kind = if namespace.is_some() {
                "RoleBinding"
            } else {
                "ClusterRoleBinding"
            };
            let shown = match namespace {
                Some(namespace) => format!("{}/{namespace}", binding.name()),
                None => binding.name().to_owned(),
            };
            let reason = format!(
                "RBAC: allowed by {binding_kind} \"{shown}\" of {kind} \"{name}\" to {} \"{}\"",
                text(&subject["kind"]),
                subject_name,
            );
            table.entry(who).or_default().push(Grant {
                namespace: namespace.map(str::to_owned),
                rules: Arc::clone(rules),
                reason,
            });
        }
    }

    /// The reason a wish is granted, or `None`.
    pub(crate) fn allows(&self, user: &User, wish: Wish<'_>) -> Option<&str> {
        if user.has_group("system:masters") {
            return Some("");
        }
        let own = self.users.get(&*user.name).into_iter().flatten();
        let shared = user
            .groups
            .iter()
            .filter_map(|group| self.groups.get(&**group))
            .flatten();
        let mut grants = own.chain(shared);
        let grant = grants.find(|grant| {
            let reaches = match (&grant.namespace, wish) {
                (None, _) => true,
                (Some(_), Wish::Path { .. }) => false,
                (Some(own), Wish::Resource { namespace, .. }) => own == namespace,
            };
            reaches && grant.rules.iter().any(|rule| rule.covers(wish))
        })?;
        Some(&grant.reason)
    }

    /// Answers 403 unless the wish is granted.
    pub(crate) fn check(&self, user: &User, wish: Wish<'_>) -> Result<(), Status> {
        if self.allows(user, wish).is_some() {
            return Ok(());
        }
        Err(self.refusal(user, wish))
    }

    /// The 403 for a wish that is not granted.
    #[expect(clippy::unused_self, reason = "only the one who judges refuses")]
    pub(crate) fn refusal(&self, user: &User, wish: Wish<'_>) -> Status {
        match wish {
            Wish::Path { verb, path } => Status::forbidden_path(&user.name, verb, path),
            Wish::Resource {
                verb,
                group,
                plural,
                subresource,
                namespace,
                name,
            } => {
                let resource = if subresource.is_empty() {
                    plural.to_owned()
                } else {
                    format!("{plural}/{subresource}")
                };
                let place = if namespace.is_empty() {
                    "at the cluster scope".to_owned()
                } else {
                    format!("in the namespace \"{namespace}\"")
                };
                let why = format!(
                    "User \"{}\" cannot {verb} resource \"{resource}\" in API group \"{group}\" {place}",
                    user.name
                );
                Status::forbidden(
                    Named {
                        group,
                        kind: plural,
                        name,
                    },
                    &why,
                )
            }
        }
    }
}

impl Rule {
    fn covers(&self, wish: Wish<'_>) -> bool {
        let has = |list: &[String], wanted: &str| {
            list.iter().any(|entry| entry == "*" || entry == wanted)
        };
        match wish {
            Wish::Path { verb, path } => {
                has(&self.verbs, verb)
                    && self.paths.iter().any(|own| match own.strip_suffix('*') {
                        Some(prefix) => path.starts_with(prefix),
                        None => path == own,
                    })
            }
            Wish::Resource {
                verb,
                group,
                plural,
                subresource,
                name,
                ..
            } => {
                has(&self.verbs, verb)
                    && has(&self.groups, group)
                    && self
                        .resources
                        .iter()
                        .any(|own| resource_matches(own, plural, subresource))
                    && (self.names.is_empty() || self.names.iter().any(|own| own == name))
            }
        }
    }
}

fn resource_matches(own: &str, plural: &str, subresource: &str) -> bool {
    if own == "*" {
        return true;
    }
    match own.split_once('/') {
        None => subresource.is_empty() && own == plural,
        Some((kind, sub)) => {
            sub == subresource && (kind == "*" || kind == plural) && !sub.is_empty()
        }
    }
}

/// The rules of a `ClusterRole`, those of the roles it aggregates included.
fn cluster_role_rules(role: &Value, store: &Store<Item>, space: SpaceId) -> Vec<Rule> {
    let mut rules = parse_rules(&role["rules"]);
    let selectors = role["aggregationRule"]["clusterRoleSelectors"].as_array();
    for selector in selectors.into_iter().flatten() {
        for (_, other) in store.range(space, "", None) {
            let other = other.value.value();
            if label_selector_matches(selector, &other["metadata"]["labels"]) {
                rules.append(&mut parse_rules(&other["rules"]));
            }
        }
    }
    rules
}

/// The texts of a list, as rules hold them.
pub(crate) fn strings(value: &Value) -> Vec<String> {
    let items = value.as_array().into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn parse_rules(rules: &Value) -> Vec<Rule> {
    let rules = rules.as_array().into_iter().flatten();
    rules
        .map(|rule| Rule {
            verbs: strings(&rule["verbs"]),
            groups: strings(&rule["apiGroups"]),
            resources: strings(&rule["resources"]),
            names: strings(&rule["resourceNames"]),
            paths: strings(&rule["nonResourceURLs"]),
        })
        .collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
