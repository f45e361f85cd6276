//! Regular expressions in rules: `matches`, `find` and `findAll` over compiled patterns that are
//! kept.
//!
//! The interpreter's own functions compile their pattern with every evaluation, which costs a
//! hundred times what matching does. The API server compiles constants once, with the rule.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube_cel::cel::extractors::{Arguments, This};
use kube_cel::cel::{Context, ExecutionError, Value};
use regex::Regex;

/// Patterns kept: rules hold a handful of constants, and computed ones must not pile up.
const MAX: usize = 256;

#[derive(Clone, Default)]
struct Patterns(Arc<Mutex<BTreeMap<String, Regex>>>);

impl Patterns {
    fn get(&self, function: &str, pattern: &str) -> Result<Regex, ExecutionError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(regex) = known.get(pattern) {
            return Ok(regex.clone());
        }
        let regex = Regex::new(pattern).map_err(|error| {
            ExecutionError::function_error(function, format!("invalid regex: {error}"))
        })?;
        if known.len() >= MAX {
            known.clear();
        }
        known.insert(pattern.to_owned(), regex.clone());
        Ok(regex)
    }
}

/// Puts the three functions in the place of those that are there.
pub(super) fn register(context: &mut Context<'_>) {
    let patterns = Patterns::default();
    let known = patterns.clone();
    context.add_function(
        "matches",
        move |This(text): This<Arc<String>>, pattern: Arc<String>| {
            Ok::<_, ExecutionError>(known.get("matches", &pattern)?.is_match(&text))
        },
    );
    let known = patterns.clone();
    context.add_function(
        "find",
        move |This(text): This<Arc<String>>, pattern: Arc<String>| {
            let regex = known.get("find", &pattern)?;
            let found = regex.find(&text).map_or("", |found| found.as_str());
            let found = Value::String(Arc::new(found.to_owned()));
            Ok::<Value, ExecutionError>(found)
        },
    );
    context.add_function(
        "findAll",
        move |This(text): This<Arc<String>>, Arguments(arguments): Arguments| {
            find_all(&patterns, &text, &arguments)
        },
    );
}

/// `<string>.findAll(<string>)` and `<string>.findAll(<string>, <int>)`: at most so many.
fn find_all(patterns: &Patterns, text: &str, arguments: &[Value]) -> Result<Value, ExecutionError> {
    let refuse = |why: &str| Err(ExecutionError::function_error("findAll", why.to_owned()));
    let (pattern, limit) = match arguments {
        [Value::String(pattern)] => (pattern, None),
        [Value::String(pattern), Value::Int(limit)] => (pattern, usize::try_from(*limit).ok()),
        _ => return refuse("takes a pattern and perhaps a limit"),
    };
    let regex = patterns.get("findAll", pattern)?;
    let found = regex.find_iter(text).take(limit.unwrap_or(usize::MAX));
    let found = found.map(|found| Value::String(Arc::new(found.as_str().to_owned())));
    Ok(Value::List(Arc::new(found.collect())))
}

#[cfg(test)]
mod tests {
    use kube_cel::cel::Program;

    use super::*;

    fn evaluated(source: &str) -> String {
        let mut context = Context::default();
        register(&mut context);
        let program = Program::compile(source).expect("an expression");
        match program.execute(&context) {
            Ok(value) => format!("{value:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn patterns_are_found_and_malformed_ones_are_told() {
        let lines = [
            "'foobar'.matches('^[a-z]*$')",
            "'foobar'.matches('^b')",
            "'a/b'.find('^([^/]+)')",
            "'ab'.find('x')",
            "'a1b22'.findAll('[0-9]+')",
            "'a1b22'.findAll('[0-9]+', 1)",
            "'a1b22'.findAll('[0-9]+', -1)",
            "'a'.findAll(1)",
            "'a'.find('(')",
            "'a'.matches('(')",
            "'a'.matches()",
            "'a'.find()",
        ];
        let shown: Vec<String> = lines
            .iter()
            .flat_map(|source| [evaluated(source), evaluated(source)])
            .collect();
        assert!(shown.chunks(2).all(|pair| pair[0] == pair[1]));
        let shown: Vec<&String> = shown.iter().step_by(2).collect();
        insta::assert_debug_snapshot!(shown);
    }
}
