//! What the passing of time does to a claim.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// A claim whose launch has not succeeded for this long is deleted (Karpenter
/// `pkg/controllers/nodeclaim/lifecycle/liveness.go`).
pub const LAUNCH_TIMEOUT: Duration = Duration::from_mins(5);
/// A claim whose node has not joined for this long is deleted.
pub const REGISTRATION_TIMEOUT: Duration = Duration::from_mins(15);

/// What liveness looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LivenessInput {
    /// `Launched` is true.
    pub launched: bool,
    /// `Registered` is true.
    pub registered: bool,
    /// When `Launched` last changed; normally the creation.
    pub launched_changed: Timestamp,
    /// When `Registered` last changed; normally the creation.
    pub registered_changed: Timestamp,
}

/// Whether a claim still has time to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// Registered: liveness has nothing more to say.
    Registered,
    /// Look again at this time.
    WaitUntil(Timestamp),
    /// Not launched in time: delete the claim (metric reason `launch_timeout`).
    LaunchTimeout,
    /// Not registered in time: delete the claim (metric reason `registration_timeout`).
    RegistrationTimeout,
}

/// Whether a claim still has time to launch and register.
pub fn liveness(input: &LivenessInput, now: Timestamp) -> Liveness {
    if input.registered {
        return Liveness::Registered;
    }
    let launch_until = after(input.launched_changed, LAUNCH_TIMEOUT);
    if !input.launched && now >= launch_until {
        return Liveness::LaunchTimeout;
    }
    let registration_until = after(input.registered_changed, REGISTRATION_TIMEOUT);
    if now >= registration_until {
        return Liveness::RegistrationTimeout;
    }
    let next = if input.launched {
        registration_until
    } else {
        launch_until.min(registration_until)
    };
    Liveness::WaitUntil(next)
}

/// When a claim's lifetime ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiration {
    /// `expireAfter: Never`.
    Never,
    /// It ends at this time.
    At(Timestamp),
    /// It has ended: delete the claim.
    Expired,
}

/// Whether a claim's lifetime has ended.
pub fn expiration(
    created: Timestamp,
    expire_after: Option<Duration>,
    now: Timestamp,
) -> Expiration {
    let Some(expire_after) = expire_after else {
        return Expiration::Never;
    };
    let end = after(created, expire_after);
    if now < end {
        Expiration::At(end)
    } else {
        Expiration::Expired
    }
}

/// Whether a node has seen no pod come or go for long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consolidatable {
    /// Never: forbidden by the pool, or the node is not initialized.
    No,
    /// From this time on, if nothing happens until then.
    At(Timestamp),
    /// Now.
    Yes,
}

/// Whether a claim may have the condition `Consolidatable`.
///
/// `consolidate_after` `None` is `Never`. `initialized_at` is when `Initialized` became true;
/// `last_pod_event` takes its place once there was one.
pub fn consolidatable(
    consolidate_after: Option<Duration>,
    initialized_at: Option<Timestamp>,
    last_pod_event: Option<Timestamp>,
    now: Timestamp,
) -> Consolidatable {
    let (Some(wait), Some(initialized_at)) = (consolidate_after, initialized_at) else {
        return Consolidatable::No;
    };
    let from = after(last_pod_event.unwrap_or(initialized_at), wait);
    if now < from {
        Consolidatable::At(from)
    } else {
        Consolidatable::Yes
    }
}

/// `start + duration`, at most the last representable time.
pub(crate) fn after(start: Timestamp, duration: Duration) -> Timestamp {
    SignedDuration::try_from(duration)
        .ok()
        .and_then(|signed| start.checked_add(signed).ok())
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a small number of seconds is a time")
    }

    #[test]
    fn launch_has_five_minutes_and_registration_fifteen() {
        let waiting = LivenessInput {
            launched: false,
            registered: false,
            launched_changed: at(0),
            registered_changed: at(0),
        };
        assert_eq!(liveness(&waiting, at(299)), Liveness::WaitUntil(at(300)));
        assert_eq!(liveness(&waiting, at(300)), Liveness::LaunchTimeout);
        let launched = LivenessInput {
            launched: true,
            ..waiting
        };
        assert_eq!(liveness(&launched, at(300)), Liveness::WaitUntil(at(900)));
        assert_eq!(liveness(&launched, at(900)), Liveness::RegistrationTimeout);
        let registered = LivenessInput {
            registered: true,
            ..launched
        };
        assert_eq!(liveness(&registered, at(9000)), Liveness::Registered);
    }

    #[test]
    fn expiration_counts_from_creation() {
        let hour = Some(Duration::from_hours(1));
        assert_eq!(expiration(at(0), None, at(1 << 30)), Expiration::Never);
        assert_eq!(expiration(at(0), hour, at(3599)), Expiration::At(at(3600)));
        assert_eq!(expiration(at(0), hour, at(3600)), Expiration::Expired);
    }

    #[test]
    fn consolidatable_counts_from_the_last_pod_event() {
        let wait = Some(Duration::from_secs(30));
        let initialized = Some(at(100));
        assert_eq!(
            consolidatable(None, initialized, None, at(500)),
            Consolidatable::No
        );
        assert_eq!(
            consolidatable(wait, None, None, at(500)),
            Consolidatable::No
        );
        assert_eq!(
            consolidatable(wait, initialized, None, at(120)),
            Consolidatable::At(at(130))
        );
        assert_eq!(
            consolidatable(wait, initialized, Some(at(125)), at(130)),
            Consolidatable::At(at(155))
        );
        assert_eq!(
            consolidatable(wait, initialized, Some(at(125)), at(155)),
            Consolidatable::Yes
        );
        let at_once = Some(Duration::ZERO);
        assert_eq!(
            consolidatable(at_once, initialized, None, at(100)),
            Consolidatable::Yes
        );
    }
}
