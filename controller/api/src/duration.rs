//! Durations as Kubernetes objects spell them: Go's notation, kept byte for byte.
//!
//! Source: Go `time.ParseDuration`; kubernetes-sigs/karpenter `pkg/apis/v1/duration.go`.

use std::fmt;
use std::time::Duration;

#[cfg(feature = "schema")]
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The word that stands for "no duration" in `expireAfter` and `consolidateAfter`.
pub const NEVER: &str = "Never";

/// A text that is not a duration in Go's notation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a duration: write a number with a unit (h, m, s, ms, us, ns), for example 1h30m"
)]
pub struct DurationError {
    /// What was found.
    pub text: String,
}

/// A duration that remembers how its author wrote it, so that writing an object back changes
/// nothing (`720h` never turns into `720h0m0s`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoDuration {
    text: String,
    value: Duration,
}

impl GoDuration {
    /// Parses Go's notation. Values above Go's maximum (about 292 years) become that maximum.
    pub fn parse(text: &str) -> Result<Self, DurationError> {
        parse_go_duration(text).map(|value| Self {
            text: text.to_owned(),
            value,
        })
    }

    /// The length.
    pub fn value(&self) -> Duration {
        self.value
    }

    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl From<Duration> for GoDuration {
    fn from(value: Duration) -> Self {
        Self {
            text: format_go_duration(value),
            value,
        }
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl JsonSchema for GoDuration {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "GoDuration".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string"})
    }
}

/// A duration or `Never`. The default is `Never`: that is what an absent field means in memory;
/// the defaults users see are put in by the API server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NillableDuration(Option<GoDuration>);

impl NillableDuration {
    /// No duration: the thing it delays never happens.
    pub const NEVER: Self = Self(None);

    /// Parses Go's notation or `Never`.
    pub fn parse(text: &str) -> Result<Self, DurationError> {
        if text == NEVER {
            return Ok(Self::NEVER);
        }
        GoDuration::parse(text).map(|duration| Self(Some(duration)))
    }

    /// The length; `None` means never.
    pub fn value(&self) -> Option<Duration> {
        self.0.as_ref().map(GoDuration::value)
    }

    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        self.0.as_ref().map_or(NEVER, GoDuration::as_str)
    }
}

impl From<Duration> for NillableDuration {
    fn from(value: Duration) -> Self {
        Self(Some(value.into()))
    }
}

impl fmt::Display for NillableDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for NillableDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for NillableDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl JsonSchema for NillableDuration {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "NillableDuration".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string"})
    }
}

/// Parses a non-negative duration in Go's notation: `1h30m`, `1.5h`, `100ms`, `0`.
pub fn parse_go_duration(text: &str) -> Result<Duration, DurationError> {
    let error = || DurationError {
        text: text.to_owned(),
    };
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(error());
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let number_len = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(error)?;
        let (number, after) = rest.split_at(number_len);
        let unit_len = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_len);
        let scale = unit_nanos(unit).ok_or_else(error)?;
        nanos = nanos.saturating_add(scaled_nanos(number, scale).ok_or_else(error)?);
        rest = after;
    }
    // Go counts nanoseconds in a signed 64-bit integer.
    let clamped = u64::try_from(nanos.min(i64::MAX as u128)).unwrap_or(u64::MAX);
    Ok(Duration::from_nanos(clamped))
}

/// Nanoseconds of one Go unit.
fn unit_nanos(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3_600 * 1_000_000_000,
        _ => return None,
    })
}

/// `number` (digits with at most one point) times `scale`, cut to whole nanoseconds.
fn scaled_nanos(number: &str, scale: u64) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: u128 = match whole {
        "" => 0,
        // More digits than 128 bits hold is more than Go's maximum in any unit.
        digits => digits.parse().unwrap_or(u128::MAX),
    };
    let mut total = whole.saturating_mul(u128::from(scale));
    let mut digit_value = u128::from(scale);
    for digit in fraction.bytes() {
        digit_value /= 10;
        total = total.saturating_add(u128::from(digit - b'0') * digit_value);
    }
    Some(total)
}

/// Writes a duration as Go's `Duration.String` does: `1h0m0s`, `1m30s`, `1.5s`, `100ms`, `0s`.
pub fn format_go_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    if nanos < 1_000_000_000 {
        let (unit, scale) = match nanos {
            0..1_000 => ("ns", 1),
            1_000..1_000_000 => ("µs", 1_000),
            _ => ("ms", 1_000_000),
        };
        return format!("{}{unit}", decimal(nanos, scale));
    }
    let (minutes, nanos) = (nanos / 60_000_000_000, nanos % 60_000_000_000);
    let seconds = decimal(nanos, 1_000_000_000);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// `value / scale` without trailing zeros; `scale` is a power of ten.
fn decimal(value: u128, scale: u128) -> String {
    let digits = scale.ilog10() as usize;
    let fraction = format!("{:0digits$}", value % scale);
    let fraction = fraction.trim_end_matches('0');
    if digits == 0 || fraction.is_empty() {
        return (value / scale).to_string();
    }
    format!("{}.{fraction}", value / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_go_parses() {
        for (text, nanos) in [
            ("0s", 0),
            ("0", 0),
            ("720h", 720 * 3_600_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("100ms", 100_000_000),
            ("1m1us1ns", 60_000_001_001),
        ] {
            let parsed = parse_go_duration(text).expect("a Go duration");
            assert_eq!(parsed, Duration::from_nanos(nanos), "{text}");
        }
        for text in ["", "h", "1", "1x", "-1h", "1..5h", ".h", "Never", "1h 30m"] {
            assert!(parse_go_duration(text).is_err(), "{text}");
        }
        let longest = parse_go_duration("99999999999999999999999999999999999999999999h");
        assert_eq!(longest, Ok(Duration::from_nanos(i64::MAX.unsigned_abs())));
    }

    #[test]
    fn formats_as_go_does() {
        for (nanos, text) in [
            (0, "0s"),
            (100_000_000, "100ms"),
            (1_500, "1.5µs"),
            (1_500_000_000, "1.5s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
        ] {
            assert_eq!(format_go_duration(Duration::from_nanos(nanos)), text);
        }
    }

    #[test]
    fn keeps_the_text() {
        let value: NillableDuration = serde_json::from_str("\"60m\"").expect("a duration");
        assert_eq!(value.value(), Some(Duration::from_hours(1)));
        assert_eq!(serde_json::to_string(&value).expect("a string"), "\"60m\"");
        assert_eq!(NillableDuration::default().as_str(), "Never");
    }
}
