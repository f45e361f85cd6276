//! The timeline as text.

use std::time::Duration;

use crate::story::chronicle::Chronicle;
use crate::text::append;

/// `$0.1234/h` from millionths of a dollar.
pub fn money(micro: u64) -> String {
    format!("${}.{:04}/h", micro / 1_000_000, micro % 1_000_000 / 100)
}

/// `1:02:03.4` since the start.
pub fn stamp(at: Duration) -> String {
    let seconds = at.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let tenths = at.subsec_millis() / 100;
    if hours > 0 {
        format!("{hours}:{minutes:02}:{:02}.{tenths}", seconds % 60)
    } else {
        format!("{minutes}:{:02}.{tenths}", seconds % 60)
    }
}

/// One line per happening; reasons stand below what they explain.
pub fn render_timeline(chronicle: &Chronicle) -> String {
    let mut out = String::new();
    for happening in chronicle.happenings() {
        let kind = happening.kind.as_str();
        append(
            &mut out,
            format_args!(
                "{:>10}  {kind:<9} {}\n",
                stamp(happening.at),
                happening.text
            ),
        );
        if !happening.why.is_empty() {
            append(
                &mut out,
                format_args!("{:>10}  {:<9} └ {}\n", "", "", happening.why),
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        assert_eq!(money(96_123), "$0.0961/h");
        assert_eq!(stamp(Duration::from_millis(62_345)), "1:02.3");
        assert_eq!(stamp(Duration::from_secs(3_725)), "1:02:05.0");
    }
}
