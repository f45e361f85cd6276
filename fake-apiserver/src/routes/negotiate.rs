//! `Accept` headers (`…/pkg/endpoints/handlers/negotiation`).

use http::{HeaderMap, header};

use crate::status::{Result, Status};

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Yaml,
    Table,
    Partial,
}

/// Whether the client wants aggregated discovery, and which version of it.
pub(super) fn aggregated(headers: &HeaderMap) -> Option<&'static str> {
    let wanted = |version: &str| {
        clauses(headers).any(|clause| {
            let has = |wanted: &str| clause.split(';').any(|part| part.trim() == wanted);
            has("as=APIGroupDiscoveryList") && has("g=apidiscovery.k8s.io") && has(version)
        })
    };
    if wanted("v=v2") {
        Some("v2")
    } else if wanted("v=v2beta1") {
        Some("v2beta1")
    } else {
        None
    }
}

/// 406 unless the client takes plain JSON.
pub(super) fn json(headers: &HeaderMap) -> Result<()> {
    let media = |clause: &str| clause.split(';').next().unwrap_or_default().trim() == "*/*";
    let mut any = false;
    for clause in clauses(headers) {
        any = true;
        if media(clause) || clause.starts_with("application/json") || clause == "application/*" {
            return Ok(());
        }
    }
    if any {
        Err(Status::not_acceptable(
            "406: Not Acceptable\n\nAvailable representations: application/json",
        ))
    } else {
        Ok(())
    }
}

/// The first acceptable form. `custom` kinds and built-in ones speak the same forms here.
pub(super) fn format(headers: &HeaderMap) -> Result<Format> {
    let mut any = false;
    let mut transformed = false;
    for clause in clauses(headers) {
        any = true;
        let mut parts = clause.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let parameters: Vec<&str> = parts.collect();
        let parameter = |name: &str| {
            parameters
                .iter()
                .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
        };
        let base = match media {
            "application/json" | "*/*" | "application/*" => Format::Json,
            "application/yaml" => Format::Yaml,
            _ => continue,
        };
        match (parameter("as"), parameter("g"), parameter("v")) {
            (None, ..) => return Ok(base),
            (Some("Table"), Some("meta.k8s.io"), Some("v1" | "v1beta1")) => {
                return Ok(Format::Table);
            }
            (
                Some("PartialObjectMetadata" | "PartialObjectMetadataList"),
                Some("meta.k8s.io"),
                Some("v1" | "v1beta1"),
            ) => return Ok(Format::Partial),
            _ => transformed = true,
        }
    }
    if !any {
        return Ok(Format::Json);
    }
    if transformed {
        let mut status = Status::not_acceptable(
            "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf",
        );
        status.details = None;
        return Err(status);
    }
    Err(Status::not_acceptable(
        "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf",
    ))
}

/// The same for lists, which can be watched as well.
pub(super) fn list_format(headers: &HeaderMap) -> Result<Format> {
    format(headers).map_err(|mut status| {
        if status.message.starts_with("406") {
            status.message.push_str(
                ", application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch",
            );
        }
        status
    })
}

fn clauses(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::ACCEPT).iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    texts
        .flat_map(|text| text.split(','))
        .map(str::trim)
        .filter(|clause| !clause.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(accept: &str) -> Result<Format> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        format(&headers)
    }

    #[test]
    fn the_first_acceptable_clause_wins() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        assert_eq!(of(&format!("{table},application/json")), Ok(Format::Table));
        assert_eq!(
            of("application/vnd.kubernetes.protobuf,application/json"),
            Ok(Format::Json)
        );
        assert_eq!(
            of("application/json;as=Table;v=v9;g=meta.k8s.io,application/json"),
            Ok(Format::Json)
        );
        assert_eq!(of("application/yaml"), Ok(Format::Yaml));
        assert_eq!(format(&HeaderMap::new()), Ok(Format::Json));
        assert_eq!(of("text/html").unwrap_err().code, 406);
        assert!(
            of("application/json;as=Table;v=v9;g=meta.k8s.io")
                .unwrap_err()
                .message
                .starts_with("only")
        );
    }
}
