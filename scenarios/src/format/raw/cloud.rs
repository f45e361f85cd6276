//! The schema of what belongs to the emulated cloud: `azure`, `set-capacity`, `systemPool`.
//!
//! The types live in `fake-arm-cloud`, which knows no schemas; a test holds both against each
//! other.

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::format::raw::optional;

/// `azure`.
pub(crate) fn azure(generator: &mut SchemaGenerator) -> Schema {
    let capacity = capacity(generator);
    let system_pool = system_pool(generator);
    optional(&json_schema!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "region": {"type": "string", "description": "The region that holds the cluster."},
            "subscriptionId": {"type": "string"},
            "tenantId": {"type": "string"},
            "latency": {
                "enum": ["fast", "realistic"],
                "description": "How long operations and boots take.",
            },
            "capacity": {
                "type": "array",
                "items": capacity,
                "description": "Pools that are smaller than endless.",
            },
            "quota": quota(),
            "spot": {
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "evictionNoticeSeconds": {
                        "type": "integer", "minimum": 0,
                        "description": "Seconds between the Preempt event and the eviction.",
                    },
                },
            },
            "clusters": {"type": "array", "items": cluster(system_pool.as_value())},
            "applications": {
                "type": "array",
                "description": "Service principals that may sign in; empty: any client id may.",
                "items": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["clientId", "objectId"],
                    "properties": {
                        "clientId": {"type": "string"},
                        "objectId": {"type": "string"},
                        "clientSecret": {"type": ["string", "null"]},
                    },
                },
            },
            "tokenLifetimeSeconds": {"type": "integer", "minimum": 0},
        },
    }))
}

/// `set-capacity` and the items of `azure.capacity`.
pub(crate) fn capacity(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": false,
        "required": ["size", "available"],
        "properties": {
            "size": {"type": "string", "description": "For example Standard_D4as_v5, or *."},
            "zone": {"type": ["string", "null"], "description": "For example 1 or westeurope-1."},
            "capacityType": {"anyOf": [{"enum": ["on-demand", "spot"]}, {"type": "null"}]},
            "available": {
                "type": "integer", "minimum": 0, "maximum": 4_294_967_295_u32,
                "description": "Machines that can still be placed; 0 is sold out.",
            },
            "refusal": {"anyOf": [
                {"enum": [
                    "SkuNotAvailable", "AllocationFailed", "ZonalAllocationFailed",
                    "OverconstrainedAllocationRequest", "OverconstrainedZonalAllocationRequest",
                ]},
                {"type": "null"},
            ]},
        },
    })
}

/// The same where it may be absent.
pub(crate) fn optional_capacity(generator: &mut SchemaGenerator) -> Schema {
    optional(&capacity(generator))
}

/// `systemPool`.
pub(crate) fn system_pool(_: &mut SchemaGenerator) -> Schema {
    optional(&json_schema!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "name": {"type": "string"},
            "count": {"type": "integer", "minimum": 0, "description": "Nodes; 0: none."},
            "vmSize": {"type": "string"},
        },
    }))
}

fn quota() -> Schema {
    let cores = |what: &str| json_schema!({"type": "integer", "minimum": 0, "description": what});
    json_schema!({
        "type": "object",
        "additionalProperties": false,
        "description": "Limits on vCPUs.",
        "properties": {
            "regional": cores("On-demand vCPUs of the region."),
            "lowPriority": cores("Spot vCPUs of the region."),
            "familyDefault": cores("vCPUs of every family not named in 'family'."),
            "family": {
                "type": "object",
                "additionalProperties": {"type": "integer", "minimum": 0},
                "description": "vCPUs by family, for example standardDSv5Family: 100.",
            },
        },
    })
}

fn cluster(system_pool: &serde_json::Value) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "name": {"type": "string"},
            "resourceGroup": {"type": "string"},
            "nodeProvisioning": {"enum": ["Auto", "Manual"]},
            "defaultNodePools": {"type": "boolean"},
            "kubernetesVersion": {"type": "string"},
            "systemPool": system_pool,
            "network": {
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "addressPrefix": {"type": "string"},
                    "subnetPrefix": {"type": "string"},
                },
            },
        },
    })
}
