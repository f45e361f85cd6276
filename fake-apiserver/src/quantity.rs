//! Resource quantities (`k8s.io/apimachinery/pkg/api/resource`), exact to the thousandth.

use serde_json::Value;

/// The text of a malformed quantity.
pub(crate) const ERROR: &str = "quantities must match the regular expression \
    '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

/// Thousandths of the unit, rounded up; `None` when malformed or beyond 128 bits.
pub(crate) fn parse(text: &str) -> Option<i128> {
    let (negative, rest) = match text.strip_prefix(['+', '-']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    let end = rest
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(rest.len());
    let (number, suffix) = rest.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 || fraction.contains('.') {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = i32::try_from(fraction.len()).ok()?;
    let magnitude = scaled(digits, scale, suffix)?;
    Some(if negative { -magnitude } else { magnitude })
}

/// The canonical spelling: no fraction where a smaller suffix avoids it, the largest suffix that
/// stays exact, in the family of the original's.
pub(crate) fn canonical(text: &str) -> Option<String> {
    let thousandths = parse(text)?;
    let binary = text.ends_with('i');
    let units = thousandths / 1000;
    if thousandths % 1000 != 0 {
        return Some(format!("{thousandths}m"));
    }
    if units == 0 {
        return Some("0".to_owned());
    }
    let (base, suffixes): (i128, &[&str]) = if binary && units.abs() >= 1024 {
        (1024, &["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"])
    } else if text.contains(['e', 'E']) && !text.ends_with('E') {
        (1000, &["", "e3", "e6", "e9", "e12", "e15", "e18"])
    } else {
        (1000, &["", "k", "M", "G", "T", "P", "E"])
    };
    let mut number = units;
    let mut suffixes = suffixes.iter();
    let mut suffix = *suffixes.next()?;
    while number % base == 0
        && let Some(next) = suffixes.next()
    {
        number /= base;
        suffix = next;
    }
    Some(format!("{number}{suffix}"))
}

/// Thousandths of a JSON quantity: a string or a number.
pub(crate) fn of(value: &Value) -> Option<i128> {
    match value {
        Value::String(text) => parse(text),
        Value::Number(number) => parse(&number.to_string()),
        _ => None,
    }
}

fn scaled(digits: i128, scale: i32, suffix: &str) -> Option<i128> {
    let binary = match suffix {
        "Ki" => Some(10),
        "Mi" => Some(20),
        "Gi" => Some(30),
        "Ti" => Some(40),
        "Pi" => Some(50),
        "Ei" => Some(60),
        _ => None,
    };
    if let Some(shift) = binary {
        return decimal(digits.checked_mul(1_i128 << shift)?, 3 - scale);
    }
    let exponent = match suffix {
        "" => 0,
        "n" => -9,
        "u" => -6,
        "m" => -3,
        "k" => 3,
        "M" => 6,
        "G" => 9,
        "T" => 12,
        "P" => 15,
        "E" => 18,
        other => other.strip_prefix(['e', 'E'])?.parse().ok()?,
    };
    decimal(digits, exponent + 3 - scale)
}

/// `digits × 10^exponent`, rounded up.
fn decimal(digits: i128, exponent: i32) -> Option<i128> {
    let power = 10_i128.checked_pow(exponent.unsigned_abs())?;
    if exponent >= 0 {
        digits.checked_mul(power)
    } else {
        Some(digits / power + i128::from(digits % power != 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_spellings_are_upstreams() {
        for (text, expected) in [
            ("1", "1"),
            ("0.5", "500m"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("1000", "1k"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("1000Ki", "1000Ki"),
            ("0.5Ki", "512"),
            ("1e3", "1e3"),
            ("0", "0"),
            ("-2000m", "-2"),
            ("128974848", "128974848"),
        ] {
            assert_eq!(canonical(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn quantities_are_exact() {
        for (text, thousandths) in [
            ("1", 1000),
            ("100m", 100),
            ("1.5", 1500),
            ("-2", -2000),
            ("1Ki", 1_024_000),
            ("1.5Gi", 1_610_612_736_000),
            ("1e3", 1_000_000),
            ("2E", 2_000_000_000_000_000_000_000),
            ("100u", 1),
            (".5", 500),
            ("5.", 5000),
        ] {
            assert_eq!(parse(text), Some(thousandths), "{text}");
        }
        for text in ["", "x", "1.2.3", "1 Gi", "1KB", "Gi", "--1", "1e"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
