//! Where two runs part.

use crate::text::append;

/// The first difference of two traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// Index of the first record that differs.
    pub index: usize,
    /// The record on the left; `None`: the trace has ended.
    pub left: Option<String>,
    /// The record on the right.
    pub right: Option<String>,
}

/// The first record in which two traces differ; `None` when they are equal.
pub fn compare(left: &[String], right: &[String]) -> Option<Divergence> {
    let longest = left.len().max(right.len());
    (0..longest)
        .find(|index| left.get(*index) != right.get(*index))
        .map(|index| Divergence {
            index,
            left: left.get(index).cloned(),
            right: right.get(index).cloned(),
        })
}

/// The first difference with `lines` records before it and what the controller last decided, for
/// people; `None` when the traces are equal.
pub fn context(left: &[String], right: &[String], lines: usize) -> Option<String> {
    let found = compare(left, right)?;
    let mut out = format!("the traces part at line {}\n", found.index + 1);
    let before = left.get(..found.index).unwrap_or(left);
    if let Some(decision) = before.iter().rev().find(|line| is_decision(line)) {
        append(
            &mut out,
            format_args!("last decision before it:\n  {}\n", clip(decision)),
        );
    }
    out.push_str("common:\n");
    for line in before.iter().skip(before.len().saturating_sub(lines)) {
        append(&mut out, format_args!("  {}\n", clip(line)));
    }
    for (side, trace) in [('-', left), ('+', right)] {
        let rest = trace.iter().skip(found.index).take(3);
        let mut rest = rest.peekable();
        if rest.peek().is_none() {
            append(&mut out, format_args!("{side} (the trace ends here)\n"));
        }
        for line in rest {
            append(&mut out, format_args!("{side} {}\n", clip(line)));
        }
    }
    Some(out)
}

fn is_decision(line: &str) -> bool {
    line.contains(r#""k":"decide""#)
}

/// A line that fits on a screen.
fn clip(line: &str) -> String {
    const LONG: usize = 400;
    let line = line.trim_end();
    if line.chars().count() <= LONG {
        return line.to_owned();
    }
    line.chars().take(LONG).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_difference() {
        let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(compare(&lines("a b"), &lines("a b")), None);
        assert_eq!(
            compare(&lines("a b"), &lines("a c")).map(|found| found.index),
            Some(1)
        );
        let shorter = compare(&lines("a"), &lines("a b")).expect("differs");
        assert_eq!((shorter.index, shorter.left), (1, None));
        assert_eq!(context(&lines("a"), &lines("a"), 3), None);
        insta::assert_snapshot!(context(&lines("a b c"), &lines("a b"), 1).expect("differs"), @r"
        the traces part at line 3
        common:
          b
        - c
        + (the trace ends here)
        ");
    }
}
