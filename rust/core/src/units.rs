//! One Python source in, its units out: functions, methods, class headers and runs of module statements.
//!
//! A unit is the state of the world model (DESIGN 4). Qualified names are dotted (`Class.method`); a name that
//! occurs again in a file gets `#2`, `#3`. Runs of module statements are named after the definition before them,
//! so that a statement added in one run does not rename the others.

use std::collections::HashMap;

use tree_sitter::{Node, Parser, Tree};

use crate::error::{Error, Result};
use crate::tokens::{TokenStream, is_definition};
use crate::vocab::{self, fnv1a_64};

/// Larger sources are refused: a name's position is stored in 32 bits.
pub const MAX_SOURCE_BYTES: usize = 64 << 20;

/// What a unit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A function outside any class.
    Function = 0,
    /// A function in a class body.
    Method = 1,
    /// A class header with its attributes, without its methods.
    Class = 2,
    /// A run of module-level statements.
    Module = 3,
}

/// Names of the kinds, in the order of their numbers.
pub const KIND_NAMES: [&str; 4] = ["function", "method", "class", "module"];

/// One unit of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Qualified name, unique in the file.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// First byte.
    pub start_byte: usize,
    /// One past the last byte.
    pub end_byte: usize,
    /// First line, from 1.
    pub start_line: u32,
    /// Last line, from 1.
    pub end_line: u32,
    /// Hash of its own source, blank lines and left-out definitions apart.
    pub source_hash: u64,
    /// Its tokens, unwindowed, with lines and names.
    pub stream: TokenStream,
}

/// A source with its units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// Units in order of their first byte.
    pub units: Vec<Unit>,
    /// Whether the grammar had to recover from an error.
    pub has_error: bool,
}

/// Parses any bytes; syntax errors are recovered from and marked.
pub fn parse(source: &[u8]) -> Result<Parsed> {
    let tree = parse_tree(source)?;
    let root = tree.root_node();
    let mut found = Finder {
        source,
        units: Vec::new(),
        seen: HashMap::new(),
    };
    found.module(root);
    let mut units = found.units;
    units.sort_by_key(|u| (u.start_byte, u.end_byte));
    Ok(Parsed {
        units,
        has_error: root.has_error(),
    })
}

/// The tokens of a whole source as one sequence, definitions included.
pub fn tokenize(source: &[u8]) -> Result<Vec<u16>> {
    let tree = parse_tree(source)?;
    let mut stream = TokenStream::default();
    stream.walk(tree.root_node(), source, true);
    Ok(stream.tokens)
}

fn parse_tree(source: &[u8]) -> Result<Tree> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(Error::InvalidInput(format!(
            "source of {} bytes; at most {MAX_SOURCE_BYTES} are parsed",
            source.len()
        )));
    }
    thread_local! {
        static PARSER: std::cell::RefCell<Option<Parser>> = const { std::cell::RefCell::new(None) };
    }
    PARSER.with_borrow_mut(|slot| {
        let parser = match slot {
            Some(parser) => parser,
            None => {
                let mut parser = Parser::new();
                parser
                    .set_language(&vocab::language())
                    .map_err(|e| Error::InvalidInput(format!("grammar: {e}")))?;
                slot.insert(parser)
            }
        };
        parser
            .parse(source, None)
            .ok_or_else(|| Error::InvalidInput("the parser gave no tree".to_owned()))
    })
}

struct Finder<'s> {
    source: &'s [u8],
    units: Vec<Unit>,
    seen: HashMap<String, u32>,
}

/// A place that may hold definitions: a node, the dotted prefix there, whether it is a class body.
struct Place<'t> {
    node: Node<'t>,
    prefix: String,
    in_class: bool,
}

impl<'s> Finder<'s> {
    fn module<'t>(&mut self, root: Node<'t>) {
        let mut run: Vec<Node<'t>> = Vec::new();
        let mut run_name = "<module>".to_owned();
        let mut cursor = root.walk();
        for child in root.children(&mut cursor) {
            if child.is_extra() && !child.is_error() {
                continue;
            }
            if is_definition(child.kind()) {
                self.flush(&mut run, &run_name);
                let name = definition_name(child, self.source);
                run_name = format!("<module after {name}>");
                self.definitions(Place {
                    node: child,
                    prefix: String::new(),
                    in_class: false,
                });
            } else {
                run.push(child);
                self.definitions(Place {
                    node: child,
                    prefix: String::new(),
                    in_class: false,
                });
            }
        }
        self.flush(&mut run, &run_name);
    }

    /// Every definition at or below a place, outside function bodies; an explicit stack, source order restored later.
    fn definitions(&mut self, start: Place<'_>) {
        let mut stack = vec![start];
        while let Some(Place {
            node,
            prefix,
            in_class,
        }) = stack.pop()
        {
            if is_definition(node.kind()) {
                let Some(inner) = undecorated(node) else {
                    continue;
                };
                let name = format!("{prefix}{}", definition_name(node, self.source));
                if inner.kind() == "class_definition" {
                    self.add(&[node], &name, Kind::Class);
                    if let Some(body) = inner.child_by_field_name("body") {
                        stack.push(Place {
                            node: body,
                            prefix: format!("{name}."),
                            in_class: true,
                        });
                    }
                } else {
                    let kind = if in_class {
                        Kind::Method
                    } else {
                        Kind::Function
                    };
                    self.add(&[node], &name, kind);
                }
            } else if may_hold_definitions(node) {
                let mut cursor = node.walk();
                let children: Vec<Node<'_>> = node.named_children(&mut cursor).collect();
                // Reversed, so that the stack yields source order and `#2` goes to the later one.
                for child in children.into_iter().rev() {
                    stack.push(Place {
                        node: child,
                        prefix: prefix.clone(),
                        in_class,
                    });
                }
            }
        }
    }

    fn flush(&mut self, run: &mut Vec<Node<'_>>, name: &str) {
        if !run.is_empty() {
            self.add(run, name, Kind::Module);
            run.clear();
        }
    }

    fn add(&mut self, nodes: &[Node<'_>], name: &str, kind: Kind) {
        let (Some(first), Some(last)) = (nodes.first(), nodes.last()) else {
            return;
        };
        let mut stream = TokenStream::default();
        let nested = matches!(kind, Kind::Function | Kind::Method);
        let mut hash_input = Vec::new();
        for &node in nodes {
            let before = stream.left_out.len();
            stream.walk(node, self.source, nested);
            push_own_source(
                self.source,
                node,
                &stream.left_out[before..],
                &mut hash_input,
            );
        }
        if stream.tokens.is_empty() {
            return;
        }
        let count = self.seen.entry(name.to_owned()).or_insert(0);
        *count += 1;
        let name = if *count == 1 {
            name.to_owned()
        } else {
            format!("{name}#{count}")
        };
        self.units.push(Unit {
            name,
            kind,
            start_byte: first.start_byte(),
            end_byte: last.end_byte(),
            start_line: line(first.start_position().row),
            end_line: line(last.end_position().row),
            source_hash: fnv1a_64(&hash_input),
            stream,
        });
    }
}

fn line(row: usize) -> u32 {
    u32::try_from(row).unwrap_or(u32::MAX - 1) + 1
}

/// The node's source without left-out definitions and blank lines: what "this unit's own text" means.
fn push_own_source(source: &[u8], node: Node<'_>, left_out: &[(usize, usize)], out: &mut Vec<u8>) {
    let mut at = node.start_byte();
    let ends = left_out
        .iter()
        .copied()
        .chain(std::iter::once((node.end_byte(), node.end_byte())));
    for (start, end) in ends {
        for l in source[at..start.max(at)].split(|&b| b == b'\n') {
            let l = l.trim_ascii_end();
            if !l.is_empty() {
                out.extend_from_slice(l);
                out.push(b'\n');
            }
        }
        at = end.max(at);
    }
}

fn undecorated(node: Node<'_>) -> Option<Node<'_>> {
    if node.kind() == "decorated_definition" {
        node.child_by_field_name("definition")
    } else {
        Some(node)
    }
}

fn definition_name(node: Node<'_>, source: &[u8]) -> String {
    undecorated(node)
        .and_then(|n| n.child_by_field_name("name"))
        .map(|n| String::from_utf8_lossy(&source[n.byte_range()]).into_owned())
        .filter(|n| !n.is_empty())
        .unwrap_or_else(|| "?".to_owned())
}

/// Compound statements and their blocks; expressions are not searched.
fn may_hold_definitions(node: Node<'_>) -> bool {
    node.is_error()
        || matches!(
            node.kind(),
            "block"
                | "if_statement"
                | "elif_clause"
                | "else_clause"
                | "try_statement"
                | "except_clause"
                | "finally_clause"
                | "with_statement"
                | "for_statement"
                | "while_statement"
                | "match_statement"
                | "case_clause"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(source: &str) -> Vec<(String, Kind)> {
        let parsed = parse(source.as_bytes()).expect("parses");
        parsed.units.into_iter().map(|u| (u.name, u.kind)).collect()
    }

    #[test]
    fn units_have_qualified_names_and_repeated_ones_are_numbered() {
        let source = "import a\nclass C:\n    x = 1\n    def m(self): pass\n    @property\n    def p(self): pass\n    @p.setter\n    def p(self, v): pass\n    class D:\n        def n(self): pass\nY = 2\nif Y:\n    def f(): pass\n";
        let expected = [
            ("<module>", Kind::Module),
            ("C", Kind::Class),
            ("C.m", Kind::Method),
            ("C.p", Kind::Method),
            ("C.p#2", Kind::Method),
            ("C.D", Kind::Class),
            ("C.D.n", Kind::Method),
            ("<module after C>", Kind::Module),
            ("f", Kind::Function),
        ];
        let expected: Vec<_> = expected.iter().map(|&(n, k)| (n.to_owned(), k)).collect();
        assert_eq!(names(source), expected);
    }

    #[test]
    fn a_method_does_not_belong_to_its_class_unit() {
        let with =
            parse(b"class C:\n    x = 1\n    def m(self):\n        return 1\n").expect("parses");
        let without = parse(b"class C:\n    x = 1\n").expect("parses");
        assert_eq!(with.units[0].stream.tokens, without.units[0].stream.tokens);
        assert_eq!(with.units[0].source_hash, without.units[0].source_hash);
    }

    #[test]
    fn deep_nesting_does_not_overflow() {
        let deep = "(".repeat(50_000);
        parse(deep.as_bytes()).expect("recovers");
        let mut blocks = String::new();
        for i in 0..400 {
            blocks.push_str(&" ".repeat(i));
            blocks.push_str("if x:\n");
        }
        parse(blocks.as_bytes()).expect("recovers");
    }
}
