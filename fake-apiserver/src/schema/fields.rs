//! The part of CEL's type check that catches most mistakes: fields that do not exist.
//!
//! Types are followed from `self` through selections, indexing and macros; where a type is not
//! known (results of functions, free maps), nothing is said.

use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::{EntryExpr, Expr};

use super::{Node, Type};

/// The first field a rule selects that the schema does not declare, in upstream's words.
pub(super) fn undefined(expression: &IdedExpr, source: &str, scope: &Scope<'_>) -> Option<String> {
    let mut check = Check {
        scope,
        bound: Vec::new(),
        found: None,
    };
    check.visit(expression);
    let field = check.found?;
    let column = source.find(&format!(".{field}")).unwrap_or(0);
    let dots = ".".repeat(column);
    Some(format!(
        "compilation failed: ERROR: <input>:1:{}: undefined field '{field}'\n | {source}\n | {dots}^",
        column + 1
    ))
}

/// What `self` is and where its children are.
pub(super) struct Scope<'a> {
    pub node: &'a Node,
    pub nodes: &'a [Node],
    /// The root and embedded resources have a name and a type besides what is declared.
    pub object: bool,
}

struct Check<'a> {
    scope: &'a Scope<'a>,
    /// Macro variables and their types.
    bound: Vec<(String, Option<&'a Node>)>,
    found: Option<String>,
}

impl<'a> Check<'a> {
    fn child(&self, id: u32) -> Option<&'a Node> {
        self.scope.nodes.get(id as usize)
    }

    /// Visits an expression and says what it evaluates to, as far as that is a schema node.
    fn visit(&mut self, expression: &IdedExpr) -> Option<&'a Node> {
        match &expression.expr {
            Expr::Ident(name) => self.variable(name),
            Expr::Select(select) => {
                let operand = self.visit(&select.operand)?;
                self.select(operand, &select.field)
            }
            Expr::Call(call) => {
                let target = call.target.as_ref().map(|target| self.visit(target));
                let arguments: Vec<Option<&Node>> = call
                    .args
                    .iter()
                    .map(|argument| self.visit(argument))
                    .collect();
                let indexed = arguments.first().copied().flatten();
                let node = indexed.filter(|_| call.func_name == "_[_]" && target.is_none())?;
                node.items.or(node.additional).and_then(|id| self.child(id))
            }
            Expr::Comprehension(inner) => {
                let range = self.visit(&inner.iter_range);
                let item = range
                    .and_then(|node| node.items)
                    .and_then(|id| self.child(id));
                let depth = self.bound.len();
                // with two variables the first is the index or the key
                let first = if inner.iter_var2.is_some() {
                    None
                } else {
                    item
                };
                self.bound.push((inner.iter_var.clone(), first));
                if let Some(second) = &inner.iter_var2 {
                    let value = range
                        .and_then(|node| node.additional)
                        .and_then(|id| self.child(id));
                    self.bound.push((second.clone(), item.or(value)));
                }
                self.bound.push((inner.accu_var.clone(), None));
                for part in [
                    &inner.accu_init,
                    &inner.loop_cond,
                    &inner.loop_step,
                    &inner.result,
                ] {
                    self.visit(part);
                }
                self.bound.truncate(depth);
                None
            }
            Expr::List(list) => {
                for element in &list.elements {
                    self.visit(element);
                }
                None
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.visit(&entry.key);
                        self.visit(&entry.value);
                    }
                }
                None
            }
            Expr::Unspecified | Expr::Literal(_) | Expr::Struct(_) => None,
        }
    }

    fn variable(&self, name: &str) -> Option<&'a Node> {
        let bound = self.bound.iter().rev().find(|(own, _)| own == name);
        match bound {
            Some((_, node)) => *node,
            None if name == "self" || name == "oldSelf" => Some(self.scope.node),
            None => None,
        }
    }

    fn select(&mut self, operand: &'a Node, field: &str) -> Option<&'a Node> {
        if operand.kind != Type::Object || operand.additional.is_some() {
            return operand.additional.and_then(|id| self.child(id));
        }
        let declared = operand
            .properties
            .iter()
            .find(|(name, _)| super::cel::escape(name).is_some_and(|escaped| escaped == field));
        if let Some((_, id)) = declared {
            // the schema of the root's metadata says less than rules may see
            let metadata = self.scope.object && field == "metadata";
            return self.child(*id).filter(|_| !metadata);
        }
        let implied = matches!(field, "apiVersion" | "kind" | "metadata")
            && (operand.embedded || (self.scope.object && std::ptr::eq(operand, self.scope.node)));
        if !implied && !operand.preserve_unknown && self.found.is_none() {
            self.found = Some(field.to_owned());
        }
        None
    }
}
