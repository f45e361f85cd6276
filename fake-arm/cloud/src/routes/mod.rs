//! From a request to an answer: the front door, then one module per resource provider.

mod answers;
mod authorization;
mod compute;
mod containerservice;
mod login;
mod network;
mod prices;
mod resourcegraph;
mod resources;

pub(crate) use self::answers::Answers;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{
    cloud::Cloud,
    error::{ArmError, Result},
    exchange::{ArmRequest, ArmResponse, Method},
    operations::{Owner, Progress},
    path::{same, segments},
    token,
};

/// Items per page of a list: Compute pages its machines at one to two hundred.
const PAGE: usize = 200;

/// One request on its way through the routes.
pub(crate) struct Call<'a> {
    pub(crate) request: &'a ArmRequest,
    pub(crate) now: Timestamp,
    /// Decoded path segments as sent.
    pub(crate) path: Vec<String>,
    pub(crate) api_version: String,
}

impl Call<'_> {
    pub(crate) fn method(&self) -> Method {
        self.request.method
    }

    /// The body as JSON. Nulls in objects are removed: ARM treats them as absent.
    pub(crate) fn body(&self) -> Result<Value> {
        let mut body: Value = serde_json::from_slice(&self.request.body).map_err(|error| {
            ArmError::invalid_content(format!(
                "The request content was invalid and could not be deserialized: '{error}'."
            ))
        })?;
        if !body.is_object() {
            return Err(ArmError::invalid_content(
                "The request content was invalid and could not be deserialized: 'an object is \
                 required'.",
            ));
        }
        remove_nulls(&mut body);
        Ok(body)
    }

    /// Refuses a write whose preconditions the stored `etag` (`None`: nothing stored) fails.
    pub(crate) fn check_preconditions(&self, id: &str, etag: Option<&str>) -> Result<()> {
        let if_match = self.request.header_value("if-match");
        let met = match (if_match, etag) {
            (None, _) => true,
            (Some("*"), stored) => stored.is_some(),
            (Some(wanted), stored) => stored == Some(wanted),
        };
        let create_only = self.request.header_value("if-none-match") == Some("*");
        if met && !(create_only && etag.is_some()) {
            Ok(())
        } else {
            Err(ArmError::precondition(id))
        }
    }

    fn method_name(&self) -> &'static str {
        match self.request.method {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Put => "PUT",
            Method::Post => "POST",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
            Method::Other => "?",
        }
    }

    pub(crate) fn not_allowed<T>(&self, kind: &str) -> Result<T> {
        Err(ArmError::method_not_allowed(self.method_name(), kind))
    }
}

fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(remove_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_nulls),
        _ => {}
    }
}

/// What a route answers.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

impl Reply {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::from(body.to_string()),
        }
    }

    pub(crate) fn raw(body: Bytes) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body,
        }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    pub(crate) fn list(items: Vec<Value>) -> Self {
        let mut body = Map::new();
        body.insert("value".to_owned(), Value::Array(items));
        Self::json(200, &Value::Object(body))
    }

    /// One page of a list, with a `nextLink` to the rest.
    pub(crate) fn page(call: &Call<'_>, items: Vec<Value>) -> Self {
        let skip: usize = call
            .request
            .parameter("$skiptoken")
            .and_then(|it| it.parse().ok())
            .unwrap_or(0);
        let more = items.len() > skip.saturating_add(PAGE);
        let value: Vec<Value> = items.into_iter().skip(skip).take(PAGE).collect();
        let mut body = Map::new();
        body.insert("value".to_owned(), Value::Array(value));
        if more {
            let query: String = form_urlencoded::Serializer::new(String::new())
                .extend_pairs(
                    form_urlencoded::parse(call.request.query.as_bytes())
                        .filter(|(name, _)| !name.eq_ignore_ascii_case("$skiptoken")),
                )
                .append_pair("$skiptoken", &(skip + PAGE).to_string())
                .finish();
            let next = format!("{}{}?{query}", call.request.base, call.request.path);
            body.insert("nextLink".to_owned(), next.into());
        }
        Self::json(200, &Value::Object(body))
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// Answers one request; time has already been brought up to date.
pub(crate) fn answer(cloud: &mut Cloud, request: &ArmRequest) -> ArmResponse {
    let mut call = Call {
        request,
        now: cloud.now,
        path: segments(&request.path),
        api_version: String::new(),
    };
    let reads = matches!(request.method, Method::Get | Method::Head)
        || answers::is_query(request)
        || login::is_sign_in(request);
    if !reads {
        cloud.revision += 1;
    }
    let reply = route(cloud, &mut call).unwrap_or_else(|error| {
        error.extra_headers().iter().fold(
            Reply::json(error.status, &error.body()),
            |reply, (name, value)| reply.header(name, value.clone()),
        )
    });
    finish(cloud, &call, reply)
}

fn route(cloud: &mut Cloud, call: &mut Call<'_>) -> Result<Reply> {
    if let Some(reply) = open_routes(cloud, call) {
        return reply;
    }
    token::check(
        &call.request.base,
        &cloud.config.tenant_id,
        call.request.header_value("authorization"),
        call.now,
    )?;
    call.api_version = api_version(call)?;
    if let Some(reply) = cloud.answers.find(cloud.revision, call.request) {
        return Ok(reply);
    }
    let reply = front_door(cloud, call)?;
    cloud.answers.keep(cloud.revision, call.request, &reply);
    Ok(reply)
}

/// What needs no token: metadata, sign-in, retail prices.
fn open_routes(cloud: &Cloud, call: &Call<'_>) -> Option<Result<Reply>> {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    login::route(cloud, call, &path).or_else(|| match path.as_slice() {
        ["api", "retail", "prices"] => Some(prices::list(cloud, call)),
        _ => None,
    })
}

/// The `api-version`, checked for its form: any date, with or without a suffix.
fn api_version(call: &Call<'_>) -> Result<String> {
    let Some(version) = call
        .request
        .parameter("api-version")
        .filter(|v| !v.is_empty())
    else {
        return Err(ArmError::new(
            400,
            "MissingApiVersionParameter",
            "The api-version query parameter (?api-version=) is required for all requests.",
        ));
    };
    let date = version.get(..10).unwrap_or_default();
    let suffix = version.get(10..).unwrap_or_default();
    let well_formed = date.parse::<jiff::civil::Date>().is_ok()
        && (suffix.is_empty() || suffix.starts_with('-') && suffix.len() > 1);
    if well_formed {
        return Ok(version);
    }
    Err(ArmError::new(
        400,
        "InvalidApiVersionParameter",
        format!(
            "The api-version '{version}' is invalid. A date of the form yyyy-MM-dd is required."
        ),
    ))
}

/// Where in the hierarchy a provider request is addressed to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scope<'a> {
    Tenant,
    Subscription,
    /// An existing group, by the name it was created with.
    Group(&'a str),
}

fn front_door(cloud: &mut Cloud, call: &Call<'_>) -> Result<Reply> {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    match path.as_slice() {
        [first, id, rest @ ..] if same(first, "subscriptions") => {
            if !same(id, &cloud.config.subscription_id) {
                return Err(ArmError::new(
                    404,
                    "SubscriptionNotFound",
                    format!("The subscription '{id}' could not be found."),
                ));
            }
            in_subscription(cloud, call, rest)
        }
        [first] if same(first, "subscriptions") => resources::subscriptions(cloud, call),
        [first] if same(first, "tenants") => resources::tenants(cloud, call),
        [first, namespace, rest @ ..] if same(first, "providers") => {
            provider(cloud, call, Scope::Tenant, namespace, rest)
        }
        _ => Err(ArmError::new(
            404,
            "NotFound",
            format!("No route matches the path '{}'.", call.request.path),
        )),
    }
}

fn in_subscription(cloud: &mut Cloud, call: &Call<'_>, path: &[&str]) -> Result<Reply> {
    match path {
        [first, group, second, namespace, rest @ ..]
            if same(first, "resourceGroups") && same(second, "providers") =>
        {
            let Some(stored) = cloud.groups.get(&group.to_lowercase()) else {
                return Err(ArmError::group_not_found(group));
            };
            let writes = matches!(call.method(), Method::Put | Method::Patch);
            if stored.deleting.is_some() && writes {
                return Err(ArmError::new(
                    409,
                    "ResourceGroupBeingDeleted",
                    format!(
                        "The resource group '{group}' is in deprovisioning state and cannot perform \
                         this operation."
                    ),
                ));
            }
            let name = stored.id.name().to_owned();
            provider(cloud, call, Scope::Group(&name), namespace, rest)
        }
        [first, namespace, rest @ ..] if same(first, "providers") => {
            provider(cloud, call, Scope::Subscription, namespace, rest)
        }
        _ => resources::in_subscription(cloud, call, path),
    }
}

fn provider(
    cloud: &mut Cloud,
    call: &Call<'_>,
    scope: Scope<'_>,
    namespace: &str,
    path: &[&str],
) -> Result<Reply> {
    // Role assignments and locks hang below any resource.
    if let Some(at) = path
        .windows(2)
        .position(|pair| same(pair[0], "providers") && same(pair[1], "Microsoft.Authorization"))
    {
        return authorization::route(cloud, call, path.get(at + 2..).unwrap_or_default());
    }
    match namespace.to_ascii_lowercase().as_str() {
        "microsoft.compute" => compute::route(cloud, call, scope, path),
        "microsoft.network" => network::route(cloud, call, scope, path),
        "microsoft.containerservice" => containerservice::route(cloud, call, scope, path),
        "microsoft.resourcegraph" => resourcegraph::route(cloud, call, path),
        "microsoft.authorization" => authorization::route(cloud, call, path),
        "microsoft.managedidentity" => network::identities(cloud, call, scope, path),
        _ => resources::unknown_namespace(cloud, call, scope, namespace, path),
    }
}

/// Adds what every answer carries.
fn finish(cloud: &mut Cloud, call: &Call<'_>, reply: Reply) -> ArmResponse {
    let id = cloud.next_guid("request");
    let given = |name: &str| call.request.header_value(name).map(str::to_owned);
    let correlation = given("x-ms-correlation-request-id").unwrap_or_else(|| id.clone());
    let stamp = call.now.strftime("%Y%m%dT%H%M%SZ");
    let region = cloud.config.region.to_uppercase();
    let mut headers = vec![
        ("cache-control".to_owned(), "no-cache".to_owned()),
        ("pragma".to_owned(), "no-cache".to_owned()),
        ("expires".to_owned(), "-1".to_owned()),
        (
            "strict-transport-security".to_owned(),
            "max-age=31536000; includeSubDomains".to_owned(),
        ),
        ("x-content-type-options".to_owned(), "nosniff".to_owned()),
        ("x-ms-request-id".to_owned(), id.clone()),
        ("x-ms-correlation-request-id".to_owned(), correlation),
        (
            "x-ms-routing-request-id".to_owned(),
            format!("{region}:{stamp}:{id}"),
        ),
    ];
    if given("x-ms-return-client-request-id").is_some_and(|value| same(&value, "true"))
        && let Some(client) = given("x-ms-client-request-id")
    {
        headers.push(("x-ms-client-request-id".to_owned(), client));
    }
    if !reply.body.is_empty() {
        headers.push((
            "content-type".to_owned(),
            "application/json; charset=utf-8".to_owned(),
        ));
    }
    headers.extend(
        reply
            .headers
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value)),
    );
    let body = if call.method() == Method::Head {
        Bytes::new()
    } else {
        reply.body
    };
    ArmResponse {
        status: reply.status,
        headers,
        body,
    }
}

/// Adds the headers by which a client follows an operation. `location` adds `Location` as well, as
/// DELETE and POST have it.
pub(crate) fn follow(
    cloud: &Cloud,
    call: &Call<'_>,
    reply: Reply,
    operation: &str,
    location: bool,
) -> Reply {
    let owner = cloud
        .operations
        .get(operation)
        .map_or(Owner::Resources, |it| it.owner);
    let base = format!(
        "{}/subscriptions/{}/providers/{}/locations/{}",
        call.request.base,
        cloud.config.subscription_id,
        owner.namespace(),
        cloud.config.region
    );
    let version = &call.api_version;
    let mut reply = reply
        .header(
            "azure-asyncoperation",
            format!("{base}/operations/{operation}?api-version={version}"),
        )
        .header(
            "retry-after",
            cloud.config.latency.retry_after().to_string(),
        );
    if owner == Owner::Compute {
        reply = reply.header("azure-asyncnotification", "Enabled");
    }
    if location {
        reply = reply.header(
            "location",
            format!("{base}/operationresults/{operation}?api-version={version}"),
        );
    }
    reply
}

/// `…/locations/{location}/operations/{id}`: the status document.
pub(crate) fn operation_status(cloud: &Cloud, id: &str) -> Result<Reply> {
    let Some(operation) = cloud.operations.get(id) else {
        return Err(ArmError::new(
            404,
            "NotFound",
            format!("The operation '{id}' was not found."),
        ));
    };
    let reply = Reply::json(200, &operation.document());
    Ok(match operation.progress {
        Progress::Running => reply.header(
            "retry-after",
            cloud.config.latency.retry_after().to_string(),
        ),
        _ => reply,
    })
}

/// `…/operationresults/{id}`: 202 while it runs, then the resource, or nothing.
pub(crate) fn operation_result(cloud: &Cloud, call: &Call<'_>, id: &str) -> Result<Reply> {
    let Some(operation) = cloud.operations.get(id) else {
        return Err(ArmError::new(
            404,
            "NotFound",
            format!("The operation '{id}' was not found."),
        ));
    };
    match &operation.progress {
        Progress::Running => Ok(Reply::empty(202)
            .header(
                "location",
                format!(
                    "{}{}?{}",
                    call.request.base, call.request.path, call.request.query
                ),
            )
            .header(
                "retry-after",
                cloud.config.latency.retry_after().to_string(),
            )),
        Progress::Failed(error) | Progress::Canceled(error) => Err(error.clone()),
        Progress::Succeeded => {
            let vm = operation.result.as_ref().and_then(|key| cloud.vms.get(key));
            Ok(vm.map_or_else(
                || Reply::empty(204),
                |vm| Reply::json(200, &crate::render::vm(vm, false)),
            ))
        }
    }
}
