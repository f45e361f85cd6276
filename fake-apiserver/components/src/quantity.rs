//! Exact resource quantities (`k8s.io/apimachinery/pkg/api/resource`).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::object::{entries, items, text};

const NANO: i128 = 1_000_000_000;

/// Reads a quantity in units of 10⁻⁹, rounding up what is finer. `None`: not a quantity.
pub(crate) fn nano(quantity: &str) -> Option<i128> {
    let split = quantity
        .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-' || c == '+'))
        .unwrap_or(quantity.len());
    let (number, suffix) = quantity.split_at_checked(split)?;
    let (scale, divisor) = scale(suffix)?;
    let negative = number.starts_with('-');
    let digits = number.strip_prefix(['-', '+']).unwrap_or(number);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    // Nineteen digits of either part are more than any quantity the API server stores.
    if digits.len() > 38 || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let mantissa = format!("{whole}{fraction}");
    if !mantissa.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let mantissa: i128 = mantissa.parse().ok()?;
    let denominator = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let scaled = mantissa.checked_mul(scale)?.checked_mul(NANO)?;
    let divisor = denominator.checked_mul(divisor)?;
    let value = scaled.checked_add(divisor - 1)? / divisor;
    Some(if negative { -value } else { value })
}

/// Factor and divisor of a suffix.
fn scale(suffix: &str) -> Option<(i128, i128)> {
    Some(match suffix {
        "" => (1, 1),
        "n" => (1, NANO),
        "u" => (1, 1_000_000),
        "m" => (1, 1_000),
        "k" => (1_000, 1),
        "M" => (1_000_000, 1),
        "G" => (NANO, 1),
        "T" => (1_000 * NANO, 1),
        "P" => (1_000_000 * NANO, 1),
        "E" => (NANO * NANO, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10_i128.checked_pow(exponent.unsigned_abs())?;
            if exponent < 0 { (1, power) } else { (power, 1) }
        }
    })
}

/// Whole units, rounded up; 0 when unreadable.
pub(crate) fn units(quantity: &str) -> i64 {
    divide(nano(quantity).unwrap_or_default(), NANO)
}

/// Thousandths, rounded up; 0 when unreadable.
pub(crate) fn milli(quantity: &str) -> i64 {
    divide(nano(quantity).unwrap_or_default(), 1_000_000)
}

fn divide(value: i128, by: i128) -> i64 {
    let up = if value >= 0 {
        (value + by - 1) / by
    } else {
        value / by
    };
    i64::try_from(up).unwrap_or(i64::MAX)
}

/// Amounts of resources: CPU in thousandths, everything else in whole units. `pods` is an
/// ordinary resource here.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Amounts {
    pub(crate) cpu_milli: i64,
    pub(crate) memory: i64,
    pub(crate) ephemeral: i64,
    pub(crate) other: BTreeMap<Arc<str>, i64>,
}

impl Amounts {
    /// Reads a resource list such as `status.allocatable`.
    pub(crate) fn read(list: &Value) -> Self {
        let mut amounts = Self::default();
        for (name, quantity) in entries(list) {
            // JSON numbers are legal quantities as well.
            let quantity = quantity
                .as_str()
                .map_or_else(|| quantity.to_string(), str::to_owned);
            match name.as_str() {
                "cpu" => amounts.cpu_milli = milli(&quantity),
                "memory" => amounts.memory = units(&quantity),
                "ephemeral-storage" => amounts.ephemeral = units(&quantity),
                _ => {
                    amounts
                        .other
                        .insert(Arc::from(name.as_str()), units(&quantity));
                }
            }
        }
        amounts
    }

    pub(crate) fn add(&mut self, more: &Self) {
        self.combine(more, i64::saturating_add);
    }

    pub(crate) fn subtract(&mut self, less: &Self) {
        self.combine(less, i64::saturating_sub);
    }

    /// The larger of both, resource by resource.
    pub(crate) fn maximum(&mut self, with: &Self) {
        self.combine(with, i64::max);
    }

    fn combine(&mut self, with: &Self, f: impl Fn(i64, i64) -> i64) {
        self.cpu_milli = f(self.cpu_milli, with.cpu_milli);
        self.memory = f(self.memory, with.memory);
        self.ephemeral = f(self.ephemeral, with.ephemeral);
        for (name, amount) in &with.other {
            let mine = self.other.entry(Arc::clone(name)).or_default();
            *mine = f(*mine, *amount);
        }
    }
}

/// What a pod asks for: the larger of the sum of its containers and the peak of its init
/// containers (sidecars run on), or the pod-level requests, plus overhead
/// (`k8s.io/component-helpers/resource`).
pub(crate) fn pod_requests(spec: &Value) -> Amounts {
    let mut total = Amounts::default();
    for container in items(&spec["containers"]) {
        total.add(&Amounts::read(&container["resources"]["requests"]));
    }
    let mut sidecars = Amounts::default();
    let mut peak = Amounts::default();
    for container in items(&spec["initContainers"]) {
        let mut requests = Amounts::read(&container["resources"]["requests"]);
        if text(&container["restartPolicy"]) == "Always" {
            total.add(&requests);
            sidecars.add(&requests);
            peak.maximum(&sidecars);
        } else {
            requests.add(&sidecars);
            peak.maximum(&requests);
        }
    }
    total.maximum(&peak);
    let pod_level = &spec["resources"]["requests"];
    if pod_level.is_object() {
        let whole = Amounts::read(pod_level);
        if pod_level.get("cpu").is_some() {
            total.cpu_milli = whole.cpu_milli;
        }
        if pod_level.get("memory").is_some() {
            total.memory = whole.memory;
        }
    }
    total.add(&Amounts::read(&spec["overhead"]));
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_exact_and_round_up() {
        assert_eq!(milli("100m"), 100);
        assert_eq!(milli("1.5"), 1500);
        assert_eq!(milli("1u"), 1);
        assert_eq!(units("1Gi"), 1 << 30);
        assert_eq!(units("1e3"), 1000);
        assert_eq!(units("12E"), i64::MAX);
        assert_eq!(nano("0.5Ki"), Some(512 * NANO));
        for bad in ["", "1Q", "abc", "1.2.3", "--1", "1e", "e3"] {
            assert_eq!(nano(bad), None, "{bad}");
        }
    }

    #[test]
    fn init_containers_count_by_their_peak() {
        let spec = serde_json::json!({
            "containers": [{"resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}],
            "initContainers": [
                {"restartPolicy": "Always", "resources": {"requests": {"cpu": "500m"}}},
                {"resources": {"requests": {"cpu": "2", "nvidia.com/gpu": "1"}}},
            ],
        });
        let requests = pod_requests(&spec);
        assert_eq!(requests.cpu_milli, 2500);
        assert_eq!(requests.memory, 1 << 30);
        assert_eq!(requests.other.get("nvidia.com/gpu"), Some(&1));
    }

    proptest::proptest! {
        #[test]
        fn whole_numbers_are_themselves(number in 0..i64::MAX / 1000) {
            proptest::prop_assert_eq!(units(&number.to_string()), number);
            proptest::prop_assert_eq!(milli(&format!("{number}m")), number);
        }

        #[test]
        fn any_text_is_answered(text in ".{0,60}") {
            let readable = nano(&text).is_some();
            proptest::prop_assert!(readable || units(&text) == 0 && milli(&text) == 0);
        }
    }
}
