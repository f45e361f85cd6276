//! Microsoft.ResourceGraph: the part of the query language that resource lists need.

use serde_json::{Value, json};

use super::{Call, Reply};
use crate::{
    cloud::Cloud,
    error::{ArmError, Result},
    exchange::Method,
    path::{ResourceId, same},
    render,
};

/// Rows of one page, at most, as the service has it.
const PAGE_MAX: usize = 1000;
/// Rows of one page without `$top`.
const PAGE: usize = 100;

/// `POST /providers/Microsoft.ResourceGraph/resources`.
pub(super) fn route(cloud: &Cloud, call: &Call<'_>, path: &[&str]) -> Result<Reply> {
    match path {
        [kind] if same(kind, "resources") && call.method() == Method::Post => query(cloud, call),
        [kind, ..] if !same(kind, "resources") => Err(ArmError::unknown_type(
            "Microsoft.ResourceGraph",
            kind,
            &call.api_version,
        )),
        _ => call.not_allowed("Microsoft.ResourceGraph/resources"),
    }
}

fn query(cloud: &Cloud, call: &Call<'_>) -> Result<Reply> {
    let body = call.body()?;
    let text = body
        .get("query")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let stages = parse(text)?;
    let mut rows: Vec<Value> = rows(cloud)
        .into_iter()
        .filter(|row| stages.conditions.iter().all(|it| it.holds(row)))
        .collect();
    if let Some(limit) = stages.limit {
        rows.truncate(limit);
    }
    let options = body.get("options").cloned().unwrap_or_default();
    let number = |name: &str| {
        options
            .get(name)
            .and_then(Value::as_u64)
            .and_then(|n| usize::try_from(n).ok())
    };
    let token = options
        .get("$skipToken")
        .and_then(Value::as_str)
        .and_then(|it| it.parse().ok());
    let skip: usize = token.or_else(|| number("$skip")).unwrap_or(0);
    let page = number("$top").unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let total = rows.len();
    let data: Vec<Value> = rows.into_iter().skip(skip).take(page).collect();
    let mut answer = json!({
        "totalRecords": total,
        "count": data.len(),
        "data": data,
        "facets": [],
        "resultTruncated": "false",
    });
    if skip + page < total {
        answer["$skipToken"] = json!((skip + page).to_string());
    }
    Ok(Reply::json(200, &answer))
}

/// The `Resources` table.
fn rows(cloud: &Cloud) -> Vec<Value> {
    let bodies = (cloud.vms.values().map(|vm| render::vm(vm, false)))
        .chain(cloud.nics.values().map(|nic| {
            render::nic(
                nic,
                nic.attached_to.as_ref().and_then(|key| cloud.vms.get(key)),
            )
        }))
        .chain(cloud.disks.values().map(render::disk))
        .chain(
            cloud
                .documents
                .values()
                .map(|document| document.body.clone()),
        )
        .chain(cloud.clusters.values().map(render::cluster));
    bodies
        .map(|mut body| {
            let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
            let kind = text("type").to_lowercase();
            let group = ResourceId::new(text("id")).group().to_lowercase();
            body["type"] = json!(kind);
            body["resourceGroup"] = json!(group);
            body["subscriptionId"] = json!(cloud.config.subscription_id);
            body["tenantId"] = json!(cloud.config.tenant_id);
            body
        })
        .collect()
}

#[derive(Debug, Default)]
struct Stages {
    conditions: Vec<Condition>,
    limit: Option<usize>,
}

#[derive(Debug)]
struct Condition {
    negated: bool,
    column: String,
    operator: String,
    value: String,
}

impl Condition {
    fn holds(&self, row: &Value) -> bool {
        let mut cell = Some(row);
        for part in self.column.split('.') {
            cell = cell.and_then(|value| {
                value
                    .as_object()?
                    .iter()
                    .find(|(key, _)| same(key, part))
                    .map(|(_, value)| value)
            });
        }
        let text = match cell {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        let found = match self.operator.as_str() {
            "==" => text == self.value,
            "!=" => text != self.value,
            "=~" => same(&text, &self.value),
            "has_cs" | "contains_cs" => text.contains(&self.value),
            _ => text.to_lowercase().contains(&self.value.to_lowercase()),
        };
        found != self.negated
    }
}

fn invalid(text: &str) -> ArmError {
    ArmError::new(
        400,
        "BadRequest",
        "Please provide below info when asking for support: the query could not be parsed.",
    )
    .detail(
        "ParserFailure",
        "query",
        &format!("Syntax error or unsupported operator near '{text}'."),
    )
}

/// `Resources | where … | where … | limit n`.
fn parse(text: &str) -> Result<Stages> {
    let mut parts = text.split('|').map(str::trim);
    let table = parts.next().unwrap_or_default();
    if !same(table, "resources") {
        return Err(invalid(table));
    }
    let mut stages = Stages::default();
    for part in parts.filter(|part| !part.is_empty()) {
        let (verb, rest) = part.split_once(char::is_whitespace).unwrap_or((part, ""));
        match verb.to_ascii_lowercase().as_str() {
            "where" => {
                for term in rest.split(" and ") {
                    stages.conditions.push(condition(term.trim())?);
                }
            }
            "limit" | "take" => {
                stages.limit = Some(rest.trim().parse().map_err(|_not_a_number| invalid(part))?);
            }
            // Every row carries all columns; a projection would only take some away.
            "project" | "order" | "sort" => {}
            _ => return Err(invalid(part)),
        }
    }
    Ok(stages)
}

fn condition(term: &str) -> Result<Condition> {
    let inner = term
        .strip_prefix("not(")
        .and_then(|rest| rest.strip_suffix(')'));
    let (negated, term) = inner.map_or((false, term), |inner| (true, inner.trim()));
    let mut words = term.splitn(3, char::is_whitespace);
    let (Some(column), Some(operator), Some(value)) = (words.next(), words.next(), words.next())
    else {
        return Err(invalid(term));
    };
    let known = ["==", "!=", "=~", "has", "has_cs", "contains", "contains_cs"];
    let value = value.trim();
    let unquoted = ['"', '\''].into_iter().find_map(|quote| {
        value
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote))
    });
    match unquoted {
        Some(value) if known.contains(&operator) => Ok(Condition {
            negated,
            column: column.to_owned(),
            operator: operator.to_owned(),
            value: value.to_owned(),
        }),
        _ => Err(invalid(term)),
    }
}
