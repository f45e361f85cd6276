//! Lists: pages, resource-version semantics, selectors
//! (`…/pkg/storage/continue.go`, `…/pkg/apis/meta/internalversion/validation`).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::item::Item;
use crate::machine::Machine;
use crate::registry::View;
use crate::selectors::Selection;
use crate::status::{Fault, FieldError, Named, Result, Status};

/// The query of a list.
#[derive(Debug, Default)]
pub(crate) struct ListOptions {
    pub limit: Option<usize>,
    pub continuation: Option<String>,
    /// `resourceVersion`; empty when absent.
    pub resource_version: String,
    /// `resourceVersionMatch`; empty when absent.
    pub version_match: String,
    pub selection: Selection,
    /// Answer from the state at this revision, where the protocol leaves the choice to the server.
    pub as_of: Option<u64>,
}

/// One page, in stored form.
#[derive(Debug)]
pub(crate) struct Page {
    pub items: Vec<Item>,
    pub revision: u64,
    pub continuation: Option<String>,
    pub remaining: Option<u64>,
}

const TOO_OLD: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

impl Machine {
    /// One page of the objects of a view; authorization is the caller's.
    pub(crate) fn page(&self, view: &View, namespace: &str, options: &ListOptions) -> Result<Page> {
        let current = self.store.revision();
        check(options)?;
        let wanted = parse_version(&options.resource_version)?;
        if let Some(wanted) = wanted
            && wanted > current
        {
            return Err(Status::revision_too_large(wanted, current));
        }
        let prefix = if namespace.is_empty() {
            String::new()
        } else {
            format!("{namespace}/")
        };
        // the watch cache of the real server answers revision 0 and ignores the limit
        let limit = if options.resource_version == "0" {
            None
        } else {
            options.limit
        };
        let space = view.resource.space;
        if let Some(token) = &options.continuation {
            let (revision, start) = decode(token)?;
            let after = format!("{prefix}{start}");
            let revision = if revision < 0 {
                current
            } else {
                revision.unsigned_abs()
            };
            if revision == current {
                return Ok(self.newest(view, &prefix, Some(&after), limit, options));
            }
            let state = self.store.at(space, &prefix, revision).map_err(|_gone| {
                let mut status = Status::expired(TOO_OLD);
                status.continuation = Some(encode(-1, &start));
                status
            })?;
            let items = state
                .iter()
                .filter(|(key, _)| ***key > *after)
                .map(|(key, v)| (&**key, &v.value));
            return Ok(collect(items, &prefix, revision, limit, options));
        }
        if let Some(past) = options.as_of
            && past < current
            && options.version_match != "Exact"
            && wanted.is_some_and(|wanted| wanted <= past)
            && let Ok(state) = self.store.at(space, &prefix, past)
        {
            let items = state.iter().map(|(key, v)| (&**key, &v.value));
            return Ok(collect(items, &prefix, past, limit, options));
        }
        if options.version_match == "Exact"
            && let Some(wanted) = wanted
            && wanted != current
        {
            let state = self.store.at(space, &prefix, wanted).map_err(|_gone| {
                Status::expired("The resourceVersion for the provided list is too old.")
            })?;
            let items = state.iter().map(|(key, v)| (&**key, &v.value));
            return Ok(collect(items, &prefix, wanted, limit, options));
        }
        Ok(self.newest(view, &prefix, None, limit, options))
    }

    fn newest(
        &self,
        view: &View,
        prefix: &str,
        after: Option<&str>,
        limit: Option<usize>,
        options: &ListOptions,
    ) -> Page {
        let items = self.store.range(view.resource.space, prefix, after);
        let items = items.map(|(key, versioned)| (&**key, &versioned.value));
        collect(items, prefix, self.store.revision(), limit, options)
    }
}

fn collect<'a>(
    items: impl Iterator<Item = (&'a str, &'a Item)>,
    prefix: &str,
    revision: u64,
    limit: Option<usize>,
    options: &ListOptions,
) -> Page {
    let selection = &options.selection;
    let everything = selection.is_empty();
    let mut items = items.filter(|(_, item)| everything || selection.matches(item.value()));
    let mut page = Page {
        items: Vec::new(),
        revision,
        continuation: None,
        remaining: None,
    };
    let mut last = "";
    for (key, item) in items.by_ref() {
        if limit.is_some_and(|limit| page.items.len() >= limit) {
            let start = last.strip_prefix(prefix).unwrap_or(last);
            page.continuation = Some(encode(i64::try_from(revision).unwrap_or(i64::MAX), start));
            if everything {
                page.remaining = Some(items.count() as u64 + 1);
            }
            break;
        }
        last = key;
        page.items.push(item.clone());
    }
    page
}

fn encode(revision: i64, start: &str) -> String {
    let start = Value::from(format!("{start}\0"));
    // in the field order of the real token
    let text = format!("{{\"v\":\"meta.k8s.io/v1\",\"rv\":{revision},\"start\":{start}}}");
    URL_SAFE_NO_PAD.encode(text)
}

fn decode(token: &str) -> Result<(i64, String)> {
    let bad = |why: &str| {
        Status::bad_request(format!(
            "invalid continue token: continue key is not valid: {why}"
        ))
    };
    let bytes = URL_SAFE_NO_PAD
        .decode(token.trim_end_matches('='))
        .map_err(|error| bad(&error.to_string()))?;
    let token: Value = serde_json::from_slice(&bytes).map_err(|error| bad(&error.to_string()))?;
    if token["v"] != "meta.k8s.io/v1" {
        return Err(bad("server does not recognize this encoded version"));
    }
    let (Some(revision), Some(start)) = (token["rv"].as_i64(), token["start"].as_str()) else {
        return Err(bad(
            "incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
        ));
    };
    let start = start.trim_end_matches('\0').trim_start_matches('/');
    Ok((revision, start.to_owned()))
}

/// A list's or watch's `resourceVersion`.
pub(crate) fn parse_version(text: &str) -> Result<Option<u64>> {
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = text.parse().map_err(|_gone| {
        Status::bad_request(format!(
            "invalid resource version: resourceVersion: Invalid value: \"{text}\": strconv.ParseUint: parsing \"{text}\": invalid syntax"
        ))
    })?;
    Ok(Some(parsed))
}

fn check(options: &ListOptions) -> Result<()> {
    let at = "resourceVersionMatch";
    if options.continuation.is_some() {
        if !options.version_match.is_empty() {
            let detail = "resourceVersionMatch is forbidden when continue is provided";
            return Err(list_options(&[FieldError::forbidden(at, detail)]));
        }
        if !matches!(options.resource_version.as_str(), "" | "0") {
            return Err(Status::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        return Ok(());
    }
    match options.version_match.as_str() {
        "" => Ok(()),
        "Exact" | "NotOlderThan" if options.resource_version.is_empty() => {
            let detail = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            Err(list_options(&[FieldError::forbidden(at, detail)]))
        }
        "Exact" if options.resource_version == "0" => {
            let detail = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            Err(list_options(&[FieldError::forbidden(at, detail)]))
        }
        "Exact" | "NotOlderThan" => Ok(()),
        other => Err(list_options(&[FieldError::value(
            at,
            Fault::NotSupported,
            &json!(other),
            "supported values: \"Exact\", \"NotOlderThan\", \"\"",
        )])),
    }
}

/// 422 on the query of a list or watch.
pub(crate) fn list_options(errors: &[FieldError]) -> Status {
    Status::invalid(
        Named {
            group: "meta.k8s.io",
            kind: "ListOptions",
            name: "",
        },
        errors,
    )
}
