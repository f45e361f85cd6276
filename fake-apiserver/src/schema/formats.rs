//! String formats (`k8s.io/kube-openapi/pkg/validation/strfmt`); unknown ones are ignored.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use base64::Engine as _;

/// Whether `text` has `format`; true for formats upstream does not check either.
pub(crate) fn matches(format: &str, text: &str) -> bool {
    match format {
        "date-time" | "datetime" => text.parse::<jiff::Timestamp>().is_ok(),
        "date" => text.parse::<jiff::civil::Date>().is_ok() && text.len() == 10,
        "duration" => is_duration(text),
        "byte" => base64::engine::general_purpose::STANDARD
            .decode(text)
            .is_ok(),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "hostname" => is_hostname(text),
        "email" => text
            .split_once('@')
            .is_some_and(|(user, host)| !user.is_empty() && is_hostname(host)),
        "uri" => {
            text.split_once(':')
                .is_some_and(|(scheme, _)| is_scheme(scheme))
                || text.starts_with('/')
        }
        "uuid" | "uuid3" | "uuid4" | "uuid5" => is_uuid(text),
        "mac" => is_mac(text),
        _ => true,
    }
}

/// Go durations, and the longer units strfmt adds (`1d`, `2 weeks`).
fn is_duration(text: &str) -> bool {
    const UNITS: &[&str] = &[
        "ns", "nano", "us", "µs", "micro", "ms", "milli", "s", "sec", "m", "min", "h", "hr",
        "hour", "d", "day", "w", "wk", "week", "nanos", "micros", "millis", "secs", "second",
        "seconds", "mins", "minute", "minutes", "hours", "hrs", "days", "wks", "weeks",
    ];
    let text = text.trim().trim_start_matches(['+', '-']);
    if text == "0" {
        return true;
    }
    let mut rest = text;
    while !rest.is_empty() {
        let number = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (digits, tail) = rest.split_at(number);
        let tail = tail.trim_start();
        let end = tail
            .find(|c: char| c.is_ascii_digit() || c == ' ')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        if digits.parse::<f64>().is_err() || !UNITS.contains(&unit) {
            return false;
        }
        rest = tail.trim_start();
    }
    !text.is_empty()
}

fn is_cidr(text: &str) -> bool {
    text.split_once('/').is_some_and(|(address, bits)| {
        let Ok(bits) = bits.parse::<u8>() else {
            return false;
        };
        match address.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => bits <= 32,
            Ok(IpAddr::V6(_)) => bits <= 128,
            Err(_) => false,
        }
    })
}

fn is_hostname(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

fn is_uuid(text: &str) -> bool {
    let hex: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = hex.iter().map(|part| part.len()).collect();
    (lengths == [8, 4, 4, 4, 12] || lengths == [32])
        && hex
            .iter()
            .all(|part| part.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn is_mac(text: &str) -> bool {
    let separator = if text.contains('-') { '-' } else { ':' };
    let parts: Vec<&str> = text.split(separator).collect();
    matches!(parts.len(), 6 | 8 | 20)
        && parts
            .iter()
            .all(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_accept_and_refuse() {
        for (format, good, bad) in [
            ("date-time", "2026-01-02T03:04:05Z", "2026-01-02"),
            ("duration", "1h30m", "x"),
            ("duration", "2 weeks", "2 fortnights"),
            ("byte", "aGk=", "a"),
            ("ipv4", "10.0.0.1", "10.0.0"),
            ("cidr", "10.0.0.0/8", "10.0.0.0/33"),
            ("hostname", "a.example", "-a"),
            ("uuid", "bf22acc1-d302-4dff-a3e3-f93472fb7599", "bf22"),
            ("uri", "https://x", "x y"),
        ] {
            assert!(matches(format, good), "{format} {good}");
            assert!(!matches(format, bad), "{format} {bad}");
        }
        assert!(matches("no-such-format", "anything"));
    }
}
