//! Microsoft.Authorization: what clients read before they create something.

use serde_json::json;

use super::{Call, Reply};
use crate::{
    cloud::Cloud,
    error::{ArmError, Result},
    exchange::Method,
};

/// Built-in roles by name (public ids).
const ROLES: [(&str, &str); 6] = [
    ("Owner", "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"),
    ("Contributor", "b24988ac-6180-42a0-ab88-20f7382dd24c"),
    ("Reader", "acdd72a7-3385-48ef-bd42-f606fba81ae7"),
    (
        "Network Contributor",
        "4d97b98b-1d4f-4787-a291-c67834d212e7",
    ),
    (
        "Virtual Machine Contributor",
        "9980e02c-c2be-4d73-94e8-173b1dc7cf3c",
    ),
    (
        "Managed Identity Operator",
        "f1a07417-d97a-45cb-824c-7a7467783830",
    ),
];

/// Lists of role definitions, role assignments and locks. Assignments and locks are not kept: the
/// emulator grants every signed-in principal everything, and says so by having none.
pub(super) fn route(cloud: &Cloud, call: &Call<'_>, path: &[&str]) -> Result<Reply> {
    let kind = path.first().copied().unwrap_or_default();
    if call.method() != Method::Get || path.len() > 1 {
        return call.not_allowed(&format!("Microsoft.Authorization/{kind}"));
    }
    match kind.to_ascii_lowercase().as_str() {
        "roledefinitions" => {
            let filter = call.request.parameter("$filter").unwrap_or_default();
            let items = ROLES
                .iter()
                .filter(|(name, _)| filter.is_empty() || filter.contains(&format!("'{name}'")))
                .map(|(name, id)| {
                    json!({
                        "id": format!(
                            "/subscriptions/{}/providers/Microsoft.Authorization/roleDefinitions/{id}",
                            cloud.config.subscription_id
                        ),
                        "name": id,
                        "type": "Microsoft.Authorization/roleDefinitions",
                        "properties": {
                            "roleName": name, "type": "BuiltInRole", "assignableScopes": ["/"],
                        },
                    })
                });
            Ok(Reply::list(items.collect()))
        }
        "roleassignments" | "locks" => Ok(Reply::list(Vec::new())),
        other => Err(ArmError::unknown_type(
            "Microsoft.Authorization",
            other,
            &call.api_version,
        )),
    }
}
