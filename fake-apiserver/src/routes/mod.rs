//! HTTP: paths and queries in, Status and objects out.

mod body;
mod discovery;
mod impersonate;
mod negotiate;
mod openapi;
mod path;
mod protobuf;
mod query;
mod resource;
mod respond;
mod watch;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, Method, header};

pub(crate) use discovery::Documents;

use crate::auth::rbac::Wish;
use crate::options::User;
use crate::server::ApiServer;
use crate::status::{Result, Status};
use path::Target;
use query::Query;

/// The user a client certificate named; put into the request by the TLS front.
#[derive(Clone, Debug)]
pub(crate) struct CertificateUser(pub(crate) Arc<User>);

/// A request extension: reads that accept any state (`resourceVersion=0`, or one not newer than
/// this) are answered from the state at this revision, as by a replica whose cache lags.
///
/// All other reads, and revisions that are in the future or compacted, are answered as ever. Layers
/// outside of the server put it into requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsOf(pub u64);

/// All routes. One fallback: the API's paths are data, not code.
pub(crate) fn router(server: ApiServer) -> axum::Router {
    axum::Router::new().fallback(handle).with_state(server)
}

async fn handle(State(server): State<ApiServer>, request: Request) -> Response {
    match answer(&server, request).await {
        Ok(response) => response,
        Err(status) => respond::status(&status),
    }
}

async fn answer(server: &ApiServer, request: Request) -> Result<Response> {
    let user = authenticate(server, &request)?;
    let (parts, body) = request.into_parts();
    let target = path::parse(parts.uri.path());
    let user = impersonate::user(server, user, &parts, &target)?;
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    if let Target::Resource(path) = target {
        let request = resource::Request {
            server,
            user: &user,
            method: &parts.method,
            headers: &parts.headers,
            query: &query,
            path: &path,
            as_of: parts.extensions.get().map(|AsOf(revision)| *revision),
        };
        return resource::serve(request, body).await;
    }
    let verb = match parts.method {
        Method::GET | Method::HEAD => "get",
        Method::POST => "post",
        Method::PUT => "put",
        Method::PATCH => "patch",
        _ => "delete",
    };
    let path = parts.uri.path();
    server.lock().authorize(&user, Wish::Path { verb, path })?;
    if verb != "get" {
        return Err(Status::no_such_path());
    }
    document(server, &target, &parts.headers, &query)
}

fn document(
    server: &ApiServer,
    target: &Target<'_>,
    headers: &HeaderMap,
    query: &Query,
) -> Result<Response> {
    match target {
        Target::Health(name) => Ok(health(name, query)),
        Target::Version => Ok(respond::value(200, &discovery::version(&server.version()))),
        Target::OpenId | Target::Unknown | Target::Resource(_) => Err(Status::no_such_path()),
        Target::OpenApiV2 => openapi::v2(server, headers),
        Target::OpenApiV3(None) => Ok(openapi::index(server, headers)),
        Target::OpenApiV3(Some(group_version)) => openapi::group_version(server, group_version),
        Target::Root => Ok(respond::value(200, &discovery::root(server))),
        Target::Core => Ok(discovery::core(server, headers)),
        Target::Groups => Ok(discovery::groups(server, headers)),
        Target::Group(group) => discovery::group(server, group),
        Target::GroupVersion(group, version) => discovery::group_version(server, group, version),
    }
}

fn health(name: &str, query: &Query) -> Response {
    let text = if query.has("verbose") {
        format!("[+]ping ok\n[+]log ok\n[+]etcd ok\n{name} check passed\n")
    } else {
        "ok".to_owned()
    };
    respond::text(200, text)
}

/// Client certificate, bearer token or nothing.
fn authenticate(server: &ApiServer, request: &Request<Body>) -> Result<User> {
    if let Some(value) = request.headers().get(header::AUTHORIZATION) {
        let text = value.to_str().map_err(|_text| Status::unauthorized())?;
        let token = text
            .strip_prefix("Bearer ")
            .ok_or_else(Status::unauthorized)?;
        return server
            .lock()
            .authenticate(token.trim(), server.clock().now());
    }
    if let Some(CertificateUser(user)) = request.extensions().get::<CertificateUser>() {
        return Ok(User::clone(user));
    }
    if server.lock().anonymous {
        Ok(User::anonymous())
    } else {
        Err(Status::unauthorized())
    }
}
