//! Holds a tree against the JSON Schema of scenarios and finds every mistake at once.
//!
//! Only the keywords that the schema uses are known. The parser reads what passes here; a test
//! feeds both the same files.

use serde_json::{Map, Value};

use crate::format::duration::DurationError;
use crate::format::located::{Entry, Located, Place};
use crate::format::suggest;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// Where.
    pub(crate) place: Place,
    /// What.
    pub(crate) message: String,
    /// What to do.
    pub(crate) help: Option<String>,
}

/// Marks texts that are durations, for errors that say how to write one.
pub(crate) const DURATION: &str = "x-duration";

/// More mistakes than anybody reads at once.
const MISTAKES_MAX: usize = 20;

/// Everything in `tree` that `schema` does not allow, in the order of the text.
pub(crate) fn check(tree: &Located, schema: &Value, text: &str) -> Vec<Mistake> {
    let mut checker = Checker {
        root: schema,
        text,
        mistakes: Vec::new(),
    };
    checker.node(tree, schema, "the scenario");
    checker.mistakes.sort_by_key(|mistake| mistake.place.offset);
    checker.mistakes.truncate(MISTAKES_MAX);
    checker.mistakes
}

struct Checker<'a> {
    root: &'a Value,
    text: &'a str,
    mistakes: Vec<Mistake>,
}

impl<'a> Checker<'a> {
    fn mistake(&mut self, place: Place, message: String, help: Option<String>) {
        self.mistakes.push(Mistake {
            place,
            message,
            help,
        });
    }

    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let reference = schema["$ref"].as_str();
        let pointer = reference.and_then(|text| text.strip_prefix('#'));
        pointer
            .and_then(|pointer| self.root.pointer(pointer))
            .unwrap_or(schema)
    }

    fn node(&mut self, node: &Located, schema: &'a Value, name: &str) {
        let schema = self.resolve(schema);
        if let Some(words) = self.words(schema) {
            self.word(node, schema, &words, name);
            return;
        }
        for keyword in ["anyOf", "oneOf"] {
            let Some(branches) = schema[keyword].as_array() else {
                continue;
            };
            // Which keys go together is said by the reader, who knows a better sentence.
            if branches
                .iter()
                .all(|branch| branch["required"].is_array() && branch["type"].is_null())
            {
                continue;
            }
            self.branches(node, branches, name);
            return;
        }
        if !self.has_type(node, schema, name) {
            return;
        }
        if let Some(entries) = node.entries() {
            self.map(node, entries, schema, name);
        }
        for item in node.items().unwrap_or_default() {
            self.node(item, &schema["items"], name);
        }
        self.bounds(node, schema, name);
    }

    /// The best of several alternatives: one that fits, or the one of the right type.
    fn branches(&mut self, node: &Located, branches: &'a [Value], name: &str) {
        let mut best: Option<Vec<Mistake>> = None;
        for branch in branches {
            let mut attempt = Checker {
                root: self.root,
                text: self.text,
                mistakes: Vec::new(),
            };
            attempt.node(node, branch, name);
            if attempt.mistakes.is_empty() {
                return;
            }
            let schema = self.resolve(branch);
            let fits = types(schema).is_empty() || types(schema).contains(&kind_of(node));
            if fits
                && best
                    .as_ref()
                    .is_none_or(|best| attempt.mistakes.len() < best.len())
            {
                best = Some(attempt.mistakes);
            }
        }
        if let Some(best) = best {
            self.mistakes.extend(best);
            return;
        }
        let expected: Vec<&str> = branches
            .iter()
            .flat_map(|branch| types(self.resolve(branch)))
            .filter(|kind| *kind != "null")
            .collect();
        self.wrong_type(node, &expected, name);
    }

    /// The words of an enumeration, however it is spelt.
    fn words(&self, schema: &'a Value) -> Option<Vec<&'a str>> {
        if let Some(list) = schema["enum"].as_array() {
            return Some(list.iter().filter_map(Value::as_str).collect());
        }
        if let Some(word) = schema["const"].as_str() {
            return Some(vec![word]);
        }
        let branches = schema["oneOf"].as_array()?;
        let mut words = Vec::new();
        for branch in branches {
            words.extend(self.words(self.resolve(branch))?);
        }
        Some(words)
    }

    fn word(&mut self, node: &Located, schema: &Value, words: &[&str], name: &str) {
        let value = node.value();
        let allows_nothing = types(schema).contains(&"null");
        match value.as_str() {
            Some(word) if words.contains(&word) => {}
            Some(word) => {
                let help = did_you_mean(word, words.iter().copied());
                let place = node.place(self.text);
                self.mistake(place, format!("unknown value '{word}'"), Some(help));
            }
            None if value.is_null() && allows_nothing => {}
            None => {
                let message = format!("wrong type: {name} is {}, expected a word", said(&value));
                let help = format!("known: {}", words.join(", "));
                self.mistake(node.place(self.text), message, Some(help));
            }
        }
    }

    fn has_type(&mut self, node: &Located, schema: &Value, name: &str) -> bool {
        let expected = types(schema);
        let kind = kind_of(node);
        let fits = expected.is_empty()
            || expected.contains(&kind)
            || (kind == "integer" && expected.contains(&"number"));
        if fits {
            return true;
        }
        if schema[DURATION] == true && matches!(kind, "integer" | "number") {
            let message = format!("'{}' is not a duration", node.value());
            let help = Some(DurationError::HELP.to_owned());
            self.mistake(node.place(self.text), message, help);
        } else {
            self.wrong_type(node, &expected, name);
        }
        false
    }

    fn wrong_type(&mut self, node: &Located, expected: &[&str], name: &str) {
        let value = node.value();
        let names: Vec<&str> = expected
            .iter()
            .filter(|kind| **kind != "null")
            .map(|kind| article(kind))
            .collect();
        let message = format!(
            "wrong type: {name} is {}, expected {}",
            said(&value),
            names.join(" or ")
        );
        let quoted = expected.contains(&"string") && !(value.is_object() || value.is_array());
        let help = if quoted && !value.is_null() {
            Some(format!("put it in quotes: \"{value}\""))
        } else if value.is_null() {
            Some("write a value after the colon, or remove the key".to_owned())
        } else {
            None
        };
        self.mistake(node.place(self.text), message, help);
    }

    fn map(&mut self, node: &Located, entries: &[Entry], schema: &'a Value, name: &str) {
        let properties = schema["properties"].as_object();
        let closed = schema["additionalProperties"] == false;
        let empty = Map::new();
        let known = properties.unwrap_or(&empty);
        for entry in entries {
            match properties.and_then(|known| known.get(&entry.key)) {
                Some(inner) => self.node(&entry.value, inner, &format!("'{}'", entry.key)),
                None if closed => {
                    let help = did_you_mean(&entry.key, known.keys().map(String::as_str));
                    let message = format!("unknown key '{}'", entry.key);
                    self.mistake(entry.place(self.text), message, Some(help));
                }
                None if schema["additionalProperties"].is_object() => {
                    let inner = &schema["additionalProperties"];
                    self.node(&entry.value, inner, &format!("'{}'", entry.key));
                }
                None => {}
            }
        }
        let required = schema["required"].as_array().into_iter().flatten();
        for key in required.filter_map(Value::as_str) {
            // A misspelt key is one mistake, not two.
            let misspelt = |entry: &Entry| {
                !known.contains_key(&entry.key)
                    && suggest::nearest(&entry.key, known.keys().map(String::as_str)) == Some(key)
            };
            if !entries
                .iter()
                .any(|entry| entry.key == key || misspelt(entry))
            {
                let message = if name == "the scenario" {
                    format!("missing key '{key}'")
                } else {
                    format!("missing key '{key}' in {name}")
                };
                let help = Some(format!("add '{key}:'"));
                self.mistake(node.place(self.text), message, help);
            }
        }
    }

    fn bounds(&mut self, node: &Located, schema: &Value, name: &str) {
        let Some(number) = node.value().as_f64() else {
            return;
        };
        let (low, high) = (&schema["minimum"], &schema["maximum"]);
        let below = low.as_f64().is_some_and(|low| number < low);
        let above = high.as_f64().is_some_and(|high| number > high);
        if below || above {
            let message = format!("{name} is {}, out of range", node.value());
            let help = match (low.is_null(), high.is_null()) {
                (false, false) => format!("write a number from {low} to {high}"),
                (false, true) => format!("write a number of at least {low}"),
                _ => format!("write a number of at most {high}"),
            };
            self.mistake(node.place(self.text), message, Some(help));
        }
    }
}

/// The words nearest to what was written, then all.
pub(crate) fn did_you_mean<'a>(word: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let all: Vec<&str> = known.clone().collect();
    let all = format!("known: {}", all.join(", "));
    match suggest::nearest(word, known) {
        Some(near) => format!("did you mean '{near}'? {all}"),
        None => all,
    }
}

fn types(schema: &Value) -> Vec<&str> {
    match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn kind_of(node: &Located) -> &'static str {
    match node.value() {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn article(kind: &str) -> &'static str {
    match kind {
        "boolean" => "true or false",
        "number" => "a number",
        "integer" => "a whole number",
        "array" => "a list",
        "object" => "a map",
        "null" => "nothing",
        _ => "a text",
    }
}

fn said(value: &Value) -> String {
    match value {
        Value::Null => "empty".to_owned(),
        Value::Bool(_) => format!("the truth value {value}"),
        Value::Number(number) if number.is_f64() => format!("the number {value}"),
        Value::Number(_) => format!("the whole number {value}"),
        Value::String(text) => format!("the text '{}'", shortened(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a map".to_owned(),
    }
}

/// Texts in messages stay on one line.
fn shortened(text: &str) -> String {
    const LENGTH: usize = 40;
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= LENGTH && line == text {
        return text.to_owned();
    }
    let start: String = line.chars().take(LENGTH).collect();
    format!("{start}…")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["name"],
            "properties": {
                "name": {"type": "string"},
                "size": {"type": ["integer", "null"], "minimum": 1, "maximum": 9},
                "kind": {"oneOf": [{"const": "small"}, {"const": "large"}]},
                "list": {"type": "array", "items": {"$ref": "#/$defs/item"}},
                "either": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/item"}]},
            },
            "$defs": {
                "item": {"type": "object", "additionalProperties": false,
                    "properties": {"at": {"type": "string", "x-duration": true}}},
            },
        })
    }

    fn mistakes(text: &str) -> String {
        let tree = Located::parse(text).expect("YAML");
        let found = check(&tree, &schema(), text).into_iter().map(|mistake| {
            let help = mistake.help.unwrap_or_default();
            let Place { line, column, .. } = mistake.place;
            format!("{line}:{column} {} ({help})", mistake.message)
        });
        found.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_fits_passes() {
        let text = "name: x\nsize: 3\nkind: large\nlist: [{at: 3s}]\neither: {at: 1s}\n";
        assert_eq!(mistakes(text), "");
        assert_eq!(mistakes("name: x\nsize:\neither: w\n"), "");
    }

    #[test]
    fn every_mistake_has_a_place_and_a_fix() {
        let text =
            "nane: x\nsize: 12\nkind: lage\nlist:\n  - {att: 3s}\n  - {at: 3}\neither: {at: 1}\n";
        insta::assert_snapshot!(mistakes(text), @r#"
        1:1 unknown key 'nane' (did you mean 'name'? known: either, kind, list, name, size)
        2:7 'size' is 12, out of range (write a number from 1 to 9)
        3:7 unknown value 'lage' (did you mean 'large'? known: small, large)
        5:6 unknown key 'att' (did you mean 'at'? known: at)
        6:10 '3' is not a duration (write a whole number with a unit, for example 90s, 10m, 1h30m, 30d or 250ms)
        7:14 '1' is not a duration (write a whole number with a unit, for example 90s, 10m, 1h30m, 30d or 250ms)
        "#);
        let types = mistakes("name: 5\nsize: x\nkind: 3\nlist: 3\n");
        insta::assert_snapshot!(types, @r#"
        1:7 wrong type: 'name' is the whole number 5, expected a text (put it in quotes: "5")
        2:7 wrong type: 'size' is the text 'x', expected a whole number ()
        3:7 wrong type: 'kind' is the whole number 3, expected a word (known: small, large)
        4:7 wrong type: 'list' is the whole number 3, expected a list ()
        "#);
    }
}
