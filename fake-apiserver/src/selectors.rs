//! Label and field selectors (`k8s.io/apimachinery/pkg/{labels,fields}`).

use serde_json::Value;

use crate::registry::View;
use crate::status::{Result, Status};

/// What a list or watch selects by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    labels: Vec<Requirement>,
    fields: Vec<FieldTerm>,
}

#[derive(Clone, Debug)]
struct Requirement {
    key: String,
    operator: Operator,
}

#[derive(Clone, Debug)]
enum Operator {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
    Greater(i64),
    Less(i64),
}

#[derive(Clone, Debug)]
struct FieldTerm {
    field: String,
    value: String,
    equal: bool,
}

impl Selection {
    /// Parses both query parameters.
    pub(crate) fn parse(labels: Option<&str>, fields: Option<&str>, view: &View) -> Result<Self> {
        let labels = parse_labels(labels.unwrap_or_default()).map_err(|error| {
            Status::bad_request(format!("unable to parse requirement: {error}"))
        })?;
        let text = fields.unwrap_or_default();
        let fields = parse_fields(text).ok_or_else(|| {
            Status::bad_request(format!("invalid selector: '{text}'; can't understand"))
        })?;
        for term in &fields {
            check_field(&term.field, text, view)?;
        }
        Ok(Self { labels, fields })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// The name pinned by `metadata.name=`, which RBAC treats as the request's name.
    pub(crate) fn pinned_name(&self) -> Option<&str> {
        let mut terms = self.fields.iter();
        let term = terms.find(|term| term.equal && term.field == "metadata.name")?;
        Some(&term.value)
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.labels
            .iter()
            .all(|requirement| requirement.matches(labels))
            && self
                .fields
                .iter()
                .all(|term| (field(object, &term.field) == term.value) == term.equal)
    }
}

impl Requirement {
    fn matches(&self, labels: &Value) -> bool {
        let value = labels.get(&self.key).and_then(Value::as_str);
        match (&self.operator, value) {
            (Operator::In(values), Some(value)) => values.iter().any(|v| v == value),
            (Operator::In(_), None) => false,
            (Operator::NotIn(values), Some(value)) => !values.iter().any(|v| v == value),
            (Operator::NotIn(_) | Operator::DoesNotExist, None) => true,
            (Operator::Exists, value) => value.is_some(),
            (Operator::DoesNotExist, Some(_)) => false,
            (Operator::Greater(bound), value) => value
                .and_then(|v| v.parse::<i64>().ok())
                .is_some_and(|v| v > *bound),
            (Operator::Less(bound), value) => value
                .and_then(|v| v.parse::<i64>().ok())
                .is_some_and(|v| v < *bound),
        }
    }
}

/// Whether a `metav1.LabelSelector` matches; `None` selects nothing, an empty one everything.
pub(crate) fn label_selector_matches(selector: &Value, labels: &Value) -> bool {
    let Some(selector) = selector.as_object() else {
        return false;
    };
    let exact = selector.get("matchLabels").and_then(Value::as_object);
    let equal = exact.is_none_or(|exact| {
        exact
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
    });
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    equal
        && expressions.is_none_or(|all| {
            all.iter().all(|expression| {
                let key = expression["key"].as_str().unwrap_or_default().to_owned();
                let values = || {
                    let values = expression["values"].as_array().into_iter().flatten();
                    values
                        .filter_map(Value::as_str)
                        .map(str::to_owned)
                        .collect()
                };
                let operator = match expression["operator"].as_str() {
                    Some("In") => Operator::In(values()),
                    Some("NotIn") => Operator::NotIn(values()),
                    Some("Exists") => Operator::Exists,
                    Some("DoesNotExist") => Operator::DoesNotExist,
                    _ => return false,
                };
                Requirement { key, operator }.matches(labels)
            })
        })
}

fn check_field(name: &str, text: &str, view: &View) -> Result<()> {
    if matches!(name, "metadata.name" | "metadata.namespace")
        || supported(&view.resource.group, &view.resource.plural).contains(&name)
        || view.served().selectable.iter().any(|field| field == name)
    {
        return Ok(());
    }
    let resource = &view.resource;
    let converted = resource.custom || !supported(&resource.group, &resource.plural).is_empty();
    Err(Status::bad_request(if converted {
        format!(
            "Unable to find \"{}, Resource={}\" that match label selector \"\", field selector \"{text}\": field label not supported: {name}",
            view.api_version(),
            resource.plural,
        )
    } else {
        format!(
            "\"{name}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        )
    }))
}

/// Fields beyond name and namespace, per kind.
fn supported(group: &str, plural: &str) -> &'static [&'static str] {
    match (group, plural) {
        ("", "pods") => &[
            "spec.nodeName",
            "spec.host",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
        ("", "nodes") => &["spec.unschedulable"],
        ("", "events") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("events.k8s.io", "events") => &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
        ],
        ("", "namespaces") => &["status.phase"],
        ("", "secrets") => &["type"],
        ("", "services") => &["spec.clusterIP", "spec.type"],
        ("apps", "replicasets") | ("", "replicationcontrollers") => &["status.replicas"],
        ("batch", "jobs") => &["status.successful"],
        ("certificates.k8s.io", "certificatesigningrequests") => &["spec.signerName"],
        ("resource.k8s.io", "resourceslices") => &["spec.nodeName", "spec.driver"],
        _ => &[],
    }
}

/// The text of a selectable field of a stored object.
fn field(object: &Value, name: &str) -> String {
    let path = match name {
        "spec.host" => "spec.nodeName",
        "source" => "source.component",
        other => other,
    };
    // events.k8s.io names for fields of the stored core event
    let path = match path.strip_prefix("regarding.") {
        Some(rest) => format!("involvedObject.{rest}"),
        None if path == "reportingController" => "reportingComponent".to_owned(),
        None => path.to_owned(),
    };
    let value = path.split('.').fold(object, |value, step| &value[step]);
    match value {
        Value::String(text) => text.clone(),
        Value::Null => match name {
            "spec.unschedulable" | "spec.hostNetwork" => "false".to_owned(),
            "status.replicas" | "status.successful" => "0".to_owned(),
            _ => String::new(),
        },
        Value::Array(items) => items.first().map_or(String::new(), |ip| {
            ip["ip"].as_str().unwrap_or_default().to_owned()
        }),
        other => other.to_string(),
    }
}

fn parse_fields(text: &str) -> Option<Vec<FieldTerm>> {
    let terms = text.split(',').filter(|term| !term.is_empty());
    terms
        .map(|term| {
            let (field, value, equal) = if let Some((field, value)) = term.split_once("!=") {
                (field, value, false)
            } else if let Some((field, value)) = term.split_once("==") {
                (field, value, true)
            } else {
                let (field, value) = term.split_once('=')?;
                (field, value, true)
            };
            Some(FieldTerm {
                field: field.trim().to_owned(),
                value: value.to_owned(),
                equal,
            })
        })
        .collect()
}

/// The labels grammar: `k=v, k==v, k!=v, k in (a,b), k notin (a,b), k, !k, k>1, k<1`.
fn parse_labels(text: &str) -> std::result::Result<Vec<Requirement>, String> {
    let mut tokens = tokenize(text);
    let mut requirements = Vec::new();
    while let Some(token) = tokens.next() {
        let (key, operator) = match token {
            Token::Word("!") => match tokens.next() {
                Some(Token::Word(key)) if !is_operator(key) => (key, Operator::DoesNotExist),
                other => return Err(unexpected(other.as_ref(), "identifier")),
            },
            Token::Word(key) if !is_operator(key) => (key, operator(&mut tokens)?),
            Token::Word(other) => return Err(unexpected(Some(&Token::Word(other)), "identifier")),
        };
        requirements.push(Requirement {
            key: key.to_owned(),
            operator,
        });
        match tokens.next() {
            None => break,
            Some(Token::Word(",")) => {}
            other => return Err(unexpected(other.as_ref(), "',' or 'end of string'")),
        }
    }
    Ok(requirements)
}

#[derive(Clone, Copy, Debug)]
enum Token<'a> {
    Word(&'a str),
}

fn unexpected(token: Option<&Token<'_>>, wanted: &str) -> String {
    let Token::Word(found) = token.copied().unwrap_or(Token::Word(""));
    format!("found '{found}', expected: {wanted}")
}

fn is_operator(token: &str) -> bool {
    matches!(token, "=" | "==" | "!=" | "!" | "," | "(" | ")" | ">" | "<")
}

fn operator<'a>(
    tokens: &mut std::iter::Peekable<impl Iterator<Item = Token<'a>>>,
) -> std::result::Result<Operator, String> {
    let Some(Token::Word(word)) = tokens.peek().copied() else {
        return Ok(Operator::Exists);
    };
    if word == "," {
        return Ok(Operator::Exists);
    }
    tokens.next();
    match word {
        "=" | "==" => Ok(Operator::In(vec![value(tokens)?])),
        "!=" => Ok(Operator::NotIn(vec![value(tokens)?])),
        ">" | "<" => {
            let text = value(tokens)?;
            let bound = text.parse().map_err(|_text| {
                format!("for 'Gt', 'Lt' operators, the value must be an integer, found '{text}'")
            })?;
            Ok(if word == ">" {
                Operator::Greater(bound)
            } else {
                Operator::Less(bound)
            })
        }
        "in" => Ok(Operator::In(values(tokens)?)),
        "notin" => Ok(Operator::NotIn(values(tokens)?)),
        other => Err(unexpected(
            Some(&Token::Word(other)),
            "in, notin, =, ==, !=, >, <",
        )),
    }
}

fn value<'a>(
    tokens: &mut std::iter::Peekable<impl Iterator<Item = Token<'a>>>,
) -> std::result::Result<String, String> {
    match tokens.peek().copied() {
        None | Some(Token::Word(",")) => Ok(String::new()),
        Some(Token::Word(word)) if is_operator(word) => {
            Err(unexpected(Some(&Token::Word(word)), "identifier"))
        }
        Some(Token::Word(word)) => {
            tokens.next();
            Ok(word.to_owned())
        }
    }
}

fn values<'a>(
    tokens: &mut std::iter::Peekable<impl Iterator<Item = Token<'a>>>,
) -> std::result::Result<Vec<String>, String> {
    match tokens.next() {
        Some(Token::Word("(")) => {}
        other => return Err(unexpected(other.as_ref(), "'('")),
    }
    let mut found = Vec::new();
    loop {
        match tokens.next() {
            Some(Token::Word(")")) => return Ok(found),
            Some(Token::Word(",")) => {}
            Some(Token::Word(word)) if !is_operator(word) => found.push(word.to_owned()),
            other => return Err(unexpected(other.as_ref(), "',', ')' or identifier")),
        }
    }
}

fn tokenize(text: &str) -> std::iter::Peekable<impl Iterator<Item = Token<'_>>> {
    let mut rest = text.trim_start();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let special = ["==", "!=", "=", "!", ",", "(", ")", ">", "<"];
        let length = special
            .iter()
            .find(|token| rest.starts_with(**token))
            .map_or_else(
                || {
                    rest.find(|c: char| c.is_whitespace() || "=!,()<>".contains(c))
                        .unwrap_or(rest.len())
                },
                |token| token.len(),
            );
        let (token, tail) = rest.split_at(length);
        rest = tail.trim_start();
        Some(Token::Word(token))
    })
    .peekable()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn matches(selector: &str, labels: &Value) -> bool {
        let labels_of = json!({"metadata": {"labels": labels}});
        let selection = Selection {
            labels: parse_labels(selector).unwrap(),
            fields: Vec::new(),
        };
        selection.matches(&labels_of)
    }

    #[test]
    fn label_selectors_follow_upstreams_table() {
        let labels = json!({"app": "web", "tier": "front", "n": "7"});
        for selector in [
            "",
            "app=web",
            "app==web,tier!=back",
            "missing!=x",
            "app in (web, api)",
            "app notin (api)",
            "missing notin (x)",
            "app",
            "!missing",
            "n>5,n<9",
            " app = web , tier ",
        ] {
            assert!(matches(selector, &labels), "{selector}");
        }
        for selector in [
            "app=api",
            "app!=web",
            "missing",
            "!app",
            "n>7",
            "app in (api)",
            "missing in (x)",
            "app=",
        ] {
            assert!(!matches(selector, &labels), "{selector}");
        }
    }

    #[test]
    fn bad_selectors_are_named_as_upstream_names_them() {
        assert_eq!(
            parse_labels("a===b").unwrap_err(),
            "found '=', expected: identifier"
        );
        assert!(parse_labels("a in b").is_err());
        assert!(parse_labels("a b").is_err());
    }
}
