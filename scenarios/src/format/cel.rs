//! Free expressions in CEL over rows of what exists.

use std::fmt;
use std::sync::Arc;

use kube_cel::cel::Program;

use crate::format::check::did_you_mean;
use crate::format::expression::ExpressionError;

/// Names an expression may use, with the fields of their rows.
pub(crate) const VARIABLES: [(&str, &str); 9] = [
    (
        "nodes",
        "name, pool, size, zone, capacity, ready, cordoned, labels, object",
    ),
    (
        "claims",
        "name, pool, size, zone, capacity, ready, labels, object",
    ),
    ("pools", "name, labels, object"),
    ("pods", "namespace, name, phase, node, labels, object"),
    (
        "vms",
        "name, pool, size, zone, capacity, state, cores, price",
    ),
    ("nics", "name, attached"),
    ("disks", "name, attached"),
    ("cost", "a number: US dollars per hour"),
    ("time", "a number: seconds since the start"),
];

/// A compiled expression.
#[derive(Clone)]
pub struct Cel {
    program: Arc<Program>,
    text: String,
}

impl Cel {
    /// Compiles an expression and checks the names in it.
    pub(crate) fn compile(text: &str) -> Result<Self, ExpressionError> {
        let fail = |message: String, help: String| ExpressionError {
            at: (0, text.len().max(1)),
            message,
            help,
        };
        let program = Program::compile(text).map_err(|error| {
            let message = error.to_string();
            let line = message.lines().next().unwrap_or_default().trim();
            fail(
                format!("cannot be read as CEL: {line}"),
                "for example 'nodes.all(n, n.ready) && cost < 0.5'".to_owned(),
            )
        })?;
        let references = program.references();
        let names = VARIABLES.iter().map(|(name, _)| *name);
        let mut unknown: Vec<&str> = references
            .variables()
            .into_iter()
            .filter(|name| !names.clone().any(|known| known == *name))
            .filter(|name| !is_bound(text, name))
            .collect();
        unknown.sort_unstable();
        if let Some(name) = unknown.first() {
            return Err(fail(
                format!("unknown name '{name}' in CEL"),
                did_you_mean(name, names),
            ));
        }
        drop(references);
        Ok(Self {
            program: Arc::new(program),
            text: text.to_owned(),
        })
    }

    /// What it compiles to.
    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    /// As written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it looks at a variable.
    pub(crate) fn uses(&self, name: &str) -> bool {
        self.program.references().has_variable(name)
    }
}

/// Whether a macro such as `nodes.all(n, …)` binds the name.
fn is_bound(text: &str, name: &str) -> bool {
    ["all(", "exists(", "exists_one(", "filter(", "map("]
        .iter()
        .flat_map(|open| text.match_indices(open).map(move |(at, _)| at + open.len()))
        .filter_map(|at| text.get(at..))
        .any(|rest| {
            let rest = rest.trim_start();
            rest.strip_prefix(name)
                .is_some_and(|tail| tail.trim_start().starts_with(','))
        })
}

impl fmt::Debug for Cel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cel").field(&self.text).finish()
    }
}

impl PartialEq for Cel {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Cel {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        let cel =
            Cel::compile("nodes.filter(n, n.ready).size() == 2 && cost < 0.5").expect("valid");
        assert!(cel.uses("nodes") && cel.uses("cost") && !cel.uses("pods"));
        let error = Cel::compile("nods.size() == 2").expect_err("misspelt");
        assert!(
            error.help.starts_with("did you mean 'nodes'?"),
            "{}",
            error.help
        );
        assert!(Cel::compile("nodes.size() ==").is_err());
    }
}
