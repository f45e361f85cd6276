//! One kind of error for everything that is wrong with a scenario file.

use std::fmt;
use std::sync::Arc;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode,
};
use serde_saphyr::Error as YamlError;

use crate::format::check::{Mistake, did_you_mean};
use crate::format::located::Place;
use crate::text::append;

/// What is wrong with a file, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatError {
    /// The file as named by the user.
    pub file: Box<str>,
    /// The whole text; empty when it could not be read as text.
    pub text: Arc<str>,
    /// Where.
    pub place: Place,
    /// What.
    pub message: Box<str>,
    /// What to do.
    pub help: Option<Box<str>>,
    /// Other mistakes of the same files, in the order of the text.
    pub more: Vec<Self>,
}

impl FormatError {
    /// All of these as one; `None` when there are none.
    pub(crate) fn all(errors: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut flat = Vec::new();
        for mut error in errors {
            let more = std::mem::take(&mut error.more);
            flat.push(error);
            flat.extend(more);
        }
        let mut errors = flat.into_iter();
        let mut first = errors.next()?;
        first.more = errors.collect();
        Some(first)
    }

    /// From the checker.
    pub(crate) fn mistake(file: &str, text: &str, mistake: Mistake) -> Self {
        let error = Self::at(file, text, mistake.place, mistake.message);
        match mistake.help {
            Some(help) => error.help(help),
            None => error,
        }
    }

    /// An error at a place.
    pub(crate) fn at(file: &str, text: &str, place: Place, message: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            text: text.into(),
            place,
            message: message.into().into_boxed_str(),
            help: None,
            more: Vec::new(),
        }
    }

    /// Adds what to do.
    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into().into_boxed_str());
        self
    }

    /// From the YAML reader.
    pub(crate) fn yaml(file: &str, text: &str, error: &YamlError) -> Self {
        let error = error.without_snippet();
        let place = error.location().map_or(
            Place {
                line: 1,
                column: 1,
                offset: 0,
                length: 1,
            },
            |location| Place::of(location, text),
        );
        let place = if place.line == 0 {
            Place {
                line: 1,
                column: 1,
                offset: 0,
                length: 1,
            }
        } else {
            place
        };
        let (message, help) = describe(error);
        Self {
            file: file.into(),
            text: text.into(),
            place,
            message: message.into_boxed_str(),
            help: help.map(String::into_boxed_str),
            more: Vec::new(),
        }
    }

    /// All errors with snippets, ready to print; ends in a newline.
    pub fn render(&self) -> String {
        let mut out = self.render_one();
        for error in &self.more {
            append(&mut out, format_args!("\n{}", error.render_one()));
        }
        if !self.more.is_empty() {
            append(
                &mut out,
                format_args!("\n{} mistakes\n", self.more.len() + 1),
            );
        }
        out
    }

    fn render_one(&self) -> String {
        let mut out = format!(
            "{}:{}:{}: {}\n",
            self.file, self.place.line, self.place.column, self.message
        );
        if self.text.is_empty() {
            if let Some(help) = &self.help {
                append(&mut out, format_args!("  help: {help}\n"));
            }
            return out;
        }
        let mut snippet = String::new();
        let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
            .with_context_lines(2)
            .with_links(false);
        let shown = Shown {
            error: self,
            source: NamedSource::new(&self.file, self.text.to_string()),
        };
        if handler.render_report(&mut snippet, &shown).is_ok() {
            // The first lines repeat the message.
            let body = snippet.find("╭─").map_or(snippet.as_str(), |at| {
                let line = snippet
                    .get(..at)
                    .and_then(|head| head.rfind('\n'))
                    .map_or(0, |n| n + 1);
                snippet.get(line..).unwrap_or_default()
            });
            out.push_str(body);
        }
        out
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for FormatError {}

#[derive(Debug)]
struct Shown<'a> {
    error: &'a FormatError,
    source: NamedSource<String>,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error.message)
    }
}

impl std::error::Error for Shown<'_> {}

impl Diagnostic for Shown<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.error
            .help
            .as_ref()
            .map(|help| Box::new(help) as Box<dyn fmt::Display + 'a>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let place = self.error.place;
        let label = LabeledSpan::new(Some("here".to_owned()), place.offset, place.length);
        Some(Box::new(std::iter::once(label)))
    }
}

fn describe(error: &YamlError) -> (String, Option<String>) {
    match error {
        YamlError::SerdeUnknownField {
            field, expected, ..
        } => (
            format!("unknown key '{field}'"),
            Some(did_you_mean(field, expected.iter().copied())),
        ),
        YamlError::SerdeUnknownVariant {
            variant, expected, ..
        } => (
            format!("unknown value '{variant}'"),
            Some(did_you_mean(variant, expected.iter().copied())),
        ),
        YamlError::SerdeMissingField { field, .. } => (
            format!("missing key '{field}'"),
            Some(format!("add '{field}:'")),
        ),
        YamlError::DuplicateMappingKey { key, .. } => (
            format!("duplicate key '{}'", key.as_deref().unwrap_or("?")),
            Some("each key may appear once: merge the two entries or remove one".to_owned()),
        ),
        YamlError::SerdeInvalidType {
            unexpected,
            expected,
            ..
        } => (
            format!("wrong type: found {unexpected}, expected {expected}"),
            None,
        ),
        YamlError::SerdeInvalidValue {
            unexpected,
            expected,
            ..
        } => (
            format!("wrong value: found {unexpected}, expected {expected}"),
            None,
        ),
        other => {
            let text = other.to_string();
            let line = text.lines().next().unwrap_or_default().trim();
            let line = line.strip_prefix("error: ").unwrap_or(line);
            (line.to_owned(), None)
        }
    }
}
