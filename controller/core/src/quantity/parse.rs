//! Kubernetes quantities as text.

use std::fmt;

use super::{CPU, EPHEMERAL_STORAGE, MEMORY};

/// A parsed Kubernetes quantity (`k8s.io/apimachinery/pkg/api/resource`): exact to a billionth,
/// rounded up below that, as upstream does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity {
    nano: i128,
    notation: Notation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Notation {
    DecimalSi,
    BinarySi,
    DecimalExponent,
}

const NANO: i128 = 1_000_000_000;
const NANO_PER_MILLI: i128 = 1_000_000;

impl Quantity {
    /// Whole units, rounded up (`Quantity.Value`), saturating.
    pub fn value(self) -> i64 {
        saturate(div_ceil(self.nano, NANO))
    }

    /// Thousandths, rounded up (`Quantity.MilliValue`), saturating.
    pub fn milli_value(self) -> i64 {
        saturate(div_ceil(self.nano, NANO_PER_MILLI))
    }

    /// Below zero.
    pub fn is_negative(self) -> bool {
        self.nano < 0
    }
}

impl fmt::Display for Quantity {
    /// Canonical form: the largest suffix that leaves a whole number, in the notation it was
    /// written in.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nano == 0 {
            return f.write_str("0");
        }
        // Upstream falls back to decimal when a binary quantity is fractional or below 1024.
        let binary = self.notation == Notation::BinarySi
            && self.nano % NANO == 0
            && self.nano.abs() >= 1024 * NANO;
        if binary {
            let mut value = self.nano / NANO;
            let mut suffix = "";
            for next in ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"] {
                if value % 1024 != 0 {
                    break;
                }
                value /= 1024;
                suffix = next;
            }
            return write!(f, "{value}{suffix}");
        }
        let mut value = self.nano;
        let mut exponent: i32 = -9;
        while value % 1000 == 0 && exponent < 18 {
            value /= 1000;
            exponent += 3;
        }
        if self.notation == Notation::DecimalExponent && exponent != 0 {
            return write!(f, "{value}e{exponent}");
        }
        let suffix = DECIMAL
            .iter()
            .find(|(_, power)| *power == exponent)
            .map_or("", |s| s.0);
        write!(f, "{value}{suffix}")
    }
}

const DECIMAL: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
const BINARY: [(&str, u32); 6] = [
    ("Ki", 10),
    ("Mi", 20),
    ("Gi", 30),
    ("Ti", 40),
    ("Pi", 50),
    ("Ei", 60),
];

/// A text that is no quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "quantity \"{text}\" must be a number with an optional suffix \
     (n, u, m, k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi, Ei) or exponent: {problem}"
)]
pub struct QuantityError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// Parses a Kubernetes quantity: `100m`, `1.5`, `2Gi`, `1e3`, `12E`.
///
/// # Errors
///
/// When the text does not have the form of a quantity, or is beyond what 128 bits hold.
pub fn parse(text: &str) -> Result<Quantity, QuantityError> {
    let fail = |problem| QuantityError {
        text: text.to_owned(),
        problem,
    };
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let number_end = unsigned
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(number_end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return Err(fail("there is no digit"));
    }
    if fraction.contains('.') {
        return Err(fail("there is more than one decimal point"));
    }
    let (notation, scale) = scale_of(suffix).ok_or_else(|| fail("unknown suffix"))?;
    let mut digits: i128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        digits = digits
            .checked_mul(10)
            .and_then(|d| d.checked_add(i128::from(digit - b'0')))
            .ok_or_else(|| fail("too many digits"))?;
    }
    let fraction_len =
        i32::try_from(fraction.len()).map_err(|_too_long| fail("too many digits"))?;
    let magnitude = scaled(digits, scale, fraction_len).ok_or_else(|| fail("too large"))?;
    Ok(Quantity {
        nano: if negative { -magnitude } else { magnitude },
        notation,
    })
}

#[derive(Clone, Copy)]
enum Scale {
    /// A power of ten.
    Ten(i32),
    /// A power of two.
    Two(u32),
}

fn scale_of(suffix: &str) -> Option<(Notation, Scale)> {
    if let Some((_, power)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Some((Notation::DecimalSi, Scale::Ten(*power)));
    }
    if let Some((_, power)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        return Some((Notation::BinarySi, Scale::Two(*power)));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?;
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    // Three digits are more than any representable value needs.
    if digits.is_empty() || digits.len() > 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let power: i32 = exponent.parse().ok()?;
    Some((Notation::DecimalExponent, Scale::Ten(power)))
}

/// `digits × scale ÷ 10^fraction_len` in billionths, rounded up.
fn scaled(digits: i128, scale: Scale, fraction_len: i32) -> Option<i128> {
    if digits == 0 {
        return Some(0);
    }
    let (factor, power) = match scale {
        Scale::Ten(power) => (1, power + 9 - fraction_len),
        Scale::Two(shift) => (1_i128 << shift, 9 - fraction_len),
    };
    let base = digits.checked_mul(factor)?;
    let ten = 10_i128.checked_pow(power.unsigned_abs());
    if power >= 0 {
        base.checked_mul(ten?)
    } else {
        // A divisor beyond 128 bits leaves less than a billionth, which rounds up to one.
        Some(ten.map_or(1, |divisor| div_ceil(base, divisor)))
    }
}

fn div_ceil(value: i128, divisor: i128) -> i128 {
    value.div_euclid(divisor) + i128::from(value.rem_euclid(divisor) != 0)
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

/// The amount of a named resource in its base unit: thousandths for `cpu`, whole units (bytes,
/// devices, pods) for all others.
pub fn amount_of(name: &str, quantity: Quantity) -> i64 {
    if name == CPU {
        quantity.milli_value()
    } else {
        quantity.value()
    }
}

/// Canonical text of an amount in the base unit of the named resource.
pub fn format(name: &str, amount: i64) -> String {
    let bytes = matches!(name, MEMORY | EPHEMERAL_STORAGE) || name.starts_with("hugepages-");
    let quantity = if name == CPU {
        Quantity {
            nano: i128::from(amount) * NANO_PER_MILLI,
            notation: Notation::DecimalSi,
        }
    } else {
        let notation = if bytes {
            Notation::BinarySi
        } else {
            Notation::DecimalSi
        };
        Quantity {
            nano: i128::from(amount) * NANO,
            notation,
        }
    };
    quantity.to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::quantity::PODS;

    #[test]
    fn quantities_parse_and_print_as_upstream() {
        let rows = [
            ("100m", 1, 100, "100m"),
            ("1.5", 2, 1500, "1500m"),
            ("2Gi", 2 << 30, (2 << 30) * 1000, "2Gi"),
            ("1536Mi", 1536 << 20, (1536 << 20) * 1000, "1536Mi"),
            ("0.5Gi", 1 << 29, (1 << 29) * 1000, "512Mi"),
            ("1e3", 1000, 1_000_000, "1e3"),
            ("12E", 12_000_000_000_000_000_000_i128, 0, "12E"),
            ("1000k", 1_000_000, 1_000_000_000, "1M"),
            ("500Ki", 512_000, 512_000_000, "500Ki"),
            ("100Gi", 100 << 30, (100 << 30) * 1000, "100Gi"),
            (".5", 1, 500, "500m"),
            ("1n", 1, 1, "1n"),
            ("0", 0, 0, "0"),
            ("-1", -1, -1000, "-1"),
        ];
        for (text, value, milli, printed) in rows {
            let quantity = parse(text).expect("the row is a quantity");
            assert_eq!(quantity.value(), saturate(value), "{text}");
            if milli != 0 {
                assert_eq!(quantity.milli_value(), saturate(milli), "{text}");
            }
            assert_eq!(quantity.to_string(), printed, "{text}");
        }
    }

    #[test]
    fn malformed_quantities_are_refused() {
        for text in [
            "", "abc", "1.2.3", "1Gb", "1e", "e3", "--1", "1 Gi", "1e9999",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(amount in 0_i64..i64::MAX / 1_000_000) {
            for name in [CPU, MEMORY, PODS] {
                let text = format(name, amount);
                let parsed = parse(&text).expect("canonical text is a quantity");
                prop_assert_eq!(amount_of(name, parsed), amount);
            }
        }
    }
}
