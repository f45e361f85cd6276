//! The few places where upstream computes with floating point and we must agree with it.

/// Exact for everything below 2⁵³; memory sizes and core counts are.
#[expect(clippy::cast_precision_loss, reason = "below 2^53")]
pub(crate) fn float(value: i64) -> f64 {
    value as f64
}

/// Towards zero.
#[expect(
    clippy::cast_possible_truncation,
    reason = "truncation is what is asked for"
)]
pub(crate) fn truncate(value: f64) -> i64 {
    value as i64
}

/// Away from zero for positive values.
pub(crate) fn ceil(value: f64) -> i64 {
    truncate(value.ceil())
}

/// The nearest whole number.
pub(crate) fn round(value: f64) -> i64 {
    truncate(value.round())
}
