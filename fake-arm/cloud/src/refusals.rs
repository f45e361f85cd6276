//! The platform's refusals, word for word as clients match them.

use crate::{
    cloud::Cloud,
    config::{CapacityType, Refusal},
    error::ArmError,
    physics::{Exceeded, Placement, QuotaName},
};

impl Cloud {
    /// The error of a refusal, word for word as clients match it.
    pub(crate) fn refusal_error(&self, refusal: Refusal, placement: &Placement) -> ArmError {
        let spot = placement.capacity_type == CapacityType::Spot;
        let guidance = "Read more about improving likelihood of allocation success at \
                        http://aka.ms/allocation-guidance";
        match refusal {
            Refusal::SkuNotAvailable => ArmError::new(
                409,
                "SkuNotAvailable",
                format!(
                    "The requested VM size for resource 'Following SKUs have failed for Capacity \
                     Restrictions: {}' is currently not available in location '{}'. Please try \
                     another size or deploy to a different location or different zone. See \
                     https://aka.ms/azureskunotavailable for details.",
                    placement.size, self.config.region
                ),
            )
            .target("sku.name"),
            Refusal::AllocationFailed => ArmError::new(
                409,
                "AllocationFailed",
                format!(
                    "Allocation failed. We do not have sufficient capacity for the requested VM size \
                     in this region. {guidance}."
                ),
            ),
            Refusal::ZonalAllocationFailed => ArmError::new(
                409,
                "ZonalAllocationFailed",
                format!(
                    "Allocation failed. We do not have sufficient capacity for the requested VM size \
                     in this zone. {guidance}"
                ),
            ),
            Refusal::OverconstrainedAllocationRequest
            | Refusal::OverconstrainedZonalAllocationRequest => overconstrained(refusal, spot),
        }
    }

    /// The quota refusal, with the fragments that clients look for.
    pub(crate) fn quota_error(&self, exceeded: &Exceeded) -> ArmError {
        let (name, counter, help) = match &exceeded.what {
            QuotaName::Family(family) => {
                (family.as_str(), family.as_str(), "per-vm-quota-requests")
            }
            QuotaName::Regional => ("Total Regional", "cores", "regional-quota-requests"),
            QuotaName::LowPriority => ("LowPriority", "LowPriorityCores", "low-priority-quota"),
        };
        let name = if exceeded.what == QuotaName::LowPriority {
            "LowPriorityCores".to_owned()
        } else {
            format!("{name} Cores")
        };
        let Exceeded {
            limit,
            usage,
            required,
            ..
        } = exceeded;
        let region = &self.config.region;
        ArmError::not_allowed(format!(
            "Operation could not be completed as it results in exceeding approved {name} quota. Additional \
             details - Deployment Model: Resource Manager, Location: {region}, Current Limit: {limit}, Current \
             Usage: {usage}, Additional Required: {required}, (Minimum) New Limit Required: {}. Submit a request \
             for Quota increase at \
             https://aka.ms/ProdportalCRP/#blade/Microsoft_Azure_Capacity/UsageAndQuota.ReactView/Parameters/\
             {{\"subscriptionId\":\"{}\",\"resourceName\":\"{counter}\",\"location\":\"{region}\"}} by specifying \
             parameters listed in the 'Details' section for deployment to succeed. Please read more about quota \
             limits at https://docs.microsoft.com/en-us/azure/azure-supportability/{help}",
            usage + required,
            self.config.subscription_id,
        ))
    }
}

fn overconstrained(refusal: Refusal, spot: bool) -> ArmError {
    let zonal = refusal == Refusal::OverconstrainedZonalAllocationRequest;
    let code = if zonal {
        "OverconstrainedZonalAllocationRequest"
    } else {
        "OverconstrainedAllocationRequest"
    };
    let mut message = "Allocation failed. VM(s) with the following constraints cannot be allocated, \
                       because the condition is too restrictive. Please remove some constraints and \
                       try again. Constraints applied are:\n"
        .to_owned();
    if zonal {
        message.push_str("  - Availability Zone\n");
    }
    if spot {
        message.push_str(
            "  - Low Priority VMs\n  - Preemptible VMs (VM might be preempted by another VM with a \
             higher priority)\n",
        );
    }
    message.push_str(
        "  - Networking Constraints (such as Accelerated Networking or IPv6)\n  - VM Size\n",
    );
    ArmError::new(409, code, message)
}
