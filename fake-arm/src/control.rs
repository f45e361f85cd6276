//! `/_control`: the physics by `curl`, without a token, for loopback peers.
//!
//! | Request | Does |
//! |---|---|
//! | `PUT /_control/capacity?size=S&available=N[&zone=Z][&capacityType=T][&refusal=R]` | limit a pool; 0 sells it out, `unlimited` opens it again |
//! | `PUT /_control/quota?name=NAME&limit=N` | `cores`, `lowPriorityCores` or a family |
//! | `POST /_control/evict?vm=NAME` | announce the eviction of a spot machine |
//! | `GET /_control/capacity`, `/_control/quota`, `/_control/state` | look |

use std::net::SocketAddr;

use axum::{
    Json, Router,
    extract::{RawQuery, Request, State},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing,
};
use fake_arm_cloud::{CapacityOverride, CapacityType, QuotaKind, Refusal};
use serde_json::json;

use crate::{arm::Arm, error};

/// The peer of a connection, put beside each of its requests by [`crate::serve`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

pub(crate) fn routes() -> Router<Arm> {
    let routes = Router::new()
        .route(
            "/_control/capacity",
            routing::get(capacity).put(set_capacity).post(set_capacity),
        )
        .route(
            "/_control/quota",
            routing::get(quota).put(set_quota).post(set_quota),
        )
        .route("/_control/evict", routing::post(evict).put(evict))
        .route("/_control/state", routing::get(state));
    routes.route_layer(middleware::from_fn(loopback_only))
}

/// In-process requests have no peer and pass.
async fn loopback_only(request: Request, next: Next) -> Response {
    match request.extensions().get::<Peer>() {
        Some(Peer(peer)) if !peer.ip().to_canonical().is_loopback() => error::not_loopback(),
        _ => next.run(request).await,
    }
}

/// Query parameters by name.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(raw: Option<String>) -> Self {
        let raw = raw.unwrap_or_default();
        Self(
            form_urlencoded::parse(raw.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    fn optional(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    fn required(&self, name: &str) -> Result<&str, Box<Response>> {
        self.optional(name)
            .ok_or_else(|| Box::new(error::parameter(name, "is missing")))
    }

    /// A member of a serde enumeration.
    fn parsed<T: serde::de::DeserializeOwned>(
        &self,
        name: &str,
        values: &str,
    ) -> Result<Option<T>, Box<Response>> {
        let Some(text) = self.optional(name) else {
            return Ok(None);
        };
        match serde_json::from_value(json!(text)) {
            Ok(value) => Ok(Some(value)),
            Err(_unknown) => Err(Box::new(error::parameter(
                name,
                &format!("must be one of {values}"),
            ))),
        }
    }

    fn number(&self, name: &str) -> Result<u32, Box<Response>> {
        self.required(name)?
            .parse()
            .map_err(|_not_a_number| Box::new(error::parameter(name, "must be a whole number")))
    }
}

async fn capacity(State(arm): State<Arm>) -> Response {
    Json(arm.with_cloud(|cloud, _| cloud.capacity())).into_response()
}

async fn set_capacity(State(arm): State<Arm>, RawQuery(raw): RawQuery) -> Response {
    change_capacity(&arm, &Query::of(raw)).unwrap_or_else(|refused| *refused)
}

fn change_capacity(arm: &Arm, query: &Query) -> Result<Response, Box<Response>> {
    let size = query.required("size")?.to_owned();
    let zone = query.optional("zone").map(str::to_owned);
    let capacity_type: Option<CapacityType> = query.parsed("capacityType", "on-demand, spot")?;
    let refusal: Option<Refusal> = query.parsed(
        "refusal",
        "SkuNotAvailable, AllocationFailed, ZonalAllocationFailed, OverconstrainedAllocationRequest, \
         OverconstrainedZonalAllocationRequest",
    )?;
    if query.required("available")? == "unlimited" {
        let pools = arm.with_cloud(|cloud, _| {
            cloud.clear_capacity(&size, zone.as_deref(), capacity_type);
            cloud.capacity()
        });
        return Ok(Json(pools).into_response());
    }
    let available = query.number("available")?;
    let pool = CapacityOverride {
        size,
        zone,
        capacity_type,
        available,
        refusal,
    };
    let pools = arm.with_cloud(|cloud, _| cloud.set_capacity(&pool).map(|()| cloud.capacity()));
    match pools {
        Ok(pools) => Ok(Json(pools).into_response()),
        Err(failure) => Ok(error::control(&failure)),
    }
}

async fn quota(State(arm): State<Arm>) -> Response {
    Json(arm.with_cloud(|cloud, _| cloud.quotas())).into_response()
}

async fn set_quota(State(arm): State<Arm>, RawQuery(raw): RawQuery) -> Response {
    change_quota(&arm, &Query::of(raw)).unwrap_or_else(|refused| *refused)
}

fn change_quota(arm: &Arm, query: &Query) -> Result<Response, Box<Response>> {
    let kind = match query.required("name")? {
        "cores" | "regional" => QuotaKind::Regional,
        "lowPriorityCores" | "lowPriority" | "spot" => QuotaKind::LowPriority,
        family => QuotaKind::Family(family.to_owned()),
    };
    let limit = query.number("limit")?;
    let quotas = arm.with_cloud(|cloud, _| cloud.set_quota(&kind, limit).map(|()| cloud.quotas()));
    match quotas {
        Ok(quotas) => Ok(Json(quotas).into_response()),
        Err(failure) => Ok(error::control(&failure)),
    }
}

async fn evict(State(arm): State<Arm>, RawQuery(raw): RawQuery) -> Response {
    let query = Query::of(raw);
    let vm = match query.required("vm") {
        Ok(vm) => vm,
        Err(refused) => return *refused,
    };
    match arm.with_cloud(|cloud, now| cloud.evict(now, vm)) {
        Ok(()) => Json(json!({"evicted": vm})).into_response(),
        Err(failure) => error::control(&failure),
    }
}

async fn state(State(arm): State<Arm>) -> Response {
    let state = arm.with_cloud(|cloud, now| {
        json!({
            "now": now,
            "region": cloud.config().region,
            "vms": cloud.vms(),
            "nics": cloud.nics(),
            "disks": cloud.disks(),
            "capacity": cloud.capacity(),
            "quota": cloud.quotas(),
        })
    });
    Json(state).into_response()
}
