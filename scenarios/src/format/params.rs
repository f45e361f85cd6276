//! Parameters: `${name}` in a scenario and in its manifests, with values from `params`, `matrix`
//! and the command line.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::format::check::did_you_mean;
use crate::format::error::FormatError;
use crate::format::located::{Located, Place};

/// Values by name.
pub(crate) type Values = BTreeMap<String, Value>;

/// More runs of one file than anybody waits for.
const CASES_MAX: usize = 256;

/// One combination of values.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Combination {
    /// Everything that `${…}` may name.
    pub(crate) values: Values,
    /// What tells this run from the others of the file, and from the defaults.
    pub(crate) chosen: BTreeMap<String, String>,
    /// What its name ends in.
    pub(crate) suffix: String,
}

/// Every combination that a file asks for; `set` overrides.
pub(crate) fn combinations(
    file: &str,
    text: &str,
    tree: &Located,
    set: &BTreeMap<String, String>,
) -> Result<Vec<Combination>, FormatError> {
    let entries = |section: &str| {
        let section = tree.get(section).and_then(Located::entries);
        section.unwrap_or_default()
    };
    let mut values = Values::new();
    for entry in entries("params") {
        values.insert(entry.key.clone(), entry.value.value());
    }
    let mut axes: Vec<(String, Vec<Value>)> = Vec::new();
    for entry in entries("matrix") {
        let items = entry.value.items().unwrap_or_default();
        if items.is_empty() {
            let message = format!("'{}' has no values", entry.key);
            return Err(FormatError::at(file, text, entry.place(text), message)
                .help("give a list, for example [spot, on-demand]"));
        }
        if values.contains_key(&entry.key) {
            let message = format!("'{}' is in 'params', too", entry.key);
            return Err(FormatError::at(file, text, entry.place(text), message)
                .help("name it in one of the two"));
        }
        if !set.contains_key(&entry.key) {
            axes.push((
                entry.key.clone(),
                items.iter().map(Located::value).collect(),
            ));
        }
        values.insert(entry.key.clone(), Value::Null);
    }
    for (name, value) in set {
        if !values.contains_key(name) {
            let place = tree.get("params").unwrap_or(tree).place(text);
            let message = format!("the scenario has no parameter '{name}'");
            return Err(
                FormatError::at(file, text, place, message).help(known(name, values.keys()))
            );
        }
        values.insert(name.clone(), value_of(value));
    }
    let base = Combination {
        values,
        chosen: set.clone(),
        suffix: String::new(),
    };
    let count = axes.iter().fold(1_usize, |count, (_, values)| {
        count.saturating_mul(values.len())
    });
    if count > CASES_MAX {
        let place = tree.get("matrix").unwrap_or(tree).place(text);
        let message = format!("the matrix has {count} combinations, at most {CASES_MAX} run");
        return Err(FormatError::at(file, text, place, message).help("remove values"));
    }
    let mut all = vec![base];
    for (name, values) in &axes {
        let mut next = Vec::with_capacity(all.len() * values.len());
        for combination in &all {
            next.extend(values.iter().map(|value| combination.with(name, value)));
        }
        all = next;
    }
    Ok(all)
}

impl Combination {
    fn with(&self, name: &str, value: &Value) -> Self {
        let mut next = self.clone();
        let text = text_of(value);
        next.suffix.push('-');
        next.suffix.push_str(&slug(&text));
        next.values.insert(name.to_owned(), value.clone());
        next.chosen.insert(name.to_owned(), text);
        next
    }
}

/// As the command line writes it.
fn text_of(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// From the command line: numbers and switches are what YAML would make of them.
fn value_of(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(value @ (Value::Number(_) | Value::Bool(_))) => value,
        _ => Value::String(text.to_owned()),
    }
}

/// What may stand in a folder's name.
fn slug(text: &str) -> String {
    let mapped = text.chars().map(|character| match character {
        'A'..='Z' => character.to_ascii_lowercase(),
        'a'..='z' | '0'..='9' => character,
        _ => '-',
    });
    mapped.collect::<String>().trim_matches('-').to_owned()
}

fn known<'a>(name: &str, names: impl Iterator<Item = &'a String> + Clone) -> String {
    if names.clone().next().is_none() {
        return "declare it under 'params' with a default".to_owned();
    }
    did_you_mean(name, names.map(String::as_str))
}

/// Replaces `${name}` in a tree; `$${` stands for `${`.
///
/// Files without parameters are left alone: `${HOME}` in a container's arguments stays.
pub(crate) fn fill(
    file: &str,
    text: &str,
    tree: &mut Located,
    values: &Values,
) -> Result<(), FormatError> {
    if values.is_empty() {
        return Ok(());
    }
    let mut errors = Vec::new();
    tree.rewrite(&mut |scalar, location| {
        if !scalar.contains("${") {
            return None;
        }
        match replaced(scalar, values) {
            Ok(value) => Some(value),
            Err(name) => {
                let place = Place::of(location, text);
                let shift = scalar.find(&format!("${{{name}")).unwrap_or_default();
                let place = place.inside(shift, name.len() + 3, text);
                let message = format!("unknown parameter '{name}'");
                let help = format!(
                    "{}; '$${{' stands for a plain '${{'",
                    known(&name, values.keys())
                );
                errors.push(FormatError::at(file, text, place, message).help(help));
                None
            }
        }
    });
    FormatError::all(errors).map_or(Ok(()), Err)
}

/// Replaces `${name}` in a value from another file, where unknown names mean something else.
pub(crate) fn fill_known(value: &mut Value, values: &Values) {
    match value {
        Value::String(text) if text.contains("${") => {
            if let Ok(filled) = replaced(text, values) {
                *value = filled;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill_known(item, values)),
        Value::Object(map) => map.values_mut().for_each(|item| fill_known(item, values)),
        _ => {}
    }
}

/// A text that is nothing but a parameter takes over its type.
fn replaced(text: &str, values: &Values) -> Result<Value, String> {
    let whole = text
        .strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'));
    if let Some(name) = whole.filter(|name| !name.contains(['{', '}'])) {
        return values.get(name).cloned().ok_or_else(|| name.to_owned());
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        let tail = from.get(2..).unwrap_or_default();
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = tail;
            continue;
        }
        let Some((name, after)) = tail.split_once('}') else {
            return Err(tail.to_owned());
        };
        let value = values.get(name).ok_or_else(|| name.to_owned())?;
        out.push_str(before);
        out.push_str(&text_of(value));
        rest = after;
    }
    out.push_str(rest);
    Ok(Value::String(out))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn values() -> Values {
        Values::from([
            ("n".to_owned(), json!(5)),
            ("kind".to_owned(), json!("spot")),
        ])
    }

    #[test]
    fn a_whole_text_keeps_the_type_and_a_part_becomes_text() {
        assert_eq!(replaced("${n}", &values()), Ok(json!(5)));
        assert_eq!(
            replaced("pods == ${n}, ${kind}", &values()),
            Ok(json!("pods == 5, spot"))
        );
        assert_eq!(replaced("$${n} ${n}", &values()), Ok(json!("${n} 5")));
        assert_eq!(replaced("${m}", &values()), Err("m".to_owned()));
        assert_eq!(replaced("x ${n", &values()), Err("n".to_owned()));
    }

    #[test]
    fn a_matrix_is_the_cross_product_and_the_command_line_picks() {
        let text = "params: {n: 3}\nmatrix:\n  kind: [spot, on-demand]\n  size: [1, 2]\n";
        let tree = Located::parse(text).expect("YAML");
        let none = BTreeMap::new();
        let all = combinations("x", text, &tree, &none).expect("valid");
        let names: Vec<&str> = all.iter().map(|one| one.suffix.as_str()).collect();
        assert_eq!(
            names,
            ["-spot-1", "-spot-2", "-on-demand-1", "-on-demand-2"]
        );
        assert_eq!(all[3].values["n"], json!(3));
        assert_eq!(all[3].chosen["kind"], "on-demand");
        let set = BTreeMap::from([
            ("kind".to_owned(), "spot".to_owned()),
            ("n".to_owned(), "7".to_owned()),
        ]);
        let all = combinations("x", text, &tree, &set).expect("valid");
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].values["n"], json!(7));
        let set = BTreeMap::from([("knd".to_owned(), "spot".to_owned())]);
        let error = combinations("x", text, &tree, &set).expect_err("unknown");
        assert!(
            error
                .help
                .as_deref()
                .is_some_and(|help| help.contains("'kind'"))
        );
    }
}
