//! Where two runs part.

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
    }
}
