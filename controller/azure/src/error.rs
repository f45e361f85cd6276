//! The one table from Azure's refusals to reactions.
//!
//! Codes and fragments: `Azure/azure-sdk-for-go-extensions` `pkg/errors`; reactions and times:
//! `Azure/karpenter-provider-azure` `pkg/providers/instance/offerings`.

use std::time::Duration;

use crate::arm::ServiceError;

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// Messages are cut to this many characters (upstream's limit).
const MESSAGE_MAX: usize = 1200;

/// Which offerings are not offered for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    /// None.
    Nothing,
    /// Spot, of every size in every zone.
    AllSpot,
    /// The size in the tried capacity type, in every zone and without one.
    EveryPlacement,
    /// The size in both capacity types, in every zone and without one.
    EveryPlacementBoth,
    /// The size in the tried capacity type, where the tried placement's scope reaches.
    Scope,
    /// As [`Block::Scope`], both capacity types.
    ScopeBoth,
    /// The size in the tried zone and capacity type.
    Zone,
    /// As [`Block::Zone`], both capacity types.
    ZoneBoth,
}

/// What to make of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reaction {
    /// Reason of the condition `Launched`.
    pub(crate) reason: &'static str,
    /// What is no longer offered.
    pub(crate) block: Block,
    /// For how long.
    pub(crate) ttl: Duration,
    /// Another offering may succeed where this one failed.
    pub(crate) try_next: bool,
}

const fn blocking(reason: &'static str, block: Block, ttl: Duration) -> Reaction {
    Reaction {
        reason,
        block,
        ttl,
        try_next: true,
    }
}

const fn final_refusal(reason: &'static str) -> Reaction {
    Reaction {
        reason,
        block: Block::Nothing,
        ttl: Duration::ZERO,
        try_next: false,
    }
}

/// Reason when nothing in the table matches.
pub(crate) const UNCLASSIFIED: &str = "CreateInstanceFailed";
/// Reason when the machine started and could not join the cluster.
pub(crate) const BOOTSTRAP_FAILED: &str = "BootstrapFailed";

/// The first row that matches.
pub(crate) fn classify(error: &ServiceError, is_spot: bool) -> Reaction {
    if error.is_throttled() {
        // Compute spells throttling `OperationNotAllowed`, as it spells quota.
        return final_refusal("Throttled");
    }
    quota(error)
        .or_else(|| allocation(error, is_spot))
        .unwrap_or_else(|| other(error))
}

fn quota(error: &ServiceError) -> Option<Reaction> {
    if !error.is("OperationNotAllowed") {
        return None;
    }
    if error.mentions("LowPriorityCores") {
        return Some(blocking("SubscriptionQuotaReached", Block::AllSpot, HOUR));
    }
    if error.mentions("Family Cores quota") {
        let ttl = if error.mentions("Current Limit: 0") {
            HOUR
        } else {
            10 * MINUTE
        };
        return Some(blocking(
            "SubscriptionQuotaReached",
            Block::EveryPlacement,
            ttl,
        ));
    }
    // The quota of the region blocks no size: what was refused is accounted for in `quota`.
    error
        .mentions("exceeding approved Total Regional Cores quota")
        .then_some(Reaction {
            reason: "RegionalQuotaReached",
            block: Block::Nothing,
            ttl: Duration::ZERO,
            try_next: true,
        })
}

fn allocation(error: &ServiceError, is_spot: bool) -> Option<Reaction> {
    let sold_out = if is_spot { HOUR } else { 23 * HOUR };
    Some(match error.code.as_str() {
        "SkuNotAvailable" => blocking("SKUNotAvailable", Block::Scope, sold_out),
        "ZonalAllocationFailed" => blocking("ZonalAllocationFailure", Block::ZoneBoth, HOUR),
        "AllocationFailed" => blocking("AllocationFailure", Block::ScopeBoth, HOUR),
        "OverconstrainedZonalAllocationRequest" => {
            blocking("OverconstrainedZonalAllocationFailure", Block::Zone, HOUR)
        }
        "OverconstrainedAllocationRequest" => {
            blocking("OverconstrainedAllocationFailure", Block::Scope, HOUR)
        }
        "VMSizeNotSupported" => blocking("SKUNotAvailable", Block::EveryPlacementBoth, 23 * HOUR),
        "BadRequest" | "InvalidParameter"
            if error.mentions("is not supported for subscription")
                || error.mentions("is not available in the current region") =>
        {
            blocking("SKUNotAvailable", Block::EveryPlacementBoth, 23 * HOUR)
        }
        // A spot machine that was evicted while it started: the zone has no room just now.
        "OperationPreempted" => blocking("SpotPreempted", Block::Zone, 3 * MINUTE),
        _ => return None,
    })
}

fn other(error: &ServiceError) -> Reaction {
    final_refusal(match error.code.as_str() {
        "SubnetIsFull" | "InsufficientSubnetSize" => "SubnetFull",
        "AuthorizationFailed" | "LinkedAuthorizationFailed" => "AuthorizationFailed",
        "RequestDisallowedByPolicy" => "RequestDisallowedByPolicy",
        "ScopeLocked" => "ScopeLocked",
        "NicReservedForAnotherVm" => "NicReserved",
        "VMExtensionProvisioningError"
        | "VMExtensionHandlerNonTransientError"
        | "OSProvisioningTimedOut"
        | "OSProvisioningClientError"
        | "OSProvisioningInternalError" => BOOTSTRAP_FAILED,
        _ => UNCLASSIFIED,
    })
}

/// Text for the user, cut where conditions stay readable.
pub(crate) fn message(error: &impl ToString) -> String {
    let text = error.to_string();
    match text.char_indices().nth(MESSAGE_MAX) {
        None => text,
        Some((end, _)) => format!("{}...", text.get(..end).expect("cut between characters")),
    }
}

/// Limit and usage that a quota error tells: `(limit, usage)` in cores.
pub(crate) fn quota_figures(error: &ServiceError) -> Option<(i64, i64)> {
    let number = |label: &str| -> Option<i64> {
        let (_, rest) = error.message.split_once(label)?;
        let digits = rest
            .trim_start()
            .split(|c: char| !c.is_ascii_digit())
            .next()?;
        digits.parse().ok()
    };
    Some((number("Current Limit:")?, number("Current Usage:")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: &str, message: &str) -> ServiceError {
        ServiceError {
            status: 409,
            code: code.to_owned(),
            message: message.to_owned(),
            body: String::new(),
            retry_after: None,
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn every_row_has_its_reaction() {
        let family = "exceeding approved standardDSv3Family Cores quota. Current Limit: 10, Current Usage: 8,";
        let none = "exceeding approved standardDSv3Family Cores quota. Current Limit: 0, Current Usage: 0,";
        let spot = "exceeding approved LowPriorityCores quota.";
        let region = "exceeding approved Total Regional Cores quota.";
        let unsupported =
            "Virtual Machine size: 'X' is not supported for subscription s in location 'l'.";
        let rows: &[(&str, &str, &str, Block, u64, u64)] = &[
            (
                "OperationNotAllowed",
                spot,
                "SubscriptionQuotaReached",
                Block::AllSpot,
                60,
                60,
            ),
            (
                "OperationNotAllowed",
                family,
                "SubscriptionQuotaReached",
                Block::EveryPlacement,
                10,
                10,
            ),
            (
                "OperationNotAllowed",
                none,
                "SubscriptionQuotaReached",
                Block::EveryPlacement,
                60,
                60,
            ),
            (
                "OperationNotAllowed",
                region,
                "RegionalQuotaReached",
                Block::Nothing,
                0,
                0,
            ),
            (
                "SkuNotAvailable",
                "",
                "SKUNotAvailable",
                Block::Scope,
                60,
                23 * 60,
            ),
            (
                "ZonalAllocationFailed",
                "",
                "ZonalAllocationFailure",
                Block::ZoneBoth,
                60,
                60,
            ),
            (
                "AllocationFailed",
                "",
                "AllocationFailure",
                Block::ScopeBoth,
                60,
                60,
            ),
            (
                "OverconstrainedZonalAllocationRequest",
                "",
                "OverconstrainedZonalAllocationFailure",
                Block::Zone,
                60,
                60,
            ),
            (
                "OverconstrainedAllocationRequest",
                "",
                "OverconstrainedAllocationFailure",
                Block::Scope,
                60,
                60,
            ),
            (
                "VMSizeNotSupported",
                "",
                "SKUNotAvailable",
                Block::EveryPlacementBoth,
                23 * 60,
                23 * 60,
            ),
            (
                "BadRequest",
                unsupported,
                "SKUNotAvailable",
                Block::EveryPlacementBoth,
                23 * 60,
                23 * 60,
            ),
            (
                "BadRequest",
                "no such thing",
                UNCLASSIFIED,
                Block::Nothing,
                0,
                0,
            ),
            ("OperationPreempted", "", "SpotPreempted", Block::Zone, 3, 3),
            ("SubnetIsFull", "", "SubnetFull", Block::Nothing, 0, 0),
            (
                "LinkedAuthorizationFailed",
                "",
                "AuthorizationFailed",
                Block::Nothing,
                0,
                0,
            ),
            (
                "RequestDisallowedByPolicy",
                "",
                "RequestDisallowedByPolicy",
                Block::Nothing,
                0,
                0,
            ),
            (
                "NicReservedForAnotherVm",
                "",
                "NicReserved",
                Block::Nothing,
                0,
                0,
            ),
            (
                "VMExtensionProvisioningError",
                "",
                BOOTSTRAP_FAILED,
                Block::Nothing,
                0,
                0,
            ),
            (
                "PropertyChangeNotAllowed",
                "",
                UNCLASSIFIED,
                Block::Nothing,
                0,
                0,
            ),
            (
                "OperationNotAllowed",
                "the VM is marked for deletion",
                UNCLASSIFIED,
                Block::Nothing,
                0,
                0,
            ),
        ];
        for (code, text, reason, block, spot_minutes, on_demand_minutes) in rows {
            for (is_spot, minutes) in [(true, spot_minutes), (false, on_demand_minutes)] {
                let reaction = classify(&error(code, text), is_spot);
                assert_eq!(
                    (reaction.reason, reaction.block),
                    (*reason, *block),
                    "{code} {text}"
                );
                assert_eq!(
                    reaction.ttl,
                    Duration::from_secs(minutes * 60),
                    "{code} {text}"
                );
            }
        }
    }

    #[test]
    fn throttling_is_not_taken_for_quota() {
        let mut throttled = error("OperationNotAllowed", "Family Cores quota");
        throttled.status = 429;
        assert_eq!(classify(&throttled, false).block, Block::Nothing);
    }

    #[test]
    fn quota_errors_tell_their_figures() {
        let text =
            "Location: westeurope, Current Limit: 10, Current Usage: 8, Additional Required: 4,";
        assert_eq!(
            quota_figures(&error("OperationNotAllowed", text)),
            Some((10, 8))
        );
        assert_eq!(
            quota_figures(&error("OperationNotAllowed", "no figures")),
            None
        );
    }

    #[test]
    fn long_messages_are_cut() {
        let long = "ä".repeat(2000);
        assert_eq!(message(&long).chars().count(), MESSAGE_MAX + 3);
    }
}
