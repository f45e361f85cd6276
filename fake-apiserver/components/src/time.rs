//! Instants as the API spells them.

use jiff::Timestamp;

/// `metav1.Time`: whole seconds.
pub(crate) fn rfc3339(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `metav1.MicroTime`: six digits.
pub(crate) fn micro(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// Reads either spelling.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}
