//! ARM resource ids: building, taking apart, comparing.

use std::fmt::Write;

/// Builds ids inside one subscription.
#[derive(Clone, Debug)]
pub(crate) struct Ids {
    subscription: String,
    group: String,
    region: String,
}

impl Ids {
    pub(crate) fn new(subscription: &str, node_resource_group: &str, region: &str) -> Self {
        Self {
            subscription: subscription.to_owned(),
            group: node_resource_group.to_owned(),
            region: region.to_owned(),
        }
    }

    /// `/subscriptions/{s}`.
    pub(crate) fn subscription(&self) -> String {
        format!("/subscriptions/{}", self.subscription)
    }

    fn in_group(&self, namespace: &str, kind: &str) -> String {
        format!(
            "/subscriptions/{}/resourceGroups/{}/providers/{namespace}/{kind}",
            self.subscription, self.group
        )
    }

    pub(crate) fn vms(&self) -> String {
        self.in_group("Microsoft.Compute", "virtualMachines")
    }

    pub(crate) fn vm(&self, name: &str) -> String {
        format!("{}/{name}", self.vms())
    }

    pub(crate) fn nics(&self) -> String {
        self.in_group("Microsoft.Network", "networkInterfaces")
    }

    pub(crate) fn nic(&self, name: &str) -> String {
        format!("{}/{name}", self.nics())
    }

    pub(crate) fn disks(&self) -> String {
        self.in_group("Microsoft.Compute", "disks")
    }

    pub(crate) fn disk(&self, name: &str) -> String {
        format!("{}/{name}", self.disks())
    }

    pub(crate) fn load_balancers(&self) -> String {
        self.in_group("Microsoft.Network", "loadBalancers")
    }

    pub(crate) fn security_groups(&self) -> String {
        self.in_group("Microsoft.Network", "networkSecurityGroups")
    }

    pub(crate) fn skus(&self) -> String {
        format!("{}/providers/Microsoft.Compute/skus", self.subscription())
    }

    pub(crate) fn usages(&self) -> String {
        format!(
            "{}/providers/Microsoft.Compute/locations/{}/usages",
            self.subscription(),
            self.region
        )
    }

    pub(crate) fn gallery_versions(&self, gallery: &str, definition: &str) -> String {
        format!(
            "{}/providers/Microsoft.Compute/locations/{}/communityGalleries/{gallery}/images/{definition}/versions",
            self.subscription(),
            self.region
        )
    }
}

/// Name of the machine, its network interface and its OS disk, for a claim.
pub(crate) fn resource_name(claim: &str) -> String {
    format!("aks-{claim}")
}

/// The claim whose machine has this name.
pub(crate) fn claim_of(resource_name: &str) -> Option<&str> {
    resource_name
        .strip_prefix("aks-")
        .filter(|claim| !claim.is_empty())
}

/// `azure://` before the id, the resource group in lower case: the form the cloud node manager
/// writes (`Azure/karpenter-provider-azure` `pkg/utils`).
pub(crate) fn provider_id(arm_id: &str) -> String {
    let mut text = String::from("azure://");
    let mut lower_next = false;
    for segment in arm_id.split('/').skip(1) {
        if lower_next {
            write!(text, "/{}", segment.to_lowercase()).expect("writing to a string succeeds");
        } else {
            write!(text, "/{segment}").expect("writing to a string succeeds");
        }
        lower_next = segment.eq_ignore_ascii_case("resourceGroups");
    }
    text
}

/// Name of the virtual machine that a provider id names.
pub(crate) fn vm_name(provider_id: &str) -> Option<&str> {
    let id = provider_id.strip_prefix("azure://")?;
    let mut segments = id.rsplit('/');
    let name = segments.next()?;
    let kind = segments.next()?;
    (kind.eq_ignore_ascii_case("virtualMachines") && !name.is_empty()).then_some(name)
}

/// A subnet, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SubnetId<'a> {
    pub(crate) subscription: &'a str,
    pub(crate) resource_group: &'a str,
    pub(crate) vnet: &'a str,
    pub(crate) subnet: &'a str,
}

impl<'a> SubnetId<'a> {
    /// Keywords compare without case; names keep theirs.
    pub(crate) fn parse(id: &'a str) -> Option<Self> {
        let segments: Vec<&str> = id.strip_prefix('/')?.split('/').collect();
        let wanted: [Option<&str>; 10] = [
            Some("subscriptions"),
            None,
            Some("resourceGroups"),
            None,
            Some("providers"),
            Some("Microsoft.Network"),
            Some("virtualNetworks"),
            None,
            Some("subnets"),
            None,
        ];
        let is_right = segments.len() == wanted.len()
            && segments
                .iter()
                .zip(wanted)
                .all(|(given, keyword)| match keyword {
                    Some(keyword) => given.eq_ignore_ascii_case(keyword),
                    None => !given.is_empty(),
                });
        let at = |index: usize| segments.get(index).copied();
        let parsed = Self {
            subscription: at(1)?,
            resource_group: at(3)?,
            vnet: at(7)?,
            subnet: at(9)?,
        };
        (is_right && !parsed.resource_group.ends_with('.')).then_some(parsed)
    }

    /// The network that AKS made for the cluster: `aks-vnet-########` with `aks-subnet` in the
    /// node resource group; its security group is attached to the subnet already.
    pub(crate) fn is_aks_managed(&self, node_resource_group: &str) -> bool {
        let digits = self.vnet.to_ascii_lowercase();
        let digits = digits.strip_prefix("aks-vnet-").unwrap_or_default();
        digits.len() == 8
            && digits.bytes().all(|b| b.is_ascii_digit())
            && self.subnet.eq_ignore_ascii_case("aks-subnet")
            && self
                .resource_group
                .eq_ignore_ascii_case(node_resource_group)
    }
}

/// Whether a text is the ARM id of a subnet.
pub fn is_subnet_id(id: &str) -> bool {
    SubnetId::parse(id).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn provider_ids_lower_only_the_group() {
        let id = "/subscriptions/S/resourceGroups/MC_Rg/providers/Microsoft.Compute/virtualMachines/aks-A";
        let provider = provider_id(id);
        assert_eq!(
            provider,
            "azure:///subscriptions/S/resourceGroups/mc_rg/providers/Microsoft.Compute/virtualMachines/aks-A"
        );
        assert_eq!(vm_name(&provider), Some("aks-A"));
        assert_eq!(claim_of("aks-A"), Some("A"));
        assert_eq!(vm_name("aws:///x/i-1"), None);
    }

    #[test]
    fn subnets_parse_in_any_case() {
        let id = "/SUBSCRIPTIONS/s/resourcegroups/Mc_Rg/providers/microsoft.network/virtualnetworks/aks-vnet-12345678/subnets/aks-subnet";
        let subnet = SubnetId::parse(id).expect("a subnet");
        assert!(subnet.is_aks_managed("mc_rg") && !subnet.is_aks_managed("other"));
        assert!(!is_subnet_id(
            "/subscriptions/s/resourceGroups/rg./providers/Microsoft.Network/virtualNetworks/v/subnets/n"
        ));
        assert!(!is_subnet_id(
            "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Network/virtualNetworks/v"
        ));
    }
}
