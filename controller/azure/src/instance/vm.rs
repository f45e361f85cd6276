//! Virtual machines as Azure shows them.

use std::collections::BTreeMap;

use controller_core::model::{CapacityType, Zone};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::zones;

/// A virtual machine; only the members that are read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Vm {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) zones: Vec<String>,
    pub(crate) tags: BTreeMap<String, String>,
    properties: Properties,
    /// Extensions.
    resources: Vec<Extension>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Properties {
    provisioning_state: String,
    time_created: Option<Timestamp>,
    hardware_profile: HardwareProfile,
    storage_profile: StorageProfile,
    priority: Option<String>,
    instance_view: Value,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct HardwareProfile {
    vm_size: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StorageProfile {
    image_reference: ImageReference,
    os_disk: OsDisk,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ImageReference {
    community_gallery_image_id: Option<String>,
    id: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct OsDisk {
    #[serde(rename = "diskSizeGB")]
    disk_size_gb: Option<i64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Extension {
    name: String,
    properties: ExtensionProperties,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ExtensionProperties {
    provisioning_state: String,
}

/// What a machine's own account says about its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StartFailure {
    /// `VMExtensionProvisioningError`, …
    pub(crate) code: String,
    pub(crate) message: String,
}

impl StartFailure {
    /// An extension's status has a code of its own, a word or an exit code: it goes into the text.
    fn of_guest(status: Self) -> Self {
        let is_word = status.code.starts_with(|c: char| c.is_ascii_alphabetic());
        let message = if is_word {
            format!("{}: {}", status.code, status.message)
        } else {
            status.message
        };
        Self {
            code: "VMExtensionProvisioningError".to_owned(),
            message,
        }
    }
}

impl Vm {
    pub(crate) fn size(&self) -> &str {
        &self.properties.hardware_profile.vm_size
    }

    pub(crate) fn zone(&self, region: &str) -> Zone {
        zones::of_machine(region, &self.zones)
    }

    pub(crate) fn capacity_type(&self) -> CapacityType {
        match self.properties.priority.as_deref() {
            Some("Spot" | "Low") => CapacityType::Spot,
            _ => CapacityType::OnDemand,
        }
    }

    pub(crate) fn image_id(&self) -> &str {
        let reference = &self.properties.storage_profile.image_reference;
        reference
            .community_gallery_image_id
            .as_deref()
            .or(reference.id.as_deref())
            .unwrap_or_default()
    }

    pub(crate) fn os_disk_gb(&self) -> Option<i64> {
        self.properties.storage_profile.os_disk.disk_size_gb
    }

    pub(crate) fn created(&self) -> Option<Timestamp> {
        self.properties.time_created
    }

    fn is_in_state(&self, state: &str) -> bool {
        self.properties
            .provisioning_state
            .eq_ignore_ascii_case(state)
    }

    pub(crate) fn is_deleting(&self) -> bool {
        self.is_in_state("Deleting")
    }

    /// The creation has not ended.
    pub(crate) fn is_under_way(&self) -> bool {
        self.is_in_state("Creating") || self.is_in_state("Updating")
    }

    pub(crate) fn is_failed(&self) -> bool {
        self.is_in_state("Failed") || self.is_in_state("Canceled")
    }

    /// Stopped by Azure: a spot machine whose eviction policy keeps it.
    pub(crate) fn is_deallocated(&self) -> bool {
        self.statuses("/statuses").any(|status| {
            status
                .get("code")
                .and_then(Value::as_str)
                .is_some_and(|code| code.eq_ignore_ascii_case("PowerState/deallocated"))
        })
    }

    fn statuses(&self, pointer: &str) -> impl Iterator<Item = &Value> {
        self.properties
            .instance_view
            .pointer(pointer)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    }

    /// Why the machine did not start or could not join, when it says so: in its own statuses, in
    /// those of an extension, or by an extension's state.
    pub(crate) fn start_failure(&self) -> Option<StartFailure> {
        // Extensions first: a machine whose guest failed says so in both places, and only the
        // extension's status tells that it was the guest.
        let of_extension = self
            .statuses("/extensions")
            .filter_map(|extension| extension.get("statuses")?.as_array())
            .flatten()
            .find_map(failure)
            .map(StartFailure::of_guest);
        let own = || self.statuses("/statuses").find_map(failure);
        let by_state = || {
            let failed = self.resources.iter().find(|extension| {
                extension
                    .properties
                    .provisioning_state
                    .eq_ignore_ascii_case("Failed")
            })?;
            Some(StartFailure {
                code: "VMExtensionProvisioningError".to_owned(),
                message: format!("extension {} failed", failed.name),
            })
        };
        of_extension.or_else(own).or_else(by_state).or_else(|| {
            self.is_failed().then(|| StartFailure {
                code: "OperationFailed".to_owned(),
                message: format!(
                    "the machine's provisioning state is {}",
                    self.properties.provisioning_state
                ),
            })
        })
    }
}

/// `ProvisioningState/failed/<code>` with its message.
fn failure(status: &Value) -> Option<StartFailure> {
    let code = status.get("code")?.as_str()?;
    let mut parts = code.split('/');
    let is_failed = parts.next()?.eq_ignore_ascii_case("ProvisioningState")
        && parts.next()?.eq_ignore_ascii_case("failed");
    let message = status
        .get("message")
        .and_then(Value::as_str)
        .unwrap_or_default();
    is_failed.then(|| StartFailure {
        code: parts.next().unwrap_or("OperationFailed").to_owned(),
        message: message.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn failures_are_found_wherever_they_stand() {
        let vm = |value| serde_json::from_value::<Vm>(value).expect("a machine");
        let healthy = vm(
            json!({"properties": {"provisioningState": "Succeeded", "instanceView": {"statuses": [
            {"code": "ProvisioningState/succeeded"}, {"code": "PowerState/running"}]}}}),
        );
        assert_eq!(healthy.start_failure(), None);
        let own = vm(
            json!({"properties": {"provisioningState": "Failed", "instanceView": {"statuses": [
            {"code": "ProvisioningState/failed/AllocationFailed", "message": "no room"}]}}}),
        );
        assert_eq!(
            own.start_failure().map(|f| (f.code, f.message)),
            Some(("AllocationFailed".into(), "no room".into()))
        );
        let extension = vm(
            json!({"properties": {"provisioningState": "Succeeded", "instanceView": {"extensions": [
            {"name": "x", "statuses": [{"code": "ProvisioningState/failed/1", "message": "bad token"}]}]}}}),
        );
        assert_eq!(
            extension.start_failure().map(|f| f.message),
            Some("bad token".into())
        );
        let silent = vm(json!({"properties": {"provisioningState": "Failed"}}));
        assert_eq!(
            silent.start_failure().map(|f| f.code),
            Some("OperationFailed".into())
        );
    }
}
