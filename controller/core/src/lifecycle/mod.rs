//! Launch, registration, initialization, expiration, drain: what follows from what is observed.
//!
//! Pure steps; the shell observes, calls, writes the condition or carries out the step.

mod age;
mod drain;
mod drift;
mod health;
mod initialization;
mod registration;
mod repair;

pub use age::{
    Consolidatable, Expiration, LAUNCH_TIMEOUT, Liveness, LivenessInput, REGISTRATION_TIMEOUT,
    consolidatable, expiration, liveness,
};
pub use drain::{DrainStep, ForcedDelete, drain, is_drainable, is_evictable};
pub use drift::{DriftReason, DriftView, drifted};
pub use health::{
    Admission, RegistrationBackoff, RegistrationHealth, RegistrationOutcome, RegistrationStatus,
};
pub use initialization::{NodeFacts, NotInitialized, initialization};
pub use registration::{NotRegistered, Registration, TaintSync, registration, synced_taints};
pub use repair::{Ailment, first_due, may_repair};
