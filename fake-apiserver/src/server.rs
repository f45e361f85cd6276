//! The handle of a running server and its two faces: HTTP and the components' `Api`.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fake_apiserver_components::api::PatchType;
use fake_apiserver_components::api::{
    Api, Change, Identity, Object, Operation, Request, Resource, Status as ApiStatus, WatchEvent,
};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::Notify;

use crate::auth::ca::CertificateAuthority;
use crate::clock::Clock;
use crate::item::Item;
use crate::journal::JournalError;
use crate::machine::{Answer, Call, Machine, WriteOptions};
use crate::meta;
use crate::ops::Action;
use crate::ops::list::ListOptions;
use crate::options::{Options, StaticToken, User};
use crate::registry::View;
use crate::routes;
use crate::status::Status;

/// A simulated API server. Clones are handles to the same server.
#[derive(Clone, Debug)]
pub struct ApiServer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    machine: Mutex<Machine>,
    changed: Notify,
    clock: Clock,
    version: Mutex<String>,
    address: Mutex<String>,
    documents: routes::Documents,
}

impl ApiServer {
    /// A server holding a fresh cluster: system namespaces, roles, priority classes.
    pub fn new(options: Options) -> Self {
        let machine = Machine::new(&options, None);
        Self::of(machine.expect("only a journal can fail"), options)
    }

    /// A server that continues the cluster of a journal, or begins one there. Changes are written
    /// before they are answered, with a blocking write each.
    ///
    /// Keys come from [`Options::seed`] and [`Options::ca`]: the caller keeps them too.
    pub fn persistent(options: Options, journal: &Path) -> Result<Self, JournalError> {
        let machine = Machine::new(&options, Some(journal))?;
        Ok(Self::of(machine, options))
    }

    fn of(machine: Machine, options: Options) -> Self {
        Self(Arc::new(Inner {
            machine: Mutex::new(machine),
            changed: Notify::new(),
            clock: options.clock,
            version: Mutex::new(options.version),
            address: Mutex::new(options.address),
            documents: routes::Documents::default(),
        }))
    }

    /// The HTTP API. In process it is a `tower::Service` for `kube::Client::new`.
    pub fn router(&self) -> axum::Router {
        routes::router(self.clone())
    }

    /// The same router for an in-process client that is `identity`, without credentials.
    pub fn router_for(&self, identity: &Identity) -> axum::Router {
        let user = routes::CertificateUser(Arc::new(User::authenticated(identity)));
        self.router().layer(axum::Extension(user))
    }

    /// Lends the components' view of the server; writes wake watchers when the closure ends.
    pub fn with_api<T>(&self, act: impl FnOnce(&mut dyn Api) -> T) -> T {
        let mut machine = self.lock();
        let before = machine.store.revision();
        let result = act(&mut Direct {
            machine: &mut machine,
        });
        let after = machine.store.revision();
        machine.record_since(before);
        drop(machine);
        if after != before {
            self.0.changed.notify_waiters();
        }
        result
    }

    /// The newest revision.
    pub fn revision(&self) -> u64 {
        self.lock().store.revision()
    }

    /// Waits until the newest revision is beyond `revision`, and returns it.
    pub async fn changed_since(&self, revision: u64) -> u64 {
        loop {
            let changed = self.0.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // registered before looking, so that no change is missed in between
            changed.as_mut().enable();
            let now = self.revision();
            if now > revision {
                return now;
            }
            changed.await;
        }
    }

    /// The clock of the cluster.
    pub fn clock(&self) -> Clock {
        self.0.clock
    }

    /// The cluster's certificate authority.
    pub fn ca(&self) -> CertificateAuthority {
        self.lock().ca.clone()
    }

    /// Adds or replaces a bearer token.
    pub fn add_token(&self, token: &StaticToken) {
        self.lock().tokens.insert(token);
    }

    /// Who a bearer token stands for: static, service account's or bootstrap token.
    pub fn authenticate(&self, token: &str) -> Option<User> {
        self.lock().authenticate(token, self.0.clock.now()).ok()
    }

    /// What `/version` answers, for example after a control plane upgrade.
    pub fn set_version(&self, version: &str) {
        version.clone_into(
            &mut self
                .0
                .version
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// What `/version` answers now.
    pub fn version(&self) -> String {
        self.0
            .version
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Tells the server the host and port it is reached at.
    pub fn set_address(&self, address: &str) {
        address.clone_into(
            &mut self
                .0
                .address
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    pub(crate) fn address(&self) -> String {
        self.0
            .address
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Forgets all history up to now: running watches that have read it go on, new ones from an
    /// older revision and older continue tokens get 410.
    pub fn compact(&self) {
        self.compact_to(u64::MAX);
    }

    /// Forgets the history up to a revision.
    pub fn compact_to(&self, revision: u64) {
        self.lock().store.compact(revision);
    }

    /// The revision up to which history is forgotten.
    pub fn compacted(&self) -> u64 {
        self.lock().store.floor()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Machine> {
        // a panic while serving one request must not take the server down for the others
        self.0
            .machine
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a request under the lock and wakes whoever waits for changes.
    pub(crate) fn run<T>(&self, act: impl FnOnce(&mut Machine) -> T) -> T {
        let mut machine = self.lock();
        let before = machine.store.revision();
        let result = act(&mut machine);
        let after = machine.store.revision();
        machine.record_since(before);
        drop(machine);
        if after != before {
            self.0.changed.notify_waiters();
        }
        result
    }

    pub(crate) fn documents(&self) -> &routes::Documents {
        &self.0.documents
    }
}

/// The components' face.
struct Direct<'a> {
    machine: &'a mut Machine,
}

impl Direct<'_> {
    fn view(&self, resource: Resource) -> Result<View, Status> {
        self.machine
            .registry
            .view(resource.group, resource.version, resource.plural)
    }

    fn reader(&self, who: &Identity, resource: Resource, verb: &str) -> Result<View, Status> {
        let view = self.view(resource)?;
        let user = User::authenticated(who);
        let wish = crate::auth::rbac::Wish::Resource {
            verb,
            group: resource.group,
            plural: resource.plural,
            subresource: "",
            namespace: "",
            name: "",
        };
        self.machine.access.check(&user, wish)?;
        Ok(view)
    }

    fn execute(&mut self, now: Timestamp, request: &Request) -> Result<Object, Status> {
        let view = self.view(request.resource)?;
        let user = User::authenticated(&request.identity);
        let options = WriteOptions::of(manager(&request.identity));
        let name = match &request.operation {
            // a create may name its object in the request as well as in the body
            Operation::Create(_) if request.subresource.is_empty() => "",
            _ => &request.name,
        };
        let mut call = Call {
            now,
            user: &user,
            view: &view,
            namespace: &request.namespace,
            name,
            subresource: request.subresource,
            options: &options,
            warnings: Vec::new(),
        };
        let action = match &request.operation {
            Operation::Get => Action::Get,
            Operation::Create(body) => Action::Create(named(body, &request.name)),
            Operation::Update(body) => Action::Update(body.clone()),
            Operation::Patch { kind, body } => Action::Patch(*kind, body.clone()),
            Operation::Delete(options) => Action::Delete(options.clone()),
            Operation::DeleteCollection(options) => {
                let everything = ListOptions::default();
                self.machine
                    .delete_collection(&mut call, &everything, options)?;
                return Ok(Object::new(Arc::new(Value::Null)));
            }
        };
        let forced = WriteOptions {
            force: Some(true),
            ..options.clone()
        };
        if matches!(
            &request.operation,
            Operation::Patch {
                kind: PatchType::Apply,
                ..
            }
        ) {
            call.options = &forced;
        }
        match self.machine.execute(&mut call, action)? {
            Answer::Object(_, item) => Ok(object(&crate::machine::present(&view, &item)?)),
            Answer::Value(_, value) => Ok(Object::new(Arc::new(value))),
        }
    }
}

/// A body with the request's name, when it has none of its own.
fn named(body: &Value, name: &str) -> Value {
    let mut body = body.clone();
    if !name.is_empty()
        && meta::string(&body, "name").is_empty()
        && meta::string(&body, "generateName").is_empty()
    {
        meta::set(&mut body, "name", name);
    }
    body
}

/// The field manager of a component: the last part of its user name.
fn manager(identity: &Identity) -> &str {
    let user: &str = &identity.user;
    if user.starts_with("system:node:") {
        return "kubelet";
    }
    user.rsplit(':').next().unwrap_or(user)
}

fn object(item: &Item) -> Object {
    Object::new(Arc::clone(item.tree()))
}

#[expect(clippy::needless_pass_by_value, reason = "an argument of map_err")]
fn to_api(status: Status) -> ApiStatus {
    ApiStatus {
        code: status.code,
        reason: status.reason.to_owned(),
        message: status.summary(),
        retry_after_seconds: status.retry_after_seconds,
    }
}

impl Api for Direct<'_> {
    fn call(&mut self, now: Timestamp, request: &Request) -> Result<Object, ApiStatus> {
        self.execute(now, request).map_err(to_api)
    }

    fn list(&self, who: &Identity, resource: Resource) -> Result<(Vec<Object>, u64), ApiStatus> {
        let view = self.reader(who, resource, "list").map_err(to_api)?;
        let mut followed = self.machine.followed.borrow_mut();
        let followers = followed.entry(view.resource.space).or_default();
        if !followers.contains(&resource) {
            followers.push(resource);
        }
        let items = self.machine.store.range(view.resource.space, "", None);
        let objects: Result<Vec<Object>, Status> = items
            .map(|(_, found)| {
                crate::machine::present(&view, &found.value).map(|item| object(&item))
            })
            .collect();
        Ok((objects.map_err(to_api)?, self.machine.store.revision()))
    }

    fn changes(
        &self,
        who: &Identity,
        resource: Resource,
        since: u64,
    ) -> Result<Vec<WatchEvent>, ApiStatus> {
        let view = self.reader(who, resource, "watch").map_err(to_api)?;
        let changes = self.machine.store.resume(view.resource.space, "", since);
        let changes = changes.map_err(|compacted| {
            let text = format!("too old resource version: {since} ({})", compacted.floor);
            to_api(Status::expired(text))
        })?;
        changes
            .map(|change| {
                let item = crate::machine::present(&view, &change.value).map_err(to_api)?;
                let kind = match (change.deleted, &change.before) {
                    (true, _) => Change::Deleted,
                    (false, Some(_)) => Change::Modified,
                    (false, None) => Change::Added,
                };
                Ok(WatchEvent {
                    revision: change.revision,
                    resource,
                    change: kind,
                    object: object(&item),
                })
            })
            .collect()
    }

    fn revision(&self) -> u64 {
        self.machine.store.revision()
    }

    fn touched(&self, since: u64) -> Option<Vec<Resource>> {
        let followed = self.machine.followed.borrow();
        let spaces = self.machine.store.touched(since);
        let resources = spaces.filter_map(|space| followed.get(&space));
        Some(resources.flatten().copied().collect())
    }
}
