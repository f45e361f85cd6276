//! Makes a document smaller while something stays true of it.

use serde_json::{Map, Value};

use crate::format::{format_duration, parse_duration};

/// A step from the root: a key or an index.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Key(String),
    Index(usize),
}

type Path = Vec<Part>;

/// What is asked of candidates.
pub(super) trait Judge {
    /// Whether this document still fails for the same reason; false as well once there were enough
    /// questions.
    fn fails(&mut self, root: &Map<String, Value>) -> bool;
    /// Whether something may be taken out. Some parts are what the document is about.
    fn may_remove(&self, top: &str, depth: usize) -> bool;
}

/// Keys without which there is no scenario.
const KEPT: [&str; 2] = ["name", "seed"];

/// Takes out whatever can be taken out, and makes numbers and durations smaller, until nothing
/// helps any more.
pub(super) fn reduce(root: &mut Map<String, Value>, judge: &mut impl Judge) {
    loop {
        let before = root.clone();
        thin_lists(root, judge);
        remove(root, judge);
        lower(root, judge);
        if *root == before {
            return;
        }
    }
}

/// Lists first, from large pieces to single elements: faults, steps, objects, expectations.
fn thin_lists(root: &mut Map<String, Value>, judge: &mut impl Judge) {
    for path in paths(root, |value| {
        value.as_array().is_some_and(|list| list.len() > 1)
    }) {
        let Some(list) = at(root, &path).and_then(Value::as_array) else {
            continue;
        };
        if !judge.may_remove(top(&path), path.len() + 1) {
            continue;
        }
        let mut piece = list.len().div_ceil(2);
        while piece > 0 {
            let mut start = 0;
            while let Some(length) = length(root, &path).filter(|length| start < *length) {
                let mut candidate = root.clone();
                if let Some(Value::Array(list)) = at_mut(&mut candidate, &path) {
                    list.drain(start..(start + piece).min(length));
                }
                if judge.fails(&candidate) {
                    *root = candidate;
                } else {
                    start += piece;
                }
            }
            piece = if piece == 1 { 0 } else { piece.div_ceil(2) };
        }
    }
}

/// Then every entry, the outermost first.
fn remove(root: &mut Map<String, Value>, judge: &mut impl Judge) {
    let mut queue = paths(root, |_| true);
    queue.sort_by_key(Vec::len);
    // From the back within a level, so that indices stay true.
    let mut gone: Vec<Path> = Vec::new();
    queue.reverse();
    queue.sort_by_key(Vec::len);
    for path in queue {
        let kept = path.len() == 1 && KEPT.contains(&top(&path));
        let below = gone.iter().any(|gone| path.starts_with(gone));
        if kept || below || !judge.may_remove(top(&path), path.len()) {
            continue;
        }
        let mut candidate = root.clone();
        if !take_out(&mut candidate, &path) {
            continue;
        }
        if judge.fails(&candidate) {
            *root = candidate;
            // Elements behind it have moved: what is known of them is wrong until the next round.
            let mut moved = path.clone();
            if matches!(moved.last(), Some(Part::Index(_))) {
                moved.pop();
            }
            gone.push(moved);
        }
    }
}

/// Then smaller numbers and shorter times.
fn lower(root: &mut Map<String, Value>, judge: &mut impl Judge) {
    for path in paths(root, |value| value.is_u64() || value.is_string()) {
        if KEPT.contains(&top(&path)) || path == [Part::Key("region".to_owned())] {
            continue;
        }
        while let Some(value) = at(root, &path) {
            let mut candidates = smaller(value).into_iter();
            let better = candidates.find_map(|value| {
                let mut candidate = root.clone();
                *at_mut(&mut candidate, &path)? = value;
                judge.fails(&candidate).then_some(candidate)
            });
            match better {
                Some(candidate) => *root = candidate,
                None => break,
            }
        }
    }
}

/// Smaller values, the smallest first.
fn smaller(value: &Value) -> Vec<Value> {
    if let Some(number) = value.as_u64() {
        let candidates = [1, number / 2, number.saturating_sub(1)];
        let mut candidates: Vec<u64> = candidates.into_iter().filter(|it| *it < number).collect();
        candidates.dedup();
        return candidates.into_iter().map(Value::from).collect();
    }
    let text = value.as_str().unwrap_or_default();
    match parse_duration(text) {
        Ok(duration) if duration.as_secs() > 1 => {
            let half = std::time::Duration::from_secs(duration.as_secs().div_ceil(2));
            vec![Value::from(format_duration(half))]
        }
        _ => Vec::new(),
    }
}

fn top(path: &Path) -> &str {
    match path.first() {
        Some(Part::Key(key)) => key,
        _ => "",
    }
}

/// Paths of all values below the root that are of interest, in their order.
fn paths(root: &Map<String, Value>, wanted: impl Fn(&Value) -> bool + Copy) -> Vec<Path> {
    let mut found = Vec::new();
    for (key, value) in root {
        walk(value, &mut vec![Part::Key(key.clone())], wanted, &mut found);
    }
    found
}

fn walk(
    value: &Value,
    path: &mut Path,
    wanted: impl Fn(&Value) -> bool + Copy,
    found: &mut Vec<Path>,
) {
    if wanted(value) {
        found.push(path.clone());
    }
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                path.push(Part::Key(key.clone()));
                walk(value, path, wanted, found);
                path.pop();
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                path.push(Part::Index(index));
                walk(value, path, wanted, found);
                path.pop();
            }
        }
        _ => {}
    }
}

fn at<'a>(root: &'a Map<String, Value>, path: &Path) -> Option<&'a Value> {
    let mut parts = path.iter();
    let Some(Part::Key(key)) = parts.next() else {
        return None;
    };
    parts.try_fold(root.get(key)?, |value, part| match part {
        Part::Key(key) => value.get(key),
        Part::Index(index) => value.get(index),
    })
}

fn at_mut<'a>(root: &'a mut Map<String, Value>, path: &[Part]) -> Option<&'a mut Value> {
    let mut parts = path.iter();
    let Some(Part::Key(key)) = parts.next() else {
        return None;
    };
    parts.try_fold(root.get_mut(key)?, |value, part| match part {
        Part::Key(key) => value.get_mut(key),
        Part::Index(index) => value.get_mut(index),
    })
}

fn length(root: &Map<String, Value>, path: &Path) -> Option<usize> {
    at(root, path)?.as_array().map(Vec::len)
}

fn take_out(root: &mut Map<String, Value>, path: &[Part]) -> bool {
    let Some((last, parents)) = path.split_last() else {
        return false;
    };
    let parent = match (parents.is_empty(), last) {
        (true, Part::Key(key)) => return root.remove(key).is_some(),
        _ => at_mut(root, parents),
    };
    match (parent, last) {
        (Some(Value::Object(entries)), Part::Key(key)) => entries.remove(key).is_some(),
        (Some(Value::Array(items)), Part::Index(index)) if *index < items.len() => {
            items.remove(*index);
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Asked<F>(F, u32);

    impl<F: Fn(&Map<String, Value>) -> bool> Judge for Asked<F> {
        fn fails(&mut self, root: &Map<String, Value>) -> bool {
            self.1 += 1;
            (self.0)(root)
        }

        fn may_remove(&self, _: &str, _: usize) -> bool {
            true
        }
    }

    #[test]
    fn only_what_matters_stays() {
        let value = json!({
            "name": "x",
            "seed": 5,
            "horizon": "20m",
            "faults": {"requests": (0..23).map(|n| json!({"n": n})).collect::<Vec<_>>()},
            "manifests": [{"kind": "a", "spec": {"replicas": 40, "other": 1}}, {"kind": "b"}],
        });
        let Value::Object(mut root) = value else {
            panic!("a map")
        };
        let fails = |root: &Map<String, Value>| {
            let root = Value::Object(root.clone());
            let faults = root["faults"]["requests"].as_array().cloned();
            let has = faults.unwrap_or_default().iter().any(|it| it["n"] == 17);
            let manifests = root["manifests"].as_array().cloned().unwrap_or_default();
            let replicas = |it: &Value| it["spec"]["replicas"].as_u64().unwrap_or_default();
            has && manifests.iter().any(|it| replicas(it) >= 3)
        };
        let mut judge = Asked(fails, 0);
        reduce(&mut root, &mut judge);
        let expected = json!({
            "name": "x",
            "seed": 5,
            "faults": {"requests": [{"n": 17}]},
            "manifests": [{"spec": {"replicas": 3}}],
        });
        assert_eq!(Value::Object(root), expected);
        assert!(judge.1 < 150, "{} questions", judge.1);
    }
}
