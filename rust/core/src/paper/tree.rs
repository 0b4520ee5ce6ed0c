//! A syntax tree in, the nodes of CPython 3.9's `ast` out, in the order of its fields.
//!
//! Every kind of the grammar is mapped by name; what has no counterpart in Python 3.9 makes the whole file a parse
//! error, as it was for the interpreter that the layout comes from.

use std::panic::resume_unwind;
use std::thread;

use tree_sitter::Node;

use super::table::{binary, node};
use super::{UNK, bucket};
use crate::error::{Error, Result};
use crate::units::parse_tree;

/// Nesting from which a file counts as one that does not parse; CPython gives up at about as much.
const DEEPEST: usize = 200;

/// Of the thread that walks a tree: that deep, with the frames of an unoptimised build.
const STACK: usize = 32 << 20;

/// One node of the abstract tree.
pub(super) struct AstNode {
    /// Its type's id, or [`UNK`].
    pub kind: u16,
    /// An identifier's or constant's bucket, or an operator's token.
    pub carries: Option<u16>,
    /// CPython has this node once for the whole tree.
    pub shared: bool,
    /// In the order of its fields.
    pub children: Vec<usize>,
}

/// The abstract tree.
pub(super) struct Ast {
    pub nodes: Vec<AstNode>,
    pub root: usize,
}

/// Not Python 3.9.
struct NotPython;

type Id = std::result::Result<usize, NotPython>;
type Ids = std::result::Result<Vec<usize>, NotPython>;

/// The abstract tree of a source in UTF-8, or none where it does not parse.
pub(super) fn build(source: &[u8]) -> Result<Option<Ast>> {
    let tree = parse_tree(source)?;
    if tree.root_node().has_error() {
        return Ok(None);
    }
    let make = || {
        let mut maker = Maker {
            source,
            nodes: Vec::new(),
            depth: 0,
            known: None,
        };
        maker.module(tree.root_node()).ok().map(|root| Ast {
            nodes: maker.nodes,
            root,
        })
    };
    // A caller's stack may be small: that of a test, or of a worker.
    thread::scope(|scope| {
        let walker = thread::Builder::new().stack_size(STACK);
        let walk = walker.spawn_scoped(scope, make).map_err(|e| {
            Error::InvalidInput(format!("there is no thread to read a file with: {e}"))
        })?;
        walk.join().map_or_else(|panic| resume_unwind(panic), Ok)
    })
}

/// What is done with a name or a target.
#[derive(Clone, Copy)]
enum Use {
    Load,
    Store,
    Del,
}

struct Maker<'a> {
    source: &'a [u8],
    nodes: Vec<AstNode>,
    depth: usize,
    /// A node of the grammar that stands for something else where it is, by its id.
    known: Option<usize>,
}

/// Its named children, without comments.
fn named<'t>(n: Node<'t>) -> Vec<Node<'t>> {
    let mut cursor = n.walk();
    n.named_children(&mut cursor)
        .filter(|c| !matches!(c.kind(), "comment" | "line_continuation"))
        .collect()
}

fn fields<'t>(n: Node<'t>, name: &str) -> Vec<Node<'t>> {
    let mut cursor = n.walk();
    n.children_by_field_name(name, &mut cursor)
        .filter(|c| c.is_named() && c.kind() != "comment")
        .collect()
}

fn has(n: Node<'_>, token: &str) -> bool {
    let mut cursor = n.walk();
    n.children(&mut cursor).any(|c| c.kind() == token)
}

fn field<'t>(n: Node<'t>, name: &str) -> std::result::Result<Node<'t>, NotPython> {
    n.child_by_field_name(name).ok_or(NotPython)
}

impl Maker<'_> {
    fn text(&self, n: Node<'_>) -> &str {
        std::str::from_utf8(&self.source[n.byte_range()]).unwrap_or("")
    }

    fn push(
        &mut self,
        kind: u16,
        carries: Option<u16>,
        shared: bool,
        children: Vec<usize>,
    ) -> usize {
        self.nodes.push(AstNode {
            kind,
            carries,
            shared,
            children,
        });
        self.nodes.len() - 1
    }

    fn make(&mut self, name: &str, children: Vec<usize>) -> usize {
        self.push(node(name), None, false, children)
    }

    fn unknown(&mut self, children: Vec<usize>) -> usize {
        self.push(UNK, None, false, children)
    }

    fn carrying(&mut self, name: &str, carries: u16, children: Vec<usize>) -> usize {
        self.push(node(name), Some(carries), false, children)
    }

    fn shared(&mut self, name: &str) -> usize {
        self.push(node(name), None, true, Vec::new())
    }

    fn context(&mut self, used: Use) -> usize {
        self.shared(match used {
            Use::Load => "Load",
            Use::Store => "Store",
            Use::Del => "Del",
        })
    }

    fn constant(&mut self, kind: &str) -> usize {
        let carries = bucket(format!("__const_{kind}__").as_bytes());
        self.carrying("Constant", carries, Vec::new())
    }

    fn each(&mut self, nodes: &[Node<'_>], used: Use) -> Ids {
        nodes.iter().map(|&n| self.expression(n, used)).collect()
    }

    fn module(&mut self, root: Node<'_>) -> Id {
        let body = self.body(&named(root))?;
        Ok(self.make("Module", body))
    }

    /// Statements; those of nested blocks in line.
    fn body(&mut self, nodes: &[Node<'_>]) -> Ids {
        let mut out = Vec::new();
        for &n in nodes {
            if n.kind() == "block" {
                out.extend(self.body(&named(n))?);
            } else {
                out.push(self.statement(n)?);
            }
        }
        Ok(out)
    }

    fn block(&mut self, n: Node<'_>, name: &str) -> Ids {
        self.body(&[field(n, name)?])
    }

    fn statement(&mut self, n: Node<'_>) -> Id {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(NotPython);
        }
        let made = self.statement_of(n);
        self.depth -= 1;
        made
    }

    fn statement_of(&mut self, n: Node<'_>) -> Id {
        let children = named(n);
        Ok(match n.kind() {
            "expression_statement" => match children.as_slice() {
                [only] if only.kind() == "assignment" => self.assignment(*only)?,
                [only] if only.kind() == "augmented_assignment" => {
                    let target = self.expression(field(*only, "left")?, Use::Store)?;
                    let written = self.text(field(*only, "operator")?).trim_end_matches('=');
                    let class = binary(written).ok_or(NotPython)?;
                    let op = self.shared(class);
                    let value = self.expression(field(*only, "right")?, Use::Load)?;
                    self.make("AugAssign", vec![target, op, value])
                }
                _ => {
                    let value = self.listed(&children, has(n, ","), Use::Load)?;
                    self.make("Expr", vec![value])
                }
            },
            "return_statement" => {
                let value = self.each(&children, Use::Load)?;
                self.make("Return", value)
            }
            "delete_statement" => {
                let listed = match children.as_slice() {
                    [only] if only.kind() == "expression_list" => named(*only),
                    _ => children,
                };
                let targets = self.each(&listed, Use::Del)?;
                self.make("Delete", targets)
            }
            "raise_statement" => {
                if children.iter().any(|c| c.kind() == "expression_list") {
                    return Err(NotPython); // raise A, B is Python 2
                }
                let parts = self.each(&children, Use::Load)?;
                self.make("Raise", parts)
            }
            "pass_statement" => self.make("Pass", vec![]),
            "break_statement" => self.make("Break", vec![]),
            "continue_statement" => self.make("Continue", vec![]),
            "global_statement" => self.make("Global", vec![]),
            "nonlocal_statement" => self.make("Nonlocal", vec![]),
            "assert_statement" => {
                let parts = self.each(&children, Use::Load)?;
                self.make("Assert", parts)
            }
            "import_statement" => {
                let names = children.iter().map(|_| self.unknown(vec![])).collect();
                self.make("Import", names)
            }
            "import_from_statement" | "future_import_statement" => self.import_from(n),
            "if_statement" => self.conditional(n, &fields(n, "alternative"))?,
            "while_statement" => {
                let mut parts = vec![self.expression(field(n, "condition")?, Use::Load)?];
                parts.extend(self.block(n, "body")?);
                parts.extend(self.alternative(n)?);
                self.make("While", parts)
            }
            "for_statement" => {
                let mut parts = vec![
                    self.expression(field(n, "left")?, Use::Store)?,
                    self.expression(field(n, "right")?, Use::Load)?,
                ];
                parts.extend(self.block(n, "body")?);
                parts.extend(self.alternative(n)?);
                self.make(if has(n, "async") { "AsyncFor" } else { "For" }, parts)
            }
            "try_statement" => self.attempt(n, &children)?,
            "with_statement" => self.with(n, &children)?,
            "type_alias_statement" => self.type_call(n)?,
            "function_definition" => self.function(n, &[])?,
            "class_definition" => self.class(n, &[])?,
            "decorated_definition" => {
                let decorators: Vec<_> = children
                    .iter()
                    .copied()
                    .filter(|c| c.kind() == "decorator")
                    .collect();
                let definition = field(n, "definition")?;
                match definition.kind() {
                    "function_definition" => self.function(definition, &decorators)?,
                    "class_definition" => self.class(definition, &decorators)?,
                    _ => return Err(NotPython),
                }
            }
            _ => return Err(NotPython),
        })
    }

    fn assignment(&mut self, first: Node<'_>) -> Id {
        if let Some(kind) = first.child_by_field_name("type") {
            let target = self.expression(field(first, "left")?, Use::Store)?;
            let mut parts = vec![target, self.expression(kind, Use::Load)?];
            if let Some(value) = first.child_by_field_name("right") {
                parts.push(self.expression(value, Use::Load)?);
            }
            return Ok(self.make("AnnAssign", parts));
        }
        let mut parts = Vec::new();
        let mut at = first;
        loop {
            parts.push(self.expression(field(at, "left")?, Use::Store)?);
            let right = field(at, "right")?;
            if right.kind() != "assignment" {
                parts.push(self.expression(right, Use::Load)?);
                return Ok(self.make("Assign", parts));
            }
            at = right;
        }
    }

    /// `type(x).y = z`, which the grammar takes for an alias; a real alias is newer than the layout.
    fn type_call(&mut self, n: Node<'_>) -> Id {
        let left = field(n, "left")?;
        let mut at = left;
        while matches!(at.kind(), "type" | "attribute" | "subscript" | "call") {
            at = at.named_child(0).ok_or(NotPython)?;
        }
        if at.kind() != "parenthesized_expression" || at.start_byte() != left.start_byte() {
            return Err(NotPython);
        }
        let outer = self.known.replace(at.id());
        let target = self.expression(left, Use::Store)?;
        self.known = outer;
        let value = self.expression(field(n, "right")?, Use::Load)?;
        Ok(self.make("Assign", vec![target, value]))
    }

    fn import_from(&mut self, n: Node<'_>) -> usize {
        let names = if has(n, "wildcard_import") {
            vec![self.unknown(vec![])]
        } else {
            fields(n, "name")
                .iter()
                .map(|_| self.unknown(vec![]))
                .collect()
        };
        let module = match n.child_by_field_name("module_name") {
            Some(m) if m.kind() == "relative_import" => {
                named(m).into_iter().find(|c| c.kind() == "dotted_name")
            }
            other => other,
        };
        let carries = match module {
            // Blanks may stand around the dots.
            Some(m) => Some(bucket(
                self.text(m)
                    .split_whitespace()
                    .collect::<String>()
                    .as_bytes(),
            )),
            None if n.kind() == "future_import_statement" => Some(bucket(b"__future__")),
            None => None,
        };
        self.push(node("ImportFrom"), carries, false, names)
    }

    /// An `if` or `elif`, and what follows it.
    fn conditional(&mut self, n: Node<'_>, rest: &[Node<'_>]) -> Id {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(NotPython);
        }
        let mut parts = vec![self.expression(field(n, "condition")?, Use::Load)?];
        parts.extend(self.block(n, "consequence")?);
        match rest.split_first() {
            Some((next, later)) if next.kind() == "elif_clause" => {
                parts.push(self.conditional(*next, later)?);
            }
            Some((last, _)) => parts.extend(self.block(*last, "body")?),
            None => {}
        }
        self.depth -= 1;
        Ok(self.make("If", parts))
    }

    fn alternative(&mut self, n: Node<'_>) -> Ids {
        match n.child_by_field_name("alternative") {
            Some(clause) => self.block(clause, "body"),
            None => Ok(Vec::new()),
        }
    }

    fn attempt(&mut self, n: Node<'_>, children: &[Node<'_>]) -> Id {
        let mut parts = self.block(n, "body")?;
        for &clause in children {
            match clause.kind() {
                "except_clause" => parts.push(self.handler(clause)?),
                "else_clause" => parts.extend(self.block(clause, "body")?),
                "finally_clause" => parts.extend(self.body(&named(clause))?),
                "block" => {}
                _ => return Err(NotPython),
            }
        }
        Ok(self.make("Try", parts))
    }

    fn handler(&mut self, clause: Node<'_>) -> Id {
        let is_group = self.text(clause)["except".len()..]
            .trim_start()
            .starts_with('*');
        if is_group || has(clause, ",") {
            return Err(NotPython); // newer than 3.9, and Python 2's `except A, e`
        }
        let mut parts = Vec::new();
        for c in named(clause) {
            if c.kind() == "block" {
                parts.extend(self.body(&[c])?);
            } else if c.kind() == "as_pattern" {
                let caught = named(c).first().copied().ok_or(NotPython)?;
                parts.push(self.expression(caught, Use::Load)?);
            } else if parts.is_empty() {
                parts.push(self.expression(c, Use::Load)?);
            }
        }
        Ok(self.make("ExceptHandler", parts))
    }

    fn with(&mut self, n: Node<'_>, children: &[Node<'_>]) -> Id {
        let clause = children
            .iter()
            .find(|c| c.kind() == "with_clause")
            .ok_or(NotPython)?;
        let mut parts = Vec::new();
        for item in named(*clause) {
            let value = field(item, "value")?;
            let inner = if value.kind() == "as_pattern" {
                let both = named(value);
                let [what, name] = both.as_slice() else {
                    return Err(NotPython);
                };
                let target = named(*name).first().copied().ok_or(NotPython)?;
                vec![
                    self.expression(*what, Use::Load)?,
                    self.expression(target, Use::Store)?,
                ]
            } else {
                vec![self.expression(value, Use::Load)?]
            };
            parts.push(self.unknown(inner));
        }
        parts.extend(self.block(n, "body")?);
        Ok(self.make(if has(n, "async") { "AsyncWith" } else { "With" }, parts))
    }

    fn function(&mut self, n: Node<'_>, decorators: &[Node<'_>]) -> Id {
        if n.child_by_field_name("type_parameters").is_some() {
            return Err(NotPython);
        }
        let mut parts = vec![self.parameters(field(n, "parameters")?)?];
        parts.extend(self.block(n, "body")?);
        parts.extend(self.decorators(decorators)?);
        if let Some(returns) = n.child_by_field_name("return_type") {
            parts.push(self.expression(returns, Use::Load)?);
        }
        let carries = bucket(self.text(field(n, "name")?).as_bytes());
        let kind = if has(n, "async") {
            "AsyncFunctionDef"
        } else {
            "FunctionDef"
        };
        Ok(self.carrying(kind, carries, parts))
    }

    fn class(&mut self, n: Node<'_>, decorators: &[Node<'_>]) -> Id {
        if n.child_by_field_name("type_parameters").is_some() {
            return Err(NotPython);
        }
        let mut parts = match n.child_by_field_name("superclasses") {
            Some(list) => self.arguments(list)?,
            None => Vec::new(),
        };
        parts.extend(self.block(n, "body")?);
        parts.extend(self.decorators(decorators)?);
        let carries = bucket(self.text(field(n, "name")?).as_bytes());
        Ok(self.carrying("ClassDef", carries, parts))
    }

    fn decorators(&mut self, decorators: &[Node<'_>]) -> Ids {
        let inner: Vec<_> = decorators.iter().flat_map(|d| named(*d)).collect();
        self.each(&inner, Use::Load)
    }

    /// `arguments`: plain, starred and keyword-only names with their annotations, then the defaults.
    fn parameters(&mut self, list: Node<'_>) -> Id {
        let (mut plain, mut star, mut only, mut pairs) = (vec![], vec![], vec![], vec![]);
        let (mut only_defaults, mut defaults) = (vec![], vec![]);
        let mut is_only = false;
        for p in named(list) {
            let (name, kind, value) = match p.kind() {
                "keyword_separator" => {
                    is_only = true;
                    continue;
                }
                "positional_separator" => continue,
                "identifier" | "list_splat_pattern" | "dictionary_splat_pattern" => (p, None, None),
                "typed_parameter" => {
                    let first = named(p).first().copied().ok_or(NotPython)?;
                    (first, p.child_by_field_name("type"), None)
                }
                "default_parameter" | "typed_default_parameter" => (
                    field(p, "name")?,
                    p.child_by_field_name("type"),
                    Some(field(p, "value")?),
                ),
                _ => return Err(NotPython), // Python 2's tuples
            };
            if name.kind() == "tuple_pattern" {
                return Err(NotPython);
            }
            let inner = match kind {
                Some(kind) => vec![self.expression(kind, Use::Load)?],
                None => vec![],
            };
            let arg = self.unknown(inner);
            match name.kind() {
                "list_splat_pattern" => {
                    star.push(arg);
                    is_only = true;
                }
                "dictionary_splat_pattern" => pairs.push(arg),
                _ if is_only => only.push(arg),
                _ => plain.push(arg),
            }
            if let Some(value) = value {
                let made = self.expression(value, Use::Load)?;
                if is_only {
                    only_defaults.push(made)
                } else {
                    defaults.push(made)
                }
            }
        }
        let all = [plain, star, only, only_defaults, pairs, defaults].concat();
        Ok(self.unknown(all))
    }
}

mod expressions;
