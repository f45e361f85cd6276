//! What the server serves: one table of resources, built in and custom.
//!
//! Discovery, scope, short names, subresources, storage spaces and table columns all come from
//! here. The built-in rows are the discovery document of a real 1.36 server.

mod builtin;
pub(crate) mod custom;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use fake_apiserver_store::SpaceId;
use serde_json::Value;

use crate::schema::Schema;
use crate::schema::builtin::schema;
use crate::status::{Named, Result, Status};
use crate::table::Column;

/// One resource (`deployments.apps`), whatever its versions.
#[derive(Debug)]
pub(crate) struct ResourceType {
    pub group: String,
    pub plural: String,
    pub singular: String,
    pub kind: String,
    pub list_kind: String,
    pub namespaced: bool,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub verbs: Vec<String>,
    pub space: SpaceId,
    pub versions: Vec<ServedVersion>,
    /// Index of the stored version.
    pub storage: usize,
    pub behaviour: Behaviour,
    /// Made from a CRD.
    pub custom: bool,
    /// The schema of a built-in kind, made on first use.
    pub builtin_schema: OnceLock<Option<Arc<Schema>>>,
}

/// Where kinds differ in what a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent properties of upstream's strategies"
)]
pub(crate) struct Behaviour {
    /// Objects are kept (reviews and bindings are not).
    pub stored: bool,
    /// `metadata.generation` is managed.
    pub generation: bool,
    /// An update without `resourceVersion` overwrites.
    pub unconditional_update: bool,
    /// PUT of an absent object creates it.
    pub create_on_update: bool,
    /// This API shows objects stored in another form.
    pub conversion: Conversion,
}

/// How an API's objects relate to the stored ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conversion {
    /// The same but for `apiVersion`.
    None,
    /// `events.k8s.io/v1` over core events.
    Events,
    /// A custom resource whose CRD asks for a webhook.
    Webhook,
}

/// One version of a resource.
#[derive(Debug)]
pub(crate) struct ServedVersion {
    pub name: String,
    /// `group/version`, or the version alone in the core group.
    pub api_version: String,
    pub served: bool,
    pub subresources: Vec<Subresource>,
    /// Structural schema; `None` for built-ins, whose schemas are made on demand.
    pub schema: Option<Arc<Schema>>,
    pub columns: Vec<Column>,
    pub scale: Option<ScalePaths>,
    /// Field selectors a CRD declares, as paths without the leading dot.
    pub selectable: Vec<String>,
    /// The raw schema, for OpenAPI.
    pub raw_schema: Option<Arc<Value>>,
}

/// A subresource as discovery lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subresource {
    pub name: String,
    pub group: String,
    pub version: String,
    pub kind: String,
    pub verbs: Vec<String>,
}

/// `subresources.scale` of a CRD, as paths without the leading dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScalePaths {
    pub spec: String,
    pub status: String,
    pub selector: Option<String>,
}

impl ResourceType {
    pub(crate) fn named<'a>(&'a self, name: &'a str) -> Named<'a> {
        Named {
            group: &self.group,
            kind: &self.plural,
            name,
        }
    }

    /// For 422 texts, which name the Kind.
    pub(crate) fn kind_named<'a>(&'a self, name: &'a str) -> Named<'a> {
        Named {
            group: &self.group,
            kind: &self.kind,
            name,
        }
    }

    pub(crate) fn is(&self, group: &str, plural: &str) -> bool {
        self.plural == plural && self.group == group
    }
}

/// A resource in the version a request asked for.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub resource: Arc<ResourceType>,
    pub version: usize,
}

impl View {
    pub(crate) fn served(&self) -> &ServedVersion {
        self.resource
            .versions
            .get(self.version)
            .expect("views are made from valid indices")
    }

    pub(crate) fn api_version(&self) -> &str {
        &self.served().api_version
    }

    pub(crate) fn is_storage(&self) -> bool {
        self.version == self.resource.storage
            && self.resource.behaviour.conversion != Conversion::Events
    }

    pub(crate) fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.served()
            .subresources
            .iter()
            .find(|sub| sub.name == name)
    }

    pub(crate) fn has_status(&self) -> bool {
        self.subresource("status").is_some()
    }

    pub(crate) fn schema(&self) -> Option<Arc<Schema>> {
        if self.resource.custom {
            return self.served().schema.clone();
        }
        let resource = &self.resource;
        let schema = resource
            .builtin_schema
            .get_or_init(|| schema(&resource.group, &resource.kind));
        schema.clone()
    }
}

/// All resources served now.
#[derive(Debug)]
pub(crate) struct Registry {
    groups: BTreeMap<String, BTreeMap<String, Arc<ResourceType>>>,
    /// Built-in groups in the order of the real server; custom groups follow, sorted.
    order: Vec<String>,
    spaces: BTreeMap<(String, String), SpaceId>,
    /// Grows with every change: discovery and OpenAPI documents are cached under it.
    pub epoch: u64,
}

impl Registry {
    pub(crate) fn new() -> Self {
        let mut registry = Self {
            groups: BTreeMap::new(),
            order: Vec::new(),
            spaces: BTreeMap::new(),
            epoch: 0,
        };
        for (group, resource) in builtin::resources() {
            if !registry.order.contains(group) {
                registry.order.push(group.clone());
            }
            registry
                .spaces
                .insert((group.clone(), resource.plural.clone()), resource.space);
            registry
                .groups
                .entry(group.clone())
                .or_default()
                .insert(resource.plural.clone(), Arc::clone(resource));
        }
        registry
    }

    /// The resource of a request path.
    ///
    /// An unknown group or version is a plain 404, an unknown resource a Status, as upstream.
    pub(crate) fn view(&self, group: &str, version: &str, plural: &str) -> Result<View> {
        let resources = self.groups.get(group).ok_or_else(Status::no_such_path)?;
        if let Some(resource) = resources.get(plural)
            && let Some(index) = resource
                .versions
                .iter()
                .position(|served| served.name == version && served.served)
        {
            return Ok(View {
                resource: Arc::clone(resource),
                version: index,
            });
        }
        Err(if self.serves(group, version) {
            Status::no_such_resource()
        } else {
            Status::no_such_path()
        })
    }

    /// Whether any resource of the group has this version.
    pub(crate) fn serves(&self, group: &str, version: &str) -> bool {
        self.groups.get(group).is_some_and(|resources| {
            resources.values().any(|resource| {
                resource
                    .versions
                    .iter()
                    .any(|served| served.served && served.name == version)
            })
        })
    }

    /// A resource in its stored version.
    pub(crate) fn stored(&self, group: &str, plural: &str) -> Option<View> {
        let resource = self.groups.get(group)?.get(plural)?;
        Some(View {
            resource: Arc::clone(resource),
            version: resource.storage,
        })
    }

    /// The space of a built-in resource.
    pub(crate) fn space(&self, group: &str, plural: &str) -> SpaceId {
        self.spaces
            .get(&(group.to_owned(), plural.to_owned()))
            .copied()
            .expect("asked for built-in resources only")
    }

    /// `group/plural` of a space.
    pub(crate) fn name_of(&self, space: SpaceId) -> String {
        let mut spaces = self.spaces();
        let found = spaces.find(|(_, own)| *own == space);
        found.map(|(name, _)| name).unwrap_or_default()
    }

    /// All spaces by `group/plural`; resources that share one are named once.
    pub(crate) fn spaces(&self) -> impl Iterator<Item = (String, SpaceId)> {
        let spaces = self.spaces.iter();
        spaces
            .filter(|((group, _), _)| group != "events.k8s.io")
            .map(|((group, plural), space)| (format!("{group}/{plural}"), *space))
    }

    /// Groups in discovery order with their resources; the core group is the empty string.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (&str, Vec<&Arc<ResourceType>>)> {
        let custom = self
            .groups
            .keys()
            .filter(|group| !self.order.contains(group));
        self.order.iter().chain(custom).filter_map(|group| {
            let resources: Vec<_> = self.groups.get(group)?.values().collect();
            (!resources.is_empty()).then_some((group.as_str(), resources))
        })
    }

    /// Every resource.
    pub(crate) fn resources(&self) -> impl Iterator<Item = &Arc<ResourceType>> {
        self.groups.values().flat_map(BTreeMap::values)
    }

    /// The space a custom resource has or will have; it outlives the CRD, so that a CRD created
    /// anew continues the same history.
    pub(crate) fn space_for(&mut self, group: &str, plural: &str) -> SpaceId {
        let next = u32::try_from(self.spaces.len()).expect("far fewer than 2^32 resources");
        *self
            .spaces
            .entry((group.to_owned(), plural.to_owned()))
            .or_insert(SpaceId(next))
    }

    pub(crate) fn insert_custom(&mut self, resource: ResourceType) {
        self.epoch += 1;
        self.groups
            .entry(resource.group.clone())
            .or_default()
            .insert(resource.plural.clone(), Arc::new(resource));
    }

    pub(crate) fn remove_custom(&mut self, group: &str, plural: &str) {
        if let Some(resources) = self.groups.get_mut(group)
            && resources
                .get(plural)
                .is_some_and(|resource| resource.custom)
        {
            resources.remove(plural);
            if resources.is_empty() {
                self.groups.remove(group);
            }
            self.epoch += 1;
        }
    }
}

/// The columns of a built-in resource.
pub(crate) fn builtin_columns(group: &str, plural: &str) -> &'static [Column] {
    let mut rows = builtin::resources().iter();
    let row = rows.find(|(own, resource)| own == group && resource.plural == plural);
    row.and_then(|(_, resource)| resource.versions.first())
        .map_or(&[], |version| &version.columns)
}
