//! A thin client of Azure Resource Manager: tokens, retries, paging, long-running operations.
//!
//! It knows the wire's general rules and no resource type.

mod client;
mod error;
mod operation;
mod pace;
mod token;

pub(crate) use client::{Arm, Fingerprint, versions};
pub(crate) use error::{ArmError, ServiceError};
pub(crate) use operation::Operation;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks; a panic elsewhere cannot have left these plain values half-written.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
