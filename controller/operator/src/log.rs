//! Structured logs: one JSON object per line, with the clock's time.
//!
//! Keys as Karpenter's (kubernetes-sigs/karpenter `pkg/operator/logging`): `level`, `time`, `logger`,
//! `message`, then the fields of the surrounding spans and of the event.

use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex};

use controller_ports::Clock;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Scope};
use tracing_subscriber::util::SubscriberInitExt;

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Everything of ours, warnings of libraries.
    Debug,
    /// What operators want to know.
    Info,
    /// Only what needs attention.
    Error,
}

impl LogLevel {
    /// The level of that name; `None` for a name that is not one.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "" | "info" => Some(Self::Info),
            "debug" => Some(Self::Debug),
            "error" => Some(Self::Error),
            _ => None,
        }
    }

    fn allows(self, level: Level, target: &str) -> bool {
        // Our crates are all named controller-…; libraries speak of their own insides.
        let is_ours = target.starts_with("controller");
        let most = match self {
            Self::Debug if is_ours => Level::DEBUG,
            Self::Debug => Level::WARN,
            Self::Info if is_ours => Level::INFO,
            Self::Info | Self::Error => Level::ERROR,
        };
        level <= most
    }
}

/// Makes this process log to standard output. Does nothing when a subscriber is set already.
pub fn init(level: LogLevel, clock: Arc<dyn Clock>) {
    let layer = JsonLayer::new(level, clock, std::io::stdout());
    // Fails only when somebody else has set up logging; then theirs counts.
    drop(tracing_subscriber::registry().with(layer).try_init());
}

/// Writes events as JSON lines.
pub struct JsonLayer<W> {
    level: LogLevel,
    clock: Arc<dyn Clock>,
    out: Mutex<W>,
}

impl<W> fmt::Debug for JsonLayer<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonLayer")
            .field("level", &self.level)
            .finish_non_exhaustive()
    }
}

impl<W: Write> JsonLayer<W> {
    /// Writes to `out`, stamped by the clock.
    pub fn new(level: LogLevel, clock: Arc<dyn Clock>, out: W) -> Self {
        Self {
            level,
            clock,
            out: Mutex::new(out),
        }
    }
}

/// Fields of a span, kept in the registry until the span closes.
struct SpanFields(Map<String, Value>);

impl<S, W> Layer<S> for JsonLayer<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: Write + 'static,
{
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.is_span() || self.level.allows(*metadata.level(), metadata.target())
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(SpanFields(fields.0));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        values.record(&mut fields);
        if let Some(SpanFields(known)) = span.extensions_mut().get_mut() {
            known.extend(fields.0);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut line = Map::new();
        line.insert("level".to_owned(), event.metadata().level().as_str().into());
        line.insert("time".to_owned(), format!("{:.3}", self.clock.now()).into());
        line.insert(
            "logger".to_owned(),
            event.metadata().target().replace("::", ".").into(),
        );
        for span in context
            .event_scope(event)
            .into_iter()
            .flat_map(Scope::from_root)
        {
            if let Some(SpanFields(fields)) = span.extensions().get() {
                line.extend(fields.clone());
            }
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        line.extend(fields.0);
        let mut text = Value::Object(line).to_string();
        text.push('\n');
        let mut out = self
            .out
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        // A log that cannot be written must not stop the controller.
        drop(out.write_all(text.as_bytes()));
    }
}

/// Collects fields as JSON.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::real::SystemClock;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("not poisoned").write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_hold_fields_of_spans_and_events() {
        let out = Shared::default();
        let layer = JsonLayer::new(LogLevel::Info, Arc::new(SystemClock::real()), out.clone());
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("reconcile", controller = "provisioner");
            span.in_scope(|| tracing::info!(pods = 3, "found provisionable pod(s)"));
            tracing::debug!("not this");
        });
        let text = String::from_utf8(out.0.lock().expect("not poisoned").clone()).expect("UTF-8");
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["message"], "found provisionable pod(s)");
        assert_eq!(lines[0]["controller"], "provisioner");
        assert_eq!(lines[0]["pods"], 3);
        assert_eq!(lines[0]["logger"], "controller_operator.log.tests");
    }
}
