//! "Did you mean": the known word nearest to a misspelt one.

/// The nearest candidate, when it is near enough to be what was meant.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).max(2);
    known
        .into_iter()
        .map(|candidate| {
            (
                difference(&word.to_lowercase(), &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A word that was cut short is near, however long the rest.
fn difference(word: &str, candidate: &str) -> usize {
    if word.len() >= PREFIX_MIN && candidate.starts_with(word) {
        return 1;
    }
    distance(word, candidate)
}

/// Shorter beginnings say too little.
const PREFIX_MIN: usize = 4;

/// Edit distance with transpositions of neighbours (optimal string alignment).
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    let mut rows = vec![vec![0; right.len() + 1]; left.len() + 1];
    for (index, row) in rows.iter_mut().enumerate() {
        row[0] = index;
    }
    for (column, cell) in rows[0].iter_mut().enumerate() {
        *cell = column;
    }
    for i in 1..=left.len() {
        for j in 1..=right.len() {
            let cost = usize::from(left[i - 1] != right[j - 1]);
            let mut best = (rows[i - 1][j] + 1)
                .min(rows[i][j - 1] + 1)
                .min(rows[i - 1][j - 1] + cost);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_near_words_only() {
        let known = ["timeline", "manifests", "expect"];
        assert_eq!(nearest("timelime", known), Some("timeline"));
        assert_eq!(nearest("manifest", known), Some("manifests"));
        assert_eq!(nearest("expcet", known), Some("expect"));
        assert_eq!(nearest("time", known), Some("timeline"));
        assert_eq!(nearest("colour", known), None);
    }
}
