//! Nodes: drain and termination; announced interruptions; repair.

mod drain;
mod health;
mod interruption;
mod termination;
mod volumes;

pub(crate) use self::drain::Evictions;
pub(crate) use self::interruption::{check_conditions, watch_interruptions};
pub(crate) use self::termination::{
    has_disrupted_taint, reconcile, with_disrupted, without_disrupted,
};
