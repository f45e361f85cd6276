//! Durations as scenarios write them: `90s`, `10m`, `1h30m`, `30d`, `250ms`.

use std::time::Duration;

use crate::text::append;

/// A text that is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a duration")]
pub struct DurationError {
    text: String,
}

impl DurationError {
    /// How to write one.
    pub const HELP: &'static str =
        "write a whole number with a unit, for example 90s, 10m, 1h30m, 30d or 250ms";
}

const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// Reads a duration; parts add up, largest first or not.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let error = || DurationError {
        text: text.to_owned(),
    };
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(error());
    }
    let mut total = 0_u64;
    while !rest.is_empty() {
        let digits = rest.chars().take_while(char::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_not_a_number| error())?;
        let letters = tail.chars().take_while(char::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(letters);
        let (_, factor) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(error)?;
        total = number
            .checked_mul(*factor)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(error)?;
        rest = tail;
    }
    Ok(Duration::from_millis(total))
}

/// The shortest text that [`parse_duration`] reads as the same duration.
pub fn format_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, factor) in UNITS.iter().rev() {
        if rest >= *factor {
            append(&mut text, format_args!("{}{unit}", rest / factor));
            rest %= factor;
        }
    }
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        for (text, millis) in [
            ("90s", 90_000),
            ("1h30m", 5_400_000),
            ("30d", 2_592_000_000),
            ("250ms", 250),
            ("0", 0),
        ] {
            let duration = parse_duration(text).expect(text);
            assert_eq!(duration, Duration::from_millis(millis));
            assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
        for text in [
            "",
            "10",
            "m",
            "10 m",
            "1.5h",
            "-1s",
            "10x",
            "99999999999999999999s",
            "9999999999999d",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
