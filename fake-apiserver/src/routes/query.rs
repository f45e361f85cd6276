//! Query strings.

use crate::machine::{FieldValidation, WriteOptions};
use crate::ops::list::ListOptions;
use crate::registry::View;
use crate::selectors::Selection;
use crate::status::{Fault, FieldError, Named, Result, Status};

/// Decoded pairs. kube-rs begins its queries with `&`: empty pairs are skipped.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        if text.is_empty() {
            return Self(Vec::new());
        }
        let pairs = form_urlencoded::parse(text.as_bytes());
        let pairs = pairs.filter(|(name, _)| !name.is_empty());
        Self(
            pairs
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect(),
        )
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn text(&self, name: &str) -> String {
        self.get(name).unwrap_or_default().to_owned()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// A boolean as Go's `strconv.ParseBool` reads it.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        match self.get(name)? {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
            _ => Some(false),
        }
    }

    pub(super) fn list_options(&self, view: &View) -> Result<ListOptions> {
        let limit = self
            .get("limit")
            .and_then(|text| text.parse().ok())
            .filter(|limit| *limit > 0);
        Ok(ListOptions {
            limit,
            continuation: self
                .get("continue")
                .filter(|text| !text.is_empty())
                .map(str::to_owned),
            resource_version: self.text("resourceVersion"),
            version_match: self.text("resourceVersionMatch"),
            selection: self.selection(view)?,
            as_of: None,
        })
    }

    pub(super) fn selection(&self, view: &View) -> Result<Selection> {
        Selection::parse(self.get("labelSelector"), self.get("fieldSelector"), view)
    }

    /// The options of a write; `kind` is `CreateOptions`, `UpdateOptions`, ….
    pub(super) fn write_options(&self, kind: &str, agent: &str) -> Result<WriteOptions> {
        let named = Named {
            group: "meta.k8s.io",
            kind,
            name: "",
        };
        let dry_run = match self.get("dryRun") {
            None | Some("") => false,
            Some("All") => true,
            Some(other) => {
                let value = serde_json::json!([other]);
                return Err(Status::invalid(
                    named,
                    &[FieldError::not_supported("dryRun", &value, &["All"])],
                ));
            }
        };
        let validation = match self.get("fieldValidation") {
            None | Some("" | "Warn") => FieldValidation::Warn,
            Some("Strict") => FieldValidation::Strict,
            Some("Ignore") => FieldValidation::Ignore,
            Some(other) => {
                let supported = ["", "Ignore", "Strict", "Warn"];
                let error = FieldError::not_supported("fieldValidation", &other.into(), &supported);
                return Err(Status::invalid(named, &[error]));
            }
        };
        let manager = match self.get("fieldManager") {
            Some(manager) if !manager.is_empty() => manager.to_owned(),
            _ => agent.to_owned(),
        };
        if manager.len() > 128 {
            let error = FieldError::bare(
                "fieldManager",
                Fault::TooLong,
                "may not be more than 128 bytes",
            );
            return Err(Status::invalid(named, &[error]));
        }
        Ok(WriteOptions {
            dry_run,
            manager,
            validation,
            force: self.flag("force"),
            duplicates: Vec::new(),
        })
    }
}
