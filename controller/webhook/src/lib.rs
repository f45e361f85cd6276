//! Admission and conversion reviews: review in, review out.
//!
//! # Invariants
//!
//! - Pure functions over request bodies: no client, no clock, no socket.
//! - A review is always answered with its own uid; an object that cannot be converted fails the
//!   review with a message that says why, and never goes through changed or lost.

mod conversion;
mod review;

pub use conversion::convert;
pub use review::{
    AdmissionRequest, AdmissionResponse, AdmissionReview, ConversionRequest, ConversionResponse,
    ConversionReview, ReviewStatus,
};
